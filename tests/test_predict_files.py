"""`knowfree predict` into files: formats, Parquet, resuming; what it and `evaluate` say when something cannot be right."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from knowfree import cli
from modeling_knowfree.data.readers import read_rows, write_rows

TEXTS = ["left harrow creek trailhead at 5 am .", "the bear left at 4 am", "old axe in the snow", "crossed at 5 ."] * 2


def call(*argv: object, code: int = 0) -> str:
    answer = CliRunner().invoke(cli, [str(each) for each in argv])
    assert answer.exit_code == code, answer.output + repr(answer.exception)
    return answer.stdout if not code else answer.stderr


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
    part = tmp_path / ".stopped.jsonl.part"
    part.write_bytes(b"".join(lines[:3]) + lines[3][:9])  # as a kill would leave it
    assert "--resume" in call(*predict, stopped, code=2)
    call(*predict, stopped, "--resume")
    assert stopped.read_bytes() == whole.read_bytes() and not part.exists()
    assert "exists already" in call(*predict, stopped, "--resume", code=2)


def test_another_input_is_not_continued(trained, tokens, tmp_path):
    (tmp_path / ".out.jsonl.part").write_text('{"id": "9", "tokens": ["no"], "entities": []}\n')
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
