"""FLAT: a flat-lattice transformer over characters and words (Li et al., ACL 2020, "FLAT: Chinese NER Using
Flat-Lattice Transformer"), on the unit states of the encoder; one layer, as in the paper."""

from typing import Any

import torch
from torch import Tensor, nn

from modeling_knowfree.configuration_knowfree import KnowFreeConfig

from .crf_head import CrfHead
from .lattice import LatticeLayer, LatticePositions, lattice_sides, lattice_spans
from .lexicon_tagger import LexiconTagger


class Flat(LexiconTagger):
    """
    Args:
        size: H of the lattice's nodes.
        heads: K; must divide `size`.
    """

    def __init__(
        self,
        config: KnowFreeConfig,
        lexicon: dict[str, Any],
        vectors: dict[int, list[float]] | None = None,
        size: int = 160,
        heads: int = 8,
    ):
        super().__init__(config, lexicon, vectors)
        self.sizes = {"size": size, "heads": heads}
        self.from_character = nn.Linear(config.encoder_config.hidden_size, size)
        self.from_word = nn.Linear(self.lexicon.size, size)
        self.positions = LatticePositions(size)
        self.layer = LatticeLayer(size, heads, 3 * size, config.head_dropout)
        self.tags = CrfHead(size, len(config.target_labels))

    def settings(self) -> dict[str, Any]:
        return super().settings() | self.sizes

    def sides(self, feature: dict[str, Any]) -> tuple[int, int]:
        return lattice_sides(feature)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, L, H]`: the characters' nodes after attention to all nodes."""
        units = self.unit_states(batch)
        first, last, real = lattice_spans(batch, units.shape[1])
        words = self.dropout(self.words(batch["words"]))
        nodes = torch.cat([self.from_character(units), self.from_word(words)], 1)  # (B, T, H)
        return self.layer(nodes, nodes, self.positions(first, last), real)[:, : units.shape[1]]
