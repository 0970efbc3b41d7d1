"""A run with text without labels (S11): the pool, and the LLM asked in rounds."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmentation.pool_stage import PICKED_FILE
from augmentation.settings import COUNTS_FILE, STATE_FILE
from augmentation.steps.explanations import TokenStyle, sentence_key, sentence_keys
from augmentation.steps.pool import Pool, clean_pool, read_pool
from augmentation.steps.teacher import TEACHER_FILE
from augmentation.steps.texts import read_hub_texts
from modeling_knowfree.data.readers import iterate_rows
from modeling_knowfree.data.rows import Row, write_rows
from modeling_knowfree.data.stored import stored_object, stored_rows
from modeling_knowfree.files import path_from
from modeling_knowfree.units_knowfree import join_units

from .arguments import updates_of_recipe
from .finishing import finish, fit
from .settings import ASKED_FILE
from .variants import Variant

if TYPE_CHECKING:
    from .run import Run

logger = logging.getLogger(__name__)


def open_pool(run: Run, gold: Sequence[Row]) -> Pool:
    """
    The texts without labels that a subset may use.

    Raises:
        InputError: they cannot be read, or none is left.
    """
    settings, unit = run.settings, run.unit
    files = {"dev": settings.validation_file, "test": settings.test_file}
    held_out = {
        part: [
            key
            for row in iterate_rows(path, unit=unit, task=settings.task)
            for key in sentence_keys(join_units(row["tokens"], unit)[0], unit)
        ]
        for part, path in files.items()
        if path
    }
    known: dict[str, Any] = {"gold": gold, "held_out": held_out, "unit": unit, "language": settings.language}
    if settings.unlabeled_file:
        return read_pool(Path(settings.unlabeled_file), **known)
    return clean_pool(hub_texts(run), **known, name=f"--unlabeled_dataset_name {settings.unlabeled_dataset_name}")


def hub_texts(run: Run) -> list[Row]:
    """The texts of `unlabeled_dataset_name`."""
    return _hub_texts(str(run.settings.unlabeled_dataset_name), TokenStyle.of(run.train_rows, run.unit))


@cache
def _hub_texts(name: str, style: TokenStyle) -> list[Row]:
    return list(read_hub_texts(name, style.tokens, style.unit))


def ask_teacher(run: Run, subset: str, variant: str, budget: dict[str, Any], accept_changes: bool) -> None:
    """
    The augmentation with the LLM's targets for the pool, in rounds: train, pick, ask.

    Raises:
        StoppedError: budget, Ctrl-C, or a teacher under `min_teacher_f1`.
    """
    folder, settings = run.augmented(subset, variant), run.settings
    keys = {sentence_key(join_units(row["tokens"], run.unit)[0]) for row in run.pools[subset].rows}
    size = len(run.pools[subset].rows)
    total = size if settings.ask is None else min(settings.ask, size)
    rounds = settings.rounds if total < size else 1
    try:
        for number in range(1, rounds + 1):
            wanted, picked = math.ceil(total * number / rounds), _picked(folder, keys)
            if number < rounds and _finished(folder) >= wanted:
                continue
            changes: dict[str, Any] = {"ask": wanted} if number < rounds else {}
            if settings.picking in ("uncertain", "both") and picked < wanted < size:
                changes["pick_model"] = path_from(folder, _picking_model(run, subset, variant, number))
            run.augment(subset, variant, budget, accept_changes, changes)
    finally:
        if (folder / TEACHER_FILE).is_file():
            shutil.copyfile(folder / TEACHER_FILE, run.folder / subset / TEACHER_FILE)


def _finished(folder: Path) -> float:
    """How many texts the augmentation in a folder wanted when it last came to its end; 0 where it was interrupted."""
    if not ((folder / COUNTS_FILE).is_file() and (folder / STATE_FILE).is_file()):
        return 0
    ask = stored_object(folder / STATE_FILE)["settings"].get("ask")
    return math.inf if ask is None else ask


def _picked(folder: Path, pool: set[str]) -> int:
    """How many of the texts picked before are still in the pool, which are these keys."""
    path = folder / PICKED_FILE
    if not path.is_file():
        return 0
    picked = stored_object(path)
    return len(pool.intersection(picked["texts"])) if "texts" in picked else len(picked["ids"])


def _picking_model(run: Run, subset: str, variant: str, number: int) -> Path:
    """The model whose doubts choose the texts of a round: trained on gold, later on what was asked so far too."""
    rows = list(iterate_rows(run.gold(subset)))
    asked = list(stored_rows(run.augmented(subset, variant) / "pool.jsonl")) if number > 1 else []
    updates = run.settings.updates or updates_of_recipe(run.settings, Variant(), [*rows, *asked])
    cell = run.cell(subset, "base", run.settings.seeds[0], updates)
    if not asked and run.settings.updates:
        if cell.result() is None:
            finish(cell, run.test)
        return cell.folder
    folder = run.folder / subset / f".picker-{number}"
    texts = len({row.get("parent_id") or row["id"] for row in asked})  # a long one is several rows
    logger.info("%s: training on %d sentences and %d texts, to pick by", subset, len(rows), texts)
    dev_f1 = fit(cell, [*rows, *asked], folder)
    curve = run.folder / subset / ASKED_FILE
    points = list(stored_rows(curve)) if curve.is_file() else []
    points = [point for point in points if (point["variant"], point["asked"]) != (variant, texts)]
    write_rows(curve, [*points, {"variant": variant, "asked": texts, "dev_f1": dev_f1}])
    return folder
