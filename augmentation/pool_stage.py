"""The pool in a run folder (S11): probe, choose, ask, and the rows that come of it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from augmentation.estimate import Tally
from augmentation.llm.dialogue import Finished, Stage, StoppedError, Unanswered, Work, both, finished, replay
from augmentation.llm.runner import Progress, Runner
from augmentation.settings import Settings
from augmentation.steps.annotation import annotate
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.asking import Annotation, AnnotationSettings
from augmentation.steps.explanations import sentence_key
from augmentation.steps.picking import DOUBT_THRESHOLD, doubt_of, pick
from augmentation.steps.pool import Pool
from augmentation.steps.teacher import TEACHER_FILE, Teacher, label_precision, teacher_table
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.data.stored import stored_in, stored_object
from modeling_knowfree.files import write_whole
from modeling_knowfree.units_knowfree import join_units

PICKED_FILE = "picked.json"
PoolAnswer = tuple[Annotation, Annotation | None]
"""Extension annotation (empty where none is wanted) and target spans (None where a model gives them)."""


class PoolStage:
    """
    Args:
        folder: of the run; `teacher.json` and `picked.json` lie there.
        pool: its texts.
        gold: rows.
        annotation: how rows are asked about.
        targets: what the annotator is told.
        embed: the sentence encoder, called only where examples or texts have to be chosen by it.
        guidelines: that the LLM induced, see `Teacher`.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        runner: Runner,
        pool: Pool,
        gold: Sequence[Row],
        annotation: AnnotationSettings,
        targets: TargetSettings,
        embed: Callable[[Sequence[str]], np.ndarray],
        guidelines: Mapping[str | int, str],
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.runner = runner
        self.pool = pool
        self.embed = embed
        self.unit = annotation.unit
        kinds = annotation.kinds if settings.pool_extensions else frozenset()
        self.annotation = replace(annotation, kinds=kinds)
        self.teacher: Teacher | None = None
        if settings.pool_annotator == "llm":
            limit, seed = settings.target_examples, settings.seed
            self.teacher = Teacher(gold, annotation.unit, annotation, targets, limit, seed, embed, guidelines)

    # which texts

    def _text(self, row: Row) -> str:
        return join_units(row["tokens"], self.unit)[0]

    @cached_property
    def _keys(self) -> list[str]:
        return [sentence_key(self._text(row)) for row in self.pool.rows]

    def _kept(self) -> list[int]:
        """Places of the texts that were picked, in order; the first `ask` of them count. They are known by what stands
        in them: ids are lines, and lines move."""
        path = self.folder / PICKED_FILE
        if not path.is_file():
            return []
        picked = stored_object(path)
        names = self._keys if "texts" in picked else [row["id"] for row in self.pool.rows]  # older files have ids alone
        places = {name: at for at, name in enumerate(names)}
        with stored_in(path):
            told = picked["texts"] if "texts" in picked else picked["ids"]
            if not all(isinstance(name, str) for name in told):
                raise TypeError("a text or id is no string")
            return [places[name] for name in told if name in places]

    @property
    def chooses(self) -> bool:
        """Whether not all texts are asked about."""
        return self.settings.ask is not None and self.settings.ask < len(self.pool.rows)

    def picked(self) -> list[Row]:
        """The texts to ask about, in the order in which they were picked; all in the pool's order without `ask`."""
        if not self.chooses:
            return self.pool.rows
        return [self.pool.rows[at] for at in self._kept()[: self.settings.ask]]

    def choose(self) -> None:
        """Pick what `ask` wants beyond what was picked before, and note it: a rerun asks about the same texts."""
        kept = self._kept()
        if not self.chooses or len(kept) >= (self.settings.ask or 0):
            return
        how, texts = self.settings.pick, list(map(self._text, self.pool.rows))
        new = pick(
            (self.settings.ask or 0) - len(kept),
            texts,
            how=how,
            seed=self.settings.seed,
            taken=kept,
            doubts=model_doubts(str(self._picker), self.pool.rows) if self._needs_doubts else None,
            embed=self.embed,
        )
        picked = {
            "ids": [self.pool.rows[at]["id"] for at in (*kept, *new)],
            "texts": [self._keys[at] for at in (*kept, *new)],
        }
        write_whole(self.folder / PICKED_FILE, json.dumps(picked, ensure_ascii=False, indent=1) + "\n")

    @property
    def _needs_doubts(self) -> bool:
        return self.settings.pick in ("uncertain", "both")

    def check_picker(self) -> None:
        """
        To be called before anything is paid for.

        Raises:
            InputError: the texts are picked by a model's doubts, and there is no model.
        """
        missing = self.chooses and len(self._kept()) < (self.settings.ask or 0)
        if missing and self._needs_doubts and not (self.settings.pick_model and self._picker.is_dir()):
            told = f" and {self._picker} is no folder" if self.settings.pick_model else ""
            raise InputError(
                f"pick is {self.settings.pick}, which needs a model that doubts{told}: give --pick_model, a folder "
                "that `knowfree train` wrote, or let `knowfree run` train one; or take --pick random or diverse"
            )

    @property
    def _picker(self) -> Path:
        return self.folder / str(self.settings.pick_model)

    # the questions

    def probe_works(self) -> list[Work[Annotation]]:
        """The gold in two folds."""
        assert self.teacher is not None
        return [self.teacher.probe_work(at) for at in range(len(self.teacher.gold))]

    def work(self, row: Row) -> Work[PoolAnswer]:
        """All questions about a text of the pool."""
        targets = self.teacher.pool_work(row) if self.teacher else _no_targets()
        return both(annotate(row["id"], row["tokens"], self.annotation), targets)

    def _to_ask(self) -> list[Row]:
        """The texts to ask about; where fewer are picked than asked for, others stand for those still to be picked."""
        if not self.chooses:
            return self.pool.rows
        kept = self._kept()
        others = sorted(set(range(len(self.pool.rows))) - set(kept))
        return [self.pool.rows[at] for at in [*kept, *others][: self.settings.ask]]

    def works(self) -> Iterator[Work[PoolAnswer]]:
        """Of the texts to ask about; before they are picked, of so many."""
        rows = self._to_ask()
        if self.teacher:
            self.teacher.know(rows)
        return map(self.work, rows)

    def ask(self, stage: Stage) -> None:
        """
        Probe, look at the result, choose, ask.

        Raises:
            StoppedError: budget or Ctrl-C; or the teacher is worse than `min_teacher_f1`, or answers nothing.
        """
        if self.teacher:
            self.teacher.know(self.teacher.gold)
            stage("probe", self.probe_works)
            report = self.write_teacher()
            self._check_teacher(report)
        self.choose()
        try:
            stage("pool", self.works)
        finally:
            if self.teacher:
                self.write_teacher()

    def _check_teacher(self, report: dict[str, Any]) -> None:
        least, f1 = self.settings.min_teacher_f1, report["f1"]
        told = f"{self.folder / TEACHER_FILE} has the scores by label"
        if not report["predicted_spans"]:
            reason = f"the LLM found no span in the gold sentences, so nothing of the pool was asked; {told}"
        elif least is not None and f1 < least:
            reason = (
                f"the LLM's F1 on the gold is {f1:.3f}, under --min_teacher_f1 {least:g}, so nothing of the pool was "
                f"asked; {told}. Describe the labels (label_descriptions), mend the guidelines (an induced one in its "
                "two folds, which the probe goes by), take another model, or lower the limit"
            )
        else:
            return
        if failed := report["probe_failed"]:
            reason += f". {failed} of its answers cannot be used: knowfree augment retry-failed {self.folder}"
        raise StoppedError(Progress(planned=None, outcome="stopped", reason=reason))

    # the answers

    def _answered(self, work: Work[Any]) -> bool:
        return not isinstance(replay(work, self.runner.outcome), Unanswered)

    def probed(self) -> list[Finished[Annotation]]:
        """What the probe found, from stored answers."""
        return [finished(work, self.runner) for work in self.probe_works()]

    def write_teacher(self) -> dict[str, Any]:
        """Write teacher.json from the stored answers, and return what it holds."""
        assert self.teacher is not None
        probed = [done.value for done in self.probed()]
        verified = sum((found.counts.get("verify_targets", Counter()) for found in probed), Counter[str]())
        report = self.teacher.report(probed) | ({"probe_verified": verified} if self.settings.verify else {})
        report |= {
            "probe_failed": sum(found.counts["targets"]["failed"] for found in probed),
            "pool": self.pool.counts,
            "pool_texts": len(self.pool.rows),
            "texts": len(self._to_ask()),
            "asked": sum(map(self._answered, map(self.teacher.pool_work, self.picked()))),
        }
        tally = Tally.of(self.works(), lambda _: None)  # of all that is to be asked, answered or not
        if self.unit == "character" and "pos" in self.annotation.kinds:  # asked about the words of the segmentation
            tally.follow("segmentation", "pos")
        if self.settings.verify:  # at most: a text without targets is not looked at twice
            tally.follow("targets", "verify_targets")
        plan = tally.estimate(self.runner.purse.budget)
        report |= plan | {"plan": plan | {"tasks": dict(tally.missing)}}
        write_whole(self.folder / TEACHER_FILE, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
        return report

    def table(self) -> str:
        """teacher.json for people."""
        return teacher_table(stored_object(self.folder / TEACHER_FILE))

    def annotated(self) -> Iterator[tuple[Row, Finished[PoolAnswer]]]:
        """The texts asked about with what the LLM says of them, from stored answers."""
        return ((row, finished(self.work(row), self.runner)) for row in self.picked())

    def weights(self) -> dict[str, float] | None:
        """By label what a span of the teacher counts: half way from its measured precision to 1, so that the gold of no
        label falls under the threshold of a hit. None where spans count whole."""
        if self.teacher is None or not self.settings.pool_weights:
            return None
        report = self.teacher.report([done.value for done in self.probed()])
        precision = label_precision(report, self.teacher.targets.labels)
        return {label: round((1 + ratio) / 2, 4) for label, ratio in precision.items()}


def _no_targets() -> Work[None]:
    return None
    yield


def model_doubts(model: str, rows: Sequence[Row]) -> list[float]:
    """By row how unsure a trained tagger is of it."""
    from modeling_knowfree.inference.tag import load_pipeline, tag

    tokens = ({"tokens": row["tokens"]} for row in rows)
    tagged = tag(load_pipeline(model), tokens, batch_size=16, threshold=DOUBT_THRESHOLD, decoding="all")
    return [doubt_of(spans, len(row["tokens"])) for row, spans in tagged]
