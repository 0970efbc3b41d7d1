"""BERT-BiLSTM-CRF: unit states of the encoder, a bidirectional LSTM over them, BIO tags under a CRF (Huang et al. 2015,
"Bidirectional LSTM-CRF Models for Sequence Tagging", on a pretrained encoder)."""

from typing import Any

from torch import Tensor

from modeling_knowfree.configuration_knowfree import KnowFreeConfig

from .crf_head import CrfHead, CrfNetwork
from .recurrent import BiLstm


class BertBiLstmCrf(CrfNetwork):
    """
    Args:
        lstm_size: of the LSTM's states, both directions together.
    """

    def __init__(self, config: KnowFreeConfig, lstm_size: int = 256):
        super().__init__(config)
        self.lstm_size = lstm_size
        self.lstm = BiLstm(config.encoder_config.hidden_size, lstm_size)
        self.tags = CrfHead(lstm_size, len(config.target_labels))

    def settings(self) -> dict[str, Any]:
        return {"lstm_size": self.lstm_size}

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, L, lstm_size]`."""
        return self.dropout(self.lstm(self.unit_states(batch), batch["num_units"]))
