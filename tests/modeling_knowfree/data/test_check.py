"""`knowfree data check`: what is told of a file before anything trains."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from modeling_knowfree.data.commands import data
from modeling_knowfree.data.rows import InputError, write_rows


def row(row_id: str, text: str, *spans: tuple[str, str]) -> dict:
    entities = [{"start": text.index(m), "end": text.index(m) + len(m), "label": label} for m, label in spans]
    return {"id": row_id, "tokens": list(text), "entities": entities}


TRAIN = [
    row("a", "他在嘉鱼县吃饭", ("嘉鱼县", "LOC"), ("嘉鱼", "LOC"), ("他", "PER")),
    row("b", "他在嘉鱼县吃饭", ("嘉鱼", "ORG")),
    row("c", "嘉鱼，很好", ("嘉鱼，", "LOC")),
    row("d", "看NBA比赛", ("BA", "ORG")),
    row("e", "没有什么"),
    row("f", "没有什么"),
    row("g", "去 北京", (" 北京", "LOC")),
]
TEST = [row("x", "没有什么"), row("y", "吃苹果", ("苹果", "FOOD"))]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, rows in (("train.jsonl", TRAIN), ("test.jsonl", TEST)):
        write_rows(tmp_path / name, rows)
    return tmp_path / "train.jsonl", tmp_path / "test.jsonl"


def check(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(data, ["check", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_counts_examples_and_all_that_looks_wrong(files):
    told = json.loads(check(*files, "--json"))
    train = told["files"][0]
    assert [train[key] for key in ("sentences", "units", "unit", "entities", "without_entities")] == [
        7,
        37,
        "character",
        7,
        2,
    ]
    assert train["labels"] == {"LOC": 4, "ORG": 2, "PER": 1}
    assert train["nested"] == 1 and train["crossing"] == 0 and train["longest"] == ["a", 7]
    assert train["widths"]["max"] == 3
    assert train["examples"]["PER"] == [{"id": "a", "before": "", "mention": "他", "after": "在嘉鱼县吃饭"}]
    counts = {kind: found["count"] for kind, found in train["findings"].items()}
    assert counts == {
        "the same sentence with different labels": 1,
        "duplicate sentences": 1,
        "mentions with different labels": 1,
        "spans with punctuation at an edge": 1,
        "spans with white space at an edge": 1,
        "spans that end inside a word": 1,
    }
    between = {kind: found["places"] for kind, found in told["between"].items()}
    train_file, test_file = map(str, files)
    assert between == {
        f"labels that {train_file} lacks": [f"FOOD (1 spans in {test_file})"],
        f"sentences that stand in {train_file} too": [f"x in {test_file}"],
    }


def test_a_person_reads_lines_and_a_page(files, tmp_path):
    out = check(*files, "--html", tmp_path / "page.html")
    assert f"{files[0]}: read as jsonl" in out
    assert "7 sentences (2 without entities), 37 character units, 7 entities" in out
    assert "    [他]在嘉鱼县吃饭  (a)" in out
    assert "max_span_width 8: 0 spans out of reach" in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<div class="spans"') == len(TRAIN) + len(TEST)


def test_nothing_of_a_file_runs_in_a_terminal_or_a_page(tmp_path):
    write_rows(tmp_path / "evil.jsonl", [row("<b>", "\x1b[31m<img src=x>红", ("红", "<script>"))])
    out = check(tmp_path / "evil.jsonl", "--html", tmp_path / "page.html")
    assert "\x1b" not in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img" not in page and "<script" not in page and "<b>" not in page


def test_a_bad_file_is_one_error_and_no_page(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"tokens": ["a"], "entities": [{"start": 0, "end": 9, "label": "X"}]}\n')
    with pytest.raises(InputError, match=r"bad\.jsonl"):
        check(tmp_path / "bad.jsonl", "--html", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
