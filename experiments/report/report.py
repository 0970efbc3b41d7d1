"""`knowfree report`: what a run found, on one page that needs nothing else, and as Markdown for cards."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from tqdm import tqdm

from augmentation.review.span_html import STYLE, Look, drawn_spans, key, looks, render, visible
from augmentation.settings import load_settings
from modeling_knowfree.data.readers import InputError, read_rows
from modeling_knowfree.encoders import shown_name
from modeling_knowfree.files import page_trouble, write_whole

from ..run.results import PREDICTIONS_FILE, RESULTS_FILE, FinishedRun, Result, read_run
from ..run.settings import GOLD_FILE, REPORT_FILE
from ..run.variants import BASELINE
from .analyses import Analyses, extension_logits, sentence_map
from .augmentations import augmentations, label_merges, losses
from .charts import Chart, Point, line_chart
from .comparison import LEVEL, RESAMPLES, Difference, Spread, compare, spread
from .disagreement import disagreement
from .markdown import inert
from .paper import beside as beside_paper
from .scores import best_on_dev, challenger, label_scores, scores
from .teachers import Beside, beside_teachers

EXAMPLES = 5
HEATMAP_LABELS = 30
FAILURES_SHOWN = 50


@dataclass(frozen=True)
class Section:
    """A part of the report: its content, or why there is none."""

    content: Any = None
    missing: str | None = None


def _section(run: FinishedRun, build: Callable[[], Any]) -> Section:
    try:
        return Section(build())
    except InputError as error:
        return Section(missing=_without_folders(error, run))


def write_report(run: Path, output: Path | None = None) -> Path:
    """
    Write the HTML report of a run folder; what took long is kept in its analyses.json.

    Args:
        run: the `--output_dir` of `knowfree run`, finished or not.
        output: where to; `RUN/report.html` by default.

    Returns:
        The file written.

    Raises:
        InputError: no run folder, or its run.yaml or results.jsonl is broken. What else is missing is said on the page.
    """
    output = output or run / REPORT_FILE
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; name a file, for example {output / REPORT_FILE}")
    if told := page_trouble(output):
        raise InputError(f"--output {output}: {told}")
    page = report_html(run)
    try:
        write_whole(output, page)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror}; name a file that can be written") from error
    return output


def report_html(folder: Path) -> str:
    """
    The report of a run folder as one page.

    Raises:
        InputError: as `write_report`.
    """
    run = read_run(folder)
    analyses = Analyses(folder)
    differences, troubles = _differences(run, analyses)

    drawn = looks(sorted({label for cell in run.cells for label in cell.per_label}))
    augmented = {name: folder for subset in run.subsets for name, folder in augmentations(run, subset).items()}

    def by_name(build: Callable[[str], Any], names: Iterable[str]) -> list[tuple[str, Section]]:
        sections = [(name, _section(run, partial(build, name))) for name in names]
        return [(name, section) for name, section in sections if section.content or section.missing]

    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"KnowFREE on {run.cells[0].dataset}",
            overview=_overview(run),
            variants=[(name, run.definition(name).label) for name in run.variants()],
            table=scores(run, differences),
            troubles=troubles,
            bests=[(subset, best_on_dev(run, subset)) for subset in run.subsets],
            shots=_by_subset(run),
            curves=_curves(run),
            heatmap=_section(run, lambda: _heatmap(run, analyses)),
            maps=by_name(lambda subset: _map(run, analyses, subset), run.subsets),
            merges=by_name(lambda name: label_merges(augmented[name]), augmented),
            labels=[(subset, *label_scores(run, subset)) for subset in run.subsets],
            examples=by_name(lambda subset: _examples(run, subset, drawn), run.subsets),
            key=Markup(key(drawn)),
            losses=_losses(run, augmented),
            paper=_beside_paper(run),
            asking=[cell for cell in run.cells if cell.llm is not None],
            teachers=(beside := _section(run, lambda: beside_teachers(run))),
            asked_curves=_asked_curves(beside.content or []),
            failures_shown=FAILURES_SHOWN,
            level=LEVEL,
            resamples=RESAMPLES,
            baseline=BASELINE,
            span_style=Markup(STYLE),
        )
    )


def report_markdown(folder: Path) -> str:
    """
    The tables of a run as Markdown, for cards: scores, who is best on dev, scores by label.

    Raises:
        InputError: as `write_report`.
    """
    run = read_run(folder)
    differences, troubles = _differences(run, Analyses(folder))
    text = (
        _environment()
        .get_template("report.md.j2")
        .render(
            dataset=run.cells[0].dataset,
            table=scores(run, differences),
            troubles=troubles,
            bests=[(subset, best_on_dev(run, subset)) for subset in run.subsets],
            labels=[(subset, *label_scores(run, subset)) for subset in run.subsets],
            variants=[(name, run.definition(name).label) for name in run.variants()],
            paper=_beside_paper(run),
            asking=[cell for cell in run.cells if cell.llm is not None],
            level=LEVEL,
            resamples=RESAMPLES,
            baseline=BASELINE,
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("knowfree_experiments.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"percent": _percent, "spread": _spread, "difference": _difference, "inert": inert}
    environment.filters |= {"duration": _duration, "several": _several, "known": _known, "shown_name": shown_name}
    return environment


def _shown(value: Any) -> Any:
    """Text of data with its control characters shown; markup that this program made, as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f}"


def _spread(values: Spread | None) -> str:
    if values is None:
        return "–"
    return _percent(values.mean) + ("" if values.sd is None else f" ± {100 * values.sd:.1f}")


def _difference(found: Difference) -> str:
    value, low, high = (f"{100 * number:+.1f}".replace("-", "−") for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _known(value: float | None, shown: str) -> str:
    """A measured value, or that nobody recorded it."""
    return "not recorded" if value is None else shown.format(value)


def _several(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _overview(run: FinishedRun) -> list[tuple[str, str]]:
    cells = run.cells
    versions: dict[str, dict[str, None]] = {}
    for cell in cells:
        for name, version in cell.versions.items():
            versions.setdefault(name, {})[version] = None
    finished = datetime.fromtimestamp((run.folder / RESULTS_FILE).stat().st_mtime, UTC)
    test = _section(run, lambda: f"{run.test_file.name}, {len(run.test_rows):,} sentences")
    dev = run.settings.get("validation_file")
    return [
        ("Data set", ", ".join(dict.fromkeys(cell.dataset for cell in cells))),
        ("Encoder", shown_name(str(run.settings.get("model_name_or_path") or "not stated"))),
        ("Subsets", ", ".join(run.subsets)),
        ("Seeds", ", ".join(map(str, dict.fromkeys(cell.seed for cell in cells)))),
        ("Trainings", f"{len(cells)} finished, {_duration(sum(cell.seconds for cell in cells))} in all"),
        ("Test file", test.content or test.missing or ""),
        ("Dev file", Path(str(dev)).name if dev else "none"),
        ("Language", str(run.settings.get("language") or "not stated")),
        ("Versions", ", ".join(f"{name} {' / '.join(found)}" for name, found in versions.items()) or "not stated"),
        ("Last result", f"{finished:%Y-%m-%d %H:%M} UTC"),
    ]


def _differences(run: FinishedRun, analyses: Analyses) -> tuple[dict[tuple[str, str], Difference | None], list[str]]:
    """Each variant against the baseline of its subset, from the cache where predictions are the same; and why some
    could not be compared."""
    pairs = [
        (subset, variant)
        for subset in run.subsets
        if run.of(subset, BASELINE)
        for variant in run.variants(subset)
        if variant != BASELINE
    ]
    found: dict[tuple[str, str], Difference | None] = {}
    troubles: dict[str, None] = {}
    try:
        sentences = len(run.test_rows)
    except InputError as error:
        return {}, [_without_folders(error, run)] * bool(pairs)
    told = f"bootstrap over {sentences:,} sentences"
    for subset, variant in tqdm(pairs, desc=told, unit="variant", disable=None if pairs else True):
        cells = [*run.of(subset, variant).values(), *run.of(subset, BASELINE).values()]
        inputs = [f"{RESAMPLES} {LEVEL}", *(str(cell.seed) for cell in cells)]
        files = [run.test_file, *(run.cell_folder(cell) / PREDICTIONS_FILE for cell in cells)]

        def compute(subset: str = subset, variant: str = variant) -> dict[str, Any] | None:
            difference = compare(run, subset, variant, BASELINE)
            return None if difference is None else vars(difference)

        try:
            kept = analyses.get(f"difference {subset} {variant}", [*inputs, *files], compute)
        except InputError as error:
            troubles[_without_folders(error, run)] = None
        else:
            found[subset, variant] = None if kept is None else Difference(**kept | {"seeds": tuple(kept["seeds"])})
    return found, list(troubles)


def _without_folders(error: InputError, run: FinishedRun) -> str:
    """An error for a page that others read: where the run and its test file lie is nobody's business."""
    text = str(error).replace(str(run.test_file), run.test_file.name)
    return f" {text}".replace(f" {run.folder}/", " ")[1:]  # where a path begins: `run` is a word of errors too


def _beside_paper(run: FinishedRun) -> list[dict[str, Any]]:
    """A line for each cell of the paper's tables that this run has too: `subset`, `variant`, `f1`, `printed`."""
    return [
        {"subset": subset, "variant": variant, "f1": spread([c.f1 for c in run.of(subset, variant).values()])}
        | {"printed": figures}
        for subset, variant, figures in beside_paper(run)
    ]


def _asked_curves(students: Sequence[Beside]) -> list[Chart]:
    """Dev F1 over the texts that the LLM was asked about, one chart a subset."""
    by_subset: dict[str, dict[str, list[Point]]] = {}
    for one in students:
        if len(one.curve) > 1:
            points = [Point(float(texts), 100 * f1, None) for texts, f1 in one.curve]
            by_subset.setdefault(one.subset, {})[one.variant] = points
    return [
        line_chart(subset, series, x_name="texts asked", y_name="dev F1, %") for subset, series in by_subset.items()
    ]


_SIZE = re.compile(r"(?:k|train_|n)?(\d+)")


def _by_subset(run: FinishedRun) -> Chart | None:
    """Figure 4: F1 over k or size; None with a single subset."""
    if len(run.subsets) < 2:
        return None
    sizes = [_SIZE.fullmatch(subset) for subset in run.subsets]
    numbers = [float(size[1]) for size in sizes if size]
    if len(set(numbers)) < len(run.subsets):
        numbers = [float(at) for at in range(len(run.subsets))]  # in the order given: their names are no sizes
    place = dict(zip(run.subsets, numbers, strict=True))
    series = {}
    for variant in run.variants():
        line = []
        for subset in sorted(run.subsets, key=lambda name: place[name]):
            if cells := run.of(subset, variant):
                line.append(_point(place[subset], [cell.f1 for cell in cells.values()]))
        series[variant] = line
    labels = {place[subset]: subset for subset in sorted(run.subsets, key=lambda name: place[name])}
    return line_chart("Test F1 by subset", series, x_name="subset", y_name="test F1, %", x_labels=labels)


def _point(x: float, ratios: Sequence[float]) -> Point:
    values = spread(ratios)
    return Point(x, 100 * values.mean, None if values.sd is None else 100 * values.sd)


def _curves(run: FinishedRun) -> list[Chart]:
    """Dev F1 over updates, one chart a subset that has curves; at each update the seeds that were scored there."""
    charts = []
    for subset in run.subsets:
        series = {}
        for variant in run.variants(subset):
            by_update: dict[int, list[float]] = {}
            for cell in run.of(subset, variant).values():
                for update, f1 in cell.curve:
                    by_update.setdefault(update, []).append(f1)
            if by_update:
                series[variant] = [_point(update, by_update[update]) for update in sorted(by_update)]
        if series:
            charts.append(line_chart(subset, series, x_name="updates", y_name="dev F1, %"))
    return charts


def _heatmap(run: FinishedRun, analyses: Analyses) -> dict[str, Any] | None:
    """Figure 8 of the model with extension columns that is best on dev, or else of the last one trained."""
    cells = [cell for cell in run.cells if _has_extensions(run.cell_folder(cell))]
    if not cells:
        return None
    cell: Result = max(reversed(cells), key=lambda one: -1 if one.dev_f1 is None else one.dev_f1)
    folder = run.cell_folder(cell)
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors")), run.test_file]
    found = analyses.get(
        "extension_logits", ["predicted", run.unit, *files], lambda: extension_logits(str(folder), run.test_rows)
    )
    met = [at for at, spans in enumerate(found["spans"]) if spans]
    if not met:
        raise InputError(
            f"{folder}: finds no span in the test sentences that were read, so there is no position to look at; with "
            "more updates or more sentences it may"
        )
    lines = [
        (label, [logits[at] for at in met]) for label, logits in zip(found["extensions"], found["logits"], strict=True)
    ]
    strongest = sorted(lines, key=lambda line: -max(line[1]))[:HEATMAP_LABELS]
    shown = [value for _, values in strongest for value in values]
    low, high = min(shown), max(shown)
    return {
        "cell": cell,
        "sentences": found["sentences"],
        "of": len(run.test_rows),
        "extensions": len(lines),
        "low": low,
        "high": high,
        "targets": [(found["targets"][at], found["spans"][at]) for at in met],
        "unmet": [label for label, spans in zip(found["targets"], found["spans"], strict=True) if not spans],
        "lines": [
            (label, [(value, round(100 * (value - low) / ((high - low) or 1))) for value in values])
            for label, values in strongest
        ],
    }


def _has_extensions(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.is_file():
        return False
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return config.get("model_type") == "knowfree" and bool(config.get("extension_labels"))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: {error}; remove the cell's folder and run `knowfree run` again") from error


def _map(run: FinishedRun, analyses: Analyses, subset: str) -> dict[str, Any] | None:
    """Figure 5 of a subset, from the first of its augmentations that has synthetic sentences; None without one."""
    folders = augmentations(run, subset).values()
    files = [folder / f"{name}.jsonl" for folder in folders for name in ("synthetic", "sentences")]
    synthetic = [path for path in files if path.is_file()]
    gold = run.folder / subset / GOLD_FILE
    if not synthetic or not gold.is_file():
        return None
    encoder = load_settings(synthetic[0].parent).encoder

    def compute() -> dict[str, Any]:
        rows = {"test": run.test_rows, "synthetic": read_rows(synthetic[0]), "train": read_rows(gold)}
        return sentence_map(rows, encoder=encoder, unit=run.unit)

    return analyses.get(f"sentence_map {subset}", [encoder, run.unit, run.test_file, synthetic[0], gold], compute)


def _examples(run: FinishedRun, subset: str, drawn: Mapping[str, Look]) -> dict[str, Any] | None:
    """Sentences that the challenger gets right and the baseline wrong, and the other way round."""
    other = challenger(run, subset)
    if other is None or not run.of(subset, BASELINE):
        return None
    sides = []
    for right, wrong in ((other, BASELINE), (BASELINE, other)):
        side = disagreement(run, subset, right, wrong, limit=EXAMPLES)
        if side is None:
            return None
        pairs = [[(f"gold, and {right}", gold), (wrong, tagged)] for gold, _, tagged in side.examples]
        sides.append((side, [[(name, _drawn(row, run.unit, drawn)) for name, row in pair] for pair in pairs]))
    return {"sides": sides}


def _losses(run: FinishedRun, augmented: Mapping[str, Path]) -> dict[str, Any]:
    """What was dropped, side by side: `lines` of (part, what, by augmentation the numbers or None), and by augmentation
    what failed, or why nothing can be told."""
    told = {name: _section(run, partial(losses, folder)) for name, folder in augmented.items()}
    known = {name: section.content for name, section in told.items() if section.content}
    by_line: dict[tuple[str, str], dict[str, Any]] = {}
    for name, content in known.items():
        for line in content["lines"]:
            by_line.setdefault((line["part"], line["what"]), {})[name] = line
    return {
        "augmentations": list(known),
        "lines": [(*names, [found.get(name) for name in known]) for names, found in by_line.items()],
        "failed": [(name, content["failed"]) for name, content in known.items() if content["failed"]],
        "missing": [(name, section.missing) for name, section in told.items() if section.missing],
    }


def _drawn(row: dict[str, Any], unit: str, drawn: Mapping[str, Look]) -> Markup:
    return Markup(render(row["tokens"], drawn_spans({"entities": row["entities"]}), unit=unit, drawn=drawn))
