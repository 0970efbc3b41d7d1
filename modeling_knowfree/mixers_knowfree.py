"""What lets neighbouring spans see each other (eqs 9 and 10), one class for each `config.span_mixer`.

A mixer is called with a block of a band and says what its `wanted` spans hear from their neighbours, or `None`; `reach`
is how far along the end index it looks, `None` for over the whole plane. For letters in shape comments see
`modeling_knowfree`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bands_knowfree import PackedBlock, Plane, TiledBlock
from .configuration_knowfree import KnowFreeConfig

# Numbers that fused attention wants a head to be a multiple of.
HEAD_MULTIPLE = {"cuda": 8}


class BandAttention(torch.autograd.Function):
    """
    Eq 10 between the 2ω+1 cells around each cell, channels first: a neighbour is a shift of the flat cell axis, so
    every step is one pass over contiguous memory, and neither a score matrix nor a gathered neighbour is ever built.
    Autograd would give each shifted slice a gradient tensor of its own; `backward` adds them up in place.

    Shapes: queries `[K, c, n]`, keys and values `[2, K, c, m]`, cell i of the queries having neighbours i, i + step, …,
    i + 2ω·step. `borders` names neighbours that are not in the sentence: pairs of the first cell and a mask
    `[2ω+1, cells]`. Returns `[K, c, n]`.
    """

    @staticmethod
    def forward(ctx, queries: Tensor, keys_values: Tensor, borders: list[tuple[int, Tensor]], shifts: int, step: int):
        near_keys, near_values = (_neighbours(part, shifts, step, queries.shape[-1]) for part in keys_values)
        scores = queries.new_empty(shifts, len(queries), queries.shape[-1])
        product = torch.empty_like(queries)
        for score, keys in zip(scores, near_keys, strict=True):
            torch.mul(_as_many(queries, keys), keys, out=_as_many(product, keys))
            torch.sum(product, 1, out=score)
        # The finite minimum: a cell with no neighbour in the sentence must not become NaN.
        for first, outside in borders:
            at_border = scores[..., first : first + outside.shape[-1]]
            at_border.masked_fill_(outside.unsqueeze(1), torch.finfo(scores.dtype).min)
        weights = scores.softmax(0)
        by_shift = weights.unsqueeze(2).unbind()
        mixed = by_shift[0] * near_values[0]
        for weight, values in zip(by_shift[1:], near_values[1:], strict=True):
            _as_many(mixed, values).addcmul_(_as_many(weight, values), values)
        ctx.save_for_backward(queries, keys_values, weights)
        ctx.step = step
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        queries, keys_values, weights = ctx.saved_tensors
        seen = len(weights), ctx.step, queries.shape[-1]
        grad_queries, grad_keys_values = torch.zeros_like(queries), torch.zeros_like(keys_values)
        near_keys, near_values = (_neighbours(part, *seen) for part in keys_values)
        near_grad_keys, near_grad_values = (_neighbours(part, *seen) for part in grad_keys_values)
        grad_weights, product = torch.zeros_like(weights), torch.empty_like(queries)
        parts = zip(weights.unsqueeze(2), grad_weights, near_values, near_grad_values, strict=True)
        for weight, grad_weight, values, grad_values in parts:
            grad_here, product_here = _as_many(grad, values), _as_many(product, values)
            torch.mul(grad_here, values, out=product_here)
            torch.sum(product_here, 1, out=_as_many(grad_weight, values))
            grad_values.addcmul_(_as_many(weight, values), grad_here)
        grad_scores = grad_weights.sub_((weights * grad_weights).sum(0)).mul_(weights).unsqueeze(2)  # softmax
        for grad_score, keys, grad_keys in zip(grad_scores, near_keys, near_grad_keys, strict=True):
            grad_score = _as_many(grad_score, keys)
            _as_many(grad_queries, keys).addcmul_(grad_score, keys)
            grad_keys.addcmul_(grad_score, _as_many(queries, keys))
        return grad_queries, grad_keys_values, None, None, None


# `narrow` costs less than an index, and a block has some hundred slices: 2 % of a training step's head.
def _neighbours(cells: Tensor, shifts: int, step: int, count: int) -> list[Tensor]:
    """`cells[…, s·step : s·step + count]` for each shift s of the 2ω+1; shorter where the cells end: what would lie
    beyond is in no sentence."""
    firsts = [min(shift * step, cells.shape[-1]) for shift in range(shifts)]
    return [cells.narrow(-1, first, min(count, cells.shape[-1] - first)) for first in firsts]


def _as_many(cells: Tensor, beside: Tensor) -> Tensor:
    """The first cells, as many as `beside` has."""
    here = beside.shape[-1]
    return cells if cells.shape[-1] == here else cells.narrow(-1, 0, here)


class NoMixer(nn.Module):
    """Plain biaffine NER: no span hears from another."""

    reach = 0

    def __init__(self, config: KnowFreeConfig):
        super().__init__()

    def forward(self, block: PackedBlock | TiledBlock | Plane) -> None:
        return None


class LocalAttention(nn.Module):
    """Eqs 9-10: multi-head self-attention along the end index, each start by itself, over the 2ω+1 nearest ends; and
    the sum under the norm of eq 11."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        self.heads, self.reach = config.attention_heads, config.attention_window
        self.adds_spans = config.formulation == "paper"
        self.query = nn.Linear(config.span_size, config.span_size)
        self.key = nn.Linear(config.span_size, config.span_size, bias=False)  # softmax would cancel it
        self.value = nn.Linear(config.span_size, config.span_size)
        self.output = nn.Linear(config.span_size, config.span_size)

    def forward(self, block: PackedBlock | TiledBlock | Plane) -> Tensor:
        mixed = block.attend(self)
        return mixed.add_(block.wanted) if self.adds_spans else mixed

    def output_bias(self) -> Tensor:
        """The output's bias `[D̃]` and what it makes of the value's: weights sum to 1, so that one comes through
        unchanged, and is added here to vectors, not to cells."""
        return F.linear(self.value.bias, self.output.weight, self.output.bias)

    def packed(self, wanted: Tensor, spans: Tensor, borders: list[tuple[int, Tensor]]) -> Tensor:
        """See `PackedBlock`: what `wanted` attend to `[width·R, D̃]`; C ≤ width + 2ω, and neighbours beyond C are among
        `borders`."""
        rows, size = spans.shape[1:]
        by_head = (self.heads, size // self.heads)
        scale = by_head[1] ** -0.5
        queries = torch.addmm(scale * self.query.bias[:, None], scale * self.query.weight, wanted.t())  # (D̃, width·R)
        keys_values = torch.cat([self.key.weight, self.value.weight]) @ spans.view(-1, size).t()  # (2·D̃, C·R)
        queries, keys_values = queries.unflatten(0, by_head), keys_values.unflatten(0, (2, *by_head))
        mixed = BandAttention.apply(queries, keys_values, borders, 2 * self.reach + 1, rows)
        return F.linear(mixed.flatten(0, 1).t(), self.output.weight, self.output_bias())

    def tile_tensors(self, tile: int) -> tuple[Tensor, ...]:
        """What `tiled` needs of weights and masks: q, k and v in one matrix, and its bias; the output's, and its bias;
        which keys of a tile a query may see, and which is itself."""
        size = len(self.output.weight) // self.heads
        # Fused attention wants heads of a multiple of so many numbers: the weights are padded, so no cell is.
        spare = -size % HEAD_MULTIPLE.get(self.output.weight.device.type, 1)
        together = torch.cat([self.query.weight, self.key.weight, self.value.weight])
        output, bias = self.output.weight, F.pad(self.query.bias, (0, 2 * len(self.query.bias)))
        if spare:
            together = F.pad(together.unflatten(0, (-1, size)), (0, 0, 0, spare)).flatten(0, 1)
            bias = F.pad(bias.view(-1, size), (0, spare)).flatten()
            output = F.pad(output.unflatten(1, (self.heads, size)), (0, spare)).flatten(1)
        key_at = torch.arange(tile + 2 * self.reach, device=bias.device)
        distance = key_at - self.reach - torch.arange(tile, device=bias.device)[:, None]  # (tile, keys)
        return together, bias, output, self.output_bias(), distance.abs() <= self.reach, distance == 0

    def tiled(
        self,
        spans: Tensor,
        inside: Tensor,
        tile: int,
        together: Tensor,
        bias: Tensor,
        output: Tensor,
        output_bias: Tensor,
        close: Tensor,
        itself: Tensor,
    ) -> Tensor:
        """See `TiledBlock`: what all but the first and last ω of `spans` attend to `[M - 2ω, D̃]`, by tiles of queries
        against their keys and ω more on both sides; the rest is `tile_tensors`."""
        keys, scale = close.shape[1], (spans.shape[1] // self.heads) ** -0.5
        near = F.linear(spans, together, bias).unfold(0, keys, tile)  # (n, 3·K·e, keys)
        near = near.unflatten(1, (3, self.heads, -1)).movedim(4, 3)  # (n, 3, K, keys, e)
        queries = near[:, 0, :, self.reach : self.reach + tile]
        # Every cell sees itself, so that one outside the sentence, which nobody asks for, does not become NaN.
        seen = close & inside.unfold(0, keys, tile)[:, None, None, :] | itself
        mixed = F.scaled_dot_product_attention(queries, near[:, 1], near[:, 2], seen, scale=scale)
        return F.linear(mixed.transpose(1, 2).flatten(2).flatten(0, 1), output, output_bias)

    def shifted(self, wanted: Tensor, spans: Tensor, inside: Tensor) -> Tensor:
        """See `Plane`: what `wanted` `[B, L, C - 2ω, D̃]` attend to, neighbour by neighbour: sums that a compiler fuses,
        and slices whose bounds are constants beside C."""
        by_head = (self.heads, wanted.shape[-1] // self.heads)
        count, lowest = wanted.shape[2], torch.finfo(spans.dtype).min
        queries = (self.query(wanted) * by_head[1] ** -0.5).unflatten(3, by_head)  # (B, L, C - 2ω, K, e)
        keys, values = self.key(spans).unflatten(3, by_head), F.linear(spans, self.value.weight).unflatten(3, by_head)
        shifts = [slice(shift, shift + count) for shift in range(2 * self.reach + 1)]
        scores = [(queries * keys[:, :, at]).sum(-1) for at in shifts]  # (B, L, C - 2ω, K) each
        # The finite minimum: a cell with no neighbour in the sentence must not become NaN.
        scores = [score.masked_fill(~inside[:, :, at, None], lowest) for score, at in zip(scores, shifts, strict=True)]
        weights = torch.stack(scores).softmax(0).unsqueeze(-1).unbind()
        mixed = sum(weight * values[:, :, at] for weight, at in zip(weights, shifts, strict=True))
        return F.linear(mixed.flatten(3), self.output.weight, self.output_bias())


class MaskedCNN(nn.Module):
    """The ablation of `span_mixer="cnn"`: blocks of 3x3 convolution over the (start, end) plane, padding held at 0
    (Yan et al. 2023). Dense in L, and exempt from the band."""

    reach = None

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        size = config.span_size
        self.convolutions = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1) for _ in range(config.cnn_depth))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(config.cnn_depth))

    def forward(self, block: Plane) -> Tensor:
        """`[B, L, L, D̃]`."""
        spans, inside = block.spans, (block.starts_real.unsqueeze(2) & block.inside).unsqueeze(-1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            spans = spans * inside
            mixed = convolution(spans.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            spans = F.gelu(norm(spans + mixed))
        return spans


# span_mixer -> the attribute that holds it, which names its weights in checkpoints, and its class
MIXERS: dict[str, tuple[str, type[nn.Module]]] = {
    "local_attention": ("attention", LocalAttention),
    "cnn": ("cnn", MaskedCNN),
    "none": ("no_mixer", NoMixer),
}
