"""The file of a store of answers: what tables it has, how it is made, opened, checked, and held by one run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from filelock import FileLock, Timeout

from augmentation.llm.tasks import Answer

SCHEMA_VERSION = 1

ANSWER_COLUMNS = tuple(field.name for field in fields(Answer))
REQUEST_COLUMNS = (
    "task",
    "row_id",
    "prompt_id",
    "prompt_version",
    "prompt_sha256",
    "temperature",
    "top_p",
    "seed",
    "sample",
    "reask",
    "parent_key",
)
ANSWER_TABLE_COLUMNS = ("key", *REQUEST_COLUMNS, *ANSWER_COLUMNS)

_TABLES = f"""
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, {", ".join(ANSWER_TABLE_COLUMNS[1:])}) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_parent ON answers (parent_key, reask) WHERE parent_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS superseded ({", ".join(ANSWER_TABLE_COLUMNS)});
CREATE TABLE IF NOT EXISTS failures (key TEXT PRIMARY KEY, task, row_id, kind, reason) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started TEXT, outcome TEXT,
    requests INTEGER DEFAULT 0, prompt_tokens INTEGER DEFAULT 0, completion_tokens INTEGER DEFAULT 0, usd REAL DEFAULT 0
);
"""


class StoreError(Exception):
    """The store cannot be used: another program's file, a newer version's, another run's just now, or a full disk."""

    exit_code = 2


class StoreWriteError(StoreError):
    """What the disk will not take: a full one, one that fails."""

    exit_code = 1


BAD = (sqlite3.Error, UnicodeDecodeError)
"""What comes of a store that cannot be read or written."""
_NO_DISK = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC),
    *(sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN),
    sqlite3.SQLITE_IOERR_SHMMAP,
)
_NOT_WRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def make(path: Path) -> None:
    """An empty store, complete before it has its name: a kill leaves no half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # No log written ahead: what a full disk does not take of it when it is closed is not told.
        with contextlib.closing(sqlite3.connect(temporary)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.commit()
        temporary.replace(path)
    except BAD as error:
        raise trouble(path, error) from error
    finally:
        for suffix in ("", "-journal"):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes ahead and syncs every commit.

    Raises:
        StoreError: the file or its folder may not be written, or it is no whole store.
    """
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BAD as error:
        if connection is not None:
            connection.close()
        raise trouble(path, error) from error
    return connection


def trouble(path: Path, error: Exception) -> StoreError:
    """The error for what SQLite says of a store: no right to write, no place on the disk, or a damaged file."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # Python's own has none: text that is no UTF-8
    if code & 0xFF in _NOT_WRITABLE:
        return StoreError(
            f"{path} cannot be opened for writing ({error}), which reading its log needs too; make the file and "
            "its folder writable, or work in a copy of the folder"
        )
    if code in _NO_DISK:
        return StoreWriteError(
            f"{path}: cannot be written ({error}); free some space (df -h), then run the same command again"
        )
    return damaged(path, str(error))


def damaged(path: Path, reason: str) -> StoreError:
    """The error for a store that cannot be read as a whole."""
    return StoreError(
        f"{path} is not a store of answers, or a damaged one ({reason}); it was left as it is, and nothing was sent. "
        f"`knowfree augment salvage {path.parent}` saves the answers that can still be read into a new store; or bring "
        "the file back from a backup; starting anew in another folder pays for every answer again"
    )


def check_whole(path: Path) -> None:
    """
    Look at a store without changing it.

    Raises:
        StoreError: it is damaged, empty, of a newer version, or no store at all.
    """
    if path.stat().st_size == 0:  # SQLite would take it for a new one, and throw away what lies beside it
        raise damaged(path, "it holds 0 bytes")
    connection = connect(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a newer version of this program (format {version}, this one reads "
                f"{SCHEMA_VERSION}); update it: pip install --upgrade knowfree. Until then nothing is lost; "
                f"`knowfree augment salvage {path.parent}` writes what this version understands into a new store"
            )
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise damaged(path, " ".join(problem.split())[:200])
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := {"answers", "superseded", "failures", "runs"} - tables:
            raise damaged(path, f"it has no table {', '.join(sorted(missing))}")
    except BAD as error:
        raise trouble(path, error) from error
    finally:
        connection.close()


def lock_of(path: Path) -> FileLock:
    """The lock of the folder in which the store at `path` lies; it is free again when its process ends."""
    return FileLock(f"{path}.lock")


@contextlib.contextmanager
def hold(path: Path, lock: FileLock | None = None) -> Iterator[FileLock]:
    """Hold the store at `path`, and with it the folder that it lies in, against other runs; a `lock` may be held again.

    Raises:
        StoreError: another run holds it.
    """
    lock = lock or lock_of(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"another run is at work in {path.parent}: wait for it, or use another folder; nothing was changed"
        ) from error
    try:
        yield lock
    finally:
        lock.release()
