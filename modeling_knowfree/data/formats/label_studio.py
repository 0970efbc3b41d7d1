"""Label Studio: exports as JSON and JSON-MIN, and predictions written for people to correct."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...files import write_whole
from ..rows import Place, Row, bad_input, show
from .annotators import Annotation, decided
from .base import (
    File,
    Format,
    Guess,
    Options,
    Placed,
    identity,
    is_list_of_strings,
    json_or_none,
    need_list,
    need_text,
)
from .counting import Mention, TextRow, joined_text, placed_texts, rows_of_texts, written_spans

_OWN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "annotation_text", "tokens")
_ANNOTATED = ("annotations", "completions", "predictions")
_LISTED = re.compile(r"\s*\[\s*\{")


def _is_task(entry: dict) -> bool:
    return isinstance(entry.get("data"), dict) and any(isinstance(entry.get(key), list) for key in _ANNOTATED)


def detect(file: File) -> Guess | None:
    share = file.share(_is_task)
    return Guess(0.6 + 0.35 * share, "tasks with data and annotations") if share else None


def read(file: File, options: Options) -> Placed:
    """A task is a row: cancelled annotations and tasks that nobody opened are left out and counted."""
    tasks = file.entries
    finished = any(
        isinstance(task, dict) and any(key in task for key in ("annotations", "completions")) for _, task in tasks
    )

    def text_row(task: Any, place: Place) -> TextRow | None:
        if not isinstance(task, dict) or not _is_task(task):
            allowed = '{"data": {…}, "annotations": […]}'
            bad_input(place, f"the task is {show(task)}", allowed=allowed, mend="export the project as JSON")
        name = f"task {show(task['id'])[:40]}" if "id" in task else str(place)
        for kind in _ANNOTATED:
            if task.get(kind) is not None:
                need_list(task, kind, place, "annotations")
        if finished:
            given = task.get("annotations", task.get("completions")) or []
            if task.get("predictions"):
                options.told.add("predictions left out", name, len(task["predictions"]))
        else:
            given = task["predictions"][:1]
            options.told.add("predictions read as annotations: nobody has corrected this file", name)
        kept = []
        for annotation in given:
            if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
                mend = "export the project as JSON again"
                bad_input(place, f"{name} holds {show(annotation)}", allowed="annotations with a result", mend=mend)
            if annotation.get("was_cancelled") or annotation.get("skipped"):
                options.told.add("cancelled annotations left out", name)
            else:
                kept.append(annotation)
        if not kept:
            if not given:
                options.told.add("tasks without an annotation left out", name)
            return None
        key, text = _text_of(task["data"], kept, place, name)
        annotations = [
            Annotation(
                _who(annotation.get("completed_by"), options),
                _mentions(annotation["result"], key, options, name, place),
                bool(annotation.get("ground_truth")),
            )
            for annotation in kept
        ]
        mentions = decided(annotations, options, place, name)
        tokens = task["data"].get("tokens")
        row_id = identity(task) if "id" in task else identity(task["data"])
        return TextRow(text, mentions, row_id, tokens if is_list_of_strings(tokens) else None)

    return rows_of_texts(placed_texts(tasks, text_row), options)


def _who(annotator: Any, options: Options) -> str:
    """Whom `--annotator` may name by address or by number."""
    if not isinstance(annotator, dict):
        return str(annotator)
    names = [str(annotator[key]) for key in ("email", "id") if annotator.get(key)]
    return options.annotator if options.annotator in names else (names or [str(annotator)])[0]


def _text_of(data: dict, annotations: Sequence[dict], place: Place, name: str) -> tuple[str | None, str]:
    """The text that is annotated: `text`, or the one string whose control the results name."""
    names = {
        str(result.get("to_name") or "")
        for annotation in annotations
        for result in annotation["result"]
        if isinstance(result, dict)
    }
    strings = [key for key, value in data.items() if isinstance(value, str)]
    for key in ("text", *sorted(filter(None, names))):
        if key in strings:
            return key, data[key]
    fitting = [key for key in strings if _covers(data[key], annotations)]
    if len(strings) == 1 or len(fitting) == 1:
        key = strings[0] if len(strings) == 1 else fitting[0]
        return key, data[key]
    problem = f"{name} has no data.text, its data are {', '.join(map(show, data)) or 'empty'}"
    bad_input(place, problem, allowed="one text a task", mend="name the text in data as text")


def _covers(text: str, annotations: Sequence[dict]) -> bool:
    """Whether a text has every stated mention somewhere."""
    values = [result.get("value") for one in annotations for result in one["result"] if isinstance(result, dict)]
    stated = [value["text"] for value in values if isinstance(value, dict) and isinstance(value.get("text"), str)]
    return bool(stated) and all(mention in text for mention in stated)


def _mentions(results: Sequence[Any], key: str | None, options: Options, name: str, place: Place) -> list[Mention]:
    mentions = []
    texts = {str(result["to_name"]) for result in results if _is_span(result) and result.get("to_name")}
    if len(texts) > 1 and key not in texts:
        problem = f"{name} has spans in several texts: {', '.join(sorted(texts))}"
        mend = "export the spans of each text into a file of its own, or name that text's key in data as its control"
        bad_input(place, problem, allowed="spans in one text", mend=mend)
    layers = {str(result["from_name"]) for result in results if _is_span(result) and result.get("from_name")}
    if len(layers) > 1 and options.tag_column is None:
        what = "tasks have spans of several controls, and all count; --tag_column NAME takes one"
        options.told.add(what, f"{', '.join(sorted(layers))} in {name}")
    for result in results:
        value: Any = result.get("value") if isinstance(result, dict) else None
        if not _is_span(result):
            kind = result.get("type", "results") if isinstance(result, dict) else "results"
            if isinstance(value, dict) and "startOffset" in value:
                problem = f"{name} has spans of type {kind}, which count in marked-up text or in paragraphs"
                mend = "annotate the plain text as <Text>, or take these spans out"
                bad_input(place, problem, allowed="spans of type labels", mend=mend)
            options.told.add(f"results of type {kind} are no spans and left out", name)
            continue
        if len(texts) > 1 and result.get("to_name") != key:
            options.told.add(f"spans in other texts than {key} left out", name)
            continue
        if (
            options.tag_column is not None
            and options.tag_column in layers
            and result.get("from_name") != options.tag_column
        ):
            options.told.add(f"spans of other controls than {options.tag_column} left out", name)
            continue
        if not value["labels"]:
            options.told.add("regions without a label left out", name)
        for label in value["labels"]:
            mentions.append(Mention(_offset(value["start"]), _offset(value.get("end")), label, value.get("text")))
    return mentions


def _is_span(result: Any) -> bool:
    value: Any = result.get("value") if isinstance(result, dict) else None
    is_labelled = isinstance(value, dict) and isinstance(value.get("labels"), list)
    return is_labelled and "start" in value and "startOffset" not in value


def _offset(value: Any) -> Any:
    """Old versions write offsets as strings."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value


# ------------------------------------------------------------------ JSON-MIN


def _regions(entry: dict) -> Iterator[tuple[str, list]]:
    for key, value in entry.items():
        if isinstance(value, str) and _LISTED.match(value):  # of a table that was turned into JSON
            value = json_or_none(value)
        if isinstance(value, list) and any(map(_is_region, value)):
            yield key, value


def _is_region(value: Any) -> bool:
    labels = value.get("labels") if isinstance(value, dict) else None
    return isinstance(labels, list) and "start" in value and all(isinstance(label, str) for label in labels)


def detect_min(file: File) -> Guess | None:
    def regions(entry: dict) -> bool:
        return isinstance(entry.get("text"), str) and any(True for _ in _regions(entry))

    if file.any(regions):
        return Guess(0.92, "regions with a list of labels")
    if file.any(lambda entry: "annotation_id" in entry and "lead_time" in entry and "text" in entry):
        return Guess(0.85, "annotation_id and lead_time")
    return None


def read_min(file: File, options: Options) -> Placed:
    """Several rows of one id are several annotators of one task."""
    parts: dict[Any, list[tuple[Place, dict]]] = {}
    order: list[tuple[Place, Any]] = []
    for place, entry in file.entries:
        if isinstance(entry, dict) and "id" in entry and "annotator" in entry:
            several = parts.setdefault(str(entry["id"]), [])
            several.append((place, entry))
            if len(several) > 1:
                continue
        order.append((place, entry))

    def text_row(entry: Any, place: Place) -> TextRow:
        if not isinstance(entry, dict):
            bad_input(place, f"the task is {show(entry)}", allowed="a JSON object", mend="export JSON-MIN again")
        several = parts.get(str(entry.get("id"))) if "annotator" in entry else None
        name = f"task {entry.get('id')}"
        annotations = [
            Annotation(str(one.get("annotator")), _regions_of(one, options, name, at), bool(one.get("ground_truth")))
            for at, one in several or [(place, entry)]
        ]
        return TextRow(need_text(entry, place), decided(annotations, options, place, name), identity(entry))

    return rows_of_texts(placed_texts(order, text_row), options)


def _regions_of(entry: dict, options: Options, name: str, place: Place) -> list[Mention]:
    found = list(_regions(entry))
    if len(found) > 1:
        keys = [key for key, _ in found]
        if options.tag_column not in keys:
            mend = f"name the one that counts: --tag_column {keys[0]}"
            bad_input(place, f"several controls hold regions: {', '.join(keys)}", allowed="one of them", mend=mend)
        found = [(key, value) for key, value in found if key == options.tag_column]
    others = [key for key in entry if key not in (*_OWN, "text") and key not in dict(found)]
    left_out = [key for key in others if entry[key] not in (None, "", [])]
    if left_out:
        options.told.add("fields are no spans and left out", f"{', '.join(left_out[:3])} in {name}", len(left_out))
    results = [{"value": region, "type": "regions"} for _, value in found for region in value]
    return _mentions(results, None, options, name, place)


# ------------------------------------------------------------------ writing


def write(rows: Sequence[Row], path: Path) -> None:
    """Tasks with predictions, for import: what a model found, for a person to accept or correct."""
    write_whole(path, json.dumps([_task(row) for row in rows], ensure_ascii=False, indent=1))


def _task(row: Row) -> dict[str, Any]:
    results = []
    for number, (start, end, label, text) in enumerate(written_spans(row)):
        result: dict[str, Any] = {
            "id": f"s{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": start, "end": end, "text": text, "labels": [label]},
        }
        if (score := row["entities"][number].get("score")) is not None:
            result["score"] = score
        results.append(result)
    scores = [result["score"] for result in results if "score" in result]
    prediction: dict[str, Any] = {"model_version": "knowfree", "result": results}
    if scores:
        prediction["score"] = min(scores)
    data = {"id": row["id"], "text": joined_text(row)[0], "tokens": row["tokens"]}
    return {"data": data, "predictions": [prediction]}


FORMAT = Format(
    name="label-studio",
    tool="Label Studio 1.x, JSON; written as predictions for import",
    recognised="tasks with `data` and `annotations`",
    trap="cancelled, predicted and unopened is no annotation; a ground truth decides; old exports count UTF-16",
    detect=detect,
    read=read,
    write=write,
    suffix=".json",
    aliases=("label-studio-json",),
)
MIN = Format(
    name="label-studio-min",
    tool="Label Studio 1.x, JSON-MIN",
    recognised="`text` beside regions with a list of `labels`",
    trap="the key is the control's name and absent without regions; choices are no labels",
    detect=detect_min,
    read=read_min,
)
