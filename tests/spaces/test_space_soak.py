"""The served Space under siege: 200 requests at once, visitors who send slowly, memory over 1,000 requests."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.space_driver import lay_out, serve
from tests.support.space_rows import ENGLISH

pytestmark = pytest.mark.soak
pytest.importorskip("gradio_client", reason="gradio is not installed: pip install -e '.[space]'")


@pytest.fixture(scope="module")
def space(trained, tmp_path_factory) -> Iterator[tuple[str, int, Path]]:
    """Address, process and log of a served Space."""
    app = lay_out(tmp_path_factory.mktemp("siege") / "app")
    with serve(app, [trained]) as url:
        yield url, int((app.parent / "pid").read_text()), app.parent / "log.txt"


def tag(url: str, text: str) -> str:
    """What comes of one call: `complete`, or the kind of refusal."""
    with httpx.Client(timeout=300) as client:
        sent = client.post(f"{url}/gradio_api/call/tag", json={"data": [text, None, None, None]})
        if sent.status_code != 200:
            return f"status {sent.status_code}"
        answer = client.get(f"{url}/gradio_api/call/tag/{sent.json()['event_id']}").text
    return next(
        line.removeprefix("event: ") for line in answer.splitlines() if line in ("event: complete", "event: error")
    )


def megabytes(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def test_memory_is_flat_over_a_thousand_requests(space):
    url, pid, _ = space

    def hundreds(number: int, first: int) -> None:
        with ThreadPoolExecutor(4) as threads:
            texts = [f"{ENGLISH} {first + at} " + "snow " * (at % 50) for at in range(number)]
            assert set(threads.map(lambda text: tag(url, text), texts)) == {"complete"}

    hundreds(500, 0)  # caches fill, and the states of sessions (`MOST_SESSIONS`)
    at = [megabytes(pid)]
    for start in range(1000, 2000, 250):
        hundreds(250, start)
        at.append(megabytes(pid))
    print(json.dumps({"megabytes": list(map(round, at))}))
    assert at[-1] - at[0] < 40


def test_two_hundred_at_once_are_answered_or_sent_away(space):
    url, _, log = space
    with ThreadPoolExecutor(200) as threads:
        came = Counter(threads.map(lambda at: tag(url, f"{ENGLISH} siege {at}"), range(200)))
    print(dict(came))
    assert came["complete"] >= 100 and set(came) <= {"complete", "error", "status 503"}
    assert tag(url, "axe") == "complete"
    assert "Traceback" not in log.read_text()


def test_visitors_who_send_slowly_do_not_keep_others_waiting(space):
    url, _, _ = space
    host, port = url.removeprefix("http://").split(":")
    slow = []
    for _ in range(100):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(b"POST /gradio_api/call/tag HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Content-Length: 1000\r\n\r\n{")
        slow.append(connection)
    start = time.monotonic()
    assert tag(url, "the bear left") == "complete" and time.monotonic() - start < 30
    stopped = threading.Event()

    def drip() -> None:
        while not stopped.wait(2):
            slow[0].sendall(b" ")

    threading.Thread(target=drip, daemon=True).start()
    for connection in slow[:5]:
        connection.settimeout(90)
        assert b"408" in connection.recv(200)
    stopped.set()
    for connection in slow:
        connection.close()
