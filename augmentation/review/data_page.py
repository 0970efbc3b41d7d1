"""`knowfree data check --html`: the annotated files on one page, drawn as the report and the review draw spans."""

from collections.abc import Sequence
from html import escape

from modeling_knowfree.data.inspection import Finding, Inspection, details, finding_lines, summary
from modeling_knowfree.data.rows import Row

from .span_html import STYLE, drawn_spans, render

ROWS_SHOWN = 200

_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.id { color: GrayText; font-size: 0.8rem; }
@media print { body { max-width: none; } }
"""


def data_page(files: Sequence[tuple[Inspection, Sequence[Row]]], between: dict[str, Finding]) -> str:
    """
    One HTML page without scripts; all text is escaped.

    Args:
        files: what each file holds, and its rows; of each the first 200 are drawn.
        between: what `compare` found.
    """
    parts = []
    if between:
        parts.append(f"<h2>Between the files</h2><pre>{escape(chr(10).join(finding_lines(between)))}</pre>")
    for inspection, rows in files:
        told = [f"told: {line}" for line in inspection.told]
        lines = [*summary(inspection), *details(inspection), *told, *finding_lines(inspection.findings)]
        parts.append(f"<h2>{escape(inspection.name)}</h2><pre>{escape(chr(10).join(lines))}</pre>")
        for row in rows[:ROWS_SHOWN]:
            parts.append(f'<div class="id">{escape(row["id"])}</div>')
            parts.append(render(row["tokens"], drawn_spans(row), unit=inspection.unit))
        if len(rows) > ROWS_SHOWN:
            parts.append(f"<p>… and {len(rows) - ROWS_SHOWN} more sentences</p>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Annotated data</title>'
        f"<style>{_PAGE_STYLE}{STYLE}</style></head><body><h1>Annotated data</h1>{''.join(parts)}</body></html>\n"
    )
