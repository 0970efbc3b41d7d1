"""What `knowfree run` leaves in its folder, read back: cells, their predictions, the gold of the test file."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from modeling_knowfree.data.readers import InputError, read_file, read_rows
from modeling_knowfree.data.rows import Row, span_sets
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.settings import read_settings
from modeling_knowfree.units_knowfree import infer_unit

from .settings import RUN_FILE
from .variants import VARIANTS, Variant

logger = logging.getLogger(__name__)
RESULTS_FILE, PREDICTIONS_FILE = "results.jsonl", "test_predictions.jsonl"


def _folder_name(name: str) -> str:
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise ValueError("it names a folder of the run, so it may hold no path")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class LabelScores(BaseModel):
    """Of one label on the test file: ratios, gold spans (`support`) and predicted spans."""

    f1: Ratio
    precision: Ratio
    recall: Ratio
    support: Count
    predicted: Count


class LlmCost(BaseModel):
    """
    What it took where the LLM tagged the test file itself.

    Args:
        failed: texts without a usable answer; they count as without entities.
        unaligned: items of answers that have no place in their text.
        prompt_tokens, completion_tokens, usd: of all texts; null where the source does not tell (recorded answers).
        seconds_per_text: wall time of all texts over their number, with `concurrency` in flight (throughput, no
            latency); null where nothing was asked anew.
    """

    texts: Count
    failed: Count
    unaligned: Count
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    usd: Annotated[float, Field(ge=0)] | None = None
    seconds_per_text: Annotated[float, Field(ge=0)] | None = None
    concurrency: Count


class Result(BaseModel):
    """
    One line of results.jsonl: one training and its test scores. All ratios are in [0, 1].

    Args:
        dev_f1: null without a validation file.
        curve: (update, dev F1) pairs; empty without a validation file.
        train_rows: sentences trained on, of which `gold_rows`, `synthetic_rows` and `pool_rows`.
        tag_seconds: what tagging the test file took, without loading the model (with it, in lines of before).
        updates: optimizer steps; 0 where nothing is trained.
        llm: where the LLM tagged the test file itself, what that took.
        key: sha256 of everything that shaped the training and its scores.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    subset: FolderName
    variant: FolderName
    seed: int
    f1: Ratio
    precision: Ratio
    recall: Ratio
    macro_f1: Ratio
    dev_f1: Ratio | None = None
    curve: list[tuple[Count, Ratio]] = []
    train_rows: Count
    gold_rows: Count
    synthetic_rows: Count
    pool_rows: Count = 0
    updates: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    tag_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    llm: LlmCost | None = None
    per_label: dict[str, LabelScores]
    versions: dict[str, str] = {}
    key: str


def _check_line(line: bytes, where: str) -> Result:
    try:
        return Result.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        got = "" if first["type"] == "missing" else f", got {first['input']!r:.60}"
        raise InputError(f"{where}: {field}: {first['msg']}{got}; {_MEND}") from error


_MEND = "run `knowfree run` again, it rebuilds the file from the finished cells"


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Where each line stands, and the line; blank ones are skipped."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def usable_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a results.jsonl or cell.json, as they are. One that is no result is told of and left out; no file,
    no lines."""
    found = []
    for where, line in _lines(path) if path.is_file() else ():
        try:
            _check_line(line, where)
        except InputError as error:
            logger.warning("left out: %s", str(error).removesuffix(f"; {_MEND}"))
        else:
            found.append(json.loads(line))
    return found


def read_cells(path: Path) -> list[Result]:
    """
    The cells of a results.jsonl, in its order.

    Raises:
        InputError: no such file, no line, a line that is no cell, or the same cell twice.
    """
    try:
        lines = list(_lines(path))
    except OSError as error:
        mend = f"let a training of `knowfree run --output_dir {path.parent}` finish first"
        raise InputError(f"{path}: {error.strerror}; {mend}") from error
    cells: dict[tuple[str, str, int], Result] = {}
    for where, line in lines:
        cell = _check_line(line, where)
        key = cell.subset, cell.variant, cell.seed
        if key in cells:
            raise InputError(f"{where}: subset {key[0]}, variant {key[1]}, seed {key[2]} stands there twice; {_MEND}")
        cells[key] = cell
    if not cells:
        raise InputError(f"{path}: no finished cell yet; let `knowfree run` finish one")
    return list(cells.values())


@dataclass
class FinishedRun:
    """
    A run folder.

    Args:
        folder: as `knowfree run --output_dir` names it.
        settings: its run.yaml.
        cells: its finished cells, in the order of results.jsonl.
    """

    folder: Path
    settings: Mapping[str, Any]
    cells: Sequence[Result]

    @property
    def subsets(self) -> list[str]:
        """In the order of the results."""
        return list(dict.fromkeys(cell.subset for cell in self.cells))

    def variants(self, subset: str | None = None) -> list[str]:
        """Of one subset or of all, in the order of the table of variants, others as the results have them."""
        found = dict.fromkeys(cell.variant for cell in self.cells if subset in (None, cell.subset))
        table = list(VARIANTS)
        return sorted(found, key=lambda name: table.index(name) if name in table else len(table))

    def definition(self, name: str) -> Variant:
        """
        A variant of the table, or as run.yaml defines it; one that neither knows any more has the defaults.

        Raises:
            InputError: run.yaml defines it otherwise than variants are defined.
        """
        if name in VARIANTS:
            return VARIANTS[name]
        defined = self.settings.get("define") or {}
        try:
            return Variant.model_validate(defined.get(name) or {} if isinstance(defined, Mapping) else defined)
        except ValidationError as error:
            problem = " ".join(str(error.errors()[0]["msg"]).split())
            raise InputError(
                f"{self.folder / RUN_FILE}: define: {name}: {problem}; put back what the run was started with"
            ) from error

    def of(self, subset: str, variant: str) -> dict[int, Result]:
        """The cells of a subset and variant by seed; empty where none has finished."""
        return {cell.seed: cell for cell in self.cells if (cell.subset, cell.variant) == (subset, variant)}

    def cell_folder(self, cell: Result) -> Path:
        """Where the cell's model and predictions lie."""
        return self.folder / cell.subset / cell.variant / f"seed-{cell.seed}"

    @property
    def test_file(self) -> Path:
        """The annotated sentences that every cell was scored on, wherever the report is made."""
        path = Path(self.settings["test_file"])
        there = self.settings.get("called_from")  # older runs do not say
        return path if there is None or path.is_absolute() else self.folder / there / path

    @cached_property
    def test_rows(self) -> list[Row]:
        """
        Raises:
            InputError: the file is gone or broken.
        """
        if not self.test_file.exists():
            told = "" if "called_from" in self.settings else ", or call from the folder where `knowfree run` was called"
            raise InputError(f"{self.test_file}: the test file of the run is not here; put it back{told}")
        return read_rows(self.test_file, unit=self.settings.get("unit"), task=self.settings.get("task"))

    @property
    def unit(self) -> str:
        """What the tokens are: `character` or `word`."""
        return self.settings.get("unit") or infer_unit(self.test_rows)  # older runs do not say

    def predictions(self, cell: Result) -> list[Row]:
        """
        The test rows with the cell's spans as their entities.

        Raises:
            InputError: no predictions, or the test file has now other sentences, or other gold spans, than they were
                scored on.
        """
        path = self.cell_folder(cell) / PREDICTIONS_FILE
        rows = read_file(path, quiet=True).rows  # a tagger may find nothing
        if [row["tokens"] for row in rows] != [row["tokens"] for row in self.test_rows]:
            raise InputError(
                f"{path}: its sentences are not those of {self.test_file}; put the test file of the run back, or "
                "run `knowfree run` again, it trains and scores anew"
            )
        now = span_scores(span_sets(self.test_rows), span_sets(rows))
        support = {label: scores["support"] for label, scores in now["per_label"].items() if scores["support"]}
        scored_on = {label: scores.support for label, scores in cell.per_label.items() if scores.support}
        if support != scored_on or not math.isclose(now["f1"], cell.f1, abs_tol=1e-6):
            raise InputError(
                f"{path}: the gold spans of {self.test_file} are not those of the run: F1 {now['f1']:.4f} now, "
                f"{cell.f1:.4f} in {RESULTS_FILE}; put the test file of the run back, or run `knowfree run` again, it "
                "trains and scores anew"
            )
        return rows


def read_run(folder: Path) -> FinishedRun:
    """
    A run folder, its cells checked.

    Raises:
        InputError: no run folder, or run.yaml or results.jsonl broken.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no run folder, it has no {RUN_FILE}; give the --output_dir of `knowfree run`")
    settings = read_settings(path)
    if not isinstance(settings.get("test_file"), str):
        raise InputError(f"{path}: names no test_file; write `test_file: test.jsonl`, the file the run was scored on")
    if not isinstance(settings.get("called_from", ""), str):
        raise InputError(
            f"{path}: called_from is {settings['called_from']!r}; write the folder where `knowfree run` was called, as "
            "seen from this file, or leave it out"
        )
    return FinishedRun(folder, settings, read_cells(folder / RESULTS_FILE))


def best_over_seeds(dev_f1: Mapping[Any, Mapping[int, float]]) -> tuple[Any, float] | None:
    """
    Who is best on dev, the first of equals, and its mean dev F1: over the seeds that all compared share, or where they
    share none each over its own.

    Args:
        dev_f1: by name and seed; names without any are not compared.

    Returns:
        None where there is nothing to compare.
    """
    compared = {name: by_seed for name, by_seed in dev_f1.items() if by_seed}
    if not compared:
        return None
    shared = set.intersection(*map(set, compared.values()))
    means = {
        name: fmean(f1 for seed, f1 in by_seed.items() if seed in shared or not shared)
        for name, by_seed in compared.items()
    }
    best = max(means, key=lambda name: means[name])
    return best, means[best]
