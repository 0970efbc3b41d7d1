"""Segmentation (S2): the words of a row, named by the LLM where units are characters."""

from collections import Counter
from collections.abc import Sequence

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import Request, reask, segmentation_request
from augmentation.steps.alignment import UnitText, fit, segment, spells
from augmentation.steps.asking import AnnotationSettings, Range, asked


def words_of(
    row_id: str, tokens: Sequence[str], window: Range, settings: AnnotationSettings, counts: Counter[str]
) -> Work[list[Range]]:
    """A word is a unit where units are words; else the LLM's words, which for characters are unit spans too."""
    if settings.unit == "word":
        return [(unit, unit + 1) for unit in range(*window)]
    if not settings.kinds & {"segmentation", "pos"}:
        return []

    def ask(text: str, part: Range) -> Request:
        limit = settings.max_tokens["segmentation"]
        return segmentation_request(row_id, text, language=settings.language, max_tokens=limit)

    words: list[Range] = []
    answers = yield from asked(ask, tokens, window, settings, counts)
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
                named = max((named, second.parsed.value), key=lambda words: fit(text, words))
        result = segment(text, named)
        counts["flagged"] += result.flagged
        counts["unplaced"] += result.unplaced
        counts["filled"] += result.filled
        placed = [units for word in result.words if (units := text.units(word))]
        if len(placed) < len(result.words):
            counts["off_border"] += len(result.words) - len(placed)
        words += [(start + first, start + last) for first, last in placed]
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
