"""Rows and what their answers say, parsed once and gone through as often as the results need them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pydantic import TypeAdapter

from augmentation.llm.dialogue import Finished
from augmentation.llm.outcome import Outcome
from augmentation.llm.tasks import provenance
from modeling_knowfree.data.rows import Row
from modeling_knowfree.files import as_os_error


@dataclass(frozen=True)
class Told:
    """
    A row whose questions are settled.

    Args:
        value: the result of its work.
        answered: how many questions got a usable answer.
        failures: the others, a line of `failed.jsonl` each.
        failure_keys: by what the store knows these.
        provenance: of every answer, usable or not, a line of `provenance.jsonl` each.
    """

    row: Row
    value: Any
    answered: int
    failures: list[dict[str, Any]]
    failure_keys: list[str | None]
    provenance: list[dict[str, Any]]

    @classmethod
    def of(cls, row: Row, done: Finished[Any]) -> "Told":
        """From finished work; the answers' texts are let go."""
        answered = sum(outcome.error is None for outcome in done.outcomes)
        lost = failed(done)
        keys = [outcome.failure_key for outcome in lost]
        return cls(row, done.value, answered, [*map(failure_line, lost)], keys, list(provenance_of(done)))


def failed(done: Finished[Any]) -> list[Outcome]:
    """What was not answered, without what was asked for in parts instead."""
    replaced = [outcome.request.part_of for outcome in done.outcomes if outcome.request.part_of is not None]
    return [outcome for outcome in done.outcomes if outcome.error is not None and outcome.request not in replaced]


def failure_line(outcome: Outcome) -> dict[str, Any]:
    """A line of `failed.jsonl`."""
    request = outcome.request
    return {"id": request.row_id, "task": request.task, "kind": outcome.kind, "reason": outcome.error}


def provenance_of(done: Finished[Any]) -> Iterator[dict[str, Any]]:
    """Lines of `provenance.jsonl`."""
    for outcome in done.outcomes:
        if outcome.answer is not None:
            repaired = outcome.parsed is not None and outcome.parsed.repaired
            yield provenance(outcome.request, outcome.answer, repaired=repaired)


class Kept:
    """
    Rows that `told` yields, drawn from once and kept in a file of `folder` without a name, since they can be more than
    memory holds; it is gone with the process.

    Args:
        value: type of a row's result: dataclasses, tuples and what JSON has.

    Raises:
        OSError: the file cannot be written; it names `folder`.
    """

    def __init__(self, folder: Path, told: Iterable[tuple[Row, Finished[Any]]], value: Any) -> None:
        self._value = TypeAdapter(value)
        with as_os_error(folder):
            self._file = TemporaryFile(dir=folder)  # noqa: SIM115  (lives as long as this object)
        for row, done in told:
            one = Told.of(row, done)
            line = json.dumps(vars(one) | {"value": self._value.dump_python(one.value, mode="json")})
            with as_os_error(folder):
                self._file.write(line.encode() + b"\n")
        with as_os_error(folder):
            self._file.flush()
        self._size = self._file.tell()

    def __iter__(self) -> Iterator[Told]:
        place = 0
        while place < self._size:
            self._file.seek(place)  # another pass may have moved it
            told = json.loads(self._file.readline())
            place = self._file.tell()
            yield Told(**told | {"value": self._value.validate_python(told["value"])})
