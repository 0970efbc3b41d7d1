"""The command line. Heavy imports stay inside the commands: `knowfree --help` answers at once."""

import atexit
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
OURS = ("knowfree", "push_to_hub", "modeling_knowfree", "augmentation")
PACKAGES = {"sklearn": "scikit-learn", "torchcrf": "pytorch-crf", "yaml": "pyyaml", "google": "protobuf"}
"""Packages that are called otherwise than what they are imported as."""


def one_spelling(option: str) -> str:
    """`--max-usd` is `--max_usd`: options are declared and shown with underscores, as Hugging Face's are, and dashes
    are understood everywhere."""
    return option.replace("-", "_")


# Commands in files of their own: module, attribute, and the line that `knowfree --help` shows without importing them.
ELSEWHERE = {
    "push": ("push_to_hub", "push", "Push model, data set, metric and Space to the Hub."),
    "run": (
        "knowfree_experiments.run.command",
        "run",
        "The whole paper: augment, train, explain, retrain, score, report.",
    ),
    "suggest": (
        "knowfree_experiments.suggest.commands",
        "suggest",
        "The texts worth labelling next, tagged by a model already.",
    ),
    "report": ("knowfree_experiments.report.command", "report", "What a run found, on one HTML page."),
    "augment": (
        "augmentation.commands",
        "augment",
        "Let an LLM annotate, merge labels, fuse, explain.",
    ),
    "export": (
        "modeling_knowfree.inference.commands",
        "export",
        "Export to ONNX, for machines without PyTorch.",
    ),
    "serve": ("modeling_knowfree.inference.commands", "serve", "Serve a model over HTTP."),
    "data": ("modeling_knowfree.data.commands", "data", "Look at, turn, list and fetch annotated data."),
}


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """
    The one place that turns errors into exit codes: what people can mend becomes a line on standard error.

    An exception class says with `exit_code` that it is such an error (as click's own do): 1 failed, 2 bad usage or bad
    input, 3 stopped and can be resumed; an interruption is 128 more than the signal's number, which its `signal` says
    where it was not Ctrl-C. Packages that are not installed and what the Hub refuses are told here. Any
    other exception is a bug, and its traceback goes through.
    """
    try:
        yield
    except click.exceptions.Exit:
        raise
    except KeyboardInterrupt as stop:
        click.echo(f"knowfree: {str(stop) or 'interrupted'}", err=True)
        sys.exit(128 + getattr(stop, "signal", signal.SIGINT))
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        message, code = told
        from augmentation.redaction import redact

        click.echo(redact(f"knowfree: {message}"), err=True)
        sys.exit(code)


def _told(error: Exception) -> tuple[str, int] | None:
    code = getattr(error, "exit_code", None)
    if isinstance(error, click.ClickException):
        return None  # click tells it, with the same codes
    if isinstance(code, int):
        return str(error), code
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_package(error.name)
    # Looked up, not imported: where they were not imported, nothing has raised them.
    hub, http = sys.modules.get("huggingface_hub.errors"), sys.modules.get("httpx2") or sys.modules.get("httpx")
    if hub and isinstance(error, hub.OfflineModeIsEnabled):
        return "the Hub cannot be reached: HF_HUB_OFFLINE is set; mend: unset HF_HUB_OFFLINE", 1
    if hub and isinstance(error, hub.HfHubHTTPError):
        overtaken = "; somebody else pushed meanwhile: run it again" if error.response.status_code == 412 else ""
        return f"the Hub refused: {' '.join((error.server_message or str(error)).split())}{overtaken}", 1
    if http and isinstance(error, http.TransportError):
        return f"the Hub cannot be reached ({error}); run it again, finished uploads are kept", 1
    return _told_of_disk(error) if isinstance(error, OSError) else None


def _told_of_disk(error: OSError) -> tuple[str, int] | None:
    from modeling_knowfree.files import disk_trouble

    if (told := disk_trouble(error)) is None:
        return None
    if error.filename is None:  # what standard output still holds would fail once more at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return told, 1


def missing_package(module: str) -> tuple[str, int] | None:
    """What to say where `module` cannot be imported: the extra that brings it, by this package's own metadata. None
    for a part of this package: that is a bug."""
    from importlib.metadata import requires

    top = module.split(".")[0]
    if top in OURS or top.startswith("knowfree_"):
        return None
    package = PACKAGES.get(top, top.replace("_", "-"))
    for requirement in requires("knowfree") or ():
        name, _, condition = requirement.partition(";")
        found = re.match(r"[\w.-]+", name)
        if not found or found[0].lower().replace("_", "-") != package.lower():
            continue
        extra = re.search(r"extra\s*==\s*[\"']([\w-]+)[\"']", condition)
        if extra:
            return f'{package} is not installed; mend: pip install "knowfree[{extra[1]}]"', 1
        return f"{package} is not installed, which knowfree needs; mend: pip install {package}", 1
    return f"{top} is not installed, and no extra of knowfree brings it; mend: install the package that has it", 1


class Commands(click.Group):
    """A group some of whose commands are imported only when they are called, with the exit codes of all of them."""

    worked_together = False
    """Whether the last command was one of several processes."""

    def invoke(self, context: click.Context) -> Any:
        with exit_codes():
            try:
                return super().invoke(context)
            finally:
                self.worked_together = _leave_together()

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in ELSEWHERE:
            return super().get_command(context, name)
        module, attribute, _ = ELSEWHERE[name]
        return getattr(import_module(module), attribute)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, ELSEWHERE[name][2] if name in ELSEWHERE else self.commands[name].get_short_help_str(90))
            for name in self.list_commands(context)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _leave_together() -> bool:
    """Several processes that worked together end together, well or not: one that ends while others still talk is
    aborted, and one whose peer is gone before they met tells of that instead of the error of both. Whether there are
    several."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return False
    if sys.exc_info()[0] is None:
        distributed.barrier()
    elif isinstance(sys.exc_info()[1], Exception) and distributed.get_backend() == "gloo":
        with contextlib.suppress(RuntimeError):  # where this process alone failed, the others do not come
            distributed.monitored_barrier(timeout=timedelta(seconds=10))
    distributed.destroy_process_group()
    return True


class Reading(click.Command):
    """A command that also takes how an annotated file is read; the options are imported when it is called."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from modeling_knowfree.data.commands import reading_params

        return [*super().get_params(ctx), *reading_params()]


@click.group(cls=Commands, context_settings=CONTEXT | {"token_normalize_func": one_spelling})
@click.version_option(package_name="knowfree")
def cli() -> None:
    """KnowFREE: span tagging from a few annotated sentences.

    \b
    knowfree train --model_name_or_path bert-base-chinese --train_file train.jsonl --output_dir runs/mine
    knowfree evaluate --model runs/mine --data test.jsonl
    echo 我们一起在嘉鱼 | knowfree predict --model runs/mine --input - --text
    """


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train one model from one training file; works under `accelerate launch`."""
    from modeling_knowfree.console import be_quiet, is_first
    from modeling_knowfree.training.train import train as run

    be_quiet()
    results = run(arguments)
    for split, metrics in results.items() if is_first() else ():
        click.echo(score_line(split, metrics), err=True)


def score_line(name: str, scores: dict[str, float]) -> str:
    prefix = f"{name}_" if f"{name}_f1" in scores else ""
    parts = [f"{label} {scores[prefix + key] * 100:.2f}" for label, key in SCORES]
    return f"{name}: {'  '.join(parts)}"


SCORES = (("F1", "f1"), ("precision", "precision"), ("recall", "recall"), ("macro F1", "macro_f1"))

model_option = click.option("--model", required=True, help="Folder that `knowfree train` wrote, or a Hub id.")
threshold_option = click.option("--threshold", type=click.FloatRange(0, 1, True, True), help="Default: the model's.")
decoding_option = click.option("--decoding", type=click.Choice(["flat", "nested", "all"]), help="Default: the model's.")
device_option = click.option("--device", help="cpu, cuda, cuda:1, …  [default: the fastest there is]")
batch_option = click.option("--batch_size", type=click.IntRange(1), default=16, show_default=True)
spans_option = click.option(
    "--spans_per_batch", type=click.IntRange(1), help="Fewer sentences a batch where they are long; default: no limit."
)


@cli.command(cls=Reading)
@click.option("--train_file", required=True, help="Annotated sentences, any format that `train` reads.")
@click.option(
    "--output_dir", required=True, type=click.Path(path_type=Path), help="Folder for train_250.jsonl, k5.jsonl …"
)
@click.option("--sizes", type=click.IntRange(1), multiple=True, help="Sentences; repeatable.  [default: 250 500 1000]")
@click.option("--shots", type=click.IntRange(1), multiple=True, help="k of k-shot; repeatable.  [default: 5 10 15 20]")
@click.option("--seed", default=42, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def sample(
    train_file: str, output_dir: Path, sizes: tuple, shots: tuple, seed: int, as_json: bool, **options: Any
) -> None:
    """Draw low-resource subsets: 250 ⊂ 500 ⊂ 1000 sentences, and k-shot 5 ⊂ 10 ⊂ 15 ⊂ 20.

    Giving only --sizes or only --shots draws only these.
    """
    from modeling_knowfree.data.readers import read_rows
    from modeling_knowfree.training.sampling import SHOTS, SIZES, write_subsets

    if not sizes and not shots:
        sizes, shots = SIZES, SHOTS
    rows = read_rows(train_file, **_reading(options))
    counts = write_subsets(rows, output_dir, sizes=sizes, ks=shots, seed=seed, name=train_file)
    if as_json:
        click.echo(json.dumps(counts))
        return
    for name, count in counts.items():
        click.echo(f"{output_dir / name}: {', '.join(f'{number} {what}' for what, number in count.items())}")


@cli.command(cls=Reading)
@model_option
@click.option("--data", required=True, help="Annotated file, any format that `train` reads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@device_option
@threshold_option
@decoding_option
@batch_option
@spans_option
def evaluate(model: str, data: str, as_json: bool, batch_size: int, **options: Any) -> None:
    """Score a model on an annotated file: micro and macro F1, and every label's."""
    from modeling_knowfree.console import be_quiet
    from modeling_knowfree.data.rows import visible
    from modeling_knowfree.inference.tag import evaluate as run

    be_quiet()
    reading = _reading(options)
    scores = run(model, data, batch_size=batch_size, reading=reading, **_given(options))
    if scores is None:
        return
    if as_json:
        click.echo(json.dumps(scores, ensure_ascii=False))
        return
    click.echo(score_line(Path(data).name, scores))
    if "reason" in scores:
        click.echo(f"F1 is 0: {scores['reason']}", err=True)
    width = max([5, *(len(label) for label in scores["per_label"])])
    click.echo(f"{'label':<{width}}  {'F1':>6}  {'prec':>6}  {'recall':>6}  {'gold':>5}  {'found':>5}")
    for label, row in scores["per_label"].items():
        ratios = "  ".join(f"{row[key] * 100:6.2f}" for key in ("f1", "precision", "recall"))
        click.echo(f"{visible(label):<{width}}  {ratios}  {row['support']:>5}  {row['predicted']:>5}")


@cli.command()
@model_option
@click.option("--input", "source", required=True, help="File, or - for standard input, answered batch by batch.")
@click.option("--text", is_flag=True, help="Lines are raw text, not JSON.")
@click.option("--output", help="File, whole or not there at all; - is standard output.  [default: -]")
@click.option("--output_format", help="jsonl, parquet, or one of `knowfree data formats`.  [default: by --output]")
@click.option("--resume", is_flag=True, help="Go on where a run into --output was stopped.")
@device_option
@threshold_option
@decoding_option
@batch_option
@spans_option
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--ray_address", help="Cluster, as ray.init takes it.  [default: RAY_ADDRESS, or this machine]")
@click.option("--workers", type=click.IntRange(1), help="Of Ray.  [default: one a GPU, or without GPUs one a CPU]")
@click.option("--shard_rows", type=click.IntRange(1), help="Rows in a file of Ray's output.  [default: 10000]")
def predict(source: str, output: str | None, engine: str, **options: Any) -> None:
    """Tag a file, in input order: JSON lines on standard output, or a file.

    Input is JSON lines or Parquet with "tokens" (offsets then count tokens) or "text" (characters), or with --text a
    text a line.

    \b
    knowfree predict --model runs/mine --input new.jsonl --output tagged.jsonl --resume
    knowfree predict --model runs/mine --input new.parquet --output tagged.parquet
    knowfree predict --model runs/mine --input new.txt --text --output tagged.conll --output_format conll

    With --engine ray a cluster tags a file or folder into a folder, on any fsspec path; the same command goes on after
    a stop:

    \b
    knowfree predict --engine ray --model me/tagger --input s3://in/texts --output s3://out/tagged
    """
    from modeling_knowfree.console import be_quiet
    from modeling_knowfree.data.rows import InputError

    be_quiet()
    output = None if output == "-" else output
    of_ray = ("ray_address", "workers", "shard_rows")
    if engine == "local":
        for name in of_ray:
            if options.pop(name) is not None:
                raise InputError(f"--{name}: is for Ray; add --engine ray, or leave it out")
        _predict_here(source, None if output is None else Path(output), **options)
        return
    if output is None or source == "-":
        raise InputError("--engine ray: reads a file or folder and writes a folder; give --input and --output")
    if options.pop("device") is not None:
        raise InputError("--device: Ray gives each worker its own; leave it out")
    if options["output_format"] not in (None, "jsonl", "parquet"):
        raise InputError(f"--output_format {options['output_format']}: Ray writes jsonl or parquet; name one of these")
    from modeling_knowfree.inference.ray_engine import predict_with_ray

    options.pop("resume")  # it always does
    count = predict_with_ray(source=source, output=output, **_given(options))
    click.echo(f"{output}: {count} rows tagged", err=True)


def _predict_here(
    source: str, output: Path | None, text: bool, output_format: str | None, resume: bool, **options: Any
) -> None:
    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.files import followed
    from modeling_knowfree.held import held
    from modeling_knowfree.inference.outputs import (
        check_output,
        check_unfinished,
        done_so_far,
        finish,
        format_of,
        weights_of,
        write_lines,
    )
    from modeling_knowfree.inference.tag import predict as run
    from modeling_knowfree.inference.tag import processes, unit_of_model

    written = format_of(output, output_format)
    output = output and followed(output)
    check_output(output, written, resume)
    options = _given(options) | {"name": source, "text": text}
    model = options["model"]
    tags_with = {"model": os.path.abspath(model) if os.path.isdir(model) else model, "text": text}
    tags_with |= {name: options.get(name) for name in ("threshold", "decoding")}
    with contextlib.ExitStack() as opened:
        if output is not None:
            if processes().is_main_process:
                opened.enter_context(held(output, "--output"))
                check_unfinished(output, resume)
            tags_with["weights"] = weights_of(model)
            count, options["done"] = done_so_far(output, tags_with) if resume else (0, ())
            processes().wait_for_everyone()
            if resume:
                click.echo(f"{output}: {count} rows are done already", err=True)
        try:
            path = Path(source)
            if not path.is_file():  # standard input, or a pipe, which can be read only once
                lines: Any = _piped(opened.enter_context(click.open_file(source, "rb")), source)
            else:
                lines = path if _is_parquet(path) else _unpacked(path)
        except OSError as error:
            raise InputError(f"--input {source}: {error.strerror}; name a file, or - for standard input") from error
        # Closed before an error is told, and its progress bar with it: the error is a line of its own.
        found = opened.enter_context(contextlib.closing(run(source=lines, **options)))
        if output is None:
            for line in found:
                click.echo(line)
        elif processes().is_main_process:
            try:
                write_lines(found, output, tags_with)
                finish(output, written, unit_of_model(model))
            except KeyboardInterrupt as stop:
                stop.args = (f"interrupted; what is tagged lies beside {output}; to go on: the same with --resume",)
                raise
        else:
            for _ in found:
                pass


def _unpacked(path: Path) -> Iterator[bytes]:
    from modeling_knowfree.data.lines import open_binary

    with open_binary(path) as lines:
        yield from lines


def _piped(lines: Iterable[bytes], source: str) -> Iterator[bytes]:
    from modeling_knowfree.data.lines import packer_of
    from modeling_knowfree.data.rows import InputError

    for number, line in enumerate(lines):
        if number == 0 and (packer := packer_of(line[:10])):
            raise InputError(f"--input {source}: is packed by {packer}; unpack it on the way: {packer} -dc FILE | …")
        yield line


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


@cli.command()
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="Released folder.")
@click.option("--labels", required=True, type=click.Path(path_type=Path), help="Its label file, txt or json.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="New folder.")
def convert(source: Path, labels: Path, output: Path) -> None:
    """Turn a released KnowFREE checkpoint or data folder into ours."""
    from modeling_knowfree.console import be_quiet
    from modeling_knowfree.convert import convert as run

    be_quiet()
    click.echo(run(source, labels, output))


def _reading(options: dict) -> dict:
    """Takes what `Reading` adds out of a command's options: what `read_rows` takes."""
    from modeling_knowfree.data.commands import given_options, reading_params

    return given_options({option.name: options.pop(option.name) for option in reading_params()})


def _given(options: dict) -> dict:
    return {name: value for name, value in options.items() if value is not None}


def main() -> None:
    """Entry point: 0 done, 1 failed, 2 bad usage or bad input, 3 stopped on a budget."""
    _open_closed_streams()
    try:
        with exit_codes():
            try:
                cli()
            finally:
                sys.stdout.flush()
    except SystemExit as end:
        if cli.worked_together:
            _end_at_once(end)
        raise


def _open_closed_streams() -> None:
    """A standard stream that the caller closed is None, and the next file that is opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, open to the end


def _end_at_once(end: SystemExit) -> NoReturn:
    """Without taking the interpreter down first: FSDP's caches keep the process group, and a thread of it that lets go
    of a tensor meanwhile is aborted, and the process with it (pytorch/pytorch#190489)."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


if __name__ == "__main__":
    main()
