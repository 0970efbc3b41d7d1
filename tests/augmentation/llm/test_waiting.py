"""Pauses: obeyed up to a cap, told, and short where nobody is there."""

from __future__ import annotations

import email.utils
import time

import pytest

from augmentation.llm.clients import HubClient
from augmentation.llm.http_errors import retry_after_seconds
from augmentation.llm.protocol import StopRunError
from augmentation.llm.runner import MAX_PAID_ATTEMPTS, Runner
from augmentation.llm.store import Store
from tests.support.augment_rows import requests
from tests.support.fault_server import Asked, FaultServer, Reply, chat, http

pytestmark = pytest.mark.timeout(90)
GOOD = '{"items": [{"entity": "Paris", "type": "City"}]}'


def test_retry_after_is_counted_by_the_servers_own_clock():
    server_now = time.time() - 86_400 * 400  # its clock, or ours, is a year off
    date, after = (email.utils.formatdate(server_now + wait, usegmt=True) for wait in (0, 40))
    assert retry_after_seconds(after, date) == 40
    assert retry_after_seconds("1000000000") == 1e9
    assert retry_after_seconds("9" * 5000) is not None
    for nothing in ("-5", "1.5.1", "Fri, 31 Dec 99999 23:59:59 GMT", "٣", "inf", "nan"):
        assert retry_after_seconds(nothing) is None


def slow_at_first(wait: str):
    def script(asked: Asked) -> Reply:
        return http(429, b"slow", paid=False, Retry_After=wait) if asked.number == 0 else chat(GOOD, good=True)

    return script


@pytest.mark.parametrize(
    ("wait", "cap", "notice"),
    [
        ("1000000000", 0.05, "server asks to wait 1000000000 s; asking again after 0.05 s"),
        ("1", 300, "server asks to wait 1 s"),
    ],
)
def test_a_pause_in_the_probe_is_capped_and_told(wait, cap, notice, tmp_path):
    told: list[str] = []
    with FaultServer(slow_at_first(wait)) as server, Store(tmp_path / "a.sqlite") as store:
        client = HubClient("m", base_url=server.url)
        runner = Runner(client, store, max_wait_seconds=cap, max_backoff_seconds=0.01, on_notice=told.append)
        assert runner.run(requests(1)).done == 1
    assert notice in told[0]


def test_a_server_that_is_not_there_is_told_within_ten_seconds(tmp_path):
    told: list[tuple[float, str]] = []
    with Store(tmp_path / "a.sqlite") as store:
        begun = time.monotonic()
        runner = Runner(
            HubClient("m", base_url="http://127.0.0.1:9"),
            store,
            on_notice=lambda notice: told.append((time.monotonic() - begun, notice)),
        )
        with pytest.raises(StopRunError, match="cannot connect"):
            runner.run(requests(3))
    assert told and told[0][0] < 10 and "cannot connect" in told[0][1]


def test_silence_is_told_while_it_lasts(tmp_path, monkeypatch):
    from tests.support.fault_server import silence

    monkeypatch.setattr("augmentation.llm.runner.SILENCE_SECONDS", 0.6)
    told: list[str] = []
    with FaultServer(lambda asked: Reply(b"", silence())) as server, Store(tmp_path / "a.sqlite") as store:
        client = HubClient("m", base_url=server.url)
        runner = Runner(client, store, timeout_seconds=2, max_attempts=1, on_notice=told.append)
        with pytest.raises(StopRunError, match="no answer within 2 s"):
            runner.run(requests(1))
    assert any("no answer from http://127.0.0.1" in notice for notice in told)


def test_what_may_have_been_paid_is_not_asked_for_ever(tmp_path):
    with FaultServer(lambda asked: http(200, b"welcome")) as server, Store(tmp_path / "a.sqlite") as store:
        client = HubClient("m", base_url=server.url)
        runner = Runner(client, store, mode="none", max_backoff_seconds=0.01, concurrency=1)
        assert runner.run(requests(2)).failed == 2
        assert len(server.asked) == 2 * MAX_PAID_ATTEMPTS
        assert runner.purse.completion_tokens == 2 * MAX_PAID_ATTEMPTS * 256  # each by its worst case
        assert store.spent().completion_tokens == runner.purse.completion_tokens
