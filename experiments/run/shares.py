"""How much of what was made or found beside the gold a cell learns from, and at what weight: chosen by cross-fitting on
the gold sentences alone, where there is no dev set or it shall not be used up.

The larger the gold, the less synthetic text it takes (the paper's future work): each half of the gold is tagged by
models that learnt from the other half and from more or less of the rest; the best of both halves together is taken.
"""

import json
import logging
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from augmentation.steps.teacher import fold_of
from modeling_knowfree.data.rows import Row, span_sets, triple
from modeling_knowfree.files import write_whole
from modeling_knowfree.metrics import span_scores

from .cells import Cell
from .finishing import fit, tag_rows

logger = logging.getLogger(__name__)
SHARES_FILE = "shares-{seed}.json"
"""Beside a cell's training rows: F1 of each candidate, and which was taken."""


@dataclass(frozen=True)
class Candidate:
    """
    A share of the rows beside the gold.

    Args:
        share: of the synthetic rows and of the pool's, each by itself; 0 to 1.
        weight: loss weight of these rows (eq 14); None for what they have: β, or their own.
    """

    share: float
    weight: float | None = None


CANDIDATES = (Candidate(0.0), Candidate(0.5), Candidate(1.0), Candidate(1.0, 1.0))


def share_of(cell: Cell, gold: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The part of the rows beside the gold that a cell learns from, as its settings say; what cross-fitting found lies
    in `SHARES_FILE` then."""
    if cell.settings.share != "cross_fitted":
        return take(others, Candidate(cell.settings.share), cell.seed)
    folder = cell.folder.parent / f".shares-{cell.seed}"

    def train(rows: Sequence[Row], name: str) -> Path:
        logger.info("%s %s seed %d: training %s of %d rows", cell.subset, cell.variant, cell.seed, name, len(rows))
        fit(cell, rows, folder / name)
        return folder / name

    best, scores = cross_fit(gold, others, cell.seed, train)
    shutil.rmtree(folder, ignore_errors=True)
    taken = f"takes {best.share * 100:.0f} % of {len(others)} rows"
    logger.info("%s %s seed %d: %s", cell.subset, cell.variant, cell.seed, taken)
    told = {"share": best.share, "weight": best.weight, "candidates": scores}
    write_whole(cell.folder.parent / SHARES_FILE.format(seed=cell.seed), json.dumps(told, indent=2) + "\n")
    return take(others, best, cell.seed)


def take(rows: Sequence[Row], candidate: Candidate, seed: int) -> list[Row]:
    """
    The rows beside the gold that a candidate stands for, in their order; a smaller share lies inside a larger one.
    """
    chosen: set[int] = set()
    for source in ("synthetic", "pool"):
        found = [at for at, row in enumerate(rows) if row.get("source") == source]
        random.Random(seed).shuffle(found)
        chosen.update(found[: round(candidate.share * len(found))])
    weight = {} if candidate.weight is None else {"weight": candidate.weight}
    return [row | weight for at, row in enumerate(rows) if at in chosen]


def cross_fit(
    gold: Sequence[Row], others: Sequence[Row], seed: int, train: Callable[[Sequence[Row], str], Path]
) -> tuple[Candidate, list[dict[str, float | None]]]:
    """
    Choose among `CANDIDATES`.

    Args:
        gold: of the cell, with extension labels where it has them.
        others: its synthetic rows and those of the pool. A synthetic row goes with the fold of its `parent_id`: what
            was written about a sentence never teaches a model that is scored on it. Who annotated the rows knows both
            folds; where that is the model of the gold, larger shares look better than they are.
        train: trains on rows, under a name, and returns the model's folder.

    Returns:
        The candidate with the highest F1 over all gold sentences, of equal ones the smallest, and each one's
        `share`, `weight`, `f1`.

    Raises:
        ValueError: fewer than two different gold sentences.
    """
    folds = fold_of(["\n".join(row["tokens"]) for row in gold], seed)
    if len(set(folds)) < 2:
        raise ValueError("cross-fitting needs two different gold sentences at least")
    fold_by_id = {row["id"]: fold for row, fold in zip(gold, folds, strict=True)}
    scores = []
    for number, candidate in enumerate(CANDIDATES):
        told, found = [], []
        for fold in (0, 1):
            held_out = [row for row, of in zip(gold, folds, strict=True) if of == fold]
            learnt = [row for row, of in zip(gold, folds, strict=True) if of != fold]
            apart = [row for row in others if fold_by_id.get(row.get("parent_id")) != fold]
            model = train([*learnt, *take(apart, candidate, seed)], f"share-{number}-{fold}")
            told += span_sets(held_out)
            found += [set(map(triple, spans)) for spans in tag_rows(model, held_out)]
        scores.append({**asdict(candidate), "f1": span_scores(told, found)["f1"]})
    best = max(range(len(CANDIDATES)), key=lambda at: (scores[at]["f1"], -at))
    return CANDIDATES[best], scores
