"""What one visitor can take of the machine: the size of a request, the time to send it, requests at the same time."""

import asyncio
import time
from typing import Any

SECONDS_TO_SEND = 60  # of a request's body
MOST_AT_ONCE = 500  # requests, waiting ones and open pages counted


class _Refused(Exception):
    """The body comes too late, or is too large."""


class Limits:
    """
    ASGI middleware: a body that is too large is refused (413) before it is kept, one that comes too slowly given up
    (408), and a request over the number that the process serves at the same time sent away (503).

    Args:
        largest: bytes of a body.
        seconds: to send it.
        most: requests at the same time.
    """

    def __init__(self, app: Any, largest: int, seconds: float = SECONDS_TO_SEND, most: int = MOST_AT_ONCE):
        self.app = app
        self.largest, self.seconds, self.most = largest, seconds, most
        self._open = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._open >= self.most:
            await _answer(send, 503, "Too many visitors at the moment: try again in a minute.")
            return
        refusal: list[tuple[int, str]] = []
        started = False

        async def noted_send(message: dict[str, Any]) -> None:
            nonlocal started
            if not refusal:  # else what the app makes of half a body
                started = True
                await send(message)

        self._open += 1
        try:
            await self.app(scope, self._bounded(receive, refusal), noted_send)
        except _Refused:
            pass
        finally:
            self._open -= 1
        if refusal and not started:
            await _answer(send, *refusal[0])

    def _bounded(self, receive: Any, refusal: list[tuple[int, str]]) -> Any:
        """`receive` within the limits; what they refuse comes into `refusal`."""
        deadline, size, complete = time.monotonic() + self.seconds, 0, False

        async def bounded() -> dict[str, Any]:
            nonlocal size, complete
            if complete:  # what follows is the wait for the visitor to leave
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0, deadline - time.monotonic()))
            except TimeoutError as error:
                refusal.append((408, f"The request took more than {self.seconds:g} seconds to arrive."))
                raise _Refused from error
            size += len(message.get("body", b""))
            if size > self.largest:
                refusal.append((413, f"The request has more than {self.largest:,} bytes."))
                raise _Refused
            complete = not message.get("more_body", False)
            return message

        return bounded


async def _answer(send: Any, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
