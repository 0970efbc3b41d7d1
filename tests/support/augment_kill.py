"""The kill experiment: a run killed with SIGKILL at random moments and resumed, beside an undisturbed one."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from augmentation.llm.recorded import RecordedClient
from tests.support.augment_driver import drive
from tests.support.augment_rows import write_recorded
from tests.support.forked import Forked
from tests.support.llm_server import Faults, LLMServer, serving


@dataclass(frozen=True)
class KillReport:
    """What a killed and resumed run re-sent. Ages are seconds between the server's last byte and the kill."""

    kills: int
    answered_before_last_kill: int
    sent_again: int
    most_sent_again_after_one_kill: int
    oldest_sent_again_seconds: float
    requests: int
    requests_undisturbed: int
    files_equal: bool


@contextmanager
def _server(folder: Path, recorded: Path, faults: Faults, latency_seconds: float) -> Iterator[tuple[str, Path]]:
    log, answers = folder / "server.jsonl", RecordedClient([recorded])
    with serving(lambda: LLMServer(answers, faults=faults, latency_seconds=latency_seconds, log_file=log)) as url:
        yield url, log


def _entries(log: Path) -> list[dict]:
    lines = log.read_text("utf-8").splitlines(keepends=True) if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _answered(log: Path) -> list[dict]:
    """Complete, valid answers to real requests, in the order of arrival."""
    answered = [entry for entry in _entries(log) if entry["outcome"] == "ok" and entry["task"] is not None]
    return sorted(answered, key=lambda entry: entry["time"])


def kill_experiment(
    folder: Path,
    *,
    kills: int,
    rows: int,
    faults: Faults,
    concurrency: int,
    latency_seconds: float,
    seed: int,
    terminations: int = 0,
) -> KillReport:
    """Run undisturbed; run again, ending it by `kills` SIGKILLs and `terminations` SIGTERMs at random moments after the
    first answer; compare."""
    recorded = write_recorded(folder / "recorded.jsonl", rows)
    (folder / "calm").mkdir()
    (folder / "killed").mkdir()
    with _server(folder / "calm", recorded, faults, latency_seconds) as (url, calm_log):
        assert Forked(lambda: drive(url, rows, folder / "calm", concurrency)).wait(300) == 0
    draw = random.Random(seed)
    signals = [signal.SIGKILL] * kills + [signal.SIGTERM] * terminations
    draw.shuffle(signals)
    kills += terminations
    moments: list[float] = []
    with _server(folder / "killed", recorded, faults, latency_seconds) as (url, log):
        expected_seconds = rows * latency_seconds / concurrency
        for number, signum in enumerate(signals):
            seen = len(_answered(log))
            process = Forked(lambda: drive(url, rows, folder / "killed", concurrency))
            while len(_answered(log)) == seen and process.poll() is None:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, expected_seconds / kills))
            if process.poll() is not None:
                raise AssertionError(f"the run ended before kill {number + 1}: more rows or a slower server are needed")
            process.send_signal(signum)
            moments.append(time.time())
            process.wait(40)
            time.sleep(2 * latency_seconds)  # what was in flight is answered into the void
        assert Forked(lambda: drive(url, rows, folder / "killed", concurrency)).wait(300) == 0
        requests = len(_entries(log))
        answered = _answered(log)
    again: dict[int, int] = {}
    oldest = 0.0
    latest_answer: dict[str, float] = {}
    for entry in answered:
        before = latest_answer.get(entry["prompt"])
        if before is not None:
            # the kill that lost it: the first after it, or, for an answer written into the void, the one before it
            lost_by = next((n for n, moment in enumerate(moments) if moment >= before - 2 * latency_seconds), kills - 1)
            again[lost_by] = again.get(lost_by, 0) + 1
            oldest = max(oldest, moments[lost_by] - before)
        latest_answer[entry["prompt"]] = entry["time"]
    return KillReport(
        kills=kills,
        answered_before_last_kill=sum(entry["time"] < moments[-1] for entry in answered),
        sent_again=sum(again.values()),
        most_sent_again_after_one_kill=max(again.values(), default=0),
        oldest_sent_again_seconds=round(oldest, 4),
        requests=requests,
        requests_undisturbed=len(_entries(calm_log)),
        files_equal=all(
            (folder / "calm" / name).read_bytes() == (folder / "killed" / name).read_bytes()
            for name in ("rows.jsonl", "failed.jsonl")
        ),
    )
