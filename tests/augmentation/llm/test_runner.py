"""The runner against a real HTTP server on the loopback: counts, budgets, caching, stops."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from augmentation.llm.budget import Budget
from augmentation.llm.clients import HubClient
from augmentation.llm.protocol import StopRunError
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.runner import Progress, Runner
from augmentation.llm.store import Store
from augmentation.llm.store_file import StoreError
from tests.support.augment_rows import requests, text, write_failed, write_recorded
from tests.support.llm_server import Faults, LLMServer

ROWS = 40


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedClient:
    return RecordedClient([write_recorded(tmp_path / "recorded.jsonl", 200)])


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "run" / "answers.sqlite") as opened:
        yield opened


def hub(server: LLMServer, **settings) -> HubClient:
    return HubClient("loopback-llm", base_url=server.url, **settings)


def runner(server: LLMServer, store: Store, **settings) -> Runner:
    return Runner(
        hub(server), store, **{"concurrency": 8, "timeout_seconds": 5, "max_backoff_seconds": 0.05, **settings}
    )


def test_every_row_is_answered_once_and_a_second_run_sends_nothing(recorded, store):
    with LLMServer(recorded, enforces=("json_schema",)) as server:
        progress = runner(server, store).run(requests(ROWS))
        assert (progress.done, progress.failed, progress.cached) == (ROWS, 0, 0)
        assert progress.mode == "json_schema"
        assert server.requests == progress.requests == ROWS + 1  # and the probe
        again = runner(server, store)
        second = again.run(requests(ROWS))
        assert (second.done, second.cached, second.requests) == (ROWS, ROWS, 0)
        assert server.requests == ROWS + 1
        outcome = again.outcome(next(requests(3, start=2)))
    assert outcome is not None and outcome.parsed is not None and outcome.answer is not None
    assert [(item.entity, item.type) for item in outcome.parsed.value] == [("visitor 2", "Person"), ("Lima", "City")]
    assert (outcome.answer.served_model, outcome.answer.mode, outcome.answer.finish_reason) == (
        "loopback-llm",
        "json_schema",
        "stop",
    )


def test_a_row_added_is_the_only_one_asked(recorded, store):
    with LLMServer(recorded) as server:
        runner(server, store, mode="none").run(requests(ROWS))
        runner(server, store, mode="none").run(requests(ROWS + 1))
        assert [entry["input"] for entry in server.log[ROWS:]] == [text(ROWS)]


def test_the_sound_items_of_an_answer_count_where_no_re_ask_brings_a_better_one(store, tmp_path):
    items = [{"entity": "visitor 0", "type": "Person"}, {"entity": "Paris", "type": None}]
    line = {"task": "entities", "id": "r0", "input": text(0), "completion": json.dumps(items)}
    (tmp_path / "misfit.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with LLMServer(RecordedClient([tmp_path / "misfit.jsonl"])) as server:
        progress = runner(server, store, mode="none").run(requests(1))
        assert (progress.done, progress.failed, server.requests) == (1, 0, 3)
        outcome = runner(server, store, mode="none").outcome(next(requests(1)))
    assert outcome is not None and outcome.parsed is not None
    assert ([item.entity for item in outcome.parsed.value], outcome.parsed.misfits) == (["visitor 0"], 1)


def test_the_same_sentence_twice_is_paid_once(recorded, store):
    with LLMServer(recorded, latency_seconds=0.05) as server:
        progress = runner(server, store, mode="none").run([next(requests(1)) for _ in range(6)])
    assert (progress.done, progress.requests, server.requests) == (6, 1, 1)


@pytest.mark.parametrize("limit", [1, 3, 37])
def test_max_requests_is_exact_probe_and_retries_included_and_the_run_resumes(recorded, store, limit):
    faults = Faults(seed=3, rate_limited=0.1, internal_error=0.1)
    with LLMServer(recorded, enforces=("tools",), faults=faults) as server:
        progress = runner(server, store, budget=Budget(max_requests=limit)).run(requests(120))
        assert server.requests == progress.requests == limit
        assert progress.outcome == "budget"
        assert f"--max_requests {limit}" in progress.reason
        kept = len(server.answered())
        assert ("raise it" in progress.mend) == (not any(entry["input"] for entry in server.answered()))
        finished = runner(server, store).run(requests(120))
        assert (finished.outcome, finished.done) == ("done", 120)
        answered = [entry["input"] for entry in server.answered() if entry["input"]]
    assert sorted(answered) == sorted(text(number) for number in range(120)), "an answer was paid twice"
    assert kept <= limit


def test_a_budget_of_tokens_is_never_passed(recorded, store):
    with LLMServer(recorded) as server:
        budget = Budget(max_total_tokens=3000)
        progress = runner(server, store, mode="none", budget=budget).run(requests(ROWS, max_tokens=200))
    assert progress.outcome == "budget"
    assert 0 < progress.prompt_tokens + progress.completion_tokens <= 3000
    assert 0 < progress.done < ROWS


def test_a_budget_of_dollars_is_never_passed_and_needs_prices(recorded, store):
    with pytest.raises(ValueError, match="price"):
        Budget(max_usd=1.0)
    budget = Budget(max_usd=0.002, usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=10.0)
    with LLMServer(recorded) as server:
        progress = runner(server, store, mode="none", budget=budget).run(requests(ROWS, max_tokens=100))
    assert progress.outcome == "budget"
    assert 0 < progress.usd <= 0.002
    assert store.spent().usd == pytest.approx(progress.usd)


@pytest.mark.parametrize("settings", [{}, {"token_env": "LOOPBACK_TOKEN"}])
def test_401_stops_at_once_names_the_variable_and_shows_no_token(recorded, tmp_path, monkeypatch, caplog, settings):
    secret = "hf_SECRETsecretSECRETsecret"
    monkeypatch.setenv("LOOPBACK_TOKEN", secret)
    with LLMServer(recorded, token="another", latency_seconds=0.05) as server, Store(tmp_path / "a.sqlite") as store:
        with pytest.raises(StopRunError) as caught:
            Runner(hub(server, **settings), store, concurrency=8).run(requests(ROWS))
        assert server.requests == 1
        write_failed(store, tmp_path / "failed.jsonl")
    message = str(caught.value)
    assert "HTTP 401" in message
    assert ("LOOPBACK_TOKEN" in message) == bool(settings)
    everything = (
        message
        + caplog.text
        + "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    )
    assert secret not in everything


def test_no_token_is_sent_to_a_url_unless_one_is_named(recorded, store, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_SECRETsecretSECRETsecret")
    with LLMServer(recorded) as server:
        runner(server, store, mode="none").run(requests(1))
        Runner(hub(server, token_env="HF_TOKEN"), store, mode="none").run(requests(2))
        assert [entry["authorization"] for entry in server.log] == [None, "Bearer hf_SECRETsecretSECRETsecret"]


def test_raising_max_tokens_asks_the_cut_answers_again_and_nothing_else(recorded, store):
    with LLMServer(recorded, faults=Faults(seed=1, sticky_cut=0.3), cut_below=512) as server:
        first = runner(server, store, mode="none").run(requests(ROWS, max_tokens=256))
        cut = {entry["input"] for entry in server.log if entry["outcome"] == "unusable"}
        assert 0 < len(cut) < ROWS
        assert first.done + first.failed == ROWS
        assert first.failed == len(cut)  # nothing whole was left of them
        assert {failure.kind for failure in store.failures()} == {"cut"}
        before = server.requests
        same = runner(server, store, mode="none").run(requests(ROWS, max_tokens=256))
        assert (same.requests, server.requests) == (0, before)
        raised = runner(server, store, mode="none").run(requests(ROWS, max_tokens=1024))
        assert {entry["input"] for entry in server.log[before:]} == cut
        assert (raised.done, raised.failed, raised.requests) == (ROWS, 0, len(cut))
        lowered = runner(server, store, mode="none").run(requests(ROWS, max_tokens=256))
        assert (lowered.done, lowered.requests) == (ROWS, 0)
    assert list(store.failures()) == []


def test_a_changed_parser_asks_nothing_again(recorded, store, monkeypatch):
    faults = Faults(seed=2, sticky_malformed=0.3)
    with LLMServer(recorded, faults=faults) as server:
        first = runner(server, store, mode="none").run(requests(ROWS))
        assert first.failed > 0
        before = server.requests
        import augmentation.llm.answers as answers

        old = answers._fitting_items
        monkeypatch.setattr(answers, "MAX_DEPTH", 30)
        monkeypatch.setattr(answers, "_complaint", lambda error: "said otherwise")
        monkeypatch.setattr(
            answers, "_fitting_items", lambda task, values, drop_last: old(task, values, drop_last=True)
        )
        second = runner(server, store, mode="none").run(requests(ROWS))
        assert (second.requests, server.requests) == (0, before)
        assert (second.done, second.failed) == (first.done, first.failed)


def test_unusable_answers_are_asked_again_twice_with_the_error_and_some_warmth(recorded, store):
    with LLMServer(recorded, faults=Faults(sticky_malformed=1.0)) as server:
        progress = runner(server, store, mode="none").run(requests(1))
        assert [entry["turns"] for entry in server.log] == [1, 3, 5]
        assert [entry["temperature"] for entry in server.log] == [0.0, 0.3, 0.3]
        assert "no JSON in the answer" in server.log[1]["last"]
    assert progress.failed == 1
    failure = next(store.failures())
    assert (failure.row_id, failure.task, failure.kind) == ("r0", "entities", "answer")
    assert "Sure! entity = rain" in failure.reason


def test_a_refused_request_fails_its_row_alone(recorded, store, tmp_path):
    with LLMServer(recorded, refuse_text="visitor 3 ") as server:
        progress = runner(server, store, mode="none").run(requests(10))
        assert server.requests == 10
    assert (progress.done, progress.failed) == (9, 1)
    assert write_failed(store, tmp_path / "failed.jsonl") == 1
    assert json.loads((tmp_path / "failed.jsonl").read_text()) == {
        "task": "entities",
        "id": "r3",
        "kind": "request",
        "reason": 'HTTP 413: {"error": "too long"}',
    }


def test_two_runs_cannot_share_a_store(recorded, tmp_path):
    with (
        Store(tmp_path / "a.sqlite") as first,
        Store(tmp_path / "a.sqlite") as second,
        first.held(),
        pytest.raises(StoreError, match="another run"),
    ):
        Runner(recorded, second).run(requests(1))


def test_a_foreign_file_is_no_store(tmp_path):
    (tmp_path / "a.sqlite").write_text("this is a letter to my grandmother, and it is long enough to be one" * 20)
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path / "a.sqlite")
    connection = sqlite3.connect(tmp_path / "b.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="format 99"):
        Store(tmp_path / "b.sqlite")


def test_progress_is_told_row_by_row(recorded, store):
    seen: list[tuple[int, int]] = []
    Runner(recorded, store).run(
        requests(5), on_progress=lambda progress: seen.append((progress.done, progress.requests))
    )
    assert [done for done, _ in seen] == [1, 2, 3, 4, 5]
    assert isinstance(Runner(recorded, store).run(requests(5)), Progress)


def test_text_that_no_request_can_carry_fails_its_row(recorded, store):
    from augmentation.llm.tasks import entities_request

    with LLMServer(recorded) as server:
        progress = runner(server, store, mode="none").run([entities_request("bad", "\ud800 x", language="en")])
    assert progress.failed == 1
    assert "UTF-8" in next(store.failures()).reason


def test_the_rate_limit_holds(recorded, store):
    import time

    with LLMServer(recorded) as server:
        begun = time.monotonic()
        runner(server, store, mode="none", requests_per_minute=600).run(requests(11))
        assert time.monotonic() - begun >= 1.0  # ten gaps of 0.1 s


def test_a_server_that_dies_stops_the_run_before_every_row_is_given_up(recorded, store):
    with LLMServer(recorded) as server:
        runner(server, store, mode="none").run(requests(10))
        server.faults = Faults(internal_error=1.0)
        with pytest.raises(StopRunError, match=r"stopped answering.*HTTP 500"):
            runner(server, store, mode="none", concurrency=4, max_attempts=2).run(requests(150))
        given_up = len(list(store.failures()))
        assert 8 <= given_up <= 16  # the eighth stops it; what others had begun ends too
        server.faults = Faults()
        assert store.release_failures() == given_up
        progress = runner(server, store, mode="none").run(requests(150))
    assert (progress.done, progress.cached) == (150, 10)


def test_an_error_of_the_rows_themselves_comes_out_as_it_is(recorded, store):
    def broken():
        yield from requests(3)
        raise KeyError("row 4")

    with pytest.raises(KeyError, match="row 4"):
        Runner(recorded, store, concurrency=1).run(broken())
    assert Runner(recorded, store).run(requests(3)).cached == 3


def test_a_cancelled_wait_does_not_stop_the_store(store):
    (request,) = requests(1)
    for _ in range(200):
        store.fail(request, "m", "kind", "reason").cancel()
    store.fail(request, "m", "kind", "reason").result(timeout=30)
    assert len(list(store.failures())) == 1
