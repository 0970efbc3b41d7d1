"""The Space as push lays it out, served on loopback, and a headless Chromium to look at it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

CHROMIUM_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SECONDS_TO_START = 300


def lay_out(folder: Path) -> Path:
    """The Space's repository in `folder`, as push sends it."""
    from knowfree_hub_cards.parcels import pack_space

    for name, content in pack_space("me/demo", []).files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


@contextmanager
def serve(app: Path, models: list[Path], before: str = "", **environment: str) -> Iterator[str]:
    """
    The address of the app in folder `app`, served by a process of its own that cannot import this package.

    Args:
        before: Python that the process runs first.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-X",
            "faulthandler",
            "-P",
            "-c",
            f"import sys; sys.path.insert(0, '.')\n{before}\nimport app; app.main()",
        ],
        cwd=app,
        env={
            **inherited,
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": str(app.parent / "gradio"),
            "HF_HOME": str(app.parent / "hub"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
            "KNOWFREE_MODELS": ",".join(map(str, models)),
            **environment,
        },
        stdout=(log := open(app.parent / "log.txt", "w")),  # noqa: SIM115
        stderr=subprocess.STDOUT,
    )
    (app.parent / "pid").write_text(str(process.pid))
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                process.send_signal(signal.SIGABRT)  # its threads' stacks go into the log
                process.wait(30)
                raise RuntimeError(f"the app did not start: {(app.parent / 'log.txt').read_text()[-2000:]}")
            time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=10):
            return True
    except URLError:
        return False
