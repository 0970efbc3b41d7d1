"""UIMA CAS JSON 0.4 (INCEpTION): sentences, tokens and named entities over one text, offsets in UTF-16."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Any

from ..rows import InputError, Place, bad_input, show
from .base import File, Format, Guess, Options, Placed
from .counting import USUAL, Borders, Counting, Mention, TextRow, rows_of_texts

_UTF16 = Counting("UTF-16", False)
_KEY = "%FEATURE_STRUCTURES"
# Layers that say how a text is built, and what tools keep beside it.
_KNOWN = re.compile(r"\.(Sentence|Token)$|^uima\.|\bdkpro\.core\.api\.(?!ner\.)|\.clarin\.webanno\.api\.")


def detect(file: File) -> Guess | None:
    return Guess(1.0, _KEY) if file.any(lambda entry: _KEY in entry) else None


def read(file: File, options: Options) -> Placed:
    texts: list[tuple[Place, TextRow | InputError]] = []
    for place, entry in file.entries:
        try:
            texts.extend(
                (file.place(len(texts) + at, "row"), row) for at, row in enumerate(_rows(entry, place, options), 1)
            )
        except InputError as error:
            texts.append((place, error))
    return rows_of_texts(texts, options, usual=USUAL)


def _rows(entry: Any, place: Place, options: Options) -> list[TextRow]:
    structures = entry.get(_KEY) if isinstance(entry, dict) else None
    if not isinstance(structures, list) or not all(isinstance(structure, dict) for structure in structures):
        mend = "export it again as UIMA CAS JSON"
        bad_input(place, f"{_KEY} is {show(structures)}", allowed="a list of objects", mend=mend)
    sofas = [s["sofaString"] for s in structures if isinstance(s.get("sofaString"), str)]
    if len(sofas) != 1:
        mend = "export one document with its text"
        bad_input(place, f"{len(sofas)} texts (sofaString)", allowed="one", mend=mend)
    text = sofas[0]
    borders = Borders(text)
    layer, feature = _layer(structures, options, place)
    sentences, tokens, found = [], [], []
    for structure in structures:
        kind = str(structure.get("%TYPE", ""))
        is_entity = kind == layer
        if not (is_entity or kind.endswith((".Sentence", ".Token"))):
            continue
        mention = Mention(structure.get("begin", 0), structure.get("end"), structure.get(feature))
        cut = borders.cut(mention, _UTF16)
        if cut is None:
            problem = f"{kind.rpartition('.')[2]} [{mention.start}, {mention.end}) is no span of the text"
            mend = "offsets count UTF-16 code units: export it again"
            bad_input(place, problem, allowed=f"borders of its {len(text)} characters", mend=mend)
        if kind.endswith(".Sentence"):
            sentences.append(cut)
        elif not is_entity:
            tokens.append(cut)
        elif mention.label in (None, ""):
            options.told.add("spans without a label left out", f"{show(text[slice(*cut)])} in {place}")
        else:
            found.append((cut, mention.label))
    sentences, tokens = sorted(sentences) or [(0, len(text))], sorted(tokens)
    starts = [start for start, _ in tokens]
    begins = [start for start, _ in sentences]
    mentions: list[list[Mention]] = [[] for _ in sentences]
    for (start, end), label in sorted(found):
        at = bisect_right(begins, start) - 1
        if at < 0 or end > sentences[at][1]:
            problem = f"{show(label)} {show(text[start:end])} goes over the end of a sentence"
            bad_input(place, problem, allowed="spans within a sentence", mend="move the span, or join the sentences")
        mentions[at].append(Mention(start - begins[at], end - begins[at], label))
    rows = []
    for (start, end), inside in zip(sentences, mentions, strict=True):
        units = [text[a:b] for a, b in tokens[bisect_left(starts, start) : bisect_left(starts, end)]]
        if text[start:end].strip():
            rows.append(TextRow(text[start:end], inside, None, units or None))
    return rows


def _layer(structures: list[dict], options: Options, place: Place) -> tuple[str, str]:
    """The type of the entities and the feature of their labels."""
    features: dict[str, set[str]] = {}  # of each layer of spans, those that hold strings
    for structure in structures:
        if "end" in structure:  # a begin of 0 may be left out
            texts = {
                key
                for key, value in structure.items()
                if isinstance(value, str) and not key.startswith(("%", "@", "^"))
            }
            features.setdefault(str(structure.get("%TYPE")), set()).update(texts)
    layers = [kind for kind in sorted(features) if _is_custom(kind) or (features[kind] and not _KNOWN.search(kind))]
    candidates = sorted(layers, key=_is_named, reverse=True)
    layer, _, feature = (options.tag_column or "").partition("|")
    if layer:
        candidates = [kind for kind in candidates if kind == layer or kind.endswith(f".{layer}")] or [layer]
    if len(candidates) > 1:
        mend = f"name the one that counts: --tag_column {candidates[0]}"
        bad_input(place, f"several span layers: {', '.join(candidates)}", allowed="one layer", mend=mend)
    if not candidates:
        return "", "value"
    [found] = candidates
    if feature or _is_named(found):
        return found, feature or "value"
    holding = sorted(features.get(found, ()))
    if len(holding) != 1:
        mend = f"name it: --tag_column '{found}|FEATURE'"
        listed = ", ".join(holding) or "none"
        bad_input(place, f"the features of {found} are {listed}", allowed="one that holds labels", mend=mend)
    return found, holding[0]


def _is_custom(kind: str) -> bool:
    return _is_named(kind) or kind.startswith(("webanno.custom.", "custom."))


def _is_named(kind: str) -> bool:
    return kind.endswith(".NamedEntity")


FORMAT = Format(
    name="cas-json",
    tool="INCEpTION: UIMA CAS JSON 0.4",
    recognised="%FEATURE_STRUCTURES",
    trap="offsets count UTF-16; structures come in the order of their ids; spans without a value are told",
    detect=detect,
    read=read,
)
