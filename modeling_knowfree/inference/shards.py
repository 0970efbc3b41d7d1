"""Files of any size cut into shards, on any fsspec path: what `predict --engine ray` hands to its workers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, NamedTuple
from uuid import uuid4

import fsspec

from ..data.lines import packer_of
from ..data.rows import InputError, Place, Row, bad_input
from .outputs import PARQUET, check_same_run, rows_of_parquet, weights_of, write_parquet
from .tag import checked, kinds_of_row, row_of_line, row_of_text

PLAN_FILE = "plan.json"
UNFINISHED = ".unfinished"  # in the output folder: shards that are being written
SAMPLE_BYTES = 1 << 16


class Shard(NamedTuple):
    """
    A part of an input file.

    Attributes:
        number: among all shards, in input order.
        path: the file.
        start, end: bytes of a file of lines, rows of a Parquet file; a line belongs to the shard in which it begins.
        before: bytes or rows of the files before this one.
    """

    number: int
    path: str
    start: int
    end: int
    before: int


@dataclass(frozen=True)
class Plan:
    """
    What a whole run reads and writes; a run that goes on must have the same.

    Attributes:
        source, output: fsspec paths.
        kind: `parquet`, `jsonl`, or `text` for lines of running text.
        key: `tokens` or `text`: what is tagged.
        files: path and size of each input file, in the order of their names; sizes in bytes, of Parquet in rows.
        step: size of a shard, in the same.
        output_format: `jsonl` or `parquet`.
        model, weights, options: with what it is tagged; see `weights_of`.
    """

    source: str
    output: str
    kind: str
    key: str
    files: list[list[Any]]
    step: int
    output_format: str
    model: str
    weights: str | None
    options: dict[str, Any]

    def shards(self) -> list[Shard]:
        """All shards in input order."""
        found: list[Shard] = []
        before = 0
        for path, size in self.files:
            for start in range(0, size, self.step):
                found.append(Shard(len(found), path, start, min(size, start + self.step), before))
            before += size
        return found

    def name(self, shard: Shard) -> str:
        """The file that a shard becomes, in the output folder."""
        return f"part-{shard.number:06d}.{self.output_format}"


def everywhere(url: str) -> str:
    """A path as every process means it: folders of this machine whole, all other paths as they are."""
    return os.path.abspath(url) if "://" not in url else url


def file_system(url: str, option: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an fsspec path, and the path in it. Raises InputError where no package serves it."""
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{option} {url}: {' '.join(str(error).split()):.200}") from error


def make_plan(
    source: str, output: str, *, text: bool, output_format: str | None, rows: int, model: str, options: dict[str, Any]
) -> Plan:
    """
    The plan of a run; only the beginning of each file is read.

    Args:
        source: a file, or a folder of files that all end alike.
        text: lines are running text.
        output_format: by default that of the input.
        rows: of a shard; of lines about as many.

    Raises:
        InputError: nothing there, an empty or a packed file, Parquet without `tokens` and `text`, a first line that is
            bad, files of which some have tokens and some text.
    """
    files, at = file_system(source, "--input")
    if not files.exists(at):
        raise InputError(f"--input {source}: no such file or folder")
    # Hidden files and markers of other engines (_SUCCESS) are no input.
    paths = [at] if files.isfile(at) else [p for p in sorted(files.find(at)) if p.rsplit("/", 1)[-1][0] not in "._"]
    if not paths:
        raise InputError(f"--input {source}: is an empty folder; name one with JSON lines or Parquet files")
    parquet = {_is_parquet(files, path) for path in paths}
    if len(parquet) > 1:
        raise InputError(f"--input {source}: holds Parquet files and others; name a folder of one kind")
    if parquet == {True} and text:
        raise InputError(f"--text: {source} is Parquet, no lines of text; leave --text out")
    kind = PARQUET if parquet == {True} else "text" if text else "jsonl"
    looked = [_look(files, path, kind) for path in paths]
    keys = sorted({key for key, _, _ in looked if key})
    if len(keys) != 1:
        problem = "has tokens in some files and text in others; tag them apart" if keys else "has no row"
        raise InputError(f"--input {source}: {problem}")
    step = rows if kind == PARQUET else ceil(rows * max(width for _, _, width in looked))
    return Plan(
        source=everywhere(source),
        output=everywhere(output),
        kind=kind,
        key=keys[0],
        files=[[path, size] for path, (_, size, _) in zip(paths, looked, strict=True)],
        step=step,
        output_format=output_format or (PARQUET if kind == PARQUET else "jsonl"),
        model=model,
        weights=weights_of(model),
        options=options,
    )


def _is_parquet(files: fsspec.AbstractFileSystem, path: str) -> bool:
    with files.open(path, "rb") as file:
        first = file.read(10)
    if packer := packer_of(first):
        mend = f"unpack it first: {packer} -d {path}"
        bad_input(path, f"is packed by {packer}, and shards are cut by bytes", allowed="plain files", mend=mend)
    return first.startswith(b"PAR1")


def _look(files: fsspec.AbstractFileSystem, path: str, kind: str) -> tuple[str | None, int, float]:
    """What a file has, `tokens` or `text` (None: it is empty), its size, and how many bytes its rows have about."""
    with files.open(path, "rb") as file:
        if kind == PARQUET:
            first = next(checked(rows_of_parquet(file, path), path), None)
            return (kinds_of_row(first)[0] if first else None), _parquet_length(file), 0
        begun = file.read(SAMPLE_BYTES)
        file.seek(0)
        first = next(_rows_of_lines(file, 0, 1 << 62, path, kind, None), None)
    if first is None:
        return None, files.size(path), 0
    return kinds_of_row(first)[0], files.size(path), len(begun) / (begun.rstrip(b"\n").count(b"\n") + 1)


def _parquet_length(file: Any) -> int:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).metadata.num_rows


def start(plan: Plan) -> list[Shard]:
    """
    The shards that are missing in the output; writes the plan where the run is new.

    Raises:
        InputError: the output is no folder of this run.
    """
    files, folder = file_system(plan.output, "--output")
    place = f"{folder}/{PLAN_FILE}"
    now = json.loads(json.dumps(asdict(plan) | {"output": None}))  # the folder may be moved
    if files.exists(place):
        with files.open(place, "rb") as file:
            check_same_run(json.load(file), now, plan.output)
    elif files.exists(folder) and (files.isfile(folder) or files.ls(folder)):
        raise InputError(f"--output {plan.output}: is not empty, and holds no run; name a new folder")
    else:
        files.makedirs(folder, exist_ok=True)
        _write_whole(files, folder, PLAN_FILE, lambda file: file.write(json.dumps(now, indent=2).encode()))
    done = {path.rsplit("/", 1)[-1] for path in files.ls(folder, detail=False, refresh=True)}
    return [shard for shard in plan.shards() if plan.name(shard) not in done]


def clean_up(plan: Plan) -> None:
    """Delete what killed workers left, once all shards are there."""
    files, folder = file_system(plan.output, "--output")
    if files.exists(f"{folder}/{UNFINISHED}"):
        files.rm(f"{folder}/{UNFINISHED}", recursive=True)


def read_shard(plan: Plan, shard: Shard) -> Iterator[Row]:
    """
    The rows of a shard, each with `order`, where it stands in the input: the number of rows before it in Parquet, of
    bytes before it in files of lines.

    Raises:
        InputError: a row that is bad, with its file and row or byte.
    """
    files, _ = file_system(plan.source, "--input")
    with files.open(shard.path, "rb") as file:
        if plan.kind == PARQUET:
            found = rows_of_parquet(file, shard.path, shard.start, shard.end)
            numbered = enumerate(checked(found, shard.path, plan.key, shard.start + 1), shard.start)
            yield from ({"order": shard.before + at, **row} for at, row in numbered)
        else:
            for row in _rows_of_lines(file, shard.start, shard.end, shard.path, plan.kind, plan.key):
                yield row | {"order": shard.before + row["order"]}


def _rows_of_lines(file: Any, start: int, end: int, path: str, kind: str, key: str | None) -> Iterator[Row]:
    file.seek(max(0, start - 1))
    at = start - 1 + len(file.readline()) if start else 0  # the line that began before is another shard's
    while at < end and (raw := file.readline()):
        place = Place(path, at, noun="byte")
        try:
            line = raw.decode("utf-8" if at else "utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            bad_input(place, str(error), allowed="UTF-8 text", mend=f"iconv -f <its encoding> -t UTF-8 {path}")
        if kind == "text":
            yield {"order": at, **row_of_text(line, place, first=at == 0)}
        elif line.strip():
            yield {"order": at, **row_of_line(line, place, key)}
        at += len(raw)


def write_shard(plan: Plan, shard: Shard, rows: Iterator[Row]) -> int:
    """Write the tagged rows of a shard, whole or not at all, whoever else writes it too; returns how many there are."""
    files, folder = file_system(plan.output, "--output")
    count = 0

    def counted() -> Iterator[Row]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    def write(file: Any) -> None:
        if plan.output_format == PARQUET:
            write_parquet(counted(), file, ("order", "id", plan.key, "entities"))
        else:
            for row in counted():
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    _write_whole(files, folder, plan.name(shard), write)
    return count


def is_there(plan: Plan, shard: Shard) -> bool:
    """Whether a shard of the output is written."""
    files, folder = file_system(plan.output, "--output")
    return files.exists(f"{folder}/{plan.name(shard)}")


def _write_whole(files: fsspec.AbstractFileSystem, folder: str, name: str, write: Any) -> None:
    # A name of its own: a worker that was taken for dead may still write the same shard.
    part = f"{folder}/{UNFINISHED}/{name}.{uuid4().hex}"
    files.makedirs(f"{folder}/{UNFINISHED}", exist_ok=True)
    with files.open(part, "wb") as file:
        write(file)
    files.mv(part, f"{folder}/{name}")
