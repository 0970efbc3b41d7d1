"""What the lexicon methods share: the words of a sentence in the batch, their vectors, BIO tags under a CRF."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.rows import Row

from .crf_head import FLAT_ONLY, CrfNetwork
from .lexicon import AUGMENTATION, Lexicon, check_characters, read_lexicon
from .vector_table import word_table

MOST_WORDS_OF_A_UNIT = 5


class LexiconTagger(CrfNetwork):
    """
    A network that reads characters and the lexicon's words among them. A batch has beside the pieces `words` `[B, M]`
    (rows of the word table, 0 is padding), `word_starts` and `word_ends` `[B, M]` (units, end exclusive).

    Args:
        lexicon: as `Lexicon.to_json` gives it.
        vectors: pretrained ones by row of the table.
    """

    cannot = f"{FLAT_ONLY}; words as units (Chinese characters alone)"

    def __init__(
        self, config: KnowFreeConfig, lexicon: dict[str, Any], vectors: dict[int, list[float]] | None = None
    ) -> None:
        super().__init__(config)
        self.lexicon = Lexicon.from_json(lexicon)
        self.words = word_table(self.lexicon, vectors or {})

    @classmethod
    def prepare(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> dict[str, Any]:
        """Arguments of `__init__` from the training rows and the source of the lexicon, see `read_lexicon`."""
        words, vectors = read_lexicon(lexicon, rows)
        return {"lexicon": words.to_json(), "vectors": vectors}

    @classmethod
    def check(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> None:
        check_characters(rows)
        if lexicon != AUGMENTATION:
            read_lexicon(lexicon, rows)

    def settings(self) -> dict[str, Any]:
        return {"lexicon": self.lexicon.to_json()}

    def extra(self, tokens: Sequence[str]) -> dict[str, Any]:
        return {"words": self.lexicon.matches(tokens)}

    def collate_extra(self, features: Sequence[dict[str, Any]], length: int) -> dict[str, Tensor]:
        most = max(1, *(len(feature["words"]) for feature in features))
        padded = torch.tensor(
            [[*feature["words"], *[(0, 0, 0)] * (most - len(feature["words"]))] for feature in features]
        )  # (B, M, 3)
        starts, ends, rows = padded.unbind(-1)
        return {"words": rows, "word_starts": starts, "word_ends": ends}


def words_of_units(batch: dict[str, Tensor], length: int) -> Tensor:
    """Rows of the words that cover each unit, `[B, length, MOST_WORDS_OF_A_UNIT]`, the longest first; 0 is none."""
    rows, starts, ends = batch["words"], batch["word_starts"], batch["word_ends"]
    unit = torch.arange(length, device=rows.device)[:, None]
    covers = (starts[:, None] <= unit) & (unit < ends[:, None])  # (B, L, M)
    size = torch.where(covers, (ends - starts)[:, None], 0)
    order = size.argsort(dim=-1, descending=True, stable=True)[..., :MOST_WORDS_OF_A_UNIT]
    found = torch.where(covers, rows[:, None], 0).gather(-1, order)
    missing = MOST_WORDS_OF_A_UNIT - found.shape[-1]
    return torch.nn.functional.pad(found, (0, max(0, missing)))
