"""A terminal that a test looks on."""

import os
import sys
import termios
from collections.abc import Callable

import pytest


def shown_by(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What `work` writes on standard error where that is a terminal of 24 lines of 80 characters."""
    screen, line = os.openpty()
    termios.tcsetwinsize(line, (24, 80))
    with open(line, "w") as terminal, open(screen, "rb", buffering=0) as shown:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            work()
        print(end="\nend", file=terminal, flush=True)
        seen = b""
        while not seen.endswith(b"end"):
            seen += shown.read(4096)
    return seen
