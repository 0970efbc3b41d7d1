"""The tokenizer that a model is trained and saved with."""

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .. import loading
from ..data.rows import Row
from ..encoders import E5


def load_tokenizer(folder: str, unit: str) -> PreTrainedTokenizerBase:
    """
    The encoder's tokenizer, made fit for units.

    Units are tokenised one by one, and SentencePiece and byte-level tokenizers begin every one of them with a word mark
    (`▁`, `Ġ`). Right for words; but of characters it makes two pieces each, other ones than the encoder knows from the
    inside of words. So with characters no mark is added, and the tokenizer is a plain `PreTrainedTokenizerFast`, which
    saves and loads this as it stands: the classes of its own family would put the mark back.

    A byte-level tokenizer that begins no word with the mark where a text begins, as those of ModernBERT and Qwen, is
    made to begin every word with it: each is given a space before it.

    Args:
        folder: of the encoder, or its Hub id.
        unit: `"character"` or `"word"`.

    Raises:
        OSError, ValueError: no such tokenizer; `InputError` for a folder without any.
    """
    tokenizer = loading.load_tokenizer(folder, add_prefix_space=True)
    if not tokenizer.is_fast:
        return tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    if unit == "word":
        pieces = tokenizer.backend_tokenizer.encode(["a"], is_pretokenized=True, add_special_tokens=False).tokens
        if not _is_byte_level(state.get("pre_tokenizer")) or "Ġ" in "".join(pieces):
            return tokenizer
        space = {"type": "Prepend", "prepend": " "}
        others = [state["normalizer"]] if state.get("normalizer") else []
        state["normalizer"] = {"type": "Sequence", "normalizers": [*others, space]}
        return _plain(tokenizer, state)
    marked = [_without_mark(state.get(part)) for part in ("normalizer", "pre_tokenizer")]
    if not any(changed for _, changed in marked):
        return tokenizer
    state["normalizer"], state["pre_tokenizer"] = (part for part, _ in marked)
    return _plain(tokenizer, state)


def _plain(tokenizer: PreTrainedTokenizerBase, state: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer of this `state` that is saved and loaded as it stands, with the other's special tokens."""
    names = (name for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES if name.endswith("_token"))
    special = {name: getattr(tokenizer, name) for name in names}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=tokenizer.model_max_length,
        **{name: token for name, token in special.items() if token is not None},
    )


def _is_byte_level(part: dict[str, Any] | None) -> bool:
    if part is None:
        return False
    return part["type"] == "ByteLevel" or any(map(_is_byte_level, part.get("pretokenizers", ())))


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


def lost_capitals(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Row]) -> str | None:
    """
    One line where the tokenizer lower-cases and capitals tell the entities: at least half of these begin with one, and
    of the words outside them at most half as many do. `None` otherwise. Scripts without capitals do not count.
    """
    if tokenizer.tokenize("Harbour") != tokenizer.tokenize("harbour"):
        return None
    inside, outside = [0, 0], [0, 0]  # words with case, of them with a capital
    for row in rows:
        first = {span["start"] for span in row["entities"]}
        covered = {at for span in row["entities"] for at in range(span["start"], span["end"])}
        for at, token in enumerate(row["tokens"]):
            if token[:1].lower() == token[:1].upper() or (at == 0 and at not in first):
                continue  # a sentence begins with a capital, whatever its first word is
            count = inside if at in first else outside
            if at in first or at not in covered:
                count[0] += 1
                count[1] += token[0].isupper()
    if not inside[0]:
        return None
    share, others = inside[1] / inside[0], outside[1] / max(1, outside[0])
    if share < 0.5 or others > share / 2:
        return None
    return (
        f"{share:.0%} of the entities begin with a capital ({others:.0%} of the other words), and this encoder "
        f"lower-cases: it cannot see that; an encoder that keeps case finds more, for example {E5}"
    )
