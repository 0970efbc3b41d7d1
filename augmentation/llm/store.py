"""The store of answers: one SQLite file (WAL), one row per rendered request, nothing that was paid for ever lost.

An answer is committed before anyone parses it. Writes go through one thread that commits what has gathered in one
transaction, so that a durable commit (`synchronous = FULL`) is shared by the answers that arrive together.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from augmentation.llm.door import prose
from augmentation.llm.tasks import Answer, Request
from augmentation.redaction import redact

SCHEMA_VERSION = 1

_ANSWER_COLUMNS = tuple(field.name for field in fields(Answer))
_REQUEST_COLUMNS = (
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
ANSWER_TABLE_COLUMNS = ("key", *_REQUEST_COLUMNS, *_ANSWER_COLUMNS)

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


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was given up, with the true reason."""

    key: str
    task: str
    row_id: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Charge:
    """All that a run has sent and can have paid for so far: HTTP requests, tokens, US dollars."""

    run: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What was sent and paid for: HTTP requests, tokens, US dollars."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float


_Statement = tuple[str, tuple[Any, ...]]


@dataclass(slots=True)
class _Job:
    """Statements that are committed together, and who waits for it."""

    statements: list[_Statement]
    done: Future[None]


class Store:
    """Answers by request. `put` may be awaited from an event loop through its future.

    No death of the writing thread leaves anybody waiting: what is queued is tried once more, job by job, and who waits
    gets a StoreError.
    """

    def __init__(self, path: str | Path, lock: FileLock | None = None) -> None:
        """Open a store, or make a new one where there is no file.

        Args:
            lock: what `hold` gave, where the caller holds the folder already.

        Raises:
            StoreError: the file is damaged, empty, of a newer version, or no store at all; it is left as it is.
        """
        self.path = Path(path)
        self._lock = lock or lock_of(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            if Path(f"{self.path}-wal").exists():  # of the lost file; SQLite would mix it into a new one
                raise damaged(self.path, "it is gone, but its -wal file is still here")
            make(self.path)
        check_whole(self.path)
        self._reader = _connect(self.path)
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._at_hand: list[_Job] = []
        self._waiting: set[Future[None]] = set()
        self._guard = threading.Lock()
        self._death: BaseException | None = None
        self._writer = threading.Thread(target=self._write_until_closed, name="answer-store", daemon=True)
        self._writer.start()

    def _write_until_closed(self) -> None:
        death: BaseException = StoreError("the store is closed")
        try:
            connection = _connect(self.path)
            try:
                while self._write_next(connection):
                    pass
            finally:
                connection.close()
        except BaseException as error:  # noqa: BLE001  (whatever ends this thread is told to all who wait for it)
            death = error
        with self._guard:
            self._death = death
        self._bury()

    def _write_next(self, connection: sqlite3.Connection) -> bool:
        """Commit what has gathered; False once the store is closed."""
        batch = [self._jobs.get(), *self._queued()]
        jobs = self._at_hand = [job for job in batch if job is not None]
        try:
            self._commit(connection, jobs)
        except Exception:  # noqa: BLE001  (one of them cannot be written: each alone, so that the others are)
            for job in jobs:
                try:
                    self._commit(connection, [job])
                except Exception as error:  # noqa: BLE001  (told to who waits for it)
                    self._settle(job, self._error(error))
        return None not in batch

    def _queued(self) -> list[_Job | None]:
        jobs = []
        with contextlib.suppress(queue.Empty):
            while True:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        with connection:
            for job in jobs:
                for sql, values in job.statements:
                    connection.execute(sql, values)
        for job in jobs:
            self._settle(job, None)

    def _settle(self, job: _Job, error: StoreError | None) -> None:
        with self._guard:
            self._waiting.discard(job.done)
        # Whoever stopped waiting has cancelled the future; what it stands for is written all the same.
        if not job.done.done() and job.done.set_running_or_notify_cancel():
            if error is None:
                job.done.set_result(None)
            else:
                job.done.set_exception(error)

    def _error(self, error: BaseException) -> StoreError:
        reason = redact(f"{type(error).__name__}: {error}")
        told = f"{self.path}: cannot be written ({reason}); nothing that was stored is lost"
        if isinstance(error, sqlite3.OperationalError):
            return StoreWriteError(f"{told}; free some space (df -h), then run the same command again")
        return StoreError(told)

    def _bury(self) -> None:
        """The writing thread is dead: write what can be written, and let nobody wait."""
        error = self._error(self._death or RuntimeError("the writing thread ended"))
        left = [job for job in (*self._at_hand, *self._queued()) if job is not None and not job.done.done()]
        with contextlib.suppress(sqlite3.Error, StoreError), contextlib.closing(_connect(self.path)) as connection:
            for job in left:
                with contextlib.suppress(sqlite3.Error, ValueError, OverflowError):
                    self._commit(connection, [job])
        with self._guard:
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
                future.set_exception(error)

    def check_writer(self) -> None:
        """Let nobody wait for a thread that is gone, however it went.

        Raises:
            StoreError: the writing thread is dead.
        """
        if not self._writer.is_alive():
            with self._guard:
                self._death = self._death or RuntimeError("the writing thread vanished")
            self._bury()
            raise self._error(self._death)

    def _submit(self, statements: list[_Statement]) -> Future[None]:
        job = _Job([(sql, tuple(map(_storable, values))) for sql, values in statements], Future())
        with self._guard:
            death = self._death
            if death is None:
                self._waiting.add(job.done)
                self._jobs.put(job)
        if death is not None:
            job.done.set_exception(self._error(death))
        return job.done

    def _wait(self, future: Future[None]) -> None:
        """The result of a write, for callers outside an event loop."""
        while True:
            with contextlib.suppress(TimeoutError):
                return future.result(timeout=1.0)
            with contextlib.suppress(StoreError):  # it is the future's own error that is told
                self.check_writer()

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise damaged(self.path, str(error)) from error

    def get(self, request: Request, model: str) -> Answer | None:
        """The stored answer to `request`, None where it must be asked.

        A cut answer counts only for requests that do not allow more tokens than it had. A re-ask is also found by its
        place after the first request, so that a parser that words its complaints differently re-asks nothing.
        """
        columns = ", ".join(_ANSWER_COLUMNS)
        rows = self._rows(f"SELECT {columns} FROM answers WHERE key = ?", (request.key(model),))
        if not rows and request.reask:
            place = (request.parent_key, request.reask)
            rows = self._rows(f"SELECT {columns} FROM answers WHERE parent_key = ? AND reask = ?", place)
        if not rows:
            return None
        answer = Answer(*rows[0])
        return None if answer.cut and answer.max_tokens < request.max_tokens else answer

    def put(self, request: Request, model: str, answer: Answer, charge: Charge | None = None) -> Future[None]:
        """Store `answer`; the future is done when it is on disk. A former answer under the key moves to `superseded`.

        The tokens and `charge` go into the ledger in the same transaction. The future raises StoreError.
        """
        key = request.key(model)
        values = (
            key,
            *(getattr(request, name) for name in _REQUEST_COLUMNS),
            *(getattr(answer, name) for name in _ANSWER_COLUMNS),
        )
        statements: list[_Statement] = [
            *_set_aside("key = ?", (key,)),
            (f"INSERT INTO answers VALUES ({', '.join('?' * len(ANSWER_TABLE_COLUMNS))})", values),
        ]
        return self._submit(statements + ([] if charge is None else [_charged(charge)]))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store for one run, so that no two runs pay for the same answers.

        Raises:
            StoreError: another run holds it.
        """
        with hold(self.path, self._lock):
            yield

    def take_from(self, other: Path) -> None:
        """Take over the answers of another store that this one lacks, unusable ones as such; their cost stays there."""
        reader = self._reader
        reader.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            with reader:
                columns = ", ".join(ANSWER_TABLE_COLUMNS)
                unusable = "key IN (SELECT key FROM other.answers) AND key NOT IN (SELECT key FROM answers)"
                reader.execute(f"INSERT OR IGNORE INTO failures SELECT * FROM other.failures WHERE {unusable}")
                reader.execute(f"INSERT OR IGNORE INTO answers ({columns}) SELECT {columns} FROM other.answers")
        finally:
            reader.execute("DETACH DATABASE other")

    def start_run(self, started: str) -> int:
        """A new run in the ledger; its number."""
        self._wait(self._submit([("INSERT INTO runs (started, outcome) VALUES (?, 'running')", (started,))]))
        return int(self._rows("SELECT MAX(id) FROM runs")[0][0])

    def end_run(self, outcome: str, charge: Charge) -> None:
        """Close a run in the ledger."""
        ended = ("UPDATE runs SET outcome = ? WHERE id = ?", (outcome, charge.run))
        self._wait(self._submit([ended, _charged(charge)]))

    def spent(self) -> Spent:
        """What all runs together sent and can have paid for (of a killed run, up to its last answer)."""
        sums = ", ".join(f"COALESCE(SUM({name}), 0)" for name in ("requests", *_SPENT))
        return Spent(*self._rows(f"SELECT {sums} FROM runs")[0])

    def fail(self, request: Request, model: str, kind: str, reason: str) -> Future[None]:
        """Note that `request` was given up."""
        return self._submit(
            [
                (
                    "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
                    (request.key(model), request.task, request.row_id, kind, reason),
                )
            ]
        )

    def clear_failure(self, key: str) -> Future[None]:
        """The request with this key has succeeded after all."""
        return self._submit([("DELETE FROM failures WHERE key = ?", (key,))])

    def failure(self, key: str) -> Failure | None:
        """The failure noted for the first request with this key."""
        rows = self._rows("SELECT * FROM failures WHERE key = ?", (key,))
        return Failure(*rows[0]) if rows else None

    def failures(self) -> Iterator[Failure]:
        """All failures, by task and row."""
        for row in self._rows("SELECT * FROM failures ORDER BY task, row_id, key"):
            yield Failure(*row)

    def keep_failures(self, keys: Collection[str | None]) -> None:
        """Forget failures with other keys: of questions that are no longer asked, or whose answer can be read now."""
        over = [failure.key for failure in self.failures() if failure.key not in keys]
        if over:
            self._wait(self._submit([("DELETE FROM failures WHERE key = ?", (key,)) for key in over]))

    def release_failures(self) -> int:
        """Let the failed requests be asked again from the start; their answers move to `superseded`. How many."""
        count = int(self._rows("SELECT COUNT(*) FROM failures")[0][0])
        chain = (  # re-asks of a failed re-ask have its parent: they are known by their place after it
            "key IN (SELECT key FROM failures) OR parent_key IN (SELECT key FROM failures) OR EXISTS "
            "(SELECT * FROM answers AS failed JOIN failures USING (key) "
            "WHERE failed.parent_key = answers.parent_key AND failed.reask < answers.reask)"
        )
        self._wait(self._submit([*_set_aside(chain, ()), ("DELETE FROM failures", ())]))
        return count

    def counts(self) -> dict[str, int]:
        """Stored answers by task, re-asks included."""
        return dict(self._rows("SELECT task, COUNT(*) FROM answers GROUP BY task ORDER BY task"))

    def close(self) -> None:
        """Wait for what is being written, then close."""
        self._jobs.put(None)
        self._writer.join()
        self._reader.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_NOT_WRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def make(path: Path) -> None:
    """An empty store, complete before it has its name: a kill leaves no half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with contextlib.closing(_connect(temporary)) as connection:
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.commit()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF in _NOT_WRITABLE:
            raise StoreError(
                f"{path} cannot be opened for writing ({error}), which reading its log needs too; make the file and "
                "its folder writable, or work in a copy of the folder"
            ) from error
        raise damaged(path, str(error)) from error
    return connection


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
    connection = _connect(path)
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
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error
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


_SPENT = ("prompt_tokens", "completion_tokens", "usd")


def _charged(charge: Charge) -> _Statement:
    names = ("requests", *_SPENT)
    columns = ", ".join(f"{name} = MAX({name}, ?)" for name in names)
    return f"UPDATE runs SET {columns} WHERE id = ?", (*(getattr(charge, name) for name in names), charge.run)


def _storable(value: Any) -> Any:
    """A value that SQLite and any later reader of the file can hold, without secrets."""
    if isinstance(value, str):
        return prose(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return None
    return value


def _set_aside(where: str, values: tuple[Any, ...]) -> list[_Statement]:
    return [
        (f"INSERT INTO superseded SELECT * FROM answers WHERE {where}", values),
        (f"DELETE FROM answers WHERE {where}", values),
    ]
