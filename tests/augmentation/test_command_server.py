"""`knowfree augment` against the loopback LLM server: budgets, resuming, faults, a wrong token, SIGKILL."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from augmentation.llm.recorded import RecordedClient
from knowfree import cli
from tests.support import ROOT
from tests.support.forked import knowfree_forked
from tests.support.llm_server import WELL, Faults, LLMServer

DEMO = ROOT / "examples" / "demo"
RESULTS = ("fusion.jsonl", "synthetic.jsonl", "train.jsonl", "label_map.json", "counts.json", "failed.jsonl")
ROWS = 12


@pytest.fixture(scope="module")
def train_file(tmp_path_factory) -> Path:
    lines = (DEMO / "train.jsonl").read_text("utf-8").splitlines(keepends=True)[:ROWS]
    path = tmp_path_factory.mktemp("gold") / "train.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def calm(tmp_path_factory, train_file) -> dict[str, bytes]:
    """The results of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("calm") / "run"
    init(folder, train_file, "--client", "recorded", "--answers", DEMO / "answers.jsonl")
    assert knowfree("run", folder).exit_code == 0
    return results(folder)


@pytest.fixture(scope="module")
def recorded() -> RecordedClient:
    return RecordedClient([DEMO / "answers.jsonl"])


def knowfree(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["augment", *[str(argument) for argument in arguments]])


def init(folder: Path, train_file: Path, *options: object) -> Path:
    made = knowfree("init", folder, "--train_file", train_file, "--language", "en", *options)
    assert made.exit_code == 0, made.output
    return folder


def init_hub(folder: Path, train_file: Path, server: LLMServer, *options: object) -> Path:
    hub = ("--client", "hub", "--model", "loopback-llm", "--base_url", server.url)
    return init(folder, train_file, *hub, *options)


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


def test_a_budget_is_exact_the_run_resumes_and_ends_as_recorded_answers_do(tmp_path, train_file, recorded, calm):
    with LLMServer(recorded, enforces=("tgi_value",)) as server:
        run = init_hub(tmp_path / "run", train_file, server)
        stopped = knowfree("run", run, "--max_requests", 37)
        assert (stopped.exit_code, server.requests) == (3, 37)
        assert "--max_requests 37" in stopped.output
        assert not (run / "fusion.jsonl").exists()
        assert knowfree("run", run).exit_code == 0
        sent = server.requests
        first = results(run)
        assert first == calm
        again = knowfree("run", run)
        assert (again.exit_code, server.requests) == (0, sent)
        assert results(run) == first
        asked = [(entry["task"], entry["input"]) for entry in server.answered() if entry["task"]]
    assert len(asked) == len(set(asked)) == sum(1 for entry in server.log if entry["task"])
    provenance = [json.loads(line) for line in (run / "provenance.jsonl").read_text("utf-8").splitlines()]
    assert {line["mode"] for line in provenance} == {"tgi_value", "none"}  # prose is asked for without a schema
    assert {line["served_model"] for line in provenance} == {"loopback-llm"}


def test_faults_fail_rows_alone_and_retry_failed_mends_them(tmp_path, train_file, recorded, calm):
    faults = Faults(seed=8, dropped=0.05, internal_error=0.05, sticky_malformed=0.05, sticky_refusal=0.02)
    with LLMServer(recorded, faults=faults) as server:
        run = init_hub(tmp_path / "run", train_file, server)
        assert knowfree("run", run).exit_code == 0
        failed = [json.loads(line) for line in (run / "failed.jsonl").read_text("utf-8").splitlines()]
        assert {line["task"] for line in failed} >= {"entities", "pos", "targets"}
        reasons = ("no JSON in the answer", "the answer is empty", "the model refused: I cannot help with that.")
        assert all(any(reason in line["reason"] for reason in reasons) for line in failed)
        server.faults = WELL
        assert knowfree("retry-failed", run).exit_code == 0
    assert results(run) == calm


def test_a_wrong_token_stops_the_run_and_is_nowhere_to_be_read(tmp_path, train_file, recorded, monkeypatch, caplog):
    secret = "hf_SECRETsecretSECRETsecret"
    monkeypatch.setenv("MY_LLM_TOKEN", secret)
    with LLMServer(recorded, token="another") as server:
        run = init_hub(tmp_path / "run", train_file, server, "--token_env", "MY_LLM_TOKEN")
        stopped = knowfree("run", run)
        assert server.requests == 1
    assert stopped.exit_code == 1
    assert "HTTP 401" in stopped.output and "MY_LLM_TOKEN" in stopped.output
    written = "".join(path.read_bytes().decode("latin-1") for path in run.rglob("*") if path.is_file())
    assert secret not in stopped.output + caplog.text + written


def test_a_killed_run_goes_on_where_it_was(tmp_path, train_file, recorded, calm):
    with LLMServer(recorded, latency_seconds=0.5) as server:
        run = init_hub(tmp_path / "run", train_file, server)
        process = knowfree_forked("augment", "run", run)
        while sum(1 for entry in server.answered() if entry["task"]) < 20:
            assert process.poll() is None
            time.sleep(0.05)
        stored = {(entry["task"], entry["input"]) for entry in server.answered() if entry["task"]}
        store = f"file:{run / 'answers.sqlite'}?mode=ro"
        with contextlib.closing(sqlite3.connect(store, uri=True)) as looked_at:
            while looked_at.execute("SELECT count(*) FROM answers").fetchone()[0] < len(stored):
                time.sleep(0.05)
        process.kill()
        answered = {(entry["task"], entry["input"]) for entry in server.answered() if entry["task"]}
        time.sleep(0.6)  # the answers in flight go nowhere
        before = server.requests
        server.latency_seconds = 0.0
        assert knowfree("run", run).exit_code == 0
        again = {(entry["task"], entry["input"]) for entry in server.log[before:]}
    assert len(answered & again) <= 16  # settings' concurrency
    assert not stored & again
    assert results(run) == calm
