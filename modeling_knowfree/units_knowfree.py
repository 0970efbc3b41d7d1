"""Text to units, units to pieces, sentences to batches."""

import logging
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from numbers import Integral
from typing import Any

logger = logging.getLogger(__name__)
IGNORED = -100
ZERO_WIDTH_SPACE = "\u200b"
# Thai and Lao, Burmese, Khmer, kana, Han: so much of it at a stretch is no word.
UNSPACED = re.compile("[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]{12}")


def infer_unit(rows: Iterable[dict[str, Any]]) -> str:
    """`"character"` when no token of `rows` is longer than one code point, else `"word"`."""
    return "word" if any(len(token) > 1 for row in rows for token in row["tokens"]) else "character"


def split_text(text: str, unit: str) -> list[tuple[int, int]]:
    """
    Cut raw text into units.

    Args:
        text: any string.
        unit: `"character"`: each code point, white space too. `"word"`: runs of letters, digits and the marks on
            them, format characters inside them (soft hyphens, joiners) included; every other visible code point by
            itself, with the marks on it (a variation selector behind an emoji).

    Returns:
        Character offsets `(start, end)` of the units, in order.
    """
    if unit == "character":
        return [(at, at + 1) for at in range(len(text))]
    units: list[tuple[int, int]] = []
    open_word = False
    for at, character in enumerate(text):
        category = unicodedata.category(character)
        if category[0] == "M" and not open_word and units and units[-1][1] == at:
            units[-1] = (units[-1][0], at + 1)
        elif category[0] in "LNM":
            units.append((units.pop()[0] if open_word else at, at + 1))
            open_word = True
        elif category != "Cf" or character == ZERO_WIDTH_SPACE:
            open_word = False
            if category != "Cf" and not character.isspace():
                units.append((at, at + 1))
    return units


def tell_unspaced(units: Iterable[str], unit: str) -> None:
    """Says, once a process, that text without spaces between words came to a model that counts in words."""
    if unit == "word" and any(UNSPACED.search(each) for each in units):
        _tell_unspaced()


@cache
def _tell_unspaced() -> None:
    logger.warning(
        "text without spaces between words: the model counts in words, and takes it up to the next mark for one; "
        "give lists of words instead (is_split_into_words=True, `tokens` in files), or train on tokens of one character"
    )


def join_units(units: Sequence[str], unit: str) -> tuple[str, list[tuple[int, int]]]:
    """The text that units spell (joined by "" for characters, by " " for words) and each unit's character offsets."""
    gap = "" if unit == "character" else " "
    offsets, at = [], 0
    for token in units:
        offsets.append((at, at + len(token)))
        at += len(token) + len(gap)
    return gap.join(units), offsets


def check_unicode(item: Any, at: int) -> None:
    """Raises ValueError where input `at`, a text or its units, holds half of a surrogate pair."""
    for text in [item] if isinstance(item, str) else item if isinstance(item, (list, tuple)) else ():
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"input {at}: character {error.start} (U+{ord(text[error.start]):04X}) is half of a surrogate pair, no "
                "Unicode text: write the whole character"
            ) from error


def check_units(item: Any, at: int) -> None:
    """Raises ValueError where input `at` is no list of units."""
    if not isinstance(item, (list, tuple)) or not all(isinstance(unit, str) for unit in item):
        raise ValueError(f"input {at}: is_split_into_words=True takes a list of strings, got {item!r:.80}")


def check_count(name: str, value: Any, least: int) -> None:
    """Raises ValueError where the option `name` is no whole number from `least` on."""
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number, {least} or more")


@dataclass
class Pieces:
    """
    One sentence as the encoder reads it.

    Attributes:
        input_ids: P piece ids, special pieces included.
        unit_ids: P unit indices; -1 for special pieces.
        num_units: L.
    """

    input_ids: list[int]
    unit_ids: list[int]
    num_units: int


@dataclass
class Window:
    """Units `[start, end)` of a document, as the encoder reads them at once."""

    start: int
    end: int
    pieces: Pieces


@dataclass
class Document:
    """
    One input of the pipeline.

    Attributes:
        text: as it was given; `None` where units were.
        units: L units.
        offsets: character offsets `(start, end)` of each unit; `None` where units were given.
        windows: in order; none of a blank input.
    """

    text: str | None
    units: list[str]
    offsets: list[tuple[int, int]] | None = None
    windows: list[Window] = field(default_factory=list)

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """The units of the windows; read once they are there."""
        return [(window.start, window.end) for window in self.windows]


def encode_units(tokenizer, sentences: Sequence[Sequence[str]], max_pieces: int | None = None) -> list[Pieces]:
    """
    Tokenise units one by one, so that every unit has pieces and no unit shifts another.

    Args:
        tokenizer: a fast tokenizer.
        sentences: units of each sentence, no empty sentence.
        max_pieces: what the encoder reads at once, special pieces included; of a unit with more its first pieces are
            kept, with a warning.

    Raises:
        ValueError: for a tokenizer that cannot say which unit a piece came from, or that knows neither a unit nor any
            special piece.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} does not tell which unit a piece comes from: choose an encoder with a fast "
            "tokenizer"
        )
    if not sentences:
        return []
    encoded = _encode(tokenizer, sentences)
    for at, (pieces, units) in enumerate(zip(encoded, sentences, strict=True)):
        silent = set(range(len(units))).difference(pieces.unit_ids)
        if silent:
            stand_in = unknown_piece(tokenizer)
            if stand_in is None:
                unit = units[min(silent)]
                raise ValueError(f"unit {min(silent)} ({unit!r}) has no pieces, and the tokenizer has no special piece")
            spoken = [stand_in if i in silent else unit for i, unit in enumerate(units)]
            encoded[at] = _encode(tokenizer, [spoken])[0]
    if max_pieces is None:
        return encoded
    return [_shorten_units(pieces, units, max_pieces) for pieces, units in zip(encoded, sentences, strict=True)]


def unknown_piece(tokenizer) -> str | None:
    """What stands for a unit without pieces: the unknown piece, or of a tokenizer without one another special piece."""
    names = ("unk_token", "mask_token", "pad_token", "eos_token", "sep_token")
    return next((piece for name in names if (piece := getattr(tokenizer, name, None)) is not None), None)


def _shorten_units(pieces: Pieces, units: Sequence[str], max_pieces: int) -> Pieces:
    if len(pieces.input_ids) <= max_pieces:
        return pieces
    room = max_pieces - pieces.unit_ids.count(-1)
    kept, count = [], Counter[int]()
    for piece, unit in zip(pieces.input_ids, pieces.unit_ids, strict=True):
        count[unit] += 1
        if unit < 0 or count[unit] <= room:
            kept.append((piece, unit))
    for unit, number in count.items():
        if unit >= 0 and number > room:
            logger.warning(
                "%r… has %d pieces, the encoder reads %d at once: the rest of it is left out",
                units[unit][:20],
                number,
                room,
            )
    return Pieces([piece for piece, _ in kept], [unit for _, unit in kept], pieces.num_units)


def _encode(tokenizer, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
    # Longer than the encoder's limit is no accident here: `windows` and `truncate` see to it.
    batch = tokenizer([list(units) for units in sentences], is_split_into_words=True, truncation=False, verbose=False)
    return [
        Pieces(ids, [-1 if unit is None else unit for unit in batch.word_ids(at)], len(sentences[at]))
        for at, ids in enumerate(batch["input_ids"])
    ]


def cut(pieces: Pieces, start: int, end: int) -> Pieces:
    """Units `[start, end)` of a sentence, special pieces kept, units numbered from 0."""
    ids, units = pieces.input_ids, pieces.unit_ids
    head, tail = 0, len(units)  # where special pieces end, and begin again
    while units[head] < 0:
        head += 1
    while units[tail - 1] < 0:
        tail -= 1
    first, last = (bisect_left(units, unit, head, tail) for unit in (start, end))
    return Pieces(
        [*ids[:head], *ids[first:last], *ids[tail:]],
        [*units[:head], *(unit - start for unit in units[first:last]), *units[tail:]],
        end - start,
    )


class KnowFreeCollator:
    """
    Features to a batch for `KnowFreeForTokenClassification.forward`.

    A feature has `input_ids`, `unit_ids`, `num_units`, and for training `span_labels` (a list of
    `(start, end, column)`) and `loss_weights`; and it may have `span_weights` (a number for each of `span_labels`) and
    `has_extensions`, which the batch then has for all, 1 and true where a feature has none. Padding is on the right
    whatever the tokenizer prefers: unit indices do not care, and encoders number positions from the attention mask or
    the left.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch  # here alone: what reads files uses the rest of this module, and starts in no time without

        longest = max(len(feature["input_ids"]) for feature in features)

        def padded(values: list[int], filler: int) -> list[int]:
            return [*values, *[filler] * (longest - len(values))]

        batch = {
            "input_ids": torch.tensor([padded(feature["input_ids"], self.pad_token_id) for feature in features]),
            "attention_mask": torch.tensor([padded([1] * len(feature["input_ids"]), 0) for feature in features]),
            "unit_ids": torch.tensor([padded(feature["unit_ids"], -1) for feature in features]),
            "num_units": torch.tensor([feature["num_units"] for feature in features]),
        }
        if "span_labels" in features[0]:
            most = max(1, *(len(feature["span_labels"]) for feature in features))
            batch["span_labels"] = torch.tensor(
                [
                    [*map(list, feature["span_labels"]), *[[IGNORED] * 3] * (most - len(feature["span_labels"]))]
                    for feature in features
                ]
            )
        if "loss_weights" in features[0]:
            batch["loss_weights"] = torch.tensor([float(feature["loss_weights"]) for feature in features])
        if any("span_weights" in feature for feature in features):
            weights = torch.ones(batch["span_labels"].shape[:2])
            for at, feature in enumerate(features):
                given = feature.get("span_weights", ())
                weights[at, : len(given)] = torch.tensor(given)
            batch["span_weights"] = weights
        if any("has_extensions" in feature for feature in features):
            batch["has_extensions"] = torch.tensor([bool(f.get("has_extensions", True)) for f in features])
        return batch


def span_count(num_units: int, max_span_width: int | None) -> int:
    """Spans that a sentence of so many units has, padded cells of its triangle left out: what scoring it costs."""
    width = min(num_units, max_span_width or num_units)
    return width * num_units - width * (width - 1) // 2


def batches_by_cost(lengths: Sequence[int], at_most: int, max_span_width: int | None, spans: int | None) -> list[int]:
    """
    Cut sentences into batches that cost about the same, so that a long one does not pad many short ones.

    Args:
        lengths: units of each sentence, in the order in which they are to be taken.
        at_most: sentences a batch.
        max_span_width: the model's limit.
        spans: spans a batch, each sentence counted as long as the longest beside it; a sentence that has more is
            alone. `None`: no limit.

    Returns:
        Sizes of the batches, in order.
    """
    sizes: list[int] = []
    longest = 0
    for length in lengths:
        longest = max(longest, length) if sizes else length
        fits = sizes and sizes[-1] < at_most
        if fits and (spans is None or (sizes[-1] + 1) * span_count(longest, max_span_width) <= spans):
            sizes[-1] += 1
        else:
            sizes.append(1)
            longest = length
    return sizes
