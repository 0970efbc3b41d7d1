"""
A visitor's annotated file, read by a process of its own: whatever the file holds, it can use up that process alone.

`python formats.py NAME FORMAT UNIT MOST` writes rows as JSON lines, at most `MOST` + 1 of them; or it writes why it
cannot to standard error, and ends with 2.
"""

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

READERS = "knowfree_formats"  # a package beside the app, where push puts it
LARGEST_PROCESS = 2 * 1024**3  # bytes of its data
MOST_SECONDS = 60
NO_FORMAT = "automatic"


def names() -> list[str]:
    """The formats that can be named."""
    return list(_readers("formats").FORMATS)


def recognised(path: Path) -> str | None:
    """The format that the beginning of a text file is in; None of plain text."""
    formats = _readers("formats")
    try:
        return formats.recognise(formats.File(path))[0].name
    except ValueError:
        return None


def read_rows(path: Path, format: str, unit: str, most: int) -> list[dict[str, Any]]:
    """
    `id` and `tokens` of the rows of a file, at most `most` + 1 of them.

    Args:
        format: of `names()`, or `automatic`.
        unit: `character` or `word`, what tokens are where the file holds text.

    Raises:
        ValueError: no such format, a bad row, or a file that takes too much memory or time.
    """
    command = [sys.executable, str(Path(__file__).resolve()), path.name, format, unit, str(most)]
    try:
        ended = subprocess.run(command, cwd=path.parent, capture_output=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path.name}: takes more than {MOST_SECONDS} seconds to read") from error
    if ended.returncode == 2:
        raise ValueError(ended.stderr.decode(errors="replace").strip())
    if ended.returncode:
        raise ValueError(f"{path.name}: cannot be read within {LARGEST_PROCESS >> 30} GB of memory")
    return [json.loads(line) for line in ended.stdout.splitlines()]


def _readers(module: str) -> Any:
    """A module of the project's readers of data."""
    if READERS not in sys.modules and find_spec(READERS) is None:  # a checkout: the same files, without what uses torch
        found = find_spec("modeling_knowfree")
        assert found is not None
        package = ModuleType(READERS)
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules[READERS] = package
    return import_module(f"{READERS}.data.{module}")


def _main(name: str, format: str, unit: str, most: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (LARGEST_PROCESS, LARGEST_PROCESS))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    chosen = {} if format == NO_FORMAT else {"format": format}
    try:
        rows = _readers("readers").read_file(name, quiet=True, unit=unit, **chosen).rows
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    for row in rows[: int(most) + 1]:
        print(json.dumps({"id": row["id"], "tokens": row["tokens"]}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
