"""Low-resource subsets of a training set (section 4.1 of the paper): random subsets and n-way k-shot subsets.

Larger subsets hold all of the smaller ones. Synthetic rows follow their parents, so nothing that was made from a
sentence outside a subset can leak into it.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..data.rows import InputError, Row, write_rows
from ..data.stored import stored_rows
from ..files import is_taken

logger = logging.getLogger(__name__)
SIZES = (250, 500, 1000)
SHOTS = (5, 10, 15, 20)


def random_subsets(
    rows: Sequence[Row], sizes: Iterable[int] = SIZES, *, seed: int, name: str = "rows"
) -> dict[int, list[Row]]:
    """Nested random subsets: size -> that many gold rows, with the synthetic rows made from them, in the given order.

    `name` stands for the rows in errors.

    A size above the number of gold rows takes all there are, and is told.

    Raises InputError for a size below 1, and for a synthetic row without its parent.
    """
    gold = _gold_positions(rows, name)
    sizes = _ascending(sizes, f"{name}: size")
    for size in sizes:
        if size > len(gold):
            logger.warning(
                "%s: %d rows asked for, there are %d gold rows: all of them are taken", name, size, len(gold)
            )
    random.Random(seed).shuffle(gold)
    return {size: _with_synthetic(rows, gold[:size]) for size in sizes}


def k_shot_subsets(
    rows: Sequence[Row], ks: Iterable[int] = SHOTS, *, seed: int, name: str = "rows"
) -> dict[int, list[Row]]:
    """Nested k-shot subsets: k -> rows in which each label has at least k entities, or all that `rows` have of it.

    Greedy: the labels are filled up one after the other, the rarest in `rows` first, with random sentences that have
    the label; what these bring of other labels counts too. The subset for a larger k goes on where the one before
    ended. k counts gold entities, not sentences; synthetic rows follow their parents and count for nothing.

    Raises InputError for a k below 1, rows without any entity, and for a synthetic row without its parent.
    """
    gold = _gold_positions(rows, name)
    ks = _ascending(ks, f"{name}: k")
    counts = {position: Counter(span["label"] for span in rows[position]["entities"]) for position in gold}
    total: Counter[str] = sum(counts.values(), Counter())
    if ks and not total:
        raise InputError(f"{name}: no row has an entity; allowed: rows with entities; mend: sample random subsets only")
    random.Random(seed).shuffle(gold)
    holders = defaultdict(list)  # label -> rows that have it, in random order
    for position in gold:
        for label in counts[position]:
            holders[label].append(position)
    chosen: dict[int, None] = {}  # in order of choice
    have: Counter[str] = Counter()
    subsets = {}
    for k in ks:
        for label in sorted(total, key=lambda label: (total[label], label)):
            for position in holders[label]:
                if have[label] >= k:
                    break
                if position not in chosen:
                    chosen[position] = None
                    have += counts[position]
        subsets[k] = _with_synthetic(rows, chosen)
    return subsets


def write_subsets(
    rows: Sequence[Row],
    output_dir: str | os.PathLike[str],
    *,
    sizes: Iterable[int] = SIZES,
    ks: Iterable[int] = SHOTS,
    seed: int = 42,
    name: str = "rows",
) -> dict[str, dict[str, int]]:
    """Writes `train_<size>.jsonl` and `k<k>.jsonl` into `output_dir`.

    Returns, by file name, the numbers of gold `sentences`, their `entities`, and `synthetic` sentences.
    Everything is drawn before the first file is written, so an InputError, also of a file that is there and holds
    something else, leaves nothing behind.
    """
    files = {
        f"train_{size}.jsonl": subset for size, subset in random_subsets(rows, sizes, seed=seed, name=name).items()
    }
    files.update((f"k{k}.jsonl", subset) for k, subset in k_shot_subsets(rows, ks, seed=seed, name=name).items())
    if taken := [name for name, subset in files.items() if not _is_free(Path(output_dir) / name, subset)]:
        raise InputError(
            f"{output_dir}: {', '.join(taken)} exists already and holds something else; allowed: the same rows, or no "
            "such file; mend: name another folder, or delete it"
        )
    summary = {}
    for name, subset in files.items():
        write_rows(Path(output_dir) / name, subset)
        gold = [row for row in subset if not row.get("synthetic")]
        summary[name] = {
            "sentences": len(gold),
            "entities": sum(len(row["entities"]) for row in gold),
            "synthetic": len(subset) - len(gold),
        }
    return summary


def _is_free(path: Path, rows: list[Row]) -> bool:
    """Whether nothing is lost where `rows` are written to `path`."""
    if not is_taken(path):
        return True
    try:
        return list(stored_rows(path)) == rows
    except InputError:
        return False


def _gold_positions(rows: Sequence[Row], name: str) -> list[int]:
    gold = [at for at, row in enumerate(rows) if not row.get("synthetic") and row.get("source") != "pool"]
    if pool := sum(row.get("source") == "pool" for row in rows):
        logger.warning("%s: %d texts of a pool, which no person annotated, are not drawn", name, pool)
    gold_ids = {rows[position]["id"] for position in gold}
    for row in rows:
        if row.get("synthetic") and row.get("parent_id") not in gold_ids:
            raise InputError(
                f"{name}, synthetic row {row['id']!r}: parent_id {row.get('parent_id')!r} is the id of no gold row; "
                "allowed: ids of gold rows; mend: sample from the file that holds the gold rows too"
            )
    return gold


def _with_synthetic(rows: Sequence[Row], gold: Iterable[int]) -> list[Row]:
    positions = set(gold)
    ids = {rows[position]["id"] for position in positions}
    return [
        row
        for position, row in enumerate(rows)
        if position in positions or (row.get("synthetic") and row["parent_id"] in ids)
    ]


def _ascending(numbers: Iterable[int], what: str) -> list[int]:
    numbers = sorted(set(numbers))
    if numbers and numbers[0] < 1:
        raise InputError(f"{what} {numbers[0]} asked for; allowed: 1 and more; mend: drop {numbers[0]}")
    return numbers
