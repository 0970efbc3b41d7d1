"""Whether an augmentation has come to its end, and its results lie in its folder as it left them."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from augmentation.settings import COUNTS_FILE, RESULTS, STATE_FILE, Settings, asked_of, state_of
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.data.stored import stored_in, stored_object
from modeling_knowfree.files import write_whole


def number_of_lines(path: Path) -> int:
    """The lines of a file that end; 0 where there is no file."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _digest(state: dict[str, Any]) -> str:
    made_from = {part: state[part] for part in ("input", "settings")}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def record_state(folder: Path, state: dict[str, Any], written: Settings | None = None) -> None:
    """Note in `state.json` which input and settings a run goes by; `results` there is the digest of those that the
    results beside it were made from, and `asked` how answers were got, which are these where they are `written`."""
    path = folder / STATE_FILE
    if written:
        state = state | {"results": _digest(state), "asked": asked_of(folder, written)}
    elif path.is_file() and (folder / COUNTS_FILE).is_file():
        with stored_in(path):
            before = stored_object(path)
            state = state | {"results": before.get("results") or _digest(before)}
            state |= {"asked": before["asked"]} if "asked" in before else {}
    write_whole(path, json.dumps(state, ensure_ascii=False, indent=1) + "\n")


def mark_copy(folder: Path, name: str, source: str) -> None:
    """Note in `state.json` that a folder, by that name, is the copy of another, as that is named from it."""
    state = stored_object(folder / STATE_FILE) | {"copy_of": source, "copied_as": name}
    write_whole(folder / STATE_FILE, json.dumps(state, ensure_ascii=False, indent=1) + "\n")


def check_no_copy(folder: Path) -> None:
    """
    Check that a folder is no copy that is made anew, as long as it lies where it was made: what is asked would be lost.

    Raises:
        InputError: it is.
    """
    path, place = folder / STATE_FILE, folder.resolve()
    state = stored_object(path) if path.is_file() else {}
    if state.get("copied_as") == place.name and (place / (source := state["copy_of"])).is_dir():
        source = os.path.normpath(place / source)
        raise InputError(
            f"{folder}: is what `knowfree run` laid out for `knowfree push`, and lays out anew; ask where it is copied "
            f"from: knowfree augment run {source}"
        )


def check_results(folder: Path) -> None:
    """
    Check that the results in a folder are those that were written there, by the last run.

    Raises:
        InputError: there are none, one is not as long as it was written, or a run with other input or settings has
            begun since and not come to its end.
    """
    mend = f"`knowfree augment run {folder}` makes the results again, and asks what it has no answer to"
    counts = folder / COUNTS_FILE
    if not counts.is_file():
        raise InputError(f"{folder}: no results yet; run `knowfree augment run {folder}` first")
    with stored_in(folder / STATE_FILE):
        state = stored_object(folder / STATE_FILE)
        is_older = state.get("results", _digest(state)) != _digest(state)
    if "results" in state and (told := _shorter(folder)):  # folders of before were rewritten without a word in there
        raise InputError(f"{told}; {mend}")
    if is_older:
        raise InputError(f"{folder}: a run with other input or settings has begun since, and has not ended; {mend}")


def _shorter(folder: Path) -> str | None:
    """What is wrong with the length of a result, against what `counts.json` says was written."""
    counts = folder / COUNTS_FILE
    with stored_in(counts):
        lines = stored_object(counts).get("lines", {})
        found = {name: number_of_lines(folder / name) for name in lines}
    wrong = next((name for name, number in lines.items() if found[name] != number), None)
    return wrong and f"{folder / wrong}: {found[wrong]} lines, where {lines[wrong]} were written"


def recount(folder: Path) -> None:
    """Note in `counts.json` how long the results are after they were changed on purpose."""
    counts = stored_object(folder / COUNTS_FILE)
    names = [name for name in (*RESULTS, *counts.get("lines", ())) if (folder / name).is_file()]
    counts["lines"] = {name: number_of_lines(folder / name) for name in names}
    write_whole(folder / COUNTS_FILE, json.dumps(counts, ensure_ascii=False, indent=1) + "\n")


def is_finished(folder: Path, settings: Settings) -> bool:
    """Whether all results of these settings and answers are there, none of them shorter than it was written."""
    try:
        check_results(folder)
        if _shorter(folder):
            return False
        state = stored_object(folder / STATE_FILE)
        same = {part: state.get(part) for part in ("input", "settings")} == state_of(folder, settings)
        return same and not asked_otherwise(folder, settings)
    except InputError:
        return False


def asked_otherwise(folder: Path, settings: Settings) -> list[str]:
    """What of `asked_of` has changed since the results in a folder were written; nothing where it was not noted."""
    path = folder / STATE_FILE
    before = stored_object(path).get("asked", {}) if path.is_file() else {}
    return [name for name, value in asked_of(folder, settings).items() if before.get(name, value) != value]
