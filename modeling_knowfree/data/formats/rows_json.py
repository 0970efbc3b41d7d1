"""Our own rows: `tokens` with `entities` (or `spans`) counted in tokens, `end` exclusive by definition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..rows import InputError, Place, Row, bad_input, check_keys, show, show_span, triple, write_rows
from .annotators import annotators_of, decided_by_span
from .base import File, Format, Guess, Options, Placed, attempt, each, identity, is_list_of_strings, need_list
from .counting import Mention, align
from .schemes import looks_like_tags, scheme_of
from .span_keys import (
    ENDS,
    STARTS,
    SpanKeys,
    counts_characters,
    has_borders,
    key_of_spans,
    span_keys,
    spans_under,
)
from .tags_json import TAGS

SPANS = ("entities", "spans", "entity_mentions")


def detect(file: File) -> Guess | None:
    def ours(entry: dict) -> bool:
        is_spacy = "text" in entry and isinstance(entry.get("spans"), dict)  # Doc.to_json: groups of spans
        return "tokens" in entry and not is_spacy and bool(_span_lists(entry))

    share = file.share(ours)
    if not share:
        return None
    as_tokens, as_characters = _fits(file)
    # What fits characters too is as likely as `offsets`, and then a question; what fits them alone is not ours.
    sure = 0.5 + (0.3 if not as_characters else 0.2 if as_tokens else -0.2) * share
    return Guess(sure, "tokens beside entities counted in tokens")


def _fits(file: File) -> tuple[bool, bool]:
    """Of entries that have a text beside their tokens: whether all spans may count tokens, and whether all may count
    characters of the text; (True, False) where no entry has a text that tells."""
    as_tokens, as_characters, seen = True, True, False
    for entry in file.sample:
        if not (
            isinstance(entry, dict) and is_list_of_strings(entry.get("tokens")) and isinstance(entry.get("text"), str)
        ):
            continue
        spans = entry.get(_key(entry))
        borders = attempt(align, entry["tokens"], entry["text"], file.place())
        if isinstance(borders, InputError) or not isinstance(spans, list):
            as_characters = False
            continue
        starts, ends = ({border[at]: number for number, border in enumerate(borders)} for at in (0, 1))
        if any(has_borders(span) and any(map(counts_characters, _border_keys(span))) for span in spans):
            return False, True
        for start, end in (_borders(span) for span in spans if has_borders(span)):
            if type(start) is not int or type(end) is not int:
                continue  # refused when its row is read
            if starts.get(start) == start and ends.get(end, -2) + 1 == end:
                continue  # the same span either way
            seen = True
            as_tokens = as_tokens and 0 <= start < end <= len(borders)
            as_characters = as_characters and start in starts and end in ends
    return (as_tokens, as_characters) if seen else (True, False)


def _borders(span: dict) -> tuple[Any, Any]:
    start, end = _border_keys(span)
    return span[start], span[end]


def _border_keys(span: dict) -> tuple[str, str]:
    start, end = (next(key for key in keys if key in span) for keys in (STARTS, ENDS))
    return start, end


class _Reader:
    """Streams; only where a stated text contradicts, the whole file is looked at for what would fit."""

    def __init__(self, file: File, options: Options):
        self.file, self.options = file, options

    @cached_property
    def chosen(self) -> str | None:
        objects = [entry for entry in self.file.sample if isinstance(entry, dict)]
        return key_of_spans(objects, SPANS, self.options, self.file.place())

    def key_in(self, entry: dict) -> str:
        return self.chosen if self.chosen is not None and self.chosen in entry else _key(entry)

    def _spans_of(self, entry: dict) -> list:
        """What an entry lists as its spans; none where that is no list, which is refused when its row is read."""
        spans = entry.get(self.key_in(entry))
        return spans if isinstance(spans, list) else []

    @cached_property
    def keys(self) -> SpanKeys:
        spans = []
        for entry in self.file.sample:
            if isinstance(entry, dict) and isinstance(tokens := entry.get("tokens"), list):
                for span in self._spans_of(entry):
                    if has_borders(span):
                        spans.append((span, lambda start, end, tokens=tokens: _covered(tokens, start, end)))
        return span_keys(spans, self.file.place(), self.options, own=True)

    def row(self, entry: Any, place: Place) -> Row:
        check_keys(entry, ("tokens",), place)
        place = place._replace(row_id=identity(entry)) if isinstance(identity(entry), str) else place
        key = self.key_in(entry)
        check_keys(entry, ("tokens", key), place)
        self._check_others(entry, key, place)
        tokens, spans = entry["tokens"], need_list(entry, key, place)
        if not isinstance(tokens, list):
            return {**entry, "entities": spans}  # the row's check has the words
        entities = []
        for span in spans:
            start, end, label, stated = self.keys.mention(span, key, place)
            if counted := next(filter(counts_characters, self.keys[:2]), None):
                problem = f"{counted} of {show(span)} counts characters, and the row is read in tokens"
                has_text = isinstance(entry.get("text"), str)
                mend = "read it as --format offsets" if has_text else "add the text, or write start and end in tokens"
                bad_input(place, problem, allowed="borders in tokens, or in characters of a text", mend=mend)
            if isinstance(stated, str | list):
                self._check_stated(tokens, (start, end, label), stated, place)
            weight = {"weight": span["weight"]} if isinstance(span, dict) and span.get("weight") is not None else {}
            entities.append({"start": start, "end": end, "label": label} | weight)
        who = [annotators_of(span) for span in spans]
        if len({name for names in who for name in names}) > 1:
            mentions = [Mention(span["start"], span["end"], span["label"]) for span in entities]
            said = list(zip(who, mentions, strict=True))
            mentions = decided_by_span(said, self.options, place, f"the sentence {show(tokens)}")
            entities = [{"start": start, "end": end, "label": label} for start, end, label, _ in mentions]
        self._check_tags(entry, entities, place)
        return {**entry, "entities": entities}

    def _check_others(self, entry: dict, key: str, place: Place) -> None:
        """Spans under another key are lost where the first entries, by which the key was chosen, had none there."""
        if self.options.tag_column == key or sum(one in entry for one in SPANS) < 2:
            return
        under = spans_under(entry, SPANS)
        if lost := next((other for other, spans in under.items() if not spans <= under.get(key, set())), None):
            mend = f"name the one that counts: --tag_column {key}"
            bad_input(place, f"{lost} holds other spans than {key}", allowed="one key of spans", mend=mend)

    def _check_stated(self, tokens: Sequence, span: tuple[Any, Any, Any], stated: Any, place: Place) -> None:
        start, end, label = span
        if type(start) is not int or type(end) is not int:
            return
        if _squeezed(stated) != _squeezed(tokens[max(start, 0) : end]):
            found = " ".join(map(str, tokens[max(start, 0) : end]))
            text = "".join(map(str, stated)) if isinstance(stated, list) else stated
            problem = f"span {show_span(start, end, label)} cuts out {show(found)}, its text is {show(text)}"
            mend = f"count tokens from 0, end exclusive{self.hint}"
            bad_input(place, problem, allowed="a span that cuts out its text", mend=mend)

    @cached_property
    def hint(self) -> str:
        """What would fit all stated texts of the file."""
        total = fitting = 0
        for _, entry in self.file.stream():
            if not isinstance(entry, dict) or not isinstance(entry.get("tokens"), list):
                continue
            for span in self._spans_of(entry):
                stated = span.get(self.keys.stated) if isinstance(span, dict) and self.keys.stated else None
                if isinstance(stated, str | list) and type(span.get(self.keys.end)) is int:
                    start, end = span.get(self.keys.start), span[self.keys.end]
                    total += 1
                    fitting += type(start) is int and _squeezed(stated) == _squeezed(entry["tokens"][start : end + 1])
        if total and fitting == total:
            return f"; ends are inclusive in this file, all {total} spans fit with end + 1: write end + 1"
        return ""

    def _check_tags(self, entry: dict, entities: list[Row], place: Place) -> None:
        """Tags beside entities must say the same; they hold no nesting, so entities may say more."""
        for key in TAGS:
            tags = entry.get(key)
            if not isinstance(tags, list) or len(tags) != len(entry["tokens"]):
                continue
            names = self.file.tag_names.get(key)
            if names and all(type(tag) is int and 0 <= tag < len(names) for tag in tags):
                tags = [names[tag] for tag in tags]
            if all(type(tag) is int for tag in tags):
                lost = next((show(tag) for tag in tags if tag and not entities), None)
            elif all(isinstance(tag, str) for tag in tags) and looks_like_tags(Counter(tags)):
                scheme = scheme_of(Counter(tags), named=self.options.scheme)
                spans = [] if isinstance(scheme, str) else scheme.spans(tags)
                said = list(map(triple, spans))
                if not isinstance(scheme, str) and scheme.name == "io" and entities:
                    continue  # neighbours of one label are one span in such tags
                found = {repr(triple(span)) for span in entities}
                lost = next((show_span(*span) for span in said if repr(span) not in found), None)
            else:
                continue
            if lost is not None:
                problem = f"{key} has tags ({lost}), entities {'has it not' if entities else 'is empty'}"
                mend = f"take out entities to read {key}, or take out {key}"
                bad_input(place, problem, allowed="one of the two", mend=mend)


def _span_lists(entry: dict) -> list[str]:
    """The keys of an entry that may list spans; mentions written out, as WikiANN's, are none."""
    return [key for key in SPANS if key in entry and not is_list_of_strings(entry[key])]


def _key(entry: dict) -> str:
    return next(iter(_span_lists(entry)), SPANS[0])


def _covered(tokens: list, start: Any, end: Any) -> set[str]:
    if type(start) is not int or type(end) is not int:
        return set()
    return {"".join(map(str, tokens[max(start, 0) : last])) for last in (end, end + 1)}


def _squeezed(text: Any) -> str:
    joined = "".join(map(str, text)) if isinstance(text, list) else text
    return "".join(joined.split())


def read(file: File, options: Options) -> Placed:
    return each(file.stream(), _Reader(file, options).row)


def write(rows: Sequence[Row], path: Path) -> None:
    write_rows(path, rows)


FORMAT = Format(
    name="jsonl",
    tool="this tool; SpanMarker, SpERT, ACE scripts and other data sets with token spans",
    recognised="`tokens` beside `entities`, `spans` or `entity_mentions`",
    trap="`end` is exclusive by definition: a stated text that contradicts is refused",
    detect=detect,
    read=read,
    write=write,
    suffix=".jsonl",
    whole=True,
    aliases=("rows", "tokens-spans", "stated-text", "duplicate-ids"),
)
