"""doccano: `label` or `labels` a list of [start, end, label], or `entities` with start_offset and end_offset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..rows import Place, Row, bad_input, check_keys, show, write_rows
from .annotators import annotators_of, decided_by_span
from .base import File, Format, Guess, Options, Placed, identity, is_list_of_strings, need_list, need_text
from .counting import Mention, TextRow, joined_text, placed_texts, rows_of_texts, written_spans
from .span_keys import SpanKeys, key_of_spans, unread_spans

KEYS = ("label", "labels", "entities")
_ENTITY = SpanKeys("start_offset", "end_offset", "label", None)


def detect(file: File) -> Guess | None:
    def offsets(entry: dict) -> bool:
        spans = entry.get("entities")
        return (
            "text" in entry
            and isinstance(spans, list)
            and any("start_offset" in s for s in spans if isinstance(s, dict))
        )

    def triples(entry: dict) -> bool:
        listed = [entry[key] for key in ("label", "labels") if isinstance(entry.get(key), list)]
        if not isinstance(entry.get("text"), str) or (not any(listed) and unread_spans(entry)):
            return False
        return any(all(isinstance(span, list) for span in spans) for spans in listed)

    if file.any(offsets):
        return Guess(0.9, "entities with start_offset and end_offset")
    share = file.share(triples)
    if share:
        filled = file.any(lambda entry: triples(entry) and bool(entry.get("label") or entry.get("labels")))
        return Guess(0.5 + (0.4 if filled else 0.3) * share, "label is a list of [start, end, label]")
    if file.any(lambda entry: "text" in entry and "tokens" not in entry and isinstance(entry.get("relations"), list)):
        return Guess(0.75, "relations beside text")
    return None


def read(file: File, options: Options) -> Placed:
    objects = [entry for _, entry in file.entries if isinstance(entry, dict)]
    chosen = key_of_spans(objects, KEYS, options, file.place())

    def text_row(entry: Any, place: Place) -> TextRow:
        key = next((key for key in (chosen or "label", *KEYS) if isinstance(entry, dict) and key in entry), "label")
        check_keys(entry, ("text", key), place)
        said = []
        for span in need_list(entry, key, place, "[start, end, label]"):
            if isinstance(span, dict):
                said.append((annotators_of(span), _ENTITY.mention(span, key, place)))
            elif isinstance(span, list) and len(span) == 3:
                said.append(([], Mention(*span)))
            else:
                mend = "write each span as [start, end, label]"
                bad_input(place, f"{key} holds {show(span)}", allowed="[start, end, label]", mend=mend)
        if entry.get("relations") is not None and (relations := need_list(entry, "relations", place, "relations")):
            options.told.add("relations left out", f"at {place}", len(relations))
        tokens = entry["tokens"] if is_list_of_strings(entry.get("tokens")) else None
        text = need_text(entry, place)
        mentions = decided_by_span(said, options, place, f"the text {show(text)}")
        return TextRow(text, mentions, identity(entry), tokens)

    return rows_of_texts(placed_texts(file.entries, text_row), options)


def write(rows: Sequence[Row], path: Path) -> None:
    """`tokens` stands beside the text: doccano keeps what it does not know, and reading back needs no guess."""
    write_rows(path, [_entry(row) for row in rows])


def _entry(row: Row) -> dict[str, Any]:
    spans = [[start, end, label] for start, end, label, _ in written_spans(row)]
    return {"id": row["id"], "text": joined_text(row)[0], "label": spans, "tokens": row["tokens"]}


FORMAT = Format(
    name="doccano",
    tool="doccano 1.0 to 1.8",
    recognised="`label`, `labels`: [start, end, label]; or `entities` with `start_offset`",
    trap="an entity's id is not the row's; relations are left out and told",
    detect=detect,
    read=read,
    write=write,
    suffix=".jsonl",
    aliases=("doccano-jsonl", "doccano-entities", "doccano-labels"),
)
