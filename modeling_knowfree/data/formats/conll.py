"""Columns, a token a line, blank lines between sentences: CoNLL-2003, GermEval, BIO, BIOES, BMES, BILOU, suffix tags.

What each column holds, and the scheme of the tags, is decided once for the whole file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from ...files import write_whole
from ..lines import Line
from ..rows import InputError, Place, Row, bad_input, bare, show, show_span, triple
from .base import File, Format, Guess, Options, Placed, each, unit_of
from .columns import GLOBAL_COLUMNS, Layout, Table, is_docstart, is_range
from .schemes import Scheme, need_scheme, outside_of, read_tags, scheme_of

SUFFIXES = (".bio", ".bioes", ".bmes", ".conll", ".iob", ".iob2", ".bilou")
SCHEME = "# scheme = "

_REMARK = re.compile(r"#($|[\s#]|[\w.]+\s*[=:]|(begin|end)\b)")
_ID = re.compile(r"#\s*(?:sent_id|id)\b\s*[=:]?\s*([^\t]*)")
_CHARACTER = re.compile(r".\d{1,2}", re.DOTALL)  # 科0


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
            if self.layout.index is not None and is_range(columns[self.layout.index]):
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
        seen: set[tuple[int, int, str]] = set()
        for scheme, layer in zip(self.schemes, tags, strict=True):
            for span in read_tags(scheme, layer, place, self.options.told):
                if triple(span) in seen:
                    self._refuse_twins(span, place)
                seen.add(triple(span))
                entities.append(span)
        return {"id": row_id, "tokens": tokens, "entities": entities}

    def refuse_twin_layers(self) -> None:
        """Columns that agree on a span anywhere are no layers, which is not for one row to say; nor are columns that
        nobody called layers and that contradict one another more often than they nest."""
        if len(self.schemes) < 2:
            return
        nested = 0
        contrary: list[tuple[Row, Row, Place]] = []
        for block in self.table.blocks():
            place = self.file.place(block[0].number)
            rows = [self.table.split(line.text) for line in block if not self._is_remark(line)]
            lines = [columns for columns in rows if len(columns) == self.layout.width]
            seen: dict[tuple[int, int, str], Row] = {}
            for column, scheme in zip(self.layout.tags, self.schemes, strict=True):
                tags = [bare(columns[column]) for columns in lines]
                for span in scheme.spans(tags) if all(map(scheme.fits, tags)) else ():
                    if triple(span) in seen:
                        self._refuse_twins(span, place)
                    seen[triple(span)] = span
            for outer, inner in _overlaps(list(seen.values())):
                if (outer["start"], outer["end"]) != (inner["start"], inner["end"]) and inner["end"] <= outer["end"]:
                    nested += 1
                else:
                    contrary.append((outer, inner, place))
        if len(contrary) > nested and self.options.tag_column is None and self.table.remark(GLOBAL_COLUMNS) is None:
            *pair, at = contrary[0]
            both = " and ".join(show_span(*triple(span)) for span in pair)
            listed = ",".join(str(column + 1) for column in self.layout.tags)
            problem = f"tag columns contradict one another, {both}: annotation and prediction, or two annotators?"
            mend = f"name the one that counts: --tag_column {self.layout.tags[0] + 1}; or all of them: {listed}"
            bad_input(at, problem, allowed="layers that nest", mend=mend)

    def _refuse_twins(self, span: Row, place: Place) -> None:
        both = show_span(*triple(span))
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
        start, end, label = triple(span)
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
        if mark := next((token for token in row["tokens"] if is_docstart(token) or token[0] == "\ufeff"), None):
            what = "a byte order mark" if mark[0] == "\ufeff" else "the mark of a document"
            problem = f"row {show(row['id'])}: {show(mark)} is {what} in this format, no token"
            bad_input(path, problem, allowed="other tokens", mend="take it out, or write jsonl or parquet")
        layers = layers_of(row["entities"])
        columns = [tags_of(layer, len(row["tokens"]), ends=ends) for layer in layers]
        columns += [["O"] * len(row["tokens"])] * (width - len(layers))
        parts.append(f"# id = {_written_id(row['id'])}\n")
        parts.extend("\t".join(line) + "\n" for line in zip(row["tokens"], *columns, strict=True))
        parts.append("\n")
    write_whole(path, "".join(parts))


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
