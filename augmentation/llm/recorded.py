"""Recorded answers as a client: what a large language model once said, found by task and input text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from augmentation.llm.protocol import Completion, Mode, RowError
from augmentation.llm.tasks import Request
from modeling_knowfree.data.lines import read_lines

_FIELDS = ("task", "id", "input", "completion")


class RecordedAnswersError(ValueError):
    """A file of recorded answers cannot be read; the message names file, line and mend."""

    exit_code = 2


def squeeze(text: str) -> str:
    """The form under which an input is looked up: no white space, no final stop."""
    squeezed = "".join(text.split())
    return squeezed[:-1] if squeezed.endswith(("。", ".")) else squeezed


def type_form(name: str) -> str:
    """The form in which entity types are compared: NFKC, casefold, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class RecordedClient:
    """Answers from JSON lines `{"task", "id", "input", "completion"}`; `sample` (0 by default) tells several about
    one input apart: the second explanation of a sentence has `"sample": 1`.

    A merge request is answered with the recorded groups, restricted to its types; in a second pass over standard names
    each name stands alone.
    """

    model = "recorded"
    endpoint = "recorded"
    modes: tuple[Mode, ...] = ("recorded",)

    def __init__(self, paths: Iterable[str | Path]) -> None:
        """Read the files.

        Raises:
            RecordedAnswersError: a file is missing, a line is no recorded answer, or two files answer one task and
                text differently.
            InputError: a file cannot be read, or is not UTF-8.
        """
        self._completions: dict[tuple[str, str, int], tuple[str, Path]] = {}
        self._groups: list[tuple[str, list[str]]] = []
        for path in paths:
            self._read(Path(path))

    def _read(self, path: Path) -> None:
        if not path.is_file():
            raise RecordedAnswersError(f"{path}: no such file of recorded answers; give --answers FILE")
        for number, line in read_lines(path):
            if line.strip():
                record = _record(line, f"{path}, line {number}")
                if record["task"] == "merge":
                    groups = _groups(record["completion"], f"{path}, line {number}")
                    self._groups.extend((group["standard"], group["synonyms"]) for group in groups)
                else:
                    self._keep(record, path, number)

    def _keep(self, record: dict[str, Any], path: Path, number: int) -> None:
        """Of one task and text the last answer of a file stands; another file may only say the same."""
        key = record["task"], squeeze(record["input"]), record.get("sample", 0)
        completion, other = self._completions.get(key, (record["completion"], path))
        if other != path and _value(completion) != _value(record["completion"]):
            raise RecordedAnswersError(
                f"{path}, line {number}: answers task {record['task']!r} about {record['input'][:60]!r} otherwise than "
                f"{other}; name one of the two files in `answers` (of a run, give each variant its own `augment: "
                "{answers: […]}`)"
            )
        self._completions[key] = record["completion"], path

    async def send(self, request: Request, mode: Mode) -> Completion:
        """The recorded answer; raises RowError as `completion_text` does."""
        return Completion(
            text=self.completion_text(request),
            finish_reason=None,
            served_model=None,
            prompt_tokens=None,
            completion_tokens=None,
            free=True,
        )

    def completion_text(self, request: Request) -> str:
        """What was recorded for the request's task and input.

        Raises:
            RowError: nothing was.
        """
        if request.task == "merge_standard":
            return _merge_text([(name, [name]) for name in json.loads(request.input)])
        if request.task == "merge":
            return self._merge(json.loads(request.input))
        found = self._completions.get((request.task, squeeze(request.input), request.sample))
        if found is None:
            which = f", sample {request.sample}" if request.sample else ""
            raise RowError(f"no recorded answer for task {request.task!r} and the text {request.input[:60]!r}{which}")
        return found[0]

    def _merge(self, types: list[str]) -> str:
        if not self._groups:
            raise RowError("no recorded answer for task 'merge'")
        asked: dict[str, list[str]] = {}
        for name in types:
            asked.setdefault(type_form(name), []).append(name)
        groups: list[tuple[str, list[str]]] = []
        for standard, synonyms in self._groups:
            kept = [name for synonym in synonyms for name in asked.pop(type_form(synonym), ())]
            if kept:
                groups.append((standard, kept))
        return _merge_text(groups)

    async def close(self) -> None:
        """Nothing is open."""


def _value(completion: str) -> Any:
    """What a completion says, however its JSON is written."""
    try:
        return json.loads(completion)
    except ValueError:
        return completion


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        record: Any = json.loads(line)
    except ValueError as error:
        raise RecordedAnswersError(f"{place}: not JSON ({error})") from error
    if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in _FIELDS):
        raise RecordedAnswersError(f"{place}: a recorded answer is an object with the strings {', '.join(_FIELDS)}")
    if type(record.get("sample", 0)) is not int:
        raise RecordedAnswersError(
            f"{place}: sample is {record['sample']!r}; it is a whole number, 0 for the first answer"
        )
    return record


def _groups(completion: str, place: str) -> list[dict[str, Any]]:
    mend = 'the completion of a merge answer is {"groups": [{"standard": "…", "synonyms": ["…"]}]}'
    try:
        groups = json.loads(completion)["groups"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordedAnswersError(f"{place}: {mend}") from error
    for group in groups if isinstance(groups, list) else [None]:
        if not (
            isinstance(group, dict)
            and isinstance(group.get("standard"), str)
            and isinstance(group.get("synonyms"), list)
            and all(isinstance(name, str) for name in group["synonyms"])
        ):
            raise RecordedAnswersError(f"{place}: {mend}")
    return groups


def _merge_text(groups: list[tuple[str, list[str]]]) -> str:
    return json.dumps(
        {"groups": [{"standard": standard, "synonyms": names} for standard, names in groups]}, ensure_ascii=False
    )
