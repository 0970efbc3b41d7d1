"""The structured-output probe: what a server enforces is tried, not assumed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from augmentation.llm.answers import strip_reasoning
from augmentation.llm.protocol import Completion, Mode, RetryableError, RowError, StopRunError
from augmentation.llm.tasks import Request

CANARY_SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
    "additionalProperties": False,
}
# A server that enforces nothing answers in prose; one that enforces JSON cannot. "JSON" must be said: OpenAI refuses
# the json_object format otherwise.
CANARY = Request(
    task="segmentation",
    row_id="probe",
    input="",
    messages=(("user", "Write one short sentence about the weather in plain words. Do not use JSON."),),
    schema=CANARY_SCHEMA,
    temperature=0.0,
    top_p=None,
    seed=None,
    max_tokens=128,
    prompt_id="probe",
    prompt_version="1",
    prompt_sha256="",
)
# The beginning is enough: a list forced on a model that wants to talk may run into the token limit.
_ITEMS = re.compile(r"\{\s*\"items\"\s*:\s*\[")
_OBJECT = re.compile(r"\{\s*[\"}]")


THINKING_TOKENS = 4096  # for the canary of a model that thinks longer than it is allowed to answer
FIRST_ATTEMPTS = 5
LATER_ATTEMPTS = 2  # once a mode got no answer after all its attempts: it may be the mode, it may be the server


async def probe(modes: tuple[Mode, ...], send: Callable[[Request, Mode, int], Awaitable[Completion]]) -> Mode:
    """The first of `modes` (strongest first) that the server enforces, `"none"` where it enforces none.

    `send(request, mode, attempts)` retries what can be retried. A mode that the server refuses (HTTP 400, 422) or
    breaks on is not enforced. A model that is still thinking at the token limit is asked with a higher one.

    Raises:
        StopRunError: the server is not there, answered no request at all, or refuses them all (401, …).
    """
    if modes == ("recorded",):
        return "recorded"
    silence: RetryableError | None = None
    answered = False
    canary = CANARY
    for mode in modes:
        try:
            attempts = FIRST_ATTEMPTS if silence is None else LATER_ATTEMPTS
            completion = await send(canary, mode, attempts)
            if canary is CANARY and completion.finish_reason == "length" and not _said(completion):
                canary = replace(CANARY, max_tokens=THINKING_TOKENS)
                completion = await send(canary, mode, attempts)
        except RowError:
            answered = True
            continue
        except RetryableError as error:
            if error.unreachable and not answered:
                raise StopRunError(f"the server did not answer: {error}; check --base_url and --model") from error
            silence = error
            continue
        answered = True
        if (_OBJECT if mode == "json_object" else _ITEMS).match(_said(completion)):
            return mode
    if silence is not None and not answered:
        raise StopRunError(f"the server did not answer: {silence}") from silence
    return "none"


def _said(completion: Completion) -> str:
    return strip_reasoning(completion.text).strip()
