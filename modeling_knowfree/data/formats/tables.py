"""CSV and TSV with a header: a token a line (Kaggle's), or a sentence a line with its tags or spans in cells."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from typing import Any

from ..lines import RepeatedKey, once
from ..rows import InputError, Place, Row, bad_input, bare, show
from . import offsets
from .arrow import read_entries
from .base import File, Format, Guess, Options, Placed, as_lists, attempt, each
from .schemes import need_scheme, read_tags, scheme_of
from .span_keys import ENDS, LABELS, STARTS, STATED

TOKENS = ("word", "token", "form", "words", "tokens")
TAGS = ("tag", "ner", "ner_tag", "ner_tags", "ner tag", "label", "labels", "tags", "bio", "iob", "entity", "bio_tag")
SENTENCES = (
    *("sentence #", "sentence_id", "sent_id", "sentence", "sentence id", "sentence number", "sentence_number"),
    *("sentence_idx", "sent", "sid", "id"),
)
DOCUMENTS = (
    *("doc", "doc_id", "docid", "doc id", "document", "document_id", "document id", "file", "filename", "file_name"),
    *("article", "article_id", "paragraph", "paragraph_id", "para_id", "source", "split"),
)
TEXTS = ("text", "sentence", "tokens", "words")
LONG_TEXTS = ("sentence", "context", "document", "content", "text")  # what spans count in; `text` may be the mention's
_BEGIN = tuple(name.lower().replace("_", gap) for name in STARTS for gap in ("_", " "))
_END = tuple(name.lower().replace("_", gap) for name in ENDS for gap in ("_", " "))
CELLS = (*TAGS, "entities", "spans")


@dataclass
class Header:
    delimiter: str
    names: list[str]

    def first(self, known: Sequence[str]) -> int | None:
        lower = [name.strip().lower() for name in self.names]
        return next((lower.index(name) for name in known if name in lower), None)


def _header(file: File) -> Header | None:
    if not file.first_lines or file.json_kind is not None:
        return None
    first = file.first_lines[0]
    for delimiter in ("\t", ",", ";"):
        if delimiter in first:
            try:
                return Header(delimiter, next(csv.reader([first], delimiter=delimiter)))
            except (csv.Error, StopIteration):
                return None
    return None


# A list as numpy prints it, and what it holds.
_PRINTED = re.compile(
    r"""\[\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+)(?:\s+(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+))+\s*\]"""
)
_ITEM = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+""")


def _is_list(cell: str) -> bool:
    return cell.strip().startswith(("[", "{"))


def _by_sentence(file: File, header: Header) -> bool:
    text, tags = header.first(TEXTS), header.first(CELLS)
    if text is None or tags is None or text == tags:
        return False
    read = _cells(file, header, file.first_lines[:20], breaks=True)
    rows = [cells for _, cells in read if not isinstance(cells, InputError)][1:]
    rows = [cells for cells in rows if len(cells) > max(text, tags)]
    many = sum(_is_list(cells[tags]) or (" " in cells[text] and len(cells[tags].split()) > 1) for cells in rows)
    return bool(rows) and 2 * many >= len(rows)


def _by_span(header: Header) -> tuple[int, int, int] | None:
    """The columns of the text and of both borders, where the header names a span a line."""
    text, start, end = header.first(LONG_TEXTS), header.first(_BEGIN), header.first(_END)
    labels = [name for name in header.names if name.strip().lower() in LABELS]
    return (text, start, end) if text is not None and start is not None and end is not None and labels else None


def detect(file: File) -> Guess | None:
    header = _header(file)
    if header is None:
        return Guess(0.3, "the suffix .csv") if file.suffix == ".csv" and file.first_lines else None
    listed = ", ".join(name for name in header.names if name)
    if _by_span(header):
        return Guess(0.92, f"a header, a span a line: {listed}")
    if _by_sentence(file, header):
        return Guess(0.9, f"a header, a sentence a line: {listed}")
    if header.first(TOKENS) is not None and header.first(TAGS) is not None:
        return Guess(0.9, f"a header, a token a line: {listed}")
    return Guess(0.3, "the suffix .csv") if file.suffix == ".csv" else None


def _cells(
    file: File, header: Header, lines: Sequence[str] | None = None, *, breaks: bool = False
) -> Iterator[tuple[Place, Any]]:
    """The cells of each line, with its number; an InputError for a broken one. Blank lines have no cells. `breaks`: a
    cell may hold line breaks, as a sentence may and a token may not."""
    texts = (line.text for line in file.lines()) if lines is None else iter(lines)
    if header.delimiter == "\t":
        for number, text in enumerate(texts, start=1):
            yield file.place(number), [_unquoted(cell) for cell in text.split("\t")] if text.strip() else []
        return
    reader = csv.reader((text + "\n" for text in texts), delimiter=header.delimiter, strict=True)
    first = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            mend = 'write a quotation mark in a cell as """"'
            yield file.place(first), _error(file.place(first), f"no CSV: {error}", "cells with quotes closed", mend)
            return
        place, first = file.place(first), reader.line_num + 1
        if not breaks and any("\n" in cell for cell in cells):
            broken = next(cell for cell in cells if "\n" in cell)
            mend = 'write a quotation mark in a cell as """"'
            yield (
                place,
                _error(place, f"a quote opens at {show(broken)} and closes lines later", "one line a token", mend),
            )
        else:
            yield place, cells if any(cell.strip() for cell in cells) else []


def _records(file: File, header: Header) -> Iterator[tuple[Place, Any]]:
    """The cells of each line below the header that has any; an InputError where they are more or fewer than its."""
    for place, cells in islice(_cells(file, header, breaks=True), 1, None):
        if isinstance(cells, InputError) or len(cells) == len(header.names):
            yield place, cells
        elif cells:
            problem = f"{len(cells)} cells where the header has {len(header.names)}"
            mend = "quote cells that hold the delimiter"
            yield place, _error(place, problem, f"{len(header.names)} cells", mend)


def texts(file: File) -> Iterator[tuple[Place, dict[str, str]]]:
    """
    Of a table that nobody annotated the columns `text` and, if there is one, `id` of each line.

    Raises:
        InputError: no header names a column `text`, or a line has more or fewer cells.
    """
    first = next(iter(file.first_lines), "")
    header = _header(file) or Header("\t" if file.suffix == ".tsv" else ",", [first])
    wanted = {name: at for name in ("text", "id") if (at := header.first([name])) is not None}
    if "text" not in wanted:
        problem = f"no column is named text: {', '.join(map(show, header.names))}"
        mend = "name the column of the texts so, or write one text a line into a .txt file"
        bad_input(file.place(1), problem, allowed="a column text, and one id if you like", mend=mend)
    for place, cells in _records(file, header):
        if isinstance(cells, InputError):
            raise cells
        if cells:
            yield place, {name: cells[at] for name, at in wanted.items()}


def _error(place: Place, problem: str, allowed: str, mend: str) -> InputError:
    return InputError(f"{place}: {problem}; allowed: {allowed}; mend: {mend}")


def _unquoted(cell: str) -> str:
    """A cell of a TSV as spreadsheets quote it: one that holds a quotation mark or a comma; a lone mark is itself."""
    inner = cell[1:-1]
    if len(cell) > 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"') if '""' in inner or "," in inner else cell
    return cell


def read(file: File, options: Options) -> Placed:
    header = _header(file)
    if header is None:
        problem = f"no header: {show(next(iter(file.first_lines), ''))}"
        bad_input(
            file.place(1), problem, allowed="columns with names", mend="write Sentence #,Word,Tag above the columns"
        )
    if borders := _by_span(header):
        return _spans(file, header, borders, options)
    if _by_sentence(file, header):
        return _sentences(file, header, options)
    return _tokens(file, header, options)


# ------------------------------------------------------------------ a token a line


@dataclass
class _Columns:
    """Where a file of a token a line keeps what."""

    token: int
    tag: int
    sentence: int | None  # names sentences
    numbers: set[int]  # number the tokens
    groups: list[int]  # name what begins a sentence where it changes


def _tokens(file: File, header: Header, options: Options) -> Placed:
    token = header.first(TOKENS)
    tags = [at for at, name in enumerate(header.names) if name.strip().lower() in TAGS]
    if options.tag_column is not None:
        tags = [at for at, name in enumerate(header.names) if options.tag_column in (name, str(at + 1))]
    if token is None or len(tags) != 1:
        problem = f"the header is {', '.join(map(show, header.names))}"
        mend = "rename the columns, or name the one of the tags: --tag_column NAME"
        bad_input(file.place(1), problem, allowed="one column of words and one of tags", mend=mend)
    lines = list(_cells(file, header))[1:]
    columns = _columns(header, token, tags[0], lines, options)
    blocks = _blocks(lines, columns)
    if columns.sentence is None and len(blocks) == 1 and len(blocks[0][1]) > 100 and all(cells for _, cells in lines):
        options.told.add("no column of sentences and no blank line: the file is one sentence", ", ".join(header.names))
    width, tag, sentence = len(header.names), columns.tag, columns.sentence
    counts: Counter[str] = Counter(
        bare(cells[tag]) for _, block in blocks for _, cells in block if isinstance(cells, list) and len(cells) == width
    )
    scheme = need_scheme(scheme_of(counts, named=options.scheme, task=options.task), file.place())
    read = {token, tag, *columns.groups, *columns.numbers}
    if names := [name for at, name in enumerate(header.names) if at not in read and name.strip()]:
        options.told.add("columns hold no entities and are not read", ", ".join(names), len(names))

    def row(block: Sequence[tuple[Place, Any]], place: Place) -> Row:
        tokens, found, row_id = [], [], None
        for at, cells in block:
            if isinstance(cells, InputError):
                raise cells
            while len(cells) > width and not cells[-1]:
                cells = cells[:-1]
            if len(cells) != width:
                problem = f"{len(cells)} cells where the header has {width}: {show(header.delimiter.join(cells))}"
                bad_input(
                    at, problem, allowed=f"{width} cells", mend="quote cells that hold the delimiter, or fill the row"
                )
            if not cells[token].strip() or not bare(cells[tag]):
                problem = f"an empty cell in {show(header.delimiter.join(cells))}"
                bad_input(at, problem, allowed="a word and a tag", mend="fill it in, or take the line out")
            if sentence is not None and row_id is None and cells[sentence].strip():
                row_id = cells[sentence].strip()
            tokens.append(cells[token])
            found.append(bare(cells[tag]))
            if found[-1] not in scheme.outside:
                scheme.check(found[-1], at)
        return {"id": row_id, "tokens": tokens, "entities": read_tags(scheme, found, place, options.told)}

    return each(iter(blocks), row)


def _columns(header: Header, token: int, tag: int, lines: Sequence[tuple[Place, Any]], options: Options) -> _Columns:
    """What the columns beside the tokens and their tags are for, by their names and what they hold."""
    free = [name.strip().lower() if at not in (token, tag) else "" for at, name in enumerate(header.names)]
    numbers = {at for at, name in enumerate(free) if name in SENTENCES and _counts_tokens(lines, at)}
    named_free = [at for at, name in enumerate(free) if name in SENTENCES and at not in numbers]
    sentence = min(named_free, key=lambda at: SENTENCES.index(free[at]), default=None)
    groups = [at for at, name in enumerate(free) if name in DOCUMENTS or at == sentence]
    if sentence is not None and all(_column(lines, sentence)):
        others = [at for at, name in enumerate(free) if name and at not in groups and at not in numbers]
        if documents := [at for at in others if _names_documents(_column(lines, at))]:
            listed = ", ".join(header.names[at] for at in documents)
            options.told.add("columns name documents, each of which begins a sentence", listed, len(documents))
            groups += documents
    return _Columns(token, tag, sentence, numbers, groups)


def _blocks(lines: Sequence[tuple[Place, Any]], columns: _Columns) -> list[tuple[Place, list[tuple[Place, Any]]]]:
    """The lines of each sentence: a blank line ends one, and another name, or where none names them a number that
    starts anew, begins one."""
    blocks: list[tuple[Place, list[tuple[Place, Any]]]] = []
    current: dict[int, str] = {}
    is_new = True
    starts = {at: _first_cell(lines, at) for at in columns.numbers} if columns.sentence is None else {}
    for place, cells in lines:
        if not isinstance(cells, InputError):
            if not cells:
                is_new = True
                continue
            named = {at: cells[at].strip() for at in columns.groups if at < len(cells) and cells[at].strip()}
            is_new = is_new or any(current.get(at) != name for at, name in named.items())
            is_new = is_new or any(at < len(cells) and cells[at].strip() == first for at, first in starts.items())
            current |= named
        if is_new or not blocks:
            blocks.append((place, []))
            is_new = False
        blocks[-1][1].append((place, cells))
    return blocks


def _first_cell(lines: Sequence[tuple[Place, Any]], at: int) -> str:
    return next(iter(_column(lines, at)), "")


def _column(lines: Sequence[tuple[Place, Any]], at: int) -> list[str]:
    return [cells[at].strip() for _, cells in lines if isinstance(cells, list) and len(cells) > at]


def _names_documents(column: Sequence[str]) -> bool:
    """Whether values stand on several lines each and never come back, as titles do."""
    runs = [value for value, _ in groupby(column)]
    return all(runs) and 1 < len(runs) == len(set(runs)) and 2 * len(runs) <= len(column)


def _counts_tokens(lines: Sequence[tuple[Place, Any]], at: int) -> bool:
    """Whether a column numbers the tokens, on and on or anew in each sentence, instead of naming sentences."""
    column = _column(lines, at)
    if len(column) < 3 or not all(cell.isdecimal() and len(cell) < 10 for cell in column):
        return False
    numbers = [int(cell) for cell in column]
    return all(right in (left + 1, numbers[0]) and right != left for left, right in pairwise(numbers))


# ------------------------------------------------------------------ a sentence a line


def _sentences(file: File, header: Header, options: Options) -> Placed:
    text, tags = header.first(TEXTS), header.first(CELLS)
    assert text is not None and tags is not None
    entries: list[Any] = []
    annotator = header.first(("annotator",))
    for place, cells in _records(file, header):
        if isinstance(cells, InputError):
            yield place, cells
            continue
        sentence, tagged = (attempt(_value, cells[at], place) for at in (text, tags))
        if bad := next((value for value in (sentence, tagged) if isinstance(value, InputError)), None):
            yield place, bad
            continue
        named = header.first(("id", "sentence #", "sentence_id"))
        entry: dict[str, Any] = {} if named in (None, text) else {"id": cells[named]}
        if annotator is not None:
            entry["annotator"] = cells[annotator]  # a line each in Label Studio's CSV
        if isinstance(tagged, str):
            tagged = tagged.split()
        if (
            isinstance(sentence, str | list)
            and isinstance(tagged, list)
            and all(isinstance(tag, str | int) for tag in tagged)
            and (tagged or isinstance(sentence, list))
        ):
            tokens = sentence if isinstance(sentence, list) else sentence.split()
            entries.append({**entry, "tokens": tokens, "ner_tags": tagged})
        elif isinstance(sentence, list):
            entries.append({**entry, "tokens": sentence, "entities": tagged})
        else:
            entries.append({**entry, "text": sentence, "entities": tagged})
    yield from read_entries(file, entries, {}, options)


# ------------------------------------------------------------------ a span a line


def _spans(file: File, header: Header, columns: tuple[int, int, int], options: Options) -> Placed:
    """Lines of one text are one row; a line whose borders are empty is a text without a span. `id` is the text's, or
    the span's where no two lines share one and texts come back."""
    text, start, end = columns
    kept = {
        at: name.strip().lower()
        for at, name in enumerate(header.names)
        if at not in columns and name.strip().lower() in (*LABELS, *STATED)
    }
    named = header.first(("text_id", "sentence_id", "doc_id", "document_id", "id"))
    lines = list(_records(file, header))
    places: dict[tuple[str, str], Place] = {}
    entries: dict[tuple[str, str], Any] = {}
    good = [cells for _, cells in lines if isinstance(cells, list)]
    is_of_texts = named not in (None, text) and (
        header.names[named].strip().lower() != "id"
        or len({cells[named] for cells in good}) < len(good)
        or len({cells[text] for cells in good}) == len(good)
    )
    for place, cells in lines:
        if isinstance(cells, InputError):
            yield place, cells
            continue
        key = (cells[named] if named is not None and is_of_texts else "", cells[text])
        places.setdefault(key, place)
        entry = entries.setdefault(key, {"id": key[0] or None, "text": cells[text], "entities": []})
        if cells[start].strip() or cells[end].strip():
            span = {"start": _number(cells[start]), "end": _number(cells[end])}
            if named is not None and not is_of_texts:
                _refuse_second_label(span, entry, place)
            entry["entities"].append(span | {name: cells[at].strip() or None for at, name in kept.items()})
    if named is not None and not is_of_texts:
        options.told.add("lines are further spans of a text above", "", len(good) - len(entries))
    left_out = [header.names[at] for at in range(len(header.names)) if at not in (*columns, *kept, named)]
    if left_out:
        options.told.add("columns are not read", ", ".join(left_out), len(left_out))
    inner = File(file.path, entries.values(), name=file.name, unit=options.unit)
    listed = list(places.values())
    for place, row in offsets.read(inner, options):
        assert place.number is not None  # of a table
        yield listed[place.number - 1], row


def _refuse_second_label(span: dict[str, Any], entry: dict[str, Any], place: Place) -> None:
    if any(span.items() <= other.items() for other in entry["entities"]):
        borders = f"from {span['start']} to {span['end']}"
        problem = f"{show(entry['text'])} has a span {borders} under two ids: one text, or two?"
        mend = "call the column text_id where it names texts, annotation_id where it names spans"
        bad_input(place, problem, allowed="ids of texts", mend=mend)


def _number(cell: str) -> Any:
    """A border; pandas writes 3 as 3.0 beside empty cells."""
    whole = cell.strip().removesuffix(".0")
    return int(whole) if whole.isdecimal() and len(whole) < 10 else cell


def _value(cell: str, place: Place) -> Any:
    """A cell that is a list, as JSON or as Python writes it."""
    if not _is_list(cell):
        return cell
    try:
        return json.loads(cell, object_pairs_hook=once)
    except RepeatedKey as error:
        bad_input(place, str(error), allowed="each key once", mend="take one of the two out")
    except (ValueError, RecursionError):
        pass
    try:
        if _PRINTED.fullmatch(cell.strip()):
            return [ast.literal_eval(item) for item in _ITEM.findall(cell)]
        return as_lists(ast.literal_eval(cell.strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        bad_input(place, f"a cell is {show(cell)}", allowed="a list", mend="write it as JSON")


FORMAT = Format(
    name="csv",
    tool="Kaggle's annotated corpus, spreadsheets: CSV and TSV with a header",
    recognised="a header with names such as Word and Tag, or text and labels",
    trap="the sentence's number stands on its first word only; quoted commas and quotes; POS is not the label",
    detect=detect,
    read=read,
    aliases=("csv-kaggle", "tsv"),
)
