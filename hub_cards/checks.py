"""What must not leave this machine: cards without a licence, pickles, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import RepoCard

from modeling_knowfree.data.rows import InputError

from .parcels import Parcel

SECRETS = {
    "a Hugging Face token": rb"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "an API key (sk-…)": rb"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}",
    "a GitHub token": rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50})",
    "an AWS key": rb"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}(?![0-9A-Z])",
    "a Google key": rb"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}",
    "a Slack token": rb"(?<![A-Za-z0-9])xox[abprs]-[0-9A-Za-z-]{10,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": rb"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@\"'<>]+:[^/\s@\"'<>]+@",
}


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
    for path, content in {**parcel.files, "README.md": parcel.card(None).encode()}.items():
        if path.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")):
            raise InputError(f"{parcel.repo_id}: {path} is a pickle; only safetensors are pushed; delete it")
        for where, text in _texts(path, content):
            found = next((name for name, pattern in SECRETS.items() if re.search(pattern, text)), None)
            if found is None and token and token.encode() in text:
                found = "the Hub token in use"
            if found:
                raise InputError(
                    f"{parcel.repo_id}: {path}{where} holds what looks like {found}; nothing was pushed; take it out "
                    "where it comes from, and revoke it if others have seen the file"
                )


def _texts(path: str, content: Path | bytes) -> Iterator[tuple[str, bytes]]:
    """(where, text) of a file: lines, cells of Parquet; of weights only the header, the rest being numbers."""
    if path.endswith(".parquet"):
        import pyarrow.parquet

        assert isinstance(content, Path)
        for number, row in enumerate(pyarrow.parquet.read_table(content).to_pylist(), start=1):
            yield f", row {number}", "\n".join(_strings(row)).encode()
    elif path.endswith(".safetensors"):
        assert isinstance(content, Path)
        with content.open("rb") as file:
            yield "", file.read(int.from_bytes(file.read(8), "little"))
    else:
        text = content if isinstance(content, bytes) else content.read_bytes()
        for number, line in enumerate(text.splitlines(), start=1):
            yield f", line {number}", line


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
