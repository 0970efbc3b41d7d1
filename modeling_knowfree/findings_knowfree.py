"""What the model sees in one document: its hits in all windows, each kept where its window sees most around it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .decoding_knowfree import Span, best_first, find_hits
from .units_knowfree import Document, Window
from .windows_knowfree import owner


@dataclass
class Findings:
    """
    What the model sees in one document, windows joined: each span counts where its window sees most around it.

    Attributes:
        document: the input.
        floor: probability above which `hits` are complete.
        hits: target labels, `(start, end, column, score, logit)` in units of the document, best first.
        extension_floor: the same for `extension_hits`.
        extension_hits: of the model's extension labels, columns counted from the first of them; on request.
        extension_logits: by the units `[start, end)` of each hit of a target label the logits of all extension labels
            there, `[E]`; on request.
    """

    document: Document
    floor: float
    hits: list[Span] = field(default_factory=list)
    extension_floor: float = 0.0
    extension_hits: list[Span] = field(default_factory=list)
    extension_logits: dict[tuple[int, int], Tensor] = field(default_factory=dict)


def keep_hits(
    batch: Sequence[tuple[Findings, Window]], logits: Tensor, targets: int, threshold: float, most_hits: int | None
) -> None:
    """
    The hits of a batch of windows to the findings of their documents.

    Args:
        batch: B windows with the findings that get their hits.
        logits: `[B, L, W, N]`, of `targets` target labels and then, if asked for, of extension labels.
        threshold: probability from which on a span is a hit.
        most_hits: of one document; default: all.
    """
    scores, extra = logits[..., :targets], logits[..., targets:]
    if most_hits is not None:
        scores, floors = _best_cells(scores, threshold, most_hits)
        for (one, _), floor in zip(batch, floors, strict=True):
            one.floor = max(one.floor, floor)
    for at, ((one, window), hits) in enumerate(zip(batch, find_hits(scores, threshold), strict=True)):
        own = _owned(hits, one.document, window)
        one.hits += own
        if extra.shape[-1] and own:
            cells = list(dict.fromkeys((hit.start, hit.end) for hit in own))
            starts, ends = torch.tensor(cells, device=logits.device).T
            rows = extra[at, starts - window.start, ends - starts - 1].float().cpu()  # (cells, E), a copy
            one.extension_logits.update(zip(cells, rows, strict=True))
    if extra.shape[-1]:
        if most_hits is not None:
            extra, floors = _best_cells(extra, threshold, most_hits)
            for (one, _), floor in zip(batch, floors, strict=True):
                one.extension_floor = max(one.extension_floor, floor)
        for (one, window), hits in zip(batch, find_hits(extra, threshold), strict=True):
            one.extension_hits += _owned(hits, one.document, window)
    if most_hits is not None:
        for one, _ in batch:
            _keep_best(one, 2 * most_hits, most_hits)


def _owned(hits: Iterable[Span], document: Document, window: Window) -> list[Span]:
    """Hits of a window, in units of the document, but for those that another window sees better."""
    if len(document.windows) == 1:
        return list(hits)
    moved = [hit._replace(start=hit.start + window.start, end=hit.end + window.start) for hit in hits]
    return [hit for hit in moved if document.windows[owner(hit.start, hit.end, document.ranges)] is window]


def _best_cells(logits: Tensor, threshold: float, most: int) -> tuple[Tensor, list[float]]:
    """`[B, L, W, n]` with what is not among the `most` highest of its sentence far below any threshold, and for each
    sentence the probability above which all is still there."""
    least = math.log(threshold / (1 - threshold))
    kept, floors = [], []
    for sentence in logits:
        floor = threshold
        if int((sentence > least).sum()) > most:
            bound = sentence.flatten().topk(most + 1).values[-1]
            sentence = sentence.masked_fill(sentence <= bound, torch.finfo(sentence.dtype).min)
            floor = bound.double().sigmoid().item()
        kept.append(sentence)
        floors.append(floor)
    return torch.stack(kept), floors


def finish(found: Findings, most_hits: int | None) -> None:
    """Hits of all windows in one order, and no more than are wanted."""
    if len(found.document.windows) > 1:
        found.hits.sort(key=best_first)
        found.extension_hits.sort(key=best_first)
    if most_hits is not None:
        _keep_best(found, most_hits, most_hits)


def _keep_best(found: Findings, most: int, keep: int) -> None:
    """Where there are more than `most` hits, `keep` of them, best first, and the floors that say so."""
    if len(found.hits) > most:
        found.hits.sort(key=best_first)
        found.floor = max(found.floor, found.hits[keep].score)
        del found.hits[keep:]
        cells = {(hit.start, hit.end) for hit in found.hits}
        found.extension_logits = {cell: row for cell, row in found.extension_logits.items() if cell in cells}
    if len(found.extension_hits) > most:
        found.extension_hits.sort(key=best_first)
        found.extension_floor = max(found.extension_floor, found.extension_hits[keep].score)
        del found.extension_hits[keep:]


def above(hits: Sequence[Span], threshold: float | None, floor: float) -> Sequence[Span]:
    """The hits of a probability above `threshold`; all of them where it lies below `floor`, or is None."""
    if threshold is None or threshold <= floor:
        return hits
    least = math.log(threshold / (1 - threshold))
    return [hit for hit in hits if hit.logit > least]
