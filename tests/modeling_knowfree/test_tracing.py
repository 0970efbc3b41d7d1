"""The forward as compilers and exporters see it: one graph for any batch and length, the same scores."""

import pytest
import torch
from torch.export import Dim

from tests.conftest import TINY_BERT
from tests.modeling_knowfree.test_modeling import (
    LENGTHS,
    MIXERS,
    assert_gradients_close,
    assert_logits_close,
    inputs,
    name_of,
)
from tests.support.reference import random_batch, reference_logits, reference_loss

ONE_LAYER = {**TINY_BERT, "num_hidden_layers": 1}
BATCHES = [LENGTHS, [12, 3], [40, 7, 7, 1]]
HEADS = [
    {},
    {"max_span_width": 5},
    {"formulation": "released"},
    {"span_mixer": "none"},
    {"span_mixer": "cnn"},
    {"unit_votes": True},
]
LATER = pytest.mark.soak  # each compiles for ten seconds


@pytest.fixture(autouse=True)
def fresh_graphs():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled_head(model, backend: str = "eager"):
    """The model, what follows its encoder in one graph for every shape."""
    model.score = torch.compile(model.score, fullgraph=True, dynamic=True, backend=backend)
    return model


def assert_same_scores(traced, model) -> None:
    for lengths in BATCHES:
        batch = inputs(random_batch(lengths, labels=5, pad_pieces=2))
        with torch.no_grad():
            found, expected = traced(**batch).logits, model(**batch).logits
        assert_logits_close(found, expected, 1e-5)


def test_the_whole_forward_is_one_graph_for_every_shape(tiny_model):
    model = tiny_model(encoder_config=ONE_LAYER)
    graphs = []

    def counted(graph, example):
        graphs.append(graph)
        return graph.forward

    assert_same_scores(torch.compile(model, fullgraph=True, dynamic=True, backend=counted), model)
    assert len(graphs) == 1


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=LATER)])
def test_export_takes_any_batch_and_length(tiny_model, strict):
    model = tiny_model(encoder_config=ONE_LAYER)
    batch = inputs(random_batch([9, 4, 2], labels=5))
    size, pieces = Dim("size"), Dim("pieces", max=ONE_LAYER["max_position_embeddings"])
    shapes = {name: {0: size} if name == "num_units" else {0: size, 1: pieces} for name in batch}
    exported = torch.export.export(model, (), batch, dynamic_shapes=shapes, strict=strict)
    assert_same_scores(exported.module(), model)


# ------------------------------------------------------------------ the invariants of test_modeling, compiled


@LATER
@pytest.mark.parametrize("variant", HEADS, ids=name_of)
def test_compiled_logits_equal_the_dense_reference(tiny_model, variant):
    model = tiny_model(dtype=torch.float64, **variant)
    batch = random_batch(LENGTHS, labels=5, pad_pieces=3)
    expected = reference_logits(model, batch, 3)
    with torch.no_grad():
        assert_logits_close(compiled_head(model)(**inputs(batch)).logits, expected, 1e-9)


@LATER
@pytest.mark.parametrize("mixer", MIXERS)
def test_compiled_a_sentence_scores_the_same_alone_and_a_width_limit_changes_nothing(tiny_model, mixer):
    model = compiled_head(tiny_model(dtype=torch.float64, span_mixer=mixer))
    narrow = compiled_head(tiny_model(dtype=torch.float64, span_mixer=mixer, max_span_width=7))
    batch = inputs(random_batch(LENGTHS, labels=5, pad_pieces=11))
    pieces = int(batch["attention_mask"][2].sum())
    alone = {name: value[2:3, :pieces] if value.ndim == 2 else value[2:3] for name, value in batch.items()}
    with torch.no_grad():
        together = model(**batch).logits
        assert_logits_close(model(**alone).logits, together[2:3, :17, :17], 1e-9)
        assert_logits_close(narrow(**batch).logits, together[:, :, :7], 1e-9)


@LATER
def test_compiled_loss_and_gradients_equal_the_dense_reference(tiny_model):
    found = tiny_model(dtype=torch.float64, encoder_config=ONE_LAYER)
    expected = tiny_model(dtype=torch.float64, encoder_config=ONE_LAYER)
    batch = random_batch([9, 1, 17], labels=5, pad_pieces=2)
    step = torch.compile(found, fullgraph=True, dynamic=True, backend="aot_eager")
    loss, reference = step(**inputs(batch, "span_labels", "loss_weights")).loss, reference_loss(expected, batch)
    assert loss.item() == pytest.approx(reference.item(), rel=1e-10)
    loss.backward()
    reference.backward()
    assert_gradients_close(found, expected)


@LATER
@pytest.mark.parametrize("variant", [{}, {"max_span_width": 5}], ids=name_of)
def test_inductor_gives_the_same_scores(tiny_model, variant):
    model = tiny_model(encoder_config=ONE_LAYER, **variant)
    assert_same_scores(torch.compile(model, fullgraph=True, dynamic=True), model)
