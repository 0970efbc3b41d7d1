"""Texts and files that visitors send, checked; results as JSON and CSV."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MOST_CHARACTERS = 5000  # of one text
MOST_ROWS = 1000  # of one file
LARGEST_FILE = 2 * 1024 * 1024  # bytes
SPAN_COLUMNS = ("start", "end", "label", "score", "word")


class Refused(ValueError):
    """Input that the Space does not take; the message says why, and what it takes."""


def check_text(text: str) -> None:
    """
    Raises:
        Refused: `text` is too long, or no Unicode text.
    """
    if len(text) > MOST_CHARACTERS:
        raise Refused(
            f"This text has {len(text):,} characters; this page takes up to {MOST_CHARACTERS:,}. Tag longer ones on "
            "your own machine: knowfree predict --model … --input FILE --text"
        )
    half = next((at for at, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
    if half is not None:
        raise Refused(f"Character {half} is half of a surrogate pair (U+{ord(text[half]):04X}), no Unicode text.")


def read_upload(path: str | Path) -> list[dict[str, Any]]:
    """
    Rows of an uploaded file: each line of a `.txt` file is a text; each line of a `.jsonl` file is an object with
    `text` or `tokens`, and maybe an `id`. Empty lines are skipped.

    Returns:
        Rows with `id` and `text`, or with `id` and `tokens`.

    Raises:
        Refused: another kind of file, too large, not UTF-8, a bad line, no line at all, or too many.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".txt", ".jsonl"):
        raise Refused(f"This page takes .txt (a text on each line) and .jsonl files, not {path.name!r}.")
    data = path.read_bytes()
    if len(data) > LARGEST_FILE:
        raise Refused(f"The file has {len(data):,} bytes; this page takes up to {LARGEST_FILE:,}.")
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"The file is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from error
    lines = [(number, line.strip("\r")) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if not lines:
        raise Refused("The file holds no text.")
    if len(lines) > MOST_ROWS:
        raise Refused(f"The file has {len(lines):,} texts; this page takes up to {MOST_ROWS:,}.")
    rows = [{"id": str(n), "text": line} if kind == ".txt" else _parse(n, line) for n, line in lines]
    key = "tokens" if "tokens" in rows[0] else "text"
    for (number, _), row in zip(lines, rows, strict=True):
        if key not in row:
            raise Refused(f"Line {number} has no {key!r}, the first one has: give one kind.")
        try:
            check_text(row[key] if key == "text" else "".join(row[key]))
        except Refused as error:
            raise Refused(f"Line {number}: {error}") from error
    return rows


def _parse(number: int, line: str) -> dict[str, Any]:
    wanted = 'write {"text": "…"} or {"tokens": ["…", "…"]}'
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"Line {number} is not JSON ({error}): {wanted}.") from error
    if isinstance(row, dict):
        named = {"id": str(row.get("id", number))}
        if isinstance(row.get("text"), str):
            return {**named, "text": row["text"]}
        tokens = row.get("tokens")
        if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            return {**named, "tokens": tokens}
    raise Refused(f"Line {number} holds neither a text nor tokens: {wanted}.")


def to_json(value: Any) -> bytes:
    """`value` for people and programs."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def to_json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """One object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table for spreadsheets: with a byte order mark, and no cell that a spreadsheet would take for a formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue().encode("utf-8-sig")


def guarded(cell: str) -> str:
    """`cell`, behind an apostrophe where a spreadsheet might take it for a formula (JSON has the exact text): it
    begins with `=`, `+`, `-` or `@`, full-width forms too, after what a program may trim, or with a control."""
    plain = unicodedata.normalize("NFKC", cell)
    begin = next((at for at, character in enumerate(plain) if not _trimmed(character)), len(plain))
    return f"'{cell}" if cell[:1] in _CONTROLS or plain[begin : begin + 1] in _SIGNS else cell


def _trimmed(character: str) -> bool:
    return character.isspace() or character == "'" or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")


_SIGNS = tuple("=+-@|%\N{MINUS SIGN}")
_CONTROLS = tuple("\t\r\n\0")
