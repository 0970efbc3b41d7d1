"""A loopback LLM server: OpenAI chat completions and TGI `/generate`, answers from recorded ones, misbehaves on demand.

Run it beside a test, in a thread (`with LLMServer(…)`) or in a process of its own (`with serving(…)`).
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionResetError, web

from augmentation.llm.protocol import RowError
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.tasks import Request, Task
from tests.support.forked import Forked

PROSE = "It rains in the morning and clears up later."


@dataclass(frozen=True)
class Faults:
    """How often the server misbehaves. The first five are drawn for each request, the sticky ones stay with a text."""

    seed: int = 0
    rate_limited: float = 0.0
    internal_error: float = 0.0
    html_unavailable: float = 0.0
    dropped: float = 0.0
    hang: float = 0.0
    hang_seconds: float = 5.0
    sticky_malformed: float = 0.0
    sticky_refusal: float = 0.0
    sticky_cut: float = 0.0

    def sticky(self, task: str, text: str) -> str | None:
        """The fault that sticks to this task and text."""
        digest = hashlib.sha256(f"{self.seed}:{task}:{text}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        for name in ("malformed", "refusal", "cut"):
            rate = getattr(self, f"sticky_{name}")
            if draw < rate:
                return name
            draw -= rate
        return None


WELL = Faults()


class PromptReader:
    """Finds task and input text of a rendered prompt, as a language model would: by reading it."""

    def __init__(self) -> None:
        self.forms: list[tuple[str, Task, str, str]] = []
        for file in files("augmentation").joinpath("prompts").iterdir():
            name = file.name.split(".")[0]
            source = file.read_text(encoding="utf-8").split("---\n", 2)[2].strip()
            task: Any = "explanation" if name == "description" else name
            before, _, after = source.partition("{{ text }}")
            label = before.rpartition("\n")[2].rpartition("}")[2]
            end = re.split(r"\{[{%]", after)[0]
            self.forms.append((re.split(r"\{[{%]", source)[0], task, label, end))
        self.forms.sort(key=lambda form: len(form[0]), reverse=True)

    def read(self, prompt: str) -> tuple[Task, str] | None:
        """(task, input), None for a prompt of nobody's."""
        for prefix, task, label, end in self.forms:
            if prefix and prompt.startswith(prefix):
                if task in ("merge", "merge_standard"):
                    names = [
                        json.JSONDecoder().raw_decode(line[2:])[0] for line in re.findall(r'^- ".*$', prompt, re.M)
                    ]
                    return task, json.dumps(names, ensure_ascii=False)
                text = prompt.rpartition(label)[2] if not end else prompt.partition(label)[2].partition(end)[0]
                return task, text
        return None


class LLMServer:
    """The server. Settings may be changed while it runs; `log` holds one entry for each request.

    `enforces` names the forms of structured output it obeys, `refuses` those it answers with HTTP 422; all others are
    ignored, as most servers do. A sticky cut ends for requests that allow `cut_below` tokens or more. It thinks for
    `thinking_tokens` before it answers: where no more are allowed, its answer is empty. Prompts with `refuse_text` in
    them get HTTP 413.
    """

    def __init__(
        self,
        recorded: RecordedClient,
        *,
        enforces: tuple[str, ...] = (),
        refuses: tuple[str, ...] = (),
        faults: Faults = WELL,
        latency_seconds: float = 0.0,
        token: str | None = None,
        cut_below: int = 1 << 30,
        thinking_tokens: int = 0,
        refuse_text: str | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.recorded = recorded
        self.enforces = enforces
        self.refuses = refuses
        self.faults = faults
        self.latency_seconds = latency_seconds
        self.token = token
        self.cut_below = cut_below
        self.thinking_tokens = thinking_tokens
        self.refuse_text = refuse_text
        self.log: list[dict[str, Any]] = []
        self.port = 0
        self._log_file = log_file.open("a", encoding="utf-8") if log_file else None
        self._random = random.Random(faults.seed)
        self._prompts = PromptReader()
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        """HTTP requests received so far."""
        return len(self.log)

    def answered(self) -> list[dict[str, Any]]:
        """The requests that got a complete, valid answer."""
        return [entry for entry in self.log if entry["outcome"] == "ok"]

    async def start(self) -> web.AppRunner:
        """Listen on a free port of the loopback."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/generate", self._generate)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return runner

    def __enter__(self) -> LLMServer:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        asyncio.run_coroutine_threadsafe(self._cancel_hanging(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join(10)
        if self._log_file:
            self._log_file.close()

    async def _cancel_hanging(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        form = body.get("response_format") or {}
        mode = form["type"] if form.get("type") in ("json_schema", "json_object") else "none"
        if mode == "json_object" and "value" in form:
            mode = "tgi_value"
        if body.get("tools"):
            mode = "tools"
        limit, temperature = body.get("max_tokens") or 0, body.get("temperature")
        return await self._respond(http, body["messages"], mode, limit, temperature, chat=True)

    async def _generate(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        parameters = body.get("parameters") or {}
        mode = "tgi_grammar" if parameters.get("grammar") else "none"
        messages = [{"role": "user", "content": body["inputs"]}]
        limit, temperature = parameters.get("max_new_tokens") or 20, parameters.get("temperature")
        return await self._respond(http, messages, mode, limit, temperature, chat=False)

    async def _respond(
        self,
        http: web.Request,
        messages: list[dict[str, str]],
        mode: str,
        max_tokens: int,
        temperature: float | None,
        *,
        chat: bool,
    ) -> web.StreamResponse:
        prompt = messages[0]["content"]
        found = self._prompts.read(prompt)
        entry: dict[str, Any] = {
            "prompt": hashlib.sha256(json.dumps(messages).encode()).hexdigest(),
            "task": found[0] if found else None,
            "input": found[1] if found else None,
            "mode": mode,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "turns": len(messages),
            "last": messages[-1]["content"],
            "prompt_tokens": len(prompt) // 4,
            "authorization": http.headers.get("Authorization"),
            "outcome": "pending",
        }
        self.log.append(entry)
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        if self.token is not None and http.headers.get("Authorization") != f"Bearer {self.token}":
            return self._done(entry, "401", web.json_response({"error": f"bad {entry['authorization']}"}, status=401))
        if mode in self.refuses:
            return self._done(entry, "422", web.json_response({"error": f"{mode} is not supported"}, status=422))
        if self.refuse_text is not None and self.refuse_text in prompt:
            return self._done(entry, "413", web.json_response({"error": "too long"}, status=413))
        broken = await self._fault(http, entry)
        if broken is not None:
            return broken
        text, finish, refusal = ("", "length", None)
        if max_tokens > self.thinking_tokens:
            text, finish, refusal = self._answer(found, mode, max_tokens)
        valid = finish != "length" and refusal is None and text is not None
        body = (
            self._chat_body(text, finish, refusal, mode, entry["prompt_tokens"])
            if chat
            else self._generate_body(text, finish)
        )
        response = web.json_response(body)
        try:
            await response.prepare(http)
            await response.write_eof()
        except ClientConnectionResetError:
            return self._done(entry, "nobody listened", response)
        return self._done(entry, "ok" if valid and entry["outcome"] == "pending" else "unusable", response)

    def _done(self, entry: dict[str, Any], outcome: str, response: web.StreamResponse) -> web.StreamResponse:
        entry["outcome"] = outcome
        entry["time"] = time.time()
        if self._log_file:
            self._log_file.write(json.dumps(entry) + "\n")
            self._log_file.flush()
        return response

    async def _fault(self, http: web.Request, entry: dict[str, Any]) -> web.StreamResponse | None:
        draw = self._random.random()
        faults = self.faults
        for name in ("rate_limited", "internal_error", "html_unavailable", "dropped", "hang"):
            rate = getattr(faults, name)
            if draw >= rate:
                draw -= rate
                continue
            if name == "rate_limited":
                moment = time.time() + 1
                after = self._random.choice(["0", "1", email.utils.formatdate(moment, usegmt=True)])
                return self._done(
                    entry, "429", web.json_response({"error": "slow"}, status=429, headers={"Retry-After": after})
                )
            if name == "internal_error":
                return self._done(entry, "500", web.json_response({"error": "oops"}, status=500))
            if name == "html_unavailable":
                page = "<html><h1>503 Service Unavailable</h1></html>"
                return self._done(entry, "503", web.Response(text=page, status=503, content_type="text/html"))
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            if name == "hang":
                entry["outcome"] = "hang"
                await asyncio.sleep(faults.hang_seconds)
            else:
                with contextlib.suppress(ClientConnectionResetError):
                    await response.prepare(http)
            if http.transport is not None:
                http.transport.abort()
            return self._done(entry, name, response)
        return None

    def _answer(self, found: tuple[Task, str] | None, mode: str, max_tokens: int) -> tuple[str, str, str | None]:
        """(text, finish reason, refusal)."""
        enforced = mode in self.enforces
        if found is None:  # the probe's canary
            text = {"json_object": '{"weather": "rain"}'}.get(mode, '{"items": ["rain"]}') if enforced else PROSE
            return text, "stop", None
        task, text = found
        sticky = self.faults.sticky(task, text)
        if sticky == "malformed":
            malformed = "Sure! entity = rain; type = weather, and so on"
            return "" if task == "explanation" else malformed, "stop", None
        if sticky == "refusal":
            return "", "stop", "I cannot help with that."
        answer = self._recorded(task, text)
        if enforced and task != "explanation":
            values = json.loads(answer)
            answer = json.dumps({"items": values["groups"] if isinstance(values, dict) else values}, ensure_ascii=False)
        if sticky == "cut" and max_tokens < self.cut_below:
            return answer[: min(len(answer) - 1, 12)], "length", None
        return answer, "stop", None

    def _recorded(self, task: Task, text: str) -> str:
        request = Request(task, "", text, (), None, 0.0, None, None, 1, "", "", "")
        try:
            return self.recorded.completion_text(request)
        except RowError:
            return PROSE

    def _chat_body(self, text: str, finish: str, refusal: str | None, mode: str, prompt_tokens: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if refusal is not None:
            message["refusal"] = refusal
        if mode == "tools" and "tools" in self.enforces:
            message["content"] = None
            call = {"id": "0", "type": "function", "function": {"name": "answer", "arguments": text}}
            message["tool_calls"] = [call]
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "loopback-llm",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": len(text.split()), "total_tokens": 0},
        }

    def _generate_body(self, text: str, finish: str) -> dict[str, Any]:
        details: dict[str, Any] = {
            "finish_reason": "length" if finish == "length" else "eos_token",
            "generated_tokens": len(text.split()),
            "seed": None,
            "prefill": [],
            "tokens": [],
        }
        return {"generated_text": text, "details": details}


@contextlib.contextmanager
def serving(make: Callable[[], LLMServer]) -> Iterator[str]:
    """The URL of a server in a process of its own, killed at the end."""

    async def run() -> None:
        server = make()
        await server.start()
        print(server.url, flush=True)
        await asyncio.Event().wait()

    process = Forked(lambda: asyncio.run(run()))
    try:
        while not (url := process.output().decode()).endswith("\n"):
            assert process.poll() is None, process.errors()
            time.sleep(0.02)
        yield url.strip()
    finally:
        process.kill()
