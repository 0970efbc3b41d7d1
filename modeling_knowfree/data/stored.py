"""What this package wrote and reads back: a file that was changed since is told as such."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .lines import read_lines
from .rows import InputError, Place, Row, bad_input, show

_CHANGED = "it was changed by hand or cut off: put it back, or delete it and have it made again"


def stored_rows(path: Path) -> Iterator[Row]:
    """
    The rows that `write_rows` wrote, as they stand there; the file may be empty.

    Raises:
        InputError: a line that is no JSON object.
    """
    for number, text in read_lines(path):
        yield _json_object(text, Place(str(path), number))


def stored_object(path: Path) -> dict[str, Any]:
    """
    The JSON object in a file that this package wrote.

    Raises:
        InputError: the file is missing, or holds none any more.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; is this the right folder?") from error
    return _json_object(content, Place(str(path)))


@contextmanager
def stored_in(path: Path) -> Iterator[None]:
    """
    For code that takes apart what this package wrote into `path`.

    Raises:
        InputError: something in it is missing, or of another kind than was written.
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problem = f"has no {error}" if isinstance(error, KeyError) else f"does not hold what it should ({error})"
        bad_input(Place(str(path)), problem, allowed="what was written", mend=_CHANGED)


def _json_object(text: str | bytes, place: Place) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        bad_input(place, f"not JSON ({error})", allowed="what was written", mend=_CHANGED)
    if not isinstance(value, dict):
        bad_input(place, f"holds {show(value)}", allowed="a JSON object", mend=_CHANGED)
    return value
