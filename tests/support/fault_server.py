"""A raw HTTP/1.1 server that sends what it is told, byte by byte: for faults that no HTTP library would let pass.

`with FaultServer(script) as server`: `script(request)` gives the reply to each request; replies are made by the functions
below. A reply that holds a usable answer is counted by `answered`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it came: its place in line, the last message of the chat, headers in lower case, and all of it."""

    number: int
    prompt: str
    turns: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What goes out. `after` follows piece by piece; None among them waits until the client goes. `good`: it answers."""

    data: bytes
    after: Callable[[], AsyncIterator[bytes | None]] | None = None
    abort: bool = False
    good: bool = False
    paid: bool = False


class FaultServer:
    """Listens on the loopback in a thread of its own while in `with`."""

    def __init__(self, script: Callable[[Asked], Reply]) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.replies: list[Reply] = []
        self._loop = asyncio.new_event_loop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answered(self) -> list[str]:
        """Prompts of the requests that got a usable answer, in order."""
        return [asked.prompt for asked, reply in zip(self.asked, self.replies, strict=True) if reply.good]

    @property
    def paid(self) -> int:
        """Replies that a real server would bill."""
        return sum(reply.good or reply.paid for reply in self.replies)

    def __enter__(self) -> FaultServer:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        messages = body.get("messages") or [{"content": body.get("inputs")}]
        asked = Asked(len(self.asked), messages[0]["content"], len(messages), headers, body)
        reply = self.script(asked)
        self.asked.append(asked)
        self.replies.append(reply)
        writer.write(reply.data)
        await writer.drain()
        if reply.abort:
            writer.transport.abort()
            return False
        if reply.after is None:
            return b"content-length" in reply.data[:4000].lower()
        async for piece in reply.after():
            if piece is None:
                await reader.read()
                return False
            writer.write(piece)
            await writer.drain()
        return False


def http(status: int, body: bytes = b"", *, good: bool = False, paid: bool | None = None, **headers: str) -> Reply:
    """A whole response; underscores in header names stand for dashes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    paid = status == 200 if paid is None else paid
    return Reply("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, good=good, paid=paid)


def chat(text: Any, *, good: bool = False, **changes: Any) -> Reply:
    """A chat completion; `changes` replace its parts: `message`, `choices`, `model`, `finish_reason`, `usage`."""
    return http(200, json.dumps(completion(text, **changes)).encode(), good=good)


def completion(text: Any, **changes: Any) -> dict[str, Any]:
    message = changes.pop("message", {"role": "assistant", "content": text})
    choice = {"index": 0, "message": message, "finish_reason": changes.pop("finish_reason", "stop")}
    usage = {"prompt_tokens": 40, "completion_tokens": 20}
    return {"id": "x", "model": "loopback", "choices": [choice], "usage": usage, **changes}


def packed(text: str, **headers: str) -> Reply:
    """A good answer, compressed."""
    return http(200, gzip.compress(json.dumps(completion(text)).encode()), good=True, **headers)


def bomb(encoding: str = "gzip") -> bytes:
    """200 MB in 200 KB."""
    packer = gzip.compress(b" " * (1 << 20), 9)
    return packer * 200


def endless(piece: bytes, pause: float = 0.0) -> Callable[[], AsyncIterator[bytes | None]]:
    """The same piece for ever."""

    async def pieces() -> AsyncIterator[bytes | None]:
        while True:
            yield piece
            await asyncio.sleep(pause)

    return pieces


def silence() -> Callable[[], AsyncIterator[bytes | None]]:
    """Nothing for ever."""

    async def pieces() -> AsyncIterator[bytes | None]:
        yield None

    return pieces
