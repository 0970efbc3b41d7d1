"""What is told of texts that are cut into windows, and how a file is tagged while the next texts become pieces."""

import json
import threading
from collections import Counter
from itertools import count

import pytest
from click.testing import CliRunner

from knowfree import cli
from modeling_knowfree.data.readers import write_rows
from modeling_knowfree.inference.tag import load_pipeline, tag


@pytest.fixture(scope="module")
def tagger(trained):
    return load_pipeline(str(trained))


@pytest.fixture
def long_rows(english_rows):
    """One sentence; eight of them with their marks, a line of 56 units; and 90 units without any mark."""
    units = [unit for row in english_rows for unit in [*row["tokens"], "."]]
    return [
        {"id": "short", "tokens": english_rows[0]["tokens"], "entities": english_rows[0]["entities"]},
        {"id": "sentences", "tokens": units, "entities": []},
        {"id": "unmarked", "tokens": ["axe"] * 90, "entities": []},
    ]


def test_evaluate_and_predict_tell_how_many_texts_were_cut_where(trained, tagger, long_rows, tmp_path, caplog):
    write_rows(tmp_path / "long.jsonl", long_rows)
    cuts: Counter[str] = Counter()
    found = tagger([row["tokens"] for row in long_rows], is_split_into_words=True, cuts=cuts)
    windows = [tagger.preprocess([row["tokens"]], is_split_into_words=True)[0].ranges for row in long_rows]
    assert [len(ranges) > 1 for ranges in windows] == [False, True, True] and len(found) == 3
    expected = {
        "texts": 2,
        "sentence_ends": len(windows[1]) - 1,
        "inside_sentences": len(windows[2]) - 1,
    }
    assert cuts == expected
    line = "2 texts longer than 40 units were cut: {sentence_ends} windows at sentence ends, {inside_sentences} inside"
    model = ("--model", str(trained), "--device", "cpu")
    scored = CliRunner().invoke(cli, ["evaluate", *model, "--data", str(tmp_path / "long.jsonl"), "--json"])
    assert json.loads(scored.stdout)["cut"] == expected
    assert line.format(**expected) in caplog.text
    caplog.clear()
    tagged = CliRunner().invoke(cli, ["predict", *model, "--input", str(tmp_path / "long.jsonl")])
    assert len(tagged.stdout.splitlines()) == 3 and line.format(**expected) in caplog.text
    caplog.clear()
    write_rows(tmp_path / "short.jsonl", long_rows[:1])
    scored = CliRunner().invoke(cli, ["evaluate", *model, "--data", str(tmp_path / "short.jsonl"), "--json"])
    assert "cut" not in json.loads(scored.stdout) and "were cut" not in caplog.text


def test_lists_tagged_ahead_give_what_calls_give_and_leave_no_thread(tagger, english_rows):
    lists = [[" ".join(row["tokens"]) for row in english_rows[at : at + 3]] for at in range(0, 8, 3)] + [[]]
    threads = threading.active_count()
    assert list(tagger.tag_each(iter(lists), batch_size=2)) == [tagger(texts, batch_size=2) for texts in lists]
    assert threading.active_count() == threads
    endless = tagger.tag_each(["the bear left"] for _ in count())
    next(endless)
    endless.close()
    assert threading.active_count() == threads
    tagged = tag(tagger, ({"text": "the bear left"} for _ in count()), batch_size=2, batches_at_once=2)
    next(tagged)
    tagged.close()
    assert threading.active_count() == threads


def test_what_lies_before_an_error_of_the_inputs_is_answered(tagger):
    def lists():
        yield ["the bear left"]
        raise OSError("the disk is gone")

    answers = tagger.tag_each(lists())
    assert next(answers) == [tagger("the bear left")]
    with pytest.raises(OSError, match="the disk is gone"):
        next(answers)
    with pytest.raises(ValueError, match="input 1: takes text, got int"):
        list(tagger.tag_each([["a"], [3]]))


def test_no_logits_are_fetched_from_the_device(tagger, monkeypatch):
    fetched = []
    to_device = tagger._ensure_tensor_on_device
    monkeypatch.setattr(
        tagger,
        "_ensure_tensor_on_device",
        lambda given, device: (fetched.append(set(given)), to_device(given, device))[1],
    )
    assert tagger("the bear left at 4 am")
    assert fetched and all("logits" not in names for names in fetched)
