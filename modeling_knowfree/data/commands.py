"""`knowfree data …`: look at annotated files, turn them into another format, list the formats, fetch data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

TASKS = ("ner", "nested_ner", "segmentation", "pos")


@click.group()
def data() -> None:
    """Look at, turn, list and fetch annotated data."""


def reading_options(command: Callable) -> Callable:
    """What the user may say about a file that is read; `given_options` collects it."""
    for option in reversed(
        (
            click.option("--format", help="Format of the file; `knowfree data formats` lists them.  [default: auto]"),
            click.option(
                "--scheme",
                help="Scheme of the tags: bio, iob1, iob2, bioes, bmes, bilou, suffix, io, each (one a token).",
            ),
            click.option(
                "--task", type=click.Choice(TASKS), help="What a file is read for, where it can be several things."
            ),
            click.option("--tag_column", help="The column of tags that counts: a number from 1, or a name."),
            click.option("--tag_names", help="File with the names of integer tags: a list, or dataset_info.json."),
            click.option("--annotator", help="Whose annotation counts where several differ on one sentence."),
            click.option("--trim", is_flag=True, help="Cut white space off spans."),
            click.option("--skip_bad_rows", is_flag=True, help="Leave bad rows out and count them."),
        )
    ):
        command = option(command)
    return command


def reading_params() -> list[click.Parameter]:
    """The same options, for a command that is defined where importing this file would take too long."""

    def nothing() -> None: ...

    return list(reversed(reading_options(nothing).__click_params__))  # type: ignore[attr-defined]


def given_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, for `read_rows`."""
    return {name: value for name, value in options.items() if value not in (None, False)}


@data.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with all of it drawn.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@reading_options
def check(files: tuple[str, ...], html: Path | None, as_json: bool, **options: Any) -> None:
    """Show what will be trained on, before anything trains.

    The first FILE is the one to train on; dev and test files after it are compared with it.

    \b
      knowfree data check train.jsonl dev.jsonl test.jsonl --html data.html
    """
    import json

    from ..files import page_trouble
    from .inspection import compare, details, finding_lines, inspect, summary, width_costs
    from .readers import read_file
    from .rows import InputError, visible

    if html is not None and (told := page_trouble(html)):
        raise InputError(f"--html {html}: {told}")
    readings = [(name, read_file(name, quiet=True, **given_options(options))) for name in files]
    inspections = [inspect(reading, name) for name, reading in readings]
    between = compare([(name, reading.rows) for name, reading in readings])
    if html is not None:
        # The one renderer of spans lies above this package; only the command line reaches up to it.
        from augmentation.review.data_page import data_page

        from ..files import write_whole

        pairs = [(found, reading.rows) for found, (_, reading) in zip(inspections, readings, strict=True)]
        write_whole(html, data_page(pairs, between))
        click.echo(f"page: {html}", err=True)
    if as_json:
        plain = {kind: {"count": found.count, "places": found.places} for kind, found in between.items()}
        click.echo(
            json.dumps({"files": [each.as_json() for each in inspections], "between": plain}, ensure_ascii=False)
        )
        return
    for inspection, (_, reading) in zip(inspections, readings, strict=True):
        for line in summary(inspection):
            click.secho(visible(line), bold=line.startswith(inspection.name))
        for label, examples in inspection.examples.items():
            colour = _COLOURS[list(inspection.labels).index(label) % len(_COLOURS)]
            click.secho(f"  {visible(label)}", fg=colour, bold=True)
            for example in examples:
                before, mention, after = (visible(part) for part in example[1:])
                click.echo(f"    {before}{click.style(f'[{mention}]', fg=colour)}{after}  ({visible(example.id)})")
        for line in details(inspection):
            click.echo(visible(line))
        for limit, wider in width_costs(reading.rows).items():
            click.echo(f"    max_span_width {limit}: {wider} spans out of reach")
        for line in [*(f"told: {line}" for line in inspection.told), *finding_lines(inspection.findings)]:
            click.echo(visible(line))
        click.echo()
    for line in finding_lines(between):
        click.echo(visible(line))


_COLOURS = ("green", "blue", "magenta", "cyan", "yellow", "red", "bright_green", "bright_blue", "bright_magenta")


@data.command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", default="jsonl", show_default=True, help="Format of OUT; `knowfree data formats` lists them.")
@click.option("--unit", type=click.Choice(["character", "word"]), help="What running text is cut into.")
@reading_options
def convert(source: str, output: Path, to: str, **options: Any) -> None:
    """Turn an annotated file or folder into another format."""
    from ..files import is_taken
    from .formats import write_rows_as, writer_named
    from .readers import read_file
    from .rows import InputError

    target = writer_named(to)
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise InputError(f"{output}: is IN itself; allowed: another file; mend: name a new one")
    if is_taken(output):
        raise InputError(f"{output}: exists already; allowed: a new file; mend: name another one, or delete it")
    reading = read_file(source, quiet=True, **given_options(options))
    left_out = write_rows_as(reading.rows, to, output)
    click.echo(f"{source}: {reading.format.name} ({reading.why})", err=True)
    for line in reading.told:
        click.echo(f"{source}: {line}", err=True)
    for line in left_out:
        click.echo(f"{output}: {line}", err=True)
    entities = sum(len(row["entities"]) for row in reading.rows)
    click.echo(f"{output}: {len(reading.rows)} sentences, {entities} entities, {target.name}", err=True)


@data.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def formats(as_json: bool) -> None:
    """List the formats that --format and --to know."""
    import json

    from .formats import FORMATS

    if as_json:
        keys = ("name", "tool", "recognised", "trap", "aliases")
        entries = [
            {**{key: getattr(format, key) for key in keys}, "written": format.write is not None}
            for format in FORMATS.values()
        ]
        click.echo(json.dumps(entries, ensure_ascii=False))
        return
    width = max(map(len, FORMATS))
    for format in FORMATS.values():
        access = "read, written" if format.write is not None else "read"
        click.echo(f"{format.name:<{width}}  {access:<13}  {format.tool}")
        click.echo(f"{'':<{width}}  recognised: {format.recognised}")
        click.echo(f"{'':<{width}}  mind: {format.trap}")


@data.command(short_help="Fetch a Hub data set, a file for each split.")
@click.argument("dataset", metavar="DATASET")
@click.argument("output_dir", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--config", "config_name", help="Configuration of the data set.")
@click.option("--revision", help="Branch or commit of the data set.")
@click.option("--to", default="jsonl", show_default=True, help="Format of the files.")
@reading_options
def get(dataset: str, output_dir: Path, config_name: str | None, revision: str | None, to: str, **options: Any) -> None:
    """Fetch a Hub data set (or a local folder of one) and write a file for each split.

    DATASET is an id of the Hub, a folder, or a data set of the paper by its name in examples/runs: weibo, mit-movie,
    stockmark-ja, klue-ko, ud. Of these the licence is told, and validation is written as dev.
    """
    import json

    from datasets import get_dataset_split_names, load_dataset

    from ..files import is_taken
    from .formats import write_rows_as, writer_named
    from .known import known_set
    from .readers import read_dataset
    from .rows import InputError

    target = writer_named(to)
    if is_taken(output_dir):
        raise InputError(f"{output_dir}: exists and is not empty; allowed: a new folder; mend: name another one")
    said = given_options(options)
    known = None if Path(dataset).is_dir() else known_set(dataset)
    if known is not None:
        assert known.hub is not None  # known_set saw to it
        note = f"; {known.by_hand}" if known.by_hand else ""
        click.echo(f"{dataset}: {known.title}, {known.hub} on the Hub; licence: {known.licence}{note}", err=True)
        dataset, config_name, revision = known.hub, config_name or known.config, revision or known.revision
        if known.tag_column:
            said.setdefault("tag_column", known.tag_column)
    try:
        names = get_dataset_split_names(dataset, config_name, revision=revision)
        splits = {str(name): load_dataset(dataset, config_name, split=name, revision=revision) for name in names}
        if known is not None and known.tag_names_file:
            from huggingface_hub import hf_hub_download

            numbers = json.loads(Path(hf_hub_download(dataset, known.tag_names_file, repo_type="dataset")).read_text())
            said.setdefault("tag_names", sorted(numbers, key=numbers.get))
    except (OSError, ValueError, RuntimeError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"{dataset}: {message:.400}; mend: check the id, --config and the network") from error
    rows = {name: read_dataset(split, name=f"{dataset}[{name}]", **said) for name, split in splits.items()}
    there = next(folder for folder in output_dir.absolute().parents if folder.is_dir())
    with TemporaryDirectory(dir=there, prefix=".knowfree-") as work:
        told = []
        for name, of_split in rows.items():
            file = f"{'dev' if known is not None and name == 'validation' else name}{target.suffix}"
            try:
                lines = write_rows_as(of_split, to, Path(work) / file)
            except InputError as error:
                told_of = [line.replace(work, str(output_dir)) for line in (error.message, *error.details)]
                raise InputError(told_of[0], told_of[1:]) from error
            told += [f"{output_dir / file}: {line}" for line in lines]
            told.append(f"{output_dir / file}: {len(of_split)} sentences")
        output_dir.mkdir(parents=True, exist_ok=True)
        for path in Path(work).iterdir():
            path.replace(output_dir / path.name)
    for line in told:
        click.echo(line, err=True)
