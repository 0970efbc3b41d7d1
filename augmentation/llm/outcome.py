"""What became of a request."""

from dataclasses import dataclass

from augmentation.llm.answers import Parsed
from augmentation.llm.tasks import Answer, Request


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known about a first request: the usable answer to it or to one of its re-asks, or why there is none.

    `request` is the one that brought `answer`; `answers` are all that were paid for it, those that a re-ask replaced
    too. `parsed` is None exactly when `error` is not; the store then knows the failure by `failure_key`.
    """

    request: Request
    answer: Answer | None
    parsed: Parsed | None
    error: str | None = None
    kind: str | None = None
    failure_key: str | None = None
    answers: tuple[Answer, ...] = ()
