"""BIO tags of the units, learnt beside the spans (`config.tag_weight`). Not in the paper, and never predicted: they
teach the encoder which words belong together in a long span. For letters in shape comments see `modeling_knowfree`.
"""

import torch
from torch import Tensor, nn

from .configuration_knowfree import KnowFreeConfig


class UnitTags(nn.Linear):
    """Unit states to tags: N_tgt beginnings, N_tgt insides, and outside."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__(config.encoder_config.hidden_size, 2 * len(config.target_labels) + 1)

    def loss(self, units: Tensor, num_units: Tensor, span_labels: Tensor, span_weights: Tensor | None) -> Tensor:
        """
        The tags' cross-entropy, summed over the units of a sentence: `[B]`.

        Args:
            units: `[B, L, D]`.
            num_units, span_labels, span_weights: see the model's forward. Units in several spans are shared among their
                tags, a span that is half gold leaves the other half outside, and a unit in a span that is left out of
                the loss is left out.
        """
        scores = self(units)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).log_softmax(-1)  # (B, L, 2·N_tgt + 1)
        begins, inside, left_out = _gold(span_labels, span_weights, num_units, units.shape[1], len(self.bias) // 2)
        gold = torch.cat([begins, inside], -1).to(scores.dtype)
        covered = gold.sum(-1, keepdim=True)
        gold = torch.cat([gold / covered.clamp(min=1), (1 - covered).clamp(min=0)], -1)
        counted = (torch.arange(units.shape[1], device=units.device) < num_units[:, None]) & ~left_out  # (B, L)
        return -((gold * scores).sum(-1) * counted).sum(1)


def _gold(
    span_labels: Tensor, span_weights: Tensor | None, num_units: Tensor, length: int, labels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """How much of each label begins at a unit and goes on in it, `[B, L, N_tgt]` each, and the units in spans that are
    left out, `[B, L]`."""
    start, end, column = span_labels.unbind(-1)  # (B, S) each
    known = (start >= 0) & (start < num_units[:, None])
    end = end.minimum(num_units[:, None])  # a span that the encoder's limit cuts is inside to the last unit
    left_out, label = known & (column < 0), torch.where(column < 0, ~column, column)
    known, left_out = known & (column >= 0) & (label < labels), left_out & (label < labels)
    weight = known.float() if span_weights is None else known * span_weights
    start, end, label = start.clamp(min=0), end.clamp(0, length), label.clamp(0, labels - 1)

    def place(unit: Tensor, what: Tensor) -> Tensor:
        empty = what.new_zeros(len(what), (length + 1) * labels)
        return empty.scatter_add(1, unit.clamp(max=length) * labels + label, what).unflatten(1, (length + 1, labels))

    inside = (place(start + 1, weight) - place(end, weight)).cumsum(1)
    hidden = (place(start, left_out.float()) - place(end, left_out.float())).cumsum(1).sum(-1) > 0.5
    return place(start, weight)[:, :length], inside[:, :length], hidden[:, :length]
