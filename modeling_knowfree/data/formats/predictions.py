"""What `predict` answers -> rows, for the writers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ...units_knowfree import split_text
from ..rows import Row


def rows_of_predictions(lines: Iterable[str], unit: str, stem: str) -> tuple[list[Row], int]:
    """Rows of the JSON lines of `inference.tag.predict`, with the spans' scores, and how many had no unit at all.

    Args:
        unit: that the model counts in; spans of texts end at its units.
        stem: what ids begin with where a line has none.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    blank = 0
    for number, line in enumerate(lines, start=1):
        answer: dict[str, Any] = json.loads(line)
        entities = [{key: span[key] for key in ("start", "end", "label", "score")} for span in answer["entities"]]
        tokens = answer.get("tokens")
        if tokens is None:
            text = answer["text"]
            units = split_text(text, unit)
            tokens = [text[start:end] for start, end in units]
            starts = {start: at for at, (start, _) in enumerate(units)}
            ends = {end: at + 1 for at, (_, end) in enumerate(units)}
            for span in entities:
                span.update(start=starts[span["start"]], end=ends[span["end"]])
        if not tokens:
            blank += 1
            continue
        row_id = str(answer["id"]) if answer.get("id") is not None else f"{stem}-{number}"
        while row_id in seen:
            row_id += "~"
        seen.add(row_id)
        rows.append({"id": row_id, "tokens": tokens, "entities": entities})
    return rows, blank
