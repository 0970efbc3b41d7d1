"""The row, the one form of annotated text in this package: its contract, its checks, its file.

A row is `{"id": str, "tokens": [str], "entities": [{"start": int, "end": int, "label": str}]}`: tokens are units,
spans count in units, `end` is exclusive, `label` is a target label. A row may carry `extensions` (spans with a
namespaced label and a `source`), `source` (one of `SOURCES`), `synthetic`, `parent_id`, `annotator` (who set its target
spans), and `uncertain`: target spans of a synthetic row on which its annotators disagree, which training counts neither
as there nor as absent. `has_extensions` false: nobody looked for extension labels in it. `weight`, of the row or of one
of its entities, 0 to 1: what it counts in training.

Not part of a pushed model; the Space carries this folder as `knowfree_formats`.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from ..files import whole_file

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
LONGEST = 100_000  # tokens of a row: no encoder reads so many, and more would fill the memory
NAMESPACES = ("ENT:", "POS:", "SEG:")
WORD_LABEL = "WORD"  # the label of a word in a segmentation file, and of a bare B, I, E, M or S tag
A_ROW = '{"id": "1", "tokens": ["in", "Rome"], "entities": [{"start": 1, "end": 2, "label": "LOC"}]}'
SOURCES = ("gold", "synthetic", "pool")
# What a row may carry.
MORE_KEYS = ("extensions", "uncertain", "has_extensions", "synthetic", "source", "annotator", "parent_id", "weight")

Row = dict[str, Any]


class InputError(ValueError):
    """Bad user input: one line that says where, what, what is allowed and how to mend it.

    The command line turns it into exit code 2; nothing has been written when it is raised. `details` stand below that
    line, one each: the bad rows of a file. Whatever of a file stands in them, no control character reaches a terminal.
    """

    exit_code = 2

    def __init__(self, message: str, details: Sequence[str] = ()):
        self.message, self.details = message, tuple(details)
        super().__init__("\n  ".join(visible(" ".join(line.splitlines())) for line in (message, *details)))


class Place(NamedTuple):
    """Where a row stands: file (or data set), 1-based line (or row) number and, once read, the row's id."""

    path: str
    number: int | None = None
    row_id: str | None = None
    noun: str = "line"

    def __str__(self) -> str:
        number = "" if self.number is None else f", {self.noun} {self.number}"
        return self.path + number + ("" if self.row_id is None else f" (id {show(self.row_id)})")


def visible(text: str) -> str:
    """Text of a file as a terminal may show it: no control character reaches it, white space is one blank."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def show(value: object) -> str:
    """`value` for an error message: its repr, one line, control characters escaped, the middle of long ones cut."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"


def bad_input(place: Place | str | os.PathLike[str], problem: str, *, allowed: str, mend: str) -> NoReturn:
    """Raises `InputError("<place>: <problem>; allowed: <allowed>; mend: <mend>")`."""
    raise InputError(f"{place}: {problem}; allowed: {allowed}; mend: {mend}")


def check_rows(
    rows: Iterable[Row],
    *,
    path: str | os.PathLike[str],
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> None:
    """Holds rows that are already in memory against the row contract; `read_rows` checks what it reads by itself.

    `path` is the name that errors give. `flat` refuses overlapping target spans (two
    labels on the identical span may stand: that is `config.multi_label`), `labels` is the set of target
    labels allowed (None: any). Errors count rows from 1.

    Raises InputError at the first bad row, or if there is none at all.
    """
    check = RowChecker(flat=flat, labels=labels)
    number = 0
    for number, row in enumerate(rows, start=1):
        check(row, Place(os.fspath(path), number, noun="row"))
    if not number:
        no_rows(path)


def no_rows(path: str | os.PathLike[str]) -> NoReturn:
    """Raises the InputError of a file or data set without rows."""
    bad_input(Place(os.fspath(path)), "no rows", allowed="at least one row", mend=f"write one sentence a line: {A_ROW}")


class RowChecker:
    """Holds one row after the other against the row contract; remembers the ids it has seen."""

    def __init__(self, *, flat: bool | None = None, labels: Iterable[str] | None = None):
        self._flat = flat
        self._labels = None if labels is None else frozenset(labels)
        self._number_of_id: dict[str, int | None] = {}

    def __call__(self, row: Any, place: Place) -> None:
        """Raises InputError if `row`, standing at `place`, breaks the contract."""
        check_keys(row, ("tokens", "entities"), place)
        place = self._check_id(row.get("id"), place)
        tokens = row["tokens"]
        self._check_tokens(tokens, place)
        self._check_spans(row["entities"], "entities", len(tokens), place)
        if self._flat:
            _check_flat(row["entities"], tokens, place)
        for key in ("extensions", "uncertain"):
            if row.get(key) is not None:
                self._check_spans(row[key], key, len(tokens), place)
        _check_certain(row, place)
        kinds = {"synthetic": bool, "has_extensions": bool, "parent_id": str}
        for key, kind in kinds.items():
            value, allowed = row.get(key), "true or false" if kind is bool else "a string or null"
            if value is not None and not isinstance(value, kind):
                bad_input(place, f"{key} is {show(value)}", allowed=allowed, mend=f"write {key} as {allowed}")
        for holder in (row, *row["entities"]):
            _check_weight(holder.get("weight"), place)

    def _check_id(self, row_id: Any, place: Place) -> Place:
        if row_id is None:
            return place
        if not isinstance(row_id, str):
            bad_input(place, f"id is {show(row_id)}", allowed="a string", mend="put the id in quotes")
        if row_id in self._number_of_id:
            problem = f"id {show(row_id)} was used before, at {place.noun} {self._number_of_id[row_id]}"
            bad_input(place, problem, allowed="each id once", mend="give the row an id of its own, or drop it")
        self._number_of_id[row_id] = place.number
        return place._replace(row_id=row_id)

    def _check_tokens(self, tokens: Any, place: Place) -> None:
        if not isinstance(tokens, list | tuple):
            mend = "split the sentence into a list of tokens"
            bad_input(place, f"tokens is {show(tokens)}", allowed="a list of strings", mend=mend)
        if not tokens:
            bad_input(place, "tokens is empty, []", allowed="at least one token", mend="remove the row")
        if len(tokens) > LONGEST:
            mend = "split it into sentences"
            bad_input(place, f"{len(tokens):,} tokens", allowed=f"up to {LONGEST:,} tokens", mend=mend)
        for index, token in enumerate(tokens):
            if not isinstance(token, str) or not token:
                mend = "put the token in quotes, or take it out and move the spans behind it"
                bad_input(place, f"token {index} is {show(token)}", allowed="a string that is not empty", mend=mend)
        check_encodable("".join(tokens), "tokens", place)

    def _check_spans(self, spans: Any, key: str, length: int, place: Place) -> None:
        if not isinstance(spans, list | tuple):
            mend = f'write "{key}": [] for a sentence without any'
            bad_input(place, f"{key} is {show(spans)}", allowed="a list of spans", mend=mend)
        seen = set()
        for span in spans:
            if not isinstance(span, Mapping) or not {"start", "end", "label"} <= span.keys():
                allowed = '{"start": int, "end": int, "label": str}'
                bad_input(place, f"{key} holds {show(span)}", allowed=allowed, mend="give each span these three keys")
            start, end, label = triple(span)
            check_bounds(start, end, label, length, place)
            self._check_label(label, key, place)
            if (start, end, label) in seen:
                problem = f"{key} holds {show_span(start, end, label)} twice"
                bad_input(place, problem, allowed="a label on a span once", mend="drop one of the two")
            seen.add((start, end, label))

    def _check_label(self, label: Any, key: str, place: Place) -> None:
        if not isinstance(label, str) or not label.strip():
            bad_input(place, f"label is {show(label)}", allowed="a string that is not blank", mend="name the label")
        check_encodable(label, "label", place)
        if key != "extensions" and label != bare(label):
            problem = f"label {show(label)} has white space or an invisible character at an edge"
            bad_input(place, problem, allowed=show(bare(label)), mend="write it without")
        namespaced = label.startswith(NAMESPACES)
        if key == "extensions" and not namespaced:
            problem = f"extension label {show(label)} has no namespace"
            mend = f"write it as {show('ENT:' + label)}, or move the span to entities"
            bad_input(place, problem, allowed="ENT:..., POS:... or SEG:...", mend=mend)
        if key != "extensions" and namespaced:
            problem = f"target label {show(label)} starts like an extension label"
            mend = "rename the label, or move the span to extensions"
            bad_input(place, problem, allowed="any label that does not start with ENT:, POS: or SEG:", mend=mend)
        if key != "extensions" and self._labels is not None and label not in self._labels:
            mend = "correct the label, put a sentence that has it into the training file, or name all with --labels"
            allowed = ", ".join(map(show, sorted(self._labels))) or "none"
            bad_input(place, f"unknown label {show(label)}", allowed=allowed, mend=mend)


def _check_certain(row: Mapping[str, Any], place: Place) -> None:
    """A span cannot be gold and left out of the loss: its logit would rise without end."""
    gold = set(map(triple, row["entities"]))
    for span in row.get("uncertain") or ():
        if (key := triple(span)) in gold:
            problem = f"{show_span(*key)} is in entities and in uncertain"
            bad_input(place, problem, allowed="a span in one of them", mend="drop it from the other")


def _check_weight(weight: Any, place: Place) -> None:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if weight is not None and not (number and 0 <= weight <= 1):
        allowed = "a number from 0 to 1"
        bad_input(
            place, f"weight is {show(weight)}", allowed=allowed, mend=f"write weight as {allowed}, or leave it out"
        )


def check_keys(entry: Any, keys: Sequence[str], place: Place) -> None:
    """Raises InputError unless `entry` is a JSON object with `keys`."""
    if not isinstance(entry, Mapping):
        bad_input(place, f"the row is {show(entry)}", allowed="a JSON object", mend=f"write the row as {A_ROW}")
    for key in keys:
        if key not in entry:
            problem = f"key {key!r} is missing, the keys are {', '.join(map(show, entry)) or 'none'}"
            mend = f"rename or add it; a whole row is {A_ROW}"
            bad_input(place, problem, allowed=f"a row with {' and '.join(keys)}", mend=mend)


def check_bounds(start: Any, end: Any, label: Any, length: int, place: Place, unit: str = "token") -> None:
    """Raises InputError unless 0 <= start < end <= length, both integers; `unit` names what they count."""
    for name, value in (("start", start), ("end", end)):
        if type(value) is not int:  # to Python True is an int; here it is a mistake
            mend = f"write {name} as a {unit} position, without quotes or decimals"
            bad_input(place, f"{name} is {show(value)}", allowed=f"an integer from 0 to {length}", mend=mend)
    allowed = f"0 <= start < end <= {length}"
    if end <= start:
        mend = f"end is exclusive: a span of {unit} i alone has start i and end i + 1"
        wrong = "is empty" if end == start else "ends before it begins"
        bad_input(place, f"span {show_span(start, end, label)} {wrong}", allowed=allowed, mend=mend)
    if start < 0 or end > length:
        problem = f"span {show_span(start, end, label)} leaves the sentence of {length} {unit}s"
        bad_input(place, problem, allowed=allowed, mend=f"count {unit}s from 0, end exclusive")


def _check_flat(spans: Sequence[Row], tokens: Sequence[str], place: Place) -> None:
    ordered = sorted(spans, key=lambda span: (span["start"], span["end"]))
    for left, right in pairwise(ordered):
        same = (left["start"], left["end"]) == (right["start"], right["end"])  # two labels on one span: multi_label
        if right["start"] < left["end"] and not same:
            pair = " and ".join(
                f"{show_span(span['start'], span['end'], span['label'])} {show(tokens[span['start'] : span['end']])}"
                for span in (left, right)
            )
            mend = "drop one of the two, or train with --task nested_ner"
            bad_input(place, f"spans {pair} overlap", allowed="no overlap in a flat task", mend=mend)


def bare(text: str) -> str:
    """`text` without white space and without format characters, which nobody sees, at its edges."""
    if text.isascii():
        return text.strip()
    start, end = 0, len(text)
    while start < end and is_silent(text[start]):
        start += 1
    while start < end and is_silent(text[end - 1]):
        end -= 1
    return text[start:end]


def is_silent(character: str) -> bool:
    """Whether a character shows nothing: white space, or one that formats text."""
    return character.isspace() or unicodedata.category(character) == "Cf"


def check_encodable(text: str, what: str, place: Place) -> None:
    """Raises InputError where `text`, which errors call `what`, has half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = f"{what}: {show(text[error.start])} is half a surrogate pair"
        bad_input(place, problem, allowed="text that UTF-8 can hold", mend="write the whole character, not half of it")


def triple(span: Mapping[str, Any]) -> tuple[int, int, str]:
    """Start, end (exclusive) and label of a span."""
    return span["start"], span["end"], span["label"]


def span_sets(rows: Iterable[Row]) -> list[set[tuple[int, int, str]]]:
    """The entities of each row as triples."""
    return [set(map(triple, row["entities"])) for row in rows]


def show_span(start: int, end: int, label: Any) -> str:
    """`[start, end) 'label'`."""
    return f"[{start}, {end}) {show(label)}"


def write_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """Writes rows as JSON lines, all or nothing: a temporary file in the same folder, fsync, rename.

    Raises OSError where the folder cannot be written; an older file at `path` is then still whole.
    """
    with whole_file(path) as work, work.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
