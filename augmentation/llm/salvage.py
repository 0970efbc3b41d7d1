"""What can still be read of a damaged store, written into a new one.

SQLite's own reading stops at the first damaged page. So after what SQL finds, every page of the file and of its
write-ahead log is looked at by itself: the table of answers is a b-tree without row ids, whose cells are whole records
(https://www.sqlite.org/fileformat2.html), each with a key of 64 hexadecimal digits in front.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from augmentation.llm.store import Store
from augmentation.llm.store_file import ANSWER_TABLE_COLUMNS, BAD, StoreError, check_whole, hold, make, trouble

Record = tuple[Any, ...]
_KEY = re.compile(r"[0-9a-f]{64}")
_PAGE_SIZES = (4096, 1024, 2048, 8192, 16384, 32768, 65536, 512)
_INTEGER_BYTES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0, 10: 0, 11: 0}
_CONSTANTS = {0: None, 8: 0, 9: 1}
_INDEX_PAGES = {2: 12, 10: 8}  # type of an interior and a leaf page -> bytes of its header


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved: answers, failures, and where the damaged file lies now; None where nothing was damaged."""

    answers: int
    failures: int
    kept_as: Path | None


def salvage(path: Path) -> Salvaged:
    """
    Put a new store in the place of a damaged one, with every answer that can be read; the damaged file is kept.

    Raises:
        StoreError: there is no store, another run is at work in the folder, or not one answer can be read.
    """
    log = Path(f"{path}-wal")
    if not path.exists() and not log.exists():
        raise StoreError(f"{path}: no such file; nothing to salvage")
    with hold(path):
        if path.exists():
            with contextlib.suppress(StoreError, *BAD):
                check_whole(path)
                _read_all(path)
                with Store(path) as store:
                    return Salvaged(sum(store.counts().values()), len(list(store.failures())), None)
        answers, failures = _readable(path, log)
        if not answers:
            raise StoreError(f"{path}: not one answer in it can be read; it was left as it is")
        fresh = path.with_name(f".{path.name}.salvaged")
        _remove(fresh)
        make(fresh)
        try:
            with contextlib.closing(sqlite3.connect(fresh)) as new, new:
                places = ", ".join("?" * len(ANSWER_TABLE_COLUMNS))
                new.executemany(f"INSERT INTO answers VALUES ({places})", answers.values())
                new.executemany("INSERT OR IGNORE INTO failures VALUES (?, ?, ?, ?, ?)", failures)
        except BAD as error:
            _remove(fresh)
            raise trouble(path, error) from error
        number = next(n for n in range(1, 10_000) if not path.with_name(f"{path.name}.damaged-{n}").exists())
        kept = path.with_name(f"{path.name}.damaged-{number}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
        fresh.rename(path)
        return Salvaged(len(answers), len(failures), kept)


def _read_all(path: Path) -> None:
    """Read every answer and failure: `check_whole` looks at pages, and a letter that is none stands in a whole page."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in ("answers", "failures"):
            for _ in connection.execute(f"SELECT * FROM {table}"):
                pass


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _readable(path: Path, log: Path) -> tuple[dict[str, Record], list[Record]]:
    """Answers by key, and failures."""
    data = path.read_bytes() if path.exists() else b""
    frames = log.read_bytes() if log.exists() else b""
    answers: dict[str, Record] = {}
    failures: list[Record] = []
    with TemporaryDirectory() as work:
        copy = Path(work) / "store"
        if data:  # in an empty file's place SQLite would make a new store
            shutil.copyfile(path, copy)
            if frames:
                shutil.copyfile(log, f"{copy}-wal")
            for record in _by_sql(copy, "answers", ANSWER_TABLE_COLUMNS):
                answers.setdefault(record[0], record)
            failures = list(_by_sql(copy, "failures", ("key", "task", "row_id", "kind", "reason")))
    for pages in _page_sets(data, frames):
        for record in _records(pages):
            answers.setdefault(record[0], record)
    return {key: record for key, record in answers.items() if _is_answer(record)}, failures


def _by_sql(path: Path, table: str, columns: tuple[str, ...]) -> Iterator[Record]:
    """The rows that SQLite reads, a range of keys at a time, so that one damaged page costs its own range only."""
    names = ", ".join(columns)
    with contextlib.suppress(*BAD), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        for n in range(256):
            bounds = (f"{n:02x}", f"{n + 1:02x}" if n < 255 else "g")
            with contextlib.suppress(*BAD):
                for row in connection.execute(f"SELECT {names} FROM {table} WHERE key >= ? AND key < ?", bounds):
                    with contextlib.suppress(UnicodeDecodeError):  # of a damaged page
                        yield tuple(value.decode() if isinstance(value, bytes) else value for value in row)


def _page_sets(data: bytes, frames: bytes) -> Iterator[dict[int, bytes]]:
    """Pages by number: the file's with the log's newest over them, then the file's alone."""
    logged: dict[int, bytes] = {}
    size = int.from_bytes(frames[8:12], "big") if len(frames) > 32 else 0
    if size in _PAGE_SIZES:
        for start in range(32, len(frames) - 24 - size + 1, 24 + size):
            logged[int.from_bytes(frames[start : start + 4], "big")] = frames[start + 24 : start + 24 + size]
    told = int.from_bytes(data[16:18], "big")
    sizes = [size] if size in _PAGE_SIZES else [told] if told in _PAGE_SIZES else list(_PAGE_SIZES)
    for size in sizes:
        pages = {number: data[start : start + size] for number, start in enumerate(range(0, len(data), size), 1)}
        if logged:
            yield pages | logged
        yield pages


def _records(pages: dict[int, bytes]) -> Iterator[Record]:
    for number, page in pages.items():
        begin = 100 if number == 1 else 0
        header = _INDEX_PAGES.get(page[begin] if len(page) > begin else 0)
        if header is None:
            continue
        for n in range(int.from_bytes(page[begin + 3 : begin + 5], "big")):
            pointer = begin + header + 2 * n
            start = int.from_bytes(page[pointer : pointer + 2], "big") + (4 if header == 12 else 0)
            with contextlib.suppress(IndexError, ValueError, struct.error):  # a damaged cell
                record = _record(_payload(page, start, pages))
                if _is_answer(record):
                    yield record


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = 0
    for n in range(9):
        byte = data[position + n]
        if n == 8:
            return value << 8 | byte, position + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position + n + 1
    raise AssertionError("nine bytes are the most")


def _payload(page: bytes, start: int, pages: dict[int, bytes]) -> bytes:
    """A cell's bytes, with those on overflow pages."""
    length, position = _varint(page, start)
    usable = len(page)
    most = (usable - 12) * 64 // 255 - 23
    least = (usable - 12) * 32 // 255 - 23
    if length <= most:
        return page[position : position + length]
    if length > usable * len(pages):
        raise ValueError("longer than the file")
    local = least + (length - least) % (usable - 4)
    local = local if local <= most else least
    payload = bytearray(page[position : position + local])
    following = int.from_bytes(page[position + local : position + local + 4], "big")
    while len(payload) < length and following in pages:
        overflow = pages[following]
        payload += overflow[4:]
        following = int.from_bytes(overflow[:4], "big")
    if len(payload) < length:
        raise ValueError("its overflow pages are lost")
    return bytes(payload[:length])


def _record(payload: bytes) -> Record:
    header_length, position = _varint(payload, 0)
    values: list[Any] = []
    body = header_length
    while position < header_length:
        kind, position = _varint(payload, position)
        if kind >= 12:
            size = (kind - 12) // 2
            values.append(payload[body : body + size].decode("utf-8") if kind % 2 else payload[body : body + size])
        elif kind == 7:
            size = 8
            values.append(struct.unpack(">d", payload[body : body + 8])[0])
        else:
            size = _INTEGER_BYTES[kind]
            number = int.from_bytes(payload[body : body + size], "big", signed=True)
            values.append(_CONSTANTS.get(kind, number))
        body += size
    if body > len(payload):
        raise ValueError("shorter than its header says")
    return tuple(values)


def _is_answer(record: Record) -> bool:
    """Whether a record has the columns of an answer, each with a value that it can have."""
    if len(record) != len(ANSWER_TABLE_COLUMNS) or not isinstance(record[0], str) or not _KEY.fullmatch(record[0]):
        return False
    row = dict(zip(ANSWER_TABLE_COLUMNS, record, strict=True))
    return all(isinstance(row[name], str) for name in ("task", "text", "model", "mode")) and isinstance(
        row["max_tokens"], int
    )
