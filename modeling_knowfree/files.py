"""Files written whole or not at all, and what to tell when a disk will not have them."""

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MENDS = {
    errno.ENOSPC: "free some space (df -h) or some files (df -i)",
    errno.EDQUOT: "your quota is used up: delete something",
    errno.EFBIG: "the limit on a file's size is reached (ulimit -f)",
    errno.EROFS: "name a folder on a disk that can be written",
    errno.EACCES: "change its permissions, or name another folder",
    errno.EPERM: "change its permissions, or name another folder",
    errno.ENOENT: "it was moved or deleted: put it back, or name another",
    errno.EEXIST: "a file, or a link that leads nowhere, stands where a folder should be: name another",
    errno.ENOTDIR: "a file stands where a folder should be: name another",
    errno.ELOOP: "its links lead back to themselves: name another",
    errno.EXDEV: "it lies on another disk: name a place on this one",
    errno.EBUSY: "something else is using it: close that, or name another",
    errno.EILSEQ: "this disk takes no such name: choose another",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk fails: look at the system's log",
    errno.ESTALE: "the network drive has lost it: mount it again",
    errno.EMFILE: "too many files are open (ulimit -n)",
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # an error of a disk, not of what is copied to it


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_trouble(error: OSError) -> str | None:
    """One line on a file or folder that cannot be used: which one, why, what to do. `None` for other errors."""
    if error.errno not in _MENDS:
        return None
    name = "standard output" if error.filename is None else os.fsdecode(error.filename)
    mend = _MENDS[error.errno]
    return f"{name}: {os.strerror(error.errno)}; {mend}, then run the same command again".replace("\n", " ")


def page_trouble(path: Path) -> str | None:
    """One line on a file that a page of HTML is not to replace: it is none by its name. `None` where it may."""
    if not path.exists() or path.suffix.lower() in (".html", ".htm"):
        return None
    return "exists already, and is no page by its name; name a new one that ends in .html"


@contextmanager
def as_os_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the disk inside become `OSError`s that name a file; where they name none, `path`.

    Writing to a full disk raises an OSError without a name; safetensors, tokenizers and torch raise others.
    """
    try:
        yield
    except OSError as error:
        is_copy = error.filename2 is not None  # it names what was read first, not the disk that is full
        if error.errno is not None and (error.filename is None or (is_copy and error.errno in _FULL)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    except Exception as error:
        number = _number(error, Path(path))
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number(error: Exception, path: Path) -> int | None:
    """The number of the disk's error that a library tells in words; None for what is none."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    if told:
        return int(told[1])
    of_torch = ("PytorchStreamWriter", "inline_container", "write failed", "iostream")
    if not isinstance(error, RuntimeError) or not any(words in str(error) for words in of_torch):
        return None
    folder = path if path.is_dir() else path.parent
    probe = folder / f".{os.getpid()}.probe"
    try:
        with probe.open("wb") as file:
            file.write(bytes(1 << 20))
            os.fsync(file.fileno())
    except OSError as told_now:
        return told_now.errno
    finally:
        probe.unlink(missing_ok=True)
    return errno.EIO


def sync(path: Path) -> None:
    """fsync of a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def followed(path: Path) -> Path:
    """
    Where a link leads, whether or not a file is there yet: what is written to it belongs there. Others as they are.

    Raises:
        OSError: it leads back to itself.
    """
    if not path.is_symlink():
        return path
    with suppress(FileNotFoundError):
        path.stat()
    return Path(os.path.realpath(path))


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """
    A path to write to, which becomes `path` in one step when the block ends well; an older file stays whole until then.
    A missing folder is made.

    Raises:
        OSError: the file cannot be written; it names `path`.
    """
    path = followed(Path(path))
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with as_os_error(path):
        try:
            yield work
            sync(work)
            work.replace(path)
            sync(path.parent)
        except OSError as error:
            if error.filename is not None and os.fspath(error.filename) == str(work):
                error.filename = str(path)  # nobody knows the other name
            raise
        finally:
            work.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, all or nothing. Raises OSError that names `path`."""
    with whole_file(path) as work:
        work.write_text(text, encoding="utf-8", newline="\n")


def ends_whole(path: Path) -> bool:
    """Whether a file of lines is there and its last one ends; an empty one has none."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def is_taken(path: Path) -> bool:
    """Whether a file stands there, or a folder that holds more than its lock: no place to write to."""
    return path.is_file() or (path.is_dir() and any(each != lock_of(path) for each in path.iterdir()))


def lock_of(place: Path) -> Path:
    """The lock of a file or folder: beside it, or in a folder beside which nothing may be written."""
    inside = place.is_dir() and not os.access(place.absolute().parent, os.W_OK)
    return (place if inside else place.parent) / f".{place.name}.lock"


def path_from(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> str:
    """How `path` is named from `folder`: through the folders that links lead to, since `..` goes up from these."""
    path = Path(path)
    return os.path.relpath(path.parent.resolve() / path.name, Path(folder).resolve())
