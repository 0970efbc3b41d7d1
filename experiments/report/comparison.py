"""Is one variant better than another, or lucky? Statistics over seeds and over test sentences."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from modeling_knowfree.data.rows import InputError, span_sets
from modeling_knowfree.metrics import LabelledSpan

from ..run.results import FinishedRun, Result

RESAMPLES = 10_000
LEVEL = 0.95
_CELLS_AT_ONCE = 200_000  # sentences x resamples held in memory together: some 10 MB


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of n values; `sd` is None for a single one."""

    mean: float
    sd: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """
    Mean ± sd, as tables over seeds give it.

    Raises:
        ValueError: no value.
    """
    if not values:
        raise ValueError("no value: there is no mean of nothing")
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def span_counts(gold: Sequence[Collection[LabelledSpan]], predicted: Sequence[Collection[LabelledSpan]]) -> np.ndarray:
    """
    What micro F1 adds up, for each sentence by itself.

    Args:
        gold, predicted: the spans of each of S sentences, in the same order; doubled spans count once.

    Returns:
        Integers `[S, 3]`: correct, predicted and gold spans.

    Raises:
        ValueError: different numbers of sentences.
    """
    pairs = [(set(wanted), set(given)) for wanted, given in zip(gold, predicted, strict=True)]
    counts = [(len(wanted & given), len(given), len(wanted)) for wanted, given in pairs]
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


@dataclass(frozen=True)
class Difference:
    """
    Micro F1 of a variant minus that of a baseline, in [-1, 1].

    Args:
        value: on the test sentences as they are, the counts of all seeds added.
        low, high: the interval at `level`.
        level: of confidence.
        seeds: those both have, which alone are compared.
        sentences: test sentences resampled.
        resamples: how many times.
    """

    value: float
    low: float
    high: float
    level: float
    seeds: tuple[int, ...]
    sentences: int
    resamples: int


def paired_bootstrap(
    variant: np.ndarray, baseline: np.ndarray, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float, float]:
    """
    Difference of micro F1 with its percentile interval, by resampling test sentences.

    Each resample draws S sentences with replacement (seeded), the same ones for both systems and, as the counts are
    added over seeds before, for all their seeds (Efron and Tibshirani 1993, section 13.3; Koehn 2004).

    Args:
        variant, baseline: `[S, 3]` counts of `span_counts`, added over seeds.
        level: of confidence, 0.95 for a 95 % interval.

    Returns:
        Micro F1 of `variant` minus that of `baseline`, and the interval's ends.

    Raises:
        ValueError: different numbers of sentences, or fewer than two.
    """
    if variant.shape != baseline.shape:
        raise ValueError(f"counts of {len(variant)} and of {len(baseline)} sentences: give the same sentences")
    if len(variant) < 2:
        raise ValueError("fewer than two sentences: there is nothing to resample")
    # F1 = 2·correct / (predicted + gold), so two columns a system are enough.
    columns = [column for counts in (variant, baseline) for column in (2 * counts[:, 0], counts[:, 1] + counts[:, 2])]
    result = bootstrap(
        columns,
        _f1_difference,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _CELLS_AT_ONCE // len(variant)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval = result.confidence_interval
    return float(_f1_difference(*columns, axis=-1)), float(interval.low), float(interval.high)


def _f1_difference(right: np.ndarray, spans: np.ndarray, base_right: np.ndarray, base_spans: np.ndarray, *, axis: int):
    return _ratio(right.sum(axis), spans.sum(axis)) - _ratio(base_right.sum(axis), base_spans.sum(axis))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above / np.maximum(below, 1)  # nothing predicted and nothing to find: 0, as `span_scores` has it


def compare(
    run: FinishedRun, subset: str, variant: str, baseline: str, *, resamples: int = RESAMPLES
) -> Difference | None:
    """
    Two variants of a run on one subset, over the seeds that both have.

    Returns:
        None where they share no seed.

    Raises:
        InputError: predictions or the test file are missing or do not fit each other, or it has a single sentence.
    """
    cells, others = run.of(subset, variant), run.of(subset, baseline)
    seeds = tuple(seed for seed in cells if seed in others)
    if not seeds:
        return None
    gold = span_sets(run.test_rows)
    if len(gold) < 2:
        raise InputError(f"{run.test_file}: has 1 sentence; an interval needs at least 2 to resample, add sentences")

    def pooled(found: Mapping[int, Result]) -> np.ndarray:
        return np.sum([span_counts(gold, span_sets(run.predictions(found[seed]))) for seed in seeds], axis=0)

    counts, base_counts = pooled(cells), pooled(others)
    value, low, high = paired_bootstrap(counts, base_counts, resamples=resamples)
    return Difference(value, low, high, LEVEL, seeds, len(gold), resamples)
