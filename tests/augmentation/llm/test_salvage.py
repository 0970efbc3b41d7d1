"""Damaged stores are told, never replaced in silence, and salvage saves what can be read."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from augmentation.commands import augment
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.runner import Runner
from augmentation.llm.salvage import salvage
from augmentation.llm.store import Store
from augmentation.llm.store_file import StoreError, check_whole
from tests.support.augment_rows import requests, write_recorded

ROWS = 120
PAGE = 4096
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, RecordedClient]:
    folder = tmp_path_factory.mktemp("whole")
    recorded = RecordedClient([write_recorded(folder / "recorded.jsonl", ROWS)])
    with Store(folder / "answers.sqlite") as store:
        Runner(recorded, store).run(requests(ROWS))
    return folder / "answers.sqlite", recorded


def zeros(data: bytes, page: int) -> bytes:
    return data[: page * PAGE] + b"\0" * PAGE + data[(page + 1) * PAGE :]


def noise(data: bytes) -> bytes:
    draw, changed = random.Random(3), bytearray(data)
    for _ in range(3):
        start = draw.randrange(PAGE, len(data) - 600)
        changed[start : start + 500] = draw.randbytes(500)
    return bytes(changed)


DAMAGES = {
    "the first page is zeros": (lambda data: zeros(data, 0), 0.9),
    "a page in the middle is zeros": (lambda data: zeros(data, len(data) // PAGE // 2), 0.7),
    "noise in three places": (noise, 0.6),
    "cut in half": (lambda data: data[: len(data) // 2], 0.2),
    "the header is overwritten": (lambda data: b"x" * 100 + data[100:], 0.9),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_told_and_salvaged(whole, tmp_path, damage):
    path, recorded = whole
    broken = tmp_path / "answers.sqlite"
    change, share = DAMAGES[damage]
    broken.write_bytes(change(path.read_bytes()))
    before = broken.read_bytes()
    with pytest.raises(StoreError, match="knowfree augment salvage"):
        Store(broken)
    assert broken.read_bytes() == before
    saved = salvage(broken)
    assert saved.kept_as is not None and saved.kept_as.read_bytes() == before
    assert ROWS * share <= saved.answers <= ROWS
    with Store(path) as old, Store(broken) as new:
        found = [request for request in requests(ROWS) if new.get(request, "recorded") is not None]
        assert len(found) == saved.answers
        for request in found:
            assert new.get(request, "recorded") == old.get(request, "recorded")
        progress = Runner(recorded, new).run(requests(ROWS))
        assert (progress.cached, progress.done) == (saved.answers, ROWS)


def test_what_stands_in_the_log_alone_is_saved_too(whole, tmp_path):
    """A kill leaves the newest answers in the write-ahead log; then the file itself is lost."""
    _, recorded = whole
    live = tmp_path / "live.sqlite"
    store = Store(live)
    Runner(recorded, store).run(requests(30))
    with closing(sqlite3.connect(live)):
        broken = tmp_path / "answers.sqlite"
        shutil.copyfile(f"{live}-wal", f"{broken}-wal")
        broken.write_bytes(b"")
        store.close()
    with pytest.raises(StoreError, match="0 bytes"):
        Store(broken)
    assert salvage(broken).answers == 30


def test_a_letter_that_is_none_in_a_whole_page_costs_its_answer_alone(whole, tmp_path):
    path, _ = whole
    broken = tmp_path / "answers.sqlite"
    data = path.read_bytes()
    broken.write_bytes(data[: (at := data.rindex(b"visitor"))] + b"\xff" + data[at + 1 :])
    with Store(broken) as store, pytest.raises(StoreError, match="knowfree augment salvage"):
        for request in requests(ROWS):
            store.get(request, "recorded")
    saved = salvage(broken)
    assert (saved.answers, saved.kept_as) == (ROWS - 1, broken.with_name("answers.sqlite.damaged-1"))
    with Store(broken) as store:
        assert sum(store.get(request, "recorded") is not None for request in requests(ROWS)) == ROWS - 1


def test_a_store_that_may_not_be_written_is_no_damaged_one(whole, tmp_path):
    path, _ = whole
    copy = tmp_path / "answers.sqlite"
    shutil.copyfile(path, copy)
    (tmp_path / "answers.sqlite-wal").mkdir()  # as on a disk that is read-only: its log cannot be opened
    with pytest.raises(StoreError, match=r"cannot be opened for writing .*make the file and its folder writable"):
        Store(copy)


def test_a_whole_store_is_left_alone(whole, tmp_path):
    path, _ = whole
    copy = tmp_path / "answers.sqlite"
    shutil.copyfile(path, copy)
    saved = salvage(copy)
    assert (saved.answers, saved.kept_as) == (ROWS, None)


@pytest.mark.parametrize(
    "content", [b"", b"this is a letter to my grandmother " * 200, b"SQLite format 3\0" + b"\0" * 4080]
)
def test_where_nothing_can_be_saved_nothing_is_changed(content, tmp_path):
    broken = tmp_path / "answers.sqlite"
    broken.write_bytes(content)
    with pytest.raises(StoreError, match=r"is not a store of answers, or a damaged one"):
        Store(broken)
    with pytest.raises(StoreError, match="not one answer"):
        salvage(broken)
    assert broken.read_bytes() == content


def test_a_newer_version_is_told_and_what_is_understood_can_be_saved(whole, tmp_path):
    path, _ = whole
    newer = tmp_path / "answers.sqlite"
    shutil.copyfile(path, newer)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("ALTER TABLE answers ADD COLUMN mood")
        connection.execute("PRAGMA user_version = 99")
        connection.commit()
    with pytest.raises(StoreError, match=r"newer version .*format 99.*pip install --upgrade"):
        Store(newer)
    assert salvage(newer).answers == ROWS


def test_the_command_says_what_it_saved(whole, tmp_path):
    path, _ = whole
    broken = tmp_path / "answers.sqlite"
    broken.write_bytes(zeros(path.read_bytes(), 0))
    told = CliRunner().invoke(augment, ["salvage", str(tmp_path)])
    assert told.exit_code == 0
    assert "answers and 0 noted failures are saved" in told.output and "damaged-1" in told.output


def test_no_byte_of_the_schema_costs_an_answer(whole, tmp_path):
    data = whole[0].read_bytes()
    damaged = 0
    for at in range(data.index(b"CREATE TABLE") - 40, PAGE, 9):
        path = tmp_path / str(at) / "answers.sqlite"
        path.parent.mkdir()
        path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
        with suppress(StoreError):  # nothing else comes of it
            check_whole(path)
        saved = salvage(path)
        assert saved.answers == ROWS, at
        damaged += saved.kept_as is not None
    assert damaged > 20


def test_a_damaged_store_to_take_from_is_named(whole, tmp_path):
    (tmp_path / "other.sqlite").write_bytes(noise(whole[0].read_bytes()))
    with Store(tmp_path / "answers.sqlite") as store, pytest.raises(StoreError, match=r"other\.sqlite is not a store"):
        store.take_from(tmp_path / "other.sqlite")
