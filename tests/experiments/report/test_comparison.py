"""Statistics over seeds and test sentences."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowfree_experiments.report.comparison import Spread, compare, paired_bootstrap, span_counts, spread

from modeling_knowfree.data.readers import InputError, write_rows
from tests.support.run_folder import TEST_ROWS, make_run


def test_spread_is_mean_and_sample_deviation():
    assert spread([0.5]) == Spread(0.5, None, 1)
    assert spread([0.25, 0.5, 0.75]) == Spread(0.5, 0.25, 3)
    with pytest.raises(ValueError, match="no value"):
        spread([])


def test_counts_of_each_sentence():
    gold = [[(0, 1, "A"), (2, 3, "B")], [], [(0, 2, "A")]]
    predicted = [[(0, 1, "A"), (2, 3, "A")], [(4, 5, "B")], [(0, 2, "A"), (0, 2, "A")]]
    assert span_counts(gold, predicted).tolist() == [[1, 2, 2], [0, 1, 0], [1, 1, 1]]
    assert span_counts([], []).shape == (0, 3)
    with pytest.raises(ValueError):
        span_counts(gold, predicted[:2])


COUNTS = np.array([[1, 2, 2], [0, 1, 1], [2, 2, 3], [0, 0, 1], [1, 1, 1], [0, 2, 0]] * 5)


def test_a_system_does_not_differ_from_itself():
    assert paired_bootstrap(COUNTS, COUNTS, resamples=500) == (0.0, 0.0, 0.0)


def test_a_system_that_is_always_better_lies_above_zero():
    perfect = COUNTS.copy()
    perfect[:, :2] = perfect[:, 2:]
    value, low, high = paired_bootstrap(perfect, COUNTS, resamples=500)
    assert value == pytest.approx(1 - 2 * 20 / 80)
    assert 0 < low < value < high


def test_a_system_that_finds_nothing_has_f1_zero():
    assert paired_bootstrap(np.zeros((3, 3), int), np.zeros((3, 3), int), resamples=50) == (0.0, 0.0, 0.0)
    nothing = np.array([[0, 0, 1]] * 3)
    assert paired_bootstrap(np.array([[1, 1, 1]] * 3), nothing, resamples=50) == (1.0, 1.0, 1.0)


def test_interval_is_that_of_plain_resampling():
    rng = random.Random(1)
    right = [rng.randrange(3) for _ in range(40)]
    ours = np.array([[n, n + rng.randrange(2), n + rng.randrange(3)] for n in right])
    theirs = ours - [[min(n, rng.randrange(2)), 0, 0] for n in right]

    def f1(rows):
        correct, predicted, gold = (sum(row[i] for row in rows) for i in range(3))
        return 2 * correct / (predicted + gold)

    differences = []
    for _ in range(4000):
        drawn = [rng.randrange(40) for _ in range(40)]
        differences.append(f1([ours[i] for i in drawn]) - f1([theirs[i] for i in drawn]))
    differences.sort()
    value, low, high = paired_bootstrap(ours, theirs, resamples=4000)
    assert value == pytest.approx(f1(ours) - f1(theirs))
    assert low == pytest.approx(differences[100], abs=0.01)
    assert high == pytest.approx(differences[3900], abs=0.01)


@settings(max_examples=20)
@given(st.data())
def test_turning_the_pair_round_turns_the_interval_round(data):
    row = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)).map(
        lambda n: (n[0], n[0] + n[1], n[0] + n[2])
    )
    both = data.draw(st.lists(st.tuples(row, row), min_size=2, max_size=12))
    ours, theirs = (np.array([pair[side] for pair in both]) for side in (0, 1))
    value, low, high = paired_bootstrap(ours, theirs, resamples=200)
    assert low <= high
    assert paired_bootstrap(theirs, ours, resamples=200) == pytest.approx((-value, -high, -low))


def test_refuses_what_cannot_be_paired():
    with pytest.raises(ValueError, match="2 and of 3 sentences"):
        paired_bootstrap(COUNTS[:2], COUNTS[:3])
    with pytest.raises(ValueError, match="fewer than two"):
        paired_bootstrap(COUNTS[:1], COUNTS[:1])


def test_two_thousand_sentences_take_seconds():
    import time

    counts = np.tile(COUNTS, (67, 1))
    begin = time.process_time()
    paired_bootstrap(counts, counts)
    assert time.process_time() - begin < 15


def test_only_seeds_that_both_have_are_compared(tmp_path):
    run = make_run(
        tmp_path,
        cells={
            ("k2", "base", 0): "without PLACE",
            ("k2", "base", 1): "nothing",
            ("k2", "fs", 0): "gold",
            ("k2", "fs", 2): "nothing",
            ("k2", "cnn", 5): "gold",
        },
    )
    found = compare(run, "k2", "fs", "base", resamples=200)
    assert found.seeds == (0,) and found.sentences == 8
    assert found.value == pytest.approx(1 - 24 / 28)
    assert 0 <= found.low < found.high
    assert compare(run, "k2", "cnn", "base") is None


def test_seeds_are_pooled_by_their_counts(tmp_path):
    cells = {("k2", "base", 0): "without PLACE", ("k2", "base", 1): "nothing"}
    cells |= {("k2", "fs", 0): "gold", ("k2", "fs", 1): "nothing"}
    found = compare(make_run(tmp_path, cells=cells), "k2", "fs", "base", resamples=200)
    assert found.seeds == (0, 1)
    assert found.value == pytest.approx(2 * 16 / (16 + 32) - 2 * 12 / (12 + 32))


def test_predictions_of_other_sentences_are_refused(tmp_path):
    run = make_run(tmp_path, cells={("k2", "base", 0): "gold", ("k2", "fs", 0): "gold"})
    path = tmp_path / "k2" / "fs" / "seed-0" / "test_predictions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("bear", "boar"), encoding="utf-8")
    with pytest.raises(InputError, match=r"test_predictions\.jsonl: its sentences are not those of .*test\.jsonl"):
        compare(run, "k2", "fs", "base")


@pytest.mark.parametrize("label", ["PLACE", "TIME"])  # base finds no PLACE: without them its F1 is another
def test_gold_spans_that_the_run_was_not_scored_on_are_refused(label, tmp_path):
    run = make_run(tmp_path, cells={("k2", "base", 0): "without PLACE", ("k2", "fs", 0): "gold"})
    kept = [one | {"entities": [span for span in one["entities"] if span["label"] != label]} for one in TEST_ROWS]
    write_rows(run.test_file, kept)
    with pytest.raises(InputError, match=r"test\.jsonl are not those of the run: F1 0\.\d+ now, 1\.0000 in"):
        compare(run, "k2", "fs", "base")


def test_gold_spans_moved_where_nobody_found_any_are_refused(tmp_path):
    run = make_run(tmp_path, cells={("k2", "base", 0): "nothing", ("k2", "fs", 0): "nothing"})
    text = run.test_file.read_text(encoding="utf-8")
    run.test_file.write_text(text.replace('"GEAR"', '"PLACE"'), encoding="utf-8")
    with pytest.raises(InputError, match=r"gold spans of .* are not those of the run"):
        compare(run, "k2", "fs", "base")


def test_one_sentence_has_no_interval(tmp_path):
    run = make_run(tmp_path, cells={("k2", "base", 0): "gold", ("k2", "fs", 0): "nothing"}, rows=TEST_ROWS[:1])
    with pytest.raises(InputError, match=r"test\.jsonl: has 1 sentence; an interval needs at least 2"):
        compare(run, "k2", "fs", "base")
