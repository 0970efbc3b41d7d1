"""Which keys of a file's span objects are borders, label and stated text: one answer for the whole file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from ..rows import Place, bad_input, show
from .base import Options
from .counting import Mention

STARTS = (
    *("start", "start_offset", "start_idx", "start_char", "start_pos", "startOffset", "begin", "from"),
    *("start_index", "startIndex", "startPos", "start_position", "begin_offset", "beginOffset", "BeginOffset"),
)
ENDS = (
    *("end", "end_offset", "end_idx", "end_char", "end_pos", "endOffset", "stop", "to"),
    *("end_index", "endIndex", "endPos", "end_position", "EndOffset"),
)
LABELS = (
    *("label", "entity_group", "type", "entity_type", "labels", "tag", "category", "class", "ner", "entity", "name"),
    *("label_type", "entityType", "displayName", "types", "Type"),
)
STATED = ("text", "mention", "entity", "surface", "surface_form", "entity_text", "span", "word", "value", "name")
_NUMBERED = re.compile(r"[^\W\d]{0,8}[-_#:]?\d+")
_CERTAIN = ("text", "mention", "entity", "surface", "surface_form", "entity_text")  # stated by what they are called


class SpanKeys(NamedTuple):
    start: str
    end: str
    label: str
    stated: str | None

    def mention(self, span: Any, key: str, place: Place) -> Mention:
        """A span object as a mention. Raises InputError for one without the three keys."""
        if not isinstance(span, dict) or not {self.start, self.end, self.label} <= span.keys():
            allowed = f'{{"{self.start}": int, "{self.end}": int, "{self.label}": str}}'
            bad_input(place, f"{key} holds {show(span)}", allowed=allowed, mend="give each span these three keys")
        label = _plain(span[self.label])
        stated = span.get(self.stated) if self.stated else None
        return Mention(span[self.start], span[self.end], label, stated)


def _plain(value: Any) -> Any:
    """A label that stands alone in a list, or with Flair in an object beside its score."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value["value"] if isinstance(value, dict) and isinstance(value.get("value"), str) else value


PAIRS = ("span", "pos", "indices", "offset", "offsets", "position", "range", "loc")


def spelled(span: Any) -> list[Any]:
    """A span object with its borders in keys of their own: from a pair of them, an offset and a length, or the points
    of DataTurks, which may be several."""
    if not isinstance(span, dict) or has_borders(span):
        return [span]
    if "endOffset" in span and "displayName" in span:  # Vertex AI leaves a start of 0 out
        return [{"startOffset": 0, **span}]
    if isinstance(points := span.get("points"), list) and points and all(map(has_borders, points)):
        return [{**point, "label": span.get("label")} for point in points]
    pair = next((key for key in PAIRS if isinstance(span.get(key), list)), None)
    if pair is not None and len(span[pair]) == 2:
        return [{**span, "start": span[pair][0], "end": span[pair][1]}]
    if type(span.get("offset")) is int and type(span.get("length")) is int:
        return [{**span, "start": span["offset"], "end": span["offset"] + span["length"]}]
    return [span]


def has_borders(span: Any) -> bool:
    return isinstance(span, dict) and any(key in span for key in STARTS) and any(key in span for key in ENDS)


def counts_characters(key: str) -> bool:
    """Whether a border says by its name that it counts no tokens."""
    return "char" in key.lower() or "offset" in key.lower()


def is_triple(span: Any) -> bool:
    return isinstance(span, list) and len(span) == 3 and type(span[0]) is int and isinstance(span[2], str)


def key_of_spans(entries: Sequence[dict], keys: Sequence[str], options: Options, place: Place) -> str | None:
    """
    The one of `keys` under which the entries of a file list the spans that count; None where none lists any.

    Raises:
        InputError: entries list spans under several keys, none of which holds those of the others too.
    """
    present = [key for key in keys if any(isinstance(entry.get(key), list) and entry[key] for entry in entries)]
    if len(present) < 2:
        return present[0] if present else None
    rows = [spans_under(entry, keys) for entry in entries]
    filled = [key for key in present if any(row.get(key) for row in rows)]
    if len(filled) < 2:
        return filled[0] if filled else None
    if options.tag_column in filled:
        return options.tag_column
    together = {pair for row in rows for pair in combinations([key for key in filled if key in row], 2)}
    for key in filled:
        rivals = [other for other in filled if {(key, other), (other, key)} & together]
        if all(row.get(other, set()) <= row.get(key, set()) for row in rows for other in rivals):
            return key
    problem = f"spans stand under several keys: {', '.join(filled)}"
    bad_input(place, problem, allowed="one key of spans", mend=f"name the one that counts: --tag_column {filled[0]}")


def spans_under(entry: dict, keys: Sequence[str]) -> dict[str, set[tuple]]:
    """The spans of an entry under each of the keys that it has."""
    return {key: set(_said(entry[key])) for key in keys if isinstance(entry.get(key), list)}


def _said(spans: list) -> Iterator[tuple]:
    for span in (one for written in spans for one in spelled(written)):
        if is_triple(span):
            yield tuple(map(repr, span))
        elif has_borders(span):
            yield tuple(repr(next((span[key] for key in keys if key in span), None)) for keys in (STARTS, ENDS, LABELS))


_MAY_LIST = ("entities", "spans", "entity_mentions", "mentions", "annotations", "ents", "ner", "labels", "label")
_OTHER_LISTS = frozenset(
    ("tokens", "words", "sents", "sentences", "relations", "extensions", "uncertain", "noun_chunks", "chunks", "pos")
)


def unread_spans(entry: Any) -> str | None:
    """The key under which an entry lists spans while one that may list them is empty: if its row has no entity, they
    were not read."""
    if isinstance(entry, list) and len(entry) == 2:  # spaCy 2's pair of text and annotation
        entry = entry[1]
    if not isinstance(entry, dict) or not any(entry.get(key) in ([], {}) for key in _MAY_LIST):
        return None
    for key, value in entry.items():
        groups = value.values() if isinstance(value, dict) and key in _MAY_LIST else [value]
        for spans in groups if key not in _OTHER_LISTS else ():
            if isinstance(spans, list) and spans and all(map(_is_labelled, spans)):
                return key
    return None


def _is_labelled(span: Any) -> bool:
    return all(is_triple(one) or (has_borders(one) and any(key in one for key in LABELS)) for one in spelled(span))


def span_keys(
    spans: Iterable[tuple[dict, Callable[[Any, Any], set[str]]]], place: Place, options: Options, *, own: bool = False
) -> SpanKeys:
    """
    The keys of a file's spans.

    Args:
        spans: each object, and a function that says which texts its borders may cover.
        place: the file's.
        own: `label` is the label by definition, unless another key is.

    Raises:
        InputError: where every key that may be the label holds the text that its span covers, or the first of several
            numbers the spans, or is one word for all, while another sorts them.
    """
    present: dict[str, int] = {}
    covering: dict[str, int] = {}
    mentions: dict[str, set[str]] = {}
    values: dict[str, Counter[str]] = {}
    total = 0
    start_key, end_key = "start", "end"
    for span, covered in spans:
        if not total:
            start_key = next((key for key in STARTS if key in span), "start")
            end_key = next((key for key in ENDS if key in span), "end")
        total += 1
        texts = {_squeezed(text) for text in covered(span.get(start_key), span.get(end_key))}
        for key in {*LABELS, *STATED} & span.keys():
            value = _plain(span[key])
            if value is None:
                continue
            present[key] = present.get(key, 0) + 1
            values.setdefault(key, Counter())[str(value)] += 1
            if isinstance(value, str) and value and _squeezed(value) in texts:
                covering[key] = covering.get(key, 0) + 1
                mentions.setdefault(key, set()).add(value)

    def is_mention(key: str) -> bool:
        return 2 * covering.get(key, 0) > present[key]

    labels = [key for key in LABELS if key in present and not is_mention(key)]
    complete = [key for key in labels if present[key] == total] or labels
    if not complete and "label" in present and (own or len(mentions["label"]) == 1):
        complete = ["label"]  # one label that is spelt like the one mention it stands on
    if present and not complete:
        key = next(key for key in (*LABELS, *STATED) if key in present)
        problem = f"the label {show(key)} would be the text that its span covers"
        mend = "write the label of each span as label"
        bad_input(place, problem, allowed='{"start": int, "end": int, "label": str}', mend=mend)
    label = _label_of(complete, values, options, place) if complete else "label"
    stated = next((key for key in STATED if key in present and key != label and is_mention(key)), None)
    if stated is None and not ("entity_group" in present or "score" in present):
        stated = next((key for key in _CERTAIN if key in present and key != label), None)
    if label == "entity_group":
        stated = None  # what `word` holds there is decoded
    return SpanKeys(start_key, end_key, label, stated)


def _label_of(complete: Sequence[str], values: dict[str, Counter[str]], options: Options, place: Place) -> str:
    """The key of the labels, of those that may be: the first, unless another one sorts the spans better."""
    first, *others = complete
    if options.tag_column is not None and options.tag_column in complete:
        return options.tag_column
    others = [key for key in others if values[key] != values[first] and (key not in STATED or _sorts(values[key]))]
    if not others:
        return first
    listed = ", ".join(f"{key} ({', '.join(map(show, list(values[key])[:3]))})" for key in (first, *others))
    if any(_is_poorer(values[first], values[key]) for key in others):
        problem = f"the label may stand under several keys: {listed}"
        bad_input(place, problem, allowed="one key of labels", mend=f"name it: --tag_column {others[0]}")
    options.told.add(f"keys of spans may hold labels, and {first} counts; --tag_column NAME takes another", listed)
    return first


def _sorts(values: Counter[str]) -> bool:
    """Whether values are those of few kinds."""
    return 2 * len(values) <= values.total()


def _is_poorer(values: Counter[str], others: Counter[str]) -> bool:
    """Whether values are one for all spans or number them, and others are labels of several kinds."""
    if len(values) == 1:
        return len(others) > 1 and not _number(others)
    return _number(values) and not _number(others)


def _number(values: Counter[str]) -> bool:
    """Whether values number the spans: `T1`, `T2`, or where there are many each is another."""
    different = values.total() == len(values)
    return different and (len(values) > 20 or all(map(_NUMBERED.fullmatch, values)))


def _squeezed(text: str) -> str:
    return "".join(text.split())
