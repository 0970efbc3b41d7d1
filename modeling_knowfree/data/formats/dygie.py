"""Documents of DyGIE++, PURE and SciERC: `sentences` as lists of tokens, `ner` a list of spans for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..rows import InputError, Place, Row, bad_input, check_bounds, check_keys, show
from .base import File, Format, Guess, Options, Placed, attempt, need_list

_ALLOWED = "[first token, last token, label], counted from the start of the document"


def _is_document(entry: dict) -> bool:
    sentences, spans = entry.get("sentences"), entry.get("ner")
    if not isinstance(sentences, list) or not isinstance(spans, list) or len(sentences) != len(spans):
        return False
    return bool(sentences) and all(isinstance(one, list) for one in [*sentences, *spans])


def detect(file: File) -> Guess | None:
    share = file.share(_is_document)
    return Guess(0.6 + 0.35 * share, "sentences beside as many lists of spans in ner") if share else None


def read(file: File, options: Options) -> Placed:
    for place, entry in file.stream():
        if isinstance(entry, InputError):
            yield place, entry
            continue
        rows = attempt(_rows, entry, place, options)
        for row in [rows] if isinstance(rows, InputError) else rows:
            yield place, row


def _rows(document: Any, place: Place, options: Options) -> list[Row | InputError]:
    check_keys(document, ("sentences", "ner"), place)
    sentences, spans = (need_list(document, key, place, "lists") for key in ("sentences", "ner"))
    if not _is_document(document):
        problem = f"{len(sentences)} sentences and {len(spans)} lists of spans"
        bad_input(place, problem, allowed="a list of spans for each sentence", mend="write [] where there is none")
    told = document.get("relations")
    relations = sum(len(found) for found in told if isinstance(found, list)) if isinstance(told, list) else 0
    if relations:
        options.told.add("relations left out", f"at {place}", relations)
    name = document.get("doc_key")
    return list(_sentences(sentences, spans, name if isinstance(name, str) else None, place))


def _sentences(sentences: list, spans: list, name: str | None, place: Place) -> Iterator[Row | InputError]:
    begin = 0
    for number, (tokens, found) in enumerate(zip(sentences, spans, strict=True)):
        row_id = None if name is None else f"{name}-{number}"
        entities = attempt(_entities, found, begin, len(tokens), place._replace(row_id=row_id))
        yield entities if isinstance(entities, InputError) else {"id": row_id, "tokens": tokens, "entities": entities}
        begin += len(tokens)


def _entities(found: list, begin: int, length: int, place: Place) -> list[Row]:
    entities = []
    for span in found:
        if not isinstance(span, list) or len(span) < 3:
            bad_input(place, f"ner holds {show(span)}", allowed=_ALLOWED, mend="give each span three values")
        first, last, label = span[:3]
        if type(first) is not int or type(last) is not int:
            bad_input(place, f"ner holds {show(span)}", allowed=_ALLOWED, mend="write borders as integers")
        start, end = first - begin, last + 1 - begin
        check_bounds(start, end, label, length, place)
        entities.append({"start": start, "end": end, "label": label})
    return entities


FORMAT = Format(
    name="dygie",
    tool="DyGIE++, PURE, SciERC",
    recognised="`sentences` beside as many lists in `ner`",
    trap="spans count tokens of the whole document, the end inclusive; a sentence is a row",
    detect=detect,
    read=read,
    aliases=("scierc", "pure"),
)
