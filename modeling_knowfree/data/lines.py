"""Lines and JSON of the files that people give: bytes to text, with errors that name the line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from .rows import A_ROW, Place, bad_input, show

_PACKED = {  # where, which bytes
    "gzip": (0, b"\x1f\x8b"),
    "xz": (0, b"\xfd7zXZ\0"),
    "bzip2": (4, b"1AY&SY"),
    "zstd": (0, b"\x28\xb5\x2f\xfd"),
}
_SEVEN_BITS = re.compile(rb"\x1b\$[ -~]|~\{(?:[!-w][!-~])+~\}")  # what begins characters, where bytes have seven bits


class Line(NamedTuple):
    """A line of a file, numbered from 1."""

    number: int
    text: str


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a UTF-8 file, without their ends and without a byte order mark.

    Raises InputError where the file cannot be read; at the line where it is not UTF-8.
    """
    with open_binary(path) as file:
        yield from decode_lines(_byte_lines(file), str(path))


def _byte_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines as bytes. Where the first one has carriage returns inside, these end lines too, as on old Macs."""
    first = file.readline()
    if b"\r" in first.rstrip(b"\r\n"):
        yield from (first + file.read()).splitlines()
    elif first:
        yield first
        yield from file


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is gzipped, whatever its name.

    Raises InputError where the file cannot be read or unpacked, also while the block reads it.
    """
    place = Place(str(path))
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.is_file())
        mend = f"name a file in it{', such as ' + show(inside[0]) if inside else ''}"
        bad_input(place, "is a folder", allowed="a file", mend=mend)
    if not path.exists():
        bad_input(place, "no such file", allowed="a file that exists", mend="check the path")
    try:
        with path.open("rb") as file:
            first = file.read(10)
            file.seek(0)
            packer = packer_of(first)
            if packer == "gzip":
                with gzip.open(file) as unpacked:
                    yield cast(IO[bytes], unpacked)
            elif packer:
                problem, mend = f"is packed by {packer}", f"unpack it first: {packer} -d {path}"
                bad_input(place, problem, allowed="plain or gzipped files", mend=mend)
            else:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        bad_input(place, f"is gzipped and cannot be unpacked: {error}", allowed="a whole .gz", mend="copy it again")
    except OSError as error:
        bad_input(place, f"cannot be read: {error.strerror}", allowed="a readable file", mend="check its permissions")


def packer_of(first: bytes) -> str | None:
    """The program that packed a file whose first ten bytes are these; None for one that is not packed."""
    return next((name for name, (at, mark) in _PACKED.items() if first[at:].startswith(mark)), None)


def decode_lines(lines: Iterable[bytes], path: str) -> Iterator[Line]:
    """`read_lines` of a file that is open already; `path` is the name that errors give."""
    number = 0
    try:
        for line in lines:
            number += 1
            if found := _SEVEN_BITS.search(line):
                mark = found[0]
                encoding = "HZ" if mark[:1] == b"~" else "ISO-2022-KR" if mark[-1:] == b")" else "ISO-2022-JP"
                problem = f"{show(mark.decode())} is how {encoding} begins characters"
                mend = f"iconv -f {encoding} -t UTF-8 {path} > <new file>"
                bad_input(Place(path, number), problem, allowed="UTF-8 text", mend=mend)
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield Line(number, text.rstrip("\r\n"))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} of the line, 0x{error.object[error.start]:02x}, is not UTF-8"
        utf16 = number == 1 and error.object.startswith((b"\xff\xfe", b"\xfe\xff"))
        mend = f"iconv -f {'UTF-16' if utf16 else '<its encoding>'} -t UTF-8 {path} > <new file>"
        bad_input(Place(path, number), problem, allowed="UTF-8 text", mend=mend)


class RepeatedKey(ValueError):
    """A JSON object says one key twice, and not the same."""

    def __init__(self, key: str):
        super().__init__(f"key {show(key)} stands twice in one object, with different values")


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The `object_pairs_hook` under which no value is lost to a later one. Raises RepeatedKey."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if value != found[key]:
                raise RepeatedKey(key)
    return found


def parse_json(text: str, place: Place, mend: str = f"write one JSON object a line, such as {A_ROW}") -> Any:
    """The JSON value that `text` is. Raises InputError with the line and the column where it stops being one."""
    try:
        return json.loads(text, object_pairs_hook=once)
    except RepeatedKey as error:
        bad_input(place, str(error), allowed="each key once", mend="take one of the two out")
    except json.JSONDecodeError as error:
        place = place._replace(number=(place.number or 1) + error.lineno - 1)
        near = show(text[error.pos : error.pos + 20]) if error.pos < len(text) else "the end of the line"
        bad_input(place, f"not JSON at {near}, column {error.colno}: {error.msg}", allowed="JSON", mend=mend)
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets nested thousands deep
        bad_input(place, f"not usable JSON: {show(text[:40])}", allowed="JSON of sane depth and numbers", mend=mend)
