"""How training starts: a classifier that expects of each label no more spans, and of each tag no more units, than the
training rows have of it.

With a bias of 0, each of a sentence's L² spans is a hit of every label with probability ½ at the first update: the loss
of a sentence is in the thousands, clipping hands the step to the extension columns, which are many, and the encoder may
be pushed out of shape before it has learnt anything. The cure is the prior of RetinaNet (Lin et al. 2017, section 3.3),
here one for each column, from the rows.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..configuration_knowfree import KnowFreeConfig
from ..data.rows import Row
from ..tags_knowfree import UnitTags
from ..units_knowfree import span_count


def prior_log_odds(rows: Iterable[Row], config: KnowFreeConfig) -> list[float]:
    """
    The log odds of each label's share among all spans that the model scores in these rows.

    Args:
        rows: every training row, synthetic ones included.
        config: its columns, targets first, and its `max_span_width`.

    Returns:
        One number for each column. Half a span is added to every count: a label that the rows lack has a share too.
    """
    cells, counts = 0, Counter[str]()
    for row in rows:
        cells += span_count(len(row["tokens"]), config.max_span_width)
        counts.update(span["label"] for span in [*row["entities"], *row.get("extensions", ())])
    shares = [(counts[label] + 0.5) / (cells + 1) for label in [*config.target_labels, *config.extension_labels]]
    return [math.log(share / (1 - share)) for share in (min(share, 0.5) for share in shares)]


def prior_of_tags(rows: Iterable[Row], labels: Sequence[str]) -> list[float]:
    """The logarithms of the shares of the labels' tags among the rows' units, as `tags_knowfree.UnitTags` orders them,
    half a unit added to every count."""
    counts, known = Counter[tuple[str, str]](), frozenset(labels)
    for row in rows:
        counts["O", ""] += len(row["tokens"])
        for span in (span for span in [*row["entities"], *row.get("extensions", ())] if span["label"] in known):
            counts["B", span["label"]] += 1
            counts["I", span["label"]] += span["end"] - span["start"] - 1
            counts["O", ""] -= span["end"] - span["start"]
    tags = [*(("B", label) for label in labels), *(("I", label) for label in labels), ("O", "")]
    units = [max(0, counts[tag]) + 0.5 for tag in tags]
    return [math.log(count / sum(units)) for count in units]


def set_start_bias(model: Any, rows: Sequence[Row], start_bias: str | float) -> None:
    """
    Set the classifier's bias before the first update.

    Args:
        model: with a `config` and a `classifier` that scores every span for each of its labels.
        rows: the training rows.
        start_bias: `"prior"`: see `prior_log_odds`; a number for every column; `"none"`: as the layer was made,
            about 0, the paper's letter.
    """
    if start_bias == "none":
        return
    bias = model.classifier.bias
    values = prior_log_odds(rows, model.config) if start_bias == "prior" else [float(start_bias)] * len(bias)
    with torch.no_grad():
        bias.copy_(torch.tensor(values))
        if start_bias == "prior":
            labels = [*model.config.target_labels, *model.config.extension_labels]
            for tags in (module for module in model.modules() if isinstance(module, UnitTags)):
                tags.bias.copy_(torch.tensor(prior_of_tags(rows, [labels[column] for column in tags.columns])))


def check_start_bias(value: str | float) -> str | float:
    """
    `"prior"`, `"none"` or a number.

    Raises:
        ValueError: anything else, infinities and NaN included.
    """
    if value in ("prior", "none"):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"start_bias={value!r}: give prior, none (the paper's letter) or a number")
    return number
