"""Chinese benchmark formats: CMeEE of CBLUE (V1 and V2, JSON and the first text form) and CLUENER2020."""

from __future__ import annotations

from typing import Any

from ..rows import Place, bad_input, check_keys, show, show_span
from .base import File, Format, Guess, Options, Placed, identity, need_list, need_text
from .counting import INCLUSIVE, Mention, TextRow, placed_texts, rows_of_texts
from .span_keys import SpanKeys

_KEYS = SpanKeys("start_idx", "end_idx", "type", "entity")


def _has_idx(entry: dict) -> bool:
    spans = entry.get("entities")
    return isinstance(spans, list) and any(isinstance(span, dict) and "start_idx" in span for span in spans)


def detect(file: File) -> Guess | None:
    return Guess(0.94, "entities with start_idx, end_idx and type") if file.any(_has_idx) else None


def read(file: File, options: Options) -> Placed:
    def text_row(entry: Any, place: Place) -> TextRow:
        check_keys(entry, ("text", "entities"), place)
        mentions = [_KEYS.mention(span, "entities", place) for span in need_list(entry, "entities", place)]
        return TextRow(need_text(entry, place), mentions, identity(entry))

    texts = placed_texts(file.entries, text_row)
    mentions = [mention for _, text in texts if isinstance(text, TextRow) for mention in text.mentions]
    if mentions and all(mention.stated is None for mention in mentions):
        what = (
            "spans state no text (entity) and end_idx is read as in V2, behind the span; V1 counts its last character"
        )
        options.told.add(what, show_span(*mentions[0][:3]), len(mentions))
    return rows_of_texts(texts, options)


# ------------------------------------------------------------------ text|||0    1    dis|||


def detect_text(file: File) -> Guess | None:
    if file.json_kind is not None or not file.first_lines:
        return None
    marked = sum("|||" in text for text in file.first_lines)
    return Guess(0.9, "fields between three vertical bars") if 2 * marked >= len(file.first_lines) else None


def read_text(file: File, options: Options) -> Placed:
    def text_row(text: str, place: Place) -> TextRow:
        sentence, *fields = text.split("|||")
        if not fields:
            mend = "write ||| behind the sentence, then the spans"
            bad_input(place, f"no ||| in {show(text)}", allowed="text|||0    1    dis|||", mend=mend)
        mentions = []
        for field in fields:
            if not field.strip():
                continue
            parts = field.split(None, 2)
            if len(parts) < 3 or not all(part.isdecimal() and len(part) < 10 for part in parts[:2]):
                allowed = "start    end    type between |||"
                bad_input(place, f"a field is {show(field)}", allowed=allowed, mend="write it as 0    1    dis")
            mentions.append(Mention(int(parts[0]), int(parts[1]), parts[2].strip()))
        return TextRow(sentence, mentions)

    lines = ((file.place(line.number), line.text) for line in file.lines() if line.text.strip())
    return rows_of_texts(placed_texts(lines, text_row), options, usual=INCLUSIVE)


# ------------------------------------------------------------------ CLUENER


def _by_label(entry: dict) -> bool:
    return isinstance(entry.get("text"), str) and isinstance(entry.get("label"), dict)


def detect_cluener(file: File) -> Guess | None:
    share = file.share(_by_label)
    return Guess(0.5 + 0.45 * share, "label -> mention -> places") if share else None


def read_cluener(file: File, options: Options) -> Placed:
    def text_row(entry: Any, place: Place) -> TextRow:
        check_keys(entry, ("text", "label"), place)
        allowed = '{"label": {"mention": [[first, last]]}}'
        labels = entry["label"]
        if not isinstance(labels, dict) or not all(isinstance(mentions, dict) for mentions in labels.values()):
            bad_input(place, f"label is {show(labels)}", allowed=allowed, mend="write {} for a sentence without any")
        mentions: list[Mention] = []
        for label, places in labels.items():
            for mention, borders in places.items():
                if not isinstance(borders, list) or not all(isinstance(b, list) and len(b) == 2 for b in borders):
                    bad_input(place, f"{show(mention)} is at {show(borders)}", allowed=allowed, mend="write [[0, 2]]")
                mentions.extend(Mention(first, last, label, mention) for first, last in borders)
        return TextRow(need_text(entry, place), mentions, identity(entry))

    return rows_of_texts(placed_texts(file.entries, text_row), options, usual=INCLUSIVE)


CMEEE = Format(
    name="cmeee",
    tool="CMeEE V1 and V2 (CBLUE), JSON",
    recognised="`entities` with `start_idx`, `end_idx`, `type`, `entity`",
    trap="end_idx is exclusive in V2 and inclusive in V1: `entity` decides for the file; the label is `type`",
    detect=detect,
    read=read,
    aliases=("cmeee-v1", "cmeee-v2"),
)
CMEEE_TEXT = Format(
    name="cmeee-txt",
    tool="CMeEE V1, text",
    recognised="fields between three vertical bars",
    trap="the end is inclusive and nothing in the file says so",
    detect=detect_text,
    read=read_text,
    aliases=("cmeee-v1-txt",),
)
CLUENER = Format(
    name="cluener",
    tool="CLUENER2020",
    recognised="`label` is an object of objects",
    trap="ends are inclusive; one mention may have several places",
    detect=detect_cluener,
    read=read_cluener,
)
