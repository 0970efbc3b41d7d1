"""Simple rows with recorded answers for the tests of the runner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from augmentation.llm.store import Store
from augmentation.llm.tasks import Request, entities_request
from modeling_knowfree.files import write_whole

CITIES = ("Paris", "Oslo", "Lima", "Kyoto", "Accra")


def text(number: int) -> str:
    """The sentence of row `number`."""
    return f"visitor {number} goes to {CITIES[number % len(CITIES)]} by train"


def write_recorded(path: Path, rows: int) -> Path:
    """Recorded answers to the entity prompt for `rows` rows."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            items = [
                {"entity": f"visitor {number}", "type": "Person"},
                {"entity": CITIES[number % len(CITIES)], "type": "City"},
            ]
            line = {"task": "entities", "id": f"r{number}", "input": text(number), "completion": json.dumps(items)}
            file.write(json.dumps(line) + "\n")
    return path


def requests(rows: int, *, start: int = 0, max_tokens: int = 256) -> Iterator[Request]:
    """The entity requests of rows `start` to `rows`."""
    for number in range(start, rows):
        yield entities_request(f"r{number}", text(number), language="en", max_tokens=max_tokens)


def write_failed(store: Store, path: Path) -> int:
    """What failed, from the store, a line each; how many lines."""
    lines = [
        json.dumps({"task": f.task, "id": f.row_id, "kind": f.kind, "reason": f.reason}, sort_keys=True) + "\n"
        for f in store.failures()
    ]
    write_whole(path, "".join(lines))
    return len(lines)
