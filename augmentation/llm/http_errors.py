"""What an HTTP status, a header or a URL means for a run."""

from __future__ import annotations

import datetime
import email.utils
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from huggingface_hub import get_token

from augmentation.llm.protocol import RetryableError, RowError, StopRunError

RETRIED = frozenset({408, 409, 425, 429})
STOPPING = {
    401: "the server does not know the token in {variable}: set it, e.g. export {variable}=…",
    402: "the account of the token in {variable} has no credit left: top it up, or name another token",
    403: "the token in {variable} may not use this model: give it the right to, or name another token",
    404: "there is no such model or route: check --model and --base-url",
    405: "this route takes no questions: check --base-url",
    407: "a proxy asks for credentials: check HTTPS_PROXY",
    410: "this model or route is gone: check --model and --base-url",
}
BODY_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, known to the user by the environment variable that holds it; its value is never shown."""

    variable: str | None
    _value: str | None

    @classmethod
    def from_environment(cls, variable: str | None) -> Token:
        """The token in `variable`; for HF_TOKEN the one of `hf auth login` serves too. None: no token is sent."""
        if variable is None:
            return cls(None, None)
        value = os.environ.get(variable, "").strip() or (get_token() if variable == "HF_TOKEN" else None)
        return cls(variable, value or None)

    def reveal(self) -> str | None:
        """The value, for the request's header only."""
        return self._value

    def redact(self, text: str) -> str:
        """`text` without the token, should a server have echoed it."""
        return text.replace(self._value, "[token]") if self._value else text

    def __repr__(self) -> str:
        return f"Token({self.variable})"

    @property
    def described(self) -> str:
        """How error texts speak of it."""
        if self.variable is None:
            return "no environment variable (none was named; --token-env names one)"
        return self.variable if self._value else f"{self.variable} (not set)"


def error_for_status(
    status: int, headers: Mapping[str, str], body: str, *, endpoint: str, token: Token
) -> RetryableError | RowError | StopRunError:
    """The error that an unsuccessful response stands for.

    Retried: 408, 409, 425, 429, 5xx. Stopping the run: 401 to 405, 407, 410. Failing the row: the rest (400, 413, 422).
    """
    said = " ".join(token.redact(body).split())[:BODY_CHARACTERS]
    fact = f"HTTP {status}" + (f": {said}" if said else "")
    if status in RETRIED or status >= 500:
        return RetryableError(fact, retry_after_seconds=retry_after_seconds(headers.get("Retry-After")))
    if status in STOPPING:
        mend = STOPPING[status].format(variable=token.described)
        return StopRunError(f"{endpoint} answered HTTP {status}: {mend}" + (f" (it said: {said})" if said else ""))
    return RowError(fact)


def retry_after_seconds(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait, in seconds or as an HTTP date; None: it says nothing."""
    if header is None:
        return None
    try:
        return max(0.0, float(header)) if header.strip().isascii() and header.strip().isdigit() else _until(header)
    except ValueError:
        return None


def _until(date: str) -> float:
    """Raises ValueError for what is no date."""
    then = email.utils.parsedate_to_datetime(date)
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - datetime.datetime.now(datetime.UTC)).total_seconds())


def shown_url(url: str) -> str:
    """The URL as logs and provenance may show it: no user, password, query or fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
