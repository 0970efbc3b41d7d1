"""The runner: many requests, few at a time, each answered once, paid once, and accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal

from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from augmentation.llm.answers import AnswerError, Parsed, parse
from augmentation.llm.budget import Budget, BudgetReachedError, Purse
from augmentation.llm.door import cleaned, prose, word
from augmentation.llm.outcome import Outcome
from augmentation.llm.probe import probe
from augmentation.llm.protocol import Client, Completion, Mode, RetryableError, RowError, StopRunError
from augmentation.llm.store import Charge, Store
from augmentation.llm.store_file import StoreError
from augmentation.llm.tasks import MAX_REASKS, Answer, Request, reask

SILENT_ROWS = 8
MAX_PAID_ATTEMPTS = 4  # without an answer, for one request: whatever can have been paid for is not repeated for ever
SILENCE_SECONDS = 8.0  # without any answer, until the user is told
NOTICE_SECONDS = 5.0  # between two notices; pauses shorter than that are not told
DRAIN_SECONDS = 20.0  # for answers in flight after SIGTERM: a preempted machine has about 30

RunOutcome = Literal["done", "budget", "interrupted", "stopped"]


@dataclass(slots=True)
class Progress:
    """Where a run stands: rows settled (`done`, `failed`, and `cached`: done without a request), and what was spent."""

    planned: int | None
    done: int = 0
    failed: int = 0
    cached: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    outcome: RunOutcome = "done"
    mode: Mode | None = None
    reason: str = ""
    mend: str = "run the same command to go on"
    started: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> int:
        """Rows that need no further work in this run."""
        return self.done + self.failed


class Runner:
    """Answers requests through a client and a store.

    `run` may be called several times, stage after stage; the budget is one for all of them. `timeout_seconds` bounds
    one HTTP request, `max_attempts` the HTTP requests for one answer, `max_wait_seconds` a pause that a server asks
    for. `on_notice` is told in words what the run waits for.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        concurrency: int = 16,
        requests_per_minute: float | None = None,
        timeout_seconds: float = 120.0,
        max_attempts: int = 10,
        max_backoff_seconds: float = 60.0,
        max_wait_seconds: float = 300.0,
        on_notice: Callable[[str], None] | None = None,
        budget: Budget | None = None,
        mode: Mode | None = None,
    ) -> None:
        self.client = client
        self.store = store
        self.concurrency = concurrency
        self.timeout_seconds = timeout_seconds
        self.max_attempts = max_attempts
        self.max_backoff_seconds = max_backoff_seconds
        self.max_wait_seconds = max_wait_seconds
        self.on_notice = on_notice or (lambda notice: None)
        self.purse = Purse(budget or Budget())
        self.answered = 0  # requests, but for those that find out what the server can do
        self.mode = mode
        self._requests_per_minute = requests_per_minute

    def outcome(self, request: Request) -> Outcome | None:
        """What the store knows about `request`, re-asks followed; None where it has to be asked. Sends nothing."""
        settled = self._settle(request)
        return None if isinstance(settled, Request) else settled

    def run(
        self,
        requests: Iterable[Request],
        *,
        planned: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Answer every request that the store cannot; what was answered is then found by `outcome`.

        The iterable is drawn from as answers arrive, never held. A failed row fails alone and is noted in the store.
        The first Ctrl-C, or SIGTERM, lets what is in flight arrive and ends the run; `Progress.outcome` tells how.

        Raises:
            StopRunError: the server refuses every request (HTTP 401, 402, 403, 404, …) or has stopped answering; what
                had arrived is stored.
            StoreError: an answer cannot be written (disk full), or another run holds this store.
            Exception: of the iterable, as it is, once the rows drawn before it are answered and stored.
        """
        with self.store.held():
            return asyncio.run(self._run(iter(requests), Progress(planned), on_progress or (lambda progress: None)))

    async def _run(
        self, requests: Iterator[Request], progress: Progress, on_progress: Callable[[Progress], None]
    ) -> Progress:
        session = _Session(self, requests, progress, on_progress)
        try:
            with _interrupts(session):
                return await session.run()
        finally:
            await self.client.close()

    def _settle(self, request: Request) -> Outcome | Request:
        """The outcome of a first request, or the request that has to be sent next for it."""
        model = self.client.model
        current = request
        sound: tuple[Request, Answer, Parsed] | None = None
        answers: list[Answer] = []

        def usable(request: Request, answer: Answer, parsed: Parsed) -> Outcome:
            return Outcome(request, answer, parsed, answers=tuple(answers))

        def failed(answer: Answer | None, reason: str, kind: str) -> Outcome:
            return Outcome(current, answer, None, reason, kind, request.key(model), tuple(answers))

        while (answer := self.store.get(current, model)) is not None:
            answers.append(answer)
            try:
                if answer.refusal:
                    return failed(answer, f"the model refused: {word(answer.refusal)}", "refusal")
                return usable(current, answer, parse(current.task, answer.text, cut=answer.cut))
            except AnswerError as error:
                if error.usable is not None:
                    sound = current, answer, error.usable
                if answer.cut:
                    return failed(answer, f"cut at max_tokens={answer.max_tokens}: {error}; raise max_tokens", "cut")
                if current.reask - request.reask == MAX_REASKS:
                    if sound is not None:
                        return usable(*sound)
                    return failed(answer, f"unusable after {MAX_REASKS} re-asks: {error}", "answer")
                current = reask(current, answer.text, str(error), model=model)
        failure = self.store.failure(request.key(model))
        if failure is not None and failure.kind != "cut":  # a cut answer that is no longer found: max_tokens rose
            return usable(*sound) if sound else failed(None, failure.reason, failure.kind)
        return current


class _Session:
    """One call of `Runner.run`: its workers and how it ends."""

    def __init__(
        self, runner: Runner, requests: Iterator[Request], progress: Progress, on_progress: Callable[[Progress], None]
    ) -> None:
        self.runner = runner
        self.requests = requests
        self.progress = progress
        self.on_progress = on_progress
        self.failed = {failure.key for failure in runner.store.failures()}
        self.stopping = asyncio.Event()
        self.stop_error: StopRunError | StoreError | None = None
        self.rows_error: Exception | None = None
        self.in_flight: dict[str, asyncio.Event] = {}
        self.timeouts: set[asyncio.Timeout] = set()
        self.probing = asyncio.Lock()
        self.sending = asyncio.Semaphore(runner.concurrency)
        self.silent_rows = 0  # given up one after the other, with no answer to anyone in between
        rate = runner._requests_per_minute
        self.limiter = AsyncLimiter(1, 60.0 / rate) if rate else None
        self.run_id = runner.store.start_run(_now())
        self.spent_before = (runner.purse.prompt_tokens, runner.purse.completion_tokens, runner.purse.usd)
        self.backoff = wait_random_exponential(multiplier=1, max=runner.max_backoff_seconds)  # full jitter
        self.heard = self.noticed = time.monotonic()
        # Rows are read and answers parsed in this one thread, so that neither keeps the event loop from its work.
        self.reading = ThreadPoolExecutor(1, thread_name_prefix="answer-reader")

    async def run(self) -> Progress:
        watch = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(2 * self.runner.concurrency):  # half of them send, half store, parse, or wait to retry
                    workers.create_task(self._work())
        except BaseExceptionGroup as group:  # of a bug: the first tells it
            raise group.exceptions[0] from None
        finally:
            watch.cancel()
            self.reading.shutdown()
            error = self.rows_error or self.stop_error
            outcome = "stopped" if error else self.progress.outcome
            with contextlib.nullcontext() if error is None else contextlib.suppress(StoreError):
                self.runner.store.end_run(outcome, self._charge())
        if error is not None:
            raise error
        return self.progress

    async def _read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.reading, function, *arguments)

    async def _watch(self) -> None:
        """Tell of silence, and let nobody wait for a thread that is gone."""
        told_after = SILENCE_SECONDS
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(StoreError):  # who waits for the writer is told by the store
                self.runner.store.check_writer()
            silence = time.monotonic() - self.heard
            if silence < SILENCE_SECONDS:
                told_after = SILENCE_SECONDS
            elif silence >= told_after and self.timeouts:
                self._notice(
                    f"no answer from {self.runner.client.endpoint} for {silence:.0f} s; a request is given up after "
                    f"{self.runner.timeout_seconds:g} s"
                )
                told_after = 2 * silence

    def _notice(self, notice: str) -> None:
        self.noticed = time.monotonic()
        self.runner.on_notice(notice)

    def _charge(self) -> Charge:
        purse = self.runner.purse
        prompt, completion, usd = self.spent_before
        spent = (purse.prompt_tokens - prompt, purse.completion_tokens - completion, purse.usd - usd)
        return Charge(self.run_id, self.progress.requests, *spent)

    def hurry(self) -> None:
        """Give up what is still in flight."""
        for timeout in self.timeouts:
            timeout.reschedule(asyncio.get_running_loop().time())

    def stop(self, outcome: RunOutcome, reason: str) -> None:
        """Send nothing more; what is in flight may arrive."""
        if not self.stopping.is_set():
            self.progress.outcome = outcome
            self.progress.reason = reason
            self.stopping.set()

    async def _work(self) -> None:
        while not self.stopping.is_set():
            request = await self._read(self._next)
            if request is None or self.stopping.is_set():
                return
            try:
                await self._row(request)
            except _StoppedError:
                return
            except BudgetReachedError as error:
                if not (self.runner.answered or self.runner.purse.budget.requests_before):
                    self.progress.mend = "nothing could be asked within the limit: raise it, or lower max_tokens"
                self.stop("budget", str(error))
                return
            except (StopRunError, StoreError) as error:
                self.stop_error = self.stop_error or error
                self.stopping.set()
                return

    def _next(self) -> Request | None:
        """The next row; None after the last, and after an error of the iterable: the rows before it are answered."""
        if self.rows_error is not None:
            return None
        try:
            return next(self.requests, None)
        except Exception as error:  # noqa: BLE001 - told by `run` once the workers are done
            self.rows_error = error
            return None

    async def _row(self, request: Request) -> None:
        store, model = self.runner.store, self.runner.client.model
        key = request.key(model)
        while (twin := self.in_flight.get(key)) is not None:  # the same words for another row: ask once
            await twin.wait()
        arrived = self.in_flight[key] = asyncio.Event()
        try:
            asked = False
            while isinstance(settled := await self._read(self.runner._settle, request), Request):
                asked = True
                try:
                    await self._ask(settled)
                except (RowError, RetryableError) as error:
                    kind = "request" if isinstance(error, RowError) else "server"
                    settled = Outcome(settled, None, None, prose(str(error)), kind)
                    self._count_silence(error)
                    break
        finally:
            arrived.set()
            del self.in_flight[key]
        if settled.error is not None:
            self.progress.failed += 1
            await asyncio.wrap_future(store.fail(request, model, settled.kind or "", settled.error))
        else:
            self.progress.done += 1
            self.progress.cached += not asked
            if key in self.failed:
                await asyncio.wrap_future(store.clear_failure(key))
        self.on_progress(self.progress)

    def _count_silence(self, error: RowError | RetryableError) -> None:
        """Stop a run whose server is gone, before every row is given up for it."""
        self.silent_rows = self.silent_rows + 1 if isinstance(error, RetryableError) else 0
        if self.silent_rows >= max(SILENT_ROWS, self.runner.concurrency) and self.stop_error is None:
            self.stop_error = StopRunError(
                f"the server has stopped answering ({error}); once it is back, run the same command again, and "
                "`retry-failed` for the rows that were given up"
            )
            self.stopping.set()

    async def _ask(self, request: Request) -> None:
        """Send until answered, and return once the answer is on disk.

        Raises:
            RowError, RetryableError, StopRunError, BudgetReachedError: no answer.
        """
        mode = await self._mode()
        runner = self.runner
        completion, attempts = await self._send_until_answered(request, mode, runner.max_attempts)
        runner.answered += 1
        answer = Answer(
            text=completion.text,
            finish_reason=completion.finish_reason,
            model=runner.client.model,
            served_model=completion.served_model,
            mode=mode if request.schema or mode == "recorded" else "none",
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            max_tokens=request.max_tokens,
            attempts=attempts,
            time=_now(),
            endpoint=runner.client.endpoint,
            refusal=completion.refusal,
        )
        await asyncio.wrap_future(runner.store.put(request, runner.client.model, answer, self._charge()))

    async def _send_until_answered(self, request: Request, mode: Mode, max_attempts: int) -> tuple[Completion, int]:
        """The completion and the HTTP requests it took."""
        paid = 0

        def enough(state: RetryCallState) -> bool:
            nonlocal paid
            error = state.outcome.exception() if state.outcome else None
            paid += isinstance(error, RetryableError) and error.paid
            return state.attempt_number >= max_attempts or paid >= MAX_PAID_ATTEMPTS

        retrying = AsyncRetrying(  # one for each request: tenacity keeps its state in it
            retry=retry_if_exception_type(RetryableError),
            stop=enough,
            wait=self._wait_seconds,
            sleep=self._sleep,
            reraise=True,
        )
        completion: Completion = await retrying(self._send, request, mode)
        return completion, retrying.statistics["attempt_number"]

    async def _send(self, request: Request, mode: Mode) -> Completion:
        """One HTTP request, within the concurrency, the rate and the budget."""
        async with self.sending:
            return await self._send_now(request, mode)

    async def _send_now(self, request: Request, mode: Mode) -> Completion:
        if self.limiter is not None:
            await self._unless_stopped(self.limiter.acquire())
        reservation = await self.runner.purse.reserve(request, self.stopping)
        if reservation is None:
            raise _StoppedError
        self.progress.requests += 1
        completion: Completion | None = None
        paid = True  # unless it is known that no answer can have been made
        try:
            async with asyncio.timeout(self.runner.timeout_seconds) as timeout:
                self.timeouts.add(timeout)
                completion = cleaned(await self.runner.client.send(request, mode))
        except RetryableError as error:
            paid = error.paid
            raise
        except (RowError, StopRunError):
            paid = False
            raise
        except TimeoutError as error:
            reason = f"no answer within {self.runner.timeout_seconds:g} s"
            raise RetryableError(reason, paid=True, unreachable=True) from error
        except UnicodeEncodeError as error:
            paid = False
            raise RowError(f"the text cannot be sent as UTF-8: {error.reason}") from error
        finally:
            self.timeouts.discard(timeout)
            purse = self.runner.purse
            purse.settle(reservation, completion, paid=paid)
            charge = self._charge()
            self.progress.prompt_tokens, self.progress.completion_tokens = (
                charge.prompt_tokens,
                charge.completion_tokens,
            )
            self.progress.usd = purse.usd
        self.silent_rows = 0
        self.heard = time.monotonic()
        return completion

    async def _mode(self) -> Mode:
        async with self.probing:
            if self.runner.mode is None:
                self.runner.mode = await probe(self.runner.client.modes, self._canary)
            self.progress.mode = self.runner.mode
            return self.runner.mode

    async def _canary(self, request: Request, mode: Mode, attempts: int) -> Completion:
        completion, _ = await self._send_until_answered(request, mode, min(self.runner.max_attempts, attempts))
        return completion

    def _wait_seconds(self, state: RetryCallState) -> float:
        """Full jitter, or what the server asks for, up to the cap; a long pause is told."""
        error = state.outcome.exception() if state.outcome else None
        jittered = self.backoff(state)
        asked_for = error.retry_after_seconds if isinstance(error, RetryableError) else None
        if asked_for is None:
            seconds, notice = jittered, f"{error}; asking again in {jittered:.0f} s"
        else:
            cap = self.runner.max_wait_seconds
            seconds = min(asked_for, cap) + min(jittered, 1.0)
            notice = f"server asks to wait {asked_for:.0f} s" + (
                f"; asking again after {cap:g} s (max_wait_seconds)" if asked_for > cap else ""
            )
        fresh = time.monotonic() - self.noticed >= NOTICE_SECONDS
        if self.runner.mode is None or (fresh and seconds >= NOTICE_SECONDS):
            self._notice(f"{self.runner.client.endpoint}: {notice}")
            self.heard = time.monotonic()
        return seconds

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
            raise _StoppedError

    async def _unless_stopped(self, waiting: Coroutine[None, None, None]) -> None:
        acquiring = asyncio.ensure_future(waiting)
        stopped = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({acquiring, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not acquiring.done():
            acquiring.cancel()
            raise _StoppedError


class _StoppedError(Exception):
    """The run is ending and this request was not sent."""


@contextlib.contextmanager
def _interrupts(session: _Session) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM drains; the second does what it did before. Only the main thread hears signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def drain(signum: int, frame: FrameType | None) -> None:
        signal.signal(signum, previous[signal.Signals(signum)] or signal.SIG_DFL)
        loop.call_soon_threadsafe(session.stop, "interrupted", "interrupted")
        if signum == signal.SIGTERM:
            loop.call_soon_threadsafe(loop.call_later, DRAIN_SECONDS, session.hurry)

    loop = asyncio.get_running_loop()
    previous = {signum: signal.signal(signum, drain) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler or signal.SIG_DFL)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
