"""Files and Hub data sets -> rows (`rows.py`), each checked where it is read, so that an error names the
line of the file.

| layout | what it is |
| --- | --- |
| rows | JSON with `tokens` and `entities`: ours |
| tags | JSON with `tokens` and `ner_tags` (strings) |
| released | JSON of the authors' data: `text` a list of tokens, `entities` with `start`, `end`, `entity` |
| offsets | JSON with `text` a string and `entities` (or `spans`) counted in characters, `end` exclusive |
| columns | CoNLL columns, token first and tag last (or tag first): BIO, BIOES, BMES; blank lines between sentences |
| conllu | CoNLL-U; the target labels are the UPOS tags of the words |
| pos | a sentence a line, `word/TAG` or `word_TAG` |
| segmentation | a sentence a line, `word word`; each word becomes a span `WORD` |

JSON is one object a line, or one array. Training only: this file is never pushed to the Hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Any

from .labels import read_labels
from .layouts import (
    JSON_LAYOUTS,
    PEEK,
    Source,
    from_tags,
    pos_separator_of,
    read_columns,
    read_conllu,
    read_json,
    read_pos,
    read_segmentation,
    tag_column_of,
    unit_of,
)
from .rows import (
    A_ROW,
    JSON_SUFFIXES,
    InputError,
    Place,
    Row,
    RowChecker,
    bad_input,
    check_rows,
    no_rows,
    read_lines,
    show,
    write_rows,
)

__all__ = ["InputError", "check_rows", "iterate_rows", "read_dataset", "read_labels", "read_rows", "write_rows"]

LAYOUTS = (*JSON_LAYOUTS, "columns", "conllu", "pos", "segmentation")
UNITS = ("character", "word")
_COLUMN_SUFFIXES = (".bio", ".bioes", ".bmes", ".conll", ".iob", ".iob2")


def read_rows(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    unit: str | None = None,
    label_file: str | os.PathLike[str] | None = None,
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> list[Row]:
    """Reads a file in any layout of this module into rows; the layout is recognised by suffix and content.

    `format` names the layout instead, one of `LAYOUTS`. `unit`, `"character"` or `"word"`, says what the tokens shall
    be where the file holds words or running text (offsets, conllu, pos, segmentation); by default character if at
    least half of the letters are Han or Kana, else word. In characters a word becomes a span over its characters.
    `label_file` is a released label file: what is no target in it goes to `extensions` (released layout only).
    `flat` and `labels` as in `check_rows`.

    A byte order mark, CRLF and blank lines do no harm. A row without an id gets `<file stem>-<line>`.

    Raises InputError for a file that cannot be read, is in no known layout, has no rows, or has a bad one.
    """
    return list(iterate_rows(path, format=format, unit=unit, label_file=label_file, flat=flat, labels=labels))


def iterate_rows(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    unit: str | None = None,
    label_file: str | os.PathLike[str] | None = None,
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> Iterator[Row]:
    """`read_rows` one row at a time, in constant memory; an error comes when its row is reached."""
    path = Path(path)
    for name, value, allowed in (("format", format, LAYOUTS), ("unit", unit, UNITS)):
        if value is not None and value not in allowed:
            bad_input(path, f"{name} is {show(value)}", allowed=", ".join(allowed), mend=f"name one of these as {name}")
    lines = dropwhile(lambda line: not line.text.strip(), read_lines(path))
    head = list(islice(lines, PEEK))
    if not head:
        no_rows(path)
    source = Source(
        path=path,
        head=[line.text for line in head],
        lines=chain(head, lines),
        unit=unit,
        labels=None if label_file is None else read_labels(label_file),
    )
    layout = format or _recognise(source)
    readers = {"columns": read_columns, "conllu": read_conllu, "pos": read_pos, "segmentation": read_segmentation}
    placed_rows = readers[layout](source) if layout in readers else read_json(source, format)
    check = RowChecker(flat=flat, labels=labels)
    found = False
    for place, row in placed_rows:
        yield _checked(row, place, check, default_id=f"{path.stem}-{place.number}")
        found = True
    if not found:
        no_rows(path)


def read_dataset(
    split: Iterable[Mapping[str, Any]],
    *,
    name: str = "data set",
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> list[Row]:
    """Reads one split of a Hub data set (`datasets.Dataset` or `IterableDataset`) into rows.

    The columns are ours (`tokens`, `entities`, ...), or `tokens` and `ner_tags`: BIO, BIOES or BMES tags, either
    strings or a ClassLabel with such names. `name` stands for the split in errors. `flat` and `labels` as in
    `check_rows`.

    Raises InputError at the first bad row, or if there is none at all.
    """
    features = getattr(split, "features", None) or {}
    tag_names = getattr(getattr(features.get("ner_tags"), "feature", None), "names", None)
    check = RowChecker(flat=flat, labels=labels)
    rows = []
    for number, entry in enumerate(split, start=1):
        place = Place(name, number, noun="row")
        if "entities" in entry or "ner_tags" not in entry:
            row = {key: _list_of_structs(value) for key, value in entry.items()}
        else:
            row = from_tags(entry, place, tag_names)
        rows.append(_checked(row, place, check, default_id=str(number)))
    if not rows:
        no_rows(name)
    return rows


def _recognise(source: Source) -> str:
    suffix = source.path.suffix.lower()
    first = next((text for text in source.head if not text.startswith("#")), "")
    if suffix in JSON_SUFFIXES:
        return "json"
    if suffix == ".conllu" or re.match(r"1(-\d+)?\t([^\t]*\t){8}[^\t]*$", first):
        return "conllu"
    if suffix in _COLUMN_SUFFIXES or tag_column_of(source.head) is not None:
        return "columns"
    if re.match(r'\s*(\{\s*("|$)|\[\s*(\{|$))', first):
        return "json"
    if pos_separator_of(source.head) is not None:
        return "pos"
    if (source.unit or unit_of(source.head)) == "character":
        return "segmentation"
    problem = f"in no known layout, the first line is {show(source.head[0])}"
    bad_input(source.place(1), problem, allowed=", ".join(LAYOUTS), mend=f"write one sentence a line: {A_ROW}")


def _checked(row: Row, place: Place, check: RowChecker, *, default_id: str) -> Row:
    """`row` with the contract's keys alone, after `check`."""
    if isinstance(row, dict) and type(row.get("id")) is int:
        row["id"] = str(row["id"])
    check(row, place)
    clean: Row = {
        "id": default_id if row.get("id") is None else row["id"],
        "tokens": list(row["tokens"]),
        "entities": [{key: span[key] for key in ("start", "end", "label")} for span in row["entities"]],
    }
    if row.get("extensions") is not None:
        keys = ("start", "end", "label", "source")
        clean["extensions"] = [{key: span.get(key) for key in keys} for span in row["extensions"]]
    if row.get("uncertain"):
        clean["uncertain"] = [{key: span[key] for key in ("start", "end", "label")} for span in row["uncertain"]]
    clean.update((key, row[key]) for key in ("synthetic", "parent_id") if row.get(key) is not None)
    return clean


def _list_of_structs(value: Any) -> Any:
    """Older data sets store a list of structs as a struct of lists."""
    if isinstance(value, Mapping) and all(isinstance(column, list) for column in value.values()):
        return [dict(zip(value, items, strict=True)) for items in zip(*value.values(), strict=True)]
    return value
