"""What training rows decide about a model: labels and their weights, unit, width limit; and the model made of it."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from ..configuration_knowfree import KnowFreeConfig
from ..data.rows import Row
from ..loading import load_encoder, load_encoder_config
from ..modeling_knowfree import KnowFreeForTokenClassification
from ..units_knowfree import infer_unit, join_units
from ..windows_knowfree import sentence_ends
from .start import check_start_bias, set_start_bias

logger = logging.getLogger(__name__)

_SPECIAL_PIECES = ("pad_token_id", "bos_token_id", "eos_token_id")


def target_labels(rows: Iterable[Row]) -> list[str]:
    """The labels that the rows' entities have, sorted."""
    return sorted({span["label"] for row in rows for span in row["entities"]})


def has_multi_label(rows: Iterable[Row]) -> bool:
    """Whether some span carries two target labels."""
    for row in rows:
        spans = [(span["start"], span["end"]) for span in row["entities"]]
        if len(spans) != len(set(spans)):
            return True
    return False


def extension_weights(
    rows: Sequence[Row],
    alpha_cap: float | None = 1.0,
    min_extension_count: int = 1,
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """
    α_i = 0.5·Ĉ/C_i of every extension label that the rows have (eq 15).

    Args:
        rows: every training row, synthetic ones included.
        alpha_cap: largest α_i, or `None` for the paper's letter.
        min_extension_count: a label with fewer spans is left out.
        labels: all target labels of the task; by default those that the rows have.

    Returns:
        Extension label -> α_i, labels sorted. C_i counts the label's spans; Ĉ is the number of target spans over the
        number of target labels of the task, those that these rows lack included.
    """
    counts = Counter(span["label"] for row in rows for span in row.get("extensions", ()))
    targets = [span["label"] for row in rows for span in row["entities"]]
    mean = len(targets) / max(1, len(labels or set(targets)))
    weights = {label: 0.5 * mean / counts[label] for label in sorted(counts) if counts[label] >= min_extension_count}
    if alpha_cap is not None:
        weights = {label: min(alpha_cap, alpha) for label, alpha in weights.items()}
    return weights


# Of `auto_span_width`: the share of the target spans that must fit even without the margin, as the widest few may be
# slips; the factor for wider spans in text not seen yet; the narrowest limit, as a few sentences say little.
COVERAGE, MARGIN, NARROWEST = 0.999, 1.5, 16


def auto_span_width(rows: Iterable[Row]) -> tuple[int, int]:
    """
    A width limit for `max_span_width="auto"`, and what it costs.

    Over six data sets, limits from 5-shot to full training data put at most 0.5 % of dev and test gold out of reach.

    Args:
        rows: training rows; their target spans count, extension spans do not.

    Returns:
        The limit in units, and how many of the rows' target spans are wider.
    """
    widths = [span["end"] - span["start"] for row in rows for span in row["entities"]]
    if not widths:
        return NARROWEST, 0
    covering = np.quantile(widths, COVERAGE, method="inverted_cdf")
    limit = max(NARROWEST, math.ceil(MARGIN * covering))
    return limit, sum(width > limit for width in widths)


# Of `auto_tag_weight`: the share of target spans that may overlap others. Of cmeee's it is 0.02 to 0.07, and its few
# shots are learnt with tags alone; of the Chinese demo's it is 0.55, and tags cost it F1 (benchmarks/TRIALS.md).
MOST_OVERLAPPING = 0.2


def auto_tag_weight(rows: Iterable[Row]) -> float:
    """The weight for `tag_weight=None`: BIO tags hold no nesting, so 0 where more than `MOST_OVERLAPPING` of the rows'
    target spans share units with another target span, else 1."""
    spans = overlapping = 0
    for row in rows:
        covered = Counter(unit for span in row["entities"] for unit in range(span["start"], span["end"]))
        spans += len(row["entities"])
        overlapping += sum(
            any(covered[unit] > 1 for unit in range(span["start"], span["end"])) for span in row["entities"]
        )
    return float(overlapping <= MOST_OVERLAPPING * spans)


def train_lengths(rows: Iterable[Row], unit: str) -> dict[str, int]:
    """
    What the pipeline needs to know to give the model no longer texts than training did.

    Args:
        rows: training rows.
        unit: what their tokens are.

    Returns:
        `median`, `p95` and `max` of the rows' lengths in units, and `sentences`, the 95th percentile of how many
        sentences a row has (`sentence_ends`).
    """
    filled = [row["tokens"] for row in rows if row["tokens"]]
    lengths = list(map(len, filled))
    sentences = [len(sentence_ends(*join_units(tokens, unit))) for tokens in filled]

    def quantile(values: list[int], share: float) -> int:
        return int(np.quantile(values, share, method="inverted_cdf"))

    return {
        "median": quantile(lengths, 0.5),
        "p95": quantile(lengths, 0.95),
        "max": max(lengths),
        "sentences": quantile(sentences, 0.95),
    }


def auto_extension_schedule(rows: Iterable[Row], *, nested: bool) -> str:
    """
    `extension_schedule` for these training rows: `first` where all are gold, which are learnt by heart before a hundred
    other labels are; `constant` where synthetic sentences or texts of a pool are among them, or entities may nest.

    Args:
        nested: the decoding lets entities contain one another.
    """
    gold = all(not row.get("synthetic") and row.get("source") != "pool" for row in rows)
    return "first" if gold and not nested else "constant"


def build_config(
    model_name_or_path: str,
    rows: Sequence[Row],
    alpha_cap: float | None = 1.0,
    labels: Sequence[str] | None = None,
    extension_budget: float = 0.0,
    min_extension_count: int = 1,
    tag_weight: float | None = 0.0,
    **options: Any,
) -> KnowFreeConfig:
    """
    A `KnowFreeConfig` for these training rows.

    Args:
        model_name_or_path: folder or Hub id of the encoder.
        rows: training rows; they decide unit, target labels, extension labels with their α_i, and multi-label.
        alpha_cap, min_extension_count: see `extension_weights`.
        extension_budget: `extension_limit` for each hundred rows in which extension labels were looked for, so that
            their weight grows with what there is to learn them from; 0: no limit, the paper's letter.
        labels: target labels in column order; by default those of the rows, sorted.
        tag_weight: see `KnowFreeConfig`; `None`: what the rows want, see `auto_tag_weight`.
        options: further fields of `KnowFreeConfig`.

    Raises:
        InputError: no encoder that can be taken, see `loading.load_encoder_config`.
    """
    labels = labels or target_labels(rows)
    unit = infer_unit(rows)
    alphas = extension_weights(rows, alpha_cap, min_extension_count, labels)
    looked_at = sum(row.get("has_extensions", True) for row in rows)
    encoder = load_encoder_config(model_name_or_path)
    special: dict[str, Any] = {name: getattr(encoder, name, None) for name in _SPECIAL_PIECES}
    return KnowFreeConfig(
        encoder_config=encoder,
        **special,
        unit=unit,
        train_lengths=train_lengths(rows, unit),
        id2label=dict(enumerate(labels)),
        label2id={label: column for column, label in enumerate(labels)},
        extension_labels=list(alphas),
        extension_weights=list(alphas.values()),
        extension_limit=extension_budget * looked_at / 100 if extension_budget else None,
        multi_label=has_multi_label(rows),
        tag_weight=auto_tag_weight(rows) if tag_weight is None else tag_weight,
        **options,
    )


def build_model(
    model_name_or_path: str, config: KnowFreeConfig, rows: Sequence[Row] = (), start_bias: str | float = "prior"
) -> KnowFreeForTokenClassification:
    """
    A fresh span head on the pretrained encoder; call `transformers.set_seed` before. The same seed gives the same
    weights however many extension labels there are, so that variants of a run differ by what they learn from alone.

    Args:
        rows: the training rows, which say how the classifier starts; without, it starts as it was made.
        start_bias: see `training.start.set_start_bias`.
    """
    model = KnowFreeForTokenClassification(config)
    told = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # its table of missing weights is long, and mostly of the pooler
    try:
        encoder = load_encoder(model_name_or_path, model.knowfree.encoder.config)
    finally:
        transformers.utils.logging.set_verbosity(told)
    model.knowfree.encoder = encoder
    # Drawn anew, the classifier last: making it has drawn as often as it has columns.
    torch.manual_seed(torch.initial_seed())
    for name, module in model.named_modules():
        if name and not name.startswith("knowfree"):
            model._init_weights(module)
    if rows:
        set_start_bias(model, rows, check_start_bias(start_bias))
    return model
