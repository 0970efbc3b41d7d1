"""What the Space draws: sentences with their spans, the extension scores behind predictions. All text is escaped."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from html import escape

from tagger import FLOOR, Prediction, Tagger

try:
    from span_html import STYLE as SPAN_STYLE  # beside the app, where push puts it
    from span_html import DrawnSpan, looks, render, visible
except ModuleNotFoundError:
    from augmentation.review.span_html import STYLE as SPAN_STYLE  # run from a checkout
    from augmentation.review.span_html import DrawnSpan, looks, render, visible

MOST_DRAWN = 5000  # characters of a text
MOST_COLUMNS = 24  # spans in the view of extension scores
MOST_EXTENSIONS = 16  # extension labels in it

STYLE = (
    SPAN_STYLE
    + """
body { color-scheme: light; }
body.dark { color-scheme: dark; }
.models { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0.75rem; }
.models section { border: 1px solid var(--border-color-primary); border-radius: 8px; }
.models section { padding: 0.6rem 0.9rem; min-width: 0; }
.models h3 { font-size: 0.95rem; margin: 0; overflow-wrap: anywhere; }
.models p { font-size: 0.85rem; margin: 0; color: var(--body-text-color-subdued); }
.models .spans { font-size: 1.05rem; }
.scores { overflow-x: auto; margin: 0.5rem 0 1rem; }
.scores table { border-collapse: collapse; font-size: 0.85rem; }
.scores caption { text-align: left; caption-side: top; padding-bottom: 0.3rem; }
.scores th, .scores td { padding: 0.2rem 0.5rem; border: 1px solid var(--border-color-primary); white-space: nowrap; }
.scores th { text-align: left; font-weight: 600; unicode-bidi: isolate; }
.scores th:first-child { position: sticky; left: 0; background: var(--background-fill-primary); }
.scores th:first-child { white-space: normal; min-width: 6rem; }
.scores th small { display: block; font-weight: 400; }
.scores td { text-align: right; font-variant-numeric: tabular-nums; }
.scores td { background: color-mix(in srgb, light-dark(#f5a524, #a85e00) calc(var(--p) * 80%), transparent); }
.notice { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 1rem 1.2rem; }
.notice pre { overflow-x: auto; padding: 0.6rem 0.8rem; background: var(--background-fill-secondary); }
"""
)


def draw(
    text: str,
    found: Sequence[tuple[Tagger, list[Prediction]]],
    beside: Sequence[list[Prediction]] | None = None,
) -> str:
    """
    The text once for each model, its spans under it, side by side where there is room.

    Args:
        beside: spans of extension labels, one list for each model, drawn dashed.
    """
    sections = []
    for number, (tagger, predictions) in enumerate(found):
        extensions = beside[number] if beside else []
        units = tagger.units(text)
        shown = bisect_right(units, MOST_DRAWN, key=lambda unit: unit[1])
        unit_at = {start: unit for unit, (start, _) in enumerate(units[:shown])}
        unit_after = {end: unit + 1 for unit, (_, end) in enumerate(units[:shown])}
        spans = [
            DrawnSpan(unit_at[p.start], unit_after[p.end], p.label, kind, score=p.score)
            for kind, of_kind in (("target", predictions), ("extension", extensions))
            for p in of_kind
            if p.end in unit_after
        ]
        following = [*(start for start, _ in units[1 : shown + 1]), len(text)][:shown]
        gaps = [text[end:start] for (_, end), start in zip(units[:shown], following, strict=True)]
        drawn = render(
            [text[start:end] for start, end in units[:shown]],
            spans,
            unit=tagger.config.unit,
            drawn=looks([*tagger.config.target_labels, *tagger.config.extension_labels]),
            gaps=gaps,
        )
        count = _several(len(predictions), "span")
        if extensions:
            count += f", {_several(len(extensions), 'extension span')} (dashed)"
        if tagger.floor(text) > FLOOR:
            count += f"; too many candidates, those under {tagger.floor(text):.4f} are left out"
        if shown < len(units):
            what = "drawn" if shown else "not drawn, for its first word is longer"
            count += f"; {what}: the first {MOST_DRAWN:,} characters, the downloads have all"
        sections.append(f"<section><h3>{escape(tagger.name)}</h3><p>{count}</p>{drawn}</section>")
    return f'<div class="models" aria-live="polite">{"".join(sections)}</div>'


def _several(number: int, what: str) -> str:
    return f"no {what}" if not number else f"1 {what}" if number == 1 else f"{number:,} {what}s"


def extension_scores(text: str, found: Sequence[tuple[Tagger, list[Prediction]]], by_label: bool) -> str:
    """
    For each model that kept its extension columns, the logits of extension labels at its predictions, as in Figure 8.

    Args:
        by_label: a column for each target label, the mean over its spans; otherwise one for each span.
    """
    tables = []
    for tagger, predictions in found:
        labels = tagger.config.extension_labels
        if not labels:
            continue
        name = escape(tagger.name)
        if not predictions:
            tables.append(f"<p>{name} predicts no span here.</p>")
            continue
        columns = _by_label(predictions) if by_label else _by_span(text, predictions)
        shown = columns[:MOST_COLUMNS]
        rows = sorted(range(len(labels)), key=lambda i: -max(logits[i] for _, _, logits in shown))[:MOST_EXTENSIONS]
        what = f"{len(rows)} highest of {len(labels)} extension labels"
        if len(shown) < len(columns):
            what += f", first {len(shown)} of {len(columns)} spans"
        head = "".join(f'<th scope="col">{top}<small>{below}</small></th>' for top, below, _ in shown)
        body = "".join(
            f'<tr><th scope="row">{escape(visible(labels[row]))}</th>{"".join(_cell(c[2][row]) for c in shown)}</tr>'
            for row in rows
        )
        tables.append(
            f'<div class="scores" tabindex="0" role="region" aria-label="Extension scores of {name}"><table>'
            f"<caption>{name}: logits, {what}; shade: probability</caption>"
            f'<thead><tr><th scope="col">extension label</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )
    return "".join(tables)


def _by_span(text: str, predictions: Sequence[Prediction]) -> list[tuple[str, str, list[float]]]:
    def short(word: str) -> str:
        return escape(visible(" ".join((word if len(word) <= 24 else f"{word[:23]}…").split())))

    return [(short(text[p.start : p.end]), escape(visible(p.label)), p.extension_logits) for p in predictions]


def _by_label(predictions: Sequence[Prediction]) -> list[tuple[str, str, list[float]]]:
    columns = []
    for label in sorted({p.label for p in predictions}):
        of_label = [p.extension_logits for p in predictions if p.label == label]
        means = [sum(logits) / len(of_label) for logits in zip(*of_label, strict=True)]
        spans = "1 span" if len(of_label) == 1 else f"mean of {len(of_label)} spans"
        columns.append((escape(visible(label)), spans, means))
    return columns


def _cell(logit: float) -> str:
    probability = 1 / (1 + math.exp(-max(logit, -500)))
    return f'<td style="--p:{probability:.3f}" title="probability {probability:.3f}">{logit:.1f}</td>'


def no_model(problems: Sequence[str]) -> str:
    """The page without any model: which command makes one."""
    listed = "".join(f"<li>{escape(visible(problem))}</li>" for problem in problems)
    return (
        '<div class="notice"><h2>No model to show yet</h2>'
        + (f"<p>These were named:</p><ul>{listed}</ul>" if listed else "")
        + "<p>In a checkout of the project, this makes models that this page then finds:</p>"
        "<pre>make demo</pre>"
        "<p>To show other models, folders or Hub ids separated by commas:</p>"
        "<pre>KNOWFREE_MODELS=org/my-model,runs/mine python spaces/knowfree_demo/app.py</pre>"
        "<p>In a Space: Settings, Variables, <code>KNOWFREE_MODELS</code>.</p></div>"
    )
