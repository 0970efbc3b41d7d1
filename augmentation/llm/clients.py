"""Chat completions through `huggingface_hub.AsyncInferenceClient`: providers, Inference Endpoints, TGI, vLLM, …"""

from __future__ import annotations

import json
import ssl
from functools import cache
from typing import Any, Literal

import httpx2
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.inference._common import RequestParameters

from augmentation.llm.door import (
    ACCEPTED_ENCODING,
    content,
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
from augmentation.llm.protocol import Client, Completion, Mode, RetryableError, RowError, StopRunError
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.tasks import Request

_FORMAT = "knowfree_response_format"
_TOOL = "answer"


@cache
def _ssl_context() -> ssl.SSLContext:
    """One for the process: reading the certificates takes a tenth of a second."""
    return httpx2.create_ssl_context()


class _WireClient(AsyncInferenceClient):
    """The hub's client, with `response_format` sent as it was meant and without redirects.

    Given a URL, huggingface_hub rewrites OpenAI's `json_schema` into TGI's form, which other servers ignore; so the
    format travels under a name that nobody rewrites and gets its own on the wire. Redirects would carry the token
    elsewhere and be HTTP requests that no budget counts. A body is read within bounds.
    """

    shown_endpoint: str
    user_token: Token
    payload: Any = None
    """What the last answer's body held."""

    async def _get_async_client(self) -> httpx2.AsyncClient:
        if self._async_client is None:
            client = httpx2.AsyncClient(verify=_ssl_context(), follow_redirects=False)
            self._async_client = await self.exit_stack.enter_async_context(client)
        return self._async_client

    async def _inner_post(self, request_parameters: RequestParameters, *, stream: bool = False) -> Any:
        body = request_parameters.json
        if isinstance(body, dict) and _FORMAT in body:
            body["response_format"] = body.pop(_FORMAT)
        client = await self._get_async_client()
        async with client.stream(
            "POST",
            request_parameters.url,
            json=body,
            headers={**request_parameters.headers, "Accept-Encoding": ACCEPTED_ENCODING},
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),  # the runner bounds each request as a whole
        ) as response:
            if response.has_redirect_location:
                target = word(shown_url(response.headers["Location"]))
                raise StopRunError(f"{self.shown_endpoint} redirects to {target}: give that as --base_url")
            if not response.is_success:
                page = await read_error_page(response.aiter_raw(), response.headers)
                raise error_for_status(
                    response.status_code, response.headers, page, endpoint=self.shown_endpoint, token=self.user_token
                )
            self.payload = read_json(await read_body(response.aiter_raw(), response.headers))
        return b"{}"  # the hub client's own reading has no bounds; `payload` is read below


class HubClient:
    """Chat completions by a Hub model id (through a provider), or at a URL.

    Without `base_url` the request goes through Hugging Face's providers and needs a token. With it, `model` is the
    name that the server knows the model by, and a token is sent only where `token_env` names one.
    """

    modes: tuple[Mode, ...] = ("json_schema", "tgi_value", "tools", "json_object")

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        provider: str | None = None,
        token_env: str | None = None,
    ) -> None:
        check_address(base_url, token_env)
        self.model = model
        self.endpoint = shown_url(base_url) if base_url else f"provider:{provider or 'auto'}"
        self._base_url = base_url
        self._provider = provider
        self._token = Token.from_environment(token_env or (None if base_url else "HF_TOKEN"))
        # One client for each request in flight, so one connection each: a pool of 64 looks at all 64 for every request,
        # a third of the CPU time. Those not in use wait here.
        self._idle: list[_WireClient] = []
        if self._token.variable is not None and self._token.reveal() is None:
            raise StopRunError(f"no token: set it, e.g. export {self._token.variable}=…")

    async def send(self, request: Request, mode: Mode) -> Completion:
        """One chat completion, one HTTP request.

        Raises:
            RetryableError, RowError, StopRunError: see `http_errors.error_for_status`.
        """
        client = self._idle.pop() if self._idle else self._new_client()
        try:
            await client.chat_completion(
                request.chat(),
                model=self.model,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,
                **_structured(request.schema, mode),
            )
            return _completion(client.payload)
        except HfHubHTTPError as error:  # of the Hub, which is asked who provides a model
            response = error.response
            raise error_for_status(
                response.status_code, response.headers, response.text, endpoint=self.endpoint, token=self._token
            ) from None
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
            raise StopRunError(f"{self.endpoint}: {word(error)}: check --base_url") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise RetryableError(f"cannot connect to {self.endpoint}: {told(error)}", unreachable=True) from None
        except httpx2.HTTPError as error:
            raise RetryableError(told(error), paid=True) from None
        except UnicodeEncodeError as error:
            raise RowError(f"the text cannot be sent as UTF-8: {error.reason}") from None
        except ValueError as error:  # the hub client refuses the model or the provider
            raise StopRunError(f"{self.endpoint}: {word(error)}") from None
        finally:
            client.payload = None
            self._idle.append(client)

    def _new_client(self) -> _WireClient:
        secret = self._token.reveal()
        client = _WireClient(
            base_url=self._base_url,
            provider=None if self._base_url else self._provider,  # type: ignore[arg-type]
            # without a token the hub client would look for the user's and send it, to any URL
            token=secret or "none",
            headers={} if secret else {"authorization": None},  # type: ignore[dict-item]
        )
        client.shown_endpoint, client.user_token = self.endpoint, self._token
        return client

    async def close(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        while self._idle:
            await self._idle.pop().close()


def _structured(schema: dict[str, Any] | None, mode: Mode) -> dict[str, Any]:
    """The arguments that ask for a schema in `mode`."""
    if schema is None or mode in ("none", "recorded"):
        return {}
    if mode == "tools":
        function = {"name": _TOOL, "description": "Give the answer.", "parameters": schema}
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": _TOOL}},
        }
    forms: dict[str, dict[str, Any]] = {
        "json_schema": {"type": "json_schema", "json_schema": {"name": _TOOL, "schema": schema, "strict": True}},
        "tgi_value": {"type": "json_object", "value": schema},
        "json_object": {"type": "json_object"},
    }
    return {"extra_body": {_FORMAT: forms[mode]}}


def _completion(payload: Any) -> Completion:
    """The completion in a body.

    Raises:
        RetryableError: the body is no chat completion.
    """
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if choices == []:
        raise RetryableError("bad body: `choices` is empty: the server gave no answer", paid=True)
    choice = choices[0] if isinstance(choices, list) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        said = f"; it said: {word(payload['error'])}" if isinstance(payload, dict) and "error" in payload else ""
        raise RetryableError(f"bad body: no choices[0].message in it{said}", paid=True)
    finish_reason = name(choice.get("finish_reason"))
    refusal = content(message.get("refusal")) or None
    if refusal is None and finish_reason == "content_filter":
        refusal = "stopped by the content filter"
    usage = payload["usage"] if isinstance(payload.get("usage"), dict) else {}
    return Completion(
        text=prose(_text(message)),
        finish_reason=finish_reason,
        served_model=name(payload.get("model")),
        prompt_tokens=count(usage.get("prompt_tokens")),
        completion_tokens=count(usage.get("completion_tokens")),
        refusal=prose(refusal) if refusal else None,
    )


def _text(message: dict[str, Any]) -> str:
    """The content, or the arguments of the first tool call."""
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls and isinstance(calls[0], dict):
        function = calls[0].get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if arguments is not None:
            return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return content(message.get("content"))


def open_client(
    kind: Literal["hub", "tgi", "recorded"],
    *,
    model: str | None = None,
    base_url: str | None = None,
    provider: str | None = None,
    token_env: str | None = None,
    answers: tuple[str, ...] = (),
) -> Client:
    """The client that a run's settings name.

    Raises:
        StopRunError: a setting is missing; the message names it.
        RecordedAnswersError: a file of recorded answers cannot be read.
    """
    if kind == "recorded":
        if not answers:
            raise StopRunError("--client recorded needs --answers FILE")
        return RecordedClient(answers)
    if kind == "tgi":
        if not base_url:
            raise StopRunError("--client tgi needs --base_url, e.g. --base_url http://localhost:8080")
        from augmentation.llm.tgi import TGIClient

        return TGIClient(base_url, model=model, token_env=token_env)
    if not model:
        raise StopRunError("--client hub needs --model, e.g. --model Qwen/Qwen2.5-14B-Instruct")
    return HubClient(model, base_url=base_url, provider=provider, token_env=token_env)
