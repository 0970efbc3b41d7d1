"""Fusion: gold untouched, extensions namespaced, identical triples once."""

import copy

import pytest

from augmentation.fusion import fuse, label_counts

ROW = {"id": "r1", "tokens": ["jaws", "is", "good"], "entities": [{"start": 0, "end": 1, "label": "Actor"}]}


def test_fused_row():
    row = copy.deepcopy(ROW)
    fused = fuse(
        row,
        entities=[(0, 1, "Actor"), (0, 1, "Film"), (0, 1, "Film"), (0, 2, "Clause")],
        tags=[(0, 1, "PROPN"), (1, 2, "AUX")],
        words=[(0, 1), (1, 2), (2, 3)],
        synthetic=True,
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
        "synthetic": True,
        "parent_id": "r0",
    }
    fused["entities"][0]["label"] = "changed"
    assert row == ROW


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
