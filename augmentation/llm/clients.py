"""Chat completions through `huggingface_hub.AsyncInferenceClient`: providers, Inference Endpoints, TGI, vLLM, …"""

from __future__ import annotations

import json
from typing import Any, Literal

import httpx2
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.inference._common import RequestParameters

from augmentation.llm.door import content, count, name, prose, told, word
from augmentation.llm.http_errors import Token, check_address, error_for_status, shown_url
from augmentation.llm.protocol import Client, Completion, Mode, RetryableError, StopRunError
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.tasks import Request
from augmentation.llm.wire import Wire

_FORMAT = "knowfree_response_format"
_TOOL = "answer"


class _WireClient(AsyncInferenceClient):
    """The hub's client, with `response_format` sent as it was meant, over our own wire.

    Given a URL, huggingface_hub rewrites OpenAI's `json_schema` into TGI's form, which other servers ignore; so the
    format travels under a name that nobody rewrites and gets its own on the wire. Its own httpx takes four times the
    processor time of aiohttp, and bounds no body.
    """

    wire: Wire
    payload: Any = None
    """What the last answer's body held."""

    async def _inner_post(self, request_parameters: RequestParameters, *, stream: bool = False) -> Any:
        body = request_parameters.json
        if isinstance(body, dict) and _FORMAT in body:
            body["response_format"] = body.pop(_FORMAT)
        self.payload = await self.wire.post(request_parameters.url, body, request_parameters.headers)
        return b"{}"  # the hub client reads this; `payload` is what counts


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
        self._wire = Wire(self.endpoint, self._token)
        if self._token.variable is not None and self._token.reveal() is None:
            raise StopRunError(f"no token: set it, e.g. export {self._token.variable}=…")

    async def send(self, request: Request, mode: Mode) -> Completion:
        """One chat completion, one HTTP request.

        Raises:
            RetryableError, RowError, StopRunError: see `http_errors.error_for_status`.
        """
        client = self._new_client()
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
        except OfflineModeIsEnabled:
            why = "HF_HUB_OFFLINE is set, and the Hub has to be asked who provides the model"
            raise StopRunError(f"{self.endpoint}: {why}; unset it, or name a server by --base_url") from None
        except httpx2.TransportError as error:  # on the way there
            raise RetryableError(
                f"the Hub cannot be asked who provides the model: {told(error)}", unreachable=True
            ) from None
        except ValueError as error:  # the hub client refuses the model or the provider
            raise StopRunError(f"{self.endpoint}: {word(error)}") from None

    def _new_client(self) -> _WireClient:
        secret = self._token.reveal()
        client = _WireClient(
            base_url=self._base_url,
            provider=None if self._base_url else self._provider,  # type: ignore[arg-type]
            # without a token the hub client would look for the user's and send it, to any URL
            token=secret or "none",
            headers={} if secret else {"authorization": None},  # type: ignore[dict-item]
        )
        client.wire = self._wire
        return client

    async def close(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await self._wire.close()


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
        RecordedAnswersError, InputError: a file of recorded answers cannot be read.
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
