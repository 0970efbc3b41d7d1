"""The two branches of a synthetic sentence (S9): extension labels as ever, targets by whoever annotates."""

from collections.abc import Sequence

from augmentation.llm.dialogue import Work, both
from augmentation.steps.annotation import annotate
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.asking import Annotation, AnnotationSettings
from augmentation.steps.verification import annotate_targets


def annotate_synthetic(
    row_id: str, tokens: Sequence[str], settings: AnnotationSettings, targets: TargetSettings | None
) -> Work[tuple[Annotation, Annotation | None]]:
    """Extensions of a synthetic row and, with `targets`, its target spans by the LLM."""
    if targets is None:
        return (yield from annotate(row_id, tokens, settings)), None
    return (yield from both(annotate(row_id, tokens, settings), annotate_targets(row_id, tokens, settings, targets)))
