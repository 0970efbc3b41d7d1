"""`knowfree suggest`: the command line. Heavy imports stay inside the command."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("pool", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Folder that `knowfree train` wrote, or a Hub id.")
@click.option("--number", required=True, type=click.IntRange(min=1), help="How many texts.")
@click.option("--to", help="Format to write: `knowfree data formats` lists them.  [default: by --output, else jsonl]")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--pick",
    type=click.Choice(["random", "uncertain", "diverse", "both"]),
    default="uncertain",
    show_default=True,
    help="Which: at random, where the model doubts, spread out, both.",
)
@click.option("--labelled", multiple=True, help="File of texts that are labelled already; repeatable.")
@click.option("--encoder", help="Sentence encoder for diverse and both.  [default: the packaged one]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def suggest(
    pool: Path,
    model: str,
    number: int,
    to: str | None,
    output: Path,
    pick: str,
    labelled: tuple[str, ...],
    **options: object,
) -> None:
    """Write the texts of POOL that are worth a label next, with what the model finds in them already.

    POOL is plain text (a text a line, or a paragraph), a folder of such files, a table with a column `text`, or rows in
    any format; labels in it are not looked at. Correct what stands in OUTPUT with your tool, add it to the training
    file, train again.

    \b
      knowfree suggest texts.txt --model runs/mine --number 50 --to doccano --output next.jsonl
    """
    from modeling_knowfree.console import be_quiet
    from modeling_knowfree.data.formats import write_rows_as, writer_named
    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.files import is_taken
    from modeling_knowfree.held import held
    from modeling_knowfree.inference.outputs import format_of

    from .suggest import suggest as run

    be_quiet()

    def refuse_taken() -> None:
        if is_taken(output):
            raise InputError(f"--output {output}: exists already; name another file, or delete it")

    written = format_of(output, to)
    writer_named(written)
    refuse_taken()
    with held(output, "--output"):
        rows = run(pool, model=model, number=number, how=pick, labelled=labelled, **options)  # type: ignore[arg-type]
        refuse_taken()  # what someone else has put there meanwhile
        write_rows_as(rows, written, output)
    fewer = "" if len(rows) == number else f" ({number} were asked for; the pool has no more that differ)"
    click.echo(f"{output}: {len(rows)} texts{fewer}")
