"""Tables of Arrow: Parquet files, Arrow files, folders of `save_to_disk`. What their columns hold is recognised as the
same keys in JSON would be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files import whole_file
from ..lines import open_binary
from ..rows import Row, bad_input
from .base import File, Format, Guess, Options, Placed
from .tags_json import INFO, class_names

_SPAN = ("start", "end", "label")


def detect(file: File) -> Guess | None:
    if file.start.startswith(b"PAR1"):
        return Guess(1.0, "the first bytes PAR1")
    return Guess(0.9, "the suffix .parquet") if file.suffix == ".parquet" and not file.is_table else None


def detect_folder(file: File) -> Guess | None:
    if file.is_folder:
        if (file.path / "state.json").is_file() and (file.path / INFO).is_file():
            return Guess(1.0, f"a folder with state.json and {INFO}")
        if (file.path / "dataset_dict.json").is_file():
            return Guess(1.0, "a folder with dataset_dict.json")
    return Guess(1.0, "the first bytes ARROW1") if file.start.startswith(b"ARROW1") else None


def read(file: File, options: Options) -> Placed:
    import pyarrow
    import pyarrow.parquet

    with open_binary(file.path) as stream:
        data = stream.read()
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
        entries = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        message = " ".join(str(error).split())
        bad_input(
            file.place(), f"no Parquet: {message:.100}", allowed="a whole Parquet file", mend="write or copy it again"
        )
    return read_entries(file, entries, _names(table.schema.metadata), options)


def _names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of integer tags, as `datasets` keeps them in a table's metadata."""
    try:
        return class_names(json.loads((metadata or {})[b"huggingface"])["info"])
    except (KeyError, ValueError, TypeError):
        return {}


def read_folder(file: File, options: Options) -> Placed:
    if not file.is_folder:
        return _read_file(file, options)
    if (file.path / "dataset_dict.json").is_file():
        splits = sorted(path.name for path in file.path.iterdir() if path.is_dir())
        mend = f"name the folder of a split, such as {file.path / splits[0]}" if splits else "save it again"
        bad_input(file.place(), f"holds several splits: {', '.join(splits)}", allowed="one data set", mend=mend)
    from datasets import load_from_disk

    try:
        split = load_from_disk(str(file.path))
        entries = list(split)
    except Exception as error:  # noqa: BLE001 - Arrow, JSON and datasets each raise their own
        message = " ".join(str(error).split())
        allowed = "what save_to_disk wrote"
        bad_input(file.place(), f"cannot be loaded: {message:.100}", allowed=allowed, mend="save it again")
    return read_entries(file, entries, class_names({"features": split.features.to_dict()}), options)


def _read_file(file: File, options: Options) -> Placed:
    import pyarrow

    with open_binary(file.path) as stream:
        data = stream.read()
    try:
        table = pyarrow.ipc.open_file(pyarrow.BufferReader(data)).read_all()
        entries = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        message = " ".join(str(error).split())
        bad_input(file.place(), f"no Arrow file: {message:.100}", allowed="a whole file", mend="write it again")
    return read_entries(file, entries, _names(table.schema.metadata), options)


def read_entries(
    file: File, entries: Iterable[Mapping[str, Any]], names: dict[str, list[str]], options: Options
) -> Placed:
    """The rows of a table, in the format that its columns are in."""
    from . import recognise

    listed = [{key: list_of_structs(value) for key, value in entry.items()} for entry in entries]
    inner = File(file.path, listed, names, name=file.name, unit=options.unit)
    if not listed:
        return iter(())
    return recognise(inner)[0].read(inner, options)


def list_of_structs(value: Any) -> Any:
    """Older data sets store a list of structs as a struct of lists."""
    columns = list(value.values()) if isinstance(value, Mapping) else []
    if columns and all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]
    return value


# ------------------------------------------------------------------ writing


def write(rows: Sequence[Row], path: Path) -> None:
    """The columns of our rows, those that any row has."""
    import pyarrow
    import pyarrow.parquet

    with whole_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=_schema(rows)), temporary)


def _schema(rows: Sequence[Row]) -> Any:
    import pyarrow

    keys = {"start": pyarrow.int64(), "end": pyarrow.int64(), "label": pyarrow.string(), "score": pyarrow.float64()}
    keys.update(word=pyarrow.string(), source=pyarrow.string(), weight=pyarrow.float64())

    def spans(column: str) -> Any:
        present = {key for row in rows for span in row.get(column) or () for key in span} | set(_SPAN)
        return pyarrow.list_(pyarrow.struct([(key, kind) for key, kind in keys.items() if key in present]))

    fields = [
        ("id", pyarrow.string()),
        ("tokens", pyarrow.list_(pyarrow.string())),
        *((column, spans(column)) for column in ("entities", "extensions", "uncertain")),
        ("has_extensions", pyarrow.bool_()),
        ("synthetic", pyarrow.bool_()),
        ("source", pyarrow.string()),
        ("annotator", pyarrow.string()),
        ("parent_id", pyarrow.string()),
        ("weight", pyarrow.float64()),
    ]
    needed = ("id", "tokens", "entities")
    return pyarrow.schema([f for f in fields if f[0] in needed or any(row.get(f[0]) is not None for row in rows)])


PARQUET = Format(
    name="parquet",
    tool="datasets, the Hub",
    recognised="the first bytes PAR1",
    trap="names of integer tags stand in the schema's metadata; without them they are refused",
    detect=detect,
    read=read,
    write=write,
    suffix=".parquet",
    whole=True,
)
SAVED = Format(
    name="saved",
    tool="datasets: save_to_disk, Arrow files",
    recognised="a folder with state.json and dataset_info.json",
    trap="a folder of several splits is a question: name one",
    detect=detect_folder,
    read=read_folder,
    aliases=("save_to_disk", "arrow", "save-to-disk"),
)
