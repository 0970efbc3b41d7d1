"""The head over a list of cells, before it is exported: the forward's scores, for every mixer and width limit."""

import pytest
import torch

from modeling_knowfree.inference.cells import TILE, CellScores
from modeling_knowfree.inference.onnx_tagger import plan_cells
from tests.conftest import TINY_BERT
from tests.modeling_knowfree.test_modeling import inputs
from tests.support.reference import random_batch

HEADS = [
    {},
    {"max_span_width": 1},
    {"max_span_width": 5},
    {"max_span_width": 60},
    {"formulation": "released"},
    {"width_embedding_size": 0},
    {"span_mixer": "none"},
    {"span_mixer": "none", "max_span_width": 5},
    {"span_mixer": "cnn", "max_span_width": 5},
    {"unit_votes": True},
    {"unit_votes": True, "max_span_width": 5},
    {"unit_votes": True, "span_mixer": "none"},
    {"unit_votes": True, "span_mixer": "cnn"},
]


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("lengths", [[9, 4, 2], [1], [2, 1, 1], [40, 33, 3]], ids=str)
def test_cells_have_the_scores_of_the_forward(tiny_model, head, lengths):
    model = tiny_model(encoder_config={**TINY_BERT, "num_hidden_layers": 1}, **head)
    batch = inputs(random_batch(lengths, labels=5, pad_pieces=2))
    pieces, reach = batch["input_ids"].shape[1], model.mixer.reach
    limit = min(model.config.max_span_width or max(lengths), max(lengths))
    *plan, wanted = plan_cells(lengths, pieces, model.config.max_span_width or max(lengths), reach, TILE)
    with torch.no_grad():
        expected = model(**batch).logits
        taken = [batch["input_ids"], batch["attention_mask"], batch["unit_ids"]]
        found = CellScores(model)(*taken, *map(torch.from_numpy, plan))
    units = torch.from_numpy(plan[-1][reach or 0 :][: len(wanted)][wanted][:, 3:])
    sentence, start, width = units[:, 0] // pieces, units[:, 0] % pieces, units[:, 1] - units[:, 0]
    spans = {
        (b, i, d) for b, length in enumerate(lengths) for i in range(length) for d in range(min(limit, length - i))
    }
    assert sorted(zip(sentence.tolist(), start.tolist(), width.tolist(), strict=True)) == sorted(spans)
    expected = expected[sentence, start, width]
    assert (found[wanted] - expected).abs().max() < 1e-5 * expected.abs().max()
