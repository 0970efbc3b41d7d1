"""What a pass over annotated rows counts: classes of their entity types, outcomes by task, and what failed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from augmentation.kept import Told
from augmentation.llm.dialogue import AllFailedError
from augmentation.steps.asking import Annotation
from augmentation.steps.label_merging import LabelMap, TypeClass, type_classes
from modeling_knowfree.data.rows import write_rows


def mentions(value: tuple[Any, ...]) -> Iterable[tuple[str, str]]:
    """(entity, type) pairs of a row's annotation."""
    return dict.fromkeys((span.entity, span.type) for span in value[0].entities)


class Survey:
    """One pass over rows: classes of their entity types, counts by task, and what failed."""

    def __init__(self, rows: Iterable[Told]) -> None:
        self.rows = self.answered = 0
        self.failures: list[dict[str, Any]] = []
        self.failure_keys: list[str | None] = []
        self._counts: dict[str, Counter[str]] = {}
        self.classes = type_classes(pair for told in rows for pair in self._note(told))

    def _note(self, told: Told) -> Iterable[tuple[str, str]]:
        self.rows += 1
        self.answered += told.answered
        self.failures += told.failures
        self.failure_keys += told.failure_keys
        for part in told.value:
            for task, counter in (part.counts if isinstance(part, Annotation) else {}).items():
                self._counts.setdefault(task, Counter()).update(counter)
        return mentions(told.value)

    @property
    def counts(self) -> dict[str, Any]:
        """`rows`, and by task what `Annotation.counts` says."""
        by_task = {task: dict(sorted(counter.items())) for task, counter in sorted(self._counts.items()) if counter}
        return {"rows": self.rows} | by_task


def check_answered(surveys: Sequence[Survey], folder: Path) -> None:
    """
    Raises:
        AllFailedError: something was asked and no question got a usable answer; `failed.jsonl` of `folder` says why.
    """
    failures = [failure for survey in surveys for failure in survey.failures]
    if not failures or any(survey.answered for survey in surveys):
        return
    write_rows(folder / "failed.jsonl", failures)
    rows = sum(survey.rows for survey in surveys)
    raise AllFailedError(
        f"none of {len(failures)} questions about {rows} rows got a usable answer, so no results were written; the "
        f"first reason: {failures[0]['reason']}; all reasons are in "
        f"{folder / 'failed.jsonl'}; mend the cause, then: knowfree augment retry-failed {folder}"
    )


def type_counts(classes: Sequence[TypeClass], label_map: LabelMap) -> dict[str, Any]:
    return {
        "raw": len(label_map.types),
        "classes": len(classes),
        "standard": len(label_map.labels),
        "decided_by": label_map.shares(),
    }
