"""Text without labels as it lies in files, folders and on the Hub: one row a text, cut into units."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from modeling_knowfree.data.formats import FORMATS, brat, tables
from modeling_knowfree.data.formats.base import File
from modeling_knowfree.data.formats.words import SEGMENTATION
from modeling_knowfree.data.readers import read_file
from modeling_knowfree.data.rows import InputError, Row, check_encodable, show
from modeling_knowfree.files import sha256_of

logger = logging.getLogger(__name__)
TEXT_SUFFIXES = (".txt", ".text", ".md", "")
TABLE_SUFFIXES = (".csv", ".tsv")
_STANDOFF = (".ann", ".a1", ".a2")  # beside a .txt: what brat and its shared tasks found in it
MOST_LINES_OF_A_PARAGRAPH = 12
"""Blocks between blank lines that are longer on average are lists of lines with a blank one between."""
RECOGNISED = 0.5
"""A text file that is so surely in a format of annotated text is read as one, and what is wrong with it told."""

Tokenise = Callable[[str], list[str]]


def read_texts(path: Path, tokenise: Tokenise, unit: str, language: str | None = None) -> Iterator[Row]:
    """
    Rows without entities, one a text; ids are the rows' own, or the file's name and the line. Of a folder that
    is in no format of annotated text but brat's every `.txt` is read, however deep; of a table the column `text`.

    Args:
        tokenise: cuts a running text into units.
        unit: tokens longer than a character are cut where it is `character`.
        language: joins the lines of a paragraph by nothing in zh and ja, else by a space; where it is not known, so
            does `unit` `character`.

    Raises:
        InputError: it cannot be read.
    """
    if path.is_dir() and _is_of_documents(path):
        yield from _documents(path, tokenise, unit, language)
        return
    file = File(path, unit=unit)
    if path.is_file() and not file.is_binary:
        if not file.first_lines:
            return
        if file.json_kind and (_text_in(next(iter(file.sample), None)) is not None or not _recognised(file)):
            yield from _json_rows(file, tokenise, unit)
            return
        if file.suffix in TABLE_SUFFIXES and not _recognised(file):
            yield from _table_rows(file, tokenise)
            return
        if file.suffix in TEXT_SUFFIXES and not _is_annotated(file):
            yield from _plain_rows(file, tokenise, _glue(unit, language))
            return
    for row in read_file(path, unit=unit, quiet=True).rows:
        yield {"id": row["id"], "tokens": _units(row["tokens"], unit), "entities": []}


def _is_of_documents(folder: Path) -> bool:
    """Whether a folder is no other format's: of text files, of which brat may have annotated some."""
    file = File(folder)
    if any(each.detect(file) for each in FORMATS.values() if each is not brat.FORMAT):
        return False
    return any(each.suffix.lower() == ".txt" for each in _visible(folder))


def _visible(folder: Path) -> list[Path]:
    """The files in a folder, however deep, but for hidden ones."""
    inside = [each for each in folder.rglob("*") if not any(p.startswith(".") for p in each.relative_to(folder).parts)]
    return sorted(each for each in inside if each.is_file())


def sha256_of_texts(path: Path) -> str:
    """The digest of what `read_texts` reads: of a file, or of a folder's files by their names."""
    if not path.is_dir():
        return sha256_of(path)
    read = (".txt", *_STANDOFF) if _is_of_documents(path) else None
    files = [each for each in _visible(path) if read is None or each.suffix.lower() in read]
    inside = [(str(each.relative_to(path)), sha256_of(each)) for each in files]
    return hashlib.sha256(json.dumps(inside).encode()).hexdigest()


def _documents(folder: Path, tokenise: Tokenise, unit: str, language: str | None) -> Iterator[Row]:
    """The texts of a folder's documents: those beside an `.ann` as brat's, a line a row, the others as plain text."""
    files = _visible(folder)
    annotated = {each.with_suffix("") for each in files if each.suffix in _STANDOFF}
    if annotated:
        for row in read_file(folder, unit=unit, quiet=True).rows:
            yield {"id": row["id"], "tokens": _units(row["tokens"], unit), "entities": []}
    others = []
    for each in files:
        if each.suffix.lower() == ".txt":
            if each.with_suffix("") not in annotated:
                yield from read_texts(each, tokenise, unit, language)
        elif each.suffix not in _STANDOFF and not each.name.endswith(brat.TOKENS):
            others.append(each)
    if others:
        logger.warning("%s: %d files that are no .txt are left out, such as %s", folder, len(others), others[0].name)


def _glue(unit: str, language: str | None) -> str:
    """What joins the lines of a paragraph."""
    return "" if (language in ("zh", "ja") if language else unit == "character") else " "


def _table_rows(file: File, tokenise: Tokenise) -> Iterator[Row]:
    """A text in the column `text` of each line, its name in the column `id` if there is one."""
    for place, cells in tables.texts(file):
        text = cells["text"].strip()
        check_encodable(text, "the text", place)
        yield {"id": cells.get("id") or f"{file.stem}-{place.number}", "tokens": tokenise(text), "entities": []}


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
