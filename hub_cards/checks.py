"""What must not leave this machine: cards without a licence, pickles, secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import RepoCard

from augmentation import redaction
from modeling_knowfree.data.rows import InputError

from .parcels import Parcel


def check(parcel: Parcel, token: str | None) -> None:
    """
    Refuse what must not leave this machine.

    Args:
        token: the one in use; it must be in no file, whatever it looks like.

    Raises:
        InputError: no licence, a pickle, or what looks like a secret; names the file and never the secret.
    """
    if not RepoCard(parcel.card(None)).data.get("license"):
        name = "dataset_license" if parcel.part == "dataset" else "license"
        raise InputError(
            f"{parcel.repo_id}: its card has no licence; add `{name}: …` to the run's card.yaml, or give --{name}, "
            "with an identifier of the Hub (apache-2.0, cc-by-sa-4.0, …)"
        )
    redaction.remember(token)
    for path, content in {**parcel.files, "README.md": parcel.card(None).encode()}.items():
        if path.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")):
            raise InputError(f"{parcel.repo_id}: {path} is a pickle; only safetensors are pushed; delete it")
        for where, text in _texts(path, content):
            if found := redaction.find(text):
                raise InputError(
                    f"{parcel.repo_id}: {path}{where or _line(text)} holds what looks like {found}; nothing was "
                    "pushed; take it out where it comes from, and revoke it if others have seen the file"
                )


def _texts(path: str, content: Path | bytes) -> Iterator[tuple[str, str]]:
    """(where, text) of a file: cells of Parquet, of weights only the header, the rest being numbers, else the whole."""
    if path.endswith(".parquet"):
        import pyarrow.parquet

        assert isinstance(content, Path)
        for number, row in enumerate(pyarrow.parquet.read_table(content).to_pylist(), start=1):
            yield f", row {number}", "\n".join(_strings(row))
    elif path.endswith(".safetensors"):
        assert isinstance(content, Path)
        with content.open("rb") as file:
            yield "", file.read(int.from_bytes(file.read(8), "little")).decode("utf-8", "replace")
    else:
        data = content if isinstance(content, bytes) else content.read_bytes()
        yield "", data.decode("utf-8", "replace")
        if b"\0" in data:  # UTF-16, as some editors write
            yield "", data.replace(b"\0", b"").decode("utf-8", "replace")


def _line(text: str) -> str:
    """Which line of a text holds the secret; a key of several lines is in none of them alone."""
    numbers = (number for number, line in enumerate(text.splitlines(), start=1) if redaction.find(line))
    return f", line {number}" if (number := next(numbers, None)) else ""


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        yield " ".join(inner for inner in value if isinstance(inner, str))
        for inner in value:
            if not isinstance(inner, str):
                yield from _strings(inner)
