"""Broken JSON mended by json_repair, in a process of its own: on hostile text that library is far worse than linear.

Run as a script this file is that process: a JSON string a line in, `[value]` or `{"error": …}` a line out. It ends
itself when one string takes too long, or when nobody is left to ask.
"""

import faulthandler
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

import json_repair

MAX_REPAIR_CHARACTERS = 100_000
REPAIR_SECONDS = 3.0
AT_ONCE_CHARACTERS = 200  # hundredths of a second at worst; a process of its own would be slower


class RepairError(Exception):
    """The text cannot be mended, or not in time."""


class _Helper:
    """The other process; started when first needed, and again after a text that it did not survive."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, text: str) -> Any:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                command = [sys.executable, "-P", os.path.abspath(__file__)]
                self._process = subprocess.Popen(  # this very file, run by this very Python
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            assert self._process.stdin is not None and self._process.stdout is not None
            try:
                self._process.stdin.write(json.dumps(text).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = b""
            if not line:
                self._process.kill()
                self._process.communicate()
                raise RepairError(f"it cannot be mended within {REPAIR_SECONDS:g} s")
        answer = json.loads(line)
        if isinstance(answer, dict):
            raise RepairError(answer["error"])
        return answer[0]


_helper = _Helper()


def repair(text: str) -> Any:
    """The value of broken JSON.

    Raises:
        RepairError: there is none, or finding it takes too long.
    """
    if len(text) > MAX_REPAIR_CHARACTERS:
        raise RepairError(f"it has {len(text)} characters, and no more than {MAX_REPAIR_CHARACTERS} are mended")
    value, error = _mended_here(text) if len(text) <= AT_ONCE_CHARACTERS else _mended_there(text)
    if error is not None:
        raise RepairError(error)
    return value


@lru_cache(maxsize=256)  # an answer is read several times in a run; the slow ones only once
def _mended_there(text: str) -> tuple[Any, str | None]:
    try:
        return _helper.ask(text), None
    except RepairError as error:
        return None, str(error)


def _mended_here(text: str) -> tuple[Any, str | None]:
    try:
        return json_repair.loads(text, skip_json_loads=True), None
    except Exception as error:  # noqa: BLE001  (json_repair's own assertions too)
        return None, str(error) or type(error).__name__


def _serve() -> None:
    for line in sys.stdin.buffer:
        faulthandler.dump_traceback_later(REPAIR_SECONDS, exit=True, file=_NOWHERE)
        value, error = _mended_here(json.loads(line))
        try:
            answer = json.dumps([value] if error is None else {"error": error}).encode()
        except (ValueError, RecursionError) as unwritable:
            answer = json.dumps({"error": str(unwritable)}).encode()
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _NOWHERE = open(os.devnull, "w")  # noqa: SIM115  (as long as this process lives)
    _serve()
