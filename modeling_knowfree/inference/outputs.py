"""Where predictions go: a file that is whole or absent, and that a stopped run can continue."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from ..data.rows import InputError, Row
from ..data.stored import stored_object, stored_rows
from ..files import as_os_error, write_whole
from ..units_knowfree import split_text

PARQUET = "parquet"
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
ROWS_AT_ONCE = 4096

logger = logging.getLogger(__name__)


def check_output(output: Path | None, output_format: str, resume: bool) -> None:
    """
    What a prediction is told about its output, before anything is loaded.

    Raises:
        InputError: no such format, or none that is written; an output that is a folder, packed by its name, or missing
            where the format or `resume` needs one.
    """
    from ..data.formats import WRITERS

    if output_format not in WRITERS:
        raise InputError(
            f"--output_format {output_format}: no format that is written; allowed: {', '.join(WRITERS)}; "
            "mend: name one of these"
        )
    if output is None:
        if resume:
            raise InputError("--resume: continues the file of --output; add --output FILE")
        if output_format != "jsonl":
            raise InputError(f"--output_format {output_format}: is written into a file; add --output FILE")
        return
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; name a file")
    if output.exists() and not output.is_file():
        raise InputError(f"--output {output}: is no file; name one, or leave --output out for standard output")
    if output.suffix.lower() in _PACKED:
        raise InputError(f"--output {output}: is not packed while it is written; name it {output.with_suffix('').name}")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}; make it first")


def check_unfinished(output: Path, resume: bool) -> None:
    """
    To be called once the output is held.

    Raises:
        InputError: it is there already, or begun and not to be gone on with.
    """
    if output.exists():
        raise InputError(f"--output {output}: exists already, finished; name another file, or delete it")
    if not resume and part_of(output).exists():
        raise InputError(
            f"--output {output}: an earlier run stopped on the way to it; add --resume to go on, or delete "
            f"{part_of(output)}"
        )


def format_of(output: Path | None, output_format: str | None) -> str:
    """The format as named, else by the end of the file's name: Parquet, or JSON lines."""
    if output_format:
        return output_format
    return PARQUET if output is not None and output.suffix == ".parquet" else "jsonl"


def part_of(output: Path) -> Path:
    """Where the lines lie until the output is whole."""
    return output.with_name(f".{output.name}.part")


def plan_of(output: Path) -> Path:
    """Where it stands beside them with what they are made."""
    return output.with_name(f".{output.name}.plan")


def weights_of(model: str) -> str | None:
    """sha256 over configuration and weights in a model's folder: one trained anew at the same path is another model.
    None for a Hub id."""
    if not Path(model).is_dir():
        return None
    whole = hashlib.sha256()
    for path in sorted(path for kind in ("config.json", "*.safetensors") for path in Path(model).glob(kind)):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def check_same_run(was: Mapping[str, Any], now: Mapping[str, Any], output: object) -> None:
    """Raises InputError where the run that goes on with an output is given something else than the one that began."""
    if other := [name for name in now if name not in was or was[name] != now[name]]:
        raise InputError(
            f"--output {output}: holds the output of another run ({', '.join(other)} differ); give what that run was "
            "given, or name another one"
        )


def done_so_far(output: Path, run: Mapping[str, Any]) -> tuple[int, Iterator[Row]]:
    """
    How many rows of an output are finished, and they themselves; a line that a kill cut off is taken away.

    Args:
        run: see `write_lines`.

    Raises:
        InputError: they are of another run.
    """
    part, plan = part_of(output), plan_of(output)
    if not part.exists():
        return 0, iter(())
    check_same_run(stored_object(plan) if plan.exists() else {}, run, output)
    count = whole = 0
    with part.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            count, whole = count + 1, whole + len(line)
        file.truncate(whole)
    return count, islice(stored_rows(part), count)


def after(rows: Iterator[Row], done: Iterable[Row], name: str) -> Iterator[Row]:
    """
    The rows that are left of an input of which those are `done`.

    Raises:
        InputError: the input is another one than that of the run that was stopped.
    """
    for number, before in enumerate(done, start=1):
        row = next(rows, None)
        if row is None or any(before.get(key) != value for key, value in row.items()):
            raise InputError(
                f"--resume: {name} is not what the stopped run read: its row {number} is another; give the same "
                "--input, or leave --resume out and name another --output"
            )
    return rows


def write_lines(lines: Iterator[str], output: Path, run: Mapping[str, Any]) -> None:
    """
    Adds lines to the part of `output`, each handed to the operating system before the next batch is asked for; nothing
    before there is one.

    Args:
        run: with what they are made: a run that goes on must have the same.
    """
    first = list(islice(lines, 1))
    write_whole(plan_of(output), json.dumps(run))
    file = part_of(output).open("a", encoding="utf-8", newline="\n")
    try:
        for line in chain(first, lines):
            with as_os_error(output):
                file.write(line + "\n")
                file.flush()
    finally:
        with as_os_error(output):  # what a full disk did not take is tried once more
            file.close()


def finish(output: Path, output_format: str, unit: str) -> None:
    """
    The finished part becomes the output, in its format, in one step.

    Args:
        unit: of the model: what predictions on running text are counted in, where the format has tokens.

    Raises:
        InputError: predictions that the format cannot hold; the part stays, unless it is empty.
    """
    part = part_of(output)
    if output_format == "jsonl":
        os.replace(part, output)
    else:
        made = part.with_suffix(".made")
        shutil.rmtree(made, ignore_errors=True)  # of a run that was killed here: some formats are folders
        if output_format == PARQUET:
            names = {name for row in stored_rows(part) for name in row} | {"entities"}
            with as_os_error(output):
                write_parquet(stored_rows(part), made, names)
        else:
            _write_rows(output, output_format, unit, made)
        os.replace(made, output)
        part.unlink()
    plan_of(output).unlink(missing_ok=True)


def _write_rows(output: Path, output_format: str, unit: str, made: Path) -> None:
    from ..data.formats import write_rows_as

    rows = [as_row(row, unit, at) for at, row in enumerate(stored_rows(part_of(output)), 1)]
    kept = [row for row in rows if row["tokens"]]
    try:
        write_rows_as(kept, output_format, made)
    except InputError as error:
        told = f"--output {output}: {str(error).removeprefix(f'{made}: ')}"
        if rows:
            told += "; the predictions are kept: add --resume and --output_format jsonl, which holds all of them"
        else:
            part_of(output).unlink()
            plan_of(output).unlink()
        raise InputError(told) from error
    if len(kept) < len(rows):
        logger.warning("%s: %d rows without a token are left out", output, len(rows) - len(kept))


def as_row(row: Row, unit: str, number: int) -> Row:
    """A prediction as a row: units and spans in units, with scores, and the text; rows without an id are numbered."""
    named = {"id": str(row.get("id", number))}
    keys = ("start", "end", "label", "score")
    spans = [{name: span[name] for name in keys if name in span} for span in row["entities"]]
    if "tokens" in row:
        return named | {"tokens": row["tokens"], "entities": spans}
    offsets = split_text(row["text"], unit)
    first = {start: at for at, (start, _) in enumerate(offsets)}
    last = {end: at + 1 for at, (_, end) in enumerate(offsets)}
    tokens = [row["text"][start:end] for start, end in offsets]
    return named | {
        "text": row["text"],
        "tokens": tokens,
        "entities": [span | {"start": first[span["start"]], "end": last[span["end"]]} for span in spans],
    }


def write_parquet(rows: Iterator[Row], file: Path | BinaryIO, names: Collection[str]) -> None:
    """
    Tagged rows into a Parquet file; memory does not grow with their number.

    Args:
        names: of the columns; null in rows that lack one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    of_span = {"start": pa.int64(), "end": pa.int64(), "label": pa.string(), "score": pa.float64(), "word": pa.string()}
    texts = {"id": pa.string(), "tokens": pa.list_(pa.string()), "text": pa.string()}
    kinds = {"order": pa.int64(), **texts, "entities": pa.list_(pa.struct(list(of_span.items())))}
    schema = pa.schema([(name, kind) for name, kind in kinds.items() if name in names])
    with pq.ParquetWriter(file, schema) as writer:
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            columns = {name: [_plain(row.get(name), name) for row in chunk] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))


def _plain(value: Any, name: str) -> Any:
    return str(value) if name == "id" and value is not None else value


def parquet_rows(path: Path) -> Iterator[Row]:
    """
    The columns `id`, `tokens` and `text` of a Parquet file, row by row; memory does not grow with the file.

    Raises:
        InputError: no Parquet file, or one without `tokens` and `text`.
    """
    with path.open("rb") as file:
        yield from rows_of_parquet(file, str(path))


def rows_of_parquet(file: BinaryIO, name: str, start: int = 0, end: int | None = None) -> Iterator[Row]:
    """
    `parquet_rows` of a file that is open; only its rows `[start, end)`, reading no row group without one of them.

    Args:
        name: what errors call the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        names = [column for column in ("id", "tokens", "text") if column in table.schema_arrow.names]
        if not {"tokens", "text"} & set(names):
            there = ", ".join(table.schema_arrow.names)
            raise InputError(f"{name}: has neither a column tokens nor text, only {there}; rename the one that is it")
        end = table.metadata.num_rows if end is None else end
        groups, before, skipped = [], 0, 0
        for group in range(table.metadata.num_row_groups):
            after_it = before + table.metadata.row_group(group).num_rows
            if after_it <= start:
                skipped = after_it
            elif before < end:
                groups.append(group)
            before = after_it
        batches = table.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups, columns=names)
        rows = (row for batch in batches for row in batch.to_pylist())
        for row in islice(rows, start - skipped, end - skipped):
            yield row | {"id": _written_id(row["id"])} if "id" in row else row
    except pa.ArrowException as error:
        raise InputError(f"{name}: no Parquet that can be read: {' '.join(str(error).split()):.200}") from error


def _written_id(row_id: Any) -> Any:
    """An id as JSON has it: UUIDs, dates and numbers other than integers as text, bytes in hexadecimals."""
    if isinstance(row_id, bytes):
        return row_id.hex()
    if row_id is None or isinstance(row_id, str | int):
        return row_id
    return None if row_id != row_id else str(row_id)  # not itself: NaN, a missing one
