"""`handler.py` of a pushed model: what Hugging Face Inference Endpoints call. Needs torch and transformers alone."""

from typing import Any

from transformers import pipeline

MAX_TEXTS = 256
MAX_CHARACTERS = 200_000
OPTIONS = ("threshold", "decoding", "is_split_into_words", "overflow", "window_overlap")


class EndpointHandler:
    """
    Args:
        path: the repository's folder. The endpoint's owner chose this repository and its code.
    """

    def __init__(self, path: str = ""):
        self.pipe: Any = pipeline("knowfree", model=path, trust_remote_code=True)  # type: ignore[call-overload]

    def __call__(self, data: dict[str, Any]) -> Any:
        """
        Args:
            data: `{"inputs": text or list of texts, "parameters": {"threshold": …, "decoding": …}}`.

        Returns:
            The pipeline's answer; for an input that is refused `{"error": why}`.
        """
        inputs, parameters = data.get("inputs"), data.get("parameters") or {}
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(texts, list) or not texts:
            return {"error": 'give {"inputs": "a text"}, or a list of texts'}
        if not isinstance(parameters, dict) or set(parameters) - set(OPTIONS):
            return {"error": f"parameters takes {', '.join(OPTIONS)}"}
        if len(texts) > MAX_TEXTS or sum(len(str(text)) for text in texts) > MAX_CHARACTERS:
            return {"error": f"at most {MAX_TEXTS} texts and {MAX_CHARACTERS} characters a request"}
        try:
            return self.pipe(inputs, **parameters)
        except (ValueError, TypeError) as error:
            return {"error": str(error)[:300]}
