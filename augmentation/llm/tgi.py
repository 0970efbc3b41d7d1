"""TGI's native `/generate` with a grammar, through the `text-generation` package (optional)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import pydantic

from augmentation.llm.door import (
    ACCEPTED_ENCODING,
    count,
    name,
    prose,
    read_body,
    read_error_page,
    read_json,
    told,
    word,
)
from augmentation.llm.http_errors import CONNECT_SECONDS, Token, check_address, error_for_status, shown_url
from augmentation.llm.protocol import Completion, Mode, RetryableError, RowError, StopRunError
from augmentation.llm.tasks import Request

try:
    from text_generation import AsyncClient
    from text_generation.errors import ValidationError
    from text_generation.types import Grammar, GrammarType, Parameters
    from text_generation.types import Request as GenerateRequest
except ImportError as error:
    raise StopRunError(
        "--client tgi needs the text-generation package, whose metadata asks for an old huggingface-hub: "
        "pip install --no-deps text-generation && pip install aiohttp"
    ) from error


class _GenerateClient(AsyncClient):
    """The package's client with a `generate` that keeps what a run must know.

    The package's own (0.7) posts to the bare URL, expects a list, opens a connection for each request, and drops the
    HTTP status and `Retry-After`, without which neither a 401 nor a 429 can be told.
    """

    session: aiohttp.ClientSession | None = None

    async def post(self, request: GenerateRequest) -> tuple[int, Mapping[str, str], bytes | str]:
        """Status, headers and body (of an error: its page) of one `POST /generate`."""
        if self.session is None:
            self.session = aiohttp.ClientSession(
                headers={**(self.headers or {}), "Accept-Encoding": ACCEPTED_ENCODING},
                timeout=self.timeout,
                connector=aiohttp.TCPConnector(limit=0),  # the runner bounds concurrency
                auto_decompress=False,  # `read_body` does, within bounds
            )
        body = request.model_dump(mode="json", exclude_none=True)
        async with self.session.post(f"{self.base_url}/generate", json=body, allow_redirects=False) as response:
            read = read_body if 200 <= response.status < 300 else read_error_page
            return response.status, response.headers, await read(response.content.iter_any(), response.headers)


class TGIClient:
    """A text-generation-inference server by its native route.

    `/generate` applies no chat template: the prompt is sent as it stands, and a re-ask as the turns one after the
    other. For a chat model the hub client at the same URL is the better choice.
    """

    modes: tuple[Mode, ...] = ("tgi_grammar",)

    def __init__(self, base_url: str, *, model: str | None = None, token_env: str | None = None) -> None:
        """`model` is only a name for provenance and for the answers' keys: the server has one model."""
        check_address(base_url, token_env)
        self.model = model or "tgi"
        self.endpoint = shown_url(base_url)
        self._token = Token.from_environment(token_env)
        secret = self._token.reveal()
        if token_env is not None and secret is None:
            raise StopRunError(f"no token: set it, e.g. export {token_env}=…")
        headers = {"Authorization": f"Bearer {secret}"} if secret else None
        self._client = _GenerateClient(base_url.rstrip("/").removesuffix("/generate"), headers=headers)
        self._client.timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS
        )  # the runner bounds each request as a whole

    async def send(self, request: Request, mode: Mode) -> Completion:
        """One `POST /generate`.

        Raises:
            RetryableError, RowError, StopRunError: see `http_errors.error_for_status`.
        """
        try:
            status, headers, body = await self._client.post(_generate_request(request, mode))
        except aiohttp.InvalidURL as error:
            raise StopRunError(f"{self.endpoint}: {word(error)}: check --base_url") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryableError(f"cannot connect to {self.endpoint}: {told(error)}", unreachable=True) from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise RetryableError(told(error), paid=True) from None
        except UnicodeEncodeError as error:
            raise RowError(f"the text cannot be sent as UTF-8: {error.reason}") from None
        if 300 <= status < 400:
            target = word(shown_url(headers.get("Location", "")))
            raise StopRunError(f"{self.endpoint} redirects to {target}: give that as --base_url")
        if isinstance(body, str):
            raise error_for_status(status, headers, body, endpoint=self.endpoint, token=self._token)
        return _completion(read_json(body))

    async def close(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        if self._client.session is not None:
            await self._client.session.close()
            self._client.session = None


def _generate_request(request: Request, mode: Mode) -> GenerateRequest:
    sampled = request.temperature > 0
    try:
        parameters = Parameters(
            details=True,
            do_sample=sampled,
            max_new_tokens=request.max_tokens,
            temperature=request.temperature if sampled else None,
            top_p=request.top_p if sampled and request.top_p is not None and request.top_p < 1 else None,
            seed=request.seed,
            grammar=Grammar(type=GrammarType.Json, value=request.schema)
            if request.schema and mode == "tgi_grammar"
            else None,
        )
        return GenerateRequest(inputs="\n\n".join(content for _, content in request.messages), parameters=parameters)
    except (ValidationError, pydantic.ValidationError) as error:
        raise RowError(f"the request does not fit TGI: {word(error)}") from None


def _completion(payload: Any) -> Completion:
    """Raises RetryableError if the body is no generation."""
    generation = payload[0] if isinstance(payload, list) and payload else payload
    generation = generation if isinstance(generation, dict) else {}
    if not isinstance(generation.get("generated_text"), str):
        said = f"; it said: {word(generation['error'])}" if "error" in generation else ""
        raise RetryableError(f"bad body: no generated_text in it{said}", paid=True)
    details = generation["details"] if isinstance(generation.get("details"), dict) else {}
    prefill = details["prefill"] if isinstance(details.get("prefill"), list) else []
    return Completion(
        text=prose(generation["generated_text"]),
        finish_reason=name(details.get("finish_reason")),
        served_model=None,
        prompt_tokens=len(prefill) or None,
        completion_tokens=count(details.get("generated_tokens")),
    )
