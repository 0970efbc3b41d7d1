"""The store of answers: one SQLite file (WAL), one row per rendered request, nothing that was paid for ever lost.

An answer is committed before anyone parses it. Writes go through one thread that commits what has gathered in one
transaction, so that a durable commit (`synchronous = FULL`) is shared by the answers that arrive together.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from augmentation.llm.door import prose
from augmentation.llm.store_file import (
    ANSWER_COLUMNS,
    ANSWER_TABLE_COLUMNS,
    BAD,
    REQUEST_COLUMNS,
    StoreError,
    StoreWriteError,
    check_whole,
    connect,
    damaged,
    hold,
    lock_of,
    make,
    trouble,
)
from augmentation.llm.tasks import Answer, Request
from augmentation.redaction import redact


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
        self._reader = connect(self.path)
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
            connection = connect(self.path)
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
        with contextlib.suppress(sqlite3.Error, StoreError), contextlib.closing(connect(self.path)) as connection:
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
        columns = ", ".join(ANSWER_COLUMNS)
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
            *(getattr(request, name) for name in REQUEST_COLUMNS),
            *(getattr(answer, name) for name in ANSWER_COLUMNS),
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
        """
        Take over the answers of another store that this one lacks, unusable ones as such; their cost stays there.

        Raises:
            StoreError: the other one is no whole store, or this one cannot be written.
        """
        check_whole(other)
        reader = self._reader
        reader.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            with reader:
                columns = ", ".join(ANSWER_TABLE_COLUMNS)
                unusable = "key IN (SELECT key FROM other.answers) AND key NOT IN (SELECT key FROM answers)"
                reader.execute(f"INSERT OR IGNORE INTO failures SELECT * FROM other.failures WHERE {unusable}")
                reader.execute(f"INSERT OR IGNORE INTO answers ({columns}) SELECT {columns} FROM other.answers")
        except BAD as error:
            raise trouble(self.path, error) from error
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

    def set_aside(self, model: str) -> None:
        """Let all that a model answered be asked anew; its answers move to `superseded`."""
        self._wait(self._submit(_set_aside("model = ?", (model,))))

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
