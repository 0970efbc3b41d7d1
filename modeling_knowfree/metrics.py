"""Exact-match precision, recall and F1 of labelled spans; nested, crossing and multi-label spans count alike."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

LabelledSpan = tuple[int, int, Hashable]  # start, end (exclusive), label


def span_scores(gold: Sequence[Iterable[LabelledSpan]], predicted: Sequence[Iterable[LabelledSpan]]) -> dict[str, Any]:
    """
    Score predictions against gold; a prediction counts where start, end and label are all right.

    Args:
        gold, predicted: the spans of each sentence, in the same order; doubled spans count once.

    Returns:
        `precision`, `recall`, `f1` (micro), `macro_f1` (mean over the labels that gold or predictions have),
        `gold_spans`, `predicted_spans`, `correct_spans`, and `per_label`: for each label `precision`, `recall`, `f1`,
        `support`, `predicted`. A ratio with nothing to divide by is 0.

    Raises:
        ValueError: different numbers of sentences.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} sentences of gold, {len(predicted)} of predictions: give one each")
    support: Counter = Counter()
    found: Counter = Counter()
    right: Counter = Counter()
    for gold_spans, predicted_spans in zip(gold, predicted, strict=True):
        wanted, given = set(gold_spans), set(predicted_spans)
        support.update(label for _, _, label in wanted)
        found.update(label for _, _, label in given)
        right.update(label for _, _, label in wanted & given)
    per_label = {
        label: {
            **_ratios(right[label], found[label], support[label]),
            "support": support[label],
            "predicted": found[label],
        }
        for label in sorted(support.keys() | found.keys(), key=str)
    }
    macro = sum(scores["f1"] for scores in per_label.values()) / len(per_label) if per_label else 0.0
    return {
        **_ratios(right.total(), found.total(), support.total()),
        "macro_f1": macro,
        "gold_spans": support.total(),
        "predicted_spans": found.total(),
        "correct_spans": right.total(),
        "per_label": per_label,
    }


def _ratios(right: int, found: int, support: int) -> dict[str, float]:
    return {
        "precision": right / found if found else 0.0,
        "recall": right / support if support else 0.0,
        "f1": 2 * right / (found + support) if found + support else 0.0,
    }
