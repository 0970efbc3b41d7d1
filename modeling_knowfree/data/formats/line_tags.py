"""A sentence a line: its words, a tab, and a tag for each word."""

from __future__ import annotations

import re
from collections import Counter

from ..lines import Line
from ..rows import Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each
from .schemes import need_scheme, read_tags, scheme_of

_TAG = re.compile(r"[BIESMLU]-\S+|\S+-[BIESMLU]|[Oo]")
_ALLOWED = "words between spaces, a tab, and as many tags"


def detect(file: File) -> Guess | None:
    lines = [text.split("\t") for text in file.first_lines if text.strip()]
    if not lines or file.json_kind is not None or any(len(columns) != 2 for columns in lines):
        return None
    if not any(len(words.split()) > 1 for words, _ in lines):  # a word a line, and spaces in labels
        return None
    tags = [tags.split() for _, tags in lines]
    if not any(len(line) > 1 and 2 * sum(map(bool, map(_TAG.fullmatch, line))) >= len(line) for line in tags):
        return None
    return Guess(0.9, "a sentence, a tab, and a tag for each of its words")


def read(file: File, options: Options) -> Placed:
    lines = [(file.place(line.number), line) for line in file.lines() if line.text.strip()]
    tags = Counter(tag for _, line in lines for tag in line.text.partition("\t")[2].split())
    scheme = scheme_of(tags, named=options.scheme, task=options.task)

    def row(line: Line, place: Place) -> Row:
        words, _, said = line.text.partition("\t")
        tokens, tags = words.split(), said.split()
        if len(tokens) != len(tags):
            problem = f"{len(tags)} tags for {len(tokens)} words, the line is {show(line.text)}"
            bad_input(place, problem, allowed=_ALLOWED, mend="give each word one tag")
        entities = read_tags(need_scheme(scheme, place), tags, place, options.told)
        return {"id": None, "tokens": tokens, "entities": entities}

    return each(lines, row)


FORMAT = Format(
    name="line-tags",
    tool="seq2seq scripts, JointBERT-like sets with both in one file",
    recognised="two columns: words, and as many tags",
    trap="a sentence is no token, and its tags are no label",
    detect=detect,
    read=read,
)
