"""Files and Hub data sets -> rows (`rows.py`), in any format of `formats/`, each row checked where it is read, so that
an error names the line of the file.

A format is recognised by what stands in the file (`--format auto`), or named. Not part of a pushed model;
the Space carries this folder as `knowfree_formats`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .formats import AUTO, UNITS, File, Format, Guess, Options, Told, format_named, recognise
from .formats.arrow import list_of_structs
from .formats.counting import without_repeats
from .formats.schemes import SCHEMES
from .formats.span_keys import unread_spans
from .formats.tags_json import read_tag_names
from .labels import read_labels
from .oddities import Oddities
from .rows import (
    SOURCES,
    InputError,
    Place,
    Row,
    RowChecker,
    bad_input,
    bare,
    check_rows,
    no_rows,
    show,
    visible,
    write_rows,
)

__all__ = [
    "InputError",
    "Reading",
    "check_rows",
    "iterate_rows",
    "read_dataset",
    "read_file",
    "read_labels",
    "read_rows",
    "write_rows",
]

LISTED = 20  # bad rows that an error lists
TASKS = ("ner", "nested_ner", "segmentation", "pos")

logger = logging.getLogger(__name__)


@dataclass
class Reading:
    """A file that was read: its rows, its format and why it was taken for it, what there was to tell, and how many bad
    rows were left out."""

    rows: list[Row]
    format: Format
    why: str
    told: list[str] = field(default_factory=list)
    skipped: int = 0


def read_rows(path: str | os.PathLike[str], **options: Any) -> list[Row]:
    """Reads a file in any format of `formats.FORMATS` into rows.

    Args:
        path: a file, gzipped or not, or a folder that is one data set (brat, `save_to_disk`).
        format: names the format instead of recognising it.
        unit: `"character"` or `"word"`, what the tokens shall be where the file holds words or running text; by
            default character if at least half of the letters are Han or Kana, else word. In characters a word becomes
            a span over its characters.
        task: `ner`, `nested_ner`, `segmentation` or `pos`, where a file can be read for several.
        scheme: of tags (`formats.schemes.SCHEMES`), instead of what the set of tags tells.
        tag_column: number (from 1) or name of the column of tags that counts.
        annotator: whose annotation counts where several differ on one task.
        trim: white space is cut off spans.
        skip_bad_rows: bad rows are left out and counted.
        tag_names: names of integer tags in order, or a file that holds them.
        label_file: a released label file: what is no target in it goes to `extensions` (released layout only).
        flat, labels: as in `check_rows`.

    A byte order mark, CRLF and blank lines do no harm. A row without an id gets `<file stem>-<line>`; repeated ids are
    made unique. What was left out, joined or looks odd is logged.

    Raises InputError for a file that cannot be read, is in no known format, has no rows, or has bad ones: the first
    twenty are listed.
    """
    return read_file(path, **options).rows


def read_file(path: str | os.PathLike[str], *, quiet: bool = False, **options: Any) -> Reading:
    """`read_rows`, with the format and what there is to tell; `quiet` logs nothing."""
    return _Job.of(path, **options).reading(quiet)


def iterate_rows(path: str | os.PathLike[str], *, quiet: bool = False, **options: Any) -> Iterator[Row]:
    """`read_rows` one row at a time, of our own JSON lines only ids are kept; an error comes when its row is reached.
    `quiet` logs nothing."""
    job = _Job.of(path, **options)
    found = False
    for row in job.rows():
        if not isinstance(row, InputError):
            yield row
            found = True
        elif job.skip_bad_rows:
            job.options.told.add("bad rows left out", str(row))
        else:
            raise row
    if not found:
        no_rows(job.file.name)
    job.tell(quiet)


def read_dataset(
    split: Iterable[Mapping[str, Any]],
    *,
    name: str = "data set",
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
    **options: Any,
) -> list[Row]:
    """Reads one split of a Hub data set (`datasets.Dataset` or `IterableDataset`) into rows.

    The columns are ours (`tokens`, `entities`, ...), `tokens` and `ner_tags` (strings, or a ClassLabel), or those of
    any other format that JSON lines may hold. `name` stands for the split in errors. `flat` and `labels` as in
    `check_rows`, the others as in `read_rows`.

    Raises InputError that lists the bad rows, or if there is none at all.
    """
    features = getattr(split, "features", None) or {}
    tag_names = {
        key: names for key in features if (names := getattr(getattr(features[key], "feature", None), "names", None))
    }
    entries = [{key: list_of_structs(value) for key, value in entry.items()} for entry in split]
    if not entries:
        no_rows(name)
    file = File(Path(name), entries, tag_names, name=name)
    job = _Job.of(file, flat=flat, labels=labels, **options)
    return job.reading(quiet=False).rows


@dataclass
class _Job:
    """One file and all that was said about it."""

    file: File
    format: Format
    guess: Guess
    options: Options
    check: RowChecker
    skip_bad_rows: bool
    odd: Oddities = field(default_factory=Oddities)

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str] | File,
        *,
        format: str | None = None,
        unit: str | None = None,
        task: str | None = None,
        scheme: str | None = None,
        tag_column: str | int | None = None,
        annotator: str | int | None = None,
        trim: bool = False,
        skip_bad_rows: bool = False,
        tag_names: Sequence[str] | str | os.PathLike[str] | None = None,
        label_file: str | os.PathLike[str] | None = None,
        flat: bool | None = None,
        labels: Iterable[str] | None = None,
    ) -> _Job:
        file = path if isinstance(path, File) else File(Path(path), unit=unit)
        for name, value, allowed in (("unit", unit, UNITS), ("scheme", scheme, SCHEMES), ("task", task, TASKS)):
            if value is not None and value not in allowed:
                bad_input(file.name, f"{name} is {show(value)}", allowed=", ".join(allowed), mend=f"name one as {name}")
        if file.is_empty:
            no_rows(file.name)
        if isinstance(tag_names, str | os.PathLike):
            tag_names = read_tag_names(Path(tag_names))
        options = Options(
            unit=unit,
            task=task,
            scheme=scheme,
            tag_column=None if tag_column is None else str(tag_column),
            annotator=None if annotator is None else str(annotator),
            trim=trim,
            labels=None if label_file is None else read_labels(label_file),
            tag_names=tag_names,
        )
        if format is None or format == AUTO:
            found, guess = recognise(file)
        else:
            found, guess = format_named(format, file.name), Guess(1.0, "named by --format")
        return cls(file, found, guess, options, RowChecker(flat=flat, labels=labels), skip_bad_rows)

    def reading(self, quiet: bool) -> Reading:
        rows: list[Row] = []
        bad: list[InputError] = []
        for row in self.rows():
            if isinstance(row, InputError):
                bad.append(row)
            else:
                rows.append(row)
        if bad and not (self.skip_bad_rows and rows):
            raise _bad_rows(bad, self.file.name)
        if not rows:
            no_rows(self.file.name)
        if bad:
            self.options.told.add("bad rows left out", str(bad[0]), len(bad))
        return Reading(rows, self.format, visible(self.guess.why), self.tell(quiet), len(bad))

    def rows(self) -> Iterator[Row | InputError]:
        for place, row in self.format.read(self.file, self.options):
            if not isinstance(row, InputError):
                stem = self._stem(place)
                default_id = str(place.number) if stem is None else f"{stem}-{place.number}"
                try:
                    row = self._checked(row, place, default_id)
                    if not row["entities"] and (key := self.unread.get(place.number)):
                        mend = f"name the key that counts: --tag_column {key}; or empty {key}"
                        bad_input(place, f"no entity is read, and {key} lists spans", allowed="one key", mend=mend)
                except InputError as error:
                    row = error
                else:
                    self.odd.see(row, place)
            yield row

    @cached_property
    def unread(self) -> dict[int | None, str]:
        """By number the entries with spans under a key beside an empty one; looked for when a row has no entity."""
        if self.options.tag_column is not None or (self.file.json_kind is None and not self.file.is_table):
            return {}
        return {place.number: key for place, entry in self.file.stream() if (key := unread_spans(entry))}

    def _stem(self, place: Place) -> str | None:
        """What a default id begins with: the name of the file, or of the document below a folder of them."""
        path, folder = Path(place.path), self.file.path
        if not self.file.is_folder or path == folder:
            return self.file.stem
        return path.relative_to(folder).with_suffix("").as_posix()

    def _checked(self, row: Row, place: Place, default_id: str) -> Row:
        """`row` with the contract's keys alone, after the check."""
        told: Told = self.options.told
        if isinstance(row, dict):
            if type(row.get("id")) is int:
                row["id"] = str(row["id"])
            if row.get("id") is not None:
                self.odd.make_unique(row, default_id, place, told)
            if self.options.trim:
                _trim(row, place, told)
            _bare_labels(row, place, told)
        self.check(row, place)
        if row.get("id") is None:
            self.odd.make_unique(row, default_id, place, told)
        clean: Row = {
            "id": row["id"],
            "tokens": list(row["tokens"]),
            "entities": [_span(span) for span in row["entities"]],
        }
        if row.get("extensions") is not None:
            keys = ("start", "end", "label", "source")
            clean["extensions"] = [{key: span.get(key) for key in keys} for span in row["extensions"]]
        if row.get("uncertain"):
            clean["uncertain"] = [{key: span[key] for key in ("start", "end", "label")} for span in row["uncertain"]]
        kept = ("has_extensions", "synthetic", "parent_id", "weight")
        clean.update((key, row[key]) for key in kept if row.get(key) is not None)
        if row.get("source") in SOURCES:  # otherwise columns of the file that mean something else
            clean.update((key, row[key]) for key in ("source", "annotator") if isinstance(row.get(key), str))
        return clean

    def tell(self, quiet: bool) -> list[str]:
        self.odd.tell(self.options.told)
        lines = self.options.told.lines()
        for line in () if quiet else lines:
            logger.warning("%s: %s", self.file.name, line)
        return lines


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    """A target span with the contract's keys alone; its `weight` where it has one."""
    weight = {} if span.get("weight") is None else {"weight": span["weight"]}
    return {key: span[key] for key in ("start", "end", "label")} | weight


def _bad_rows(bad: Sequence[InputError], name: str) -> InputError:
    """One error for all bad rows: the only one as it is; of more the first twenty, and how many follow."""
    if len(bad) == 1:
        return bad[0]
    details = [str(error) for error in bad[:LISTED]]
    if len(bad) > LISTED:
        details.append(f"and {len(bad) - LISTED} more")
    mend = "mend them as said below, or leave them out with --skip_bad_rows"
    return InputError(f"{name}: {len(bad)} bad rows; allowed: none; mend: {mend}", details)


def _bare_labels(row: Row, place: Place, told: Told) -> None:
    """White space and invisible characters at the edges of labels are cut off: they would make two labels of one."""
    for key in ("entities", "uncertain"):
        if not isinstance(spans := row.get(key), list):
            continue
        for at, span in enumerate(spans):
            label = span.get("label") if isinstance(span, dict) else None
            if isinstance(label, str) and bare(label) not in ("", label):
                told.add("labels lost white space or invisible characters at an edge", f"{show(label)} at {place}")
                spans[at] = {**span, "label": bare(label)}


def _trim(row: Row, place: Place, told: Told) -> None:
    """White space tokens at the edges of spans are cut off."""
    tokens, spans = row.get("tokens"), row.get("entities")
    if not isinstance(tokens, list) or not isinstance(spans, list):
        return
    kept = []
    for span in spans:
        start, end = (span.get("start"), span.get("end")) if isinstance(span, dict) else (None, None)
        if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(tokens):
            borders = start, end
            while start < end and str(tokens[start]).isspace():
                start += 1
            while start < end and str(tokens[end - 1]).isspace():
                end -= 1
            if (start, end) != borders:
                told.add("spans trimmed of white space", f"{show(span.get('label'))} at {place}")
                if start == end:
                    continue
                span = {**span, "start": start, "end": end}
        kept.append(span)
    row["entities"] = without_repeats(kept, place, told)
