"""CoNLL-2012 (OntoNotes 5): columns by spaces, of which the eleventh holds named entities in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from ..lines import Line
from ..rows import Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each

_BEGIN = re.compile(r"#begin document \(")
_NUMBER, _WORD, _PARSE, _ENTITIES, _NARROWEST = 2, 3, 5, 10, 12
_ENTITY = re.compile(r"((?:\([^\s()*]+)*)\*?(\)*)")


def detect(file: File) -> Guess | None:
    first = next(iter(file.first_lines), "")
    if _BEGIN.match(first):
        return Guess(0.97, "#begin document")
    rows = [text.split() for text in file.first_lines[:50] if not text.startswith("#")]
    if rows and all(len(row) >= _NARROWEST and row[_NUMBER].isdecimal() and "*" in row[_PARSE] for row in rows):
        return Guess(0.95, "at least twelve columns, the sixth a parse in brackets")
    return None


def read(file: File, options: Options) -> Placed:
    def row(lines: list[Line], place: Place) -> Row:
        tokens: list[str] = []
        entities: list[Row] = []
        is_open: list[tuple[int, str]] = []
        for at, line in enumerate(lines):
            columns, here = line.text.split(), file.place(line.number)
            if len(columns) < _NARROWEST:
                mend = "convert the file with the skeleton's script, or write word and tag alone"
                bad_input(here, f"{show(line.text)} has {len(columns)} columns", allowed="12 or more", mend=mend)
            found = _ENTITY.fullmatch(columns[_ENTITIES])
            closed = 0 if found is None else len(found[2])
            if found is not None:
                is_open += [(at, label) for label in found[1].split("(")[1:]]
            if found is None or closed > len(is_open):
                allowed = "(PERSON*, *, *) or (PERSON) in column 11"
                bad_input(here, f"entity {show(columns[_ENTITIES])}", allowed=allowed, mend="correct its brackets")
            for _ in range(closed):
                start, label = is_open.pop()
                entities.append({"start": start, "end": at + 1, "label": label})
            if columns[_WORD] == "[WORD]":
                mend = "fill in the words: skeleton2conll.sh of CoNLL-2012, with OntoNotes 5"
                bad_input(here, "a skeleton, its words are left out: '[WORD]'", allowed="words", mend=mend)
            tokens.append(columns[_WORD])
        if is_open:
            bad_input(place, f"({is_open[-1][1]}* is never closed", allowed="*) in column 11", mend="close it")
        return {"id": None, "tokens": tokens, "entities": entities}

    return each(_sentences(file), row)


def _sentences(file: File) -> Iterator[tuple[Place, list[Line]]]:
    for ends, block in groupby(file.lines(), key=lambda line: not line.text.strip() or line.text.startswith("#")):
        if not ends:
            sentence = list(block)
            yield file.place(sentence[0].number), sentence


FORMAT = Format(
    name="conll2012",
    tool="OntoNotes 5 as CoNLL-2012",
    recognised="#begin document; twelve columns or more, a parse in the sixth",
    trap="entities stand in brackets, (ORG* and *), in the eleventh column; the last is coreference",
    detect=detect,
    read=read,
    aliases=("ontonotes",),
)
