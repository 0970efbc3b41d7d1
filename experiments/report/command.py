"""`knowfree report`: the command line of the report. Heavy imports stay inside."""

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="HTML file.  [default: RUN/report.html]")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown instead, for a card.")
def report(run: Path, output: Path | None, markdown: bool) -> None:
    """What a run found, on one HTML page that needs no network.

    RUN is the --output_dir of `knowfree run`, finished or not: F1 over seeds with paired-bootstrap intervals, k-shot
    and learning curves, what the extension labels learnt, where the synthetic sentences lie, which labels were merged,
    examples, and what was dropped.

    \b
    knowfree report runs/movie
    knowfree report runs/movie --markdown >> card.md
    """
    if markdown and output is not None:
        raise click.UsageError("--markdown goes to standard output: leave out --output, or write `> FILE`")
    from .report import report_markdown, write_report

    if markdown:
        click.echo(report_markdown(run), nl=False)
    else:
        click.echo(write_report(run, output))
