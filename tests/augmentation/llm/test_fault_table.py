"""Every line of the table of faults, against a raw server: no hang, nothing paid twice, nothing lost, nothing told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from augmentation.llm.budget import Budget
from augmentation.llm.clients import HubClient
from augmentation.llm.protocol import StopRunError
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.redaction import find, redact
from tests.augmentation.llm.fault_table import FAULTS, GOOD, TOKEN, Fault
from tests.support.augment_rows import requests, write_failed
from tests.support.fault_server import Asked, FaultServer, Reply, chat

HARD_LIMIT_SECONDS = 60  # of this busy machine; alone each line takes a tenth of a second
LONGEST_REQUEST = 12_000  # bytes, of a question with a refused answer quoted in it

pytestmark = pytest.mark.timeout(HARD_LIMIT_SECONDS)


def test_the_table_is_long_and_says_nothing_twice():
    assert len(FAULTS) >= 60
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)
    assert {fault.must for fault in FAULTS} == {"once", "always", "stop", "fine"}


class Script:
    """Row 0 meets the fault: once, or whenever it is asked; rows 1 and 2 get good answers."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.sent = 0
        self.well = False

    def __call__(self, asked: Asked) -> Reply:
        meets = "visitor 0 " in asked.prompt and not self.well
        if not meets or (self.fault.must in ("once", "fine") and self.sent):
            return chat(GOOD, good=True)
        self.sent += 1
        return self.fault.reply()


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("FAULT_TOKEN", TOKEN)


def written(folder: Path) -> str:
    """All that a run left, as text."""
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_does_what_the_table_says(fault, token, tmp_path, capfd, caplog):
    script, notices = Script(fault), []
    never = re.search("for ever|nothing|at a time", fault.name) and fault.kind == "server"

    def runner(store: Store) -> Runner:
        return Runner(
            HubClient("loopback", base_url=server.url, token_env="FAULT_TOKEN"),
            store,
            concurrency=2,
            timeout_seconds=1.0 if never else 20.0,
            max_backoff_seconds=0.01,
            max_wait_seconds=0.02,
            on_notice=notices.append,
            mode="none",
        )

    with FaultServer(script) as server, Store(tmp_path / "run" / "answers.sqlite") as store:
        first = runner(store)
        told = ""
        if fault.must == "stop":
            with pytest.raises(StopRunError, match=fault.reason) as stopped:
                first.run(requests(3))
            told = str(stopped.value)
            script.well = True
            first = runner(store)
            assert first.run(requests(3)).done == 3
        else:
            progress = first.run(requests(3))
            assert (progress.done, progress.failed) == ((2, 1) if fault.must == "always" else (3, 0))
            assert first.purse.requests == progress.requests >= len(server.asked)
            assert first.purse.completion_tokens >= server.paid - len(server.answered())  # at least one for each paid
        failures = list(store.failures())
        if fault.must == "always":
            assert re.search(fault.reason, failures[0].reason), failures[0].reason
            assert failures[0].kind == fault.kind
        else:
            assert not failures
        if fault.must == "fine":
            assert len(server.asked) == 3
        for asked in server.asked:
            assert len(json.dumps(asked.body)) < LONGEST_REQUEST

        # nothing is paid twice, and nothing that was paid is lost
        good = server.answered()
        assert len(good) == len(set(good))
        before = len(server.asked)
        again = runner(store).run(requests(3))
        assert len(server.asked) == before
        assert again.cached == again.done == len(set(good))

        # and what failed can be mended
        if fault.must == "always":
            script.well = True
            store.release_failures()
            assert runner(store).run(requests(3)).done == 3
        write_failed(store, tmp_path / "run" / "failed.jsonl")
    captured = capfd.readouterr()
    everything = "\n".join([written(tmp_path), told, *notices, captured.out, captured.err, caplog.text])
    assert TOKEN not in everything
    assert "p4ssw0rd" not in everything
    assert find(everything.replace("\0", " ")) is None, redact(everything)[:2000]


BILLED = [fault for fault in FAULTS if fault.must in ("once", "fine") and "for ever" not in fault.name]


@pytest.mark.parametrize("fault", BILLED[::4], ids=str)
def test_a_budget_holds_whatever_comes(fault, token, tmp_path):
    """Every reply but a good one is the fault; what can have been billed stays under the limit but for one request."""
    worst = 64  # completion tokens, by max_tokens
    limit = 9 * 400

    def script(asked: Asked) -> Reply:
        return chat(GOOD, good=True) if asked.number % 3 == 2 else fault.reply()

    with FaultServer(script) as server, Store(tmp_path / "answers.sqlite") as store:
        client = HubClient("loopback", base_url=server.url)
        runner = Runner(
            client,
            store,
            concurrency=4,
            timeout_seconds=20.0,
            max_backoff_seconds=0.01,
            max_wait_seconds=0.01,
            budget=Budget(max_total_tokens=limit),
            mode="none",
        )
        progress = runner.run(requests(60, max_tokens=worst))
        spent = runner.purse.prompt_tokens + runner.purse.completion_tokens
        assert spent <= limit
        assert spent >= server.paid * 2
        assert progress.outcome in ("budget", "done")
        assert store.spent().prompt_tokens == runner.purse.prompt_tokens
