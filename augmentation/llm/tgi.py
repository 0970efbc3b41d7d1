"""TGI's native `/generate` with a grammar, through the `text-generation` package (optional)."""

from __future__ import annotations

from typing import Any

import pydantic

from augmentation.llm.door import count, name, prose, word
from augmentation.llm.http_errors import Token, check_address, shown_url
from augmentation.llm.protocol import Completion, Mode, RetryableError, RowError, StopRunError
from augmentation.llm.tasks import Request
from augmentation.llm.wire import Wire

try:
    from text_generation.errors import ValidationError
    from text_generation.types import Grammar, GrammarType, Parameters
    from text_generation.types import Request as GenerateRequest
except ImportError as error:
    raise StopRunError(
        "--client tgi needs the text-generation package, whose metadata asks for an old huggingface-hub: "
        "pip install --no-deps text-generation"
    ) from error


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
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._url = base_url.rstrip("/").removesuffix("/generate") + "/generate"
        self._wire = Wire(self.endpoint, self._token)

    async def send(self, request: Request, mode: Mode) -> Completion:
        """One `POST /generate`.

        Raises:
            RetryableError, RowError, StopRunError: see `http_errors.error_for_status`.
        """
        body = _generate_request(request, mode).model_dump(mode="json", exclude_none=True)
        return _completion(await self._wire.post(self._url, body, self._headers))

    async def close(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await self._wire.close()


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
