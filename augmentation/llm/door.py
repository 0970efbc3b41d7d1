"""The door: whatever a server sends is bounded and cleaned here, before anything else sees it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from augmentation.llm.answers import replace_surrogates
from augmentation.llm.protocol import Completion, RetryableError
from augmentation.redaction import redact

MAX_BODY_BYTES = 8 << 20
MAX_ERROR_PAGE_BYTES = 64 << 10
MAX_WORD_CHARACTERS = 200
MAX_COUNT = 2**31
ACCEPTED_ENCODING = "gzip"  # asked for in every request: what is not asked for cannot be unpacked within bounds

_TEXT_PARTS = (None, "text", "output_text")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


async def read_body(
    chunks: AsyncIterator[bytes], headers: Mapping[str, str], *, limit: int = MAX_BODY_BYTES, paid: bool = True
) -> bytes:
    """A response's raw bytes, unpacked, to `limit` bytes after decompression; never more than that in memory.

    Args:
        paid: whether the server may bill for this body (an error page it does not).

    Raises:
        RetryableError: longer, cut within its compression, or compressed in a way that was not asked for.
    """
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise RetryableError(f"bad body: Content-Encoding {word(encoding)!r} was not asked for", paid=paid)
    unpack = None if encoding in ("", "identity") else zlib.decompressobj(wbits=47)
    body = bytearray()
    async for chunk in chunks:
        while chunk and len(body) <= limit:
            if unpack is None:
                body += chunk
                break
            if unpack.eof:  # gzip may come in several members, one after the other
                unpack = zlib.decompressobj(wbits=47)
            try:
                body += unpack.decompress(chunk, limit + 1 - len(body))
            except zlib.error as error:
                raise RetryableError(f"bad body: {error}", paid=paid) from None
            chunk = unpack.unused_data
        if len(body) > limit:
            raise RetryableError(f"bad body: longer than {limit} bytes", paid=paid)
    if unpack is not None and not unpack.eof and body:
        raise RetryableError("bad body: its compression ends in the middle", paid=paid)
    return bytes(body)


async def read_error_page(chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> str:
    """The beginning of what a server says beside an error status; empty where that cannot be read."""
    try:
        body = await read_body(chunks, headers, limit=MAX_ERROR_PAGE_BYTES, paid=False)
    except RetryableError:
        return ""
    return prose(body.decode("utf-8", "replace"))


def read_json(body: bytes) -> Any:
    """The JSON in a body that an answer is expected in.

    Raises:
        RetryableError: there is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # of 5,000 digits, too
        raise RetryableError(f"bad body: {type(error).__name__}: {word(error)}", paid=True) from None


def prose(value: str) -> str:
    """A text without lone surrogates, which no UTF-8 file can hold (they become U+FFFD), and without secrets."""
    return redact(replace_surrogates(value))


def word(value: object) -> str:
    """One short line for error texts and provenance: no control characters, no lone surrogates, no secrets."""
    line = _CONTROL.sub(" ", prose(str(value)[: 20 * MAX_WORD_CHARACTERS]))
    return " ".join(line.split())[:MAX_WORD_CHARACTERS]


def told(error: BaseException) -> str:
    """An error of a library in one line."""
    return word(f"{type(error).__name__}: {error}".removesuffix(": "))


def name(value: Any) -> str | None:
    """A name that a server tells (`model`, `finish_reason`); None where it tells none."""
    return (word(value) or None) if isinstance(value, str) else None


def count(value: Any) -> int | None:
    """A token count that a server tells; None where it tells none, or a number that none can be."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_COUNT:
        return None
    return int(value)


def content(value: Any) -> str:
    """The text of a message: a string, or the text parts of a list of parts."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    texts = (
        part if isinstance(part, str) else part["text"]
        for part in parts
        if isinstance(part, str) or (isinstance(part, dict) and part.get("type") in _TEXT_PARTS)
        if isinstance(part, str) or isinstance(part.get("text"), str)
    )
    return "".join(texts)


def cleaned(completion: Completion) -> Completion:
    """A completion of any client as the rest of the program may see it."""
    return Completion(
        text=prose(completion.text),
        finish_reason=name(completion.finish_reason),
        served_model=name(completion.served_model),
        prompt_tokens=count(completion.prompt_tokens),
        completion_tokens=count(completion.completion_tokens),
        refusal=None if completion.refusal is None else prose(completion.refusal),
        free=completion.free,
    )
