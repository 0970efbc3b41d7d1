"""WebAnno TSV 3 (INCEpTION, WebAnno): spans of several tokens and stacked ones share a number, `LOC[1]|ORG[2]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ..lines import Line
from ..rows import Place, Row, bad_input, show, triple
from .base import File, Format, Guess, Options, Placed, each

_FORMAT = "#FORMAT=WebAnno TSV 3"
_TOKEN = re.compile(r"(\d+)-(\d+)(\.\d+)?")
_NUMBERED = re.compile(r"(.*)\[(\d+)\]", re.DOTALL)
_ENTITY_LAYER = re.compile(r"NamedEntity$|(^|[._])NER?$|[Ee]ntit(y|ies)$")


class Feature(NamedTuple):
    layer: str
    name: str
    column: int


@dataclass
class Numbers:
    """The numbers of annotations so far, and the label of each that the last token had."""

    seen: set[str] = field(default_factory=set)
    last: dict[str, str] = field(default_factory=dict)


def detect(file: File) -> Guess | None:
    if file.first_lines and file.first_lines[0].startswith("#FORMAT=WebAnno TSV"):
        return Guess(1.0, file.first_lines[0].strip())
    tokens = [text for text in file.first_lines if not text.startswith("#")]
    if tokens and all(re.match(r"\d+-\d+(\.\d+)?\t\d+-\d+\t", text) for text in tokens[:20]):
        return Guess(0.95, "lines such as 1-1 0-3 token")
    return None


def read(file: File, options: Options) -> Placed:
    lines = list(file.lines())
    first = next(line for line in lines if line.text.strip())
    if not first.text.startswith(_FORMAT):
        problem = f"the first line is {show(first.text)}"
        bad_input(file.place(first.number), problem, allowed=f"{_FORMAT}.x", mend="export it again as WebAnno TSV 3")
    feature = _feature(lines, file, options)

    before = Numbers()

    def row(block: Sequence[Line], place: Place) -> Row | None:
        return _sentence(block, place, file, feature, options, before)

    def blocks() -> Iterator[tuple[Place, list[Line]]]:
        for blank, block in groupby(lines, key=lambda line: not line.text.strip()):
            run = [line for line in block if not line.text.startswith("#") or _TOKEN.match(line.text)]
            if not blank and run:
                yield file.place(run[0].number), run

    return each(blocks(), row)


def _feature(lines: Sequence[Line], file: File, options: Options) -> Feature:
    """The column of the labels: `value` of the entity layer, the only feature of the only layer, or the one named."""
    features: list[Feature] = []
    column = 3
    for line in lines:
        if not line.text.startswith("#T_"):
            if line.text.strip() and not line.text.startswith("#"):
                break
            continue
        kind, _, declared = line.text.rstrip().partition("=")
        layer, *names = declared.split("|")
        if kind != "#T_SP":
            options.told.add("layers of chains or relations left out", layer)
            column += len(names)
            continue
        features.extend(Feature(layer, name, column + at) for at, name in enumerate(names))
        column += max(1, len(names))
        if not names:
            features.append(Feature(layer, "", column - 1))
    if options.tag_column is not None:
        named = [
            f for f in features if options.tag_column in (f.name, f.layer, f"{f.layer}|{f.name}", str(f.column + 1))
        ]
        candidates = named
    else:
        spans = [feature for feature in features if _ENTITY_LAYER.search(feature.layer)] or features
        candidates = [feature for feature in spans if feature.name == "value"] or spans
    if len(candidates) != 1:
        shown = ", ".join(f"{feature.layer}|{feature.name}" for feature in features) or "none"
        mend = "name the one that holds the labels: --tag_column LAYER|FEATURE"
        bad_input(file.place(), f"the features of spans are {shown}", allowed="one that holds labels", mend=mend)
    chosen = candidates[0]
    for left_out in dict.fromkeys(feature.layer for feature in features if feature.layer != chosen.layer):
        options.told.add("span layers left out", left_out)
    return chosen


def _sentence(
    block: Sequence[Line], place: Place, file: File, feature: Feature, options: Options, before: Numbers
) -> Row | None:
    tokens: list[str] = []
    spans: dict[str, Row] = {}
    for line in block:
        columns = line.text.split("\t")
        match = _TOKEN.fullmatch(columns[0])
        at = file.place(line.number)
        if match is None or len(columns) <= feature.column:
            problem = f"{show(line.text)} is no token with {feature.column + 1} columns"
            mend = "export it again, or correct the line"
            bad_input(at, problem, allowed="1-1, 0-3, token, values by tabs", mend=mend)
        if match[3]:
            if columns[feature.column] not in ("_", "*"):
                options.told.add("annotations of parts of tokens left out", f"{show(line.text)} at {at}")
            continue
        tokens.append(_unescaped(columns[2]))
        for number, value in enumerate(_split(columns[feature.column])):
            if value == "_":
                continue
            numbered = _NUMBERED.fullmatch(value) if not value.endswith("\\]") else None
            label = _unescaped(numbered[1] if numbered else value)
            if label == "*":
                options.told.add("spans without a label left out", f"{show(tokens[-1])} at {at}")
                continue
            key = f"[{numbered[2]}]" if numbered else f"{len(tokens)} {number}"
            span = spans.setdefault(key, {"start": len(tokens) - 1, "end": len(tokens), "label": label})
            if span["label"] != label or len(tokens) - span["end"] > 1:
                problem = f"annotation {key} is {span['label']!r} and {label!r}, or has a gap"
                bad_input(at, problem, allowed="one label, tokens in a row", mend="export it again")
            span["end"] = len(tokens)
    _check_numbers(
        {key: span for key, span in spans.items() if key.startswith("[")}, len(tokens), before, place, options
    )
    distinct = {triple(span): span for span in spans.values()}
    return {"id": None, "tokens": tokens, "entities": list(distinct.values())} if tokens else None


def _check_numbers(spans: dict[str, Row], length: int, before: Numbers, place: Place, options: Options) -> None:
    """A number that returns is of one annotation where it goes on with the sentence, else it was counted anew."""
    over = next(
        (key for key, span in spans.items() if span["start"] == 0 and before.last.get(key) == span["label"]), ""
    )
    back = [key for key in spans if key in before.seen and key != over]
    before.seen.update(spans)
    before.last = {key: span["label"] for key, span in spans.items() if span["end"] == length}
    if over:
        problem = f"annotation {over} {show(spans[over]['label'])} goes over the end of a sentence"
        bad_input(place, problem, allowed="annotations within a sentence", mend="split it, or join the sentences")
    if back:
        what = "numbers of annotations return in a later sentence and are taken for others"
        options.told.add(what, f"{back[0]} at {place}", len(back))


def _split(value: str) -> list[str]:
    return re.split(r"(?<!\\)\|", value)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"t": "\t", "n": "\n", "r": "\r"}.get(match[1], match[1]), text)


FORMAT = Format(
    name="webanno",
    tool="INCEpTION, WebAnno 3: TSV 3",
    recognised="#FORMAT=WebAnno TSV 3",
    trap="stacked spans LOC[1]|ORG[2], `*` and `_`, escapes; offsets count UTF-16 and nothing needs them",
    detect=detect,
    read=read,
    aliases=("webanno-tsv3", "webanno-tsv"),
)
