"""The tokenizer that a model is trained and saved with."""

import json
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .. import loading


def load_tokenizer(folder: str, unit: str) -> PreTrainedTokenizerBase:
    """
    The encoder's tokenizer, made fit for units.

    Units are tokenised one by one, and SentencePiece and byte-level tokenizers begin every one of them with a word mark
    (`▁`, `Ġ`). Right for words; but of characters it makes two pieces each, other ones than the encoder knows from the
    inside of words. So with characters no mark is added, and the tokenizer is a plain `PreTrainedTokenizerFast`, which
    saves and loads this as it stands: the classes of its own family would put the mark back.

    Args:
        folder: of the encoder, or its Hub id.
        unit: `"character"` or `"word"`.

    Raises:
        OSError, ValueError: no such tokenizer; `InputError` for a folder without any.
    """
    tokenizer = loading.load_tokenizer(folder, add_prefix_space=True)
    if unit == "word" or not tokenizer.is_fast:
        return tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    marked = [_without_mark(state.get(part)) for part in ("normalizer", "pre_tokenizer")]
    if not any(changed for _, changed in marked):
        return tokenizer
    state["normalizer"], state["pre_tokenizer"] = (part for part, _ in marked)
    names = (name for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES if name.endswith("_token"))
    special = {name: getattr(tokenizer, name) for name in names}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=tokenizer.model_max_length,
        **{name: token for name, token in special.items() if token is not None},
    )


def _without_mark(part: dict[str, Any] | None) -> tuple[dict[str, Any] | None, bool]:
    """A normalizer or pre-tokenizer of `tokenizer.json` that adds no word mark, and whether it did add one."""
    if part is None:
        return None, False
    kind = part["type"]
    if kind == "Metaspace":
        return {**part, "prepend_scheme": "never"}, part.get("prepend_scheme") != "never"
    if kind == "ByteLevel":
        return {**part, "add_prefix_space": False}, part["add_prefix_space"]
    if kind == "Prepend":
        return None, True
    if kind == "Sequence":
        name = "pretokenizers" if "pretokenizers" in part else "normalizers"
        inner = [_without_mark(each) for each in part[name]]
        return {**part, name: [each for each, _ in inner if each is not None]}, any(changed for _, changed in inner)
    return part, False
