"""What a finished run found, as plain values: scores, who is best on dev, who gets what right, what was lost."""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from augmentation.settings import COUNTS_FILE
from augmentation.steps.teacher import TEACHER_FILE
from modeling_knowfree.data.lines import read_lines
from modeling_knowfree.data.readers import InputError
from modeling_knowfree.data.rows import Row, span_sets
from modeling_knowfree.encoders import shown_name

from ..run.results import FinishedRun, Result, best_over_seeds
from ..run.settings import ASKED_FILE, POOLED, augmented_folder
from ..run.variants import BASELINE
from .comparison import Difference, Spread, spread


@dataclass(frozen=True)
class Score:
    """One line of the table of scores: a variant on a subset over its seeds; ratios in [0, 1]. `all_seeds_compared`:
    the difference is over all seeds of both, not only over those that they share."""

    subset: str
    variant: str
    seeds: tuple[int, ...]
    f1: Spread
    precision: Spread
    recall: Spread
    macro_f1: Spread
    dev_f1: Spread | None
    over_base: Difference | None
    all_seeds_compared: bool
    best_on_dev: bool
    gold_rows: int
    synthetic_rows: int
    pool_rows: int
    updates: int
    seconds: float


def best_on_dev(run: FinishedRun, subset: str, among: Iterable[str] | None = None) -> str | None:
    """The best variant of a subset by `best_over_seeds`; None where no cell has a dev F1."""
    variants = among if among is not None else run.variants(subset)
    found = best_over_seeds(
        {
            variant: {seed: cell.dev_f1 for seed, cell in run.of(subset, variant).items() if cell.dev_f1 is not None}
            for variant in variants
        }
    )
    return found[0] if found else None


def scores(run: FinishedRun, differences: dict[tuple[str, str], Difference | None]) -> list[Score]:
    """
    The table of scores, by subset and variant in the order of the results.

    Args:
        differences: over the baseline, by (subset, variant), where they are known.
    """
    table = []
    for subset in run.subsets:
        best = best_on_dev(run, subset)
        for variant in run.variants(subset):
            cells = list(run.of(subset, variant).values())
            difference = differences.get((subset, variant))
            compared = len(difference.seeds) if difference else 0
            on_dev = [cell.dev_f1 for cell in cells if cell.dev_f1 is not None]
            table.append(
                Score(
                    subset=subset,
                    variant=variant,
                    seeds=tuple(cell.seed for cell in cells),
                    f1=spread([cell.f1 for cell in cells]),
                    precision=spread([cell.precision for cell in cells]),
                    recall=spread([cell.recall for cell in cells]),
                    macro_f1=spread([cell.macro_f1 for cell in cells]),
                    dev_f1=spread(on_dev) if on_dev else None,
                    over_base=difference,
                    all_seeds_compared=compared == max(len(cells), len(run.of(subset, BASELINE))),
                    best_on_dev=variant == best,
                    gold_rows=cells[0].gold_rows,
                    synthetic_rows=cells[0].synthetic_rows,
                    pool_rows=cells[0].pool_rows,
                    updates=cells[0].updates,
                    seconds=spread([cell.seconds for cell in cells]).mean,
                )
            )
    return table


def challenger(run: FinishedRun, subset: str) -> str | None:
    """Whom to hold against the baseline in examples: of the -FS variants the best on dev, else of all others."""
    others = [variant for variant in run.variants(subset) if variant != BASELINE]
    synthetic = [variant for variant in others if variant.startswith("fs")]
    wanted = synthetic or others
    return best_on_dev(run, subset, wanted) or next(iter(wanted), None)


@dataclass(frozen=True)
class Disagreement:
    """
    Test sentences that one variant gets wholly right, every span, and another does not.

    Args:
        right, wrong: the variants.
        seeds: compared; right and wrong are meant in every one of them.
        count: such sentences, of `sentences`.
        examples: some of them: `gold` row, and the rows as `right` and `wrong` tagged them with the first seed.
    """

    right: str
    wrong: str
    seeds: tuple[int, ...]
    count: int
    sentences: int
    examples: list[tuple[Row, Row, Row]]


def disagreement(run: FinishedRun, subset: str, right: str, wrong: str, *, limit: int) -> Disagreement | None:
    """
    Sentences that `right` gets right with every seed and `wrong` with none; `limit` of them drawn by a fixed seed.

    Returns:
        None where the two share no seed.

    Raises:
        InputError: predictions or the test file are missing or do not fit each other.
    """
    ours, theirs = run.of(subset, right), run.of(subset, wrong)
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    gold = span_sets(run.test_rows)

    def tagged(cells: dict[int, Result]) -> tuple[list[Row], list[list[bool]]]:
        rows = [run.predictions(cells[seed]) for seed in seeds]
        hits = [[given == wanted for given, wanted in zip(span_sets(of), gold, strict=True)] for of in rows]
        return rows[0], [list(by_seed) for by_seed in zip(*hits, strict=True)]

    (our_rows, our_hits), (their_rows, their_hits) = tagged(ours), tagged(theirs)
    found = [i for i in range(len(gold)) if all(our_hits[i]) and not any(their_hits[i])]
    shown = sorted(random.Random(0).sample(found, min(limit, len(found))))
    examples = [(run.test_rows[i], our_rows[i], their_rows[i]) for i in shown]
    return Disagreement(right, wrong, seeds, len(found), len(gold), examples)


def label_scores(run: FinishedRun, subset: str) -> tuple[list[str], list[dict[str, Any]]]:
    """F1 of each target label by variant: the variants, and a line a label, the most frequent first, with `label`,
    `support` (gold spans) and `f1` (a `Spread` for each variant, None where it never met the label)."""
    variants = run.variants(subset)
    cells = {variant: list(run.of(subset, variant).values()) for variant in variants}
    support: dict[str, int] = {}
    for cell in (cell for found in cells.values() for cell in found):
        for label, one in cell.per_label.items():
            support[label] = max(support.get(label, 0), one.support)
    lines = []
    for label in sorted(support, key=lambda name: (-support[name], name)):
        f1 = [[cell.per_label[label].f1 for cell in cells[v] if label in cell.per_label] for v in variants]
        lines.append({"label": label, "support": support[label], "f1": [spread(v) if v else None for v in f1]})
    return variants, lines


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
            told = _json(path)
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
    rounds = [json.loads(line.text) for line in read_lines(path)] if path.is_file() else []
    points = {point["asked"]: point["dev_f1"] for point in rounds if point["variant"] == variant}
    for texts, name in ((0, BASELINE), (asked, variant)):
        scored = [cell.dev_f1 for cell in run.of(subset, name).values() if cell.dev_f1 is not None]
        if scored:
            points[texts] = spread(scored).mean
    return sorted((texts, f1) for texts, f1 in points.items() if f1 is not None)


def augmentations(run: FinishedRun, subset: str) -> dict[str, Path]:
    """The folders of a subset's augmentations: the shared one by the name of the subset, first, then those of variants
    with settings of their own, with the variant's name."""
    folders = {subset: augmented_folder(run.folder, subset)}
    names = dict.fromkeys([*run.variants(subset), *POOLED])
    folders |= {f"{subset}, {name}": augmented_folder(run.folder, subset, name) for name in names}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def label_merges(folder: Path) -> dict[str, Any] | None:
    """
    What label_map.json decided: `groups` (a standard label with its several raw types, the largest first), `alone`
    (labels of one raw type), `shares` (who decided), `encoder`, `types` (how many raw ones). None without the file.

    Raises:
        InputError: the file is broken.
    """
    path = folder / "label_map.json"
    if not path.is_file():
        return None
    data = _json(path)
    try:
        groups: dict[str, list[dict[str, Any]]] = {}
        for raw, entry in data["types"].items():
            names = ("count", "radius", "distance", "limit", "decision", "proposed", "source")
            groups.setdefault(entry["standard"], []).append({"raw": raw} | {name: entry[name] for name in names})
        for name, members in groups.items():
            members.sort(key=lambda one: (-one["count"], one["raw"]))
            reference = data["labels"][name]["reference"]
            members.sort(key=lambda one, first=reference: one["raw"] != first)  # type: ignore[misc]
            if len(members) > 1 and members[0]["decision"] == "alone":
                members[0]["decision"] = "reference"  # alone at first; types of synthetic sentences joined it later
        several = {name: members for name, members in groups.items() if len(members) > 1}
        return {
            "groups": sorted(several.items(), key=lambda item: (-len(item[1]), item[0])),
            "alone": sorted(name for name, members in groups.items() if len(members) == 1),
            "shares": dict(data["shares"]),
            "encoder": shown_name(str(data["encoder"])) if data.get("encoder") else None,
            "types": len(data["types"]),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error!r}; run `knowfree augment run {folder}` again") from error


_NAMED = (
    ("pairs", "unknown_label"),
    ("exact", "normalised"),
    ("hallucinated", "off_border", "empty", "unknown_label", "out_of_order"),
)
_PARTS = {"source": "gold sentences", "pool": "texts of the pool", "synthetic": "synthetic sentences"}
_LOSSES = {  # task: what there was, what came through, and why the rest did not
    "entities": ("entity mentions", *_NAMED),
    "targets": ("target mentions", *_NAMED),
    "segmentation": ("words", ("words",), ("words",), ("unplaced", "off_border")),
    "pos": ("words to tag", ("words",), ("tagged",), ("off_border",)),
}
_REASONS = {
    "hallucinated": "not in the text",
    "off_border": "not on unit borders",
    "empty": "without text",
    "unknown_label": "no label of the task",
    "out_of_order": "only before the mention before it",
    "unplaced": "not found in the text",
    "failed": "answers that failed",
    "cut": "cut by the token limit",
}


def losses(folder: Path) -> dict[str, Any] | None:
    """
    What was dropped in augmentation: `lines` (`part`, `what`, `total`, `kept`, `reasons`), from counts.json, and
    `failed` (lines of failed.jsonl). None without the files.

    Raises:
        InputError: a file is broken.
    """
    path = folder / COUNTS_FILE
    if not path.is_file():
        return None
    counts = _json(path)
    try:
        lines = []
        for part, where in _PARTS.items():
            for task, (what, total, kept, reasons) in _LOSSES.items():
                if numbers := counts.get(part, {}).get(task):
                    lines.append(
                        {
                            "part": where,
                            "what": what,
                            "total": sum(numbers.get(name, 0) for name in total),
                            "kept": sum(numbers.get(name, 0) for name in kept),
                            "reasons": _named(numbers, (*reasons, "failed")),
                        }
                    )
        if numbers := counts.get("synthesis"):
            why = [name for name in numbers if name not in ("explanations", "sentences", "swapped", "kept")]
            total = numbers.get("sentences", 0) + numbers.get("swapped", 0)
            told = {"total": total, "kept": numbers.get("kept", 0)}
            lines.append({"part": "explanations", "what": "sentences", **told, "reasons": _named(numbers, why)})
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: {error!r}; run `knowfree augment run {folder}` again") from error
    return {"lines": lines, "failed": _json_lines(folder / "failed.jsonl")}


def _named(numbers: dict[str, int], reasons: Sequence[str]) -> list[tuple[str, int]]:
    return [(_REASONS.get(name, name.replace("_", " ")), numbers[name]) for name in reasons if numbers.get(name)]


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}; run `knowfree augment run {path.parent}` again") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds {type(data).__name__}, not an object; run `knowfree augment run` again")
    return data


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = [line.text for line in read_lines(path) if line.text.strip()]
    try:
        return [{name: str(one[name]) for name in ("id", "task", "reason")} for one in map(json.loads, lines)]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {error!r}; run `knowfree augment run {path.parent}` again") from error
