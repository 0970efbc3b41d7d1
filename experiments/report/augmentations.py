"""What the augmentations of a run did: labels merged, and what was lost on the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from augmentation.settings import COUNTS_FILE
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.data.stored import stored_object, stored_rows
from modeling_knowfree.encoders import shown_name

from ..run.results import FinishedRun
from ..run.settings import POOLED, augmented_folder


def augmentations(run: FinishedRun, subset: str) -> dict[str, Path]:
    """The folders of a subset's augmentations: the shared one by the name of the subset, first, then those of variants
    with settings of their own, with the variant's name."""
    folders = {subset: augmented_folder(run.folder, subset)}
    names = dict.fromkeys([*run.variants(subset), *POOLED])
    folders |= {f"{subset}, {name}": augmented_folder(run.folder, subset, name) for name in names}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def label_merges(folder: Path) -> dict[str, Any] | None:
    """
    What label_map.json decided: `groups` (a standard label with its several raw types, the largest first), `alone`
    (labels of one raw type), `shares` (who decided), `encoder`, `types` (how many raw ones). None without the file.

    Raises:
        InputError: the file is broken.
    """
    path = folder / "label_map.json"
    if not path.is_file():
        return None
    data = stored_object(path)
    try:
        groups: dict[str, list[dict[str, Any]]] = {}
        for raw, entry in data["types"].items():
            names = ("count", "radius", "distance", "limit", "decision", "proposed", "source")
            groups.setdefault(entry["standard"], []).append({"raw": raw} | {name: entry[name] for name in names})
        for name, members in groups.items():
            members.sort(key=lambda one: (-one["count"], one["raw"]))
            reference = data["labels"][name]["reference"]
            members.sort(key=lambda one, first=reference: one["raw"] != first)  # type: ignore[misc]
            if len(members) > 1 and members[0]["decision"] == "alone":
                members[0]["decision"] = "reference"  # alone at first; types of synthetic sentences joined it later
        several = {name: members for name, members in groups.items() if len(members) > 1}
        return {
            "groups": sorted(several.items(), key=lambda item: (-len(item[1]), item[0])),
            "alone": sorted(name for name, members in groups.items() if len(members) == 1),
            "shares": dict(data["shares"]),
            "encoder": shown_name(str(data["encoder"])) if data.get("encoder") else None,
            "types": len(data["types"]),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error!r}; run `knowfree augment run {folder}` again") from error


_NAMED = (
    ("pairs", "unknown_label"),
    ("exact", "normalised"),
    ("hallucinated", "off_border", "empty", "unknown_label", "out_of_order"),
)
_PARTS = {"source": "gold sentences", "pool": "texts of the pool", "synthetic": "synthetic sentences"}
_LOSSES = {  # task: what there was, what came through, and why the rest did not
    "entities": ("entity mentions", *_NAMED),
    "targets": ("target mentions", *_NAMED),
    "segmentation": ("words", ("words",), ("words",), ("unplaced", "off_border")),
    "pos": ("words to tag", ("words",), ("tagged",), ("off_border",)),
}
_REASONS = {
    "hallucinated": "not in the text",
    "off_border": "not on unit borders",
    "empty": "without text",
    "unknown_label": "no label of the task",
    "out_of_order": "only before the mention before it",
    "unplaced": "not found in the text",
    "failed": "answers that failed",
    "cut": "cut by the token limit",
}


def losses(folder: Path) -> dict[str, Any] | None:
    """
    What was dropped in augmentation: `lines` (`part`, `what`, `total`, `kept`, `reasons`), from counts.json, and
    `failed` (lines of failed.jsonl). None without the files.

    Raises:
        InputError: a file is broken.
    """
    path = folder / COUNTS_FILE
    if not path.is_file():
        return None
    counts = stored_object(path)
    try:
        lines = []
        for part, where in _PARTS.items():
            for task, (what, total, kept, reasons) in _LOSSES.items():
                if numbers := counts.get(part, {}).get(task):
                    lines.append(
                        {
                            "part": where,
                            "what": what,
                            "total": sum(numbers.get(name, 0) for name in total),
                            "kept": sum(numbers.get(name, 0) for name in kept),
                            "reasons": _named(numbers, (*reasons, "failed")),
                        }
                    )
        if numbers := counts.get("synthesis"):
            why = [name for name in numbers if name not in ("explanations", "sentences", "swapped", "kept")]
            total = numbers.get("sentences", 0) + numbers.get("swapped", 0)
            told = {"total": total, "kept": numbers.get("kept", 0)}
            lines.append({"part": "explanations", "what": "sentences", **told, "reasons": _named(numbers, why)})
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: {error!r}; run `knowfree augment run {folder}` again") from error
    return {"lines": lines, "failed": _failed(folder / "failed.jsonl")}


def _named(numbers: dict[str, int], reasons: Sequence[str]) -> list[tuple[str, int]]:
    return [(_REASONS.get(name, name.replace("_", " ")), numbers[name]) for name in reasons if numbers.get(name)]


def _failed(path: Path) -> list[dict[str, Any]]:
    """The requests without an answer: `id`, `task`, `reason`."""
    if not path.is_file():
        return []
    try:
        return [{name: str(row[name]) for name in ("id", "task", "reason")} for row in stored_rows(path)]
    except KeyError as error:
        raise InputError(f"{path}: {error!r}; run `knowfree augment run {path.parent}` again") from error
