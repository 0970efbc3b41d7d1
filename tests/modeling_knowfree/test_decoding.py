import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.decoding_knowfree import Span, decode, find_hits, pad_spans, resolve
from tests.support import SHARED


def scores(length: int, labels: int, **cells: float) -> torch.Tensor:
    """Band of one sentence; `s0_2_1=0.9`: span [0, 2) has label 1 with probability 0.9."""
    logits = torch.full((1, length, length, labels), -9.0)
    for name, probability in cells.items():
        start, end, label = map(int, name[1:].split("_"))
        logits[0, start, end - start - 1, label] = math.log(probability / (1 - probability))
    return logits


def spans(logits, mode="flat", multi_label=False, threshold=0.5):
    return [(s.start, s.end, s.label) for s in decode(logits, threshold, mode, multi_label)[0]]


def test_modes_keep_what_may_stand_together():
    logits = scores(6, 2, s0_4_0=0.9, s1_3_1=0.8, s3_6_0=0.7, s5_6_1=0.6)
    assert spans(logits, "all") == [(0, 4, 0), (1, 3, 1), (3, 6, 0), (5, 6, 1)]
    assert spans(logits, "nested") == [(0, 4, 0), (1, 3, 1), (5, 6, 1)]
    assert spans(logits, "flat") == [(0, 4, 0), (5, 6, 1)]


def test_spans_that_share_a_start_clash_in_flat_mode_and_nest_in_nested_mode():
    logits = scores(5, 1, s2_3_0=0.9, s2_5_0=0.8)
    assert spans(logits, "flat") == [(2, 3, 0)]
    assert spans(logits, "nested") == [(2, 3, 0), (2, 5, 0)]


@pytest.mark.parametrize("mode", ["flat", "nested", "all"])
def test_two_labels_on_one_span_stand_only_where_the_task_has_them(mode):
    logits = scores(4, 2, s1_3_0=0.7, s1_3_1=0.9)
    assert spans(logits, mode, multi_label=True) == [(1, 3, 0), (1, 3, 1)]
    assert spans(logits, mode, multi_label=False) == [(1, 3, 1)]


def test_equal_scores_prefer_earlier_then_longer_then_first_column():
    logits = scores(4, 2, s1_2_1=0.8, s1_3_1=0.8, s1_3_0=0.8, s0_2_0=0.8)
    assert spans(logits) == [(0, 2, 0)]
    assert [(h.start, h.end, h.label) for h in find_hits(logits, 0.5)[0]] == [
        (0, 2, 0),
        (1, 3, 0),
        (1, 3, 1),
        (1, 2, 1),
    ]


def test_scores_that_saturate_still_compare():
    logits = scores(3, 1)
    logits[0, 0, 1, 0], logits[0, 1, 1, 0] = 80.0, 90.0
    assert spans(logits) == [(1, 3, 0)]


def test_a_hit_must_exceed_the_threshold():
    logits = scores(3, 1, s0_1_0=0.5, s2_3_0=0.51)
    assert spans(logits) == [(2, 3, 0)]
    assert spans(logits, threshold=0.4) == [(0, 1, 0), (2, 3, 0)]
    assert decode(logits, 0.4, "flat", False)[0][1].score == pytest.approx(0.51, abs=1e-6)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'flat', 'nested', 'all'"):
        resolve([], "best", False)


def crosses(a, b):
    return a[0] < b[0] < a[1] < b[1] or b[0] < a[0] < b[1] < a[1]


def overlaps(a, b):
    return a[0] < b[1] and b[0] < a[1]


hit = st.tuples(st.integers(0, 11), st.integers(1, 6), st.integers(0, 2)).map(lambda t: (t[0], t[0] + t[1], t[2]))


@given(st.lists(hit, unique=True, max_size=40), st.sampled_from(["flat", "nested"]), st.booleans())
def test_greedy_choice_is_the_one_that_comparing_all_pairs_makes(hits, mode, multi_label):
    clash = overlaps if mode == "flat" else crosses
    kept = []
    for candidate in hits:
        extent = candidate[:2]
        same = [other for other in kept if other[:2] == extent]
        if same and not multi_label:
            continue
        if not any(clash(extent, other[:2]) for other in kept if other[:2] != extent):
            kept.append(candidate)
    found = resolve([Span(*h, 0.9) for h in hits], mode, multi_label)
    assert [s[:3] for s in found] == sorted(kept)


def test_output_is_sorted_by_start_then_end():
    logits = scores(5, 1, s3_4_0=0.99, s0_2_0=0.9, s0_3_0=0.6)
    assert spans(logits, "nested") == [(0, 2, 0), (0, 3, 0), (3, 4, 0)]


def test_spans_of_a_batch_become_one_padded_tensor():
    padded = pad_spans([[Span(0, 2, 1, 0.5)], [], [Span(1, 2, 0, 0.25), Span(2, 4, 1, 1.0)]], torch.device("cpu"))
    assert padded.tolist() == [
        [[0, 2, 1, 0.5], [-100] * 4],
        [[-100] * 4, [-100] * 4],
        [[1, 2, 0, 0.25], [2, 4, 1, 1]],
    ]
    assert pad_spans([[]], torch.device("cpu")).shape == (1, 1, 4)


@pytest.mark.shared
def test_gold_of_nested_data_fed_as_scores_decodes_to_itself():
    rows = read_rows(SHARED / "data/cmeee/test.jsonl")
    labels = sorted({e["label"] for r in rows for e in r["entities"]})
    for row in rows:
        # The longest texts as sparse hits: a band of 1,000 x 1,000 x 9 says no more than they do.
        gold = {(e["start"], e["end"], labels.index(e["label"])) for e in row["entities"]}
        if len(row["tokens"]) > 200:
            found = resolve([Span(*g, 1.0) for g in sorted(gold, key=lambda g: (g[0], -g[1], g[2]))], "nested", True)
        else:
            logits = torch.full((1, len(row["tokens"]), len(row["tokens"]), len(labels)), -20.0)
            for start, end, label in gold:
                logits[0, start, end - start - 1, label] = 20.0
            found = decode(logits, 0.5, "nested", True)[0]
        assert {s[:3] for s in found} == gold


def test_many_hits_are_resolved_in_reasonable_time():
    logits = torch.randn(1, 120, 120, 4, generator=torch.Generator().manual_seed(0)) + 1
    mask = torch.arange(1, 121)[:, None] + torch.arange(120) <= 120
    logits = logits.masked_fill(~mask.view(1, 120, 120, 1), -99)
    for mode in ("flat", "nested"):
        kept = decode(logits, 0.5, mode, False)[0]
        assert not any(
            (overlaps if mode == "flat" else crosses)(a[:2], b[:2]) for a, b in itertools.combinations(kept, 2)
        )
