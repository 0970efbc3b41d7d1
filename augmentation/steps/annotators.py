"""A trained model annotates the targets of synthetic sentences (S7, S9), alone or beside the LLM."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from augmentation import __version__
from augmentation.review.export import provenance_features
from augmentation.settings import Annotator

Row = dict[str, Any]


def annotate_by_model(
    rows: Iterable[Row], predicted: Iterable[Sequence[Mapping[str, Any]]], annotator: Annotator, min_targets: int = 0
) -> Iterator[Row]:
    """
    Synthetic rows with the targets that the frozen model found.

    Args:
        rows: fused synthetic rows; for `agree` their `entities` are the LLM's.
        predicted: by row the model's spans, with `start`, `end`, `label` and `score`.
        annotator: `fusion` or `gold`: the model's spans replace the row's, scores kept; `agree`: spans that both give
            count, those that one gives become `uncertain` and are left out of the loss.
        min_targets: rows with fewer are dropped.
    """
    for row, spans in zip(rows, predicted, strict=True):
        found = [{key: span[key] for key in ("start", "end", "label", "score")} for span in spans]
        if annotator == "agree":
            told = {(span["start"], span["end"], span["label"]): span for span in row["entities"]}
            scored = {(span["start"], span["end"], span["label"]): span for span in found}
            doubtful = sorted(told.keys() ^ scored.keys())
            found = [scored[key] for key in sorted(told.keys() & scored.keys())]
            row = row | {"uncertain": [{"start": start, "end": end, "label": label} for start, end, label in doubtful]}
        if len(found) >= min_targets:
            yield row | {"entities": found}


def model_provenance(name: str, weights: Path) -> dict[str, Any]:
    """The provenance of targets that a frozen model gave: one line for all synthetic sentences, `prompt_sha256` the
    hash of its weights."""
    return dict.fromkeys(provenance_features()) | {
        "task": "targets",
        "model": name,
        "mode": "frozen model",
        "repaired": False,
        "prompt_id": "weights",
        "prompt_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "package_version": __version__,
    }
