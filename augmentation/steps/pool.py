"""Text without labels (S11): read, without repeats and what stands in gold, dev and test, and all of it counted.

A line, row or blank-line paragraph is one text and is never split here; what exceeds a window is cut when its answers
have become rows (`windowed`).
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augmentation.steps.explanations import FreeIds, TokenStyle, leak_key, sentence_keys
from augmentation.steps.languages import check_language
from augmentation.steps.texts import read_texts
from augmentation.steps.windows import windows
from modeling_knowfree.data.lines import parse_json, read_lines
from modeling_knowfree.data.rows import InputError, Place, Row, write_rows
from modeling_knowfree.units_knowfree import join_units

logger = logging.getLogger(__name__)
UNLABELED_FILE = "unlabeled.jsonl"  # of a run folder: texts that were fetched


@dataclass(frozen=True)
class Pool:
    """
    The texts that are left.

    Attributes:
        rows: `{"id", "tokens", "entities": []}`, in the order of the file, ids unique beside the gold's.
        counts: `read`, and of these `empty`, `duplicates`, `in_gold`, `in_dev`, `in_test`, `kept`.
        doubt: what to tell the user about the language, if anything.
    """

    rows: list[Row]
    counts: dict[str, int]
    doubt: str | None = None


def read_pool(
    path: Path,
    *,
    gold: Sequence[Row],
    held_out: Mapping[str, Iterable[str]],
    unit: str,
    language: str,
) -> Pool:
    """
    The texts of a file that may be annotated.

    Args:
        path: plain text, a table with a column `text`, or any format of annotated text, whose annotation is not looked
            at.
        gold: their texts are left out; ids and the way they are cut into words are theirs.
        held_out: keys (`sentence_keys`) of the texts of `dev` and `test`.
        unit: `character` or `word`.
        language: of the gold.

    Raises:
        InputError: it cannot be read, nothing is left, or it is in another language than the gold.
    """
    style = TokenStyle.of(gold, unit)
    return clean_pool(
        read_texts(path, style.tokens, unit, language),
        gold=gold,
        held_out=held_out,
        unit=unit,
        language=language,
        name=str(path),
    )


def clean_pool(
    rows: Iterable[Row],
    *,
    gold: Sequence[Row],
    held_out: Mapping[str, Iterable[str]],
    unit: str,
    language: str,
    name: str,
) -> Pool:
    """`read_pool` of rows that are read already, a paragraph's `lines` beside its tokens: one of them that stands in
    gold, dev or test leaves it out. `name` is what errors call them."""
    of_gold = {key for row in gold for key in sentence_keys(join_units(row["tokens"], unit)[0], unit)}
    known = {"gold": of_gold} | {where: set(keys) for where, keys in held_out.items()}
    free_id = FreeIds(row["id"] for row in gold)
    counts = Counter(dict.fromkeys(("read", "empty", "duplicates", *(f"in_{where}" for where in known), "kept"), 0))
    kept: list[Row] = []
    seen: set[str] = set()
    for row in rows:
        counts["read"] += 1
        key = _key(row, unit)
        lines = [key, *map(leak_key, row.get("lines", ()))]
        where = next((where for where, keys in known.items() if not keys.isdisjoint(lines)), None)
        reason = "empty" if not key else "duplicates" if key in seen else f"in_{where}" if where else "kept"
        counts[reason] += 1
        seen.add(key)
        if reason == "kept":
            kept.append({"id": free_id(row["id"]), "tokens": list(row["tokens"]), "entities": []})
    if not counts["read"]:
        raise InputError(f"{name}: no text in it; write one text a line, or rows with `tokens` or `text`")
    if not kept:
        told = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items() if count)
        raise InputError(
            f"{name}: no text of the pool is left: {told}; name texts that are in none of the annotated files"
        )
    return Pool(kept, dict(counts), check_language(kept, gold, unit, language, name))


def _key(row: Row, unit: str) -> str:
    return leak_key(join_units(row["tokens"], unit)[0])


def keep_texts(path: Path, rows: list[Row], *, accept_changes: bool) -> None:
    """
    Write the texts of a Hub data set into a run folder, unless they are there.

    Raises:
        InputError: other ones are there, and `accept_changes` is not given.
    """
    there = (
        [parse_json(line.text, Place(str(path), line.number)) for line in read_lines(path)] if path.is_file() else []
    )
    if there == rows:
        return
    if there and not accept_changes:
        raise InputError(f"{path}: holds other texts; give --accept_changes to go on with these, or another folder")
    write_rows(path, rows)


# ------------------------------------------------------------------ for training


def windowed(row: Mapping[str, Any], max_units: int) -> list[Row]:
    """
    The row itself, or its windows as rows: ids `id@1`, `id@2`, …, `parent_id` the row's, spans moved along. Spans of
    the kinds that a row has (`entities`, `extensions`, `uncertain`) lie inside windows where the same windows were
    asked about; one across a border goes.
    """
    ranges = windows(row["tokens"], max_units)
    if len(ranges) == 1:
        return [dict(row)]
    parts = []
    for number, (start, end) in enumerate(ranges, start=1):
        part = {**row, "id": f"{row['id']}@{number}", "tokens": row["tokens"][start:end], "parent_id": row["id"]}
        for kind in ("entities", "extensions", "uncertain"):
            if kind in row:
                part[kind] = [
                    {**span, "start": span["start"] - start, "end": span["end"] - start}
                    for span in row[kind]
                    if start <= span["start"] and span["end"] <= end
                ]
        parts.append(part)
    return parts
