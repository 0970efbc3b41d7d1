"""Rows in windows that the encoder reads at once: what every baseline network learns from and tags."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from modeling_knowfree.data.rows import Row
from modeling_knowfree.units_knowfree import Pieces, cut, encode_units
from modeling_knowfree.windows_knowfree import owner, windows

logger = logging.getLogger(__name__)
WINDOW_OVERLAP = 64  # units, as in the knowfree pipeline
MOST_CELLS = 200_000
"""Of a batch that is tagged, where a network holds something for each pair of units: w2ner about 9 KB."""

FoundSpan = tuple[int, int, str, float]  # start, end (exclusive), label, score


class Part(NamedTuple):
    """The window `[start, end)`, in units, of a row; `ranges` are all windows of the row, `row` is its place."""

    row: int
    start: int
    end: int
    ranges: list[tuple[int, int]]
    feature: dict[str, Any]

    def owns(self, start: int, end: int) -> bool:
        """Whether no other window sees more around a span of the row."""
        return self.ranges[owner(start, end, self.ranges)] == (self.start, self.end)


def beginnings(rows: Sequence[Row], tokenizer, max_pieces: int | None) -> Iterator[tuple[Row, Pieces]]:
    """Rows as far as the encoder reads them at once, with their pieces; how many gold spans that costs is told,
    and how many are weighted or uncertain, which no tags and no grid here can say."""
    if soft := sum(map(_soft_spans, rows)):
        logger.warning(
            "train: %d spans have a weight of their own or are uncertain: the first count whole, the others as absent",
            soft,
        )
    lost = 0
    encoded = encode_units(tokenizer, [row["tokens"] for row in rows], max_pieces)
    for row, pieces in zip(rows, encoded, strict=True):
        _, length = windows(pieces, max_pieces, 0)[0]
        kept = [span for span in row["entities"] if span["end"] <= length]
        lost += len(row["entities"]) - len(kept)
        yield {**row, "tokens": row["tokens"][:length], "entities": kept}, cut(pieces, 0, length)
    if lost:
        logger.warning("train: %d gold spans lie beyond what the encoder reads (split the sentences)", lost)


def _soft_spans(row: Row) -> int:
    weights = [span.get("weight") for span in row["entities"]]
    return sum(weight not in (None, 1) for weight in weights) + len(row.get("uncertain") or ())


def batches_of_parts(
    rows: Sequence[Row],
    tokenizer,
    max_pieces: int | None,
    feature_of: Callable[[Sequence[str], Pieces], dict[str, Any]],
    batch_size: int,
    silent: bool,
    sides_of: Callable[[dict[str, Any]], Sequence[int]] = lambda _: (),
) -> Iterator[list[Part]]:
    """
    The windows of all rows, those with most pieces first, as many at once as `batch_size` and `MOST_CELLS` let.

    Args:
        feature_of: makes a window's feature of its tokens and pieces, with `input_ids`.
        sides_of: lengths that a batch pads each by itself, of a feature; a sentence then costs the square of their sum.
    """
    parts = []
    for at, pieces in enumerate(encode_units(tokenizer, [row["tokens"] for row in rows], max_pieces)):
        ranges = windows(pieces, max_pieces, WINDOW_OVERLAP)
        for start, end in ranges:
            feature = feature_of(rows[at]["tokens"][start:end], cut(pieces, start, end))
            parts.append(Part(at, start, end, ranges, feature))
    parts.sort(key=lambda part: len(part.feature["input_ids"]), reverse=True)
    with tqdm(total=len(parts), desc="tag", unit="sentence", disable=silent, leave=False) as bar:
        first = 0
        while first < len(parts):
            size = _fitting(parts[first : first + batch_size], sides_of)
            yield parts[first : first + size]
            bar.update(size)
            first += size


def _fitting(parts: Sequence[Part], sides_of: Callable[[dict[str, Any]], Sequence[int]]) -> int:
    """How many of the first parts make a batch of at most `MOST_CELLS`; at least one."""
    widest = sides_of(parts[0].feature)
    for size, part in enumerate(parts[1:], 1):
        widest = [max(pair) for pair in zip(widest, sides_of(part.feature), strict=True)]
        if (size + 1) * sum(widest) ** 2 > MOST_CELLS:
            return size
    return len(parts)
