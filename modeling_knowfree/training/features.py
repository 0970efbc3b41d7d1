"""Rows to features: pieces, and the spans that the loss looks at."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

from ..configuration_knowfree import KnowFreeConfig
from ..data.rows import Row
from ..units_knowfree import cut, encode_units


@dataclass
class Features(Dataset):
    """
    Rows as the collator wants them: a map-style data set for the Trainer.

    Attributes:
        items: one feature dict a row.
        gold: target spans of all rows.
        cut_off: of these, how many lie beyond what the encoder reads.
        too_wide: of these, how many are wider than `config.max_span_width`.
        unknown: labels of target spans that the model does not have, with their numbers; `gold` counts them too.
    """

    items: list[dict[str, Any]]
    gold: int
    cut_off: int
    too_wide: int
    unknown: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self.items[at]

    @property
    def unreachable_gold(self) -> int:
        """Gold spans that no threshold will ever bring."""
        return self.cut_off + self.too_wide + self.unknown.total()

    def losses(self) -> str | None:
        """One line on what truncation and the width limit cost, with the setting that mends it; `None` for nothing."""
        told = []
        if self.cut_off:
            told.append(f"{self.cut_off} lie beyond what the encoder reads (split the sentences)")
        if self.too_wide:
            told.append(f"{self.too_wide} are wider than max_span_width (raise --max_span_width)")
        if self.unknown:
            told.append(
                f"{self.unknown.total()} have labels that the training sentences lack (name them with --labels)"
            )
        if not told:
            return None
        return f"{self.unreachable_gold / self.gold:.1%} of {self.gold} gold spans cannot be found: {'; '.join(told)}"


def build_features(rows: Sequence[Row], tokenizer, config: KnowFreeConfig, beta: float = 1.0) -> Features:
    """
    Tokenise rows; sentences longer than the encoder reads lose their end, and the features count what that costs.

    Args:
        rows: checked rows (`data.readers.check_rows`).
        tokenizer: the encoder's.
        config: names the label columns.
        beta: loss weight of rows with `synthetic` true; a row's own `weight` goes before it. A span's `weight` makes
            its gold soft, `has_extensions` false leaves the row out of the extension columns' loss.
    """
    columns = {label: column for column, label in enumerate([*config.target_labels, *config.extension_labels])}
    targets = len(config.target_labels)
    items: list[dict[str, Any]] = []
    gold = cut_off = too_wide = 0
    unknown = unknown_labels(rows, config.target_labels)
    limit = config.max_pieces
    for row, pieces in zip(rows, encode_units(tokenizer, [row["tokens"] for row in rows], limit), strict=True):
        if limit is not None and len(pieces.input_ids) > limit:
            special = pieces.unit_ids.count(-1)
            body = [unit for unit in pieces.unit_ids if unit >= 0]
            pieces = cut(pieces, 0, body[limit - special])
        spans = [*row["entities"], *row.get("extensions", ())]
        weights = {(s["start"], s["end"], columns[s["label"]]): s.get("weight") for s in spans if s["label"] in columns}
        labelled = set(weights)
        left_out = {
            (s["start"], s["end"], ~columns[s["label"]]) for s in row.get("uncertain", ()) if s["label"] in columns
        }
        for start, end, column in labelled:
            if column < targets:
                gold += 1
                if end > pieces.num_units:
                    cut_off += 1
                elif config.max_span_width is not None and end - start > config.max_span_width:
                    too_wide += 1
        items.append(
            {
                "input_ids": pieces.input_ids,
                "unit_ids": pieces.unit_ids,
                "num_units": pieces.num_units,
                "span_labels": sorted(labelled | left_out),
                "loss_weights": loss_weight(row, beta),
            }
        )
        if any(weight is not None for weight in weights.values()):
            given = (weights.get(span) for span in items[-1]["span_labels"])
            items[-1]["span_weights"] = [1.0 if weight is None else float(weight) for weight in given]
        if row.get("has_extensions") is not None:
            items[-1]["has_extensions"] = bool(row["has_extensions"])
    return Features(items, gold + unknown.total(), cut_off, too_wide, unknown)


def loss_weight(row: Row, beta: float) -> float:
    """What a row counts in the loss: its own `weight`, or `beta` where it is synthetic."""
    if row.get("weight") is not None:
        return float(row["weight"])
    return beta if row.get("synthetic") else 1.0


def unknown_labels(rows: Iterable[Row], labels: Iterable[str]) -> Counter[str]:
    """Labels of target spans that are none of `labels`, with their numbers."""
    known = frozenset(labels)
    return Counter(span["label"] for row in rows for span in row["entities"] if span["label"] not in known)


def count_unknown(metrics: dict[str, float], unknown: Counter[str], prefix: str) -> None:
    """Adds gold spans of labels that a model does not have to its scores, in place: each such label's F1 is 0.

    Args:
        metrics: `span_scores` under keys that begin with `prefix_`, F1 of labels as `prefix_f1_<label>`.
        unknown: those labels, with their numbers of spans.
    """
    gold, found, right = (int(metrics[f"{prefix}_{kind}_spans"]) for kind in ("gold", "predicted", "correct"))
    labels = sum(key.startswith(f"{prefix}_f1_") for key in metrics)
    gold += unknown.total()
    metrics[f"{prefix}_gold_spans"] = gold
    metrics[f"{prefix}_recall"] = right / gold
    metrics[f"{prefix}_f1"] = 2 * right / (found + gold)
    metrics[f"{prefix}_macro_f1"] *= labels / (labels + len(unknown))
    metrics.update({f"{prefix}_f1_{label}": 0.0 for label in unknown})
