"""Span scores to spans. Pure functions; a span is `(start, end, label column, score)`, end exclusive."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Span(NamedTuple):
    """A scored span: units `[start, end)`, label column, probability, and its logit, infinite for gold spans."""

    start: int
    end: int
    label: int
    score: float
    logit: float = math.inf


def best_first(span: Span) -> tuple:
    """Key that sorts better spans first. By logit: probabilities near 1 are equal in floating point, logits are not."""
    return -span.logit, span.start, -span.end, span.label


def find_hits(logits: Tensor, threshold: float) -> list[list[Span]]:
    """
    Every span whose probability exceeds the threshold.

    Args:
        logits: `[B, L, W, n]`, band layout; cells outside the sentence far below any threshold.
        threshold: probability in (0, 1).

    Returns:
        For each of the B sentences its hits, best first: score descending, start ascending, longer first, column.
    """
    hits = (logits > math.log(threshold / (1 - threshold))).nonzero()  # (H, 4)
    logit = logits[hits.unbind(1)].cpu().double()
    found: list[list[Span]] = [[] for _ in range(len(logits))]
    scores = torch.stack([logit.sigmoid(), logit], 1).tolist()
    for (sentence, start, width, column), (score, exact) in zip(hits.tolist(), scores, strict=True):
        found[sentence].append(Span(start, start + width + 1, column, score, exact))
    for spans in found:
        spans.sort(key=best_first)
    return found


def resolve(hits: Iterable[Span], mode: str, multi_label: bool) -> list[Span]:
    """
    Keep the hits that may stand together, better ones first.

    Args:
        hits: best first, as `find_hits` gives them.
        mode: `"flat"` no two spans share a unit; `"nested"` spans may contain one another but not cross; `"all"`.
        multi_label: whether an identical span may carry a second label.

    Returns:
        The kept spans, sorted by start, then end, then label column.

    Raises:
        ValueError: unknown mode.
    """
    modes: dict[str, type[_All | _Flat | _Nested]] = {"flat": _Flat, "nested": _Nested, "all": _All}
    if mode not in modes:
        raise ValueError(f"decoding={mode!r}: choose one of {', '.join(map(repr, modes))}")
    kept: list[Span] = []
    seen: set[tuple[int, int]] = set()
    taken = modes[mode]()
    for hit in hits:
        extent = hit.start, hit.end
        if extent in seen:
            if multi_label:
                kept.append(hit)
        elif taken.admits(*extent):
            kept.append(hit)
            seen.add(extent)
    return sorted(kept, key=lambda span: (span.start, span.end, span.label))


class _All:
    def admits(self, start: int, end: int) -> bool:
        return True


class _Flat:
    """One bit a unit that a kept span covers."""

    def __init__(self) -> None:
        self.covered = 0

    def admits(self, start: int, end: int) -> bool:
        span = ((1 << (end - start)) - 1) << start
        if self.covered & span:
            return False
        self.covered |= span
        return True


class _Nested:
    """For each border inside kept spans, the nearest end and the furthest start among the spans around it. A new span
    crosses a kept one exactly if a kept span around its start ends inside it, or one around its end starts inside."""

    def __init__(self) -> None:
        self.nearest_end: dict[int, int] = {}
        self.furthest_start: dict[int, int] = {}

    def admits(self, start: int, end: int) -> bool:
        if self.nearest_end.get(start, end) < end or self.furthest_start.get(end, start) > start:
            return False
        for border in range(start + 1, end):
            self.nearest_end[border] = min(end, self.nearest_end.get(border, end))
            self.furthest_start[border] = max(start, self.furthest_start.get(border, start))
        return True


def decode(logits: Tensor, threshold: float, mode: str, multi_label: bool) -> list[list[Span]]:
    """`find_hits`, then `resolve`, for each sentence of `logits` `[B, L, W, n]`."""
    return [resolve(hits, mode, multi_label) for hits in find_hits(logits, threshold)]


def pad_spans(sentences: list[list[Span]], device: torch.device) -> Tensor:
    """Spans of B sentences as one tensor `[B, S, 4]`: start, end, label column, score; padded with -100."""
    longest = max([1, *map(len, sentences)])
    rows = [[*(list(span[:4]) for span in spans), *[[-100.0] * 4] * (longest - len(spans))] for spans in sentences]
    return torch.tensor(rows, dtype=torch.float32, device=device)
