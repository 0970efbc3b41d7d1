"""The training rows of a cell that are no result of the augmentation as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmentation.review.decisions import DECISIONS_FILE, Decisions, apply_decisions, read_decisions, unmatched
from augmentation.settings import check_settings
from augmentation.steps.annotator import annotate_by_model
from augmentation.steps.teacher import TEACHER_FILE, label_precision
from modeling_knowfree.data.rows import Row, write_rows
from modeling_knowfree.data.stored import stored_object, stored_rows
from modeling_knowfree.files import sha256_of, write_whole

from .arguments import shaping_arguments
from .cells import Cell
from .fingerprints import encoder_fingerprint
from .finishing import finish, fit, tag_rows
from .laying_out import can_load
from .pool_rows import DOUBTFUL, by_both, by_gold_model, cross_fitted, without_disagreement
from .shares import share_of

if TYPE_CHECKING:
    from .run import Run

logger = logging.getLogger(__name__)


def make_rows(run: Run, cell: Cell) -> None:
    """
    Write the training rows of a cell that are not a result of the augmentation as it is, unless they are there:
    synthetic sentences that a model annotates (S9, S10), a pool, a share, what is left where people reviewed.

    Raises:
        FileNotFoundError: a result of the augmentation is missing.
    """
    folder = run.augmented(cell.subset, cell.variant)
    annotator, pooled = run.settings.annotator_of(cell.variant), run.settings.pool_annotator(cell.variant)
    if cell.train_file.parent != cell.folder.parent:
        return
    reviewed = folder / DECISIONS_FILE
    decisions = read_decisions(reviewed) if reviewed.exists() else Decisions()
    settings = check_settings(run.augment_values(cell.subset, cell.variant), cell.variant)
    decided = decisions.rows.items()  # those of before have no text, and no other stamp for it
    verdicts = {
        "rows": {name: each.model_dump(exclude={"text"} if each.text is None else None) for name, each in decided}
    }
    made_from: list[Any] = [settings.annotator, settings.min_targets, verdicts]
    shared = run.settings.shared(cell.variant)
    if shared:
        made_from += [run.settings.share, cell.updates, cell.seed]
    if shared or (pooled and run.settings.student_rounds == 2):  # models on the way to the rows
        encoder = encoder_fingerprint(run.settings.model_name_or_path)
        made_from += [shaping_arguments(run.settings, cell.definition), encoder]
        if dev := run.settings.validation_file:
            made_from.append(sha256_of(Path(dev)))
    if annotator:
        made_from.append(_beside(run, cell, annotator).key())
    base = run.gold(cell.subset) if cell.definition.data == "gold" else folder / "fusion.jsonl"
    files = [base] + [synthetic_file(folder)] * (cell.definition.data == "train")
    if pooled:
        files.append(folder / "pool.jsonl")
        made_from += [pooled, run.settings.student_rounds, cell.updates]
        if pooled != "llm":
            made_from.append(_beside(run, cell, "base").key())
    made_from += map(sha256_of, files)
    stamp = cell.train_file.with_suffix(".sha256")
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    if cell.train_file.exists() and stamp.exists() and stamp.read_text() == key:
        return
    if told := unmatched(folder, decisions):
        logger.warning("%s: %s", reviewed, told)
    parts = [list(apply_decisions(stored_rows(path), decisions, Counter())) for path in files]
    if annotator:
        model = finished_model(run, cell, annotator)
        predicted = tag_rows(model.folder, parts[1])
        parts[1] = list(annotate_by_model(parts[1], predicted, settings.annotator, settings.min_targets))
    if pooled:
        parts[-1] = _annotated_pool(run, cell, pooled, list(chain.from_iterable(parts[:-1])), parts[-1])
    if shared:
        parts = [parts[0], share_of(cell, parts[0], list(chain.from_iterable(parts[1:])))]
    write_rows(cell.train_file, chain.from_iterable(parts))
    write_whole(stamp, key)


def _annotated_pool(run: Run, cell: Cell, annotator: str, others: list[Row], pool: list[Row]) -> list[Row]:
    """
    The pool's rows as a cell learns from them.

    Args:
        annotator: `llm`, `gold` or `agree`.
        others: the cell's rows that are not of the pool.
        pool: rows with the LLM's entities; bare for `gold`.
    """
    students = cell.folder.parent / f".students-{cell.seed}"

    def train(rows: Sequence[Row], name: str) -> Path:
        logger.info("%s %s seed %d: training %s", cell.subset, cell.variant, cell.seed, name)
        fit(cell, rows, students / name)
        return students / name

    two_rounds = run.settings.student_rounds == 2
    if annotator != "llm":
        model = finished_model(run, cell, "base").folder
        low = {"threshold": DOUBTFUL, "decoding": "all"} if annotator == "gold" else {}
        bare, predicted = pool, list(tag_rows(model, pool, **low))
        decoding = "nested" if run.settings.task == "nested_ner" else "flat"
        pool = by_gold_model(bare, predicted, decoding) if annotator == "gold" else by_both(bare, predicted)
        if annotator == "gold" and two_rounds:
            student = train([*others, *pool], "student")
            pool = by_gold_model(bare, list(tag_rows(student, bare, **low)), decoding)
    if annotator != "gold" and two_rounds:
        teacher = run.augmented(cell.subset, cell.variant) / TEACHER_FILE
        precision = label_precision(stored_object(teacher), run.settings.labels or ())
        pool, count = without_disagreement(pool, cross_fitted(others, pool, train), precision)
        logger.info("%s %s: %d spans of the pool left out", cell.subset, cell.variant, count)
    shutil.rmtree(students, ignore_errors=True)
    return pool


def finished_model(run: Run, cell: Cell, variant: str) -> Cell:
    """The cell of another variant beside this one, trained if it is not."""
    model = _beside(run, cell, variant)
    if model.result() is None or not can_load(model.folder):
        finish(model, run.test)
    return model


def _beside(run: Run, cell: Cell, variant: str) -> Cell:
    """The cell of another variant beside this one, with its training rows."""
    model = run.cell(cell.subset, variant, cell.seed, cell.updates)
    make_rows(run, model)
    return model


def synthetic_file(augmented: Path) -> Path:
    """Synthetic sentences of an augmentation: with the LLM's targets, or without any."""
    annotated = augmented / "synthetic.jsonl"
    return annotated if annotated.exists() else augmented / "sentences.jsonl"
