"""A second look at the targets that the LLM put on a text (S7, ours): it is asked about each span, its label and its
borders, and what it takes back is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import verify_targets_request
from augmentation.steps.annotator import TargetSettings, align_targets, ask_targets
from augmentation.steps.asking import Annotation, AnnotationSettings
from augmentation.steps.windows import windows
from modeling_knowfree.units_knowfree import join_units


def annotate_targets(
    row_id: str, tokens: Sequence[str], settings: AnnotationSettings, targets: TargetSettings
) -> Work[Annotation]:
    """The targets of a row by the LLM, aligned as in S5, with `targets.verify` looked at a second time."""
    answers = yield from ask_targets(row_id, tokens, settings, targets)
    annotation = align_targets(tokens, answers, settings, targets)
    return (yield from verified(row_id, tokens, annotation, settings, targets)) if targets.verify else annotation


def verified(
    row_id: str, tokens: Sequence[str], annotation: Annotation, settings: AnnotationSettings, targets: TargetSettings
) -> Work[Annotation]:
    """
    The annotation without the spans that the LLM rejects, asked window by window about all spans of one.

    Its `counts` gain `verify_targets`: `answers`, `failed` of them; spans `confirmed`, `rejected`, and `unanswered`
    (in no usable answer), which stay.
    """
    ranges = windows(tokens, settings.window_units)
    inside = [[s for s in annotation.entities if start <= s.start and s.end <= end] for start, end in ranges]
    asked = [(window, spans) for window, spans in zip(ranges, inside, strict=True) if spans]
    if not asked:
        return annotation

    def text(start: int, end: int) -> str:
        return join_units(tokens[start:end], settings.unit)[0]

    outcomes = yield [
        verify_targets_request(
            row_id,
            text(*window),
            [(text(span.start, span.end), span.type) for span in spans],
            targets.labels,
            targets.examples,
            language=settings.language,
            guidelines=targets.guidelines,
            descriptions=targets.descriptions,
            max_tokens=settings.max_tokens["verify_targets"],
        )
        for window, spans in asked
    ]
    counts = Counter(answers=len(outcomes), failed=sum(outcome.parsed is None for outcome in outcomes))
    rejected = []
    for (_, spans), outcome in zip(asked, outcomes, strict=True):
        verdicts: dict[int, bool | None] = {}
        for item in outcome.parsed.value if outcome.parsed else ():  # of two that contradict each other none counts
            verdicts[item.number] = item.right if verdicts.get(item.number, item.right) == item.right else None
        for number, span in enumerate(spans, start=1):
            right = verdicts.get(number)
            counts["unanswered" if right is None else "confirmed" if right else "rejected"] += 1
            rejected += [span] if right is False else []
    kept = [span for span in annotation.entities if span not in rejected]
    return replace(annotation, entities=kept, counts=annotation.counts | {"verify_targets": counts})
