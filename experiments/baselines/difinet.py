"""DiFiNet: boundary-aware semantic differentiation and filtration over the span matrix (Cai et al., ACL 2024).

The paper's parts: a biaffine span matrix; *self-adaptive semantic differentiation*, convolutions that answer to how a
span differs from those whose boundary lies one unit beside its own; *boundary filtration*, which sees the matrix at a
coarser grain, where single noisy cells weigh little; scores from both beside the matrix itself.

Shapes: B sentences, L units, D' side, c span features, N labels.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.rows import Row
from modeling_knowfree.decoding_knowfree import Span, find_hits
from modeling_knowfree.training.start import set_start_bias

from .tagger import Tagger, biaffine, exact, real_units

BY_END, BY_START = (1, 3), (3, 1)  # kernels: over neighbouring ends of one start, over neighbouring starts of one end


class DiFiNet(Tagger):
    """
    Args:
        side_size: D', of start and end representations.
        span_size: c.
    """

    def __init__(self, config: KnowFreeConfig, side_size: int = 200, span_size: int = 120):
        super().__init__(config)
        self.sizes = {"side_size": side_size, "span_size": span_size}
        size = config.encoder_config.hidden_size
        self.start, self.end = nn.Linear(size, side_size), nn.Linear(size, side_size)
        self.bilinear = nn.Parameter(torch.empty(span_size, side_size, side_size))
        nn.init.xavier_normal_(self.bilinear)
        self.linear = nn.Linear(2 * side_size, span_size)
        self.differentiation = Differentiation(span_size)
        self.filtration = Filtration(span_size)
        self.merge = nn.Linear(2 * span_size, span_size)
        self.norm = nn.LayerNorm(span_size)
        self.classifier = nn.Linear(span_size, len(config.target_labels))

    def set_start(self, rows: Sequence[Row], start_bias: str) -> None:
        """See `Tagger`."""
        set_start_bias(self, rows, start_bias)

    def settings(self) -> dict[str, Any]:
        return self.sizes

    def sides(self, feature: dict[str, Any]) -> tuple[int]:
        return (feature["num_units"],)

    def span_logits(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, L, L, N]`, entry (i, j) is the span `[i, j + 1)`."""
        units = self.unit_states(batch)
        real = real_units(batch, units)
        spans = self.span_matrix(units)  # (B, L, L, c)
        position = torch.arange(units.shape[1], device=units.device)
        inside = real[:, :, None] & real[:, None, :] & (position[:, None] <= position)  # (B, L, L)
        mask = inside.unsqueeze(1)  # (B, 1, L, L)
        plane = spans.permute(0, 3, 1, 2) * mask  # (B, c, L, L)
        refined = torch.cat([self.differentiation(plane, mask), self.filtration(plane, mask)], 1).permute(0, 2, 3, 1)
        return self.classifier(self.dropout(spans + F.gelu(self.norm(self.merge(refined)))))

    def span_matrix(self, units: Tensor) -> Tensor:
        """The biaffine `h_iᵀ U h_j + W[h_i; h_j] + b`: `[B, L, D]` -> `[B, L, L, c]`."""
        starts = self.dropout(F.leaky_relu(self.start(units)))
        ends = self.dropout(F.leaky_relu(self.end(units)))
        return biaffine(starts, ends, self.bilinear, self.linear)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Binary cross-entropy of every span of the sentence against every label, summed."""
        logits = exact(band(self.span_logits(batch), batch["num_units"]))
        start, end, column = batch["span_labels"].unbind(-1)  # (B, S) each
        sentence = torch.arange(len(logits), device=logits.device)[:, None]
        real = start >= 0
        at_gold = logits[sentence, start.clamp(min=0), (end - start - 1).clamp(min=0), column.clamp(min=0)]
        return F.softplus(logits).sum((1, 2, 3)) - (at_gold * real).sum(-1)

    def find(self, batch: dict[str, Tensor]) -> list[list[Span]]:
        return find_hits(exact(band(self.span_logits(batch), batch["num_units"])), self.config.threshold)


class Differentiation(nn.Module):
    """Two passes of difference convolutions, once toward neighbouring ends, once toward neighbouring starts, each with
    a residual; then both directions become one."""

    def __init__(self, size: int):
        super().__init__()
        self.by_end = nn.ModuleList(DifferenceConvolution(size, BY_END) for _ in range(2))
        self.by_start = nn.ModuleList(DifferenceConvolution(size, BY_START) for _ in range(2))
        self.join = nn.Conv2d(2 * size, size, 1)

    def forward(self, plane: Tensor, mask: Tensor) -> Tensor:
        """`[B, c, L, L]`, zero where `mask` `[B, 1, L, L]` is false -> the same shape."""
        found = []
        for layers in (self.by_end, self.by_start):
            spans = plane
            for layer in layers:
                spans = (spans + F.gelu(layer(spans))) * mask
            found.append(spans)
        return self.join(torch.cat(found, 1)) * mask


class DifferenceConvolution(nn.Module):
    """`y(p) = Σ_q w(q) · (x(p + q) - θ · x(p))`, then a layer norm over channels: with θ = 0 a convolution, with θ = 1
    one of differences to the cell itself. θ is learnt for each channel (self-adaptive)."""

    def __init__(self, size: int, kernel: tuple[int, int]):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.convolution = nn.Conv2d(size, size, kernel, padding=padding, bias=False)
        self.gate = nn.Parameter(torch.zeros(size))  # θ = sigmoid(gate)
        self.norm = nn.LayerNorm(size)

    def forward(self, plane: Tensor) -> Tensor:
        """`[B, c, L, L]` -> the same shape."""
        own = F.conv2d(plane, self.convolution.weight.sum((2, 3), keepdim=True))
        found = self.convolution(plane) - self.gate.sigmoid().view(-1, 1, 1) * own
        return self.norm(found.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Filtration(nn.Module):
    """The matrix at half its grain and back: a strided convolution, norm, GELU, nearest-neighbour enlargement, a
    convolution. What stands in one cell alone is averaged away, what neighbouring spans share comes through."""

    def __init__(self, size: int):
        super().__init__()
        self.coarse = nn.Conv2d(size, size, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(size)
        self.fine = nn.Conv2d(size, size, 3, padding=1)

    def forward(self, plane: Tensor, mask: Tensor) -> Tensor:
        """`[B, c, L, L]`, zero where `mask` `[B, 1, L, L]` is false -> the same shape."""
        coarse = F.gelu(self.norm(self.coarse(plane).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        coarse = coarse * mask[..., ::2, ::2]
        enlarged = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)  # a cell's place never depends on L
        return self.fine(enlarged[..., : plane.shape[2], : plane.shape[3]] * mask) * mask


def band(matrix: Tensor, num_units: Tensor) -> Tensor:
    """`[B, L, L, N]` by start and last unit to the band layout of `find_hits`: entry (i, d) is `[i, i + 1 + d)`."""
    length = matrix.shape[1]
    position = torch.arange(length, device=matrix.device)
    last = position[:, None] + position  # (L, W)
    inside = last < num_units[:, None, None]  # (B, L, W)
    moved = matrix[:, position[:, None], last.clamp(max=length - 1)]
    return moved.masked_fill(~inside.unsqueeze(-1), torch.finfo(matrix.dtype).min)
