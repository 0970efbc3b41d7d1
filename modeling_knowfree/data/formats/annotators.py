"""Several annotators on one task: equal annotations are one, a ground truth decides, else the user is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..rows import Place, bad_input
from .base import Options
from .counting import Mention


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


def _key(annotation: Annotation) -> frozenset:
    return frozenset((str(m.start), str(m.end), str(m.label)) for m in annotation.mentions)
