"""The formats of annotated text: one list for `--format`, `--to`, `--output_format` and `knowfree data formats`.

`FORMATS` maps names to formats; `recognise` says which one a file is in and why; `write_rows_as` writes one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..rows import A_ROW, MORE_KEYS, Row, bad_input, check_rows, no_rows, show
from . import (
    arrow,
    brat,
    cas,
    chinese,
    conll,
    conll2012,
    conllu,
    docbin,
    doccano,
    dygie,
    gliner,
    label_studio,
    line_tags,
    offsets,
    prodigy,
    released,
    rows_json,
    spacy_v2,
    tables,
    tags_json,
    token_objects,
    universalner,
    w2ner,
    webanno,
    words,
)
from .base import UNITS, File, Format, Guess, Options, Told, is_row

__all__ = [
    "AUTO",
    "FORMATS",
    "UNITS",
    "WRITERS",
    "File",
    "Format",
    "Guess",
    "Options",
    "Told",
    "format_named",
    "recognise",
    "write_rows_as",
    "writer_named",
]

AUTO = "auto"
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        rows_json.FORMAT,
        tags_json.FORMAT,
        offsets.FORMAT,
        released.FORMAT,
        conll.FORMAT,
        conll.BIOES,
        conll2012.FORMAT,
        conllu.FORMAT,
        words.POS,
        words.SLASHED,
        words.SEGMENTATION,
        doccano.FORMAT,
        label_studio.FORMAT,
        label_studio.MIN,
        prodigy.FORMAT,
        brat.FORMAT,
        webanno.FORMAT,
        cas.FORMAT,
        docbin.FORMAT,
        spacy_v2.FORMAT,
        token_objects.FORMAT,
        line_tags.FORMAT,
        gliner.FORMAT,
        w2ner.FORMAT,
        dygie.FORMAT,
        chinese.CMEEE,
        chinese.CMEEE_TEXT,
        chinese.CLUENER,
        universalner.FORMAT,
        tables.FORMAT,
        arrow.PARQUET,
        arrow.SAVED,
    )
}
WRITERS = {name: format.write for name, format in FORMATS.items() if format.write is not None}
_BY_NAME = {**{alias: format for format in FORMATS.values() for alias in format.aliases}, **FORMATS}
_MARKED = re.compile(
    r"<(\w[\w.-]{0,40})\b[^<>\n]{0,80}>[^<>\n]{1,200}</\1>|\[[^\[\]\n]{1,200}\]\(\w[\w.-]{0,40}\)"
    r"|\{\{\w{1,40}:[^{}\n]{1,200}\}\}|<[^<>:\n]{1,100}:[A-Z_]{1,20}>|^\d+\|[ta]\|"
    r"|\[[^\[\]\n]{1,200}\]\{[^{}\n]{0,200}\}"
)
_XML = re.compile(r"\s*<(\?xml\b|!DOCTYPE\b|!--|[\w:.-]{1,100}(\s[^<>]{0,300})?/?>\s*(<|$))")
_PHRASE = re.compile(r"\* -?\d+ -?\d+[A-Z]\b")
_CLOSE = 0.04  # guesses nearer than this are one too many


def format_named(name: str, where: object = "--format") -> Format:
    """The format of a name or alias. Raises InputError for another one."""
    if name not in _BY_NAME:
        mend = "name one of these as format (knowfree data formats)"
        bad_input(str(where), f"format is {show(name)}", allowed=f"auto, {', '.join(FORMATS)}", mend=mend)
    return _BY_NAME[name]


def writer_named(name: str) -> Format:
    """The format that `--to` names. Raises InputError where there is none, it is only read, or it needs a package that
    is not installed."""
    format = format_named(name, "--to")
    if format.write is None:
        mend = "name one of these"
        bad_input(f"--to {name}", "is read, not written", allowed=", ".join(WRITERS), mend=mend)
    if format.ready:
        format.ready(f"--to {name}")
    return format


def recognise(file: File) -> tuple[Format, Guess]:
    """
    The format that a file is in, how sure that is, and why.

    Raises:
        InputError: in no known format, or in two as likely.
    """
    guesses = [(guess, format) for format in FORMATS.values() if (guess := format.detect(file)) is not None]
    guesses.sort(key=lambda found: -found[0].sure)
    if not guesses and file.json_kind == "lines" and not file.sample:
        return rows_json.FORMAT, Guess(0.1, "no line of it is JSON")
    if not guesses:
        _refuse(file)
    (best, format), *others = guesses
    if others and others[0][0].sure > best.sure - _CLOSE:
        rival_guess, rival = others[0]
        problem = f"may be {format.name} ({best.why}) or {rival.name} ({rival_guess.why})"
        mend = f"name it: --format {format.name}, or --format {rival.name}"
        bad_input(file.place(), problem, allowed="one format", mend=mend)
    return format, best


def write_rows_as(rows: Iterable[Row], name: str, path: str | os.PathLike[str]) -> list[str]:
    """
    Writes rows in a format, all or nothing. Returns what there is to tell: what the format does not hold.

    Args:
        rows: checked here against the row contract before anything is written.
        name: one of `WRITERS`.
        path: a file; for brat a folder.

    Raises:
        InputError: a format that is only read, a bad row, or one that the format cannot hold.
    """
    format = writer_named(name)
    rows = list(rows)
    check_rows(rows, path="rows")
    WRITERS[format.name](rows, Path(path))
    return [] if format.whole else _not_held(rows, format)


def _not_held(rows: Iterable[Row], format: Format) -> list[str]:
    """What rows have beside tokens and targets, counted."""
    held: Counter[str] = Counter()
    for row in rows:
        held.update(key for key in MORE_KEYS if row.get(key) not in (None, []))
        held["weight of an entity"] += sum(span.get("weight") is not None for span in row["entities"])
    return [f"{count} {key} left out, which {format.name} does not hold" for key, count in held.items() if count]


def _refuse(file: File) -> None:
    """The error of a file in no known format, by what it is like."""
    if file.is_folder:
        next(file.lines())  # its error names a file in it
    if file.json_kind and not file.entries:
        no_rows(file.name)
    if file.start.startswith(b"PK\x03\x04"):
        mend = "save the sheet as CSV in UTF-8, or unpack the archive"
        bad_input(file.place(), "an Excel workbook or a .zip", allowed="a format of `knowfree data formats`", mend=mend)
    if file.is_binary:
        bad_input(file.place(), "binary data in no known format", allowed="parquet, spacy", mend="export it as text")
    if file.sample or file.json_kind:
        entry = next((entry for entry in file.sample if isinstance(entry, dict)), None)
        if entry is None:
            problem = f"the row is {show(file.sample[0])}"
            bad_input(file.place(1, "row"), problem, allowed="JSON objects", mend=f"write each row as {A_ROW}")
        lists = [key for key, value in entry.items() if isinstance(value, list) and any(map(is_row, value))]
        if len(lists) > 1:
            problem = f"holds several lists of rows: {', '.join(map(show, lists))}"
            bad_input(file.place(), problem, allowed="one list", mend="write each into a file of its own")
        missing = next((key for key in ("tokens", "entities") if key not in entry), None)
        problem = f"key {missing!r} is missing, the keys are {', '.join(map(show, entry)) or 'none'}"
        if missing is None:
            problem = f"entities is {show(entry['entities'])}, no list of spans"
        mend = f"rename or add it (knowfree data formats lists what is read); a whole row is {A_ROW}"
        noun = "line" if file.json_kind == "lines" else "row"
        bad_input(file.place(1, noun), problem, allowed="a row with tokens and entities", mend=mend)
    written = [(line.number, line.text) for line in file.lines() if line.text.strip()]
    if not written:
        no_rows(file.name)
    count, (number, first) = len(written), written[0]
    if _XML.match(first):
        mend = "export it as JSON or in columns (knowfree data formats)"
        bad_input(file.place(number), f"XML is not read: {show(first)}", allowed="text, JSON or a table", mend=mend)
    if phrase := next((at for at, text in written if _PHRASE.match(text)), None):
        mend = "take out the lines of phrases (* 0 1D) and write blank lines for EOS"
        problem = "CaboCha's lines of phrases between the columns are not read"
        bad_input(file.place(phrase), problem, allowed="a word and its tag a line", mend=mend)
    if marked := next(((at, found[0]) for at, text in written if (found := _MARKED.search(text))), None):
        mend = f"write the spans as offsets or in columns; a whole row is {A_ROW}"
        problem = f"annotation by marks inside the text, such as {show(marked[1])}, is not read"
        bad_input(file.place(marked[0]), problem, allowed="a format of `knowfree data formats`", mend=mend)
    problem = (
        f"plain text without any annotation ({count} lines, the first line is {show(first)}): nothing to learn from"
    )
    mend = (
        f"label it first, in columns (word, tag) or as {A_ROW}; or name its --format; --task segmentation reads words "
        "between spaces"
    )
    allowed = "annotation in a format of `knowfree data formats`"
    bad_input(file.place(number), problem, allowed=allowed, mend=mend)
