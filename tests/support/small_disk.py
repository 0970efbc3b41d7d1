"""A command in a process of its own that sees a full, small or read-only disk where this one sees an empty folder."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

NEW_MOUNTS, NEW_USERS = 0x00020000, 0x10000000
PRIVATE, RECURSIVE, READ_ONLY, REMOUNT = 1 << 18, 1 << 14, 1, 1 << 5


@dataclass
class Outcome:
    """`broken` are JSON files that were left half-written; `files` are all that were left."""

    code: int
    error: str
    files: list[str]
    broken: list[str]


def on_disk(
    folder: Path,
    options: str,
    argv: list[object],
    *,
    read_only: bool = False,
    output: str = "",
    before: Callable[[], object] = lambda: None,
) -> Outcome:
    """
    Run `knowfree argv` with a new disk at `folder`; skips where the system lets nobody mount one.

    Args:
        options: of tmpfs: `size=64k`, `nr_inodes=3`.
        output: file name on the disk that standard output goes to.
        before: what is done on the disk first.
    """
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    arguments = (queue, folder, options, [str(part) for part in argv], read_only, output, before)
    process = context.Process(target=_child, args=arguments)
    process.start()
    answer = queue.get()
    process.join(60)
    if isinstance(answer, str):
        pytest.skip(f"no disk can be mounted here: {answer}")
    return answer


def _child(
    queue, folder: Path, options: str, argv: list[str], read_only: bool, output: str, before: Callable[[], object]
) -> None:
    try:
        _mount(folder, options, read_only)
    except OSError as error:
        queue.put(str(error))
        return
    before()
    import knowfree

    told = folder.with_name(f"{folder.name}.err")
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stderr(stack.enter_context(told.open("w"))))
        if output:
            stack.enter_context(contextlib.redirect_stdout((folder / output).open("w")))
        sys.argv = ["knowfree", *argv]
        code = 0
        try:
            knowfree.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:  # noqa: BLE001 -- reported to the test
            code = 99
            sys.stderr.write(f"Traceback {error!r}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    queue.put(
        Outcome(
            code=code,
            error=told.read_text(),
            files=[str(path.relative_to(folder)) for path in files],
            broken=[path.name for path in files if path.suffix in (".json", ".jsonl") and not _whole(path)],
        )
    )
    os._exit(0)


def _whole(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    try:
        for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
            json.loads(part)
    except ValueError:
        return False
    return text.endswith("\n") or path.suffix == ".json"


def writable_within(folder: Path) -> None:
    """In `before`: make a folder that alone can be written on its disk, as a volume of a container is."""
    folder.mkdir()
    _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=64m")
    _call("mount", b"tmpfs", os.fsencode(folder.parent), b"tmpfs", REMOUNT | READ_ONLY, b"size=8m")


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _mount(folder: Path, options: str, read_only: bool) -> None:
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", NEW_MOUNTS)
    except OSError:
        _call("unshare", NEW_MOUNTS | NEW_USERS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", None, b"/", None, PRIVATE | RECURSIVE, None)
    place = os.fsencode(folder)
    _call("mount", b"tmpfs", place, b"tmpfs", 0, options.encode())
    if read_only:
        _call("mount", b"tmpfs", place, b"tmpfs", REMOUNT | READ_ONLY, options.encode())
