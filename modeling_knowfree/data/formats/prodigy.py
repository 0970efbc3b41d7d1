"""Prodigy's `db-out`, with and without tokens: only what was accepted counts."""

from __future__ import annotations

from typing import Any

from ..rows import Place, bad_input, show
from .annotators import Annotation, decided
from .base import File, Format, Guess, Options, Placed, need_text
from .counting import Mention, TextRow, placed_texts, rows_of_texts
from .span_keys import SpanKeys

_KEYS = SpanKeys("start", "end", "label", "text")
_ANSWERS = ("accept", "reject", "ignore")


def detect(file: File) -> Guess | None:
    def answered(entry: dict) -> bool:
        return "text" in entry and entry.get("answer") in _ANSWERS

    def hashed(entry: dict) -> bool:
        return "text" in entry and "_input_hash" in entry and "_task_hash" in entry

    if file.any(answered):
        return Guess(0.93, "answer beside text")
    if file.any(hashed):
        return Guess(0.9, "Prodigy's hashes beside text")
    return None


def read(file: File, options: Options) -> Placed:
    asked = file.any(lambda entry: "answer" in entry)
    accepted: list[tuple[Place, Any]] = []
    tasks: dict[Any, list[tuple[Place, dict]]] = {}
    for place, entry in file.entries:
        if isinstance(entry, dict) and asked:
            answer = entry.get("answer")
            if answer in ("reject", "ignore"):
                example = f"{show(entry.get('text'))} at {place}"
                options.told.add(
                    f"{answer}ed answers left out" if answer == "reject" else "ignored answers left out", example
                )
                continue
        if isinstance(entry, dict) and entry.get("_input_hash") is not None and _who(entry):
            several = tasks.setdefault(entry["_input_hash"], [])
            if any(_who(other) == _who(entry) for _, other in several):
                several = tasks.setdefault((entry["_input_hash"], str(place)), [])
            several.append((place, entry))
            if len(several) > 1:
                continue
        accepted.append((place, entry))
    others = {several[0][0]: several for several in tasks.values()}

    def text_row(entry: Any, place: Place) -> TextRow:
        if not isinstance(entry, dict):
            bad_input(place, f"the row is {show(entry)}", allowed="a JSON object", mend="run db-out again")
        if asked and entry.get("answer") != "accept":
            allowed = "accept, reject or ignore"
            bad_input(
                place, f"answer is {show(entry.get('answer'))}", allowed=allowed, mend="answer it, or take it out"
            )
        annotations = [
            Annotation(_who(one) or "", _mentions(one, at)) for at, one in others.get(place, [(place, entry)])
        ]
        mentions = decided(annotations, options, place, f"the text {show(entry.get('text'))}")
        return TextRow(need_text(entry, place), mentions, None, _tokens(entry, place))

    return rows_of_texts(placed_texts(accepted, text_row), options)


def _who(entry: dict) -> str | None:
    who = entry.get("_annotator_id") or entry.get("_session_id")
    return None if who is None else str(who)


def _mentions(entry: dict, place: Place) -> list[Mention]:
    spans = entry.get("spans") or []
    if not isinstance(spans, list):
        bad_input(place, f"spans is {show(spans)}", allowed="a list of spans", mend="run db-out again")
    return [_KEYS.mention(span, "spans", place) for span in spans]


def _tokens(entry: dict, place: Place) -> list[str] | None:
    tokens = entry.get("tokens")
    if not tokens:
        return None
    if not isinstance(tokens, list) or not all(isinstance(t, dict) and isinstance(t.get("text"), str) for t in tokens):
        bad_input(place, f"tokens is {show(tokens)}", allowed="objects with text", mend="run db-out again")
    # spaCy makes a token of doubled white space: it is no unit.
    return [token["text"] for token in tokens if token["text"].strip()]


FORMAT = Format(
    name="prodigy",
    tool="Prodigy 1.x, db-out",
    recognised="`answer` beside `text`",
    trap="rejected and ignored answers are left out and told; token_end is inclusive, end is not",
    detect=detect,
    read=read,
    aliases=("prodigy-notokens",),
)
