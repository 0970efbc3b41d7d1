"""Who puts targets on text (S7): the LLM, told the label set and gold sentences; a trained model; or both."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from augmentation.llm.dialogue import Work, together
from augmentation.llm.outcome import Outcome
from augmentation.llm.tasks import Example, Request, package_version, targets_request
from augmentation.steps.alignment import Dropped, EntitySpan, UnitText, align_in_order
from augmentation.steps.asking import Annotation, AnnotationSettings, Range, asked
from augmentation.steps.label_merging import normal_form
from augmentation.steps.windows import windows
from modeling_knowfree.data.rows import Row
from modeling_knowfree.files import sha256_of
from modeling_knowfree.units_knowfree import join_units

SWAPPED = "mentions"
"""The annotator of gold sentences with other mentions: their spans are gold's, and no model replaces them."""


@dataclass(frozen=True)
class TargetSettings:
    """What the annotator `llm` is told (S7): the label set, guidelines, and gold sentences as examples.

    `flat`: the task knows no overlapping targets. `descriptions`: (label, what it means). `verify`: it looks
    at its spans a second time.
    """

    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    guidelines: str = ""
    flat: bool = False
    descriptions: tuple[tuple[str, str], ...] = ()
    verify: bool = False

    def label_of(self, named: str) -> str | None:
        """The label that is meant by a name: itself, or the one that differs in case, white space, - and _ alone."""
        if named in self.labels:
            return named
        meant = [label for label in self.labels if _loosely(label) == _loosely(named)]
        return meant[0] if len(meant) == 1 else None

    def guided(self, guideline: str | None) -> "TargetSettings":
        """With a guideline that the LLM induced before those that people gave."""
        return replace(self, guidelines="\n".join(filter(None, (guideline, self.guidelines))))


def _loosely(label: str) -> str:
    return " ".join(normal_form(label).replace("_", " ").replace("-", " ").split())


def gold_pairs(row: Mapping[str, Any], unit: str) -> tuple[tuple[str, str], ...]:
    """The targets of a row as text and label, in order of start and end."""
    ordered = sorted(row["entities"], key=lambda span: (span["start"], span["end"]))
    return tuple((join_units(row["tokens"][span["start"] : span["end"]], unit)[0], span["label"]) for span in ordered)


def ask_targets(
    row_id: str, tokens: Sequence[str], settings: AnnotationSettings, targets: TargetSettings
) -> Work[list[tuple[Range, Outcome]]]:
    """Task `targets` on a row, window by window."""

    def ask(text: str, part: Range) -> Request:
        return targets_request(
            row_id,
            text,
            targets.labels,
            targets.examples,
            language=settings.language,
            guidelines=targets.guidelines,
            descriptions=targets.descriptions,
            max_tokens=settings.max_tokens["targets"],
        )

    counts: Counter[str] = Counter()
    ranges = windows(tokens, settings.window_units)
    answers = yield from together([asked(ask, tokens, window, settings, counts) for window in ranges])
    return list(chain.from_iterable(answers))


def align_targets(
    tokens: Sequence[str],
    answers: Sequence[tuple[Range, Outcome]],
    settings: AnnotationSettings,
    targets: TargetSettings,
) -> Annotation:
    """Target spans, an item an occurrence in the order of the answer (S5); labels outside the set are dropped."""
    counts = Counter(answers=len(answers), failed=sum(outcome.parsed is None for _, outcome in answers))
    spans: list[EntitySpan] = []
    dropped: list[Dropped] = []
    for (start, end), outcome in answers:
        if outcome.parsed is not None:
            items = [(item.entity, targets.label_of(item.type) or item.type) for item in outcome.parsed.value]
            unknown = [Dropped(*item, "unknown_label") for item in items if item[1] not in targets.labels]
            counts["unknown_label"] += len(unknown)
            text = UnitText.from_tokens(tokens[start:end], settings.unit)
            known = [item for item in items if item[1] in targets.labels]
            aligned = align_in_order(text, known, flat=targets.flat)
            spans += [replace(span, start=span.start + start, end=span.end + start) for span in aligned.spans]
            dropped += unknown + aligned.dropped
            counts.update(aligned.counts)
    spans.sort(key=lambda span: (span.start, span.end))
    return Annotation(spans, [], [], dropped, {"targets": counts})


def annotate_by_model(
    rows: Iterable[Row], predicted: Iterable[Sequence[Mapping[str, Any]]], annotator: str, min_targets: int = 0
) -> Iterator[Row]:
    """
    Synthetic rows with the targets that the frozen model found; they say so in `annotator`.

    Args:
        rows: fused synthetic rows; for `agree` their `entities` are the LLM's.
        predicted: by row the model's spans, with `start`, `end`, `label` and `score`.
        annotator: `fusion` or `gold`: the model's spans replace the row's, scores kept; `agree`: spans that both give
            count, those that one gives become `uncertain` and are left out of the loss. Rows whose spans are gold's
            (`SWAPPED`) stay as they are.
        min_targets: rows with fewer are dropped.
    """
    for row, spans in zip(rows, predicted, strict=True):
        if row.get("annotator") == SWAPPED:
            yield row
            continue
        found = [{key: span[key] for key in ("start", "end", "label", "score")} for span in spans]
        if annotator == "agree":
            told = {(span["start"], span["end"], span["label"]): span for span in row["entities"]}
            scored = {(span["start"], span["end"], span["label"]): span for span in found}
            doubtful = sorted(told.keys() ^ scored.keys())
            found = [scored[key] for key in sorted(told.keys() & scored.keys())]
            row = row | {"uncertain": [{"start": start, "end": end, "label": label} for start, end, label in doubtful]}
        if len(found) >= min_targets:
            yield row | {"entities": found, "annotator": annotator}


def model_provenance(name: str, weights: Path) -> dict[str, Any]:
    """The provenance of targets that a frozen model gave: one line for all synthetic sentences, `prompt_sha256` the
    hash of its weights."""
    from augmentation.review.export import provenance_features

    return dict.fromkeys(provenance_features()) | {
        "task": "targets",
        "model": name,
        "mode": "frozen model",
        "repaired": False,
        "prompt_id": "weights",
        "prompt_sha256": sha256_of(weights),
        "package_version": package_version(),
    }
