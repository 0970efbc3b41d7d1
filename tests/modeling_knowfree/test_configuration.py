"""Config values are typed and bounded: a stranger's config.json ends in an error that names the field, before anything
is allocated."""

import json

import pytest

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from tests.conftest import TARGETS, TINY_BERT

BAD = [
    ("attention_window", {"attention_window": 10**9}),
    ("attention_window", {"attention_window": -1}),
    ("attention_window", {"attention_window": 3.0}),
    ("attention_heads", {"attention_heads": 0}),
    ("head_size", {"head_size": 10**12}),
    ("head_size", {"head_size": "200"}),
    ("span_size", {"span_size": True}),
    ("biaffine_heads", {"head_size": 16_000, "span_size": 16_000, "biaffine_heads": 1}),
    ("width_embedding_size", {"width_embedding_size": -3}),
    ("cnn_depth", {"cnn_depth": 10**6}),
    ("max_span_width", {"max_span_width": 0}),
    ("max_span_width", {"max_span_width": 10**12}),
    ("head_dropout", {"head_dropout": 1.5}),
    ("head_dropout", {"head_dropout": float("nan")}),
    ("threshold", {"threshold": "0.5"}),
    ("threshold", {"threshold": 0}),
    ("multi_label", {"multi_label": "yes"}),
    ("unit", {"unit": ["word"]}),
    ("pooling", {"pooling": "x" * 10**6}),
    ("id2label", {"id2label": {at: f"L{at}" for at in range(10**6)}}),
    ("id2label", {"id2label": {0: "A", 2: "B"}}),
    ("id2label", {"id2label": {0: 7}}),
    ("num_labels", {"num_labels": 10**6}),
    ("extension_labels", {"extension_labels": [str(at) for at in range(10**5)]}),
    ("extension_labels", {"extension_labels": "ENT:food"}),
    ("extension_weights", {"extension_labels": ["A"], "extension_weights": ["1"]}),
    ("extension_weights", {"extension_labels": ["A"], "extension_weights": [float("inf")]}),
    ("extension_limit", {"extension_limit": -0.5}),
    ("extension_limit", {"extension_limit": "all"}),
    ("attn_implementation", {"attn_implementation": "evil/kernel"}),
    ("attn_implementation", {"_attn_implementation": "evil/kernel:run"}),
    ("attn_implementation", {"attn_implementation": {"encoder_config": "evil/kernel"}}),
    ("encoder_config.attn_implementation", {"encoder_config": {**TINY_BERT, "attn_implementation": "evil/kernel"}}),
    ("encoder_config.hidden_size", {"encoder_config": {**TINY_BERT, "hidden_size": 10**9}}),
    ("encoder_config.num_hidden_layers", {"encoder_config": {**TINY_BERT, "num_hidden_layers": "12"}}),
    ("hidden_size", {"encoder_config": {**TINY_BERT, "hidden_size": 60_000, "num_hidden_layers": 1_000}}),
    ("vocab_size", {"encoder_config": {**TINY_BERT, "vocab_size": 16_000_000, "hidden_size": 60_000}}),
    ("encoder_config", {"encoder_config": {"hidden_size": 24}}),
    ("encoder_config", {"encoder_config": "bert"}),
    ("train_lengths", {"train_lengths": {"median": 3}}),
    ("train_lengths.max", {"train_lengths": {"median": 3, "p95": 9, "max": "12"}}),
]


@pytest.mark.parametrize(("field", "values"), BAD, ids=[f"{field}-{at}" for at, (field, _) in enumerate(BAD)])
def test_a_bad_value_is_an_error_that_names_its_field(field, values):
    with pytest.raises(ValueError) as caught:
        KnowFreeConfig(**{"encoder_config": TINY_BERT, "id2label": TARGETS, **values})
    assert field in str(caught.value) and len(str(caught.value)) < 400


def test_a_bad_file_is_refused_too(tmp_path):
    KnowFreeConfig(encoder_config=TINY_BERT, id2label=TARGETS).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attention_window": 10**9}))
    with pytest.raises(ValueError, match="attention_window=1000000000"):
        KnowFreeConfig.from_pretrained(tmp_path)


def test_values_survive_a_file(tmp_path):
    given = {
        "encoder_config": TINY_BERT | {"attn_implementation": "eager"},
        "id2label": TARGETS,
        "train_lengths": {"median": 12, "p95": 40, "max": 171},
        "extension_labels": ["ENT:food"],
        "extension_weights": [1],
        "max_span_width": 32,
    }
    KnowFreeConfig(**given).save_pretrained(tmp_path)
    read = KnowFreeConfig.from_pretrained(tmp_path)
    assert read.train_lengths == given["train_lengths"] and read.extension_weights == [1.0]
    assert (read.max_span_width, read.target_labels) == (32, ["LOC", "ORG", "PER"])
