"""`knowfree augment …`: the command line of the augmentation. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augmentation.session import ProgressLine, open_run

if TYPE_CHECKING:
    from modeling_knowfree.data.rows import Row

ASKING = ("induce_guideline", "verify", "explanations", "swap_mentions")
BUDGET = ("max_requests", "max_total_tokens", "max_usd")
_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_FILE = click.Path(dir_okay=False)


def client_options(command: Any) -> Any:
    for each in (
        click.option(
            "--max_wait_seconds",
            type=click.FloatRange(min=0),
            help="Longest pause that a server may ask for (Retry-After).  [default: 300]",
        ),
        click.option("--concurrency", type=click.IntRange(1, 1024), help="Requests in flight at once."),
        click.option("--answers", type=_FILE, multiple=True, help="File of recorded answers (client recorded)."),
        click.option("--token_env", help="Environment variable that holds the token."),
        click.option("--provider", help="Which of the Hub's providers."),
        click.option("--base_url", help="Server; without one the Hub's providers are asked."),
        click.option("--model", help="Model id, or the name the server knows its model by."),
        click.option("--client", type=click.Choice(["hub", "tgi", "recorded"]), help="Who answers."),
    ):
        command = each(command)
    return command


def asking_options(command: Any) -> Any:
    """What more the LLM is asked for; the settings of `ASKING`."""
    for each in (
        click.option("--explanations", type=click.IntRange(min=1), help="So many of each gold sentence.  [default: 1]"),
        click.option(
            "--verify/--no_verify",
            default=None,
            help="The LLM looks at each target that it put on a text a second time; what it rejects is left out.",
        ),
        click.option(
            "--swap_mentions",
            type=click.IntRange(min=0),
            help="So many new sentences of each gold sentence with mentions that the LLM offers.  [default: 0]",
        ),
        click.option(
            "--induce_guideline/--no_induce_guideline",
            default=None,
            help="The LLM writes a guideline from the gold before it puts targets on anything; you read it first.",
        ),
    ):
        command = each(command)
    return command


def pool_options(command: Any) -> Any:
    for each in (
        click.option(
            "--min_teacher_f1",
            type=click.FloatRange(0, 1),
            help="Stop before the pool if the LLM's F1 on the gold is lower (exit code 3).",
        ),
        click.option(
            "--pick",
            type=click.Choice(["random", "uncertain", "diverse", "both"]),
            help="Which texts of the pool: at random, where a model doubts, spread out, both.  "
            "[default: random; of a run that asks a part: uncertain]",
        ),
        click.option("--ask", type=click.IntRange(min=0), help="Of so many texts of the pool.  [default: all]"),
        click.option("--unlabeled_dataset_name", help="Instead of a file, a Hub data set with tokens or text."),
        click.option(
            "--unlabeled_file",
            type=click.Path(),
            help="Text without labels for the LLM to tag: the pool; a file, or a folder of .txt files.",
        ),
    ):
        command = each(command)
    return command


def _pool_changes(folder: Path, values: dict[str, Any]) -> tuple[dict[str, Any], list[Row] | None]:
    """The options about the pool as settings of a run folder, and the texts of a Hub data set that is to be kept there
    as `UNLABELED_FILE`."""
    from augmentation.settings import load_settings
    from augmentation.steps.explanations import TokenStyle
    from augmentation.steps.pool import UNLABELED_FILE
    from augmentation.steps.texts import read_hub_texts
    from modeling_knowfree.data.readers import read_rows
    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.units_knowfree import infer_unit

    name = values.pop("unlabeled_dataset_name", None)
    if name and values.get("unlabeled_file"):
        raise InputError("--unlabeled_file and --unlabeled_dataset_name: give one of the two")
    if name:
        train_file = values.get("train_file") or load_settings(folder).train_file
        gold = read_rows(os.path.normpath(folder / train_file))  # the folder may not be there yet
        unit = infer_unit(gold)
        texts = list(read_hub_texts(name, TokenStyle.of(gold, unit).tokens, unit))
        return values | {"unlabeled_file": UNLABELED_FILE}, texts
    if values.get("unlabeled_file"):
        values["unlabeled_file"] = _from_folder(folder, values["unlabeled_file"])
    if values.get("pick_model"):
        values["pick_model"] = _from_folder(folder, values["pick_model"])
    return values, None


def budget_options(command: Any) -> Any:
    for each in (
        click.option(
            "--max_requests", type=click.IntRange(min=0), help="Stop after so many HTTP requests (exit code 3)."
        ),
        click.option("--max_tokens", type=click.IntRange(min=0), hidden=True),  # its old name, see `budget_of`
        click.option(
            "--max_total_tokens", type=click.IntRange(min=0), help="Stop before so many tokens (exit code 3)."
        ),
        click.option("--max_usd", type=click.FloatRange(min=0), help="Stop before so many dollars (exit code 3)."),
    ):
        command = each(command)
    return command


def budget_of(options: dict[str, Any]) -> dict[str, Any]:
    """The limits among the options, which are taken out of them."""
    budget = {name: options.pop(name) for name in BUDGET}
    if (old := options.pop("max_tokens")) is not None:
        click.echo("--max_tokens is called --max_total_tokens now, since max_tokens limits an answer", err=True)
        budget["max_total_tokens"] = old if budget["max_total_tokens"] is None else budget["max_total_tokens"]
    return budget


def _from_folder(folder: Path, path: str) -> str:
    from modeling_knowfree.files import path_from

    return path_from(folder, path)


@click.group()
def augment() -> None:
    """Let an LLM annotate what your gold data leave unused.

    Entities, words and parts of speech become extension labels; explanations of your entities become new sentences.
    Every answer is kept in the run folder as it arrives, so nothing is paid for twice.

    \b
      knowfree augment init runs/demo --train_file train.jsonl --language en --model Qwen/Qwen2.5-14B-Instruct
      knowfree augment plan runs/demo        what it will ask and cost; sends nothing
      knowfree augment run runs/demo         ask, merge, fuse; run it again after any interruption
      knowfree augment review runs/demo      look at every sample, reject what is wrong
      knowfree augment export runs/demo --format datasets --output data/
    """


@augment.command()
@_FOLDER
@click.option("--train_file", required=True, type=_FILE, help="Gold rows to augment.")
@click.option("--dev_file", type=_FILE, help="Its sentences never become synthetic ones.")
@click.option("--test_file", type=_FILE, help="Its sentences never become synthetic ones.")
@click.option(
    "--language", required=True, type=click.Choice(["zh", "en", "ja", "ko"]), help="Of prompts and tag names."
)
@click.option("--task", type=click.Choice(["ner", "nested_ner", "segmentation", "pos"]), help="The target task.")
@client_options
@asking_options
@pool_options
def init(folder: Path, **options: Any) -> None:
    """Make a run folder: FOLDER/augment.yaml with every setting and its meaning.

    Checks the data, sends nothing. Then edit the file, or go on with `plan` and `run`.
    """
    from augmentation.settings import SETTINGS_FILE, check_files, check_settings, settings_text
    from augmentation.steps.languages import script_doubt
    from augmentation.steps.pool import UNLABELED_FILE, keep_texts
    from modeling_knowfree.data.commands import reading_params
    from modeling_knowfree.data.readers import read_rows
    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.files import write_whole
    from modeling_knowfree.units_knowfree import infer_unit

    path = folder / SETTINGS_FILE
    if path.exists():
        raise InputError(f"{path}: exists already; edit it, or name another folder")
    values = {name: value for name, value in options.items() if value not in (None, ())}
    for name in ("train_file", "dev_file", "test_file"):
        if name in values:
            task = values.get("task", "ner")
            try:
                rows = read_rows(values[name], task=task, flat=task != "nested_ner" and name == "train_file")
            except InputError as error:
                if not any(option.opts[0] in str(error) for option in reading_params() if option.name != "task"):
                    raise
                convert = f"knowfree data convert {values[name]} NEW.jsonl"
                hint = f"options of reading are those of `{convert}`: give its result"
                raise InputError(error.message, [*error.details, hint]) from error
            values[name] = _from_folder(folder, values[name])
            if name == "train_file":
                values["unit"] = infer_unit(rows)
                gold = rows
                found = f"{len(rows)} rows, units are {values['unit']}s"
    values["answers"] = [_from_folder(folder, path) for path in values.get("answers", ())]
    values, texts = _pool_changes(folder, values)
    settings = check_settings(values, str(path))
    if texts is not None:
        keep_texts(folder / UNLABELED_FILE, texts, accept_changes=False)
    check_files(folder, settings)
    if doubt := script_doubt(gold, settings.language, str(options["train_file"])):
        click.echo(doubt, err=True)
    write_whole(path, settings_text(settings))
    click.echo(f"{path}: {found}. Next: knowfree augment plan {folder}")


@augment.command()
@_FOLDER
@click.option("--prompts/--no_prompts", default=True, help="Show two rendered prompts a task.")
@_JSON
def plan(folder: Path, prompts: bool, as_json: bool) -> None:
    """Show what `run` will ask and cost. Sends nothing."""
    from augmentation.plan import make_plan
    from augmentation.settings import load_settings

    settings = load_settings(folder)
    with open_run(folder, settings, offline=True, accept_changes=True) as run:
        result = make_plan(run)
    if not prompts:
        result = replace(result, prompts={})
    if as_json:
        click.echo(json.dumps(asdict(result), ensure_ascii=False))
        return
    if prompts:
        for task, texts in result.prompts.items():
            for text in texts:
                click.echo(click.style(f"--- {task} ---", bold=True))
                click.echo(text + "\n")
    click.echo(f"{result.rows} rows")
    click.echo(f"{'task':<16}{'to ask':>8}{'stored':>8}{'later':>16}{'prompt tokens':>20}{'answer tokens':>20}")
    for task, entry in result.tasks.items():
        click.echo(
            f"{task:<16}{entry.missing:>8}{entry.cached:>8}{_range(entry.later):>16}"
            f"{_range(entry.prompt_tokens):>20}{_range(entry.completion_tokens):>20}"
        )
    unpriced = "" if settings.priced else " (no price set)"
    click.echo(f"cost: ${result.usd[0]:.4f} to ${result.usd[1]:.4f}{unpriced}")
    click.echo("`later`, tokens and cost are estimates: they depend on answers still to come.")


def _range(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} to {pair[1]}"


@augment.command()
@_FOLDER
@client_options
@asking_options
@pool_options
@click.option(
    "--pick_model", type=click.Path(file_okay=False), help="Folder of the model that --pick uncertain and both follow."
)
@budget_options
@click.option("--accept_changes", is_flag=True, help="Go on although input or settings changed since the last run.")
@_JSON
def run(folder: Path, accept_changes: bool, as_json: bool, **options: Any) -> None:
    """Ask what is missing, then build the results. Safe to interrupt and to run again.

    Options given here, but for budgets, are written into FOLDER/augment.yaml. Results: fusion.jsonl, synthetic.jsonl,
    pool.jsonl, train.jsonl (their union), label_map.json, provenance.jsonl, failed.jsonl, counts.json; of a pool also
    teacher.json, how well the LLM tags the gold, written before anything of the pool is asked.
    """
    _run(folder, accept_changes, as_json, options, retry=False)


@augment.command("retry-failed")
@_FOLDER
@client_options
@budget_options
@_JSON
def retry_failed(folder: Path, as_json: bool, **options: Any) -> None:
    """Ask the failed requests again from the start, then build the results anew."""
    _run(folder, False, as_json, options, retry=True)


def _run(folder: Path, accept_changes: bool, as_json: bool, options: dict[str, Any], *, retry: bool) -> None:
    from augmentation.finished import check_no_copy
    from augmentation.settings import change_settings, load_settings
    from augmentation.steps.normalisation import sentence_encoder
    from augmentation.steps.teacher import TEACHER_FILE

    check_no_copy(folder)
    budget = budget_of(options)
    changes = {name: value for name, value in options.items() if value not in (None, ())}
    if "answers" in changes:
        changes["answers"] = [_from_folder(folder, path) for path in changes["answers"]]
    changes, texts = _pool_changes(folder, changes)
    settings = load_settings(folder, changes)
    sentence_encoder(settings.encoder)  # a wrong name shall stop the run before it costs anything
    asking: dict[str, Any] = {"offline": False, "budget": budget, "accept_changes": accept_changes, "texts": texts}
    with open_run(folder, settings, **asking) as run:
        if changes:
            change_settings(folder, changes)
        if retry:
            click.echo(f"{run.runner.store.release_failures()} failed requests to ask again", err=True)
        line = ProgressLine()
        try:
            run.ask(line)
        finally:
            line.close()
            if run.pool and run.pool.teacher and (folder / TEACHER_FILE).is_file():
                click.echo(run.pool.table(), err=as_json)
        counts = run.write()
        if as_json:
            click.echo(json.dumps(counts, ensure_ascii=False))
        else:
            _tell(folder, counts)


def _tell(folder: Path, counts: dict[str, Any]) -> None:
    for part in ("source", "pool", "synthetic"):
        if part in counts:
            click.echo(f"{part}: {counts[part]['rows']} rows")
            for task, numbers in counts[part].items():
                if isinstance(numbers, dict):
                    told = ", ".join(f"{name} {n}" for name, n in numbers.items() if n)
                    click.echo(f"  {task}: {told}")
    for part, numbers in counts["types"].items():
        decided = ", ".join(f"{name} {n}" for name, n in numbers["decided_by"].items())
        click.echo(f"types, {part}: {numbers['raw']} raw -> {numbers['standard']} standard; decided by {decided}")
    if "synthesis" in counts:
        click.echo("sentences: " + ", ".join(f"{name} {n}" for name, n in counts["synthesis"].items()))
    failed = sum(counts["failed"].values())
    if failed:
        click.echo(
            f"{failed} answers failed, listed in {folder / 'failed.jsonl'}; `knowfree augment retry-failed {folder}` "
            "asks them again",
            err=True,
        )
    click.echo(f"results in {folder}")


@augment.command()
@_FOLDER
@_JSON
def status(folder: Path, as_json: bool) -> None:
    """Show what is stored, what failed, what was spent, and which results are there. Sends nothing."""
    from augmentation.llm.store import Store
    from augmentation.pipeline import STORE_FILE
    from augmentation.settings import RESULTS, load_settings
    from modeling_knowfree.data.rows import InputError

    load_settings(folder)
    if not (folder / STORE_FILE).exists():
        raise InputError(f"{folder}: nothing asked yet; run `knowfree augment run {folder}`")
    with Store(folder / STORE_FILE) as store:
        state: dict[str, Any] = {
            "answers": store.counts(),
            "failed": [{"task": f.task, "id": f.row_id, "reason": f.reason} for f in store.failures()],
            "spent": asdict(store.spent()),
            "results": [name for name in RESULTS if (folder / name).exists()],
        }
    if as_json:
        click.echo(json.dumps(state, ensure_ascii=False))
        return
    click.echo("answers: " + (", ".join(f"{task} {n}" for task, n in state["answers"].items()) or "none"))
    click.echo("spent: " + ", ".join(f"{name} {value}" for name, value in state["spent"].items()))
    click.echo("results: " + (", ".join(state["results"]) or "none yet"))
    click.echo(f"failed: {len(state['failed'])}")
    for failure in state["failed"][:20]:
        click.echo(f"  {failure['task']} of {failure['id']}: {failure['reason']}")


@augment.command(short_help="Save what a damaged store still holds.")
@_FOLDER
@_JSON
def salvage(folder: Path, as_json: bool) -> None:
    """Save the readable answers of a damaged FOLDER/answers.sqlite into a new store. Sends nothing.

    The new store takes the place of the damaged one, which is kept beside it. What could not be read is asked again by
    the next `run`.
    """
    from augmentation.llm.salvage import salvage as save
    from augmentation.pipeline import STORE_FILE

    saved = save(folder / STORE_FILE)
    if as_json:
        click.echo(json.dumps(asdict(saved), default=str))
    elif saved.kept_as is None:
        click.echo(f"{folder / STORE_FILE} is whole: {saved.answers} answers; nothing to salvage")
    else:
        click.echo(
            f"{saved.answers} answers and {saved.failures} noted failures are saved in {folder / STORE_FILE}; the "
            f"damaged file is kept as {saved.kept_as}; `knowfree augment run {folder}` asks for the rest"
        )


@augment.command()
@_FOLDER
@click.option("--p", type=click.IntRange(min=1), help="Farthest vectors that make a radius (equation 6).")
@click.option("--epsilon", type=click.FloatRange(min=0), help="A type joins within so many radii of the reference.")
@click.option("--reference", type=click.Choice(["samples", "radius"]), help="What makes the reference of a group.")
@click.option("--singletons", type=click.Choice(["keep", "split"]), help="A reference of one sample: keep or split.")
@click.option("--encoder", help="Another sentence-transformers model.")
@_JSON
def labels(folder: Path, as_json: bool, **options: Any) -> None:
    """Merge the labels anew with other settings and rebuild the results. Sends nothing.

    The new values are written into FOLDER/augment.yaml.
    """
    from augmentation.settings import change_settings, check_state, load_settings

    check_state(folder, load_settings(folder))
    changes = {name: value for name, value in options.items() if value is not None}
    with open_run(folder, load_settings(folder, changes), offline=True, writes=True, accept_changes=True) as run:
        counts = run.write()
        change_settings(folder, changes)
    if as_json:
        click.echo((folder / "label_map.json").read_text(encoding="utf-8"))
        return
    from modeling_knowfree.data.stored import stored_object

    label_map = stored_object(folder / "label_map.json")
    for name in label_map["labels"]:
        raw = [raw for raw, entry in label_map["types"].items() if entry["standard"] == name]
        click.echo(f"{name}: {', '.join(raw)}")
    _tell(folder, counts)


@augment.command(short_help="Write the results for use elsewhere.")
@_FOLDER
@click.option("--format", "format_", type=click.Choice(["datasets", "jsonl", "conll"]), default="datasets")
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="A new folder.")
@click.option("--decisions", type=click.Path(dir_okay=False, path_type=Path), help="By default FOLDER/decisions.json.")
def export(folder: Path, format_: str, output: Path, decisions: Path | None) -> None:
    """Write the results for use elsewhere, without what the review rejected.

    datasets: Parquet with typed features, for `load_dataset(OUTPUT, "fusion")`. jsonl: rows as `knowfree train` reads
    them. conll: target labels only.
    """
    from augmentation.review.decisions import DECISIONS_FILE, Decisions, read_decisions, unmatched
    from augmentation.review.export import export_conll, export_datasets, export_jsonl
    from augmentation.settings import changes_of
    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.files import is_taken

    if is_taken(output):
        raise InputError(f"--output {output}: exists and is not empty; allowed: a new folder; mend: name another one")
    given = decisions or (folder / DECISIONS_FILE if (folder / DECISIONS_FILE).exists() else None)
    export_as = {"datasets": export_datasets, "jsonl": export_jsonl, "conll": export_conll}[format_]
    decided = read_decisions(given) if given else Decisions()
    counts = export_as(folder, output, decided)
    for config, left_out in counts.items():
        told = ", ".join(f"{n} {name}" for name, n in left_out.items() if n)
        click.echo(f"{config}: " + (f"left out {told}" if told else "all rows and spans"))
    if lost := unmatched(folder, decided):
        click.echo(lost, err=True)
    if changes := changes_of(folder):
        click.echo(f"these results are from before: {'; '.join(changes)}", err=True)
    click.echo(f"written to {output}" + ("" if given else "; no decisions file, nothing was rejected"))


@augment.command()
@_FOLDER
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="By default FOLDER/review.html.")
@click.option("--start", default=0, type=click.IntRange(min=0), help="First sample to show.")
@click.option("--limit", default=500, type=click.IntRange(min=1), help="How many samples to show.")
def review(folder: Path, output: Path | None, start: int, limit: int) -> None:
    """Make an HTML page on which to look at every sample and reject what is wrong. Sends nothing.

    Save the page's decisions as FOLDER/decisions.json; `export` honours them.
    """
    from augmentation.review.decisions import DECISIONS_FILE, Decisions, read_decisions
    from augmentation.review.page import review_page
    from augmentation.settings import load_settings
    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.files import page_trouble, write_whole

    output = output or folder / "review.html"
    if told := page_trouble(output):
        raise InputError(f"--output {output}: {told}")
    path = folder / DECISIONS_FILE
    decisions = read_decisions(path) if path.exists() else Decisions()
    with open_run(folder, load_settings(folder), offline=True) as run:
        page = review_page(run, decisions, start=start, limit=limit)
    write_whole(output, page)
    click.echo(f"open {output} in a browser")
