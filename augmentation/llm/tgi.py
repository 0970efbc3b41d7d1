"""TGI's native `/generate` with a grammar, through the `text-generation` package (optional)."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pydantic

from augmentation.llm.http_errors import Token, error_for_status, shown_url
from augmentation.llm.protocol import Completion, Mode, RetryableError, RowError, StopRunError
from augmentation.llm.tasks import Request

try:
    from text_generation import AsyncClient
    from text_generation.errors import ValidationError
    from text_generation.types import Grammar, GrammarType, Parameters, Response
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

    async def post(self, request: GenerateRequest) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one `POST /generate`."""
        if self.session is None:
            connector = aiohttp.TCPConnector(limit=0)  # the runner bounds concurrency
            self.session = aiohttp.ClientSession(headers=self.headers, timeout=self.timeout, connector=connector)
        body = request.model_dump(mode="json", exclude_none=True)
        async with self.session.post(f"{self.base_url}/generate", json=body, allow_redirects=False) as response:
            return response.status, dict(response.headers), await response.read()


class TGIClient:
    """A text-generation-inference server by its native route.

    `/generate` applies no chat template: the prompt is sent as it stands, and a re-ask as the turns one after the
    other. For a chat model the hub client at the same URL is the better choice.
    """

    modes: tuple[Mode, ...] = ("tgi_grammar",)

    def __init__(self, base_url: str, *, model: str | None = None, token_env: str | None = None) -> None:
        """`model` is only a name for provenance and for the answers' keys: the server has one model."""
        if not base_url.startswith(("http://", "https://")):
            raise StopRunError(f"--base-url {base_url!r} is no URL: it begins with http:// or https://")
        self.model = model or "tgi"
        self.endpoint = shown_url(base_url)
        self._token = Token.from_environment(token_env)
        secret = self._token.reveal()
        if token_env is not None and secret is None:
            raise StopRunError(f"no token: set it, e.g. export {token_env}=…")
        headers = {"Authorization": f"Bearer {secret}"} if secret else None
        self._client = _GenerateClient(base_url.rstrip("/").removesuffix("/generate"), headers=headers)
        self._client.timeout = aiohttp.ClientTimeout(total=None)  # the runner bounds each request as a whole

    async def send(self, request: Request, mode: Mode) -> Completion:
        """One `POST /generate`.

        Raises:
            RetryableError, RowError, StopRunError: see `http_errors.error_for_status`.
        """
        try:
            status, headers, body = await self._client.post(_generate_request(request, mode))
        except aiohttp.InvalidURL as error:
            raise StopRunError(f"{self.endpoint}: {error}: check --base-url") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise RetryableError(self._token.redact(f"{type(error).__name__}: {error}")) from None
        except UnicodeEncodeError as error:
            raise RowError(f"the text cannot be sent as UTF-8: {error.reason}") from None
        if 300 <= status < 400:
            target = shown_url(headers.get("Location", ""))
            raise StopRunError(f"{self.endpoint} redirects to {target}: give that as --base-url")
        if status != 200:
            text = body.decode("utf-8", "replace")
            raise error_for_status(status, headers, text, endpoint=self.endpoint, token=self._token)
        return _completion(body, self._token)

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
        raise RowError(f"the request does not fit TGI: {error}"[:300]) from None


def _completion(body: bytes, token: Token) -> Completion:
    """Raises RetryableError if the body is no generation."""
    try:
        payload: Any = json.loads(body)
        response = Response.model_validate(payload[0] if isinstance(payload, list) and payload else payload)
    except (ValueError, RecursionError) as error:
        raise RetryableError(f"bad body: {' '.join(str(error).split())}"[:300]) from None
    return Completion(
        text=token.redact(response.generated_text),
        finish_reason=response.details.finish_reason.value,
        served_model=None,
        prompt_tokens=len(response.details.prefill) or None,
        completion_tokens=response.details.generated_tokens,
    )
