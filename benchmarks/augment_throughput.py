"""Throughput, CPU and memory of the runner, against a server with a fixed latency in a process of its own.

`python -m benchmarks.augment_throughput [--rounds 8] [--concurrency 64 256 1024] [--latency-seconds 0.5]`

Time runs from the first request to the last answer, the probe not counted; the runner and the server share the machine.
`cpu_ms_per_request` is the runner's alone: 1000 over it is the most requests a second that one core can send, whatever
else the machine does. Memory: rows planned with every answer already stored (nothing to send) and, for the same number,
rows planned while a budget stops the sending.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from augmentation.llm.clients import HubClient
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from tests.support.augment_rows import requests, write_recorded
from tests.support.llm_server import LLMServer, serving

MIB = 1 << 20


class Peak:
    """The highest resident set of this process while the block runs, in MiB above that at its start."""

    def __enter__(self) -> Peak:
        self._process = psutil.Process()
        self._start = self._peak = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._peak = max(self._peak, self._process.memory_info().rss)

    @property
    def mib(self) -> float:
        """MiB above the start."""
        return round((self._peak - self._start) / MIB, 1)


def throughput(url: str, folder: Path, count: int, concurrency: int, latency_seconds: float) -> dict[str, float]:
    """Send `count` requests and time them."""
    with Store(folder / f"answers-{concurrency}.sqlite") as store:
        client = HubClient("loopback-llm", base_url=url)
        warm = Runner(client, store, concurrency=1)
        warm.run(requests(1))  # the probe, and the imports that the first request brings
        runner = Runner(client, store, concurrency=concurrency, mode=warm.mode)
        before = resource.getrusage(resource.RUSAGE_SELF)
        begun = time.perf_counter()
        progress = runner.run(requests(count + 1, start=1))
        seconds = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert (progress.done, progress.requests) == (count, count), progress
    ideal = math.ceil(count / concurrency) * latency_seconds
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "in_flight": concurrency,
        "requests": count,
        "seconds": round(seconds, 2),
        "ideal_seconds": ideal,
        "over_ideal_percent": round(100 * (seconds / ideal - 1), 1),
        "cpu_ms_per_request": round(1000 * cpu / count, 2),
        "most_a_second_on_a_core": round(count / cpu),
        "wanted_a_second": round(concurrency / latency_seconds),
    }


def memory(folder: Path, rows: int) -> dict[str, float]:
    """Plan `rows` rows through the runner, answered by recorded answers, then again with everything stored."""
    recorded = RecordedClient([write_recorded(folder / "recorded.jsonl", 1)])
    recorded.completion_text = lambda request: '[{"entity": "x", "type": "y"}]'  # type: ignore[method-assign]
    figures: dict[str, float] = {"rows": rows}
    with Store(folder / "memory.sqlite") as store:
        for name in ("answering", "cached"):
            with Peak() as peak:
                begun = time.perf_counter()
                progress = Runner(recorded, store, concurrency=64).run(requests(rows))
                figures[f"{name}_seconds"] = round(time.perf_counter() - begun, 1)
            assert progress.done == rows
            figures[f"{name}_mib_above_imports"] = peak.mib
    return figures


def main() -> None:
    """Measure and print JSON; exit status 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="requests = this times those in flight")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--latency-seconds", type=float, default=0.5)
    parser.add_argument("--memory-rows", type=int, default=100_000, help="0: do not measure it")
    parser.add_argument("--output", type=Path, help="JSON file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {"memory": memory(folder, given.memory_rows)} if given.memory_rows else {}
        recorded = write_recorded(folder / "answers.jsonl", given.rounds * max(given.concurrency) + 1)
        figures["throughput"] = []
        with serving(lambda: LLMServer(RecordedClient([recorded]), latency_seconds=given.latency_seconds)) as url:
            for concurrency in given.concurrency:
                row = throughput(url, folder, given.rounds * concurrency, concurrency, given.latency_seconds)
                figures["throughput"].append(row)
                print(row, file=sys.stderr, flush=True)
    figures["load"] = {"average_1_minute": os.getloadavg()[0], "cores": os.cpu_count() or 0}
    text = json.dumps(figures, indent=2)
    print(text)
    if given.output:
        given.output.write_text(text + "\n", encoding="utf-8")
    missed = any(row["over_ideal_percent"] > 8 for row in figures["throughput"]) or any(
        value > 150 for name, value in figures.get("memory", {}).items() if name.endswith("_mib_above_imports")
    )
    raise SystemExit(int(missed))


if __name__ == "__main__":
    main()
