"""What every format shares: the file being read, a detector's answer, a reader's options and words, the format itself.

Not part of a pushed model; the Space carries this folder as `knowfree_formats`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any, NamedTuple

from ..labels import Labels
from ..lines import Line, once, open_binary, parse_json, read_lines
from ..rows import JSON_SUFFIXES, InputError, Place, Row, bad_input, show, visible

PEEK = 1000  # lines or entries that recognising looks at
UNITS = ("character", "word")

TEXT_NAMES = ("data", "content", "sentence", "originalText", "textContent", "raw_text", "document", "context", "sent")
_COLUMNS = frozenset(("text", "tokens", "words", "token"))
_SENTENCE = frozenset(("text", "tokens", "words", "token", "tokenized_text", "sentences", "conversations"))
_NO_WRAPPER = frozenset(("annotations", "%FEATURE_STRUCTURES", "predictions", "completions"))

_HAN_OR_KANA = re.compile("[々-〇\u3040-ヿㇰ-ㇿ㐀-䶿一-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")
_BLANK = re.compile(r"\s*")
_JSON_START = re.compile(r'\s*(\{\s*("|$|\})|\[\s*([\[{"\]]|$))')

Placed = Iterator[tuple[Place, "Row | InputError"]]  # a bad row is the error that it gives


class Guess(NamedTuple):
    """A detector's answer: how sure, 0 to 1, and why."""

    sure: float
    why: str


@dataclass
class Told:
    """What a reader left out, put together or found odd: counted, with the first example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, example: str = "", count: int = 1) -> None:
        self.counts[what] += count
        self.examples.setdefault(what, example)

    def lines(self) -> list[str]:
        """`<count> <what>: <example>`, a line each, as a terminal may show it."""
        return [
            visible(f"{count} {what}{': ' + self.examples[what] if self.examples[what] else ''}")
            for what, count in self.counts.items()
        ]


@dataclass
class Options:
    """What the user said about a file, and where its reader says what it did."""

    unit: str | None = None
    task: str | None = None
    scheme: str | None = None
    tag_column: str | None = None
    annotator: str | None = None
    trim: bool = False
    labels: Labels | None = None
    tag_names: Sequence[str] | None = None
    told: Told = field(default_factory=Told)


class File:
    """A file being read: its first bytes, its lines, and where it is JSON (or a table) its entries.

    Args:
        entries: of a table, instead of what stands in the file.
        tag_names: of the integers in each tag column of a table.
        name: what errors call it.
        unit: what the user wants to count in.
    """

    def __init__(
        self,
        path: Path,
        entries: Iterable[Any] | None = None,
        tag_names: dict[str, list[str]] | None = None,
        name: str | None = None,
        unit: str | None = None,
    ):
        self.path = path
        self.unit = unit
        self.name = name or str(path)
        self.tag_names = tag_names or {}
        self.is_folder = entries is None and path.is_dir()
        self._given = None if entries is None else entries

    def place(self, number: int | None = None, noun: str = "line") -> Place:
        return Place(self.name, number, noun=noun)

    @cached_property
    def suffix(self) -> str:
        return Path(re.sub(r"\.gz$", "", self.path.name, flags=re.IGNORECASE)).suffix.lower()

    @property
    def stem(self) -> str | None:
        """What default ids begin with; None for a data set, whose rows have their numbers as ids."""
        if self.is_table and not self.path.exists():
            return None
        return Path(re.sub(r"\.gz$", "", self.path.name, flags=re.IGNORECASE)).stem

    @cached_property
    def is_table(self) -> bool:
        return self._given is not None

    @cached_property
    def start(self) -> bytes:
        if self.is_table or self.is_folder:
            return b""
        with open_binary(self.path) as file:
            return file.read(64)

    @cached_property
    def is_binary(self) -> bool:
        if self.start.startswith((b"\xff\xfe", b"\xfe\xff")):
            return False  # UTF-16: text, of which reading says how to turn it into UTF-8
        return b"\0" in self.start or self.start.startswith((b"PAR1", b"\x78\x9c", b"\x78\xda", b"\x78\x01"))

    @cached_property
    def is_empty(self) -> bool:
        return not (self.is_table or self.is_folder or self.is_binary or self.first_lines)

    def lines(self) -> Iterator[Line]:
        """All lines, read anew at each call. Files that were put together have other line ends, and byte order marks in
        front of lines."""
        number = 0
        for line in read_lines(self.path):
            for text in line.text.split("\r"):
                number += 1
                yield Line(number, text if text[1:2].isspace() else text.removeprefix("\ufeff"))

    @cached_property
    def head(self) -> list[Line]:
        """The first lines from one that is not blank on; none of a table, a folder, or binary data."""
        if self.is_table or self.is_folder or self.is_binary:
            return []
        return list(islice(dropwhile(lambda line: not line.text.strip(), self.lines()), PEEK))

    @cached_property
    def first_lines(self) -> list[str]:
        """The first lines that are not blank."""
        return [line.text for line in self.head if line.text.strip()]

    # ------------------------------------------------------------------ JSON

    @cached_property
    def json_kind(self) -> str | None:
        """`"lines"`, `"whole"` (an array, an object, or several), `"table"`; None for what is no JSON."""
        if self.is_table:
            return "table"
        if not self.first_lines:
            return None
        first, *others = self.first_lines
        first = first.strip()
        if not first.startswith(("{", "[")):
            return "lines" if self.suffix in JSON_SUFFIXES else None
        value = json_or_none(first)
        if isinstance(value, dict):
            return "lines"
        if isinstance(value, list):
            return "lines" if is_pair(value) or (others and is_pair(json_or_none(others[0]))) else "whole"
        later = [json_or_none(line) for line in others[:20]] if first not in "[{" else []
        if any(isinstance(value, dict) if first[0] == "{" else is_pair(value) for value in later):
            return "lines"
        if self.suffix in (".jsonl", ".ndjson") and first not in "[{" and first[0] == "{":
            return "lines"
        return "whole" if self.suffix in JSON_SUFFIXES or _JSON_START.match(first) else None

    def stream(self) -> Iterator[tuple[Place, Any]]:
        """The entries, one after the other; a line that is no JSON is the InputError it gives."""
        if self._given is not None:
            for number, entry in enumerate(self._given, start=1):
                yield self.place(number, "row"), entry
        elif self.json_kind == "lines":
            for line in self.lines():
                if line.text.strip():
                    place = self.place(line.number)
                    yield from self._rows(place, attempt(parse_json, line.text, place))
        else:
            for place, value in self._whole():
                yield from self._rows(place, value)

    def _rows(self, place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
        """The rows that a value of the file is: mostly itself."""
        inner = rows_inside(value)
        if inner is None:
            yield place, with_text(value)
        else:
            for number, entry in enumerate(inner, start=1):
                yield self.place(number, "row"), with_text(entry)

    @cached_property
    def entries(self) -> list[tuple[Place, Any]]:
        """All entries, in memory."""
        return list(self.stream())

    @cached_property
    def sample(self) -> list[Any]:
        """The first entries, without those that are no JSON; none of a file that is no JSON."""
        if self.json_kind is None:
            return []
        stream = self.stream() if self.json_kind == "lines" else iter(self.entries)
        return [entry for _, entry in islice(stream, PEEK) if not isinstance(entry, InputError)]

    def _whole(self) -> Iterator[tuple[Place, Any]]:
        text = "\n".join(line.text for line in self.lines())
        mend = "mend the file there: one JSON array, closed by ], or one object a line"
        if text.lstrip().startswith("{"):
            yield from self._objects(text, mend)
            return
        value = parse_json(text, self.place(1), mend)
        for number, entry in enumerate(value if isinstance(value, list) else [value], start=1):
            yield self.place(number, "row"), entry

    def _objects(self, text: str, mend: str) -> Iterator[tuple[Place, Any]]:
        """Objects one behind the other, each over as many lines as it likes."""
        decoder, at, line = json.JSONDecoder(object_pairs_hook=once), 0, 1
        while (begin := _BLANK.match(text, at).end()) < len(text):  # type: ignore[union-attr]
            line += text.count("\n", at, begin)
            at = begin
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                value, end = parse_json(text[at:], self.place(line), mend), len(text)
            yield self.place(line), value
            line += text.count("\n", at, end)
            at = end

    def share(self, test: Callable[[dict], bool]) -> float:
        """The share of the sample's entries that are objects and pass `test`."""
        passed = sum(isinstance(entry, dict) and test(entry) for entry in self.sample)
        return passed / len(self.sample) if self.sample else 0.0

    def any(self, test: Callable[[dict], bool]) -> bool:
        return any(isinstance(entry, dict) and test(entry) for entry in self.sample)


Detector = Callable[[File], Guess | None]
Reader = Callable[[File, Options], Placed]
Writer = Callable[[Sequence[Row], Path], None]


@dataclass(frozen=True)
class Format:
    """One format: what it is called, how it is recognised, read and written.

    Args:
        name: for `--format` and `--to`; `aliases` are taken too.
        tool: who writes such files.
        recognised: by what, for people.
        trap: what a hasty reader gets wrong.
        detect: None if this file is not of the format.
        read: rows, or the error of a bad one, with their places.
        write: all or nothing, to a file (brat: a folder).
        suffix: of a file written.
        whole: written with all that the row contract has, not tokens, targets and their labels alone.
        ready: raises InputError, which begins with what it is given, where a package that it needs is not installed.
    """

    name: str
    tool: str
    recognised: str
    trap: str
    detect: Detector
    read: Reader
    write: Writer | None = None
    suffix: str = ""
    whole: bool = False
    ready: Callable[[object], Any] | None = None
    aliases: tuple[str, ...] = ()


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, or the InputError that it raises."""
    try:
        return function(*arguments)
    except InputError as error:
        return error


def each(placed: Iterable[tuple[Place, Any]], convert: Callable[[Any, Place], Row | None]) -> Placed:
    """Every entry turned into a row; None leaves it out, an InputError stands in its place."""
    for place, entry in placed:
        row = entry if isinstance(entry, InputError) else attempt(convert, entry, place)
        if row is not None:
            yield place, row


def unit_of(texts: Iterable[str]) -> str:
    """`"character"` if at least half of the letters are Han or Kana, `"word"` otherwise, Korean included."""
    letters = han_or_kana = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        han_or_kana += len(_HAN_OR_KANA.findall(text))
    return "character" if letters and 2 * han_or_kana >= letters else "word"


def is_pair(value: Any) -> bool:
    """Whether a JSON value is spaCy 2's `[text, {"entities": …}]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict)


def is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def identity(entry: dict) -> Any:
    """The id that an entry gives, an integer as a string."""
    row_id: Any = entry.get("id")
    return str(row_id) if type(row_id) is int else row_id


def need_list(entry: dict, key: str, place: Place, items: str = "spans") -> list:
    if not isinstance(entry[key], list):
        mend = f'write "{key}": [] for a sentence without any'
        bad_input(place, f"{key} is {show(entry[key])}", allowed=f"a list of {items}", mend=mend)
    return entry[key]


def need_text(entry: dict, place: Place) -> str:
    if not isinstance(entry.get("text"), str):
        mend = "write the sentence as one string"
        bad_input(place, f"text is {show(entry.get('text'))}", allowed="a string", mend=mend)
    return entry["text"]


def with_text(entry: Any) -> Any:
    """An entry whose sentence has another name, beside a list or object that may be its spans, with `text` instead."""
    if not isinstance(entry, dict) or not _SENTENCE.isdisjoint(entry):
        return entry
    names = [name for name in TEXT_NAMES if isinstance(entry.get(name), str)]
    if len(names) != 1 or not any(isinstance(value, list | dict) for value in entry.values()):
        return entry
    return {"text" if key == names[0] else key: value for key, value in entry.items()}


def rows_inside(value: Any) -> list[Any] | None:
    """The rows of an object that holds them all: under one key, by their ids, or as columns; None for what is a row or
    holds several lists of rows."""
    if not isinstance(value, dict) or not value:
        return None
    columns = list(value.values())
    if all(map(is_row, columns)):
        return [entry if "id" in entry else {"id": key, **entry} for key, entry in value.items()]
    if not _COLUMNS.isdisjoint(value) and (rows := _rows_of_columns(value)):
        return rows
    if not (_SENTENCE | _NO_WRAPPER).isdisjoint(value):
        return None
    inner = [column for column in columns if isinstance(column, dict)]
    lists = [one for one in (*columns, *(one for below in inner for one in below.values())) if isinstance(one, list)]
    lists = [one for one in lists if one and all(isinstance(item, dict) for item in one) and any(map(is_row, one))]
    return lists[0] if len(lists) == 1 else None


def _rows_of_columns(value: dict) -> list[dict] | None:
    """A sentence and what belongs to it under the same place, or pandas' number, of each column."""
    columns = list(value.values())
    if all(isinstance(column, dict) and column.keys() == columns[0].keys() for column in columns):
        columns = [list(column.values()) for column in columns]
    if not all(isinstance(column, list) for column in columns) or len({*map(len, columns)}) != 1:
        return None
    rows = [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]
    is_nested = all(any(isinstance(row[key], list) for key in row if key != "text") for row in rows)
    return rows if rows and is_nested and all(map(is_row, rows)) else None


def is_row(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    names = [name for name in _SENTENCE if isinstance(value.get(name), list)]
    names += [name for name in ("text", *TEXT_NAMES) if isinstance(value.get(name), str)]
    return bool(names) and any(isinstance(value[key], list | dict) for key in value if key != names[0])


def as_lists(value: Any) -> Any:
    """A Python literal as JSON would have it: tuples are lists."""
    if isinstance(value, list | tuple):
        return [as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return value


def json_or_none(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
