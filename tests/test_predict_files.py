"""`knowfree predict` into files: formats, Parquet, resuming; what it and `evaluate` say when something cannot be right."""

import datetime
import gzip
import json
import lzma
import shutil
import signal
import time
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from knowfree import cli
from modeling_knowfree.data.readers import InputError, read_rows, write_rows
from modeling_knowfree.held import held
from modeling_knowfree.inference import shards
from modeling_knowfree.inference.outputs import part_of, plan_of, weights_of
from tests.support.command import call
from tests.support.forked import knowfree_forked

TEXTS = ["left harrow creek trailhead at 5 am .", "the bear left at 4 am", "old axe in the snow", "crossed at 5 ."] * 2


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "in.jsonl"
    write_rows(path, ({"id": str(at), "tokens": text.split()} for at, text in enumerate(TEXTS)))
    return path


def test_output_formats_and_parquet_hold_the_same_spans(trained, tokens, tmp_path):
    lines = [
        json.loads(line)
        for line in call("predict", "--model", trained, "--input", tokens).splitlines()
        if line[0] == "{"
    ]
    assert any(line["entities"] for line in lines)
    table = pa.table({"id": [r["id"] for r in lines], "tokens": [r["tokens"] for r in lines], "more": list(range(8))})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    predict = ("predict", "--model", trained, "--device", "cpu", "--input")
    call(*predict, tokens, "--output", tmp_path / "out.jsonl")
    call(*predict, tmp_path / "in.parquet", "--output", tmp_path / "out.parquet")
    call(*predict, tokens, "--output", tmp_path / "out.conll", "--output-format", "conll")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == lines
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == lines
    wanted = [[(s["start"], s["end"], s["label"]) for s in line["entities"]] for line in lines]
    for path in (tmp_path / "out.jsonl", tmp_path / "out.conll"):
        assert [[(s["start"], s["end"], s["label"]) for s in r["entities"]] for r in read_rows(path)] == wanted
    assert not list(tmp_path.glob(".*"))  # nothing half-done is left


def test_running_text_is_written_in_formats_of_tokens(trained, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS[:2]) + "\n")
    call(
        "predict",
        "--model",
        trained,
        "--input",
        tmp_path / "in.txt",
        "--text",
        "--output",
        tmp_path / "o",
        "--output_format",
        "conll",
    )
    rows = read_rows(tmp_path / "o", format="conll")
    assert [row["tokens"] for row in rows] == [text.split() for text in TEXTS[:2]] and rows[1]["entities"]


def test_a_stopped_file_is_continued_and_is_the_same(trained, tokens, tmp_path):
    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    predict = ("predict", "--model", trained, "--input", tokens, "--output")
    call(*predict, whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    stop(stopped, trained, b"".join(lines[:3]) + lines[3][:9])
    assert "--resume" in call(*predict, stopped, code=2)
    call(*predict, stopped, "--resume")
    assert stopped.read_bytes() == whole.read_bytes() and not list(tmp_path.glob(".*"))
    assert "exists already" in call(*predict, stopped, "--resume", code=2)


def test_another_input_is_not_continued_wherever_it_differs(trained, tokens, tmp_path):
    output = tmp_path / "out.jsonl"
    rows = [json.loads(line) for line in tokens.read_text(encoding="utf-8").splitlines()[:2]]
    rows[0]["tokens"] = ["other", "words"]
    lines = "".join(json.dumps(row | {"entities": []}) + "\n" for row in rows).encode()
    part = stop(output, trained, lines)
    told = call("predict", "--model", trained, "--input", tokens, "--output", output, "--resume", code=2)
    assert "its row 1 is another" in told and part.read_bytes() == lines
    part.write_bytes(b"not json\n")
    told = call("predict", "--model", trained, "--input", tokens, "--output", output, "--resume", code=2)
    assert f"{part}, line 1: not JSON" in told


def stop(output, trained, lines, **changed):
    """Leaves what a kill would of a prediction into `output`; its part."""
    run = {"model": str(trained), "weights": weights_of(str(trained)), "text": False, "threshold": None}
    run |= {"decoding": None, **changed}
    plan_of(output).write_text(json.dumps(run))
    part_of(output).write_bytes(lines)
    return part_of(output)


@pytest.mark.parametrize(
    ("changed", "options", "differ"),
    [
        ({"model": "another"}, [], "model"),
        ({"threshold": 0.4}, ["--threshold", 0.6], "threshold"),
        ({"threshold": 0.4}, [], "threshold"),
        ({}, ["--decoding", "all"], "decoding"),
        ({"text": True}, ["--threshold", 0.6], "text, threshold"),
        (None, [], "model, text, threshold, decoding, weights"),
    ],
)
def test_what_was_tagged_with_something_else_is_not_continued(changed, options, differ, trained, tokens, tmp_path):
    output = tmp_path / "out.jsonl"
    line = b'{"id": "0", "tokens": ["left", "harrow"], "entities": []}\n'
    part = stop(output, trained, line, **(changed or {}))
    if changed is None:  # nothing tells what it was tagged with
        plan_of(output).unlink()
    told = call("predict", "--model", trained, "--input", tokens, "--output", output, "--resume", *options, code=2)
    assert f"--output {output}: holds the output of another run ({differ} differ)" in told
    assert part.read_bytes() == line and not output.exists()


def test_a_run_leaves_what_the_next_one_goes_on_with(trained, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"tokens": ["axe"]}\n' * 40 + '{"token": 1}\n')
    predict = ("predict", "--model", trained, "--input", tmp_path / "in.jsonl", "--batch_size", 1, "--threshold", 0.4)
    predict += ("--output", tmp_path / "out.jsonl")
    assert "line 41" in call(*predict, code=2)
    assert json.loads(plan_of(tmp_path / "out.jsonl").read_text())["threshold"] == 0.4
    (tmp_path / "in.jsonl").write_text('{"tokens": ["axe"]}\n' * 41)
    call(*predict, "--resume")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 41 and not list(tmp_path.glob(".*"))


def test_a_model_trained_anew_at_its_place_is_another(trained, tokens, tmp_path):
    model, output = tmp_path / "model", tmp_path / "out.jsonl"
    shutil.copytree(trained, model, ignore=shutil.ignore_patterns("checkpoint-*"))
    stop(output, model, b'{"id": "0", "tokens": ["left", "harrow"], "entities": []}\n')
    ray = {"text": False, "output_format": None, "rows": 1, "options": {}, "model": str(model)}
    assert shards.start(shards.make_plan(str(tokens), str(tmp_path / "shards"), **ray))
    weights = load_file(model / "model.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in weights.items()}, model / "model.safetensors", {"format": "pt"})
    told = call("predict", "--model", model, "--input", tokens, "--output", output, "--resume", code=2)
    assert "holds the output of another run (weights differ)" in told
    with pytest.raises(InputError, match=r"another run \(weights differ\)"):
        shards.start(shards.make_plan(str(tokens), str(tmp_path / "shards"), **ray))


def test_another_input_is_not_continued(trained, tokens, tmp_path):
    stop(tmp_path / "out.jsonl", trained, b'{"id": "9", "tokens": ["no"], "entities": []}\n')
    told = call(
        "predict", "--model", trained, "--input", tokens, "--output", tmp_path / "out.jsonl", "--resume", code=2
    )
    assert "is not what the stopped run read" in told and not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--text"], "leave --text out"),
        (["--resume"], "add --output FILE"),
        (["--output_format", "conll"], "add --output FILE"),
        (["--output_format", "word"], "no format that is written"),
        (["--output", "{folder}"], "is a folder"),
        (["--output", "{folder}/in.jsonl"], "exists already"),
        (["--output", "{folder}/none/out"], "there is no folder"),
        (["--output", "/dev/null"], "/dev/null: is no file"),
        (["--device", "abacus"], "--device abacus"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--device", "meta"], "holds no numbers"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(options, told, trained, tokens, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    argv = [each.format(folder=tmp_path) for each in options]
    output = call("predict", "--model", trained, "--input", tokens, *argv, code=2)
    assert told in output and [line[:9] for line in output.splitlines()] == ["knowfree:"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


GIVEN = ["\u00a0the  bear (left) at\t4 am ", "a\u200b in the\u00ad snow", "x . 5"]


@pytest.mark.parametrize("name", ["doccano", "label-studio", "brat"])
def test_running_text_comes_out_as_it_was_given(name, trained, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(GIVEN) + "\n")
    output = tmp_path / ("out.json" if name == "label-studio" else "out")
    predict = ("predict", "--model", trained, "--threshold", 0.01, "--input", tmp_path / "in.txt", "--text")
    call(*predict, "--output", output, "--output_format", name)
    tagged = [json.loads(line) for line in call(*predict).splitlines() if line[0] == "{"]
    spans = [[(each["start"], each["end"], each["label"]) for each in row["entities"]] for row in tagged]
    assert all(spans)
    if name == "doccano":
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        assert [(row["text"], [tuple(span) for span in row["label"]]) for row in rows] == list(
            zip(GIVEN, spans, strict=True)
        )
    elif name == "label-studio":
        tasks = json.loads(output.read_text())
        assert [task["data"]["text"] for task in tasks] == GIVEN
        for task, expected in zip(tasks, spans, strict=True):
            values = [result["value"] for result in task["predictions"][0]["result"]]
            assert [(v["start"], v["end"], v["labels"][0]) for v in values] == expected
            assert all(v["text"] == task["data"]["text"][v["start"] : v["end"]] for v in values)
    else:
        assert (output / "rows.txt").read_text() == "\n".join(GIVEN) + "\n"
        rows = read_rows(output)
        lengths = [sum(len(text) + 1 for text in GIVEN[:at]) for at in range(3)]
        expected = [
            (label, begin + s, begin + e) for begin, row in zip(lengths, spans, strict=True) for s, e, label in row
        ]
        written = [line.split("\t")[1].rsplit(" ", 2) for line in (output / "rows.ann").read_text().splitlines()]
        assert [(label, int(start), int(end)) for label, start, end in written] == expected
        assert [len(row["entities"]) for row in rows] == list(map(len, spans))


def test_rows_without_a_token_are_left_out_of_formats_of_tokens(trained, tmp_path, caplog):
    (tmp_path / "in.txt").write_text("the bear left\n\n \nold axe\n")
    predict = ("predict", "--model", trained, "--input", tmp_path / "in.txt", "--text", "--output")
    call(*predict, tmp_path / "out.conll", "--output_format", "conll")
    assert [row["tokens"] for row in read_rows(tmp_path / "out.conll")] == [["the", "bear", "left"], ["old", "axe"]]
    assert "out.conll: 2 rows without a token are left out" in caplog.text
    call(*predict, tmp_path / "out.jsonl")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4


def test_what_a_format_cannot_hold_is_kept_for_another(trained, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"tokens": ["the", "bear"]}\n{"tokens": ["a", "\\t"]}\n')
    output = tmp_path / "out.conll"
    predict = ("predict", "--model", trained, "--input", tmp_path / "in.jsonl", "--output", output)
    for options in ((), ("--resume",)):
        (told,) = [
            line
            for line in call(*predict, "--output_format", "conll", *options, code=2).splitlines()
            if "knowfree:" in line
        ]
        assert f"--output {output}: row '2': '\\t' holds a tab or line break" in told and ".made" not in told
        assert told.endswith("are kept: add --resume and --output_format jsonl, which holds all of them")
    call(*predict, "--output_format", "jsonl", "--resume")
    assert len(output.read_text().splitlines()) == 2 and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["jsonl", "parquet", "conll", "brat"])
def test_an_empty_input_leaves_no_part(name, trained, tmp_path):
    (tmp_path / "in.jsonl").write_text("")
    output = tmp_path / "out"
    predict = ("predict", "--model", trained, "--input", tmp_path / "in.jsonl", "--output", output)
    call(*predict, "--output_format", name, code=0 if name in ("jsonl", "parquet") else 2)
    assert output.exists() == (name in ("jsonl", "parquet")) and not list(tmp_path.glob(".*"))


def test_a_bad_first_line_leaves_nothing(trained, tmp_path):
    (tmp_path / "in.jsonl").write_text("no JSON\n")
    call("predict", "--model", trained, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_packed_input_is_read_as_what_is_in_it(trained, tokens, tmp_path):
    packed = tmp_path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(tokens.read_bytes()))
    plain, read = (
        call("predict", "--model", trained, "--input", path, "--output", tmp_path / f"{path.name}.out")
        or (tmp_path / f"{path.name}.out").read_bytes()
        for path in (tokens, packed)
    )
    assert read == plain
    packed.write_bytes(packed.read_bytes()[:-9])
    told = call("predict", "--model", trained, "--input", packed, code=2)
    assert "is gzipped and cannot be unpacked" in told


def test_each_format_is_offered_once(trained, tokens):
    told = call("predict", "--model", trained, "--input", tokens, "--output_format", "word", code=2)
    names = told.partition("allowed: ")[2].partition(";")[0].split(", ")
    assert sorted(names) == sorted(set(names)) and "parquet" in names


def test_parquet_keeps_the_ids_that_there_are(trained, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"tokens": ["the"]}\n{"id": 7, "tokens": ["bear"]}\n')
    call("predict", "--model", trained, "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == [None, "7"]


@pytest.mark.parametrize(
    ("ids", "kind", "written"),
    [
        ([UUID(int=7).bytes], pa.uuid(), str(UUID(int=7))),
        ([b"\x00\xff"], pa.binary(), "00ff"),
        ([Decimal("1.50")], pa.decimal128(5, 2), "1.50"),
        ([datetime.date(2026, 1, 2)], pa.date32(), "2026-01-02"),
        ([float("nan")], pa.float64(), None),
        ([2.5], pa.float64(), "2.5"),
        ([3], pa.int64(), 3),
    ],
)
def test_ids_of_every_kind_come_out_as_json(ids, kind, written, trained, tmp_path):
    pq.write_table(pa.table({"id": pa.array(ids, kind), "text": ["the bear"]}), tmp_path / "in.parquet")
    [line] = call("predict", "--model", trained, "--input", tmp_path / "in.parquet").splitlines()
    assert json.loads(line, parse_constant=pytest.fail).get("id") == written


def test_an_output_that_another_process_writes_is_left_to_it(trained, tokens, tmp_path):
    argv = ["predict", "--model", trained, "--input", tokens, "--output", tmp_path / "out"]
    with held(tmp_path / "out", "--output"):
        part_of(tmp_path / "out").write_text("{}\n")  # which is not to be deleted now
        assert "another process is writing it" in call(*argv, code=2)
        assert "another process is writing it" in call(*argv, "--resume", code=2)
        part_of(tmp_path / "out").unlink()
    call(*argv)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out"]


def test_a_dash_is_standard_output(trained, tokens, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["predict", "--model", trained, "--input", tokens]
    assert call(*argv, "--output", "-") == call(*argv)
    assert not (tmp_path / "-").exists()


def test_an_input_packed_otherwise_is_told(trained, tokens, tmp_path):
    (tmp_path / "in.xz").write_bytes(lzma.compress(tokens.read_bytes()))
    assert "unpack it first: xz -d" in call("predict", "--model", trained, "--input", tmp_path / "in.xz", code=2)


def test_parquet_without_text_is_refused(trained, tmp_path):
    pq.write_table(pa.table({"sentence": ["a"]}), tmp_path / "in.parquet")
    assert "only sentence" in call("predict", "--model", trained, "--input", tmp_path / "in.parquet", code=2)


def test_f1_of_zero_comes_with_its_reason(trained, tmp_path):
    data = tmp_path / "data.jsonl"
    write_rows(
        data, [{"id": "1", "tokens": ["the", "snow", "left"], "entities": [{"start": 0, "end": 3, "label": "TIME"}]}]
    )
    evaluate = ("evaluate", "--model", trained, "--data", data, "--json")
    scores = json.loads(call(*evaluate, "--threshold", "0.999999").splitlines()[-1])
    assert scores["f1"] == 0 and "no prediction over the threshold 0.999999" in scores["reason"]
    write_rows(data, [{"id": "1", "tokens": ["the"], "entities": []}])
    assert json.loads(call(*evaluate).splitlines()[-1])["reason"] == "the file has no entity"
    write_rows(data, [{"id": "1", "tokens": ["the"], "entities": [{"start": 0, "end": 1, "label": "WINE"}]}])
    told = call(*evaluate, code=2)
    assert "no label in common" in told and "--labels" not in told


def test_gold_in_another_unit_is_told_before_any_other_reason(trained, nested, tmp_path, caplog):
    data = tmp_path / "data.jsonl"
    for model, tokens, told in (
        (trained, list("snow"), "tokens are characters, the model counts in words: cut them alike"),
        (nested, ["北京", "大学"], "tokens are words, the model counts in characters: cut them alike"),
    ):
        label = json.loads((model / "config.json").read_text())["id2label"]["0"]
        write_rows(data, [{"id": "1", "tokens": tokens, "entities": [{"start": 0, "end": 1, "label": label}]}])
        scores = call("evaluate", "--model", model, "--data", data, "--json", "--threshold", "0.9999999")
        assert json.loads(scores.splitlines()[-1])["reason"] == told
        assert f"data.jsonl: {told}" in caplog.text
    caplog.clear()
    write_rows(data, [{"id": "1", "tokens": ["the", "bear"], "entities": []}])
    call("evaluate", "--model", trained, "--data", data)
    assert "cut them alike" not in caplog.text


def test_what_is_piped_in_packed_and_an_output_packed_by_its_name_are_told(trained, tokens, tmp_path):
    argv = ["predict", "--model", str(trained), "--input", "-"]
    answer = CliRunner().invoke(cli, argv, input=gzip.compress(tokens.read_bytes()))
    assert answer.exit_code == 2 and "--input -: is packed by gzip; unpack it on the way" in answer.stderr
    told = call("predict", "--model", trained, "--input", tokens, "--output", tmp_path / "out.jsonl.gz", code=2)
    assert "out.jsonl.gz: is not packed while it is written; name it out.jsonl" in told


def test_ctrl_c_says_how_to_go_on(trained, tmp_path):
    (tmp_path / "in.txt").write_text("the bear left at 4 am\n" * 20000, encoding="utf-8")
    output = tmp_path / "out.jsonl"
    process = knowfree_forked(
        "predict", "--model", trained, "--input", tmp_path / "in.txt", "--text", "--output", output
    )
    while process.poll() is None and not (part_of(output).is_file() and part_of(output).stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 128 + signal.SIGINT
    last = process.errors().decode().splitlines()[-1]
    assert last == f"knowfree: interrupted; what is tagged lies beside {output}; to go on: the same with --resume"
