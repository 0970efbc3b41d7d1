"""Several annotators on one task: equal annotations are one, a ground truth decides, else the user is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..rows import Place, bad_input
from .base import Options
from .counting import Mention

_WHO = ("annotator", "annotated_by", "user", "user_id")  # keys of span objects: doccano 1.x, LightTag


class Annotation(NamedTuple):
    """What one annotator said about a task."""

    annotator: str
    mentions: list[Mention]
    is_ground_truth: bool = False


def decided(annotations: Sequence[Annotation], options: Options, place: Place, task: str) -> list[Mention]:
    """
    The mentions that count for a task.

    Raises:
        InputError: annotations differ, none or several of them are ground truth, and `--annotator` names none of them.
    """
    if len(annotations) == 1:
        return annotations[0].mentions
    distinct: list[Annotation] = []
    for annotation in annotations:
        if all(_key(annotation) != _key(other) for other in distinct):
            distinct.append(annotation)
    if len(distinct) == 1:
        options.told.add("tasks were annotated alike by several and are one row", task)
        return distinct[0].mentions
    truths = [annotation for annotation in distinct if annotation.is_ground_truth]
    if len(truths) == 1:
        options.told.add("tasks with differing annotations, of which the ground truth counts", task)
        return truths[0].mentions
    mine = [annotation for annotation in distinct if annotation.annotator == options.annotator]
    if len(mine) == 1:
        options.told.add(f"tasks with differing annotations, of which that of {options.annotator} counts", task)
        return mine[0].mentions
    names = ", ".join(dict.fromkeys(annotation.annotator for annotation in annotations))
    problem = f"{task} has {len(distinct)} differing annotations, by {names}"
    mend = f"mark one as ground truth in the tool, or name an annotator: --annotator {distinct[0].annotator}"
    bad_input(place, problem, allowed="one annotation a task, or equal ones", mend=mend)


def annotators_of(span: Any) -> list[str]:
    """Who made a span, where its object says so."""
    said = next((span[key] for key in _WHO if span.get(key) is not None), None) if isinstance(span, dict) else None
    names = [
        one.get("annotator") if isinstance(one, dict) else one for one in (said if isinstance(said, list) else [said])
    ]
    return [str(name) for name in names if name is not None]


def decided_by_span(
    said: Sequence[tuple[list[str], Mention]], options: Options, place: Place, task: str
) -> list[Mention]:
    """The mentions that count for a task of which each span says who made it. Raises InputError as `decided` does."""
    names = dict.fromkeys(name for who, _ in said for name in who)
    if len(names) < 2:
        return [mention for _, mention in said]
    annotations = [Annotation(name, [mention for who, mention in said if name in who or not who]) for name in names]
    return decided(annotations, options, place, task)


def _key(annotation: Annotation) -> frozenset:
    return frozenset((str(m.start), str(m.end), str(m.label)) for m in annotation.mentions)
