"""The review page: every sample as drawn spans with raw answers and losses, to accept or reject before use."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from itertools import chain, islice
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from augmentation.finished import check_results
from augmentation.kept import failed
from augmentation.llm.dialogue import Finished
from augmentation.pipeline import Augmentation
from augmentation.review.decisions import Decisions, reviewed_rows, text_of
from augmentation.review.span_html import STYLE, Look, drawn_spans, key, labels_of, looks, render, span_key
from augmentation.steps.asking import Annotation
from modeling_knowfree.data.rows import Row
from modeling_knowfree.units_knowfree import join_units

REASONS = {
    "hallucinated": "not in the text",
    "off_border": "in the text, but not on unit borders",
    "empty": "no text",
    "unknown_label": "no label of the task",
    "out_of_order": "in the text, but only before the mention before it",
}


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _template_file(name: str) -> str:
    return files("augmentation.review").joinpath("templates", name).read_text(encoding="utf-8")


def review_page(run: Augmentation, decisions: Decisions, *, start: int = 0, limit: int = 500) -> str:
    """
    The page for samples `start` … `start + limit` of a finished run, gold rows first, the pool's texts last; of a text
    that was cut into windows each is a sample.

    Args:
        run: its answers and results must be there (`ask` and `write` done); nothing is sent.
        decisions: what was decided before.

    Raises:
        InputError: the results are not there, or not as they were written.
    """
    script = _template_file("review.js")
    check_results(run.folder)
    rows: dict[str, list[Row]] = {}
    for row in reviewed_rows(run.folder):
        whole = row["parent_id"] if row["source"] == "pool" else None
        rows.setdefault(whole or row["id"], []).append(row)
    results = list(chain.from_iterable(rows.values()))
    labels: Counter[str] = Counter()
    samples = []
    drawn = looks(labels_of(results))
    for row, done in islice(_reviewed(run), start, start + limit):
        for result in rows.get(row["id"], ()):  # none: a synthetic sentence that min_targets left out is no sample
            samples.append(_sample(run, result, done, drawn))
            labels.update({span["label"] for span in samples[-1]["spans"]})
    extensions = [span["label"] for sample in samples for span in sample["spans"] if span["source"] != "target"]
    return (
        _environment()
        .from_string(_template_file("review.html.j2"))
        .render(
            title=run.folder.resolve().name,
            language=run.settings.language,
            shown=len(samples),
            total=len(results),
            samples=samples,
            labels=sorted(labels.items(), key=lambda item: (-item[1], item[0])),
            key=Markup(key({name: look for name, look in drawn.items() if name in labels}, extensions)),
            reasons=REASONS,
            decisions=decisions.model_dump(exclude_none=True),
            span_style=Markup(STYLE),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _reviewed(run: Augmentation) -> Iterable[tuple[Row, Finished[Any]]]:
    synthetic = run.annotated_sentences() if run.settings.synthesises else ()
    pool = run.pool.annotated() if run.pool and (run.folder / "pool.jsonl").exists() else ()
    return chain(run.annotated(), synthetic, pool)


def _sample(run: Augmentation, row: Row, done: Finished[Any], drawn: Mapping[str, Look]) -> dict[str, Any]:
    spans = [
        {
            "key": span_key(span),
            "text": join_units(row["tokens"][span["start"] : span["end"]], run.unit)[0],
            "label": span["label"],
            "source": span.get("source", "target"),
        }
        for span in (*row["entities"], *row["extensions"])
    ]
    return {
        "id": row["id"],
        "text": text_of(row),
        "source": row["source"],
        "parent_id": row["parent_id"],
        "drawn": Markup(render(row["tokens"], drawn_spans(row), unit=run.unit, drawn=drawn)),
        "spans": spans,
        "dropped": [drop for part in done.value if isinstance(part, Annotation) for drop in part.dropped],
        "failed": [{"task": o.request.task, "reason": o.error} for o in failed(done)],
        "answers": [
            {"task": o.request.task, "model": o.answer.model, "cut": o.answer.cut, "text": o.answer.text}
            for o in done.outcomes
            if o.answer is not None
        ],
    }
