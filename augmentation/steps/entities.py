"""Entities (S1): (entity, type) pairs named by the LLM, aligned with the text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from augmentation.llm.dialogue import Work
from augmentation.llm.outcome import Outcome
from augmentation.llm.tasks import Request, entities_request
from augmentation.steps.alignment import Dropped, EntitySpan, UnitText, align_entities
from augmentation.steps.asking import AnnotationSettings, Range, asked

Answers = list[tuple[Range, Outcome]]


def ask_entities(
    row_id: str, tokens: Sequence[str], window: Range, settings: AnnotationSettings, counts: Counter[str]
) -> Work[Answers]:
    """The answers about a window, or about its parts; none where entities are not wanted."""
    if "entities" not in settings.kinds:
        return []

    def ask(text: str, part: Range) -> Request:
        limit = settings.max_tokens["entities"]
        return entities_request(row_id, text, language=settings.language, max_tokens=limit)

    return (yield from asked(ask, tokens, window, settings, counts))


def entities_of(
    tokens: Sequence[str],
    answers: Answers,
    words: Sequence[Range],
    settings: AnnotationSettings,
    counts: Counter[str],
) -> tuple[list[EntitySpan], list[Dropped]]:
    """Answers as spans of the row; in text of characters an occurrence that splits one of the `words` yields."""
    spans: list[EntitySpan] = []
    dropped: list[Dropped] = []
    for (start, end), outcome in answers:
        if outcome.parsed is None:
            continue
        pairs = [(item.entity, item.type) for item in outcome.parsed.value]
        typed = [pair for pair in pairs if pair[1].strip()]
        counts["untyped"] += len(pairs) - len(typed)
        inside = [(w[0] - start, w[1] - start) for w in words if start <= w[0] and w[1] <= end]
        text = UnitText.from_tokens(tokens[start:end], settings.unit)
        aligned = align_entities(text, typed, inside if settings.unit == "character" else None)
        spans += [replace(span, start=span.start + start, end=span.end + start) for span in aligned.spans]
        dropped += aligned.dropped
        counts.update(aligned.counts)
    return spans, dropped
