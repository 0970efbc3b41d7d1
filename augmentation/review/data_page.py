"""`knowfree data check --html`: the annotated files on one page, drawn as the report and the review draw spans."""

from collections.abc import Sequence
from html import escape

from modeling_knowfree.data.inspection import Finding, Inspection, details, finding_lines, summary
from modeling_knowfree.data.rows import Row

from .span_html import STYLE, drawn_spans, key, labels_of, looks, render

ROWS_SHOWN = 200

_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { background: light-dark(#fff, #181818); color: light-dark(#1a1a1a, #eaeaea); }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
h1, h2 { overflow-wrap: anywhere; }
.id { color: light-dark(#595959, #b0b0b0); font-size: 0.8rem; }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 10pt; } }
"""


def data_page(files: Sequence[tuple[Inspection, Sequence[Row]]], between: dict[str, Finding]) -> str:
    """
    One HTML page without scripts; all text is escaped.

    Args:
        files: what each file holds, and its rows; of each the first 200 are drawn.
        between: what `compare` found.
    """
    shown = [row for _, rows in files for row in rows[:ROWS_SHOWN]]
    labels = looks(labels_of(shown))
    extensions = set(labels_of([{"extensions": row.get("extensions")} for row in shown]))
    told = f"Key: how the {len(labels)} labels are drawn"
    parts = [f"<details><summary>{told}</summary>{key(labels, extensions)}</details>"] if labels else []
    if between:
        parts.append(f"<h2>Between the files</h2><pre>{escape(chr(10).join(finding_lines(between)))}</pre>")
    for inspection, rows in files:
        heard = [f"told: {line}" for line in inspection.told]
        lines = [*summary(inspection), *details(inspection), *heard, *finding_lines(inspection.findings)]
        parts.append(
            f"<h2><bdi>{escape(inspection.name)}</bdi></h2><pre dir='auto'>{escape(chr(10).join(lines))}</pre>"
        )
        for row in rows[:ROWS_SHOWN]:
            parts.append(f'<div class="id"><bdi>{escape(row["id"])}</bdi></div>')
            parts.append(render(row["tokens"], drawn_spans(row), unit=inspection.unit, drawn=labels))
        if len(rows) > ROWS_SHOWN:
            parts.append(f"<p>… and {len(rows) - ROWS_SHOWN} more sentences</p>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Annotated data</title>'
        f"<style>{_PAGE_STYLE}{STYLE}</style></head><body><h1>Annotated data</h1>{''.join(parts)}</body></html>\n"
    )
