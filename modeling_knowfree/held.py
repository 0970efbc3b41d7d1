"""One process at a time writes to a place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .data.rows import InputError
from .files import lock_of


@contextmanager
def held(place: Path, option: str) -> Iterator[None]:
    """
    Hold a file or folder, which need not be there yet, against other processes that would write it.

    Args:
        option: that names it, for the error.

    Raises:
        InputError: another process holds it.
    """
    lock = FileLock(lock_of(place))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{option} {place}: another process is writing it; wait for it, or name another") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
