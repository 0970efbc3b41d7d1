"""A dying writer, poisoned rows, a folder in use: nobody waits for ever, and what can be written is."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from augmentation.llm import store as store_module
from augmentation.llm.protocol import Completion
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.llm.store_file import StoreError, StoreWriteError, hold
from augmentation.llm.tasks import Answer, entities_request
from tests.support import ROOT
from tests.support.augment_rows import requests, write_recorded

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedClient:
    return RecordedClient([write_recorded(tmp_path / "recorded.jsonl", 40)])


class Odd:
    """A client of somebody else's, which lets everything through."""

    model, endpoint, modes = "odd", "odd", ("none",)

    def __init__(self, **fields) -> None:
        self.fields = fields

    async def send(self, request, mode) -> Completion:
        told = {"finish_reason": "stop", "served_model": "m", "prompt_tokens": 1, "completion_tokens": 1}
        return Completion(text='[{"entity": "Paris", "type": "City"}]', **(told | self.fields))

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "fields",
    [
        {"served_model": "m\ud800"},
        {"finish_reason": "\udfff"},
        {"completion_tokens": 10**30},
        {"prompt_tokens": -(10**30)},
        {"finish_reason": 10**30},
        {"served_model": {"a": ["\ud800"]}},
        {"refusal": "no \ud800"},
    ],
    ids=str,
)
def test_odd_metadata_of_any_client_is_cleaned_at_the_door(fields, tmp_path):
    with Store(tmp_path / "a.sqlite") as store:
        progress = Runner(Odd(**fields), store, mode="none").run(requests(5))
        assert progress.done + progress.failed == 5
        assert progress.done == (0 if "refusal" in fields else 5)
        assert Runner(Odd(), store, mode="none").run(requests(5)).requests == 0


def test_an_odd_row_id_is_stored_all_the_same(recorded, tmp_path):
    request = entities_request("r\ud800\x00", "visitor 0 goes to Paris by train", language="en")
    with Store(tmp_path / "a.sqlite") as store:
        assert Runner(recorded, store).run([request]).done == 1
        assert Runner(recorded, store).run([request]).cached == 1


def answer(**changes) -> Answer:
    told = dict(text="[]", finish_reason=None, model="m", served_model=None, mode="none", prompt_tokens=1)
    return Answer(**(told | dict(completion_tokens=1, max_tokens=9, attempts=1, time="", endpoint="") | changes))


def test_a_row_that_cannot_be_written_fails_alone(tmp_path):
    first, second, third = requests(3)
    with Store(tmp_path / "a.sqlite") as store:
        futures = [
            store.put(first, "m", answer()),
            store.put(second, "m", answer(mode=object())),  # no type that SQLite knows
            store.put(third, "m", answer()),
        ]
        futures[0].result(10)
        with pytest.raises(StoreError, match="cannot be written"):
            futures[1].result(10)
        futures[2].result(10)
        assert store.get(third, "m") is not None


def test_an_answer_that_cannot_be_used_is_taken_over_as_such_and_can_be_asked_again(tmp_path):
    good, bad, waiting = requests(3)
    with Store(tmp_path / "a.sqlite") as paid:
        for request in (good, bad):
            paid.put(request, "m", answer()).result(10)
        paid.fail(bad, "m", "unparsable", "no list").result(10)
        paid.fail(waiting, "m", "server", "503").result(10)  # no answer: it is asked here as if for the first time
    with Store(tmp_path / "b.sqlite") as other:
        other.take_from(tmp_path / "a.sqlite")
        assert [failure.reason for failure in other.failures()] == ["no list"]
        assert other.release_failures() == 1
        assert other.get(good, "m") is not None and other.get(bad, "m") is None


def test_a_disk_that_is_full_is_told_with_what_to_do_and_keeps_what_there_is(recorded, tmp_path, monkeypatch):
    connect = store_module.connect

    def small(path):
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    with Store(tmp_path / "a.sqlite"):
        pass  # its tables are there before the disk is full
    monkeypatch.setattr(store_module, "connect", small)
    with (
        Store(tmp_path / "a.sqlite") as store,
        pytest.raises(
            StoreWriteError, match=r"a.sqlite: .* full.*free some space .*run the same command again"
        ) as told,
    ):
        Runner(recorded, store).run(requests(40))
    assert told.value.exit_code == 1
    monkeypatch.undo()
    with Store(tmp_path / "a.sqlite") as again:
        rest = Runner(recorded, again).run(requests(40))
        assert rest.done == 40 and rest.requests <= 40


@pytest.mark.parametrize("death", [SystemExit("out"), MemoryError("none left"), KeyboardInterrupt()], ids=repr)
def test_the_writers_death_ends_the_run_at_once_with_its_reason(recorded, tmp_path, monkeypatch, death):
    """At the fourth commit the thread dies, whatever kills it."""
    commits = iter(range(1000))
    write = Store._write_next

    def dying(self, connection):
        if next(commits) == 3:
            raise death
        return write(self, connection)

    monkeypatch.setattr(Store, "_write_next", dying)
    store = Store(tmp_path / "a.sqlite")
    with pytest.raises(StoreError, match=type(death).__name__):
        Runner(recorded, store).run(requests(40))
    store.close()
    assert not any(thread.name == "answer-store" for thread in threading.enumerate())
    monkeypatch.undo()
    with Store(tmp_path / "a.sqlite") as again:
        assert Runner(recorded, again).run(requests(40)).done == 40


def test_a_writer_that_vanishes_without_a_word_hangs_nobody(recorded, tmp_path, monkeypatch):
    """The watchdog: even where the dying thread tells nobody, nobody waits."""
    monkeypatch.setattr(Store, "_write_next", lambda self, connection: False)
    bury = Store._bury
    monkeypatch.setattr(Store, "_bury", lambda self: None if threading.current_thread() is self._writer else bury(self))
    store = Store(tmp_path / "a.sqlite")
    store._writer.join(10)
    store._death = None  # it told nobody
    with pytest.raises(StoreError):
        Runner(recorded, store).run(requests(3))
    store.close()


def test_no_thread_keeps_the_process_alive(tmp_path):
    """A process whose writer and reader are at work ends when its main thread does."""
    program = (
        "import sys; from augmentation.llm.store import Store; from tests.support.augment_rows import requests;"
        "store = Store(sys.argv[1]); [store.fail(r, 'm', 'k', 'why') for r in requests(50)]; raise SystemExit(7)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.sqlite")], cwd=ROOT, timeout=50)
    assert ended.returncode == 7


def test_a_folder_in_use_is_left_as_it_is(tmp_path):
    from knowfree import cli

    folder = tmp_path / "run"
    train = str(ROOT / "examples" / "demo" / "train.jsonl")
    made = CliRunner().invoke(
        cli, ["augment", "init", str(folder), "--train_file", train, "--language", "en", "--client", "recorded"]
    )
    assert made.exit_code == 0, made.output
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with hold(folder / "answers.sqlite"):
        second = CliRunner().invoke(
            cli,
            ["augment", "run", str(folder), "--client", "hub", "--model", "other", "--base_url", "http://127.0.0.1:9"],
        )
    assert second.exit_code == 2
    assert "another run is at work" in second.output and "nothing was changed" in second.output
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}
    assert after == before
