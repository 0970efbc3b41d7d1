"""A lattice of characters and words, and attention between its nodes by where they begin and end (Li et al., ACL 2020).

Shapes: B sentences, T nodes (the L units, then the M words), H size, K heads, c = H / K.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def lattice_spans(batch: dict[str, Tensor], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """First and last unit of every node, `[B, T]`, and which nodes are no padding, `[B, T]`."""
    words, count = batch["words"], batch["num_units"]
    unit = torch.arange(length, device=words.device).expand(len(words), -1)
    first = torch.cat([unit, batch["word_starts"]], 1)
    last = torch.cat([unit, (batch["word_ends"] - 1).clamp(min=0)], 1)
    return first, last, torch.cat([unit < count[:, None], words > 0], 1)


def lattice_sides(feature: dict[str, Any]) -> tuple[int, int]:
    """L and M of a sentence, see `Tagger.sides`."""
    return feature["num_units"], len(feature["words"])


class LatticePositions(nn.Module):
    """`R_ij = ReLU(W_r [p(h_i - h_j); p(h_i - t_j); p(t_i - h_j); p(t_i - t_j)])`, head h and tail t of the nodes, p
    sinusoidal (eqs 4-8)."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.weight = nn.Linear(4 * size, size)

    def forward(self, first: Tensor, last: Tensor) -> Tensor:
        """`[B, T]` twice -> `[B, T, T, H]`."""
        reach = int(last.max()) + 1
        distances = torch.arange(-reach, reach + 1, device=first.device)
        table = sinusoids(distances, self.size).to(self.weight.weight.dtype)  # (2·reach + 1, H)
        found: Tensor = self.weight.bias
        parts = self.weight.weight.split(self.size, 1)
        pairs = ((first, first), (first, last), (last, first), (last, last))
        for part, (mine, theirs) in zip(parts, pairs, strict=True):
            apart = mine[:, :, None] - theirs[:, None, :] + reach
            found = found + F.embedding(apart, table @ part.t())
        return F.relu(found)


def sinusoids(distances: Tensor, size: int) -> Tensor:
    """`p(d)` with `p_2k = sin(d / 10000^(2k / H))`, `p_2k+1 = cos(…)`: `[n]` -> `[n, H]`."""
    rate = torch.exp(torch.arange(0, size, 2, device=distances.device) * (-math.log(10000.0) / size))
    angle = distances[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :size]


class LatticeAttention(nn.Module):
    """`A_ij = (q_i + u)·k_j + (q_i + v)·W_R R_ij`, then `softmax(A) V` (eqs 9-11); keys and values may come from
    another stream than the queries."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.place = nn.Linear(size, size, bias=False)
        self.u, self.v = (nn.Parameter(torch.empty(heads, size // heads)) for _ in range(2))
        nn.init.xavier_uniform_(self.u)
        nn.init.xavier_uniform_(self.v)

    def forward(
        self, asking: Tensor, asked: Tensor, places: Tensor, real: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """`asking`, `asked` `[B, T, H]`, `places` `[B, T, T, H]`, `real` `[B, T]`, `bias` `[T, T]` -> `[B, T, H]`."""
        by_head = (self.heads, -1)
        query, key, value = (
            layer(nodes).unflatten(-1, by_head)
            for layer, nodes in ((self.query, asking), (self.key, asked), (self.value, asked))
        )  # (B, T, K, c)
        scores = torch.einsum("bikc,bjkc->bkij", query + self.u, key)
        # (q + v)·(W R) = ((q + v) W)·R: no [B, T, T, K, c] is ever built.
        turned = torch.einsum("bikc,kch->bikh", query + self.v, self.place.weight.unflatten(0, by_head))
        scores = scores + torch.einsum("bikh,bijh->bkij", turned, places)
        if bias is not None:
            scores = scores + bias
        scores = scores.masked_fill(~real[:, None, None, :], torch.finfo(scores.dtype).min)
        return torch.einsum("bkij,bjkc->bikc", scores.softmax(-1), value).flatten(2)


class LatticeLayer(nn.Module):
    """Attention and a feed-forward network, each with residual and layer norm."""

    def __init__(self, size: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention = LatticeAttention(size, heads)
        self.attention_norm, self.norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.widen, self.narrow = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, asking: Tensor, asked: Tensor, places: Tensor, real: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """As `LatticeAttention.forward`; the residual is `asked`'s."""
        nodes = self.attention_norm(asked + self.dropout(self.attention(asking, asked, places, real, bias)))
        return self.norm(nodes + self.dropout(self.narrow(F.relu(self.widen(nodes)))))
