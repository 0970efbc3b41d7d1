"""CSV and TSV with a header: a token a line (Kaggle's), or a sentence a line with its tags or spans in cells."""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..rows import InputError, Place, Row, bad_input, show
from .arrow import read_entries
from .base import File, Format, Guess, Options, Placed, each
from .schemes import need_scheme, read_tags, scheme_of

TOKENS = ("word", "token", "form", "words", "tokens")
TAGS = ("tag", "ner", "ner_tag", "ner_tags", "ner tag", "label", "labels", "tags", "bio", "iob", "entity", "bio_tag")
SENTENCES = (
    *("sentence #", "sentence_id", "sent_id", "sentence", "sentence id", "sentence number", "sentence_number"),
    *("sentence_idx", "sent", "sid", "id"),
)
TEXTS = ("text", "sentence", "tokens", "words")
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


def _is_list(cell: str) -> bool:
    return cell.strip().startswith(("[", "{"))


def _by_sentence(file: File, header: Header) -> bool:
    text, tags = header.first(TEXTS), header.first(CELLS)
    if text is None or tags is None or text == tags:
        return False
    rows = [cells for _, cells in _cells(file, header, file.first_lines[:20]) if not isinstance(cells, InputError)][1:]
    rows = [cells for cells in rows if len(cells) > max(text, tags)]
    many = sum(_is_list(cells[tags]) or (" " in cells[text] and len(cells[tags].split()) > 1) for cells in rows)
    return bool(rows) and 2 * many >= len(rows)


def detect(file: File) -> Guess | None:
    header = _header(file)
    if header is None:
        return Guess(0.3, "the suffix .csv") if file.suffix == ".csv" and file.first_lines else None
    listed = ", ".join(name for name in header.names if name)
    if _by_sentence(file, header):
        return Guess(0.9, f"a header, a sentence a line: {listed}")
    if header.first(TOKENS) is not None and header.first(TAGS) is not None:
        return Guess(0.9, f"a header, a token a line: {listed}")
    return Guess(0.3, "the suffix .csv") if file.suffix == ".csv" else None


def _cells(file: File, header: Header, lines: Sequence[str] | None = None) -> Iterator[tuple[Place, Any]]:
    """The cells of each line, with its number; an InputError for a broken one. Blank lines have no cells."""
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
        if any("\n" in cell for cell in cells):
            broken = next(cell for cell in cells if "\n" in cell)
            mend = 'write a quotation mark in a cell as """"'
            yield (
                place,
                _error(place, f"a quote opens at {show(broken)} and closes lines later", "one line a token", mend),
            )
        else:
            yield place, cells if any(cell.strip() for cell in cells) else []


def _error(place: Place, problem: str, allowed: str, mend: str) -> InputError:
    return InputError(f"{place}: {problem}; allowed: {allowed}; mend: {mend}")


def _unquoted(cell: str) -> str:
    """A cell of a TSV as spreadsheets quote it; a lone quotation mark is itself."""
    inner = cell[1:-1]
    if len(cell) > 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"') if '""' in inner else cell
    return cell


def read(file: File, options: Options) -> Placed:
    header = _header(file)
    if header is None:
        problem = f"no header: {show(next(iter(file.first_lines), ''))}"
        bad_input(
            file.place(1), problem, allowed="columns with names", mend="write Sentence #,Word,Tag above the columns"
        )
    if _by_sentence(file, header):
        return _sentences(file, header, options)
    return _tokens(file, header, options)


# ------------------------------------------------------------------ a token a line


def _tokens(file: File, header: Header, options: Options) -> Placed:
    token = header.first(TOKENS)
    tags = [at for at, name in enumerate(header.names) if name.strip().lower() in TAGS]
    if options.tag_column is not None:
        tags = [at for at, name in enumerate(header.names) if options.tag_column in (name, str(at + 1))]
    if token is None or len(tags) != 1:
        problem = f"the header is {', '.join(map(show, header.names))}"
        mend = "rename the columns, or name the one of the tags: --tag_column NAME"
        bad_input(file.place(1), problem, allowed="one column of words and one of tags", mend=mend)
    sentence = header.first([name for name in SENTENCES if name != header.names[token].strip().lower()])
    width, tag = len(header.names), tags[0]
    blocks: list[tuple[Place, list[tuple[Place, Any]]]] = []
    current, is_new = "", True
    lines = iter(_cells(file, header))
    next(lines, None)
    seen_break = False
    for place, cells in lines:
        if not isinstance(cells, InputError):
            if not cells:
                is_new = seen_break = True
                continue
            if sentence is not None and len(cells) > sentence and cells[sentence].strip():
                named = cells[sentence].strip()
                is_new, current = is_new or named != current, named
        if is_new or not blocks:
            blocks.append((place, []))
            is_new = False
        blocks[-1][1].append((place, cells))
    if sentence is None and not seen_break and len(blocks[0][1]) > 100 if blocks else False:
        options.told.add("no column of sentences and no blank line: the file is one sentence", ", ".join(header.names))
    counts: Counter[str] = Counter(
        cells[tag].strip()
        for _, block in blocks
        for _, cells in block
        if isinstance(cells, list) and len(cells) == width
    )
    scheme = need_scheme(scheme_of(counts, named=options.scheme, task=options.task), file.place())
    names = [name for at, name in enumerate(header.names) if at not in (token, tag, sentence) and name.strip()]
    if names:
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
            if not cells[token].strip() or not cells[tag].strip():
                problem = f"an empty cell in {show(header.delimiter.join(cells))}"
                bad_input(at, problem, allowed="a word and a tag", mend="fill it in, or take the line out")
            if sentence is not None and row_id is None and cells[sentence].strip():
                row_id = cells[sentence].strip()
            tokens.append(cells[token])
            found.append(cells[tag].strip())
            if found[-1] not in scheme.outside:
                scheme.check(found[-1], at)
        return {"id": row_id, "tokens": tokens, "entities": read_tags(scheme, found, place, options.told)}

    return each(iter(blocks), row)


# ------------------------------------------------------------------ a sentence a line


def _sentences(file: File, header: Header, options: Options) -> Placed:
    text, tags = header.first(TEXTS), header.first(CELLS)
    assert text is not None and tags is not None
    entries: list[Any] = []
    lines = iter(_cells(file, header))
    next(lines, None)
    for place, cells in lines:
        if isinstance(cells, InputError):
            raise cells
        if not cells:
            continue
        if len(cells) != len(header.names):
            problem = f"{len(cells)} cells where the header has {len(header.names)}"
            bad_input(place, problem, allowed=f"{len(header.names)} cells", mend="quote cells that hold the delimiter")
        sentence, tagged = _value(cells[text], place), _value(cells[tags], place)
        named = header.first(("id", "sentence #", "sentence_id"))
        entry: dict[str, Any] = {} if named in (None, text) else {"id": cells[named]}
        if isinstance(tagged, str):
            tagged = tagged.split()
        if (
            isinstance(tagged, list)
            and all(isinstance(tag, str | int) for tag in tagged)
            and (tagged or isinstance(sentence, list))
        ):
            tokens = sentence if isinstance(sentence, list) else sentence.split()
            entries.append({**entry, "tokens": tokens, "ner_tags": tagged})
        elif isinstance(sentence, list):
            entries.append({**entry, "tokens": sentence, "entities": tagged})
        else:
            entries.append({**entry, "text": sentence, "entities": tagged})
    return read_entries(file, entries, {}, options)


def _value(cell: str, place: Place) -> Any:
    """A cell that is a list, as JSON or as Python writes it."""
    if not _is_list(cell):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return _lists(ast.literal_eval(cell.strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        bad_input(place, f"a cell is {show(cell)}", allowed="a list", mend="write it as JSON")


def _lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_lists(item) for item in value]
    return value


FORMAT = Format(
    name="csv",
    tool="Kaggle's annotated corpus, spreadsheets: CSV and TSV with a header",
    recognised="a header with names such as Word and Tag, or text and labels",
    trap="the sentence's number stands on its first word only; quoted commas and quotes; POS is not the label",
    detect=detect,
    read=read,
    aliases=("csv-kaggle", "tsv"),
)
