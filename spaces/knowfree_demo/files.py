"""Texts and files that visitors send, checked; results as JSON and CSV."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import formats

MOST_CHARACTERS = 50_000  # of one text
MOST_ROWS = 1000  # of one file
MOST_OF_A_ROW = 5000  # characters
LARGEST_FILE = 2 * 1024 * 1024  # bytes
AUTOMATIC = formats.NO_FORMAT
TEXT_LINES = "a text on each line"
JSON_TOO = (".json", ".jsonl", ".ndjson", ".txt", ".md")  # names under which JSON of texts comes
SPAN_COLUMNS = ("start", "end", "label", "score", "word")


class Refused(ValueError):
    """Input that the Space does not take; the message says why, and what it takes."""


def check_text(text: str, most: int = MOST_CHARACTERS) -> None:
    """
    Raises:
        Refused: `text` has more than `most` characters, or is no Unicode text.
    """
    if len(text) > most:
        raise Refused(
            f"This text has {len(text):,} characters; this page takes up to {most:,} here. Tag longer ones on "
            "your own machine: knowfree predict --model … --input FILE --text"
        )
    half = next((at for at, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
    if half is not None:
        raise Refused(f"Character {half} is half of a surrogate pair (U+{ord(text[half]):04X}), no Unicode text.")


def read_upload(path: str | Path, format: str = AUTOMATIC, unit: str = "word") -> list[dict[str, Any]]:
    """
    Rows of an uploaded file.

    Args:
        format: `TEXT_LINES`, a format of annotated text, or `AUTOMATIC`: JSON is objects with `text` or `tokens` and
            maybe an `id`, a list of them or one on each line; another `.txt` file is a text on each line, and whatever
            else there is is recognised.
        unit: of the model, where an annotated file holds running text.

    Returns:
        Rows with `id` and `text`, or with `id` and `tokens`; what a file is annotated with is left out.

    Raises:
        Refused: too large, in no format that is read, a bad line, no line at all, or too many.
    """
    path = Path(path)
    if format not in (AUTOMATIC, TEXT_LINES, *formats.names()):
        raise Refused(f"format: choose one of {AUTOMATIC}, {TEXT_LINES}, {', '.join(formats.names())}.")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise Refused(f"The file has {size:,} bytes; this page takes up to {LARGEST_FILE:,}.")
    kind = path.suffix.lower()
    if format == AUTOMATIC and kind in JSON_TOO:
        if listed := _listed(path, kind):
            return _checked([(n, _row(f"Text {n}", n, entry)) for n, entry in enumerate(listed, 1)], "Text")
        if _has_lines_of_json(path, kind):
            return _checked([(n, _parse(n, line)) for n, line in _lines(path)])
    if format == TEXT_LINES or (format == AUTOMATIC and kind == ".txt"):
        lines = _lines(path)
        if format == AUTOMATIC and (found := formats.recognised(path)):
            raise Refused(
                f"This .txt file looks like {found}, annotated text: choose {found} as its format, or {TEXT_LINES!r}."
            )
        return _checked([(n, {"id": str(n), "text": line}) for n, line in lines])
    try:
        rows = formats.read_rows(path, format, unit, MOST_ROWS)
    except ValueError as error:
        raise Refused(_for_visitors(str(error), kind)) from error
    if len(rows) > MOST_ROWS:
        raise Refused(f"The file has more than {MOST_ROWS:,} texts, which is what this page takes.")
    return _checked(list(enumerate(rows, 1)), "Text")


def _for_visitors(told: str, kind: str) -> str:
    """What is wrong with a file, without what to do about it at a command line and for training; of rows the first."""
    problem, *rows = (line.strip().split("; mend: ")[0].split("; allowed: ")[0] for line in told.splitlines())
    problem = problem.removesuffix(": nothing to learn from")
    problem = re.sub(r"[;:,][^;:,]*--[a-z].*", "", problem, flags=re.DOTALL)  # with an option of the command line
    first = f", the first: {rows[0]}" if rows else ""
    lines = "save the column of the texts as .txt" if kind in (".csv", ".tsv") else repr(TEXT_LINES)
    return f"{problem}{first}. Choose its format, {lines} for texts that nobody annotated, or mend the file."


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"The file is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from error
    if "\0" in content:
        raise Refused("The file is not UTF-8 text (it has zero bytes, as UTF-16 has); save it as UTF-8.")
    lines = [(number, line.strip("\r")) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if not lines:
        raise Refused("The file holds no text.")
    if len(lines) > MOST_ROWS:
        raise Refused(f"The file has {len(lines):,} texts; this page takes up to {MOST_ROWS:,}.")
    return lines


def _checked(rows: list[tuple[int, dict[str, Any]]], what: str = "Line") -> list[dict[str, Any]]:
    key = "tokens" if "tokens" in rows[0][1] else "text"
    for number, row in rows:
        if key not in row:
            raise Refused(f"{what} {number} has no {key!r}, the first one has: give one kind.")
        if key == "tokens" and not all(row[key]):
            raise Refused(f"{what} {number}: token {row[key].index('')} is empty: leave it out.")
        for place, text in (("", row[key] if key == "text" else "".join(row[key])), (", id", str(row["id"]))):
            try:
                check_text(text, MOST_OF_A_ROW)
            except Refused as error:
                raise Refused(f"{what} {number}{place}: {error}") from error
    return [row for _, row in rows]


def _json(text: str) -> Any:
    """The value of JSON; None of anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _has_lines_of_json(path: Path, kind: str) -> bool:
    """Whether the lines of a file are JSON that is read here: texts or tokens, or in a `.jsonl` what should be them."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        return kind == ".jsonl"  # which says so
    first = _json(next(filter(str.strip, lines), ""))
    if kind == ".jsonl":
        return not _is_annotated(first)
    return _is_text(first) and (kind != ".json" or first.keys() <= _KEYS)


def _listed(path: Path, kind: str) -> list[Any] | None:
    """The entries of a list of JSON, or the only object where lines are not what `kind` means, if the first is a text
    or tokens alone; None of any other file."""
    try:
        whole = _json(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        return None
    entries = whole if isinstance(whole, list) or kind == ".jsonl" else [whole]
    if not (isinstance(entries, list) and entries and _is_text(entries[0]) and entries[0].keys() <= _KEYS):
        return None
    if len(entries) > MOST_ROWS:
        raise Refused(f"The file has {len(entries):,} texts; this page takes up to {MOST_ROWS:,}.")
    return entries


def _is_text(entry: Any) -> bool:
    return isinstance(entry, dict) and (isinstance(entry.get("text"), str) or isinstance(entry.get("tokens"), list))


def _is_annotated(entry: Any) -> bool:
    """Whether JSON is a row of another shape than text or tokens: without them, or the released one."""
    return isinstance(entry, dict) and (not {"text", "tokens"} & set(entry) or isinstance(entry.get("text"), list))


_KEYS = {"id", "text", "tokens"}
_WANTED = 'write {"text": "…"} or {"tokens": ["…", "…"]}'


def _parse(number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"Line {number} is not JSON ({error}): {_WANTED}.") from error
    return _row(f"Line {number}", number, entry)


def _row(where: str, number: int, entry: Any) -> dict[str, Any]:
    if isinstance(entry, dict):
        named = {"id": str(number if entry.get("id") is None else entry["id"])}
        if isinstance(entry.get("text"), str):
            return {**named, "text": entry["text"]}
        tokens = entry.get("tokens")
        if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            return {**named, "tokens": tokens}
    raise Refused(f"{where} holds neither a text nor tokens: {_WANTED}.")


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
