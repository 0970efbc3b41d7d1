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

    def tokenized(entry: dict) -> bool:
        spans = entry.get("spans")
        return (
            "text" in entry
            and isinstance(spans, list)
            and any("token_start" in s for s in spans if isinstance(s, dict))
        )

    if file.any(hashed):
        return Guess(0.9, "Prodigy's hashes beside text")
    return Guess(0.85, "spans with token_start") if file.any(tokenized) else None


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
            several = tasks.setdefault(repr(entry["_input_hash"]), [])
            if any(_who(other) == _who(entry) for _, other in several):
                several = tasks.setdefault(repr((entry["_input_hash"], str(place))), [])
            several.append((place, entry))
            if len(several) > 1:
                continue
        accepted.append((place, entry))
    _refuse_choices(file, [entry for _, entry in accepted])
    accepted, others = _put_together(accepted, options)
    others |= {several[0][0]: several for several in tasks.values()}

    def text_row(entry: Any, place: Place) -> TextRow:
        if not isinstance(entry, dict):
            bad_input(place, f"the row is {show(entry)}", allowed="a JSON object", mend="run db-out again")
        if asked and entry.get("answer") != "accept":
            allowed = "accept, reject or ignore"
            bad_input(
                place, f"answer is {show(entry.get('answer'))}", allowed=allowed, mend="answer it, or take it out"
            )
        several = others.get(place, [(place, entry)])
        if _who(entry):
            annotations = [Annotation(_who(one) or "", _mentions(one, at)) for at, one in several]
        else:
            once = {repr(mention): mention for at, one in several for mention in _mentions(one, at)}
            annotations = [Annotation("", list(once.values()))]
        mentions = decided(annotations, options, place, f"the text {show(entry.get('text'))}")
        return TextRow(need_text(entry, place), mentions, None, _tokens(entry, place))

    return rows_of_texts(placed_texts(accepted, text_row), options)


def _refuse_choices(file: File, entries: list[Any]) -> None:
    """Answers about whole texts have no spans, which is not to say that these texts have no entities."""
    entries = [entry for entry in entries if isinstance(entry, dict)]
    about = next((key for entry in entries for key in ("label", "options", "accept") if key in entry), None)
    if about and not any("spans" in entry for entry in entries):
        problem = f"its answers are about whole texts (key {show(about)}), no row has spans"
        bad_input(
            file.place(), problem, allowed="answers to ner or spans recipes", mend="export the set that has spans"
        )


def _put_together(
    accepted: list[tuple[Place, Any]], options: Options
) -> tuple[list[tuple[Place, Any]], dict[Place, list[tuple[Place, dict]]]]:
    """Different questions about one text (ner.teach asks for one span after the other) are one row with all accepted
    spans, as Prodigy's own training has it."""
    kept: list[tuple[Place, Any]] = []
    asked: dict[Any, list[tuple[Place, dict]]] = {}
    for place, entry in accepted:
        of_text = isinstance(entry, dict) and not _who(entry) and entry.get("_input_hash") is not None
        several = asked.setdefault(repr((entry["_input_hash"], entry.get("text"))), []) if of_text else []
        if several and all(entry.get("_task_hash") != other.get("_task_hash") for _, other in several):
            example = f"{show(entry.get('text'))} at {place}"
            options.told.add("answers about a text that came before were put together with it", example)
            several.append((place, entry))
            continue
        kept.append((place, entry))
        if of_text and not several:
            several.append((place, entry))
    return kept, {several[0][0]: several for several in asked.values() if len(several) > 1}


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
