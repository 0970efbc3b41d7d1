"""Columns, a token a line, blank lines between sentences: CoNLL-2003, GermEval, BIO, BIOES, BMES, BILOU, suffix tags.

What each column holds, and the scheme of the tags, is decided once for the whole file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice, pairwise
from pathlib import Path

from ..rows import InputError, Line, Place, Row, bad_input, bare, show, show_span
from .base import File, Format, Guess, Options, Placed, each, unit_of
from .files import write_text
from .schemes import Scheme, looks_like_tags, need_scheme, outside_of, read_tags, scheme_of

SUFFIXES = (".bio", ".bioes", ".bmes", ".conll", ".iob", ".iob2", ".bilou")
CHUNKS = set("NP VP PP ADVP ADJP SBAR PRT INTJ CONJP LST UCP NC PC VC".split())
WIDEST = 100  # columns
GLOBAL_COLUMNS = "# global.columns = "  # as CoNLL-U Plus names its columns
SCHEME = "# scheme = "

_REMARK = re.compile(r"#($|[\s#]|[\w.]+\s*[=:]|(begin|end)\b)")
_ID = re.compile(r"#\s*(?:sent_id|id)\b\s*[=:]?\s*([^\t]*)")
_CLOCK = re.compile(r"\d+")
_NUMBER = re.compile(r"\d+([-.]\d+)?")  # 3-4 and 8.1 are no words in files that number these as CoNLL-U does
_CHARACTER = re.compile(r".\d{1,2}", re.DOTALL)  # 科0
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
        bare = [line for line in lines if line.text.strip() and not line.text.startswith("#")]
        self.only_hashes = not bare  # each token starts with #, or there is none
        bare = bare or [line for line in lines if "\t" in line.text]
        self.is_tabbed = 2 * sum("\t" in line.text for line in bare) >= max(1, len(bare))

    def split(self, text: str) -> list[str]:
        if self.is_tabbed:
            return text.rstrip("\t").split("\t")
        columns = [column for column in text.split(" ") if column]
        return [" ", *columns] if text.startswith(" ") and len(columns) == 1 else columns  # the token is a space

    def blocks(self) -> Iterator[list[Line]]:
        """Runs of lines between blank ones and -DOCSTART-."""
        for ends, block in groupby(self.lines, key=lambda line: not line.text.strip() or _is_docstart(line.text)):
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
        if _counts_tokens(found):
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
        return 0 if self.width > 2 and _counts_tokens(self.sentences) else None

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


def detect(file: File) -> Guess | None:
    if not file.head or file.json_kind is not None:
        return None
    table = Table(file.head, Options())
    named = file.suffix in SUFFIXES
    if table.layout is None:
        return Guess(0.55, f"the suffix {file.suffix}") if named else None
    return Guess(0.7 + 0.1 * named, f"columns: {table.layout}")


def read(file: File, options: Options) -> Placed:
    table = Table(list(file.lines()), options)
    layout = attempt_layout(table, file)
    if layout is None:
        layout = table.last_column()
    if layout.question:
        mend = "name the one that counts, from 1: --tag_column 3; or take the others out"
        bad_input(file.place(), layout.question, allowed="columns whose meaning is certain", mend=mend)
    named = options.scheme or table.remark(SCHEME)
    found = [scheme_of(values, named=named, task=options.task) for values in _tag_values(table, layout)]
    for column, scheme in zip(layout.tags, found, strict=True):
        if isinstance(scheme, str):
            need_scheme(scheme, _first_odd(table, column, file))
    schemes = [scheme for scheme in found if isinstance(scheme, Scheme)]
    if options.scheme is None and schemes[0].name == "io":
        _refuse_header(table, layout, file)
    if layout.left_out:
        columns = ", ".join(f"{column + 1} (such as {_example(table, column)})" for column in layout.left_out)
        options.told.add("columns hold no entities and are not read", columns, len(layout.left_out))
    if len(table.sentences) == 1 and len(table.sentences[0]) > 100:
        options.told.add("no blank line: the file is one sentence", f"{len(table.sentences[0])} tokens")
    reader = _Reader(file, table, layout, schemes, options)
    reader.refuse_twin_layers()
    yield from each(((reader.place_of(block), block) for block in reader.blocks()), reader.row)


def _is_docstart(text: str) -> bool:
    return _DOCUMENT.match(text) is not None


def _counts_tokens(sentences: Sequence[Sequence[tuple[int, list[str]]]]) -> bool:
    """Whether the first column numbers the tokens, in each sentence or on and on; ranges stand between the numbers."""
    expected, total = None, 0
    for sentence in sentences:
        words = [columns[0] for _, columns in sentence if len(columns) < 3 or not _is_range(columns[0])]
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


def _is_range(text: str) -> bool:
    return not _CLOCK.fullmatch(text) and _NUMBER.fullmatch(text) is not None


def _overlaps(spans: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    ordered = sorted(spans, key=lambda span: (span["start"], -span["end"]))
    for at, left in enumerate(ordered):
        for right in islice(ordered, at + 1, None):
            if right["start"] >= left["end"]:
                break
            yield left, right


def attempt_layout(table: Table, file: File) -> Layout | None:
    try:
        return table.layout
    except InputError as error:
        raise InputError(str(error).replace("columns", file.name, 1)) from None


def _tag_values(table: Table, layout: Layout) -> list[Counter[str]]:
    values = []
    for column in layout.tags:
        counter: Counter[str] = Counter()
        for sentence in table.sentences:
            counter.update(bare(columns[column]) for _, columns in sentence if len(columns) == layout.width)
        values.append(counter)
    return values


def _refuse_header(table: Table, layout: Layout, file: File) -> None:
    """Raises InputError where the first line may name the columns: its tag is a label that no other line has."""
    (number, columns), *_ = table.sentences[0]
    tag = bare(columns[layout.tags[0]]) if len(columns) == layout.width else "O"
    values = table.values[layout.tags[0]]
    if values[tag] == 1 and values.total() > 1 and tag not in outside_of(values):
        problem = f"{show(tag)} is the tag of {show(columns[layout.token])} alone: a header, or a label?"
        mend = "take the header out; or say that it is a label: --scheme io"
        bad_input(file.place(number), problem, allowed="tokens and tags alone", mend=mend)


def _is_numbered(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether tokens are characters with their number in their word behind them, 科0 技1, as Weibo NER writes them."""
    right = wrong = 0
    for tokens in sentences:
        last = -1
        for token in tokens:
            number = int(token[1:]) if _CHARACTER.fullmatch(token) else -1
            fits = number >= 0 and number in (0, last + 1)
            right, wrong, last = right + fits, wrong + (not fits), number
    return right > 20 * wrong


def _first_odd(table: Table, column: int, file: File) -> Place:
    for sentence in table.sentences:
        for number, columns in sentence:
            if column < len(columns) and bare(columns[column]) not in ("O", "o"):
                return file.place(number)
    return file.place()


def _example(table: Table, column: int) -> str:
    return show(table.values[column].most_common(1)[0][0]) if table.values[column] else "nothing"


@dataclass
class _Reader:
    file: File
    table: Table
    layout: Layout
    schemes: list[Scheme]
    options: Options

    @cached_property
    def is_numbered(self) -> bool:
        at = self.layout.token
        sentences = [[row[at] for _, row in sentence if len(row) > at] for sentence in self.table.sentences]
        return unit_of(map("".join, sentences)) == "character" and _is_numbered(sentences)

    def place_of(self, block: Sequence[Line]) -> Place:
        first = next((line for line in block if not self._is_remark(line)), block[0])
        return self.file.place(first.number)

    def blocks(self) -> Iterator[list[Line]]:
        """The table's, parted where the column that names sentences goes on to the next."""
        for block in self.table.blocks():
            column, run, name = self.layout.sentence, [], None
            for line in block:
                if column is not None and not self._is_remark(line):
                    named = [*self.table.split(line.text), ""][column]
                    if named != name and name is not None:
                        yield run
                        run = []
                    name = named
                run.append(line)
            yield run

    def row(self, block: Sequence[Line], place: Place) -> Row | None:
        tokens: list[str] = []
        tags: list[list[str]] = [[] for _ in self.schemes]
        row_id = None
        for line in block:
            if self._is_remark(line):
                if tokens:
                    problem = f"{show(line.text)} stands inside a sentence and is no token with a tag"
                    bad_input(self.file.place(line.number), problem, allowed="a token and a tag", mend="take it out")
                if line.text.startswith((GLOBAL_COLUMNS, SCHEME)):
                    continue
                if match := _ID.match(line.text):
                    row_id = _read_id(match[1].strip())
                elif not tokens:
                    self.options.told.add("lines that start with # are remarks", show(line.text))
                continue
            columns = self._columns(line)
            if self.layout.index is not None and _is_range(columns[self.layout.index]):
                self.options.told.add("ranges and empty nodes are no words", show(line.text))
                continue
            tokens.append(columns[self.layout.token])
            for layer, column, scheme in zip(tags, self.layout.tags, self.schemes, strict=True):
                layer.append(bare(columns[column]))
                if layer[-1] != columns[column].strip():
                    self.options.told.add("tags lost invisible characters", show(columns[column]))
                if layer[-1] not in scheme.outside and not scheme.fits(layer[-1]):
                    scheme.check(layer[-1], self.file.place(line.number))
        if not tokens:
            return None
        if self.is_numbered:
            self.options.told.add("tokens lost the number of the character in its word", show(tokens[0]), len(tokens))
            tokens = [token[0] if _CHARACTER.fullmatch(token) else token for token in tokens]
        entities: list[Row] = []
        for scheme, layer in zip(self.schemes, tags, strict=True):
            for span in read_tags(scheme, layer, place, self.options.told):
                if span in entities:
                    self._refuse_twins(span, place)
                entities.append(span)
        return {"id": row_id, "tokens": tokens, "entities": entities}

    def refuse_twin_layers(self) -> None:
        """Columns that agree on a span anywhere are no layers, which is not for one row to say; nor are columns that
        nobody called layers and that contradict one another more often than they nest."""
        if len(self.schemes) < 2:
            return
        nested = 0
        contrary: list[tuple[Row, Row, Place]] = []
        for sentence in self.table.sentences:
            lines = [columns for _, columns in sentence if len(columns) == self.layout.width]
            seen: list[Row] = []
            for column, scheme in zip(self.layout.tags, self.schemes, strict=True):
                tags = [bare(columns[column]) for columns in lines]
                for span in scheme.spans(tags) if all(map(scheme.fits, tags)) else ():
                    if span in seen:
                        self._refuse_twins(span, self.file.place(sentence[0][0]))
                    seen.append(span)
            for outer, inner in _overlaps(seen):
                if (outer["start"], outer["end"]) != (inner["start"], inner["end"]) and inner["end"] <= outer["end"]:
                    nested += 1
                else:
                    contrary.append((outer, inner, self.file.place(sentence[0][0])))
        if len(contrary) > nested and self.options.tag_column is None and self.table.remark(GLOBAL_COLUMNS) is None:
            *pair, place = contrary[0]
            both = " and ".join(show_span(span["start"], span["end"], span["label"]) for span in pair)
            listed = ",".join(str(column + 1) for column in self.layout.tags)
            problem = f"tag columns contradict one another, {both}: annotation and prediction, or two annotators?"
            mend = f"name the one that counts: --tag_column {self.layout.tags[0] + 1}; or all of them: {listed}"
            bad_input(place, problem, allowed="layers that nest", mend=mend)

    def _refuse_twins(self, span: Row, place: Place) -> None:
        both = show_span(span["start"], span["end"], span["label"])
        problem = f"two tag columns both hold {both}: annotation and prediction, or two annotators?"
        mend = f"name the one that counts: --tag_column {self.layout.tags[0] + 1}"
        bad_input(place, problem, allowed="layers that differ", mend=mend)

    def _is_remark(self, line: Line) -> bool:
        if not line.text.startswith("#"):
            return False
        columns = self.table.split(line.text)
        if len(columns) == self.layout.width and all(
            self._is_tag(bare(columns[column]), layer) for layer, column in enumerate(self.layout.tags)
        ):
            return False
        is_short_row = 1 < len(columns) < self.layout.width and columns[1] in self.table.values[1]
        return not is_short_row and bool(_REMARK.match(line.text))

    def _is_tag(self, value: str, layer: int) -> bool:
        scheme = self.schemes[layer]
        positioned = scheme.name in ("bio", "bioes", "suffix") and scheme.split(value) is not None
        return positioned or value in self.known[layer]

    @cached_property
    def known(self) -> list[set[str]]:
        return [
            set(values) | scheme.outside
            for values, scheme in zip(_tag_values(self.table, self.layout), self.schemes, strict=True)
        ]

    def _columns(self, line: Line) -> list[str]:
        columns, width = self.table.split(line.text), self.layout.width
        if len(columns) == width and columns[self.layout.token]:
            return columns
        place = self.file.place(line.number)
        if len(columns) < width:
            has = f"{len(columns)} column{'s' * (len(columns) > 1)}"
            problem = f"no tag in {show(line.text)}: {has} where the other lines have {width}"
            mend = "give the token its tag (O if it has none), and put a blank line between sentences"
            bad_input(place, problem, allowed=f"a token and a tag, {self.layout}", mend=mend)
        if len(columns) > width:
            gap = "tabs" if self.table.is_tabbed else "spaces"
            problem = f"{show(line.text)} has {len(columns)} columns, the other lines have {width}"
            mend = "put tabs between columns where tokens hold spaces" if gap == "spaces" else "take the rest out"
            bad_input(place, problem, allowed=f"{width} columns, {self.layout}", mend=mend)
        bad_input(place, "the token is empty, ''", allowed="a token and a tag", mend="take the line out")


def _read_id(text: str) -> str | None:
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            pass
    return text or None


# ------------------------------------------------------------------ writing


def layers_of(spans: Sequence[Row]) -> list[list[Row]]:
    """Spans on as few layers as this takes, none of which overlap on a layer: outer ones first."""
    layers: list[list[Row]] = []
    for span in sorted(spans, key=lambda span: (span["start"], -span["end"])):
        free = (layer for layer in layers if layer[-1]["end"] <= span["start"])
        layer = next(free, None)
        if layer is None:
            layers.append([span])
        else:
            layer.append(span)
    return layers


def tags_of(spans: Sequence[Row], length: int, *, ends: bool) -> list[str]:
    """BIO tags, with `ends` BIOES, of spans that do not overlap."""
    tags = ["O"] * length
    for span in spans:
        start, end, label = span["start"], span["end"], span["label"]
        tags[start:end] = [f"I-{label}"] * (end - start)
        tags[start] = f"B-{label}"
        if ends:
            tags[end - 1] = f"E-{label}" if end - start > 1 else f"S-{label}"
    return tags


def _write(rows: Sequence[Row], path: Path, *, ends: bool) -> None:
    width = max([1, *(len(layers_of(row["entities"])) for row in rows)])
    parts = [f"{GLOBAL_COLUMNS}FORM {' '.join(['NER', *(f'NER{n}' for n in range(2, width + 1))])}\n"] * (width > 1)
    parts += [f"{SCHEME}bioes\n"] * ends
    for row in rows:
        refuse_breaks(row, path, "\t\n\r\0")
        if mark := next((token for token in row["tokens"] if _is_docstart(token) or token[0] == "\ufeff"), None):
            what = "a byte order mark" if mark[0] == "\ufeff" else "the mark of a document"
            problem = f"row {show(row['id'])}: {show(mark)} is {what} in this format, no token"
            bad_input(path, problem, allowed="other tokens", mend="take it out, or write jsonl or parquet")
        layers = layers_of(row["entities"])
        columns = [tags_of(layer, len(row["tokens"]), ends=ends) for layer in layers]
        columns += [["O"] * len(row["tokens"])] * (width - len(layers))
        parts.append(f"# id = {_written_id(row['id'])}\n")
        parts.extend("\t".join(line) + "\n" for line in zip(row["tokens"], *columns, strict=True))
        parts.append("\n")
    write_text(path, "".join(parts))


def refuse_breaks(row: Row, path: Path, breaks: str) -> None:
    """Raises InputError for a token or label with a character that the format cannot hold."""
    for text in (*row["tokens"], *(span["label"] for span in row["entities"])):
        if any(character in text for character in breaks):
            what = "NUL" if "\0" in text else "a tab or line break"
            problem = f"row {show(row['id'])}: {show(text)} holds {what}, and this format cannot"
            bad_input(path, problem, allowed="tokens and labels on one line", mend="write jsonl or parquet")


def _written_id(row_id: str) -> str:
    plain = row_id.isprintable() and row_id == row_id.strip() and not row_id.startswith('"') and row_id
    return row_id if plain else json.dumps(row_id)


def write_bio(rows: Sequence[Row], path: Path) -> None:
    _write(rows, path, ends=False)


def write_bioes(rows: Sequence[Row], path: Path) -> None:
    _write(rows, path, ends=True)


def read_bioes(file: File, options: Options) -> Placed:
    options.scheme = options.scheme or "bioes"
    return read(file, options)


FORMAT = Format(
    name="conll",
    tool="CoNLL-2002 and 2003, GermEval 2014, MultiCoNER, AllenNLP, NLTK, BMES and suffix-tag sets",
    recognised="a column of tags: BIO, IOB1, BIOES, BMES, BILOU, PER-B, or labels and O",
    trap="numbers and chunks are no tags, several tag columns are layers, E-MAIL is a whole label",
    detect=detect,
    read=read,
    write=write_bio,
    suffix=".conll",
    aliases=(
        *("columns", "conll2003", "conll-indexed", "conll-bio", "bio", "iob1", "bilou", "bmes-chinese", "suffix-tags"),
        *("unprefixed-tags", "ragged-columns", "bom-crlf"),
    ),
)
BIOES = Format(
    name="conll-bioes",
    tool="the same, with ends and single tokens marked",
    recognised="as conll; by this name every S- and E- is a position",
    trap="S- and E- alone may be labels",
    detect=lambda file: None,
    read=read_bioes,
    write=write_bioes,
    suffix=".bioes",
    aliases=("bioes",),
)
