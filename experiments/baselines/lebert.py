"""LEBERT: words enter between the encoder's layers (Liu et al., ACL 2021, "Lexicon Enhanced Chinese Sequence Labeling
Using BERT Adapter"): after the first layer each piece attends to the words that cover its character."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.loading import load_config

from .crf_head import CrfHead
from .lexicon_tagger import LexiconTagger, words_of_units

AFTER_LAYER = 0  # the first, as in the paper


class Lebert(LexiconTagger):
    """See `LexiconTagger`."""

    def __init__(
        self, config: KnowFreeConfig, lexicon: dict[str, Any], vectors: dict[int, list[float]] | None = None
    ) -> None:
        super().__init__(config, lexicon, vectors)
        size = config.encoder_config.hidden_size
        self.adapter = LexiconAdapter(size, self.lexicon.size, config.head_dropout)
        self.tags = CrfHead(size, len(config.target_labels))

    @classmethod
    def check(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> None:
        super().check(rows, lexicon, encoder, labels)
        with torch.device("meta"):
            encoder_layers(AutoModel.from_config(load_config(encoder), trust_remote_code=False))

    def unit_states(self, batch: dict[str, Tensor]) -> Tensor:
        """The states `[B, L, D]` of an encoder whose first layer was followed by the adapter."""
        unit_ids = batch["unit_ids"]
        by_unit = words_of_units(batch, int(batch["num_units"].max()))  # (B, L, words)
        index = unit_ids.clamp(min=0).unsqueeze(-1).expand(-1, -1, by_unit.shape[-1])
        rows = by_unit.gather(1, index).masked_fill((unit_ids < 0).unsqueeze(-1), 0)  # (B, P, words)

        def add_words(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            padding = states.shape[1] - rows.shape[1]  # some encoders, as Longformer, pad to whole windows
            beside = F.pad(rows, (0, 0, 0, padding))
            states = self.adapter(states, self.words(beside), beside > 0)
            return (states, *output[1:]) if isinstance(output, tuple) else states

        hook = encoder_layers(self.knowfree.encoder)[AFTER_LAYER].register_forward_hook(add_words)
        try:
            return super().unit_states(batch)
        finally:
            hook.remove()

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        return self.unit_states(batch)


class LexiconAdapter(nn.Module):
    """`v = W_2 tanh(W_1 x + b_1) + b_2` of each word, `a = softmax(h W_attn Vᵀ)`, `LN(h + Σ a v)` (section 3.3)."""

    def __init__(self, size: int, word_size: int, dropout: float):
        super().__init__()
        self.first, self.second = nn.Linear(word_size, size), nn.Linear(size, size)
        self.attention = nn.Linear(size, size, bias=False)
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, words: Tensor, real: Tensor) -> Tensor:
        """`[B, P, D]`, words of each piece `[B, P, n, word size]`, which are no padding `[B, P, n]` -> `[B, P, D]`."""
        values = self.dropout(self.second(torch.tanh(self.first(words))))  # (B, P, n, D)
        scores = torch.einsum("bpd,bpnd->bpn", self.attention(states), values)
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1) * real
        return self.norm(states + torch.einsum("bpn,bpnd->bpd", weights, values))


def encoder_layers(encoder: nn.Module) -> nn.ModuleList:
    """
    The layers of a transformers encoder, in order.

    Raises:
        InputError: it has no list of them.
    """
    number = encoder.config.num_hidden_layers  # type: ignore[union-attr]
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise InputError(
        f"the encoder {type(encoder).__name__} has no list of layers, between which lebert puts its words; "
        "mend: take BERT, RoBERTa, ELECTRA or another of that build"
    )
