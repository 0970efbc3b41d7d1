"""Fusion: gold untouched, extensions namespaced, identical triples once."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augmentation.steps.fusion import fuse, label_counts

ROW = {"id": "r1", "tokens": ["jaws", "is", "good"], "entities": [{"start": 0, "end": 1, "label": "Actor"}]}


def test_fused_row():
    row = copy.deepcopy(ROW)
    fused = fuse(
        row,
        entities=[(0, 1, "Actor"), (0, 1, "Film"), (0, 1, "Film"), (0, 2, "Clause")],
        tags=[(0, 1, "PROPN"), (1, 2, "AUX")],
        words=[(0, 1), (1, 2), (2, 3)],
        source="synthetic",
        parent_id="r0",
    )
    assert row == ROW
    assert fused == {
        "id": "r1",
        "tokens": ["jaws", "is", "good"],
        "entities": [{"start": 0, "end": 1, "label": "Actor"}],
        "extensions": [
            {"start": 0, "end": 1, "label": "ENT:Actor", "source": "entities"},
            {"start": 0, "end": 1, "label": "ENT:Film", "source": "entities"},
            {"start": 0, "end": 1, "label": "POS:PROPN", "source": "pos"},
            {"start": 0, "end": 2, "label": "ENT:Clause", "source": "entities"},
            {"start": 1, "end": 2, "label": "POS:AUX", "source": "pos"},
            {"start": 2, "end": 3, "label": "SEG:WORD", "source": "segmentation"},
        ],
        "has_extensions": True,
        "synthetic": True,
        "source": "synthetic",
        "annotator": None,
        "parent_id": "r0",
    }
    fused["entities"][0]["label"] = "changed"
    assert row == ROW


SPANS = st.tuples(st.integers(0, 4), st.integers(1, 2)).map(lambda s: (s[0], s[0] + s[1]))
LABELLED = st.lists(st.tuples(SPANS, st.sampled_from(["Actor", "SEG:WORD", "POS:NOUN", "名詞"])), max_size=6)


@given(LABELLED, LABELLED, LABELLED, st.lists(SPANS, max_size=6))
def test_gold_passes_through_whatever_is_fused_into_it(gold, entities, tags, words):
    row = {
        "id": "r",
        "tokens": list("abcdef"),
        "entities": [{"start": start, "end": end, "label": label} for (start, end), label in gold],
    }
    before = copy.deepcopy(row)
    flat = [[(*span, label) for span, label in spans] for spans in (entities, tags)]
    fused = fuse(row, *flat, words)
    assert {name: fused[name] for name in before} == before == row
    triples = [(e["start"], e["end"], e["label"]) for e in fused["extensions"]]
    assert len(triples) == len(set(triples))
    assert all(label.startswith(("ENT:", "POS:")) or label == "SEG:WORD" for *_, label in triples)
    assert {(s, e) for s, e, _ in triples} == {(s, e) for s, e, _ in flat[0] + flat[1]} | set(words)


def test_words_whose_borders_the_tagger_moved_stay_as_words():
    fused = fuse(ROW, [], [(0, 2, "NOUN")], [(0, 1), (1, 3)])
    assert [(e["start"], e["end"], e["label"]) for e in fused["extensions"]] == [
        (0, 1, "SEG:WORD"),
        (0, 2, "POS:NOUN"),
        (1, 3, "SEG:WORD"),
    ]


def test_label_counts():
    rows = [fuse(ROW, [(0, 1, "B"), (1, 2, "A")], [], []), fuse(ROW, [(2, 3, "A")], [], [])]
    assert label_counts(rows) == {"targets": {"Actor": 2}, "extensions": {"ENT:A": 2, "ENT:B": 1}}


def test_span_outside_the_row_is_an_error():
    with pytest.raises(ValueError, match=r"row r1: ENT:X \[2, 4\) lies outside its 3 units"):
        fuse(ROW, [(2, 4, "X")], [], [])


def test_what_the_gold_leaves_out_or_weighs_stays_so():
    doubt = [{"start": 1, "end": 2, "label": "PER"}]
    fused = fuse(ROW | {"uncertain": doubt, "weight": 0.3}, [], [], [])
    assert fused["uncertain"] == doubt and fused["weight"] == 0.3
    assert not {"uncertain", "weight"} & fuse(ROW, [], [], []).keys()
