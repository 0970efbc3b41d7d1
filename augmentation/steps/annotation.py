"""The extension labels of one row (S1-S3, S5): its entities, words and tags, asked for side by side."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from augmentation.llm.dialogue import Work, both, together
from augmentation.steps.asking import Annotation, AnnotationSettings, Range
from augmentation.steps.entities import ask_entities, entities_of
from augmentation.steps.pos import tags_of
from augmentation.steps.segmentation import words_of
from augmentation.steps.windows import windows


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
    answers, (words, tags) = yield from both(
        ask_entities(row_id, tokens, window, settings, counts["entities"]),
        _words_and_tags(row_id, tokens, window, settings, counts),
    )
    entities, dropped = entities_of(tokens, answers, words, settings, counts["entities"])
    return Annotation(entities, words, tags, dropped, counts)


def _words_and_tags(
    row_id: str, tokens: Sequence[str], window: Range, settings: AnnotationSettings, counts: dict[str, Counter[str]]
) -> Work[tuple[list[Range], list[tuple[int, int, str]]]]:
    words = yield from words_of(row_id, tokens, window, settings, counts["segmentation"])
    if "pos" not in settings.kinds or not words:
        return words, []
    tags = yield from tags_of(row_id, tokens, window, words, settings, counts["pos"])
    listed = set(words)
    cut_anew = {unit for start, end, _ in tags if (start, end) not in listed for unit in range(start, end)}
    return [word for word in words if cut_anew.isdisjoint(range(*word))], tags
