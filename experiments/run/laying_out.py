"""A finished cell laid out in a run folder as `knowfree push` takes it: `model/` and `augmented/`."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmentation.finished import mark_copy, recount
from augmentation.llm.store_file import hold
from augmentation.pipeline import STORE_FILE
from augmentation.review.decisions import DECISIONS_FILE
from augmentation.settings import FILES, change_settings, load_settings
from augmentation.steps.annotator import model_provenance
from modeling_knowfree.data.rows import InputError, write_rows
from modeling_knowfree.data.stored import stored_rows
from modeling_knowfree.files import followed, path_from
from modeling_knowfree.inference.tag import load_pipeline

from .finishing import finish
from .settings import AUGMENTED, LAYING_OUT, MODEL

if TYPE_CHECKING:
    from .cells import Cell
    from .run import Run

logger = logging.getLogger(__name__)


def lay_out(run: Run, result: Mapping[str, Any]) -> None:
    """Put a cell's model into `model/` and what it learnt from into `augmented/`, as `knowfree push` takes them: both
    are filled before the first takes its place, and a note tells `push` of a stop between the two. What people decided
    on the `augmented/` that lay there stays, unless later decisions come with what it learnt from.

    Raises:
        StoreError: someone is asking in the augmentation that it learnt from.
    """
    cell = run.cell(result["subset"], result["variant"], result["seed"], result["updates"])
    if not can_load(cell.folder):
        finish(cell, run.test)
    target, decided, note = followed(run.folder / AUGMENTED), run.folder / DECISIONS_FILE, run.folder / LAYING_OUT
    of_gold = cell.definition.data == "gold" and not cell.definition.pool
    source = run.augmented(cell.subset, cell.variant)
    with nullcontext() if of_gold else hold(source / STORE_FILE), ExitStack() as places:
        if not _is_copy(run.folder / MODEL, cell.folder):
            _copy(cell.folder, places.enter_context(_in_place_of(followed(run.folder / MODEL))))
        if not of_gold:
            work = places.enter_context(_in_place_of(target))
            _copy(source, work)
            mark_copy(work, target.name, path_from(target, source))
            _fill_in(run, cell, source, work, target)
        _move_if_newer(target / DECISIONS_FILE, decided)
        note.touch()
        if of_gold:
            shutil.rmtree(_set_aside(target), ignore_errors=True)
    note.unlink()
    if not of_gold:
        _move_if_newer(decided, target / DECISIONS_FILE)
        decided.unlink(missing_ok=True)
    elif decided.exists():
        logger.info("%s: decided on an augmentation; kept until one is laid out again", decided)


def _fill_in(run: Run, cell: Cell, source: Path, work: Path, target: Path) -> None:
    """Turn the copy `work` of an augmentation into what a cell learnt from, its files named from `target`."""
    settings = load_settings(source)
    files = {name: getattr(settings, name) for name in (*FILES, "pick_model")}
    moved = {name: path_from(target, source / path) for name, path in files.items() if path}
    change_settings(work, moved | {"answers": [path_from(target, source / path) for path in settings.answers]})
    annotator, pooled = run.settings.annotator_of(cell.variant), run.settings.pool_annotator(cell.variant)
    models = dict.fromkeys([annotator] * bool(annotator) + ["base"] * (pooled in ("gold", "agree")))
    if models:
        answers = list(stored_rows(source / "provenance.jsonl"))
        for name in models:
            weights = run.cell(cell.subset, str(name), cell.seed, cell.updates).folder / "model.safetensors"
            answers.append(model_provenance(f"{name} seed {cell.seed}", weights))
        write_rows(work / "provenance.jsonl", answers)
    if annotator or pooled or run.settings.shared(cell.variant):
        rows = list(stored_rows(cell.train_file))
        if cell.definition.data == "gold":  # gold rows as they stand in every other config
            rows = list(stored_rows(source / "fusion.jsonl")) + [row for row in rows if row.get("source") == "pool"]
        (work / "sentences.jsonl").unlink(missing_ok=True)
        write_rows(work / "train.jsonl", rows)
        for part in ["synthetic"] * (cell.definition.data == "train") + ["pool"] * bool(pooled):
            write_rows(work / f"{part}.jsonl", [row for row in rows if row["source"] == part])
        recount(work)


def can_load(folder: Path) -> bool:
    """Whether the model of a finished cell is whole; told where it is not, since it is trained again then."""
    try:
        load_pipeline(str(folder))
    except InputError as error:
        logger.warning("%s; it is trained again", error)
        return False
    return True


def _move_if_newer(path: Path, place: Path) -> None:
    if path.exists() and (not place.exists() or path.stat().st_mtime_ns > place.stat().st_mtime_ns):
        os.replace(path, place)


def _is_copy(copy: Path, folder: Path) -> bool:
    """Whether all files of a folder lie in what `_copy` made of it, which may hold more by now."""

    def stamp(path: Path) -> tuple[int, int] | None:
        return (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None

    return all(stamp(copy / path.relative_to(folder)) == stamp(path) for path in folder.rglob("*") if path.is_file())


def _copy(source: Path, target: Path) -> None:
    """A copy that takes no space: hard links where the file system has them. All that is linked is only ever replaced,
    never changed in place; a data base is, its log beside it too, and people's decisions may be: these are copied."""

    def link(path: str, copy: str) -> None:
        try:
            if not Path(path).name.startswith((STORE_FILE, DECISIONS_FILE)):
                return os.link(path, copy)
        except OSError:
            pass
        shutil.copy2(path, copy)

    shutil.copytree(source, target, copy_function=link)


@contextmanager
def _in_place_of(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of another when the block ends well; until then that is whole."""
    work = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    yield work
    old = _set_aside(folder)
    os.replace(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    """Move a folder out of its place, if it is there; where it lies now."""
    place = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(place, ignore_errors=True)
    if folder.exists():
        os.replace(folder, place)
    return place
