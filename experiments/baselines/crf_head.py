"""BIO tags under a linear-chain CRF, as output layer of the networks that tag units."""

from typing import Any

import torch
from torch import Tensor, nn

from modeling_knowfree.data.formats.schemes import spans_of_tags
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.decoding_knowfree import Span

from .tagger import Tagger, exact, real_units

FORBIDDEN = -1e4  # a log score beside which no emission counts
FLAT_ONLY = "BIO tags hold no nested or crossing spans and no second label: the outermost span is learnt"


def tag_transitions(labels: int) -> Any:
    """
    A `torchcrf.CRF`, batch first, over the tags O, then B and I of each label. I follows B or I of its own label alone,
    in training and decoding: the scores of other ways into it have no gradient and stay `FORBIDDEN`.

    Raises:
        InputError: `pytorch-crf` is not installed.
    """
    try:
        from torchcrf import CRF
    except ImportError as error:
        raise InputError("a CRF needs pytorch-crf; mend: pip install --no-deps pytorch-crf") from error
    crf = CRF(1 + 2 * labels, batch_first=True)
    tags = torch.arange(crf.num_tags)
    inside = (tags > 0) & (tags % 2 == 0)
    follows = (tags == tags[:, None]) | (tags == tags[:, None] + 1)  # (from, to)
    with torch.no_grad():
        crf.start_transitions[inside] = FORBIDDEN
        crf.transitions[inside & ~follows] = FORBIDDEN
    return crf


class CrfHead(nn.Module):
    """
    A linear layer from unit states to tag scores, and `tag_transitions` between the tags of neighbouring units.

    Raises:
        InputError: `pytorch-crf` is not installed.
    """

    def __init__(self, size: int, labels: int):
        super().__init__()
        self.emission = nn.Linear(size, 1 + 2 * labels)
        self.crf = tag_transitions(labels)

    def loss(self, states: Tensor, real: Tensor, span_labels: Tensor) -> Tensor:
        """Negative log likelihood of each sentence's tags, `[B]`, summed over units. States `[B, L, D]`, which of the
        units are no padding `[B, L]`, gold without overlap `[B, S, 3]`."""
        tags = tags_of(span_labels, states.shape[1])
        return -self.crf(exact(self.emission(states)), tags, real, reduction="none")

    def find(self, states: Tensor, real: Tensor) -> list[list[Span]]:
        """The spans of the best tags (Viterbi), all of score 1."""
        found = []
        for columns in self.crf.decode(exact(self.emission(states)), real):
            tags = ["O" if column == 0 else f"{'IB'[column % 2]}-{(column - 1) // 2}" for column in columns]
            found.append([Span(s["start"], s["end"], int(s["label"]), 1.0) for s in spans_of_tags(tags)])
        return found


class CrfNetwork(Tagger):
    """A `Tagger` that reads BIO tags under a CRF, `tags`, from what `states` makes of a batch."""

    flat = True
    cannot = FLAT_ONLY
    tags: CrfHead

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, L, size of self.tags]`."""
        raise NotImplementedError

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        states = self.states(batch)
        return self.tags.loss(states, real_units(batch, states), batch["span_labels"])

    def find(self, batch: dict[str, Tensor]) -> list[list[Span]]:
        states = self.states(batch)
        return self.tags.find(states, real_units(batch, states))


def tags_of(span_labels: Tensor, length: int) -> Tensor:
    """Gold spans `[B, S, 3]`, padded with -100, to tag columns `[B, L]`."""
    tags = torch.zeros(len(span_labels), length, dtype=torch.long)
    for sentence, spans in enumerate(span_labels.tolist()):
        for start, end, column in spans:
            if start >= 0:
                tags[sentence, start] = 1 + 2 * column
                tags[sentence, start + 1 : end] = 2 + 2 * column
    return tags.to(span_labels.device)
