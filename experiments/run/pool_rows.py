"""What a cell learns from text without labels (S11): the pool as LLM, gold model or both annotate it, and without what
a student that did not see a row doubts in it."""

import random
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from augmentation.steps.annotator import annotate_by_model
from modeling_knowfree.data.rows import Row, triple
from modeling_knowfree.decoding_knowfree import Span, resolve

from .finishing import tag_rows

SURE, DOUBTFUL = 0.9, 0.1
"""Spans of the gold model: from `SURE` on they count, as much as it is sure; down to `DOUBTFUL` they are left out."""
DISBELIEVED, INSISTED = 0.05, 0.95
"""Where a student and its teacher disagree strongly: the teacher's span under, the student's own from this score on."""
LOWEST = 1e-4
"""What a student finds is asked down to here, so that of what it disbelieves some is believed least."""

Spans = Sequence[Mapping[str, Any]]
Train = Callable[[Sequence[Row], str], Path]
"""Trains a model on rows, under a name, and returns its folder."""


def by_gold_model(rows: Sequence[Row], predicted: Sequence[Spans], decoding: str) -> list[Row]:
    """
    Pool rows with a model's confident spans as soft targets; what it is not sure of is left out of the loss.

    Args:
        predicted: by row every span the model finds, down to `DOUBTFUL`.
        decoding: `flat` or `nested`: which confident spans may stand together; better ones win, the others are left
            out of the loss.
    """
    labelled = []
    for row, spans in zip(rows, predicted, strict=True):
        spans = sorted(spans, key=lambda span: -span["score"])
        confident = [Span(s["start"], s["end"], at, s["score"]) for at, s in enumerate(spans) if s["score"] >= SURE]
        kept = [hit.label for hit in resolve(confident, decoding, multi_label=False)]
        sure = [spans[at] for at in kept]
        unsure = [span for at, span in enumerate(spans) if at not in kept and span["score"] >= DOUBTFUL]
        entities = [_span(span) | {"score": span["score"], "weight": round(span["score"], 4)} for span in sure]
        labelled.append(row | {"entities": entities, "uncertain": list(map(_span, unsure)), "annotator": "gold"})
    return labelled


def by_both(rows: Sequence[Row], predicted: Sequence[Spans]) -> list[Row]:
    """Pool rows where LLM and gold model agree; spans that one of them gives are left out of the loss."""
    confirmed = []
    for row, both in zip(rows, annotate_by_model(rows, predicted, "agree"), strict=True):
        weights = {triple(span): span["weight"] for span in row["entities"] if "weight" in span}
        entities = [span | {"weight": weights[triple(span)]} if weights else span for span in both["entities"]]
        confirmed.append(both | {"entities": entities})
    return confirmed


def without_disagreement(
    rows: Sequence[Row], predicted: Sequence[Spans], precision: Mapping[str, float]
) -> tuple[list[Row], int]:
    """
    Pool rows without the cells on which a student that never saw them disagrees strongly: these become `uncertain`.

    Args:
        rows: with the teacher's entities.
        predicted: by row what the student finds, with `score`, down to `LOWEST`; of two labels of a span the likelier
            one, which alone says nothing against the other.
        precision: the teacher's by label. Of its spans of a label no larger share than its measured errors is left
            out, the least believed first, of equals some by chance: a student that has hardly learnt a label may not
            silence it.

    Returns:
        The rows, and how many cells were left out.
    """
    scored = [{triple(span): span["score"] for span in spans} for spans in predicted]
    best: list[dict[tuple[int, int], float]] = [{} for _ in predicted]
    for likeliest, spans in zip(best, predicted, strict=True):
        for span in spans:
            extent = span["start"], span["end"]
            likeliest[extent] = max(span["score"], likeliest.get(extent, 0.0))
    disbelieved: dict[str, list[tuple[float, int, tuple[int, int, str]]]] = {}
    totals: dict[str, int] = {}
    for at, row in enumerate(rows):
        for span in row["entities"]:
            totals[span["label"]] = totals.get(span["label"], 0) + 1
            score = scored[at].get(triple(span), 0.0)
            another = best[at].get((span["start"], span["end"]), 0.0)
            if score < DISBELIEVED and not DISBELIEVED <= another < INSISTED:
                disbelieved.setdefault(span["label"], []).append((score, at, triple(span)))
    out: list[set[tuple[int, int, str]]] = [set() for _ in rows]
    chance = random.Random(0)
    for label, found in disbelieved.items():
        allowed = int((1 - precision.get(label, 1.0)) * totals[label])
        chance.shuffle(found)
        for _, at, key in sorted(found, key=itemgetter(0))[:allowed]:
            out[at].add(key)
    cleaned, count = [], 0
    for row, scores, left_out in zip(rows, scored, out, strict=True):
        told = {triple(span) for span in row["entities"]}
        insisted = {key for key, score in scores.items() if score >= INSISTED and key not in told}
        doubtful = sorted(left_out | insisted | {triple(span) for span in row.get("uncertain", ())})
        entities = [span for span in row["entities"] if triple(span) not in left_out]
        uncertain = [{"start": start, "end": end, "label": label} for start, end, label in doubtful]
        cleaned.append(row | {"entities": entities, "uncertain": uncertain})
        count += len(left_out) + len(insisted)
    return cleaned, count


def cross_fitted(gold: Sequence[Row], pool: Sequence[Row], train: Train) -> list[Spans]:
    """By pool row what a student finds in it that learnt from the gold and the other half of the pool alone."""
    found: list[Spans] = [()] * len(pool)
    for half in (0, 1):
        judged = list(range(half, len(pool), 2))
        judge = train([*gold, *pool[1 - half :: 2]], f"judge-{half + 1}")
        spans = tag_rows(judge, [pool[at] for at in judged], threshold=LOWEST, decoding="all")
        for at, one in zip(judged, spans, strict=True):
            found[at] = one
    return found


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    return {key: span[key] for key in ("start", "end", "label")}
