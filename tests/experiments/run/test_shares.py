"""How much of the synthetic rows and of the pool a cell learns from."""

import json
from pathlib import Path

import pytest
from knowfree_experiments.run import shares
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.shares import CANDIDATES, Candidate, cross_fit, take

from modeling_knowfree.data.rows import InputError
from tests.support.tiny_run import call, lines_of, tiny_settings


def row(name, label="A", **more):
    return {"id": name, "tokens": ["x", name], "entities": [{"start": 1, "end": 2, "label": label}], **more}


def beside(number, parent):
    return row(f"{parent}#{number}", source="synthetic", synthetic=True, parent_id=parent)


GOLD = [row(f"g{at}") for at in range(6)]
OTHERS = [beside(number, f"g{at}") for at in range(6) for number in range(4)] + [
    row(f"p{at}", source="pool") for at in range(10)
]


def test_a_share_is_of_each_source_keeps_the_order_and_lies_in_the_larger_one():
    half, all_rows = take(OTHERS, Candidate(0.5), 3), take(OTHERS, Candidate(1.0), 3)
    assert [each.get("source") for each in half] == ["synthetic"] * 12 + ["pool"] * 5
    assert all_rows == OTHERS and take(OTHERS, Candidate(0.0), 3) == []
    quarter = [each["id"] for each in take(OTHERS, Candidate(0.25), 3)]
    assert set(quarter) < {each["id"] for each in half}
    assert half != take(OTHERS, Candidate(0.5), 4)
    assert {each["weight"] for each in take(OTHERS, Candidate(1.0, 1.0), 3)} == {1.0}


@pytest.mark.parametrize(("helps", "best"), [(True, Candidate(0.5)), (False, Candidate(0.0))])
def test_cross_fitting_takes_what_tags_the_other_half_best(monkeypatch, tmp_path, helps, best):
    """A "model" that is right more often the more (or the less) of the rest it has learnt from."""
    learnt = {}

    def train(rows, name):
        learnt[name] = rows
        return tmp_path / name

    def tag_rows(model, rows):
        beside_gold = sum("source" in each for each in learnt[model.name])
        right = min(beside_gold, len(rows)) if helps else max(0, len(rows) - beside_gold)
        return [each["entities"] if at < right else [] for at, each in enumerate(rows)]

    monkeypatch.setattr(shares, "tag_rows", tag_rows)
    taken, scores = cross_fit(GOLD, OTHERS, 0, train)
    assert [each["share"] for each in scores] == [each.share for each in CANDIDATES]
    assert taken == best  # of equal ones the smallest: half is as good as all
    for name, rows in learnt.items():
        gold = {each["id"] for each in rows if "source" not in each}
        assert len(gold) == 3
        parents = {each["parent_id"] for each in rows if each.get("source") == "synthetic"}
        assert parents <= gold, name  # nothing written about a sentence teaches who is scored on it


def test_one_sentence_cannot_be_cross_fitted(tmp_path):
    with pytest.raises(ValueError, match="two different gold sentences"):
        cross_fit(GOLD[:1], OTHERS, 0, lambda rows, name: tmp_path)


def test_a_run_with_a_share(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(shares, "CANDIDATES", (Candidate(0.0), Candidate(1.0)))
    settings = tiny_settings(tmp_path, encoder) | {"variants": ["fs"], "share": 0.5}
    call(tmp_path / "run", settings)
    [half] = lines_of(tmp_path / "run" / "results.jsonl")
    made = lines_of(tmp_path / "run" / "all" / "augmented" / "synthetic.jsonl")
    assert half["synthetic_rows"] == round(len(made) / 2) > 0
    pushed = lines_of(tmp_path / "run" / "augmented" / "synthetic.jsonl")
    assert len(pushed) == half["synthetic_rows"]
    call(tmp_path / "run", settings, "--share", "cross_fitted")
    chosen = json.loads((tmp_path / "run" / "all" / "fs" / "shares-0.json").read_text(encoding="utf-8"))
    assert [each["share"] for each in chosen["candidates"]] == [0, 1]
    [line] = lines_of(tmp_path / "run" / "results.jsonl")
    assert line["synthetic_rows"] == round(chosen["share"] * len(made))


def test_one_sentence_is_refused_before_anything_is_asked(tmp_path, encoder):
    settings = tiny_settings(tmp_path, encoder) | {"variants": ["fs"], "share": "cross_fitted"}
    one = tmp_path / "one.jsonl"
    one.write_text(Path(settings["train_file"]).read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    told = call(tmp_path / "run", settings | {"subsets": [str(one)]}, code=2)
    assert "fs on one: share: cross_fitted" in told and not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [1.5, -0.1, "best"])
def test_a_share_that_is_none_is_refused(value):
    plain = {"train_file": "t", "test_file": "t", "language": "en", "model_name_or_path": "m"}
    with pytest.raises(InputError, match="share"):
        check_run(plain | {"share": value}, "test")
