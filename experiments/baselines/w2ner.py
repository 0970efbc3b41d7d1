"""W²NER: relations between all pairs of words (Li et al., AAAI 2022, "Unified Named Entity Recognition as Word-Word
Relation Classification"). Discontinuous spans are off: the spans of our data are `[start, end)`.

Shapes: B sentences, L units, h LSTM states, c channels, R = 2 + N relations: none, NNW (next neighbouring word), and
for each label THW (from an entity's tail to its head).
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.rows import Row
from modeling_knowfree.decoding_knowfree import Span

from .recurrent import BiLstm
from .tagger import Tagger, biaffine, exact, real_units

NONE, NEXT, FIRST_TAIL_HEAD = 0, 1, 2
DISTANCES = 20  # 0; ±1, ±2…3, ±4…7, … in powers of two
REGIONS = 3  # before the diagonal (head to tail), on it or after it (tail to head), padding


class W2Ner(Tagger):
    """
    Args:
        lstm_size: h.
        channels: c, of the convolutions.
        biaffine_size: of the biaffine's two sides.
        hidden_size: of the co-predictor's MLP.
        embedding_size: of distances and of regions.
        dilations: one convolution each.
    """

    one_label = True
    cannot = "two labels on one span (a pair of words has one relation)"

    def __init__(
        self,
        config: KnowFreeConfig,
        lstm_size: int = 512,
        channels: int = 96,
        biaffine_size: int = 512,
        hidden_size: int = 288,
        embedding_size: int = 20,
        dilations: tuple[int, ...] = (1, 2, 3),
    ):
        super().__init__(config)
        self.sizes = {
            "lstm_size": lstm_size,
            "channels": channels,
            "biaffine_size": biaffine_size,
            "hidden_size": hidden_size,
            "embedding_size": embedding_size,
            "dilations": list(dilations),
        }
        relations = FIRST_TAIL_HEAD + len(config.target_labels)
        self.lstm = BiLstm(config.encoder_config.hidden_size, lstm_size)
        self.pair_norm = ConditionalLayerNorm(lstm_size)
        self.distances = nn.Embedding(DISTANCES, embedding_size)
        self.regions = nn.Embedding(REGIONS, embedding_size)
        self.reduce = nn.Linear(lstm_size + 2 * embedding_size, channels)  # MLP_1
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )
        self.tail = nn.Linear(lstm_size, biaffine_size)  # MLP_2
        self.head = nn.Linear(lstm_size, biaffine_size)  # MLP_3
        self.biaffine = nn.Parameter(torch.empty(relations, biaffine_size, biaffine_size))
        nn.init.xavier_normal_(self.biaffine)
        self.biaffine_linear = nn.Linear(2 * biaffine_size, relations)
        self.hidden = nn.Linear(len(dilations) * channels, hidden_size)
        self.relation = nn.Linear(hidden_size, relations)

    def settings(self) -> dict[str, Any]:
        return self.sizes

    def set_start(self, rows: Sequence[Row], start_bias: str | float) -> None:
        """The relations begin with the logarithms of their shares among the pairs, half a pair added to every count:
        with equal ones the first updates teach the encoder of thousands of pairs that they are none, and in long
        sentences few others come through. A number is the log odds of each relation but none."""
        if start_bias == "none":
            return
        counts, pairs = Counter[str](), 0
        for row in rows:
            pairs += len(row["tokens"]) ** 2
            counts.update(span["label"] for span in row["entities"])
            counts[""] += sum(span["end"] - span["start"] - 1 for span in row["entities"])
        others = [counts[label] + 0.5 for label in ("", *self.config.target_labels)]
        if start_bias == "prior":
            odds = [math.log(count / (max(0, pairs - sum(counts.values())) + 0.5)) for count in others]
        else:
            odds = [float(start_bias)] * len(others)
        with torch.no_grad():
            self.relation.bias.copy_(torch.tensor([0.0, *odds]))
            self.biaffine_linear.bias.zero_()

    def sides(self, feature: dict[str, Any]) -> tuple[int]:
        return (feature["num_units"],)

    def relation_logits(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, L, L, R]`: y' + y'' of the paper's eqs 9-11; entry (i, j) is the relation from word i to word j."""
        states = self.lstm(self.unit_states(batch), batch["num_units"])  # (B, L, h)
        real = real_units(batch, states)
        return self.grid(states, real)

    def grid(self, states: Tensor, real: Tensor) -> Tensor:
        """`[B, L, h]` and which units are real `[B, L]` -> `[B, L, L, R]`."""
        inside = real[:, :, None] & real[:, None, :]  # (B, L, L)
        pairs = self.pair_norm(states)  # (B, L, L, h)
        position = torch.arange(states.shape[1], device=states.device)
        offset = position[:, None] - position
        region = torch.where(inside, (offset >= 0).long(), REGIONS - 1)
        distance = self.distances(distance_bucket(offset)).expand(len(states), -1, -1, -1)
        known = torch.cat([pairs, distance, self.regions(region)], -1)
        mixed = F.gelu(self.reduce(self.dropout(known)))  # (B, L, L, c)
        mixed = (mixed * inside.unsqueeze(-1)).permute(0, 3, 1, 2)  # (B, c, L, L)
        layers = [F.gelu(convolution(mixed)) for convolution in self.convolutions]
        grained = torch.cat(layers, 1).permute(0, 2, 3, 1)  # (B, L, L, |dilations|·c)
        by_grid = self.relation(F.gelu(self.hidden(self.dropout(grained))))
        return self.biaffine_logits(states) + by_grid

    def biaffine_logits(self, states: Tensor) -> Tensor:
        """`s_iᵀ U o_j + W[s_i; o_j] + b`, `[B, L, L, R]`."""
        tails = self.dropout(F.gelu(self.tail(states)))
        heads = self.dropout(F.gelu(self.head(states)))
        return biaffine(tails, heads, self.biaffine, self.biaffine_linear)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy, mean over the L² pairs of a sentence (eq 12)."""
        logits = exact(self.relation_logits(batch))
        gold = relations_of(batch["span_labels"], logits.shape[1])
        entropy = F.cross_entropy(logits.flatten(0, 2), gold.flatten(), reduction="none").view_as(gold)
        real = real_units(batch, logits)
        inside = real[:, :, None] & real[:, None, :]
        return (entropy * inside).sum((1, 2)) / inside.sum((1, 2))

    def find(self, batch: dict[str, Tensor]) -> list[list[Span]]:
        logits = exact(self.relation_logits(batch))
        real = real_units(batch, logits)
        inside = real[:, :, None] & real[:, None, :]
        logits = logits.masked_fill(~inside.unsqueeze(-1), 0)
        probability, relation = logits.softmax(-1).max(-1)
        relation = relation.masked_fill(~inside, NONE)
        return [decode(*sentence) for sentence in zip(relation.cpu(), probability.cpu(), strict=True)]


class ConditionalLayerNorm(nn.Module):
    """`V_ij = γ_i ⊙ (h_j - μ_j) / σ_j + λ_i` with `γ_i = W_α h_i + b_α`, `λ_i = W_β h_i + b_β` (eqs 3-4)."""

    def __init__(self, size: int):
        super().__init__()
        self.gain, self.shift = nn.Linear(size, size), nn.Linear(size, size)
        with torch.no_grad():  # at the start a plain layer norm that sees a little of word i
            self.gain.bias.fill_(1.0)
            self.shift.bias.zero_()

    def forward(self, states: Tensor) -> Tensor:
        """`[B, L, h]` -> `[B, L, L, h]`."""
        normed = F.layer_norm(states, states.shape[-1:])
        return self.gain(states).unsqueeze(2) * normed.unsqueeze(1) + self.shift(states).unsqueeze(2)


def distance_bucket(offset: Tensor) -> Tensor:
    """Signed distances to `[0, DISTANCES)`: 0 alone, then powers of two to either side."""
    size = offset.abs().clamp(min=1).float().log2().floor().long().clamp(max=8) + 1  # 1 … 9
    return torch.where(offset == 0, 0, torch.where(offset > 0, size, size + 9))


def relations_of(span_labels: Tensor, length: int) -> Tensor:
    """Gold spans `[B, S, 3]`, padded with -100, to relations `[B, L, L]`. Of two labels on one span the later column
    stands."""
    start, end, column = span_labels.unbind(-1)  # (B, S) each
    word = torch.arange(length, device=span_labels.device)
    leads = ((word >= start.unsqueeze(-1)) & (word < end.unsqueeze(-1) - 1)).any(1)  # (B, L): to the next word
    grid = span_labels.new_full((len(span_labels), length, length), NONE)
    grid.diagonal(1, 1, 2).masked_fill_(leads[:, :-1], NEXT)
    tail_head = (end - 1).clamp(min=0) * length + start.clamp(min=0)
    found = torch.where(start >= 0, FIRST_TAIL_HEAD + column, NONE)
    return grid.flatten(1).scatter_reduce(1, tail_head, found, "amax").view_as(grid)


def decode(relation: Tensor, probability: Tensor) -> list[Span]:
    """
    Relations to spans (section 3.4): a THW relation from tail to head stands where NNW relations lead from head to
    tail; without discontinuous spans that is one way, word by word.

    Args:
        relation, probability: `[L, L]`, the best relation of each pair and how probable it is.

    Returns:
        spans; the score is the THW relation's probability.
    """
    leads = (relation.diagonal(1) == NEXT).long()
    before = torch.cat([leads.new_zeros(1), leads.cumsum(0)])  # NNW relations before each word
    tails, heads = (relation >= FIRST_TAIL_HEAD).nonzero(as_tuple=True)
    found = []
    for tail, head in zip(tails.tolist(), heads.tolist(), strict=True):
        if head <= tail and before[tail] - before[head] == tail - head:
            score = float(probability[tail, head])
            found.append(Span(head, tail + 1, int(relation[tail, head]) - FIRST_TAIL_HEAD, score, score))
    return found
