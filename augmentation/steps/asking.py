"""How a row is asked about: window by window, a cut answer again in halves."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from augmentation.llm.answers import strip_reasoning
from augmentation.llm.dialogue import Work, together
from augmentation.llm.outcome import Outcome
from augmentation.llm.tasks import Request
from augmentation.steps.alignment import Dropped, EntitySpan, UnitText
from augmentation.steps.windows import halves

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


def asked(
    make: Callable[[str, Range], Request],
    tokens: Sequence[str],
    window: Range,
    settings: AnnotationSettings,
    counts: Counter[str],
    allowed: Callable[[int], bool] | None = None,
) -> Work[list[tuple[Range, Outcome]]]:
    """One question about a window; where the token limit cut the answer, about its halves, and so on down.

    Not where no JSON of the answer had begun, as of models that think longer than `max_tokens`, in tags or without:
    halves would bring no more.
    """
    text = UnitText.from_tokens(tokens[slice(*window)], settings.unit).text
    [outcome] = yield [make(text, window)]
    counts["answers"] += 1
    if _was_cut(outcome):
        parts = halves(tokens, *window, allowed)
        if len(parts) > 1:
            counts["split_windows"] += 1

            def make_part(text: str, part: Range) -> Request:
                return replace(make(text, part), part_of=outcome.request)

            answers = yield from together([asked(make_part, tokens, part, settings, counts, allowed) for part in parts])
            return list(chain.from_iterable(answers))
    counts["failed"] += outcome.parsed is None
    if outcome.parsed is not None and outcome.parsed.misfits:
        counts["misfits"] += outcome.parsed.misfits
    return [(window, outcome)]


def _was_cut(outcome: Outcome) -> bool:
    """Whether the token limit ended JSON that had begun."""
    if outcome.parsed is not None:
        return outcome.parsed.cut
    said = strip_reasoning(outcome.answer.text) if outcome.answer is not None else ""
    return outcome.kind == "cut" and ("[" in said or "{" in said)
