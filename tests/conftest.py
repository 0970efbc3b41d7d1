"""Fixtures of all tests: nothing here needs a network."""

import pytest
import torch

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification

torch.set_num_threads(1)

TINY_BERT = {
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
}
TARGETS = {0: "LOC", 1: "ORG", 2: "PER"}


@pytest.fixture
def tiny_model():
    """Factory of two-layer models whose every parameter is random, biases and norms too: `tiny_model(**config)`."""

    def make(seed: int = 0, dtype: torch.dtype = torch.float32, **options) -> KnowFreeForTokenClassification:
        config = {
            "encoder_config": TINY_BERT,
            "head_size": 16,
            "span_size": 20,
            "attention_heads": 5,
            "width_embedding_size": 6,
            "cnn_depth": 2,
            "id2label": TARGETS,
            "label2id": {name: column for column, name in TARGETS.items()},
            "extension_labels": ["ENT:food", "POS:noun"],
            "extension_weights": [0.5, 0.25],
            **options,
        }
        torch.manual_seed(seed)
        model = KnowFreeForTokenClassification(KnowFreeConfig(**config))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        return model.to(dtype).eval()

    return make
