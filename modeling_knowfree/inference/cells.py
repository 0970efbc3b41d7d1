"""The head over a list of span cells, as `export` traces it: what is scored is an input, so no cell outside the
sentences or below the diagonal is, but the ω neighbours that local attention hears. Letters in shape comments as in
`modeling_knowfree`; M cells, T = `TILE`, E = D̃ / K numbers of one head of attention.

`onnx_tagger.plan_cells` makes the lists with numpy. The cells stand row after row, so that a neighbour along the end
index is a neighbour in the list, with ω cells that nobody asks for before and after M - 2ω, a multiple of T.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bands_knowfree import MAX_WIDTH, MIN_WIDTH, MultiHeadBiaffine
from ..mixers_knowfree import LocalAttention
from ..modeling_knowfree import KnowFreeForTokenClassification, pool_pieces
from ..votes_knowfree import UnitVotes

TILE = 16  # queries that attend together


class CellScores(nn.Module):
    """The forward of a model over cells, eqs 7-12."""

    def __init__(self, model: KnowFreeForTokenClassification):
        super().__init__()
        self.model = model
        mixer = model.mixer
        self.attention = TiledAttention(mixer) if isinstance(mixer, LocalAttention) else None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        unit_ids: Tensor,
        block_starts: Tensor,
        block_ends: Tensor,
        cells: Tensor,
    ) -> Tensor:
        """
        Args:
            input_ids, attention_mask, unit_ids: `[B, P]`, as in the model's forward; all others count units b·P + u.
            block_starts: `[N, R]`, units from which spans start.
            block_ends: `[N, C]`, units at which those of the same block may end: a block multiplies each with each.
            cells: `[M, 5]`, block, row and column in it, and their units. Of a model whose mixer needs the whole plane,
                a block is a whole sentence, R = C = L.

        Returns:
            Logits of target labels, `[M - 2ω, n]`: of all cells but the first and last ω.
        """
        model = self.model
        pieces = model.knowfree.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        units = pool_pieces(pieces, unit_ids, model.config.pooling)  # (B, P, D)
        columns = len(model.config.target_labels)
        if model.mixer.reach is None:
            band = model.score(units[:, : block_starts.shape[1]], unit_ids.amax(1) + 1, columns)  # (B, L, W, n)
            sentence, start, end, _, _ = cells.unbind(1)
            at = (sentence * band.shape[1] + start) * band.shape[2] + end - start
            return F.embedding(at, band.flatten(0, 2))
        votes = None if model.votes is None else voted(model.votes, units, cells)  # (M, n)
        reach: int = model.mixer.reach  # type: ignore[assignment]
        units = units.flatten(0, 1)  # (B·P, D)
        starts, ends = F.leaky_relu(model.start_mlp(units)), F.leaky_relu(model.end_mlp(units))  # (B·P, D')
        spans = biaffine_cells(model.biaffine, starts, ends, block_starts, block_ends, cells)  # (M, D̃)
        if self.attention is not None:
            heard = self.attention(spans, cells[:, 3], cells[:, 4])  # (M - 2ω, D̃)
            spans = spans[reach : spans.shape[0] - reach]
            spans = spans + model.norm(heard + spans if self.attention.adds_spans else heard)
        logits = F.linear(spans, model.classifier.weight[:columns], model.classifier.bias[:columns])
        return logits if votes is None else logits + votes[reach : votes.shape[0] - reach]


def voted(votes: UnitVotes, units: Tensor, cells: Tensor) -> Tensor:
    """What `votes` says of `cells` `[M, 5]`: `[M, n]`; `units` `[B, P, D]`."""
    length = units.shape[1]
    start, last = cells[:, 3], cells[:, 4]
    # The tables have a row more a sentence than it has units.
    start, end = start + start // length, last + last // length + 1
    sums, before, after = (table.flatten(0, 1) for table in votes.by_unit(units))
    mean = (F.embedding(end, sums) - F.embedding(start, sums)) / (end - start).clamp(min=1).unsqueeze(1)
    return mean + F.embedding(start, before) + F.embedding(end, after)


def biaffine_cells(
    biaffine: MultiHeadBiaffine, starts: Tensor, ends: Tensor, block_starts: Tensor, block_ends: Tensor, cells: Tensor
) -> Tensor:
    """Eq 8 for `cells` `[M, 5]`: `[M, D̃]`; `starts` and `ends` `[B·P, D']`. One product of matrices makes a block:
    its ends by what its starts make of the weight, all of them side by side."""
    heads = biaffine.heads
    block, row, column, start, end = cells.unbind(1)
    blocks, rows = block_starts.shape
    columns = block_ends.shape[1]
    left = F.embedding(block_starts.flatten(), starts).unflatten(1, (heads, -1)).transpose(0, 1)  # (h, N·R, x)
    size = left.shape[2]
    matrices = left @ biaffine.weight.permute(0, 2, 3, 1).flatten(2)  # (h, N·R, y·d)
    matrices = matrices.view(heads, blocks, rows, size, -1).permute(1, 0, 3, 2, 4).flatten(3)  # (N, h, y, R·d)
    right = F.embedding(block_ends, ends).unflatten(2, (heads, -1)).transpose(1, 2)  # (N, h, C, y)
    products = (right @ matrices).view(blocks * heads * columns * rows, -1)  # (N·h·C·R, d)
    head = torch.arange(heads, device=cells.device)
    at = ((block[:, None] * heads + head) * columns + column[:, None]) * rows + row[:, None]  # (M, h)
    by_start, by_end, by_width = biaffine.terms(starts, ends)
    spans = F.embedding(at, products).flatten(1) + F.embedding(start, by_start) + F.embedding(end, by_end)
    if by_width is not None:
        spans = spans + F.embedding((end - start).clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH, by_width)
    return spans


class TiledAttention(nn.Module):
    """Eq 10 as products of matrices: T queries of the list against their keys, ω more on both sides."""

    def __init__(self, attention: LocalAttention):
        super().__init__()
        self.heads, self.reach, self.adds_spans = attention.heads, attention.reach, attention.adds_spans
        scale = (len(attention.output.weight) // self.heads) ** -0.5
        self.query = _linear(scale * attention.query.weight, scale * attention.query.bias)
        self.key, self.value = _linear(attention.key.weight), _linear(attention.value.weight)
        self.output = _linear(attention.output.weight, attention.output_bias())

    def forward(self, spans: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """`spans` `[M, D̃]`, their `start` and last units `[M]`: what all but the first and last ω hear, `[M - 2ω, D̃]`.
        A neighbour is heard if it has the same start and an end as far away as its place in the list is."""
        reach, device = self.reach, spans.device
        tiles = (spans.shape[0] - 2 * reach) // TILE
        first = TILE * torch.arange(tiles, device=device)[:, None]
        asking = first + reach + torch.arange(TILE, device=device)  # (t, T)
        heard = first + torch.arange(TILE + 2 * reach, device=device)  # (t, T + 2ω)
        distance = torch.arange(TILE + 2 * reach, device=device) - reach - torch.arange(TILE, device=device)[:, None]
        (start_asking, start_heard), (end_asking, end_heard) = (
            (F.embedding(asking, unit[:, None]), F.embedding(heard, unit[:, None]).transpose(1, 2))
            for unit in (start, end)
        )  # (t, T, 1), (t, 1, T + 2ω)
        seen = (start_asking == start_heard) & (end_heard - end_asking == distance) & (distance.abs() <= reach)
        bias = torch.where(seen, 0.0, torch.finfo(spans.dtype).min).unsqueeze(1)  # (t, 1, T, T + 2ω)
        queries = self._by_head(self.query(spans), asking)
        keys, values = self._by_head(self.key(spans), heard), self._by_head(self.value(spans), heard)
        weights = (queries @ keys.transpose(2, 3) + bias).softmax(-1)  # (t, K, T, T + 2ω)
        mixed = (weights @ values).transpose(1, 2).reshape(tiles * TILE, -1)
        return self.output(mixed)

    def _by_head(self, cells: Tensor, at: Tensor) -> Tensor:
        """`[M, D̃]` at the places `[t, c]`: `[t, K, c, E]`."""
        head = torch.arange(self.heads, device=cells.device)[:, None]
        return F.embedding(at.unsqueeze(1) * self.heads + head, cells.view(-1, cells.shape[1] // self.heads))


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer
