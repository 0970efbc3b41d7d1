"""Test sentences that one variant gets right and another does not."""

import random
from dataclasses import dataclass

from modeling_knowfree.data.rows import Row, span_sets

from ..run.results import FinishedRun, Result


@dataclass(frozen=True)
class Disagreement:
    """
    Test sentences that one variant gets wholly right, every span, and another does not.

    Args:
        right, wrong: the variants.
        seeds: compared; right and wrong are meant in every one of them.
        count: such sentences, of `sentences`.
        examples: some of them: `gold` row, and the rows as `right` and `wrong` tagged them with the first seed.
    """

    right: str
    wrong: str
    seeds: tuple[int, ...]
    count: int
    sentences: int
    examples: list[tuple[Row, Row, Row]]


def disagreement(run: FinishedRun, subset: str, right: str, wrong: str, *, limit: int) -> Disagreement | None:
    """
    Sentences that `right` gets right with every seed and `wrong` with none; `limit` of them drawn by a fixed seed.

    Returns:
        None where the two share no seed.

    Raises:
        InputError: predictions or the test file are missing or do not fit each other.
    """
    ours, theirs = run.of(subset, right), run.of(subset, wrong)
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    gold = span_sets(run.test_rows)

    def tagged(cells: dict[int, Result]) -> tuple[list[Row], list[list[bool]]]:
        rows = [run.predictions(cells[seed]) for seed in seeds]
        hits = [[given == wanted for given, wanted in zip(span_sets(of), gold, strict=True)] for of in rows]
        return rows[0], [list(by_seed) for by_seed in zip(*hits, strict=True)]

    (our_rows, our_hits), (their_rows, their_hits) = tagged(ours), tagged(theirs)
    found = [i for i in range(len(gold)) if all(our_hits[i]) and not any(their_hits[i])]
    shown = sorted(random.Random(0).sample(found, min(limit, len(found))))
    examples = [(run.test_rows[i], our_rows[i], their_rows[i]) for i in shown]
    return Disagreement(right, wrong, seeds, len(found), len(gold), examples)
