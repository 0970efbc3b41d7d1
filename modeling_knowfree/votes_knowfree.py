"""What the units of a span, and those beside it, say of its labels (`config.unit_votes`).

Not in the paper. Eq 8 sees the first and the last unit of a span: of one with ten words eight have no say, and one cell
learns that it is gold where a tagger hears it ten times. For letters in shape comments see `modeling_knowfree`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration_knowfree import KnowFreeConfig


class UnitVotes(nn.Module):
    """The logit of span [i, j] and target label c gets mean(a_c·h_t for t in [i, j]) + b_c·h_{i-1} + e_c·h_{j+1}; what
    lies outside the sentence says nothing. All weights begin at 0, where the model is the paper's."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        # Of a unit inside the span, before it, after it.
        self.weight = nn.Parameter(torch.zeros(3, len(config.target_labels), config.encoder_config.hidden_size))

    def by_unit(self, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit states `[B, L, D]`, zero where there is no unit, to tables `[B, L + 1, N_tgt]`, by the unit before which
        a span starts or ends: sums of the units before; what the one before says; what the one after says."""
        votes = F.pad(F.linear(units, self.weight.flatten(0, 1)), (0, 0, 1, 1)).unflatten(2, (3, -1))
        votes = votes.to(torch.promote_types(votes.dtype, torch.float32))  # half precision is too coarse for sums
        inside, before, after = votes.unbind(2)
        return inside[:, :-1].cumsum(1), before[:, :-1], after[:, 1:]

    def forward(self, units: Tensor, limit: int) -> Tensor:
        """`[B, L, D]` to what is added to the logits of spans up to `limit` wide, `[B, L, W, N_tgt]`; cells beyond the
        sentence hold anything. In single precision at least."""
        batch, length, _ = units.shape
        sums, before, after = self.by_unit(units)
        widths = torch.arange(1, limit + 1, device=units.device)
        ends = (torch.arange(length, device=units.device)[:, None] + widths).clamp(max=length).flatten()
        # In place: a tensor of all spans is made twice.
        inside, outside = (
            table.index_select(1, ends).view(batch, length, limit, -1) for table in (sums, after)
        )  # (B, L, W, N_tgt) each
        inside.sub_(sums[:, :length, None]).div_(widths[:, None])
        return outside.add_(before[:, :length, None]).add_(inside)
