"""GLiNER's training data: `tokenized_text` and `ner`, [first token, last token, label]: the end is inclusive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ...files import write_whole
from ..rows import Place, Row, bad_input, check_bounds, check_keys, show
from .base import File, Format, Guess, Options, Placed, each, need_list


def detect(file: File) -> Guess | None:
    share = file.share(lambda entry: "tokenized_text" in entry)
    return Guess(0.6 + 0.35 * share, "tokenized_text beside ner") if share else None


def read(file: File, options: Options) -> Placed:
    @cache
    def fits_exclusive() -> bool:
        spans = [
            (span, len(entry["tokenized_text"]))
            for _, entry in file.entries
            if isinstance(entry, dict) and all(isinstance(entry.get(key), list) for key in ("tokenized_text", "ner"))
            for span in entry["ner"]
            if isinstance(span, list) and len(span) == 3
        ]
        borders = [(s[0], s[1], n) for s, n in spans if all(type(at) is int for at in s[:2])]
        return len(borders) > 1 and all(0 <= start < end <= length for start, end, length in borders)

    def row(entry: Any, place: Place) -> Row:
        check_keys(entry, ("tokenized_text", "ner"), place)
        tokens, entities = entry["tokenized_text"], []
        for span in need_list(entry, "ner", place):
            if not isinstance(span, list) or len(span) != 3:
                allowed = "[first token, last token, label]"
                bad_input(place, f"ner holds {show(span)}", allowed=allowed, mend="give each span three values")
            start, end, label = span
            if type(end) is int and isinstance(tokens, list) and end == len(tokens) and fits_exclusive():
                problem = f"ner holds {show(span)}, and the last of {len(tokens)} tokens is {len(tokens) - 1}"
                mend = "ends are exclusive in this file: write end - 1 in all spans"
                bad_input(place, problem, allowed="[first token, last token, label]", mend=mend)
            last = end + 1 if type(end) is int else end
            if isinstance(tokens, list):
                check_bounds(start, last, label, len(tokens), place)
            entities.append({"start": start, "end": last, "label": label})
        return {"id": entry.get("id"), "tokens": tokens, "entities": entities}

    return each(file.entries, row)


def write(rows: Sequence[Row], path: Path) -> None:
    entries = [
        {
            "id": row["id"],
            "tokenized_text": row["tokens"],
            "ner": [[span["start"], span["end"] - 1, span["label"]] for span in row["entities"]],
        }
        for row in rows
    ]
    write_whole(path, json.dumps(entries, ensure_ascii=False))


FORMAT = Format(
    name="gliner",
    tool="GLiNER's fine-tuning",
    recognised="`tokenized_text` beside `ner`",
    trap="the end is inclusive, in tokens",
    detect=detect,
    read=read,
    write=write,
    suffix=".json",
)
