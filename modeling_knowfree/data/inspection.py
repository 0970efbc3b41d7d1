"""What a person should know about annotated files before anything trains on them: counts, examples, contradictions."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..units_knowfree import infer_unit, join_units
from .readers import Reading
from .rows import Row, span_sets

EXAMPLES, NEAR = 3, 24  # of a label; characters on each side
LISTED = 10  # findings of one kind that are shown; all are counted


class Example(NamedTuple):
    """A span in its text: the row's id, what stands before it, itself, and what follows, with … where that is cut."""

    id: str
    before: str
    mention: str
    after: str


@dataclass
class Finding:
    """Something odd: how often, and the first places."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.places) < LISTED:
            self.places.append(place)


@dataclass
class Inspection:
    """
    What one file holds.

    Attributes:
        name, format, why: the file, what it was read as, and why.
        told: what the reader left out, joined or found odd.
        sentences, units, unit, entities: how many of each, and what a unit is.
        labels: spans of each label, most frequent first.
        examples: of each label, up to three spans in their texts.
        without_entities: sentences that have none.
        nested, crossing, multi_label: span pairs inside one another, overlapping otherwise, and on one span.
        longest: id and units of the longest sentence.
        widths: units of the widest spans: median, 95th percentile, maximum.
        findings: what looks wrong, by kind.
    """

    name: str
    format: str
    why: str
    told: list[str]
    sentences: int
    units: int
    unit: str
    entities: int
    labels: dict[str, int]
    examples: dict[str, list[Example]]
    without_entities: int
    nested: int
    crossing: int
    multi_label: int
    longest: tuple[str, int]
    widths: dict[str, int]
    findings: dict[str, Finding]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        plain = asdict(self)
        plain["examples"] = {label: [example._asdict() for example in found] for label, found in self.examples.items()}
        return plain


def inspect(reading: Reading, name: str) -> Inspection:
    """Everything that one file tells; `reading.rows` have passed the row check."""
    rows = reading.rows
    unit = infer_unit(rows)
    spans = [span for row in rows for span in row["entities"]]
    labels = Counter(span["label"] for span in spans)
    widths = sorted(span["end"] - span["start"] for span in spans)
    longest = max(rows, key=lambda row: len(row["tokens"]))
    pairs = Counter(kind for row in rows for kind in _pairs(row["entities"]))
    return Inspection(
        name=name,
        format=reading.format.name,
        why=reading.why,
        told=reading.told,
        sentences=len(rows),
        units=sum(len(row["tokens"]) for row in rows),
        unit=unit,
        entities=len(spans),
        labels=dict(labels.most_common()),
        examples=_examples(rows, unit),
        without_entities=sum(not row["entities"] for row in rows),
        nested=pairs["nested"],
        crossing=pairs["crossing"],
        multi_label=pairs["multi_label"],
        longest=(longest["id"], len(longest["tokens"])),
        widths={
            "median": int(np.quantile(widths, 0.5, method="inverted_cdf")) if widths else 0,
            "p95": int(np.quantile(widths, 0.95, method="inverted_cdf")) if widths else 0,
            "max": widths[-1] if widths else 0,
        },
        findings=_findings(rows, unit),
    )


def compare(readings: Sequence[tuple[str, Sequence[Row]]]) -> dict[str, Finding]:
    """What files say of one another; the first is what will be trained on, the others what it is judged by."""
    found: dict[str, Finding] = defaultdict(Finding)
    first, trained = readings[0]
    known = {span["label"] for row in trained for span in row["entities"]}
    seen = {tuple(row["tokens"]): row["id"] for row in trained}
    for name, rows in readings[1:]:
        counts = Counter(span["label"] for row in rows for span in row["entities"])
        for label, count in counts.items():
            if label not in known:
                found[f"labels that {first} lacks"].add(f"{label} ({count} spans in {name})")
        for row in rows:
            if tuple(row["tokens"]) in seen:
                found[f"sentences that stand in {first} too"].add(f"{row['id']} in {name}")
    return dict(found)


def _examples(rows: Sequence[Row], unit: str) -> dict[str, list[Example]]:
    """Up to three spans a label, of different surface where there are."""
    found: dict[str, list[Example]] = defaultdict(list)
    spare: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        text = ""
        offsets: list[tuple[int, int]] = []
        for span in row["entities"]:
            examples = found[span["label"]]
            if len(examples) == EXAMPLES:
                continue
            if not offsets:
                text, offsets = join_units(row["tokens"], unit)
            start, end = offsets[span["start"]][0], offsets[span["end"] - 1][1]
            before, after = text[max(0, start - NEAR) : start], text[end : end + NEAR]
            before, after = "…" * (start > NEAR) + before, after + "…" * (end + NEAR < len(text))
            example = Example(row["id"], before, text[start:end], after)
            known = any(example.mention == other.mention for other in examples)
            (spare[span["label"]] if known else examples).append(example)
    for label, examples in found.items():
        examples += spare[label][: EXAMPLES - len(examples)]
    return dict(found)


def _pairs(spans: Sequence[dict[str, Any]]) -> Iterable[str]:
    ordered = sorted((span["start"], -span["end"]) for span in spans)
    for at, (start, end) in enumerate(ordered):
        for other_start, other_end in ordered[at + 1 :]:
            if other_start >= -end:
                break
            if (start, end) == (other_start, other_end):
                yield "multi_label"
            else:
                yield "nested" if other_end >= end else "crossing"


def _findings(rows: Sequence[Row], unit: str) -> dict[str, Finding]:
    found: dict[str, Finding] = defaultdict(Finding)
    first: dict[tuple[str, ...], Row] = {}
    labels_of: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        tokens = row["tokens"]
        twin = first.setdefault(tuple(tokens), row)
        if twin is not row:
            before, now = span_sets((twin, row))
            kind = "duplicate sentences" if before == now else "the same sentence with different labels"
            found[kind].add(f"{row['id']} and {twin['id']}")
        for span in row["entities"]:
            mention, _ = join_units(tokens[span["start"] : span["end"]], unit)
            labels_of[mention].setdefault(span["label"], row["id"])
            where = f"{mention!r:.60} ({span['label']}) in {row['id']}"
            if any(token.isspace() for token in (tokens[span["start"]], tokens[span["end"] - 1])):
                found["spans with white space at an edge"].add(where)
            elif _is_trimmed_wrongly(mention):
                found["spans with punctuation at an edge"].add(where)
            if _cuts_a_word(tokens, span["start"], unit) or _cuts_a_word(tokens, span["end"], unit):
                found["spans that end inside a word"].add(where)
    for mention, labels in labels_of.items():
        if len(labels) > 1:
            found["mentions with different labels"].add(
                f"{mention!r:.60}: " + ", ".join(f"{label} in {row_id}" for label, row_id in labels.items())
            )
    return dict(found)


_MARKS_OF_MENTIONS = frozenset("#@$%&*+°§\"'“”‘’「」『』《》()（）[]【】<>〈〉.!?！？-–—")
"""Punctuation that names, titles and quantities rightly begin or end with."""


def _is_trimmed_wrongly(mention: str) -> bool:
    edges = {mention[0], mention[-1]} - _MARKS_OF_MENTIONS
    return len(mention) > 1 and any(unicodedata.category(edge)[0] == "P" for edge in edges)


def _cuts_a_word(tokens: Sequence[str], border: int, unit: str) -> bool:
    """Whether letters or digits of one script stand on both sides of a border between characters."""
    if unit != "character" or not 0 < border < len(tokens):
        return False
    left, right = tokens[border - 1], tokens[border]
    return all(side.isascii() and side.isalpha() for side in (left, right)) or (left.isdigit() and right.isdigit())


def width_costs(rows: Sequence[Row], limits: Iterable[int] = (8, 16, 32, 64)) -> dict[int, int]:
    """For each `max_span_width` how many target spans are wider, up to the first that costs none."""
    widths = [span["end"] - span["start"] for row in rows for span in row["entities"]]
    costs = {limit: sum(width > limit for width in widths) for limit in limits}
    kept = {limit: cost for limit, cost in costs.items() if cost}
    free = next((limit for limit, cost in costs.items() if not cost), None)
    return {**kept, **({free: 0} if free else {})}


def summary(inspection: Inspection) -> list[str]:
    """Three lines: what the file was read as, how much it holds, and of which labels."""
    labels = ", ".join(f"{label} {count}" for label, count in inspection.labels.items())
    return [
        f"{inspection.name}: read as {inspection.format} ({inspection.why})",
        f"{inspection.sentences} sentences ({inspection.without_entities} without entities), "
        f"{inspection.units} {inspection.unit} units, {inspection.entities} entities",
        f"labels: {labels or 'none'}",
    ]


def details(inspection: Inspection) -> list[str]:
    """What follows the three lines, but for the examples."""
    lines = [
        f"longest sentence: {inspection.longest[0]}, {inspection.longest[1]} units",
        "span widths: " + ", ".join(f"{name} {value}" for name, value in inspection.widths.items()),
    ]
    if inspection.nested or inspection.crossing or inspection.multi_label:
        lines.append(
            f"overlaps: {inspection.nested} nested, {inspection.crossing} crossing, "
            f"{inspection.multi_label} on one span (train with --task nested_ner)"
        )
    return lines


def finding_lines(findings: dict[str, Finding]) -> list[str]:
    """A line a kind, then its first places."""
    lines = []
    for kind, finding in findings.items():
        lines.append(f"{finding.count} {kind}")
        lines += [f"    {place}" for place in finding.places]
        if finding.count > len(finding.places):
            lines.append(f"    … and {finding.count - len(finding.places)} more")
    return lines
