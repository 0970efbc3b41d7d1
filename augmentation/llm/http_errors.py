"""What an HTTP status, a header or a URL means for a run."""

from __future__ import annotations

import datetime
import email.utils
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from huggingface_hub import get_token

from augmentation import redaction
from augmentation.llm.protocol import RetryableError, RowError, StopRunError

RETRIED = frozenset({408, 409, 425, 429})
PAID = frozenset({502, 504, 520, 522, 524})  # a gateway gave up waiting: behind it an answer may have been made
STOPPING = {
    401: "the server does not know the token in {variable}: set it, e.g. export {variable}=…",
    402: "the account of the token in {variable} has no credit left: top it up, or name another token",
    403: "the token in {variable} may not use this model: give it the right to, or name another token",
    404: "there is no such model or route: check --model and --base_url",
    405: "this route takes no questions: check --base_url",
    407: "a proxy asks for credentials: check HTTPS_PROXY",
    410: "this model or route is gone: check --model and --base_url",
}
BODY_CHARACTERS = 300
CONNECT_SECONDS = 5.0
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_SECRET_NAME = re.compile(r"key|token|secret|passw|auth|sig", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}")


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, known to the user by the environment variable that holds it; its value is never shown."""

    variable: str | None
    _value: str | None

    @classmethod
    def from_environment(cls, variable: str | None) -> Token:
        """
        The token in `variable`; for HF_TOKEN the one of `hf auth login` serves too. None: no token is sent.

        Raises:
            StopRunError: a character in it that no header may hold.
        """
        if variable is None:
            return cls(None, None)
        value = os.environ.get(variable, "").strip() or (get_token() if variable == "HF_TOKEN" else None)
        redaction.remember(value)
        if value and not (value.isascii() and value.isprintable()):
            raise StopRunError(f"{variable} holds a character that no token has; copy it again")
        return cls(variable, value or None)

    def reveal(self) -> str | None:
        """The value, for the request's header only."""
        return self._value

    def __repr__(self) -> str:
        return f"Token({self.variable})"

    @property
    def described(self) -> str:
        """How error texts speak of it."""
        if self.variable is None:
            return "no environment variable (none was named; --token_env names one)"
        return self.variable if self._value else f"{self.variable} (not set)"


def error_for_status(
    status: int, headers: Mapping[str, str], body: str, *, endpoint: str, token: Token
) -> RetryableError | RowError | StopRunError:
    """The error that an unsuccessful response stands for.

    Retried: 408, 409, 425, 429, 5xx. Stopping the run: 401 to 405, 407, 410. Failing the row: the rest (400, 413, 422).
    """
    said = " ".join(redaction.redact(body).split())[:BODY_CHARACTERS]
    fact = f"HTTP {status}" + (f": {said}" if said else "")
    if status in RETRIED or status >= 500:
        wait = retry_after_seconds(headers.get("Retry-After"), headers.get("Date"))
        return RetryableError(fact, retry_after_seconds=wait, paid=status in PAID)
    if status in STOPPING:
        mend = STOPPING[status].format(variable=token.described)
        return StopRunError(f"{endpoint} answered HTTP {status}: {mend}" + (f" (it said: {said})" if said else ""))
    return RowError(fact)


def retry_after_seconds(header: str | None, date: str | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait, in seconds or as an HTTP date; None: it says nothing.

    A date is counted from the server's own clock, its `Date` header, where it tells one: ours may be wrong.
    """
    header = (header or "").strip()
    if _SECONDS.fullmatch(header):
        return float(header[:20])  # as good as for ever; the runner has a cap
    then = _moment(header)
    if then is None:
        return None
    return max(0.0, (then - (_moment(date or "") or datetime.datetime.now(datetime.UTC))).total_seconds())


def _moment(date: str) -> datetime.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(date)
        return moment.astimezone(datetime.UTC) if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    except (ValueError, TypeError, OverflowError, IndexError):  # whatever the header held instead
        return None


def shown_url(url: str) -> str:
    """The URL as logs and provenance may show it: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return redaction.redact(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")))


def check_base_url(url: str) -> str:
    """`url` as it is.

    Raises:
        ValueError: no http(s) URL, or one that carries credentials, which would be written into files.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("--base_url is no URL with a host: it begins with http:// or https://")
    secret = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if _SECRET_NAME.search(name)]
    if "@" in parts.netloc or secret or redaction.find(url):
        raise ValueError(
            f"--base_url {shown_url(url)} carries a password or key, which would be written into files: put it into an "
            "environment variable and give --token_env ITS_NAME"
        )
    return url


def check_address(base_url: str | None, token_env: str | None) -> None:
    """Raises StopRunError for a URL or a variable's name that cannot be used, see the two checks below."""
    try:
        if base_url is not None:
            check_base_url(base_url)
        if token_env is not None:
            check_token_env(token_env)
    except ValueError as error:
        raise StopRunError(str(error)) from None


def check_token_env(name: str) -> str:
    """`name` as it is.

    Raises:
        ValueError: no name of an environment variable, perhaps the token itself; the message does not repeat it.
    """
    if not _VARIABLE.fullmatch(name) or redaction.find(name):
        raise ValueError(
            "--token_env is the name of an environment variable that holds the token (letters, digits, underscores), "
            "never the token itself; if it was one, revoke it: your shell has written it down"
        )
    return name
