"""A server that counts more tokens than a request can have: what it counts is counted, and the run stops."""

import asyncio

import pytest

from augmentation.llm.budget import Budget, BudgetReachedError, Purse, prompt_token_bound
from augmentation.llm.protocol import Completion
from tests.support.augment_rows import requests


def counted(prompt: int, answer: int) -> Completion:
    return Completion("[]", "stop", "m", prompt, answer)


def test_usage_beyond_the_worst_case_is_counted_and_the_next_request_waits_for_room():
    [request] = requests(1, max_tokens=64)
    prompt = prompt_token_bound(request)
    worst = prompt + 64

    async def spend() -> int:
        purse, stopping = Purse(Budget(max_total_tokens=5 * worst)), asyncio.Event()
        one, two = [await purse.reserve(request, stopping) for _ in range(2)]
        purse.settle(one, counted(2 * prompt, 2 * 64))
        with pytest.raises(TimeoutError):  # twice a worst case is in flight, and twice another may follow: 6 of 5
            await asyncio.wait_for(purse.reserve(request, stopping), 0.05)
        purse.settle(two, counted(2 * prompt, 2 * 64))
        with pytest.raises(BudgetReachedError):
            await purse.reserve(request, stopping)
        assert purse.requests == 2
        return purse.prompt_tokens + purse.completion_tokens

    assert asyncio.run(spend()) == 4 * worst


def test_overshoot_is_the_excess_of_what_is_in_flight():
    [request] = requests(1, max_tokens=64)
    prompt = prompt_token_bound(request)
    worst = prompt + 64

    async def spend() -> int:
        purse, stopping = Purse(Budget(max_total_tokens=2 * worst)), asyncio.Event()
        one, two = [await purse.reserve(request, stopping) for _ in range(2)]
        for reserved in (one, two):
            purse.settle(reserved, counted(3 * prompt, 3 * 64))
        with pytest.raises(BudgetReachedError):
            await purse.reserve(request, stopping)
        return purse.prompt_tokens + purse.completion_tokens

    assert asyncio.run(spend()) == 6 * worst  # both were out before anybody knew


@pytest.mark.parametrize("limit", [{"max_usd": float("nan")}, {"max_requests": -1}, {"max_total_tokens": -0.5}])
def test_limits_are_numbers_from_zero(limit):
    with pytest.raises(ValueError, match="numbers from 0"):
        Budget(**limit, usd_per_million_prompt_tokens=1.0)
