"""Processes that start at once: forks of the test's own, which has torch and transformers imported already.

A fork is a process like any other to be killed, terminated, or one of several that train together. What a fresh
interpreter sees (what is imported, the environment as libraries read it when they are) needs a real start.
"""

import atexit
import logging
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from threading import RLock

from tqdm import tqdm

from tests.support import ROOT

FORK = multiprocessing.get_context("fork")


class Forked:
    """
    `work` in a process of its own, in the checkout's folder.

    Args:
        work: raises SystemExit to end with a code of its own; any other exception ends with 1 and its traceback.
        stdin: what it reads.
        environment: variables on top of the test's.
    """

    def __init__(
        self, work: Callable[[], object], *, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> None:
        self._streams = [TemporaryFile() for _ in range(3)]  # noqa: SIM115
        self._streams[0].write(stdin)
        self._streams[0].seek(0)
        self._process = FORK.Process(target=self._run, args=(work, dict(environment or {})))
        self._process.start()

    def _run(self, work: Callable[[], object], environment: dict[str, str]) -> None:
        for number, stream in enumerate(self._streams):
            os.dup2(stream.fileno(), number)
        sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115 -- by lines, as any process has it
        logging.getLogger().handlers.clear()  # those of pytest
        atexit._clear()  # likewise
        # The test's is shared by all its forks: one killed while it draws would hold it for ever.
        tqdm.set_lock(RLock())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment)
        os.chdir(ROOT)
        code: object = 0
        try:
            work()
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 -- told to the test
            traceback.print_exc()
            code = 1
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises TimeoutError, and kills, where it does not end."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"still running after {timeout} s: {self.errors().decode()[-3000:]}")
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Any signal."""
        os.kill(self._process.pid or 0, number)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self._process.kill()
        self._process.join()

    def output(self) -> bytes:
        """What it has written to standard output."""
        return self._read(1)

    def errors(self) -> bytes:
        """What it has written to standard error."""
        return self._read(2)

    def _read(self, number: int) -> bytes:
        return os.pread(self._streams[number].fileno(), 1 << 26, 0)


def knowfree_forked(*argv: object, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Forked:
    """`knowfree argv`."""
    return Forked(partial(_knowfree, [str(part) for part in argv]), stdin=stdin, environment=environment)


def _knowfree(argv: list[str]) -> None:
    import knowfree

    sys.argv = ["knowfree", *argv]
    knowfree.main()


@dataclass(frozen=True)
class Answer:
    """How processes ended, as the launcher tells it: 0 where all ended well; their outputs one after the other."""

    returncode: int
    stdout: bytes
    stderr: bytes


def together(processes: int, *argv: object, stdin: bytes = b"") -> Answer:
    """`knowfree argv` in so many processes that know of each other, as `torchrun` tells them to; each reads `stdin`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    size = {name: str(processes) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    works = partial(_one_of, [str(part) for part in argv])
    started = [
        Forked(works, stdin=stdin, environment=common | size | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    codes = [each.wait(240) for each in started]
    errors = b"".join(each.errors() for each in started)
    assert errors.count(b"one of %d\n" % processes) == processes, errors[-3000:]
    assert any(codes) or b"still talking" not in errors, "who ends while others talk is aborted"
    return Answer(max(map(abs, codes)), b"".join(each.output() for each in started), errors)


def _one_of(argv: list[str]) -> None:
    import torch
    from accelerate.state import AcceleratorState, PartialState

    def tell() -> None:
        if torch.distributed.is_initialized():
            sys.stderr.write("still talking\n")
        sys.stderr.write(f"one of {PartialState().num_processes}\n")

    AcceleratorState._reset_state(reset_partial_state=True)  # what the test's own process was
    atexit.register(tell)
    _knowfree(argv)
