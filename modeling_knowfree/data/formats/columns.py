"""What each column of a file of columns holds: the token, the tags, its number, the name of its sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, pairwise

from ..lines import Line
from ..rows import bad_input, bare, show
from .base import Options
from .schemes import looks_like_tags, scheme_of

CHUNKS = set("NP VP PP ADVP ADJP SBAR PRT INTJ CONJP LST UCP NC PC VC".split())
WIDEST = 100  # columns
GLOBAL_COLUMNS = "# global.columns = "  # as CoNLL-U Plus names its columns

_CLOCK = re.compile(r"\d+")
_NUMBER = re.compile(r"\d+([-.]\d+)?")  # 3-4 and 8.1 are no words in files that number these as CoNLL-U does
_DOCUMENT = re.compile(r"(\d+[\t ]+)?-DOCSTART-", re.IGNORECASE)
_ENTITY_COLUMN = re.compile(r"(.*:)?(NER|NE$|NE[_:]|TAG|ENTITY)|.*:NER")
_PREDICTED = re.compile(r".*(PRED|PREDICTED|PREDICTION|SYS)")


@dataclass
class Layout:
    """The roles of a file's columns, counted from 0."""

    width: int
    token: int
    tags: list[int]
    index: int | None = None
    sentence: int | None = None  # names sentences or documents
    left_out: list[int] = field(default_factory=list)
    question: str | None = None  # why it is not certain

    def __str__(self) -> str:
        roles = {self.token: "token", **dict.fromkeys(self.tags, "tag")}
        if self.index is not None:
            roles[self.index] = "number"
        return ", ".join(roles.get(column, "not read") for column in range(self.width))


class Table:
    """The lines of a file in columns."""

    def __init__(self, lines: Sequence[Line], options: Options):
        self.options = options
        self.lines = lines
        plain = [line for line in lines if line.text.strip() and not line.text.startswith("#")]
        self.only_hashes = not plain  # each token starts with #, or there is none
        plain = plain or [line for line in lines if "\t" in line.text]
        self.is_tabbed = 2 * sum("\t" in line.text for line in plain) >= max(1, len(plain))

    def split(self, text: str) -> list[str]:
        if self.is_tabbed:
            return text.rstrip("\t").split("\t")
        columns = [column for column in text.split(" ") if column]
        return [" ", *columns] if text.startswith(" ") and len(columns) == 1 else columns  # the token is a space

    def blocks(self) -> Iterator[list[Line]]:
        """Runs of lines between blank ones and -DOCSTART-."""
        for ends, block in groupby(self.lines, key=lambda line: not line.text.strip() or is_docstart(line.text)):
            if not ends:
                yield list(block)

    @cached_property
    def sentences(self) -> list[list[tuple[int, list[str]]]]:
        """The columns of all lines that do not start with #, with their numbers; of all with a tab where each does."""

        def is_row(text: str) -> bool:
            return "\t" in text if self.only_hashes else not text.startswith("#")

        found = [
            [(line.number, self.split(line.text)) for line in block if is_row(line.text)] for block in self.blocks()
        ]
        if counts_tokens(found):
            found = [[row for row in sentence if _CLOCK.fullmatch(row[1][0])] for sentence in found]
        return [sentence for sentence in found if sentence]

    @cached_property
    def width(self) -> int:
        widths = Counter(len(columns) for sentence in self.sentences for _, columns in sentence)
        return max(widths, key=lambda width: (widths[width], width), default=0)

    @cached_property
    def values(self) -> list[Counter[str]]:
        counters: list[Counter[str]] = [Counter() for _ in range(self.width)]
        for sentence in self.sentences:
            for _, columns in sentence:
                if len(columns) == self.width:
                    for counter, value in zip(counters, columns, strict=True):
                        counter[bare(value)] += 1
        return counters

    def remark(self, key: str) -> str | None:
        """What the file's first lines say behind `key`."""
        for line in self.lines:
            if "\t" in line.text:
                return None  # a token that looks like a remark
            if line.text.startswith(key):
                return line.text.removeprefix(key).strip()
            if line.text.strip() and not line.text.startswith("#"):
                return None
        return None

    @cached_property
    def index(self) -> int | None:
        """The column that numbers the tokens."""
        return 0 if self.width > 2 and counts_tokens(self.sentences) else None

    @cached_property
    def layout(self) -> Layout | None:
        """None where no column holds tags, or lines parted by spaces are of all widths, as prose is."""
        if not 2 <= self.width <= WIDEST:
            return None
        if not self.is_tabbed and 2 * self.values[0].total() < sum(map(len, self.sentences)):
            return None
        if names := self.remark(GLOBAL_COLUMNS):
            return self._named(names.split())
        index = self.index
        rest = list(range(0 if index is None else 1, self.width))
        like_tags = [column for column in rest if looks_like_tags(self.values[column])]
        token = rest[0]
        if like_tags == rest[:1]:
            token = rest[1]
        if self.options.tag_column is not None:
            asked = self._asked(self.options.tag_column)
            free = [column for column in rest if column not in asked] or rest[:1]
            token = next((column for column in free if not self._is_of_sentences(column)), free[0])
            sentence = next((column for column in free[: free.index(token)] if self._repeats(column)), None)
            return Layout(self.width, token, asked, index, sentence)
        tags = [column for column in like_tags if column != token]
        layout = Layout(self.width, token, tags, index)
        lone = self.width > 2 and sum(map(len, self.sentences)) < 3
        if not tags or (lone and all(self.values[column].keys() <= {"O", "o"} for column in tags)):
            return None
        if len(tags) > 1:
            entities = [column for column in tags if not is_chunks(self.values[column])]
            layout.tags = entities or tags[-1:]
        layout.left_out = [column for column in rest if column not in (token, *layout.tags)]
        others = [column for column in layout.left_out if column not in tags and len(self.values[column]) > 1]
        if len(layout.tags) > 1 and others:
            listed = ", ".join(str(column + 1) for column in layout.tags)
            layout.question = f"columns {listed} hold tags, beside others that do not"
        layout.question = self._question(layout) or layout.question
        return layout

    def last_column(self) -> Layout:
        """Where no column is certain to hold tags, the last one has to."""
        width = max(2, self.width)
        layout = Layout(width, 0 if self.index is None else 1, [width - 1], self.index)
        layout.question = self._question(layout)
        return layout

    def _question(self, layout: Layout) -> str | None:
        """What speaks against the column of the tokens."""
        if self.width < 3 or not (values := self.values[layout.token]):
            return None
        column = "the first column" if layout.token == 0 else f"column {layout.token + 1}"
        if all(map(_NUMBER.fullmatch, values)):
            return f"{column} holds numbers alone, such as {show(next(iter(values)))}"
        if self._is_of_sentences(layout.token) and (len(self.sentences) > 1 or len(values) > 1):
            listed = " and ".join(show(value) for value, _ in zip(values, range(2), strict=False))
            return f"{column} holds {listed} {'alone' if len(values) == 1 else 'on line after line'}"
        return None

    def _is_of_sentences(self, column: int) -> bool:
        """Whether a column numbers sentences or tokens, or names sentences or documents, and so has no words."""
        values = self.values[column]
        alone = len(values) == 1 and values.total() > 2
        return all(map(_NUMBER.fullmatch, values)) or alone or self._repeats(column)

    def _repeats(self, column: int) -> bool:
        """Whether lines mostly say what the line above says: sentences or documents by name, which no words do."""
        pairs = [
            left[column].strip() == right[column].strip()
            for sentence in self.sentences
            for (_, left), (_, right) in pairwise(sentence)
            if len(left) == len(right) == self.width
        ]
        return self.values[column].total() > 2 and 2 * sum(pairs) > len(pairs)

    def _named(self, names: Sequence[str]) -> Layout:
        upper = [name.upper() for name in names]
        token = next((at for at, name in enumerate(upper) if name in ("FORM", "TOKEN", "WORD")), 0)
        index = 0 if upper[0] == "ID" and token != 0 else None
        tags = [at for at, name in enumerate(upper) if at != token and _ENTITY_COLUMN.match(name)]
        if self.options.tag_column is not None:
            return Layout(len(names), token, self._asked(self.options.tag_column), index)
        left_out = [at for at in range(len(names)) if at not in (token, index, *tags)]
        layout = Layout(len(names), token, tags, index, left_out=left_out)
        if len(names) != self.width:
            layout.question = f"{len(names)} columns are named, and lines have {self.width}"
        elif not tags:
            layout.question = f"none of the columns {', '.join(names)} is known to hold tags of entities"
        elif predicted := [names[at] for at in tags if _PREDICTED.fullmatch(upper[at])]:
            layout.question = f"column {predicted[0]} looks like predictions"
        return layout

    def _asked(self, wish: str) -> list[int]:
        try:
            numbers = [int(part) for part in wish.split(",")]
        except ValueError:
            numbers = [0]
        if not all(1 <= abs(number) <= self.width for number in numbers):
            allowed = f"1 to {self.width}, or -1 for the last; several as 3,4"
            bad_input("columns", f"--tag_column {wish}", allowed=allowed, mend="name a column by its number")
        return [number - 1 if number > 0 else self.width + number for number in numbers]


def is_chunks(values: Counter[str]) -> bool:
    """Whether these tags mark phrases, which are no entities."""
    scheme = scheme_of(values)
    parts = [] if isinstance(scheme, str) else [scheme.split(tag) for tag in values]
    labels = {part[1] for part in parts if part} - {"O"}
    return bool(labels) and labels <= CHUNKS


def is_docstart(text: str) -> bool:
    return _DOCUMENT.match(text) is not None


def counts_tokens(sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> bool:
    """Whether the first column numbers the tokens, in each sentence or on and on; ranges stand between the numbers."""
    expected, total = None, 0
    for sentence in sentences:
        words = [columns[0] for _, columns in sentence if len(columns) < 3 or not is_range(columns[0])]
        for place, text in enumerate(words):
            if not _CLOCK.fullmatch(text):
                return False
            number = int(text[:9])
            if place == 0 and number in (0, 1):
                expected = number
            if number != expected:
                return False
            expected, total = number + 1, total + 1
    return total > 1


def is_range(text: str) -> bool:
    return not _CLOCK.fullmatch(text) and _NUMBER.fullmatch(text) is not None
