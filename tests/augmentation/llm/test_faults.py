"""The fault test: 500 rows against a server that misbehaves in every way, seeded."""

from __future__ import annotations

import json
from pathlib import Path

from augmentation.llm.clients import HubClient
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from tests.support.augment_rows import requests, text, write_failed, write_recorded
from tests.support.llm_server import WELL, Faults, LLMServer

ROWS = 500
FAULTS = Faults(
    seed=11,
    rate_limited=0.10,
    internal_error=0.05,
    html_unavailable=0.03,
    dropped=0.03,
    hang=0.02,
    hang_seconds=3.0,
    sticky_malformed=0.05,
    sticky_refusal=0.02,
    sticky_cut=0.02,
)
TRUE_REASON = {
    "malformed": ("answer", "no JSON in the answer: 'Sure! entity = rain"),
    "refusal": ("refusal", "the model refused: I cannot help with that."),
    "cut": ("cut", "cut at max_tokens=256"),
}


def test_every_row_is_done_or_listed_with_its_true_reason_and_retry_failed_finishes(tmp_path: Path):
    recorded = RecordedClient([write_recorded(tmp_path / "recorded.jsonl", ROWS)])
    sticky = {f"r{n}": FAULTS.sticky("entities", text(n)) for n in range(ROWS)}
    expected = {row: fault for row, fault in sticky.items() if fault}
    assert {fault for fault in expected.values()} == {"malformed", "refusal", "cut"}
    with LLMServer(recorded, faults=FAULTS) as server, Store(tmp_path / "run" / "answers.sqlite") as store:

        def runner() -> Runner:
            client = HubClient("loopback-llm", base_url=server.url)
            return Runner(client, store, concurrency=32, timeout_seconds=1.5, max_backoff_seconds=0.2)

        first = runner()
        progress = first.run(requests(ROWS))
        assert progress.outcome == "done"
        assert progress.done + progress.failed == ROWS
        assert progress.mode == "none"
        outcomes = {entry["outcome"] for entry in server.log}
        assert outcomes >= {"ok", "unusable", "429", "500", "503", "dropped", "hang"}

        failed_path = tmp_path / "run" / "failed.jsonl"
        assert write_failed(store, failed_path) == progress.failed
        failed = {line["id"]: line for line in map(json.loads, failed_path.read_text("utf-8").splitlines())}
        assert failed.keys() == expected.keys()
        for row, fault in expected.items():
            kind, reason = TRUE_REASON[fault]
            assert failed[row]["kind"] == kind
            assert reason in failed[row]["reason"]
        for number, request in enumerate(requests(ROWS)):
            outcome = first.outcome(request)
            assert outcome is not None
            assert (outcome.parsed is None) == (f"r{number}" in expected)
            if outcome.parsed is not None:
                assert outcome.parsed.value[0].entity == f"visitor {number}"

        answered = [entry["input"] for entry in server.answered() if entry["task"]]
        good = [text(int(row[1:])) for row, fault in sticky.items() if not fault]
        assert sorted(sent for sent in answered if sent in set(good)) == sorted(good), "a good answer was paid twice"

        server.faults = WELL
        before = server.requests
        idle = runner().run(requests(ROWS))
        assert (idle.requests, idle.failed, server.requests) == (0, len(expected), before)
        assert store.release_failures() == len(expected)
        mended = runner().run(requests(ROWS))
        assert (mended.done, mended.failed) == (ROWS, 0)
        asked = {entry["input"] for entry in server.log[before:] if entry["task"]}
        assert asked == {text(int(row[1:])) for row in expected}
        assert write_failed(store, failed_path) == 0
        assert failed_path.read_bytes() == b""
