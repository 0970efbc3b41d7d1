"""Text without labels (S11): read, without repeats and what stands in gold, dev and test, and all of it counted.

A line, row or blank-line paragraph is one text and is never split here; what exceeds a window is cut when its answers
have become rows (`windowed`).
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from augmentation.steps.explanations import FreeIds, TokenStyle, leak_key, sentence_keys
from augmentation.steps.languages import check_language
from augmentation.steps.windows import windows
from modeling_knowfree.data.formats import FORMATS
from modeling_knowfree.data.formats.base import File
from modeling_knowfree.data.formats.words import SEGMENTATION
from modeling_knowfree.data.lines import parse_json, read_lines
from modeling_knowfree.data.readers import read_file
from modeling_knowfree.data.rows import InputError, Place, Row, check_encodable, show, write_rows
from modeling_knowfree.units_knowfree import join_units

logger = logging.getLogger(__name__)
UNLABELED_FILE = "unlabeled.jsonl"  # of a run folder: texts that were fetched
TEXT_SUFFIXES = (".txt", ".text", ".md", "")
MOST_LINES_OF_A_PARAGRAPH = 12
"""Blocks between blank lines that are longer on average are lists of lines with a blank one between."""
RECOGNISED = 0.5
"""A text file that is so surely in a format of annotated text is read as one, and what is wrong with it told."""

Tokenise = Callable[[str], list[str]]


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
        path: plain text, or any format of annotated text; its annotation is not looked at.
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


# ------------------------------------------------------------------ what stands in the file


def read_texts(path: Path, tokenise: Tokenise, unit: str, language: str | None = None) -> Iterator[Row]:
    """
    Rows without entities, one a text; ids are the rows' own, or the file's name and the line.

    Args:
        tokenise: cuts a running text into units.
        unit: tokens longer than a character are cut where it is `character`.
        language: joins the lines of a paragraph by nothing in zh and ja, else by a space; where it is not known, so
            does `unit` `character`.

    Raises:
        InputError: it cannot be read.
    """
    file = File(path, unit=unit)
    if path.is_file() and not file.is_binary:
        if not file.first_lines:
            return
        if file.json_kind and (_text_in(next(iter(file.sample), None)) is not None or not _recognised(file)):
            yield from _json_rows(file, tokenise, unit)
            return
        if file.suffix in TEXT_SUFFIXES and not _is_annotated(file):
            spaceless = language in ("zh", "ja") if language else unit == "character"
            yield from _plain_rows(file, tokenise, "" if spaceless else " ")
            return
    for row in read_file(path, unit=unit, quiet=True).rows:
        yield {"id": row["id"], "tokens": _units(row["tokens"], unit), "entities": []}


def _json_rows(file: File, tokenise: Tokenise, unit: str) -> Iterator[Row]:
    """JSON entries with `tokens`, or with `text` as a string or a list; other keys are not looked at."""
    for place, entry in file.stream():
        if isinstance(entry, InputError):
            raise entry
        text = _text_in(entry)
        if text is None:
            raise InputError(f'{place}: {show(entry)}: write {{"text": "…"}} or {{"tokens": ["…", "…"]}}')
        tokens = tokenise(text.strip()) if isinstance(text, str) else _units(text, unit)
        check_encodable("".join(tokens), "the text", place)
        row_id = entry.get("id")
        name = f"{file.stem}-{place.number}" if row_id is None else str(row_id)
        yield {"id": name, "tokens": tokens, "entities": []}


def _text_in(entry: Any) -> str | list[str] | None:
    """What a JSON entry, or the `data` of a labelling tool's task, has as tokens or text."""
    if not isinstance(entry, dict):
        return None
    held = entry["data"] if isinstance(entry.get("data"), dict) else entry
    for value in (held.get("tokens"), held.get("text")):
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(t, str) and t for t in value)):
            return value
    return None


def _plain_rows(file: File, tokenise: Tokenise, glue: str) -> Iterator[Row]:
    """A text a line; where blank lines part blocks of a few lines, a text a block, its lines joined by `glue`."""
    blocks = [
        list(block) for blank, block in groupby(file.lines(), key=lambda line: not line.text.strip()) if not blank
    ]
    mean = sum(map(len, blocks)) / len(blocks)
    told = f"{len(blocks)} blocks between blank lines, of {mean:.1f} lines on average: read as"
    if len(blocks) == 1 or mean > MOST_LINES_OF_A_PARAGRAPH:
        if len(blocks) > 1:
            logger.warning("%s: %s a text a line; put each text on one line if these are paragraphs", file.name, told)
        blocks = [[line] for block in blocks for line in block]
    elif mean > 1:
        logger.warning("%s: %s a text a block; take the blank lines out if each line is a text", file.name, told)
    for block in blocks:
        number = block[0].number
        written = [line.text.strip() for line in block]
        text = glue.join(written)
        check_encodable(text, "the text", file.place(number))
        row = {"id": f"{file.stem}-{number}", "tokens": tokenise(text), "entities": []}
        yield row | ({"lines": written} if len(written) > 1 else {})


def _recognised(file: File) -> bool:
    return any(guess.sure >= RECOGNISED for each in FORMATS.values() if (guess := each.detect(file)))


def _is_annotated(file: File) -> bool:
    """Whether a text file holds annotated sentences, such as CoNLL columns: then the reader of these reads it."""
    if _recognised(file):
        return True
    try:
        reading = read_file(file.path, quiet=True)
    except InputError:
        return False
    return reading.format is not SEGMENTATION and any(row["entities"] for row in reading.rows)


def _units(tokens: Sequence[str], unit: str) -> list[str]:
    return list("".join(tokens)) if unit == "character" else list(tokens)


def read_hub_texts(name: str, tokenise: Tokenise, unit: str) -> Iterator[Row]:
    """
    The texts of a Hub data set or folder: its split `unlabeled` or `train`, or the only one; columns `tokens` or
    `text`.

    Raises:
        InputError: it cannot be loaded, or has no such split or column.
    """
    from datasets import load_dataset

    try:
        found = load_dataset(name)
    except (OSError, ValueError) as error:
        raise InputError(f"--unlabeled_dataset_name {name}: {' '.join(str(error).split())}") from error
    split = next((split for split in ("unlabeled", "train", *found) if split in found), "")
    if split not in ("unlabeled", "train") and len(found) > 1:
        raise InputError(f"--unlabeled_dataset_name {name}: no split unlabeled or train, only {', '.join(found)}")
    column = next((column for column in ("tokens", "text") if column in found[split].column_names), None)
    if column is None:
        names = ", ".join(found[split].column_names)
        raise InputError(f"--unlabeled_dataset_name {name}: no column tokens or text, only {names}")
    for number, entry in enumerate(found[split], start=1):
        text = entry[column]
        tokens = tokenise(text.strip()) if isinstance(text, str) else _units(text or [], unit)
        row_id = entry.get("id")
        yield {"id": f"{split}-{number}" if row_id in (None, "") else str(row_id), "tokens": tokens, "entities": []}


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
