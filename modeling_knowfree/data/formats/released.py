"""The layout of the released KnowFREE data: `text` a list of tokens, `entities` with `start`, `end`, `entity`."""

from __future__ import annotations

from typing import Any

from ..labels import Labels, namespaced
from ..rows import NAMESPACES, Place, Row, bad_input, check_bounds, check_keys, show, show_span
from .base import File, Format, Guess, Options, Placed, each, need_list
from .span_keys import SpanKeys

_KEYS = SpanKeys("start", "end", "entity", "text")
_KEYS_WITH_LABEL = SpanKeys("start", "end", "label", "text")


def detect(file: File) -> Guess | None:
    share = file.share(lambda entry: isinstance(entry.get("text"), list) and "entities" in entry)
    return Guess(0.6 + 0.3 * share, "text is a list, beside entities") if share else None


def read(file: File, options: Options) -> Placed:
    return each(file.stream(), lambda entry, place: _row(entry, place, options.labels))


def _row(entry: Any, place: Place, labels: Labels | None) -> Row:
    check_keys(entry, ("text", "entities"), place)
    tokens = list(entry["text"]) if isinstance(entry["text"], str | list) else entry["text"]
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        bad_input(place, f"text is {show(tokens)}", allowed="a list of strings", mend="write text as a list of tokens")
    entities: list[Row] = []
    extensions: dict[tuple[int, int, str], Row] = {}  # the released files repeat some of them
    for span in need_list(entry, "entities", place):
        keys = _KEYS_WITH_LABEL if isinstance(span, dict) and "entity" not in span else _KEYS
        start, end, label, stated = keys.mention(span, "entities", place)
        check_bounds(start, end, label, len(tokens), place)
        _check_stated(stated, "".join(tokens[start:end]), (start, end, label), place)
        if labels is not None and label not in labels.targets and label not in labels.extensions:
            allowed = ", ".join(map(show, [*labels.targets, *labels.extensions]))
            mend = "give the label file that belongs to this file"
            bad_input(place, f"unknown label {show(label)}", allowed=allowed, mend=mend)
        if label in labels.extensions if labels else str(label).startswith(NAMESPACES):
            label = namespaced(label)
            extensions[start, end, label] = {"start": start, "end": end, "label": label, "source": "released"}
        else:
            entities.append({"start": start, "end": end, "label": label})
    row = {**entry, "tokens": tokens, "entities": entities, "extensions": list(extensions.values()) or None}
    if row.get("synthetic") in (0, 1):
        row["synthetic"] = bool(row["synthetic"])
    return row


def _check_stated(stated: Any, found: str, span: tuple[int, int, Any], place: Place) -> None:
    if stated is None:
        return
    text = "".join(map(str, stated)) if isinstance(stated, list) else str(stated)
    if "".join(text.split()) != "".join(found.split()):
        problem = f"span {show_span(*span)} cuts out {show(found)}, its text is {show(text)}"
        bad_input(place, problem, allowed="a span that cuts out its text", mend="count from 0, end exclusive")


FORMAT = Format(
    name="released",
    tool="the authors' data of KnowFREE",
    recognised="`text` is a list of tokens, beside `entities`",
    trap="labels that are no targets in the label file become extensions",
    detect=detect,
    read=read,
)
