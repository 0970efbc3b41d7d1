"""The store of answers: one SQLite file (WAL), one row per rendered request, nothing that was paid for ever lost.

An answer is committed before anyone parses it. Writes go through one thread that commits what has gathered in one
transaction, so that a durable commit (`synchronous = FULL`) is shared by the answers that arrive together.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from augmentation.llm.tasks import Answer, Request
from modeling_knowfree.files import write_whole

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
_COLUMNS = ("key", *_REQUEST_COLUMNS, *_ANSWER_COLUMNS)

_TABLES = f"""
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, {", ".join(_COLUMNS[1:])}) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_parent ON answers (parent_key, reask) WHERE parent_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS superseded ({", ".join(_COLUMNS)});
CREATE TABLE IF NOT EXISTS failures (key TEXT PRIMARY KEY, task, row_id, kind, reason) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started TEXT, outcome TEXT,
    requests INTEGER DEFAULT 0, prompt_tokens INTEGER DEFAULT 0, completion_tokens INTEGER DEFAULT 0, usd REAL DEFAULT 0
);
"""


class StoreError(Exception):
    """The store cannot be used: another program's file, a newer version's, another run's just now, or a full disk."""

    exit_code = 2


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
    """What a run's ledger learns with an answer: the requests it has sent so far, and the answer's US dollars."""

    run: int
    requests: int
    usd: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What was sent and paid for: HTTP requests, tokens, US dollars."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float


class Store:
    """Answers by request. Reading is for one thread; `put` may be awaited from an event loop through its future."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._reader = self._connect()
        try:
            version = self._reader.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise StoreError(
                    f"{self.path} was written by another version of this program (format {version}, this one reads "
                    f"{SCHEMA_VERSION}); use that version, or another run folder"
                )
            if version == 0:
                self._reader.executescript(_TABLES)
                self._reader.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._reader.commit()
        except sqlite3.DatabaseError as error:
            self._reader.close()
            raise StoreError(f"{self.path} is not a store of answers: {error}; name another run folder") from error
        except StoreError:
            self._reader.close()
            raise
        self._jobs: queue.Queue[tuple[list[tuple[str, tuple[Any, ...]]], Future[None]] | None] = queue.Queue()
        self._writer = threading.Thread(target=self._write_loop, name="answer-store", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise StoreError(f"{self.path} is not a store of answers: {error}; name another run folder") from error
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _write_loop(self) -> None:
        connection = self._connect()
        stopping = False
        while not stopping:
            batch = [self._jobs.get()]
            while not self._jobs.empty():
                batch.append(self._jobs.get())
            stopping = None in batch
            jobs = [job for job in batch if job is not None]
            # Whoever stopped waiting has cancelled the future; what it stands for is written all the same.
            waiting = [future for _, future in jobs if future.set_running_or_notify_cancel()]
            try:
                with connection:
                    for statements, _ in jobs:
                        for sql, values in statements:
                            connection.execute(sql, values)
            except sqlite3.Error as error:
                for future in waiting:
                    future.set_exception(StoreError(f"{self.path}: {error}; nothing that was stored is lost"))
            else:
                for future in waiting:
                    future.set_result(None)
        connection.close()

    def _submit(self, statements: list[tuple[str, tuple[Any, ...]]]) -> Future[None]:
        future: Future[None] = Future()
        self._jobs.put((statements, future))
        return future

    def get(self, request: Request, model: str) -> Answer | None:
        """The stored answer to `request`, None where it must be asked.

        A cut answer counts only for requests that do not allow more tokens than it had. A re-ask is also found by its
        place after the first request, so that a parser that words its complaints differently re-asks nothing.
        """
        columns = ", ".join(_ANSWER_COLUMNS)
        row = self._reader.execute(f"SELECT {columns} FROM answers WHERE key = ?", (request.key(model),)).fetchone()
        if row is None and request.reask:
            row = self._reader.execute(
                f"SELECT {columns} FROM answers WHERE parent_key = ? AND reask = ?",
                (request.parent_key, request.reask),
            ).fetchone()
        if row is None:
            return None
        answer = Answer(*row)
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
        statements: list[tuple[str, tuple[Any, ...]]] = [
            *_set_aside("key = ?", (key,)),
            (f"INSERT INTO answers VALUES ({', '.join('?' * len(_COLUMNS))})", values),
        ]
        if charge is not None:
            ledger = (
                "UPDATE runs SET requests = MAX(requests, ?), prompt_tokens = prompt_tokens + ?, "
                "completion_tokens = completion_tokens + ?, usd = usd + ? WHERE id = ?"
            )
            tokens = (answer.prompt_tokens or 0, answer.completion_tokens or 0)
            statements.append((ledger, (charge.requests, *tokens, charge.usd, charge.run)))
        return self._submit(statements)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store for one run, so that no two runs pay for the same answers.

        Raises:
            StoreError: another run holds it.
        """
        lock = FileLock(f"{self.path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(f"another run is writing to {self.path}: wait for it, or use another folder") from error
        try:
            yield
        finally:
            lock.release()

    def take_from(self, other: Path) -> None:
        """Take over the answers of another store that this one lacks; what they cost stays in the other's ledger."""
        reader = self._reader
        reader.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            with reader:
                columns = ", ".join(_COLUMNS)
                reader.execute(f"INSERT OR IGNORE INTO answers ({columns}) SELECT {columns} FROM other.answers")
        finally:
            reader.execute("DETACH DATABASE other")

    def start_run(self, started: str) -> int:
        """A new run in the ledger; its number."""
        with self._reader:
            return int(
                self._reader.execute("INSERT INTO runs (started, outcome) VALUES (?, 'running')", (started,)).lastrowid
                or 0
            )

    def end_run(self, run: int, outcome: str, requests: int) -> None:
        """Close `run` in the ledger with the number of HTTP requests it sent."""
        self._submit([("UPDATE runs SET outcome = ?, requests = ? WHERE id = ?", (outcome, requests, run))]).result()

    def spent(self) -> Spent:
        """What all runs together sent and paid for (of a killed run, the requests up to its last answer)."""
        row = self._reader.execute(
            "SELECT COALESCE(SUM(requests), 0), COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0), "
            "COALESCE(SUM(usd), 0) FROM runs"
        ).fetchone()
        return Spent(*row)

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
        row = self._reader.execute("SELECT * FROM failures WHERE key = ?", (key,)).fetchone()
        return None if row is None else Failure(*row)

    def failures(self) -> Iterator[Failure]:
        """All failures, by task and row."""
        for row in self._reader.execute("SELECT * FROM failures ORDER BY task, row_id, key"):
            yield Failure(*row)

    def release_failures(self) -> int:
        """Let the failed requests be asked again from the start; their answers move to `superseded`. How many."""
        count = int(self._reader.execute("SELECT COUNT(*) FROM failures").fetchone()[0])
        chain = "key IN (SELECT key FROM failures) OR parent_key IN (SELECT key FROM failures)"
        self._submit([*_set_aside(chain, ()), ("DELETE FROM failures", ())]).result()
        return count

    def counts(self) -> dict[str, int]:
        """Stored answers by task, re-asks included."""
        return dict(self._reader.execute("SELECT task, COUNT(*) FROM answers GROUP BY task ORDER BY task"))

    def close(self) -> None:
        """Wait for what is being written, then close."""
        self._jobs.put(None)
        self._writer.join()
        self._reader.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set_aside(where: str, values: tuple[Any, ...]) -> list[tuple[str, tuple[Any, ...]]]:
    return [
        (f"INSERT INTO superseded SELECT * FROM answers WHERE {where}", values),
        (f"DELETE FROM answers WHERE {where}", values),
    ]


def write_failed(store: Store, path: Path) -> int:
    """Rebuild `failed.jsonl` whole from the store; how many lines."""
    lines = [
        json.dumps(
            {"task": f.task, "id": f.row_id, "kind": f.kind, "reason": f.reason}, ensure_ascii=False, sort_keys=True
        )
        for f in store.failures()
    ]
    write_atomically(path, "".join(line + "\n" for line in lines))
    return len(lines)


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole: temporary file beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
