"""Work that asks: a generator that yields requests, is sent their outcomes, and returns its result.

Such work holds no state between runs. It is replayed from the stored answers and stops where one is missing, so a
resumed run, a rerun and an offline look at a finished one are the same code.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from augmentation.llm.outcome import Outcome
from augmentation.llm.protocol import Completion, Mode, StopRunError
from augmentation.llm.runner import Progress, Runner
from augmentation.llm.tasks import Request

T = TypeVar("T")
U = TypeVar("U")
Work = Generator[list[Request], list[Outcome], T]
Stage = Callable[[str, Callable[[], Iterable[Work[Any]]]], None]
"""Asks what works need, under a name that progress is told by."""


def together(works: Sequence[Work[T]]) -> Work[list[T]]:
    """Works side by side: what they ask at the same time goes out in one list. Results in the order of `works`."""
    results: dict[int, T] = {}
    asking: dict[int, list[Request]] = {}

    def advance(i: int, outcomes: list[Outcome] | None) -> None:
        try:
            asking[i] = next(works[i]) if outcomes is None else works[i].send(outcomes)
        except StopIteration as stop:
            asking.pop(i, None)
            results[i] = stop.value

    for i in range(len(works)):
        advance(i, None)
    while asking:
        batch = dict(asking)
        outcomes = iter((yield [request for requests in batch.values() for request in requests]))
        for i, requests in batch.items():
            advance(i, [next(outcomes) for _ in requests])
    return [results[i] for i in range(len(works))]


def both(first: Work[T], second: Work[U]) -> Work[tuple[T, U]]:
    """Two works of different kinds side by side."""
    one, other = yield from together(cast(list[Work[Any]], [first, second]))
    return one, other


@dataclass(frozen=True)
class Finished(Generic[T]):
    """The result of work and the outcomes it rests on, in the order asked."""

    value: T
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Unanswered:
    """What work has to ask before it can go on, and the outcomes that it has."""

    requests: list[Request]
    outcomes: list[Outcome]


class UnansweredError(Exception):
    """Offline work met a request that was never answered; the message says what to run."""

    exit_code = 1


class AllFailedError(Exception):
    """Not one question of a run got a usable answer; the message says where the reasons stand."""

    exit_code = 1


class StoppedError(Exception):
    """A run ended before its work was done (budget, Ctrl-C); it can be resumed."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(f"{progress.reason}. Everything answered is kept; {progress.mend}.")
        self.exit_code = 130 if progress.outcome == "interrupted" else 3
        self.progress = progress


def replay(work: Work[T], known: Callable[[Request], Outcome | None]) -> Finished[T] | Unanswered:
    """Run `work` on known outcomes as far as they reach."""
    seen: list[Outcome] = []
    try:
        requests = next(work)
        while True:
            outcomes = [known(request) for request in requests]
            missing = [request for request, outcome in zip(requests, outcomes, strict=True) if outcome is None]
            if missing:
                work.close()
                return Unanswered(missing, seen + [outcome for outcome in outcomes if outcome is not None])
            answered = [outcome for outcome in outcomes if outcome is not None]
            seen += answered
            requests = work.send(answered)
    except StopIteration as stop:
        return Finished(stop.value, seen)


class OfflineClient:
    """A client that sends nothing: for looking at stored answers of `model`."""

    endpoint = "offline"
    modes: tuple[Mode, ...] = ("none",)

    def __init__(self, model: str) -> None:
        self.model = model

    async def send(self, request: Request, mode: Mode) -> Completion:
        """Refuses."""
        raise StopRunError(f"{request.task} of {request.row_id} would have to be asked, and nothing may be sent now")

    async def close(self) -> None:
        """Nothing is open."""


def answer_all(
    works: Callable[[], Iterable[Work[T]]],
    runner: Runner,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """
    Ask until every work can finish. `works` makes the works anew for each round; they are drawn from one by one.

    Raises:
        StoppedError: the budget is reached or the run was interrupted.
        StopRunError: the server refuses every request.
    """
    while planned := sum(1 for _ in _unanswered(works, runner)):
        progress = runner.run(_unanswered(works, runner), planned=planned, on_progress=on_progress)
        if progress.outcome != "done":
            raise StoppedError(progress)


def _unanswered(works: Callable[[], Iterable[Work[T]]], runner: Runner) -> Iterator[Request]:
    for work in works():
        state = replay(work, runner.outcome)
        if isinstance(state, Unanswered):
            yield from state.requests


def finished(work: Work[T], runner: Runner) -> Finished[T]:
    """
    The result of work whose requests are all answered.

    Raises:
        UnansweredError: one is not.
    """
    state = replay(work, runner.outcome)
    if isinstance(state, Unanswered):
        request = state.requests[0]
        raise UnansweredError(
            f"{request.task} of {request.row_id} was never answered, and nothing may be sent now; "
            "run `knowfree augment run` first"
        )
    return state
