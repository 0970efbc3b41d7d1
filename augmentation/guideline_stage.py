"""Guidelines of a run folder (S11): which lie there, and how the LLM is asked for those that do not."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from augmentation.llm.dialogue import Finished, Stage, StoppedError, Unanswered, Work, finished, replay
from augmentation.llm.runner import Progress, Runner
from augmentation.llm.tasks import Example
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.asking import AnnotationSettings
from augmentation.steps.guideline import (
    GUIDELINE_FILES,
    MOST_CHARACTERS,
    Guideline,
    induce_guideline,
    read_guidelines,
)
from modeling_knowfree.files import write_whole

logger = logging.getLogger(__name__)


class GuidelineStage:
    """
    Args:
        folder: of the run; the guidelines lie there.
        annotation: how rows are asked about.
        targets: labels and descriptions.
        shown: by part, a key of `GUIDELINE_FILES`, the gold that its guideline is induced from.

    Raises:
        InputError: see `read_guidelines`.
    """

    def __init__(
        self,
        folder: Path,
        runner: Runner,
        annotation: AnnotationSettings,
        targets: TargetSettings,
        shown: Mapping[str | int, Sequence[Example]],
    ) -> None:
        self.folder = folder
        self.runner = runner
        self.annotation = annotation
        self.targets = targets
        self.shown = shown
        there = read_guidelines(folder) if shown else {}
        self.told = {part: text for part, text in there.items() if part in shown}
        """By part what its file says, as people left it."""

    def _work(self, part: str | int) -> Work[Guideline | None]:
        return induce_guideline(f"guideline-{part}", self.shown[part], self.annotation, self.targets)

    def works(self) -> Iterator[Work[Guideline | None]]:
        """The questions about what does not lie in the folder yet."""
        return (self._work(part) for part in self.shown if part not in self.told)

    def ask(self, stage: Stage) -> None:
        """
        Have the missing ones written into the folder.

        Raises:
            StoppedError: budget or Ctrl-C; the LLM gave none; or they are there now, and are to be read first.
        """
        missing = [part for part in self.shown if part not in self.told]
        if not missing:
            return
        stage("guideline", self.works)
        told = [finished(self._work(part), self.runner).value for part in missing]
        paths = [self.folder / GUIDELINE_FILES[part] for part in missing]
        for path, guideline in zip(paths, told, strict=True):
            if guideline and guideline.left_out is not None:
                what = f"is left out: {guideline.left_out[:200]!r}" if guideline.left_out else "is all there is"
                logger.warning(
                    "%s: cut by max_tokens (guideline) or at %d characters; its unfinished last line %s",
                    path,
                    MOST_CHARACTERS,
                    what,
                )
        texts = [guideline.text for guideline in told if guideline and guideline.text]
        if len(texts) < len(paths):
            reason = (
                f"the LLM gave no guideline: ask it again (knowfree augment retry-failed {self.folder}), write one "
                f"into {paths[0]}, or leave induce_guideline out"
            )
            raise StoppedError(Progress(planned=None, outcome="stopped", reason=reason))
        for path, text in zip(paths, texts, strict=True):
            write_whole(path, f"{text}\n")
        probe = " (the probe goes by those beside it, each from one fold alone)" if len(self.shown) > 1 else ""
        reason = (
            f"read {self.folder / GUIDELINE_FILES['all']}, which the LLM wrote from the gold, and mend it{probe}; then "
            "run the same command again to tag by it"
        )
        raise StoppedError(Progress(planned=None, outcome="stopped", reason=reason))

    def induced(self) -> list[Finished[Guideline | None]]:
        """What the LLM wrote, from stored answers."""
        told = [replay(self._work(part), self.runner.outcome) for part in self.shown]
        return [done for done in told if not isinstance(done, Unanswered)]
