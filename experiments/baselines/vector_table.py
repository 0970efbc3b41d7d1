"""Vectors of words and radicals as a layer: what training never saw is one row of them."""

import torch
from torch import Tensor, nn

from .lexicon import UNKNOWN, Lexicon


class VectorTable(nn.Embedding):
    """
    Vectors by row, which training goes on with: row 0 is padding, the row `UNKNOWN` stands for all that training never
    saw. In training any row is now and then that one, so that it learns too.

    Args:
        rows, size: of the table.
        unknown_rate: how often.
    """

    def __init__(self, rows: int, size: int, unknown_rate: float = 0.05):
        super().__init__(rows, size, padding_idx=0)
        self.unknown_rate = unknown_rate
        bound = (3 / size) ** 0.5  # a standard deviation of 1 / √size
        nn.init.uniform_(self.weight[UNKNOWN:], -bound, bound)

    def forward(self, rows: Tensor) -> Tensor:
        """`[…]` rows -> `[…, size]`."""
        if self.training:
            forgotten = torch.rand(rows.shape, device=rows.device) < self.unknown_rate
            rows = torch.where(forgotten & (rows > 0), UNKNOWN, rows)
        return super().forward(rows)


def word_table(lexicon: Lexicon, vectors: dict[int, list[float]]) -> VectorTable:
    """A lexicon's table with pretrained vectors in their rows, and their mean for unknown words. Without any, half of
    the words are unknown in training, as most are in other text."""
    if not vectors:
        return VectorTable(lexicon.rows, lexicon.size, unknown_rate=0.5)
    table, known = VectorTable(lexicon.rows, lexicon.size), torch.tensor(list(vectors.values()))
    with torch.no_grad():
        table.weight[list(vectors)] = known
        table.weight[UNKNOWN] = known.mean(0)
    return table
