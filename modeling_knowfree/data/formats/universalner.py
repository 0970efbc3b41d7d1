"""UniversalNER and Pile-NER conversations: mentions without offsets, every occurrence at word borders counts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ...units_knowfree import split_text
from ..rows import InputError, Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each, identity, unit_of

_TEXT = re.compile(r"\s*Text:\s?(.*)", re.DOTALL)
_QUESTION = re.compile(r"\s*What describes (.+?) in the text\?\s*", re.DOTALL)


def detect(file: File) -> Guess | None:
    def asked(entry: dict) -> bool:
        turns = entry.get("conversations")
        return isinstance(turns, list) and any(
            isinstance(turn, dict) and _QUESTION.fullmatch(str(turn.get("value"))) for turn in turns
        )

    share = file.share(asked)
    return Guess(0.6 + 0.35 * share, "conversations that ask what describes a type in the text") if share else None


def _parts(entry: Any, place: Place) -> tuple[str, list[tuple[str, list[str]]]]:
    """The text, and each type with its mentions."""
    turns = entry.get("conversations") if isinstance(entry, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        allowed = '{"conversations": [{"from": "human", "value": "Text: …"}, …]}'
        bad_input(place, f"the row is {show(entry)}", allowed=allowed, mend="write each text as such a conversation")
    said = [str(turn.get("value", "")) for turn in turns]
    text = _TEXT.fullmatch(said[0]) if said else None
    if text is None:
        problem = f"the first turn is {show(said[0] if said else None)}"
        bad_input(place, problem, allowed="Text: …", mend="begin with the text")
    answers = []
    for question, answer in pairwise(said):
        match = _QUESTION.fullmatch(question)
        if match is None:
            continue
        try:
            mentions = json.loads(answer)
        except ValueError:
            mentions = None
        if not isinstance(mentions, list) or not all(isinstance(mention, str) for mention in mentions):
            problem = f"the answer for {show(match[1])} is {show(answer)}"
            bad_input(place, problem, allowed='a JSON list such as ["Ada"]', mend="write the mentions as a list")
        answers.append((match[1], mentions))
    return text[1], answers


def read(file: File, options: Options) -> Placed:
    texts = []
    for place, entry in file.entries:
        if not isinstance(entry, InputError):
            try:
                texts.append(_parts(entry, place)[0])
            except InputError:
                continue  # told when its row is read
    unit = options.unit or unit_of(texts)

    def row(entry: Any, place: Place) -> Row:
        text, answers = _parts(entry, place)
        units = split_text(text, unit)
        starts = {start: index for index, (start, _) in enumerate(units)}
        ends = {end: index for index, (_, end) in enumerate(units)}
        found: dict[tuple[int, int, str], None] = {}
        for label, mentions in answers:
            for mention in mentions:
                places = [at for at in _occurrences(text, mention) if at in starts and at + len(mention) in ends]
                if not places:
                    options.told.add("mentions that the text lacks left out", f"{show(mention)} {label} at {place}")
                found.update(((starts[at], ends[at + len(mention)] + 1, label), None) for at in places)
        entities = [{"start": start, "end": end, "label": label} for start, end, label in found]
        return {"id": identity(entry), "tokens": [text[start:end] for start, end in units], "entities": entities}

    return each(file.entries, row)


def _occurrences(text: str, mention: str) -> Iterator[int]:
    at = text.find(mention) if mention else -1
    while at >= 0:
        yield at
        at = text.find(mention, at + 1)


FORMAT = Format(
    name="universalner",
    tool="UniversalNER, Pile-NER",
    recognised='conversations that ask "What describes … in the text?"',
    trap="mentions have no offsets: all occurrences at word borders; one that is not in the text is told",
    detect=detect,
    read=read,
)
