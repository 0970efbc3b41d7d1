"""`handler.py` of a pushed model: what Hugging Face Inference Endpoints call. Needs torch and transformers alone."""

from typing import Any

from transformers import pipeline

MAX_TEXTS = 256
MAX_CHARACTERS = 200_000
LOWEST_THRESHOLD = 0.01  # under it every span is a hit, and an answer of hundreds of megabytes
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
        given = data if isinstance(data, dict) else {}
        inputs, parameters = given.get("inputs"), given.get("parameters") or {}
        if not isinstance(parameters, dict) or set(parameters) - set(OPTIONS):
            return {"error": f"parameters takes {', '.join(OPTIONS)}"}
        is_one = isinstance(inputs, str)
        if parameters.get("is_split_into_words") and isinstance(inputs, list) and inputs:
            is_one = isinstance(inputs[0], str)
        texts = [inputs] if is_one else inputs
        if not isinstance(texts, list) or not texts:
            return {"error": 'give {"inputs": "a text"}, or a list of texts'}
        if len(texts) > MAX_TEXTS or sum(map(_length, texts)) > MAX_CHARACTERS:
            return {"error": f"at most {MAX_TEXTS} texts and {MAX_CHARACTERS} characters a request"}
        threshold = parameters.get("threshold")
        if isinstance(threshold, int | float) and threshold < LOWEST_THRESHOLD:
            return {"error": f"threshold is {threshold}; the lowest is {LOWEST_THRESHOLD}"}
        try:
            return self.pipe(inputs, **parameters)
        except (ValueError, TypeError) as error:
            return {"error": str(error)[:300]}


def _length(text: Any) -> int:
    """Characters of a text, or of all its units."""
    return sum(len(str(unit)) for unit in text) if isinstance(text, list) else len(str(text))
