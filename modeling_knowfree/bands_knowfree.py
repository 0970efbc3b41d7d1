"""The band of spans: a vector of D̃ numbers for each span of each sentence (eq 8), on three ways to the same numbers.

`PackedBand`: on a CPU; real units alone, in blocks that fit its cache. `TiledBand`: on a GPU; few large kernels over
padded rectangles, planned from shapes. `Plane`: whatever traces the forward (compile, export, ONNX); one block of plain
operations, for any batch and length. Iterated, each gives blocks of spans; `logits` puts the scores of their `wanted`
spans into `[B, L, W, n]`. Letters in shape comments: `modeling_knowfree`.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration_knowfree import KnowFreeConfig

if TYPE_CHECKING:
    from .mixers_knowfree import LocalAttention

# The width embedding of the released code: last unit - first unit, clipped.
MIN_WIDTH, MAX_WIDTH = -15, 14
# Span cells worked on together. Packed: large enough to hide Python, small enough that a block's tensors stay in cache.
CELLS_PER_BLOCK = 2000
# Tiled: large enough to fill a GPU; below, cutting the triangle finer costs more launches than it saves cells.
CELLS_PER_LAUNCH = 65536
# Starts whose biaffine matrices (40 KB each) one product makes: enough that reading its weight costs nothing.
STARTS_AT_ONCE = 256


class MultiHeadBiaffine(nn.Module):
    """Eq 8: `H_B[i, j, h·out + d] = Σ_xy H_s[i, h, x] W[h, d, x, y] H_e[j, h, y]` plus a linear term over
    `[H_s; 1; H_e; 1; width embedding]`."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        heads, size = config.biaffine_heads, config.head_size // config.biaffine_heads
        self.heads = heads
        self.weight = nn.Parameter(torch.empty(heads, config.span_size // heads, size, size))
        # The linear term's weight cut by what it multiplies: no [H_s; H_e; …] is ever built for a span.
        self.start = nn.Linear(config.head_size, config.span_size)
        self.end = nn.Linear(config.head_size, config.span_size)
        self.has_width = config.width_embedding_size > 0
        if self.has_width:
            self.width_embedding = nn.Embedding(MAX_WIDTH - MIN_WIDTH + 1, config.width_embedding_size)
            self.width = nn.Linear(config.width_embedding_size, config.span_size, bias=False)
        self.dropout = nn.Dropout(config.head_dropout)

    def terms(self, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The linear term's summands: by start `[…, D̃]`, by end `[…, D̃]`, by width `[30, D̃]`."""
        by_width = self.width(self.dropout(self.width_embedding.weight)) if self.has_width else None
        return self.start(self.dropout(starts)), self.end(self.dropout(ends)), by_width

    def matrices(self, starts: Tensor) -> Tensor:
        """`[R, D']` -> `[R, h, y, d]`, `Σ_x H_s[i, h, x] W[h, d, x, y]`: the part of eq 8 that all ends share."""
        by_head = starts.unflatten(1, (self.heads, -1)).transpose(0, 1)  # (h, R, x)
        product = by_head @ self.weight.permute(0, 2, 3, 1).flatten(2)  # (h, R, y·d)
        return product.transpose(0, 1).contiguous().unflatten(2, (by_head.shape[2], -1))

    def packed(self, matrices: Tensor, ends: Tensor, terms: tuple, rows: Tensor, offsets: Tensor) -> Tensor:
        """Spans from the units `rows` `[R]` (`matrices` are theirs) to the units `offsets` `[C]` further: `[C, R, D̃]`.
        `ends` `[U, D']` as in eq 7. Cells that leave the sentence hold numbers without meaning."""
        by_start, by_end, by_width = terms
        matrices = matrices.flatten(0, 1)  # (R·h, y, d)
        last = (rows + offsets[:, None]).clamp(0, len(ends) - 1)  # (C, R)
        # F.embedding is as fast as indexing, and its gradient much faster.
        right = F.embedding(last, ends).view(len(offsets), *matrices.shape[:2]).transpose(0, 1)  # (R·h, C, y)
        product = torch.baddbmm(F.embedding(rows, by_start).view(len(matrices), 1, -1), right, matrices)  # (R·h, C, d)
        spans = F.embedding(last, by_end)  # (C, R, D̃)
        if by_width is not None:
            spans += by_width[offsets.clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH].unsqueeze(1)
        return (spans.view(len(offsets), len(matrices), -1) + product.transpose(0, 1)).view_as(spans)

    def rectangle(self, starts: Tensor, ends: Tensor, by_start: Tensor, by_end: Tensor, by_offset: Tensor) -> Tensor:
        """Spans from some units of every sentence, `starts` `[B, R, D']`, each to C ends in a row, which begin one
        further for every next start: `ends` `[B, R+C-1, D']`. With them the linear term's summands `[B, R, D̃]`,
        `[B, R+C-1, D̃]`, `[C, D̃]`. Returns `[B, R, C, D̃]`."""
        batch, rows, _ = starts.shape
        cells = len(by_offset)
        matrices = self.matrices(starts.flatten(0, 1)).flatten(0, 1)  # (B·R·h, y, d)
        right = ends.unfold(1, cells, 1).unflatten(2, (self.heads, -1)).permute(0, 1, 2, 4, 3)  # (B, R, h, C, y)
        offset = by_start.unflatten(2, (self.heads, 1, -1)).flatten(0, 2)  # (B·R·h, 1, d)
        product = torch.baddbmm(offset, right.flatten(0, 2), matrices).unflatten(0, (batch, rows, self.heads))
        linear = by_end.unfold(1, cells, 1).transpose(2, 3) + by_offset  # (B, R, C, D̃)
        return (linear.unflatten(3, (self.heads, -1)) + product.transpose(2, 3)).flatten(3)


@dataclass
class PackedBlock:
    """Some rows of the band, offsets first: `spans` `[C, R, D̃]` at offsets -ω, …; `wanted` `[width·R, D̃]` those at
    offsets 0 … width-1; `borders`, see `BandAttention`."""

    spans: Tensor
    wanted: Tensor
    borders: list[tuple[int, Tensor]]

    def attend(self, attention: "LocalAttention") -> Tensor:
        return attention.packed(self.wanted, self.spans, self.borders)


class PackedBand:
    """The band of spans of the real units alone, one flat list of all sentences' units, in blocks that fit a CPU's
    cache. Cutting the sentences out of their padding needs their lengths, so this way cannot be traced."""

    def __init__(self, biaffine: MultiHeadBiaffine, starts: Tensor, ends: Tensor, real: Tensor, limit: int, reach: int):
        """`starts` and `ends` `[B, L, D']` as in eq 7; `real` `[B, L]`; `limit` widths are wanted, `reach` is ω."""
        self.biaffine, self.limit, self.reach = biaffine, limit, reach
        self.shape = (*real.shape, limit)
        self.starts, self.ends = starts[real], ends[real]  # (U, D')
        self.terms = biaffine.terms(self.starts, self.ends)
        self.slots = real.flatten().nonzero() * limit  # (U, 1)
        # Of each unit, how many of its sentence lie before and after it, itself included.
        self.before = torch.arange(real.shape[1], device=real.device).expand_as(real)[real]  # (U)
        lengths = real.sum(1)
        self.after = lengths.repeat_interleave(lengths) - self.before
        self.cells: list[Tensor] = []

    def __iter__(self) -> Iterator[PackedBlock]:
        self.cells = []
        for group in self._plan(self.limit + self.reach):
            matrices = self.biaffine.matrices(self.starts[torch.cat([rows for rows, _, _ in group])])
            for (rows, longest, shortest), own in zip(group, matrices.split([len(b[0]) for b in group]), strict=True):
                width = min(longest, self.limit)
                offsets = torch.arange(-self.reach, longest, device=rows.device)
                spans = self.biaffine.packed(own, self.ends, self.terms, rows, offsets)  # (C, R, D̃)
                wanted = offsets[self.reach : self.reach + width]
                self.cells.append((self.slots[rows] + wanted).t().flatten())
                borders = self._borders(rows, width, shortest) if self.reach else []
                yield PackedBlock(spans, spans[self.reach : self.reach + width].flatten(0, 1), borders)

    def _plan(self, limit: int) -> Iterator[list[tuple[Tensor, int, int]]]:
        """Lists of `(rows, longest, shortest)`: flat unit indices to start spans from, widest first, and their largest
        and smallest width, at most `limit`. A list has about `STARTS_AT_ONCE` rows. A block has about `CELLS_PER_BLOCK`
        cells, and ends sooner where its narrower rows would waste more than a new block's start costs."""
        widths, order = self.after.clamp(max=limit).sort(descending=True, stable=True)
        longest = widths.tolist()
        area = [0, *accumulate(longest)]
        start = 0
        while start < len(longest):
            group, enough = [], start + STARTS_AT_ONCE
            while start < min(enough, len(longest)):
                width, before = longest[start], area[start] - start * longest[start]
                stops = range(start + 1, min(len(longest), start + max(1, CELLS_PER_BLOCK // width)) + 1)
                waste = [stop * width - area[stop] + before for stop in stops]
                stop = stops[bisect_right(waste, CELLS_PER_BLOCK // 16) - 1]
                group.append((order[start:stop], width, longest[stop - 1]))
                start = stop
            yield group

    def _borders(self, rows: Tensor, width: int, shortest: int) -> list[tuple[int, Tensor]]:
        """Which neighbours are not in the sentence, for the spans from `rows` at offsets 0 … width-1: pairs of a first
        cell and a mask `[2ω+1, cells]`. Only the ω first offsets, and those from ω before the end of the shortest row,
        can have such neighbours; no mask is made for the others."""
        near = torch.arange(-self.reach, self.reach + 1, device=rows.device).view(-1, 1, 1)
        found = []
        for first, last in (0, min(self.reach, width)), (max(self.reach, shortest - self.reach), width):
            cells = near + torch.arange(first, max(first, last), device=rows.device).unsqueeze(-1)
            outside = (cells < -self.before[rows]) | (cells >= self.after[rows])  # (2ω+1, offsets, R)
            found.append((first * len(rows), outside.flatten(1)))
        return found

    def logits(self, scores: list[Tensor]) -> Tensor:
        """The scores of each block's wanted spans to `[B, L, W, n]`."""
        if not scores:  # no sentence has a unit
            raise ValueError("a batch needs at least one sentence with a unit")
        found = torch.cat(scores)
        size, columns = self.shape[0] * self.shape[1] * self.shape[2], found.shape[1]
        band = found.new_full((size, columns), torch.finfo(found.dtype).min)
        return band.index_copy_(0, torch.cat(self.cells), found).view(*self.shape, columns)


@dataclass
class TiledBlock:
    """A rectangle of the band as one list of cells, row after row, each row with ω cells more on both sides: a
    neighbour along the end index is a neighbour in the list. `spans` `[M, D̃]`, M = 2ω + whole tiles; `inside` `[M]`,
    whether the cell's end is in its sentence; `wanted` `[M - 2ω, D̃]`, all but the first and last ω; `once`, a cache
    that the blocks of one forward share."""

    spans: Tensor
    wanted: Tensor
    inside: Tensor
    tile: int
    once: dict[str, tuple[Tensor, ...]]

    def attend(self, attention: "LocalAttention") -> Tensor:
        if "attention" not in self.once:
            self.once["attention"] = attention.tile_tensors(self.tile)
        return attention.tiled(self.spans, self.inside, self.tile, *self.once["attention"])


class TiledBand:
    """The band of spans in few large rectangles, planned from shapes, for a GPU. Arguments as in `PackedBand`."""

    def __init__(self, biaffine: MultiHeadBiaffine, starts: Tensor, ends: Tensor, real: Tensor, limit: int, reach: int):
        self.biaffine, self.starts, self.limit, self.reach = biaffine, starts, limit, reach
        self.by_start, by_end, by_width = biaffine.terms(starts, ends)
        # What all blocks slice: ends and their terms with 0 beside the sentence, a term and a truth for each cell.
        self.ends, self.by_end = (F.pad(units, (0, 0, reach, limit + reach)) for units in (ends, by_end))
        offset = torch.arange(-reach, limit + reach, device=starts.device)
        if by_width is None:
            self.by_offset = by_end.new_zeros(1, 1).expand(len(offset), by_end.shape[-1])
        else:
            self.by_offset = by_width[offset.clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH]  # (C, D̃)
        end = torch.arange(starts.shape[1], device=starts.device)[:, None] + offset  # (L, C)
        self.inside = (end >= 0) & (end < real.sum(1)[:, None, None])  # (B, L, C)
        # Keys of a tile are a multiple of 16: what matrix units multiply at once.
        self.tile = max(32, 16 * math.ceil((4 * reach) / 16)) - 2 * reach
        self.rectangles: list[tuple[int, int, int]] = []
        self.once: dict[str, tuple[Tensor, ...]] = {}

    def __iter__(self) -> Iterator[TiledBlock]:
        self.rectangles = self._plan()
        reach = self.reach
        for first, rows, count in self.rectangles:
            cells, last = count + 2 * reach, first + rows
            met = slice(first, last + cells - 1)
            spans = self.biaffine.rectangle(
                *(self.starts[:, first:last], self.ends[:, met]),
                *(self.by_start[:, first:last], self.by_end[:, met], self.by_offset[:cells]),
            ).flatten(0, 2)  # (B·R·C, D̃)
            inside = self.inside[:, first:last, :cells].flatten()
            spare = -(spans.shape[0] - 2 * reach) % self.tile
            spans, inside = F.pad(spans, (0, 0, 0, spare)), F.pad(inside, (0, spare))
            yield TiledBlock(spans, spans[reach : spans.shape[0] - reach], inside, self.tile, self.once)

    def _plan(self) -> list[tuple[int, int, int]]:
        """`(first start, starts, widths)` of each rectangle: the triangle that a sentence's spans are is cut into
        rectangles of about `CELLS_PER_LAUNCH` cells, of which few lie outside."""
        batch, length, _ = self.starts.shape
        found, first = [], 0
        while first < length:
            count = min(self.limit, length - first)
            rows = min(length - first, -(-CELLS_PER_LAUNCH // (batch * count)))
            found.append((first, rows, count))
            first += rows
        return found

    def logits(self, scores: list[Tensor]) -> Tensor:
        """The scores of each block's wanted spans to `[B, L, W, n]`; cells outside the sentences without meaning."""
        batch, reach, bands = self.starts.shape[0], self.reach, []
        for found, (_, rows, count) in zip(scores, self.rectangles, strict=True):
            cells = batch * rows * (count + 2 * reach)
            found = F.pad(found, (0, 0, reach, reach))[:cells].unflatten(0, (batch, rows, count + 2 * reach))
            bands.append(F.pad(found[:, :, reach : reach + count], (0, 0, 0, self.limit - count)))
        return bands[0] if len(bands) == 1 else torch.cat(bands, 1)


@dataclass
class Plane:
    """All starts of padded sentences against all ends, or against those that a width limit leaves, as one block,
    which iterating yields: for every kind of tracing, its shapes being sums of L and constants; and for the mixer that
    needs them all.
    `spans` `[B, L, C, D̃]`, ω more at both edges; `inside` `[B, L | 1, C]`, whether the cell's end is in its sentence;
    `starts_real` `[B, L]`; `limit` widths are wanted; `limited`: column c is the end c - ω, or start + c - ω."""

    spans: Tensor
    inside: Tensor
    starts_real: Tensor
    limit: int
    reach: int
    limited: bool

    @classmethod
    def of(
        cls,
        biaffine: MultiHeadBiaffine,
        starts: Tensor,
        ends: Tensor,
        real: Tensor,
        limit: int,
        reach: int,
        widest: int,
    ) -> "Plane":
        """Arguments as in `PackedBand`; `widest`: the configured limit, 0 for none."""
        length = real.shape[1]
        by_start, by_end, by_width = biaffine.terms(starts, ends)
        matrices = biaffine.matrices(starts.flatten(0, 1)).unflatten(0, real.shape)  # (B, L, h, y, d)
        start = torch.arange(length, device=starts.device)[:, None]
        beyond = reach + widest

        def met(units: Tensor) -> Tensor:
            """`[B, L, …]` -> `[B, 1, C, …]` or `[B, L, C, …]`: what each start meets; 0 beside the sentence."""
            padded = F.pad(units, (*[0, 0] * (units.ndim - 2), reach, beyond))
            if not widest:
                return padded.unsqueeze(1)
            return padded[:, start + torch.arange(widest + 2 * reach, device=starts.device)]

        right = met(ends).unflatten(-1, (biaffine.heads, -1))
        if widest:
            spans = torch.einsum("bichy,bihyd->bichd", right, matrices)
        else:
            spans = torch.einsum("bjhy,bihyd->bijhd", right[:, 0], matrices)
        spans = spans.flatten(3) + by_start.unsqueeze(2) + met(by_end)
        column = torch.arange(spans.shape[2], device=starts.device) - reach  # (C)
        if by_width is not None:
            width = column.expand(length, -1) if widest else column - start
            spans = spans + by_width[width.clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH]
        return cls(spans, met(real.long()) > 0, real, limit, reach, bool(widest))

    @property
    def wanted(self) -> Tensor:
        return self.spans[:, :, self.reach : self.spans.shape[2] - self.reach]

    def attend(self, attention: "LocalAttention") -> Tensor:
        return attention.shifted(self.wanted, self.spans, self.inside)

    def __iter__(self) -> Iterator["Plane"]:
        yield self

    def logits(self, scores: list[Tensor]) -> Tensor:
        """`[B, L, C - 2ω, n]` to `[B, L, W, n]`; cells outside the sentences without meaning."""
        if self.limited:
            return scores[0][:, :, : self.limit]
        length = self.starts_real.shape[1]
        position = torch.arange(length, device=self.inside.device)
        end = position[:, None] + torch.arange(self.limit, device=self.inside.device)  # (L, W)
        return scores[0][:, position[:, None], end.clamp(max=length - 1)]
