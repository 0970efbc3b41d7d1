"""Students beside the LLM that taught them: what both reach, and what they cost."""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from augmentation.steps.teacher import TEACHER_FILE
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.data.stored import stored_object, stored_rows

from ..run.results import FinishedRun
from ..run.settings import ASKED_FILE, augmented_folder
from ..run.variants import BASELINE
from .comparison import spread


@dataclass(frozen=True)
class Beside:
    """
    A student beside its teacher (S11): a variant that learnt from a pool and the LLM that tagged it.

    Args:
        teacher_f1, teacher_interval: of the LLM on the gold, in two folds.
        asked: texts of the pool that it answered.
        tokens: of 1,000 texts, low and high; the estimate of `plan`.
        usd: their price, where the settings have one.
        student_f1: on the test file, mean of the seeds.
        student_seconds: to tag 1,000 sentences where the run trained, mean of the seeds; None where nobody measured.
        curve: (texts asked, dev F1), the gold alone first.
    """

    subset: str
    variant: str
    teacher_f1: float
    teacher_interval: tuple[float, float]
    asked: int
    tokens: tuple[float, float]
    usd: tuple[float, float] | None
    student_f1: float
    student_seconds: float | None
    curve: list[tuple[int, float]]


def beside_teachers(run: FinishedRun) -> list[Beside]:
    """
    Every variant that learnt from a pool, beside the LLM that tagged it.

    Raises:
        InputError: a teacher.json is broken.
    """
    found = []
    for subset in run.subsets:
        for variant in run.variants(subset):
            cells = list(run.of(subset, variant).values())
            path = _teacher_of(run, subset, variant)
            if not cells[0].pool_rows or path is None:
                continue
            told = stored_object(path)
            try:
                texts = max(1, told.get("texts", told["requests"]))  # older ones do not say
                tokens, usd = ([1000 * low_high / texts for low_high in told.get(key, ())] for key in ("tokens", "usd"))
                low, high = told["intervals"]["f1"]
                timed = [cell.tag_seconds for cell in cells if cell.tag_seconds is not None]
                found.append(
                    Beside(
                        subset=subset,
                        variant=variant,
                        teacher_f1=told["f1"],
                        teacher_interval=(low, high),
                        asked=told["asked"],
                        tokens=(tokens[0], tokens[1]),
                        usd=(usd[0], usd[1]) if usd else None,
                        student_f1=spread([cell.f1 for cell in cells]).mean,
                        student_seconds=1000 * fmean(timed) / len(run.test_rows) if timed else None,
                        curve=_asked_curve(run, subset, variant, told["asked"]),
                    )
                )
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise InputError(f"{path}: {error!r}; run `knowfree run` again, it rebuilds the file") from error
    return found


def _teacher_of(run: FinishedRun, subset: str, variant: str) -> Path | None:
    """The teacher.json of the LLM that tagged a variant's pool; None without one, or where the gold model tagged it."""
    known = run.definition(variant)
    if known.pool == "gold":
        return None
    shared = "u" if known.data == "gold" else "fu"
    folders = [*(augmented_folder(run.folder, subset, name) for name in (variant, shared)), run.folder / subset]
    return next((path for folder in folders if (path := folder / TEACHER_FILE).is_file()), None)


def _asked_curve(run: FinishedRun, subset: str, variant: str, asked: int) -> list[tuple[int, float]]:
    path = run.folder / subset / ASKED_FILE
    rounds = stored_rows(path) if path.is_file() else ()
    points = {point["asked"]: point["dev_f1"] for point in rounds if point["variant"] == variant}
    for texts, name in ((0, BASELINE), (asked, variant)):
        scored = [cell.dev_f1 for cell in run.of(subset, name).values() if cell.dev_f1 is not None]
        if scored:
            points[texts] = spread(scored).mean
    return sorted((texts, f1) for texts, f1 in points.items() if f1 is not None)
