"""BIO tags of the units, learnt beside the spans (`config.tag_weight`, `config.extension_tag_weight`). Not in the
paper, and never predicted: they teach the encoder which words belong together in a long span, and where words begin and
end. For letters in shape comments see `modeling_knowfree`.
"""

import torch
from torch import Tensor, nn

from .configuration_knowfree import KnowFreeConfig

WORD_KINDS = ("POS", "SEG")
"""Extension labels whose spans are words: each unit is in one at most."""


def word_columns(config: KnowFreeConfig) -> dict[str, list[int]]:
    """The columns of the extension labels of each of `WORD_KINDS` that the model has."""
    labels, first = config.extension_labels, len(config.target_labels)
    found = {
        kind: [at for at, label in enumerate(labels, first) if label.startswith(f"{kind}:")] for kind in WORD_KINDS
    }
    return {kind: columns for kind, columns in found.items() if columns}


class UnitTags(nn.Linear):
    """Unit states to the tags of n labels: n beginnings, n insides, and outside.

    Args:
        size: D.
        columns: of the labels, as the model counts them; n of them.
    """

    def __init__(self, size: int, columns: list[int]):
        super().__init__(size, 2 * len(columns) + 1)
        self.columns = columns

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
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).log_softmax(-1)  # (B, L, 2n + 1)
        begins, inside, left_out = _gold(
            self._own(span_labels), span_weights, num_units, units.shape[1], len(self.columns)
        )
        gold = torch.cat([begins, inside], -1).to(scores.dtype)
        covered = gold.sum(-1, keepdim=True)
        gold = torch.cat([gold / covered.clamp(min=1), (1 - covered).clamp(min=0)], -1)
        counted = (torch.arange(units.shape[1], device=units.device) < num_units[:, None]) & ~left_out  # (B, L)
        return -((gold * scores).sum(-1) * counted).sum(1)

    def _own(self, span_labels: Tensor) -> Tensor:
        """`span_labels` `[B, S, 3]` with labels counted among `columns`; spans of others become padding."""
        start, end, column = span_labels.unbind(-1)
        left_out, label = column < 0, torch.where(column < 0, ~column, column)
        own = label[..., None] == torch.tensor(self.columns, device=label.device)  # (B, S, n)
        counted = own.int().argmax(-1)
        counted = torch.where(left_out, ~counted, counted)
        mine = own.any(-1) & (start >= 0)
        return torch.where(mine[..., None], torch.stack([start, end, counted], -1), -100)


def _gold(
    span_labels: Tensor, span_weights: Tensor | None, num_units: Tensor, length: int, labels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """How much of each of n `labels` begins at a unit and goes on in it, `[B, L, n]` each, and the units in spans that
    are left out, `[B, L]`."""
    start, end, column = span_labels.unbind(-1)  # (B, S) each
    known = (start >= 0) & (start < num_units[:, None])
    end = end.minimum(num_units[:, None])  # a span that the encoder's limit cuts is inside to the last unit
    left_out, label = known & (column < 0), torch.where(column < 0, ~column, column)
    known = known & (column >= 0)
    weight = known.float() if span_weights is None else known * span_weights
    start, end, label = start.clamp(min=0), end.clamp(0, length), label.clamp(0, labels - 1)

    def place(unit: Tensor, what: Tensor) -> Tensor:
        empty = what.new_zeros(len(what), (length + 1) * labels)
        return empty.scatter_add(1, unit.clamp(max=length) * labels + label, what).unflatten(1, (length + 1, labels))

    inside = (place(start + 1, weight) - place(end, weight)).cumsum(1)
    hidden = (place(start, left_out.float()) - place(end, left_out.float())).cumsum(1).sum(-1) > 0.5
    return place(start, weight)[:, :length], inside[:, :length], hidden[:, :length]
