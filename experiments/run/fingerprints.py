"""What a cell was made from, by content: files and encoders."""

import hashlib
import json
from functools import cache
from pathlib import Path

from modeling_knowfree.encoders import E5, built_version, encoder_path


def encoder_fingerprint(name: str) -> str:
    """The name of an encoder on the Hub, with its version of one that is built here; of one in a folder, the sha256
    over names and contents of its files."""
    if name == E5:
        return built_version()
    folder = Path(encoder_path(name))
    if not folder.is_dir():
        return name
    files = sorted((path.name, file_hash(path)) for path in folder.iterdir() if path.is_file())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file, read once as long as it does not change."""
    stat = path.stat()
    return _hash_once(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@cache
def _hash_once(path: Path, *_state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
