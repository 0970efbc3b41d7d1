"""A process that knows nothing of this package, as whoever loads from the Hub."""

import os
import subprocess
import sys
from pathlib import Path


def stranger(script: str, cwd: Path, *arguments: object) -> str:
    """What a script prints, run in `cwd` and offline, where the checkout is not on the path."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    answer = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
