"""The label files of released KnowFREE checkpoints and data: txt, and json with `idx` and `is_target`.

Not part of a pushed model; the Space carries this folder as `knowfree_formats`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from .lines import parse_json, read_lines
from .rows import JSON_SUFFIXES, NAMESPACES, WORD_LABEL, Place, bad_input, show


class Labels(NamedTuple):
    """The label file of a released checkpoint: label k of `targets + extensions` is column k, counted from 0."""

    targets: list[str]
    extensions: list[str]


def read_labels(path: str | os.PathLike[str], *, num_targets: int | None = None) -> Labels:
    """Reads the label file of a released checkpoint, without the "O" that has id 0: label id k is column k - 1.

    Text: a label a line; the first `num_targets` are targets (`num_target_labels` of the checkpoint's config), by
    default all. JSON: `{label: {"idx": id, "is_target": bool}}`, in the order of the ids, targets first.

    Raises InputError for ids with a gap, a label twice, "O" not in front, or another number of targets.
    """
    path = Path(path)
    lines = list(read_lines(path))
    if not any(line.text.strip() for line in lines):
        bad_input(path, "no labels", allowed='"O" and at least one label', mend="write O, then a label a line")
    named: list[tuple[Place, str, bool | None]]
    if path.suffix.lower() in JSON_SUFFIXES:
        named = _labels_of_json("\n".join(line.text for line in lines), Place(str(path)))
    else:
        while not lines[-1].text.strip():
            lines.pop()
        named = [(Place(str(path), line.number), line.text.strip(), None) for line in lines]
    labels: list[str] = []
    targets = 0
    for place, label, is_target in named:
        if not label:
            bad_input(place, "a gap, label ''", allowed="a label on each line", mend="take out the blank line")
        if (label == "O") != (not labels):
            problem = f"label {show(label)} has id {len(labels)}"
            bad_input(place, problem, allowed='"O" as label 0 and nowhere else', mend='put "O" in front of the others')
        if label in labels:
            bad_input(place, f"label {show(label)} stands twice", allowed="each label once", mend="take out one")
        labels.append(label)
        if label == "O" or is_target is False or (is_target is None and num_targets == targets):
            continue
        targets += 1
        if targets != len(labels) - 1:
            problem = f"target label {show(label)} stands behind extension label {show(labels[-2])}"
            bad_input(
                place, problem, allowed="targets first", mend="the columns of a checkpoint are fixed: check is_target"
            )
    if num_targets not in (None, targets):
        problem = f"{targets} target labels, the checkpoint has {num_targets}"
        bad_input(path, problem, allowed=f"{num_targets}", mend="give the label file this checkpoint was trained with")
    if not targets:
        bad_input(path, "no target label", allowed="at least one", mend="mark the labels of the task as is_target")
    read = Labels(labels[1 : targets + 1], labels[targets + 1 :])
    if len({namespaced(label) for label in read.extensions}) < len(read.extensions):
        bad_input(path, "two extension labels have one namespaced form", allowed="distinct ones", mend="rename one")
    return read


def namespaced(label: str) -> str:
    """The extension label for a label of the released data, which does not tell entities from parts of speech:
    `WORD` -> `SEG:WORD`, any other without a namespace -> `ENT:...`."""
    if label.startswith(NAMESPACES):
        return label
    return f"SEG:{label}" if label == WORD_LABEL else f"ENT:{label}"


def _labels_of_json(text: str, place: Place) -> list[tuple[Place, str, bool | None]]:
    entries = parse_json(text, place)
    if not isinstance(entries, dict):
        allowed = '{"O": {"idx": 0, "is_target": true}, ...}'
        bad_input(place, f"the file holds {show(entries)}", allowed=allowed, mend="write an object of labels")
    for index, (label, entry) in enumerate(entries.items()):
        if not isinstance(entry, dict) or type(entry.get("is_target")) is not bool or "idx" not in entry:
            allowed = '{"idx": int, "is_target": true or false}'
            bad_input(place, f"label {show(label)} is {show(entry)}", allowed=allowed, mend="give it both keys")
        if entry["idx"] != index or type(entry["idx"]) is not int:
            problem = f"label {show(label)} has idx {show(entry['idx'])}, a gap or another order"
            bad_input(place, problem, allowed=f"idx {index}, its place in the file", mend="number the labels from 0 up")
    return [(place, label.strip(), entry["is_target"]) for label, entry in entries.items()]
