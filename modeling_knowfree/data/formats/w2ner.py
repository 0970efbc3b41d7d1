"""W2NER's data: `sentence`, a list of tokens, and `ner` with the `index` of every token of an entity and its `type`."""

from __future__ import annotations

from typing import Any

from ..rows import Place, Row, bad_input, check_keys, show
from .base import File, Format, Guess, Options, Placed, each, need_list


def detect(file: File) -> Guess | None:
    def indexed(entry: dict) -> bool:
        spans = entry.get("ner")
        if not isinstance(entry.get("sentence"), list) or not isinstance(spans, list):
            return False
        return all(isinstance(span, dict) and "index" in span for span in spans)

    share = file.share(indexed)
    return Guess(0.6 + 0.35 * share, "a sentence of tokens beside ner with index and type") if share else None


def read(file: File, options: Options) -> Placed:
    def row(entry: Any, place: Place) -> Row:
        check_keys(entry, ("sentence", "ner"), place)
        entities = []
        for span in need_list(entry, "ner", place):
            index = span.get("index") if isinstance(span, dict) else None
            if (
                not isinstance(index, list)
                or not index
                or "type" not in span
                or any(type(at) is not int for at in index)
            ):
                allowed = '{"index": [int, …], "type": str}'
                bad_input(place, f"ner holds {show(span)}", allowed=allowed, mend="give each span these two keys")
            start, end = index[0], index[-1] + 1
            if len(index) == end - start and index == list(range(start, end)):
                entities.append({"start": start, "end": end, "label": span["type"]})
            else:
                options.told.add("discontinuous spans left out", f"{show(span)} at {place}")
        return {"id": entry.get("id"), "tokens": entry["sentence"], "entities": entities}

    return each(file.entries, row)


FORMAT = Format(
    name="w2ner",
    tool="W2NER and what follows its data layout",
    recognised="`sentence` as a list beside `ner` with `index` and `type`",
    trap="an entity lists all its tokens; discontinuous ones are left out and counted",
    detect=detect,
    read=read,
)
