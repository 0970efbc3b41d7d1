"""The command line as its users meet it: exit codes, what it prints, what it leaves on disk."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import knowfree
from modeling_knowfree.data.readers import read_rows, write_rows
from tests.support import ROOT
from tests.support.bad_input import CASES, GOOD_ROWS
from tests.support.forked import Forked, together


@pytest.fixture
def command(monkeypatch, capsys):
    """`command("evaluate", …)` -> (exit code, standard output, standard error)."""

    def run(*argv: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["knowfree", *map(str, argv)])
        capsys.readouterr()
        try:
            knowfree.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told_in_one_line(err: str, *fragments: str) -> bool:
    lines = [line for line in err.splitlines() if line.startswith("knowfree: ")]
    return len(lines) == 1 and "Traceback" not in err and all(fragment in lines[0] for fragment in fragments)


def test_help_answers_at_once_and_teaches():
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    answer = subprocess.run([sys.executable, "knowfree.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert spent() - before < 0.5  # CPU seconds: the clock also counts what else the machine does
    assert answer.returncode == 0
    for name in ("augment", "sample", "train", "evaluate", "predict", "convert"):
        assert name in answer.stdout
    assert "--train_file train.jsonl" in answer.stdout


@pytest.mark.parametrize("name", ["sample", "train", "evaluate", "predict", "convert"])
def test_every_command_explains_itself(name, command):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert "usage" in out.lower()
    assert "--" in out


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_data_stops_train_with_one_line_and_nothing_written(case, command, tmp_path):
    bad = case(tmp_path)
    if bad.role == "label_file":
        argv = ["convert", "--input", tmp_path, "--labels", bad.path, "--output", tmp_path / "output"]
        (tmp_path / "config.json").write_text("{}")
    else:
        argv = ["train", "--model_name_or_path", "nowhere", "--train_file", bad.path]
        argv += ["--output_dir", tmp_path / "output", "--use_cpu", "--task", bad.task]
    before = contents(tmp_path)
    code, out, err = command(*argv)
    assert code == 2
    assert out == ""
    assert told_in_one_line(err, *bad.fragments), err
    assert contents(tmp_path) == before
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("extra", "fragments"),
    [
        (["--task", "tagging"], ["--task tagging", "ner, nested_ner, segmentation, pos"]),
        (["--preset", "large"], ["--preset large", "small, paper"]),
        (["--validation_file", "{folder}/none.jsonl"], ["none.jsonl"]),
        (["--dataset_name", "org/set"], ["--train_file", "--dataset_name"]),
        (["--config", "{folder}/none.yaml"], ["none.yaml"]),
        (["--config", "{folder}/list.yaml"], ["list.yaml", "argument: value"]),
        (["--config", "{folder}/unknown.yaml"], ["unknown.yaml", "'train_fle'", "--help"]),
        (["--config", "{folder}/broken.yaml"], ["broken.yaml"]),
        (["--max_span_width", "0"], ["max_span_width=0"]),
        (["--max_span_width", "wide"], ["max_span_width='wide'", "auto"]),
        (["--pooling", "sum"], ["arguments: pooling='sum'", "'max', 'first', 'mean'"]),
        (["--attention_heads", "7"], ["span_size=200", "attention_heads=7"]),
        (["--threshold", "1.5"], ["arguments: threshold=1.5"]),
        (["--start_bias", "inf"], ["arguments: start_bias='inf'"]),
        (["--labels", "PER", "LOC", "PER"], ["--labels: 'PER' is named twice"]),
        (["--eval_strategy", "steps"], ["--eval_strategy steps: there are no sentences", "--validation_file"]),
        (["--per_device_train_batch_size", "0"], ["per_device_train_batch_size=0: give 1 or more"]),
        (["--gradient_accumulation_steps", "0"], ["gradient_accumulation_steps=0: give 1 or more"]),
        (["--dataloader_num_workers", "-1"], ["dataloader_num_workers=-1: give 0 or more"]),
        (["--seed", "-1"], ["seed=-1: give 0 or more"]),
        (["--seed", "4294967296"], ["seed=4294967296: give 0 or more, less than 4294967296"]),
        (["--learning_rate", "nan"], ["learning_rate=nan: give 0 or more"]),
        (["--learning_rate", "-1"], ["learning_rate=-1.0: give 0 or more"]),
        (["--head_learning_rate", "inf"], ["head_learning_rate=inf: give 0 or more"]),
        (["--beta", "-1"], ["beta=-1.0: give 0 or more"]),
        (["--eval_strategy", "sometimes"], ["sometimes"]),
        (["--resume_from_checkpoint", "last"], ["--resume_from_checkpoint last", "leave it out"]),
        (["--output_dir", "{folder}"], ["is not empty", "--resume_from_checkpoint True"]),
        (["--model_name_or_path", "{folder}"], ["--model_name_or_path"]),
    ],
)
def test_bad_arguments_stop_train_with_one_line_and_nothing_written(extra, fragments, command, encoder, tmp_path):
    write_rows(tmp_path / "train.jsonl", GOOD_ROWS)
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "unknown.yaml").write_text("train_fle: x\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    argv = ["--model_name_or_path", encoder, "--train_file", tmp_path / "train.jsonl"]
    argv += ["--output_dir", tmp_path / "output", "--use_cpu", "--max_steps", "1"]
    before = contents(tmp_path)
    code, _, err = command("train", *argv, *(part.format(folder=tmp_path) for part in extra))
    assert code == 2
    assert told_in_one_line(err, *fragments) or ("usage" in err and all(f in err for f in fragments)), err
    assert contents(tmp_path) == before


def test_a_trained_model_is_no_encoder(command, trained, tmp_path):
    write_rows(tmp_path / "train.jsonl", GOOD_ROWS)
    argv = ["--train_file", tmp_path / "train.jsonl", "--output_dir", tmp_path / "output", "--use_cpu"]
    code, _, err = command("train", "--model_name_or_path", trained, *argv)
    assert code == 2
    assert told_in_one_line(err, f"--model_name_or_path {trained}: is a trained KnowFREE model", "encoder"), err
    assert not (tmp_path / "output").exists()


def cut_in_half(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def of_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def with_a_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("harm", "fragments"),
    [
        (cut_in_half, ["cannot be loaded"]),
        (without_tokenizer, ["has no tokenizer", "save_pretrained"]),
        (without_config, ["cannot be loaded"]),
        (of_another_kind, ["holds a bert model", "knowfree train"]),
        (with_a_config_that_is_no_json, ["cannot be loaded"]),
        (shutil.rmtree, ["no such folder"]),
    ],
)
def test_bad_model_folders_are_told_in_one_line(harm, fragments, command, trained, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    write_rows(tmp_path / "data.jsonl", GOOD_ROWS)
    harm(folder)
    before = contents(tmp_path)
    for argv in (["evaluate", "--data"], ["predict", "--input"]):
        code, out, err = command(argv[0], "--model", folder, *argv[1:], tmp_path / "data.jsonl")
        assert (code, out) == (2, "")
        assert told_in_one_line(err, str(folder), *fragments), err
    assert contents(tmp_path) == before


def test_evaluate_prints_a_table_or_json(command, trained, english_rows, tmp_path):
    write_rows(tmp_path / "data.jsonl", english_rows)
    code, out, _ = command("evaluate", "--model", trained, "--data", tmp_path / "data.jsonl", "--json")
    scores = json.loads(out)
    assert code == 0
    assert scores["f1"] == 1.0
    assert scores["per_label"]["PLACE"]["support"] == 4
    assert {"precision", "recall", "macro_f1"} <= scores.keys()
    code, out, _ = command("evaluate", "--model", trained, "--data", tmp_path / "data.jsonl")
    assert out.splitlines()[0] == "data.jsonl: F1 100.00  precision 100.00  recall 100.00  macro F1 100.00"
    assert out.splitlines()[-1].split() == ["WILDLIFE", "100.00", "100.00", "100.00", "2", "2"]


def test_no_label_of_a_file_or_a_model_moves_the_cursor(command, encoder, english_rows, tmp_path, caplog):
    escaped = [
        row | {"entities": [span | {"label": span["label"] + "\x1b[31m"} for span in row["entities"]]}
        for row in english_rows
    ]
    write_rows(tmp_path / "data.jsonl", escaped)
    training = (
        "--model_name_or_path",
        encoder,
        "--train_file",
        tmp_path / "data.jsonl",
        "--output_dir",
        tmp_path / "m",
    )
    with caplog.at_level("INFO"):
        code, _, _ = command("train", *training, "--max_steps", 1, "--report_to", "none")
    assert code == 0 and "\x1b" not in caplog.text and "PLACE\ufffd[31m" in caplog.text
    code, out, err = command("evaluate", "--model", tmp_path / "m", "--data", tmp_path / "data.jsonl")
    assert code == 0 and "\x1b" not in out + err and "PLACE\ufffd[31m" in out


def test_evaluate_refuses_labels_the_model_does_not_know(command, trained, tmp_path):
    write_rows(tmp_path / "data.jsonl", GOOD_ROWS)
    code, _, err = command("evaluate", "--model", trained, "--data", tmp_path / "data.jsonl")
    assert code == 2
    assert told_in_one_line(err, "data.jsonl", "'PER'", "PLACE")


def test_predict_streams_json_lines_in_input_order(command, trained, tmp_path):
    lines = [
        {"id": "1", "tokens": "the bear left".split()},
        {"tokens": ["at", "5", "am"]},
        {"id": "3", "tokens": [" "]},
    ]
    (tmp_path / "in.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    code, out, _ = command("predict", "--model", trained, "--input", tmp_path / "in.jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row.get("id") for row in rows] == ["1", None, "3"]
    assert [(e["start"], e["end"], e["label"], e["word"]) for e in rows[0]["entities"]] == [(1, 2, "WILDLIFE", "bear")]
    assert rows[2] == {"id": "3", "tokens": [" "], "entities": []}
    (tmp_path / "out.jsonl").write_text(out)
    assert len(read_rows(tmp_path / "out.jsonl")) == 3  # what predict writes, train reads


def test_predict_by_two_processes_writes_the_bytes_of_one(command, trained, tmp_path):
    """41 lines in batches of one: each process has 16 in the first round, and the second none of the last 9."""
    words = "the bear left harrow creek trailhead at 5 am".split()
    lines = [json.dumps({"id": str(at), "tokens": words[at % 7 : at % 7 + 1 + at % 5]}) for at in range(41)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ["predict", "--model", str(trained), "--input", str(tmp_path / "in.jsonl"), "--batch_size", "1"]
    code, out, _ = command(*words)
    both = together(2, *words)
    assert code == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == [str(at) for at in range(41)]
    assert both.returncode == 0
    assert both.stdout == out.encode()
    assert b"predict: 41" in both.stderr  # the progress bar, of one process alone


def test_several_processes_refuse_to_share_standard_input(trained):
    answer = together(2, "predict", "--model", trained, "--input", "-", "--text", stdin=b"the bear left\n")
    assert answer.returncode == 2
    assert answer.stdout == b""
    told = "knowfree: --input -: only one process can read standard input; name a file"
    assert answer.stderr.decode().count(told) == 2


def test_predict_reads_raw_text_from_standard_input(command, trained, monkeypatch):
    given = io.BytesIO(b"\xef\xbb\xbfthe bear left at 5 am\r\n\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given))
    code, out, _ = command("predict", "--model", trained, "--input", "-", "--text")
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert first["text"] == "the bear left at 5 am"
    assert [first["text"][e["start"] : e["end"]] for e in first["entities"]] == ["bear", "5 am"]
    assert second == {"text": "", "entities": []}


def test_predict_answers_an_open_pipe_batch_by_batch(trained):
    asked, ask = os.pipe()
    answers, answer = os.pipe()

    def predict() -> None:
        os.close(ask)
        os.dup2(asked, 0)  # under the streams that `Forked` has opened
        os.dup2(answer, 1)
        sys.argv = ["knowfree", "predict", "--model", str(trained), "--input", "-", "--text", "--batch_size", "2"]
        knowfree.main()

    process = Forked(predict)
    os.close(asked)
    os.close(answer)
    with open(ask, "wb") as texts, open(answers, "rb") as lines:
        for _ in range(2):
            texts.write(b"the bear left\nat 5 am\n")
            texts.flush()
            found = [json.loads(lines.readline()) for _ in range(2)]
            assert [each["text"] for each in found] == ["the bear left", "at 5 am"]
    assert process.wait(60) == 0, process.errors()


def test_predict_takes_the_key_that_can_be_tagged(command, trained, tmp_path):
    lines = ['{"tokens": null, "text": "the bear left"}', '{"tokens": ["at", "5"], "text": "at 5 am"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    code, out, _ = command("predict", "--model", trained, "--input", tmp_path / "in.jsonl")
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["the bear left", "at 5 am"]


def test_predict_does_not_advise_to_tag_the_lines_of_a_table(command, trained, tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n1,the bear left\n")
    code, _, err = command("predict", "--model", trained, "--input", tmp_path / "in.csv")
    assert code == 2 and "in.csv, line 1: not JSON" in err and "a table is not read here" in err


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        (b"the bear left", ["not JSON", "--text"]),
        (b"[" * 100_000, ["not JSON", "broken or cut off"]),
        (b'{"text": "cut off', ["not JSON", "broken or cut off"]),
        (b'{"words": ["a"]}', ['{"tokens":']),
        (b'{"tokens": "a b"}', ['{"tokens":']),
        (b'{"tokens": ["a", 3]}', ['{"tokens":']),
        (b'{"tokens": null}', ['{"tokens":']),
        (b'{"text": "a b"}', ["has 'text'", "the first line has 'tokens'"]),
        (b'{"tokens": ["bad \\ud83d half"]}', ["half a surrogate pair"]),
        (b'{"tokens": ["caf\xe9"]}', ["0xe9", "is not UTF-8", "iconv"]),
    ],
)
def test_predict_tells_the_bad_line(line, fragments, command, trained, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b'{"tokens": ["a"]}\n' + line + b"\n")
    code, _, err = command("predict", "--model", trained, "--input", tmp_path / "in.jsonl")
    assert code == 2
    assert told_in_one_line(err, "in.jsonl, line 2", *fragments), err


def test_predict_tells_a_missing_file(command, trained, tmp_path):
    code, _, err = command("predict", "--model", trained, "--input", tmp_path / "none")
    assert code == 2
    assert told_in_one_line(err, "none", "No such file")


def test_sample_writes_nested_subsets(command, english_rows, tmp_path, caplog):
    write_rows(tmp_path / "train.jsonl", english_rows)
    places = ["--train_file", tmp_path / "train.jsonl", "--output_dir", tmp_path / "low"]
    code, out, _ = command("sample", *places, "--shots", 1, "--shots", 2, "--sizes", 3, "--json")
    assert code == 0
    assert set(json.loads(out)) == {path.name for path in (tmp_path / "low").iterdir()}
    small, large = ({row["id"] for row in read_rows(tmp_path / "low" / name)} for name in ("k1.jsonl", "k2.jsonl"))
    assert small < large
    code, _, _ = command("sample", "--train_file", tmp_path / "train.jsonl", "--output_dir", tmp_path / "more")
    assert code == 0
    assert "1000 rows asked for, there are 8 gold rows: all of them are taken" in caplog.text
    assert len(read_rows(tmp_path / "more" / "train_1000.jsonl")) == 8
