"""Sentences that nothing closes, seen amid others, as a long text has them.

Where sentences end in marks, the windows of a long text begin and end with sentences, like those of training. Queries
and chat have no marks: a window begins and ends anywhere and holds parts of several sentences, and a model that saw
each by itself finds less in it (benchmarks/README.md, joined texts). So a share of such sentences is trained on between
the end of one sentence and the beginning of another.
"""

import random
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from ..data.rows import Row
from ..units_knowfree import KnowFreeCollator, join_units
from ..windows_knowfree import sentence_ends
from .features import Features


def mark_open_ended(features: Features, rows: Iterable[Row], unit: str) -> int:
    """Tells `JoiningCollator` which of the features, one a row, are sentences that nothing closes; how many."""
    found = 0
    for item, row in zip(features.items, rows, strict=True):
        another = sentence_ends(*join_units([*row["tokens"], "A"], unit))
        item["open_ended"] = len(row["tokens"]) not in another
        found += item["open_ended"]
    return found


class JoiningCollator(KnowFreeCollator):
    """
    A collator that puts a share of the open-ended sentences between parts of two others of their batch. No span of
    these is cut: half an entity that is shown as none teaches to miss entities.

    What it draws follows from the batch and the seed alone, so that a training that goes on draws what it would have.

    Args:
        pad_token_id: as `KnowFreeCollator`.
        share: of the open-ended sentences; the others stay alone.
        reach: most units of another sentence on either side.
        max_pieces: what the encoder reads at once; a sentence that would become longer stays alone.
        seed: of the training.
    """

    def __init__(self, pad_token_id: int, share: float, reach: int, max_pieces: int | None, seed: int):
        super().__init__(pad_token_id)
        self.share, self.reach, self.max_pieces, self.seed = share, reach, max_pieces, seed

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Any]:
        draw = random.Random(zlib.crc32(repr([each["input_ids"] for each in features]).encode(), self.seed))
        return super().__call__(
            [
                self._between(draw, each, features) if each.get("open_ended") and draw.random() < self.share else each
                for each in features
            ]
        )

    def _between(self, draw: random.Random, feature: dict[str, Any], batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The feature between the end of one of the others and the beginning of one; itself where it has no room."""
        # Of one weight and kind: what is said of a sentence in the loss is said of its neighbours' parts too.
        kind = _kind(feature)
        others = [each for each in batch if each is not feature and _kind(each) == kind]
        if not others:
            return feature
        before, after = draw.choice(others), draw.choice(others)
        # What the encoder does not read of a sentence is cut off, and may cut a span.
        whole = _clear_of_spans(before, before["num_units"], later=False)
        left, right = (min(draw.randint(0, self.reach), length) for length in (whole, after["num_units"]))
        begin = _clear_of_spans(before, whole - left, later=True)
        stop = _clear_of_spans(after, right, later=False)
        pieces: list[tuple[int, int]] = []
        spans: list[tuple[Sequence[int], float]] = []
        total = 0
        for part, start, end in (
            (before, begin, whole),
            (feature, 0, feature["num_units"]),
            (after, 0, stop),
        ):
            moved = total - start
            pieces += [
                (piece, unit + moved)
                for piece, unit in zip(part["input_ids"], part["unit_ids"], strict=True)
                if start <= unit < end
            ]
            weights = part.get("span_weights") or [1.0] * len(part["span_labels"])
            spans += [
                ((first + moved, last + moved, column), weight)
                for (first, last, column), weight in zip(part["span_labels"], weights, strict=True)
                if start <= first and last <= end
            ]
            total += end - start
        special = [
            (piece, -1) for piece, unit in zip(feature["input_ids"], feature["unit_ids"], strict=True) if unit < 0
        ]
        head = next(at for at, unit in enumerate(feature["unit_ids"]) if unit >= 0)
        pieces = [*special[:head], *pieces, *special[head:]]
        if self.max_pieces is not None and len(pieces) > self.max_pieces:
            return feature
        spans.sort()
        return {
            **feature,
            "input_ids": [piece for piece, _ in pieces],
            "unit_ids": [unit for _, unit in pieces],
            "num_units": total,
            "span_labels": [span for span, _ in spans],
            "span_weights": [weight for _, weight in spans],
        }


def _kind(feature: dict[str, Any]) -> tuple[float, bool | None]:
    return feature["loss_weights"], feature.get("has_extensions")


def _clear_of_spans(feature: dict[str, Any], cut: int, *, later: bool) -> int:
    """The nearest place after or before `cut`, or that itself, which lies in no span."""
    while inside := [span for span in feature["span_labels"] if span[0] < cut < span[1]]:
        cut = max(span[1] for span in inside) if later else min(span[0] for span in inside)
    return cut
