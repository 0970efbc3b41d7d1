"""The table of scores: every variant over its seeds, who is best on dev, and each label's F1."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..run.results import FinishedRun, best_over_seeds
from ..run.variants import BASELINE
from .comparison import Difference, Spread, spread


@dataclass(frozen=True)
class Score:
    """One line of the table of scores: a variant on a subset over its seeds; ratios in [0, 1]. `all_seeds_compared`:
    the difference is over all seeds of both, not only over those that they share."""

    subset: str
    variant: str
    seeds: tuple[int, ...]
    f1: Spread
    precision: Spread
    recall: Spread
    macro_f1: Spread
    dev_f1: Spread | None
    over_base: Difference | None
    all_seeds_compared: bool
    best_on_dev: bool
    gold_rows: int
    synthetic_rows: int
    pool_rows: int
    updates: int
    seconds: float


def best_on_dev(run: FinishedRun, subset: str, among: Iterable[str] | None = None) -> str | None:
    """The best variant of a subset by `best_over_seeds`; None where no cell has a dev F1."""
    variants = among if among is not None else run.variants(subset)
    found = best_over_seeds(
        {
            variant: {seed: cell.dev_f1 for seed, cell in run.of(subset, variant).items() if cell.dev_f1 is not None}
            for variant in variants
        }
    )
    return found[0] if found else None


def scores(run: FinishedRun, differences: dict[tuple[str, str], Difference | None]) -> list[Score]:
    """
    The table of scores, by subset and variant in the order of the results.

    Args:
        differences: over the baseline, by (subset, variant), where they are known.
    """
    table = []
    for subset in run.subsets:
        best = best_on_dev(run, subset)
        for variant in run.variants(subset):
            cells = list(run.of(subset, variant).values())
            difference = differences.get((subset, variant))
            compared = len(difference.seeds) if difference else 0
            on_dev = [cell.dev_f1 for cell in cells if cell.dev_f1 is not None]
            table.append(
                Score(
                    subset=subset,
                    variant=variant,
                    seeds=tuple(cell.seed for cell in cells),
                    f1=spread([cell.f1 for cell in cells]),
                    precision=spread([cell.precision for cell in cells]),
                    recall=spread([cell.recall for cell in cells]),
                    macro_f1=spread([cell.macro_f1 for cell in cells]),
                    dev_f1=spread(on_dev) if on_dev else None,
                    over_base=difference,
                    all_seeds_compared=compared == max(len(cells), len(run.of(subset, BASELINE))),
                    best_on_dev=variant == best,
                    gold_rows=cells[0].gold_rows,
                    synthetic_rows=cells[0].synthetic_rows,
                    pool_rows=cells[0].pool_rows,
                    updates=cells[0].updates,
                    seconds=spread([cell.seconds for cell in cells]).mean,
                )
            )
    return table


def challenger(run: FinishedRun, subset: str) -> str | None:
    """Whom to hold against the baseline in examples: of the -FS variants the best on dev, else of all others."""
    others = [variant for variant in run.variants(subset) if variant != BASELINE]
    synthetic = [variant for variant in others if variant.startswith("fs")]
    wanted = synthetic or others
    return best_on_dev(run, subset, wanted) or next(iter(wanted), None)


def label_scores(run: FinishedRun, subset: str) -> tuple[list[str], list[dict[str, Any]]]:
    """F1 of each target label by variant: the variants, and a line a label, the most frequent first, with `label`,
    `support` (gold spans) and `f1` (a `Spread` for each variant, None where it never met the label)."""
    variants = run.variants(subset)
    cells = {variant: list(run.of(subset, variant).values()) for variant in variants}
    support: dict[str, int] = {}
    for cell in (cell for found in cells.values() for cell in found):
        for label, one in cell.per_label.items():
            support[label] = max(support.get(label, 0), one.support)
    lines = []
    for label in sorted(support, key=lambda name: (-support[name], name)):
        f1 = [[cell.per_label[label].f1 for cell in cells[v] if label in cell.per_label] for v in variants]
        lines.append({"label": label, "support": support[label], "f1": [spread(v) if v else None for v in f1]})
    return variants, lines
