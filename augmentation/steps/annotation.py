"""Extension annotation of one row (S1-S3, S5): which questions are asked and what their answers become."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from augmentation.llm.dialogue import Work, both, together
from augmentation.llm.runner import Outcome
from augmentation.llm.tasks import Request, entities_request, pos_request, reask, segmentation_request, targets_request
from augmentation.steps.alignment import (
    Dropped,
    EntitySpan,
    UnitText,
    align_entities,
    align_in_order,
    align_tags,
    segment,
    spells,
)
from augmentation.steps.pos_tags import universal_tag
from augmentation.steps.windows import halves, windows

Range = tuple[int, int]


@dataclass(frozen=True)
class AnnotationSettings:
    """How rows are asked about.

    Attributes:
        language: of prompts and tag names: `zh`, `en`, `ja`, `ko`.
        unit: `character` or `word`; words are asked for only where units are characters.
        kinds: extension labels wanted, of `entities`, `pos`, `segmentation`.
        model: name of the model, for the keys of re-asks.
        window_units: longer rows are asked about in windows.
        max_tokens: of an answer, by task.
    """

    language: str
    unit: str
    kinds: frozenset[str]
    model: str
    window_units: int
    max_tokens: dict[str, int] = field(hash=False)


@dataclass(frozen=True)
class Annotation:
    """What the LLM says about a row: spans in units with raw entity types and universal tags; losses by task."""

    entities: list[EntitySpan]
    words: list[Range]
    tags: list[tuple[int, int, str]]
    dropped: list[Dropped]
    counts: dict[str, Counter[str]]


def annotate(row_id: str, tokens: Sequence[str], settings: AnnotationSettings) -> Work[Annotation]:
    """Entities, words and tags of one row, window by window."""
    parts = yield from together(
        [_annotate_window(row_id, tokens, window, settings) for window in windows(tokens, settings.window_units)]
    )
    counts: dict[str, Counter[str]] = {}
    for part in parts:
        for task, counter in part.counts.items():
            counts.setdefault(task, Counter()).update(counter)
    return Annotation(
        list(chain.from_iterable(part.entities for part in parts)),
        list(chain.from_iterable(part.words for part in parts)),
        list(chain.from_iterable(part.tags for part in parts)),
        list(chain.from_iterable(part.dropped for part in parts)),
        counts,
    )


def _annotate_window(
    row_id: str, tokens: Sequence[str], window: Range, settings: AnnotationSettings
) -> Work[Annotation]:
    counts = {task: Counter[str]() for task in ("entities", "segmentation", "pos")}

    def ask_entities(text: str, part: Range) -> Request:
        limit = settings.max_tokens["entities"]
        return entities_request(row_id, text, language=settings.language, max_tokens=limit)

    wants_entities = "entities" in settings.kinds
    answers, (words, tags) = yield from both(
        _asked(ask_entities, tokens, window, settings, counts["entities"]) if wants_entities else _nothing(),
        _words_and_tags(row_id, tokens, window, settings, counts),
    )
    spans: list[EntitySpan] = []
    dropped: list[Dropped] = []
    for (start, end), outcome in answers:
        if outcome.parsed is not None:
            pairs = [(item.entity, item.type) for item in outcome.parsed.value]
            typed = [pair for pair in pairs if pair[1].strip()]
            counts["entities"]["untyped"] += len(pairs) - len(typed)
            inside = [(w[0] - start, w[1] - start) for w in words if start <= w[0] and w[1] <= end]
            text = UnitText.from_tokens(tokens[start:end], settings.unit)
            aligned = align_entities(text, typed, inside if settings.unit == "character" else None)
            spans += [replace(span, start=span.start + start, end=span.end + start) for span in aligned.spans]
            dropped += aligned.dropped
            counts["entities"].update(aligned.counts)
    return Annotation(spans, words, tags, dropped, counts)


def _words_and_tags(
    row_id: str, tokens: Sequence[str], window: Range, settings: AnnotationSettings, counts: dict[str, Counter[str]]
) -> Work[tuple[list[Range], list[tuple[int, int, str]]]]:
    words = yield from _words(row_id, tokens, window, settings, counts["segmentation"])
    if "pos" not in settings.kinds or not words:
        return words, []
    return words, (yield from _tags(row_id, tokens, window, words, settings, counts["pos"]))


def _nothing() -> Work[list[tuple[Range, Outcome]]]:
    return []
    yield  # a generator without a question


def _asked(
    make: Callable[[str, Range], Request],
    tokens: Sequence[str],
    window: Range,
    settings: AnnotationSettings,
    counts: Counter[str],
    allowed: Callable[[int], bool] | None = None,
) -> Work[list[tuple[Range, Outcome]]]:
    """One question about a window; where the token limit cut the answer, about its halves, and so on down."""
    text = UnitText.from_tokens(tokens[slice(*window)], settings.unit).text
    [outcome] = yield [make(text, window)]
    counts["answers"] += 1
    if outcome.kind == "cut" or (outcome.parsed is not None and outcome.parsed.cut):
        parts = halves(tokens, *window, allowed)
        if len(parts) > 1:
            counts["split_windows"] += 1
            answers = yield from together([_asked(make, tokens, part, settings, counts, allowed) for part in parts])
            return list(chain.from_iterable(answers))
    counts["failed"] += outcome.parsed is None
    return [(window, outcome)]


def _words(
    row_id: str, tokens: Sequence[str], window: Range, settings: AnnotationSettings, counts: Counter[str]
) -> Work[list[Range]]:
    """S2. A word is a unit where units are words; else the LLM's words, which for characters are unit spans too."""
    if settings.unit == "word":
        return [(unit, unit + 1) for unit in range(*window)]
    if not settings.kinds & {"segmentation", "pos"}:
        return []

    def ask(text: str, part: Range) -> Request:
        limit = settings.max_tokens["segmentation"]
        return segmentation_request(row_id, text, language=settings.language, max_tokens=limit)

    words: list[Range] = []
    answers = yield from _asked(ask, tokens, window, settings, counts)
    for (start, end), outcome in answers:
        if outcome.parsed is None or outcome.answer is None:
            continue
        text = UnitText.from_tokens(tokens[start:end], settings.unit)
        named = outcome.parsed.value
        if not spells(text, named):
            counts["reasked"] += 1
            complaint = spelling_complaint(text.text, named)
            [second] = yield [reask(outcome.request, outcome.answer.text, complaint, model=settings.model)]
            if second.parsed is not None and not second.parsed.cut:
                named = second.parsed.value
        result = segment(text, named)
        counts["flagged"] += result.flagged
        counts["unplaced"] += result.unplaced
        counts["filled"] += result.filled
        words += [(start + word[0], start + word[1]) for word in result.words]
    counts["words"] += len(words)
    return words


def spelling_complaint(text: str, words: Sequence[str]) -> str:
    """What is wrong with words that do not spell the text, in words a model can act on."""
    squeezed, spelt = "".join(text.split()), "".join("".join(words).split())
    at = next(
        (i for i, (a, b) in enumerate(zip(squeezed, spelt, strict=False)) if a != b), min(len(squeezed), len(spelt))
    )
    expected, found = squeezed[at : at + 12], spelt[at : at + 12]
    return (
        f"the words joined together must be exactly the input; after {squeezed[max(0, at - 12) : at]!r} "
        f"the input goes on {expected!r}, the words {found!r}"
    )


def _tags(
    row_id: str,
    tokens: Sequence[str],
    window: Range,
    words: Sequence[Range],
    settings: AnnotationSettings,
    counts: Counter[str],
) -> Work[list[tuple[int, int, str]]]:
    """S3: one tag for each word, the missing ones asked for once more."""

    def ask(text: str, part: Range) -> Request:
        limit = settings.max_tokens["pos"]
        listed = [word_text(word) for word in words if part[0] <= word[0] and word[1] <= part[1]]
        return pos_request(row_id, text, listed, language=settings.language, max_tokens=limit)

    def word_text(word: Range) -> str:
        return UnitText.from_tokens(tokens[slice(*word)], settings.unit).text

    inside_words = {border for start, end in words for border in range(start + 1, end)}
    answers = yield from _asked(ask, tokens, window, settings, counts, lambda border: border not in inside_words)
    tags: list[tuple[int, int, str]] = []
    for (start, end), outcome in answers:
        listed = [word for word in words if start <= word[0] and word[1] <= end]
        counts["words"] += len(listed)
        if outcome.parsed is None:
            continue
        text = UnitText.from_tokens(tokens[start:end], settings.unit)
        spans = {(text.offsets[s - start][0], text.offsets[e - start - 1][1]): (s, e) for s, e in listed}
        result = align_tags(text, list(spans), [(item.word, item.pos) for item in outcome.parsed.value])
        counts["resegmented"] += result.resegmented
        for *span, tag in result.tagged:
            units = text.units((span[0], span[1]))
            counts["off_border"] += units is None
            if units:
                tags.append((units[0] + start, units[1] + start, universal_tag(tag, settings.language)))
        missing = [spans[word] for word in result.missing]
        if missing:
            counts["reasked"] += 1
            names = [word_text(word) for word in missing]
            limit = settings.max_tokens["pos"]
            [second] = yield [pos_request(row_id, text.text, names, language=settings.language, max_tokens=limit)]
            if second.parsed is not None:
                listed_text = UnitText.from_tokens(names, "word")
                again = [(item.word, item.pos) for item in second.parsed.value]
                for *span, tag in align_tags(listed_text, listed_text.offsets, again).tagged:
                    units = listed_text.units((span[0], span[1]))
                    if units and units[1] - units[0] == 1:
                        tags.append((*missing[units[0]], universal_tag(tag, settings.language)))
    counts["tagged"] += len(tags)
    counts["unknown_tags"] += sum(tag == "X" for *_, tag in tags)
    return sorted(tags)


@dataclass(frozen=True)
class TargetSettings:
    """What the annotator `llm` is told (S7): the label set, guidelines, and gold sentences as examples.

    `flat`: the task knows no overlapping targets.
    """

    labels: tuple[str, ...]
    examples: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    guidelines: str = ""
    flat: bool = False


def annotate_synthetic(
    row_id: str, tokens: Sequence[str], settings: AnnotationSettings, targets: TargetSettings | None
) -> Work[tuple[Annotation, Annotation | None]]:
    """Extensions of a synthetic row and, with `targets`, its target spans by the LLM, aligned as in S5."""
    if targets is None:
        return (yield from annotate(row_id, tokens, settings)), None
    annotation, answers = yield from both(
        annotate(row_id, tokens, settings), ask_targets(row_id, tokens, settings, targets)
    )
    return annotation, align_targets(tokens, answers, settings, targets)


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
            max_tokens=settings.max_tokens["targets"],
        )

    counts: Counter[str] = Counter()
    ranges = windows(tokens, settings.window_units)
    answers = yield from together([_asked(ask, tokens, window, settings, counts) for window in ranges])
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
            items = [(item.entity, item.type) for item in outcome.parsed.value]
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
