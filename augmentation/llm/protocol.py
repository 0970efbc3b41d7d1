"""What the runner and every client agree on: modes of structured output, a completion, and three kinds of failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from augmentation.llm.tasks import Request

Mode = Literal["tgi_grammar", "tgi_value", "json_schema", "tools", "json_object", "none", "recorded"]
"""How a schema is put to the server, strongest first; `none` puts it in words only."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What one successful call brought back. `finish_reason` is `"length"` where the token limit cut the text.

    `free`: the answer cost nothing (it was recorded).
    """

    text: str
    finish_reason: str | None
    served_model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    refusal: str | None = None
    free: bool = False


class RetryableError(Exception):
    """The same request may succeed later: a rate limit, a server error, a lost connection, a timeout, a bad body.

    Attributes:
        retry_after_seconds: what the server asked for, None where it said nothing.
        paid: the request can have been paid for (an answer may have been made), so budgets count its worst case.
        unreachable: nobody was there: no connection came about, or nothing came within the time.
    """

    def __init__(
        self, reason: str, *, retry_after_seconds: float | None = None, paid: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds
        self.paid = paid
        self.unreachable = unreachable


class RowError(Exception):
    """This request will never succeed (HTTP 400, 413, 422, or nothing recorded for it); others may."""


class StopRunError(Exception):
    """No request will succeed until the user mends something (HTTP 401 to 405, 407, 410): the run stops."""

    exit_code = 1


class Client(Protocol):
    """Sends one request and returns its completion, or raises one of the three errors above.

    `model` is the model that was asked for and takes part in the key of a stored answer; `endpoint` is told in
    provenance only; `modes` lists the forms of structured output this client can ask for, strongest first.
    """

    model: str
    endpoint: str
    modes: tuple[Mode, ...]

    async def send(self, request: Request, mode: Mode) -> Completion: ...

    async def close(self) -> None: ...
