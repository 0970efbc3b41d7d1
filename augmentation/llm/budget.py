"""Hard limits on what a run sends and pays."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass

from augmentation.llm.protocol import Completion
from augmentation.llm.tasks import Request

TOKENS_PER_MESSAGE = 16  # chat templates put a few special tokens round each message


class BudgetReachedError(Exception):
    """The next request might pass a limit. The run can be resumed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """
    Hard limits; None is no limit.

    Attributes:
        usd_per_million_prompt_tokens, usd_per_million_completion_tokens: prices in US dollars.
        requests_before, tokens_before, usd_before: what others have spent of the same limits.
    """

    max_usd: float | None = None
    max_total_tokens: int | None = None
    max_requests: int | None = None
    usd_per_million_prompt_tokens: float = 0.0
    usd_per_million_completion_tokens: float = 0.0
    requests_before: int = 0
    tokens_before: int = 0
    usd_before: float = 0.0

    def __post_init__(self) -> None:
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if self.max_usd is not None and not any(prices):
            raise ValueError("max_usd needs the price of a token: set usd_per_million_prompt_tokens and …completion…")
        limits = (self.max_usd, self.max_total_tokens, self.max_requests)
        if not all(number >= 0 for number in (*prices, *(limit for limit in limits if limit is not None))):
            raise ValueError("limits and prices of a budget are numbers from 0")  # nan is none

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of so many tokens."""
        return (
            prompt_tokens * self.usd_per_million_prompt_tokens
            + completion_tokens * self.usd_per_million_completion_tokens
        ) / 1e6


def prompt_token_bound(request: Request) -> int:
    """More tokens than the prompt can have: one a UTF-8 byte, the schema (tools put it into the prompt) included."""
    written = sum(len(content.encode("utf-8", "surrogatepass")) + TOKENS_PER_MESSAGE for _, content in request.messages)
    return written + (len(json.dumps(request.schema)) if request.schema else 0)


@dataclass(frozen=True, slots=True)
class Reservation:
    """The worst case of requests in flight."""

    prompt_tokens: int
    completion_tokens: int

    def __add__(self, other: Reservation) -> Reservation:
        return Reservation(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    def __sub__(self, other: Reservation) -> Reservation:
        return Reservation(self.prompt_tokens - other.prompt_tokens, self.completion_tokens - other.completion_tokens)


class Purse:
    """What is spent and what is in flight. A request goes out only if its worst case still fits every limit.

    Whatever can have been paid for counts: an answer by the server's own figures, or by its worst case where the server
    gives none that can be true; a request that brought no answer, but may have been worked on, by its worst case. Where
    a server counts more than what was taken for the worst case, all later ones are taken to be as much larger.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.requests = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._prompt_factor = 1.0
        self._completion_factor = 1.0
        self._in_flight = Reservation(0, 0)  # all of them together
        self._requests_in_flight = 0
        self._changed = asyncio.Event()

    @property
    def usd(self) -> float:
        """Spent so far, US dollars."""
        return self.budget.usd(self.prompt_tokens, self.completion_tokens)

    async def reserve(self, request: Request, stopping: asyncio.Event) -> Reservation | None:
        """Take the worst case of `request` out of the budget, waiting for requests in flight if these may make room.

        None once `stopping` is set.

        Raises:
            BudgetReachedError: it does not fit.
        """
        wanted = Reservation(prompt_token_bound(request), request.max_tokens)
        while (reason := self._refusal(wanted)) is not None:
            if not self._requests_in_flight or self._requests_used_up:
                raise BudgetReachedError(reason)
            self._changed.clear()
            await self._changed.wait()
        if stopping.is_set():
            return None
        self.requests += 1
        self._requests_in_flight += 1
        self._in_flight += wanted
        return wanted

    def settle(self, reservation: Reservation, completion: Completion | None, *, paid: bool = False) -> None:
        """Replace a worst case by what the request cost.

        Args:
            completion: the answer, None where none came.
            paid: without an answer, whether the request can have been paid for all the same.
        """
        self._requests_in_flight -= 1
        self._in_flight -= reservation
        if completion is not None and not completion.free:
            prompt = completion.prompt_tokens or reservation.prompt_tokens
            answer = completion.completion_tokens
            if answer is None or (answer == 0 and completion.text):
                answer = reservation.completion_tokens
            self.prompt_tokens += prompt
            self.completion_tokens += answer
            self._prompt_factor = max(self._prompt_factor, prompt / max(1, reservation.prompt_tokens))
            self._completion_factor = max(self._completion_factor, answer / max(1, reservation.completion_tokens))
        elif completion is None and paid:
            self.prompt_tokens += reservation.prompt_tokens
            self.completion_tokens += reservation.completion_tokens
        self._changed.set()

    @property
    def _requests_used_up(self) -> bool:
        limit = self.budget.max_requests
        return limit is not None and self.budget.requests_before + self.requests >= limit

    def _worst(self, requests: Reservation) -> tuple[int, int]:
        """Prompt and completion tokens of requests, at worst."""
        prompt = math.ceil(requests.prompt_tokens * self._prompt_factor)
        return prompt, math.ceil(requests.completion_tokens * self._completion_factor)

    def _refusal(self, wanted: Reservation) -> str | None:
        budget = self.budget
        if self._requests_used_up:
            return f"--max_requests {budget.max_requests} is reached"
        flying_prompt, flying_completion = self._worst(self._in_flight + wanted)
        flying_usd = budget.usd(flying_prompt, flying_completion)
        tokens = budget.tokens_before + self.prompt_tokens + self.completion_tokens
        usd, worst = budget.usd_before + self.usd, self._worst(wanted)
        if budget.max_total_tokens is not None and tokens + flying_prompt + flying_completion > budget.max_total_tokens:
            return (
                f"--max_total_tokens {budget.max_total_tokens}: {tokens} are spent and the next request may take "
                f"{sum(worst)}"
            )
        if budget.max_usd is not None and usd + flying_usd > budget.max_usd:
            return (
                f"--max_usd {budget.max_usd:g}: {usd:.4f} are spent and the next request may take "
                f"{budget.usd(*worst):.4f}"
            )
        return None
