"""What requests will cost, before they are sent: tokens and dollars, low and high."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from augmentation.llm.budget import Budget
from augmentation.llm.dialogue import Unanswered, Work, replay
from augmentation.llm.outcome import Outcome
from augmentation.llm.tasks import Request

COMPLETION_SHARE = {
    "entities": (0.2, 2.0),
    "segmentation": (1.0, 2.5),
    "pos": (3.0, 9.0),
    "targets": (0.1, 1.0),
    "verify_targets": (0.1, 1.0),
    "explanation": (1.0, 8.0),
    "rewrite": (0.8, 2.0),
    "terms": (5.0, 40.0),
    "attributes": (0.2, 1.0),
    "compose": (0.5, 2.0),
    "verify": (0.3, 1.0),
    "guideline": (0.1, 1.0),
    "merge": (0.5, 1.2),
    "merge_standard": (0.5, 1.2),
}
"""Tokens of an answer as a share of the tokens of its input, low and high; rules of thumb, for cost ranges."""


def tokens_of(text: str) -> float:
    """About how many tokens a text has: a character of Chinese, Japanese or Korean each, else a quarter."""
    wide = sum(ord(char) > 0x2E7F for char in text)
    return wide + (len(text) - wide) / 4


@dataclass
class Tally:
    """By task: requests that no stored answer tells (`missing`), those that one does (`cached`), and the tokens of the
    missing ones' prompts and inputs."""

    missing: Counter[str] = field(default_factory=Counter)
    cached: Counter[str] = field(default_factory=Counter)
    prompt_tokens: Counter[str] = field(default_factory=Counter)
    input_tokens: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, works: Iterable[Work[Any]], known: Callable[[Request], Outcome | None]) -> "Tally":
        """What works would ask next after the outcomes that are `known`, the same question once; nothing is sent, and
        of each question a number is kept."""
        tally = cls()
        counted: set[int] = set()

        def is_new(request: Request) -> bool:
            number, before = int(request.key("")[:16], 16), len(counted)
            counted.add(number)
            return len(counted) > before

        for work in works:
            state = replay(work, known)
            for outcome in state.outcomes:
                tally.cached[outcome.request.task] += is_new(outcome.request)
            for request in filter(is_new, state.requests if isinstance(state, Unanswered) else ()):
                tally.missing[request.task] += 1
                tally.prompt_tokens[request.task] += round(sum(tokens_of(content) for _, content in request.messages))
                tally.input_tokens[request.task] += round(tokens_of(request.input))
        return tally

    def follow(self, first: str, second: str) -> None:
        """Count a question of task `second` behind each missing one of `first`, about the same text and its answer."""
        self.missing[second] = self.missing[first]
        self.input_tokens[second] = self.input_tokens[first]
        self.prompt_tokens[second] = self.prompt_tokens[first] + self.input_tokens[first]

    def estimate(self, budget: Budget) -> dict[str, Any]:
        """`requests`, `tokens` `[low, high]`, and `usd` `[low, high]` where `budget` has prices."""
        prompts = sum(self.prompt_tokens.values())
        shares = {task: COMPLETION_SHARE.get(task, (1.0, 2.0)) for task in self.input_tokens}
        answers = [
            round(sum(tokens * shares[task][side] for task, tokens in self.input_tokens.items())) for side in (0, 1)
        ]
        told: dict[str, Any] = {
            "requests": sum(self.missing.values()),
            "tokens": [prompts + answers[0], prompts + answers[1]],
        }
        if budget.usd(1, 1):
            told["usd"] = [round(budget.usd(prompts, number), 6) for number in answers]
        return told
