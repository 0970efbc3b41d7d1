"""`knowfree serve`: a small HTTP server (extra `[serve]`). Requests that wait together are tagged together."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..data.rows import show
from ..units_knowfree import check_unicode
from .handler import LOWEST_THRESHOLD, MAX_CHARACTERS, MAX_TEXTS
from .tag import load_pipeline

MAX_BYTES = 4_000_000  # of a body: so many characters, each written as two escapes, and what is around them
BODY_SECONDS = 20.0  # in which a body has to arrive: who sends none keeps no server from ending
WAIT_SECONDS = 0.005  # that the first question of a batch waits for others
LOOK_SECONDS = 0.5  # between two looks whether a client that waits is still there
LISTED = 10  # of what is wrong with one body


class Question(BaseModel):
    """The body of `POST /tag`."""

    model_config = ConfigDict(extra="forbid")

    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]
    threshold: Annotated[float | None, Field(ge=LOWEST_THRESHOLD, lt=1)] = None
    decoding: Literal["flat", "nested", "all"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_no_other_keys(cls, body: Any) -> Any:
        """One error for them all: a body may have a million."""
        if isinstance(body, dict) and (others := body.keys() - cls.model_fields):
            first = next(key for key in body if key in others)
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise ValueError(f"{show(first)}{more}: no such key; give {', '.join(cls.model_fields)}")
        return body

    @field_validator("texts")
    @classmethod
    def _are_unicode(cls, texts: list[str]) -> list[str]:
        for at, text in enumerate(texts):
            check_unicode(text, at)
        return texts

    def options(self) -> tuple[tuple[str, Any], ...]:
        return tuple(self.model_dump(exclude={"texts"}, exclude_none=True).items())


class Found(BaseModel):
    """One span: characters `[start, end)` of its text."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class Answer(BaseModel):
    """One list of spans for each text."""

    spans: list[list[Found]]


@dataclass
class _Job:
    question: Question
    answer: asyncio.Future


class Batcher:
    """
    Collects questions for a moment and tags their texts in one call, in a thread of its own.

    Args:
        pipe: the tagger.
        batch_size: windows run together.
        queue_size: questions that may wait; one more is refused.
    """

    def __init__(self, pipe: Any, batch_size: int = 32, queue_size: int = 128):
        self.pipe = pipe
        self.batch_size = batch_size
        self.queue: asyncio.Queue[_Job] = asyncio.Queue(queue_size)
        self.counts = Counter[str]()

    async def ask(self, question: Question) -> list:
        """The spans of each text. Raises asyncio.QueueFull where too many wait."""
        job = _Job(question, asyncio.get_running_loop().create_future())
        self.queue.put_nowait(job)
        return await job.answer

    async def run(self) -> None:
        """Answer questions until cancelled."""
        while True:
            jobs = [await self.queue.get()]
            await asyncio.sleep(WAIT_SECONDS)
            while not self.queue.empty() and sum(len(job.question.texts) for job in jobs) < 4 * self.batch_size:
                jobs.append(self.queue.get_nowait())
            by_options: dict[tuple, list[_Job]] = {}
            for job in jobs:
                if job.answer.done():  # whoever asked has left
                    continue
                by_options.setdefault(job.question.options(), []).append(job)
            for options, alike in by_options.items():
                await self._answer(alike, dict(options))

    async def _answer(self, jobs: list[_Job], options: dict[str, Any]) -> None:
        texts = [text for job in jobs for text in job.question.texts]
        started = time.monotonic()
        try:
            found = await asyncio.to_thread(self.pipe, texts, batch_size=self.batch_size, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked is told, and nobody else
            if len(jobs) > 1:
                for job in jobs:
                    await self._answer([job], options)
            elif not jobs[0].answer.done():
                jobs[0].answer.set_exception(error)
            return
        self.counts.update(batches=1, texts=len(texts), seconds_ms=round(1000 * (time.monotonic() - started)))
        at = 0
        for job in jobs:
            size = len(job.question.texts)
            if not job.answer.done():
                job.answer.set_result(found[at : at + size])
            at += size


class Server(uvicorn.Server):
    """A server that answers what is under way at the first signal, and is gone at the second."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for SIGINT and SIGTERM."""
        if self.should_exit:
            os._exit(128 + sig)  # at once: a model in another thread hears nothing
        if under_way := len(self.server_state.tasks):
            sys.stderr.write(f"{under_way} requests are finished first; once more leaves them\n")
        super().handle_exit(sig, frame)


class LimitedBody:
    """An ASGI layer that refuses a body of more than `MAX_BYTES` (413) before it is held in memory, and one that does
    not arrive within `BODY_SECONDS` (408)."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        read, whole, deadline = 0, False, time.monotonic() + BODY_SECONDS

        async def limited() -> Any:
            nonlocal read, whole
            try:
                message = await asyncio.wait_for(receive(), None if whole else deadline - time.monotonic())
            except TimeoutError:
                told = f"the body did not arrive within {BODY_SECONDS:g} seconds"
                raise HTTPException(408, told, headers={"Connection": "close"}) from None
            whole = not message.get("more_body")
            read += len(message.get("body", b""))
            if read > MAX_BYTES:
                raise HTTPException(413, f"at most {MAX_BYTES} bytes a request")
            return message

        await self.app(scope, limited, send)


def make_app(model: str, batch_size: int = 32, queue_size: int = 128) -> FastAPI:
    """
    The application: `POST /tag`, `GET /health`, `GET /metrics`, and its description at `/openapi.json` and `/docs`.

    Raises:
        InputError: no such model.
    """
    pipe = load_pipeline(model)
    batcher = Batcher(pipe, batch_size, queue_size)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(batcher.run())
        yield
        worker.cancel()

    app = FastAPI(title="KnowFREE", description="Spans of texts.", lifespan=lifespan)
    app.add_middleware(LimitedBody)

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, error: RequestValidationError) -> Response:
        # Where and why alone: JSON has no way to write what is wrong with some values, NaN and half a character.
        errors = error.errors()
        told = [
            {"loc": [part if isinstance(part, int) else part[:100] for part in each["loc"]], "msg": each["msg"]}
            for each in errors[:LISTED]
        ]
        if "json" not in request.headers.get("content-type", ""):
            told[0]["msg"] += "; send the header content-type: application/json"
        if len(errors) > LISTED:
            told.append({"loc": ["body"], "msg": f"… and {len(errors) - LISTED} more"})
        return Response(json.dumps({"detail": told}), 422, media_type="application/json")

    @app.post("/tag")
    async def tag(question: Question, request: Request) -> Answer:
        if sum(map(len, question.texts)) > MAX_CHARACTERS:
            raise HTTPException(413, f"at most {MAX_CHARACTERS} characters a request")
        batcher.counts["requests"] += 1
        try:
            return Answer(spans=await _unless_gone(request, batcher.ask(question)))
        except asyncio.QueueFull:
            batcher.counts["refused"] += 1
            raise HTTPException(503, "too many requests wait; try again", headers={"Retry-After": "1"}) from None

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "labels": pipe.model.config.target_labels, "waiting": batcher.queue.qsize()}

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics")
    async def metrics() -> Response:
        names = ("requests", "refused", "batches", "texts", "seconds_ms")
        lines = [f"# TYPE knowfree_{name} counter\nknowfree_{name} {batcher.counts[name]}" for name in names]
        lines.append(f"# TYPE knowfree_waiting gauge\nknowfree_waiting {batcher.queue.qsize()}")
        return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    return app


async def _unless_gone(request: Request, asked: Coroutine[Any, Any, list]) -> list:
    """The answer; where the client has left, what it asked is left too. Raises HTTPException then."""
    answer = asyncio.create_task(asked)
    while not (await asyncio.wait({answer}, timeout=LOOK_SECONDS))[0]:
        if await request.is_disconnected():
            answer.cancel()
            raise HTTPException(499, "the client has left")
    return await answer
