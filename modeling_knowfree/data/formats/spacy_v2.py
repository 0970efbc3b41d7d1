"""spaCy 2's TRAIN_DATA: pairs of a text and {"entities": [[start, end, label]]}, an array or a pair a line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

from ..rows import InputError, Place, bad_input, show
from .base import File, Format, Guess, Options, Placed, as_lists, is_pair
from .counting import Mention, TextRow, placed_texts, rows_of_texts

_PYTHON = re.compile(r"\s*(\w+\s*=\s*)?\[\s*(\(|$)")


def _pairs(file: File) -> Iterable[tuple[Place, Any]]:
    """The pairs, also those under `annotations` as ner-annotator exports them; null there is a text nobody opened."""
    for place, entry in file.entries if file.json_kind is not None else _python(file):
        if isinstance(entry, dict) and isinstance(entry.get("annotations"), list):
            for number, pair in enumerate(entry["annotations"], start=1):
                if pair is not None:
                    yield file.place(number, "row"), pair
        else:
            yield place, entry


def _python(file: File) -> list[tuple[Place, Any]]:
    """The pairs of `TRAIN_DATA = [("text", {"entities": [(0, 4, "PER")]})]`, or of that list alone."""
    text = "\n".join(line.text for line in file.lines())
    try:
        *_, last = ast.parse(text).body
        pairs = as_lists(ast.literal_eval(last.value))  # type: ignore[attr-defined]
    except (ValueError, SyntaxError, MemoryError, RecursionError, AttributeError, TypeError):
        pairs = None
    if not isinstance(pairs, list):
        mend = "write it with json.dump(TRAIN_DATA, file)"
        bad_input(file.place(1), "Python, and not one list of values", allowed="TRAIN_DATA = [...] alone", mend=mend)
    return [(file.place(number, "row"), pair) for number, pair in enumerate(pairs, start=1)]


def detect(file: File) -> Guess | None:
    if file.json_kind is None and file.first_lines and _PYTHON.match(file.first_lines[0]):
        return Guess(0.9, "a list of pairs as Python writes it")
    sample = file.sample
    if sample and isinstance(sample[0], dict) and isinstance(sample[0].get("annotations"), list):
        pairs = [pair for pair in sample[0]["annotations"] if pair is not None]
        if "classes" in sample[0] and pairs and all(map(is_pair, pairs)):
            return Guess(0.9, "classes and annotations, pairs of a text and its entities")
        return None
    pairs = [entry for entry in sample if is_pair(entry)]
    if not pairs:
        return None
    return Guess(0.5 + 0.45 * len(pairs) / len(sample), "pairs of a text and its entities")


def read(file: File, options: Options) -> Placed:
    def text_row(entry: Any, place: Place) -> TextRow:
        allowed = '[text, {"entities": [[start, end, label]]}]'
        if not is_pair(entry) or not isinstance(entry[1].get("entities"), list):
            bad_input(place, f"the entry is {show(entry)}", allowed=allowed, mend="write each sentence as such a pair")
        mentions = []
        for span in entry[1]["entities"]:
            if not isinstance(span, list) or len(span) != 3:
                bad_input(place, f"entities holds {show(span)}", allowed=allowed, mend="give each span three values")
            mentions.append(Mention(*span))
        return TextRow(entry[0], mentions)

    pairs = [(place, entry) for place, entry in _pairs(file) if isinstance(entry, InputError) or entry is not None]
    return rows_of_texts(placed_texts(pairs, text_row), options)


FORMAT = Format(
    name="spacy-v2",
    tool="spaCy 2 TRAIN_DATA, ner-annotator",
    recognised='pairs [text, {"entities": [[start, end, label]]}]',
    trap="a pair a line starts with [ and is no array",
    detect=detect,
    read=read,
    aliases=("spacy-v2-jsonl",),
)
