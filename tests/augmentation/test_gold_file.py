"""What a file of gold may hold: equal sentences, rows that are augmented already."""

import json

from modeling_knowfree.data.rows import write_rows
from tests.conftest import row
from tests.support.augment_call import call

SENTENCE = "the bear left the creek"


def init(folder, rows):
    write_rows(folder / "gold.jsonl", rows)
    (folder / "answers.jsonl").write_text("", encoding="utf-8")
    answers = ("--client", "recorded", "--answers", folder / "answers.jsonl")
    call("init", folder / "run", "--train_file", folder / "gold.jsonl", "--language", "en", *answers)


def test_an_equal_sentence_is_planned_once(tmp_path):
    spans = ((1, 2, "WILDLIFE"),)
    init(tmp_path, [row(SENTENCE, *spans, id="a"), row(SENTENCE, *spans, id="b"), row("the den", id="c")])
    tasks = json.loads(call("plan", tmp_path / "run", "--json"))["tasks"]
    assert (tasks["entities"]["missing"], tasks["pos"]["missing"]) == (2, 2)


def test_rows_that_are_augmented_already_are_told(tmp_path, caplog):
    extension = {"start": 0, "end": 1, "label": "POS:DET", "source": "pos"}
    synthetic = row("the den", id="b") | {"synthetic": True, "parent_id": "a"}
    rows = [row(SENTENCE, (1, 2, "WILDLIFE"), id="a") | {"extensions": [extension]}, synthetic, row("snow", id="c")]
    init(tmp_path, rows)
    call("plan", tmp_path / "run")
    assert "2 rows are augmented already: extensions go" in caplog.text
