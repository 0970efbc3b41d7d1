"""W2NER and CNN-Nested-NER against the formulas of their papers, computed number by number."""

import math

import pytest
import torch
from knowfree_experiments.baselines.w2ner import (
    FIRST_TAIL_HEAD,
    NEXT,
    W2Ner,
    decode,
    distance_bucket,
    relations_of,
)

from modeling_knowfree.bands_knowfree import Plane
from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.mixers_knowfree import MaskedCNN
from tests.conftest import TARGETS, TINY_BERT, row


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def linear(weight, bias, x: list[float]) -> list[float]:
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def matrices(module) -> tuple:
    return module.weight.tolist(), module.bias.tolist()


@pytest.fixture
def w2ner() -> W2Ner:
    torch.manual_seed(3)
    config = KnowFreeConfig(encoder_config=TINY_BERT, id2label=TARGETS, head_dropout=0.0)
    network = W2Ner(
        config, lstm_size=4, channels=3, biaffine_size=2, hidden_size=3, embedding_size=2, dilations=(1, 2)
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return network.eval()


def test_relations_begin_with_their_shares_among_the_pairs(w2ner):
    first, second = w2ner.config.target_labels[:2]
    rows = [row("张三去", (0, 2, first)), row("北京", (0, 1, second))]  # 9 + 4 pairs: one NNW, two THW, ten none
    w2ner.set_start(rows, "prior")
    bias = w2ner.relation.bias + w2ner.biaffine_linear.bias
    halves = [10.5, 1.5, 1.5, 1.5, *[0.5] * (len(w2ner.config.target_labels) - 2)]
    assert torch.allclose(bias.softmax(0), torch.tensor(halves).double() / sum(halves))
    two_labels = [row("京", (0, 1, first), (0, 1, second))]  # more relations than pairs
    w2ner.set_start(two_labels, "prior")
    assert w2ner.relation.bias.isfinite().all()
    w2ner.set_start(rows, "prior")
    w2ner.set_start(rows, "none")
    assert torch.equal(bias, w2ner.relation.bias + w2ner.biaffine_linear.bias)
    w2ner.set_start(rows, -5.3)
    bias = w2ner.relation.bias + w2ner.biaffine_linear.bias
    assert torch.allclose((bias[1:] - bias[0]).double(), torch.tensor(-5.3).double())


def test_w2ner_computes_what_the_paper_says(w2ner):
    states = torch.randn(1, 3, 4, dtype=torch.double)
    h = states[0].tolist()
    length, size = len(h), len(h[0])
    # eqs 3-4: conditional layer norm
    gain, shift = matrices(w2ner.pair_norm.gain), matrices(w2ner.pair_norm.shift)
    pairs = {}
    for i in range(length):
        for j in range(length):
            mean = sum(h[j]) / size
            deviation = math.sqrt(sum((x - mean) ** 2 for x in h[j]) / size + 1e-5)
            scaled = [(x - mean) / deviation for x in h[j]]
            pairs[i, j] = [g * x + s for g, x, s in zip(linear(*gain, h[i]), scaled, linear(*shift, h[i]), strict=True)]
    # eq 5: distance and region embeddings, reduced by MLP_1
    buckets = {-2: 11, -1: 10, 0: 0, 1: 1, 2: 2}
    cells = {}
    for i, j in pairs:
        known = pairs[i, j] + w2ner.distances.weight[buckets[i - j]].tolist()
        known += w2ner.regions.weight[1 if i >= j else 0].tolist()
        cells[i, j] = [gelu(x) for x in linear(*matrices(w2ner.reduce), known)]
    # eq 6: dilated convolutions, side by side
    grained = {cell: [] for cell in cells}
    for convolution, step in zip(w2ner.convolutions, (1, 2), strict=True):
        weight, bias = matrices(convolution)
        for i, j in cells:
            for channel in range(3):
                total = bias[channel]
                for a in range(3):
                    for b in range(3):
                        near = cells.get((i + (a - 1) * step, j + (b - 1) * step), [0.0] * 3)
                        total += sum(weight[channel][k][a][b] * near[k] for k in range(3))
                grained[i, j].append(gelu(total))
    # eqs 7-10: biaffine and MLP co-predictor
    expected = torch.zeros(length, length, 5, dtype=torch.double)
    u, w, b = w2ner.biaffine.tolist(), w2ner.biaffine_linear.weight.tolist(), w2ner.biaffine_linear.bias.tolist()
    for i, j in cells:
        s = [gelu(x) for x in linear(*matrices(w2ner.tail), h[i])]
        o = [gelu(x) for x in linear(*matrices(w2ner.head), h[j])]
        by_grid = linear(*matrices(w2ner.relation), [gelu(x) for x in linear(*matrices(w2ner.hidden), grained[i, j])])
        for r in range(5):
            bilinear = sum(s[x] * u[r][x][y] * o[y] for x in range(2) for y in range(2))
            affine = sum(weight * value for weight, value in zip(w[r], s + o, strict=True)) + b[r]
            expected[i, j, r] = bilinear + affine + by_grid[r]
    with torch.no_grad():
        found = w2ner.grid(states, torch.ones(1, 3, dtype=torch.bool))[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_w2ner_loss_is_the_mean_cross_entropy_over_pairs(w2ner):
    batch = {
        "input_ids": torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "unit_ids": torch.tensor([[-1, 0, 1, 2, -1], [-1, 0, -1, -1, -1]]),
        "num_units": torch.tensor([3, 1]),
        "span_labels": torch.tensor([[[0, 2, 1], [2, 3, 0]], [[-100] * 3, [-100] * 3]]),
    }
    with torch.no_grad():
        logits, loss = w2ner.relation_logits(batch), w2ner.loss(batch)
    gold = {(0, 1): NEXT, (1, 0): FIRST_TAIL_HEAD + 1, (2, 2): FIRST_TAIL_HEAD}
    by_hand = -sum(float(logits[0, i, j].log_softmax(-1)[gold.get((i, j), 0)]) for i in range(3) for j in range(3))
    assert float(loss[0]) == pytest.approx(by_hand / 9, rel=1e-9)
    assert float(loss[1]) == pytest.approx(-float(logits[1, 0, 0].log_softmax(-1)[0]), rel=1e-9)


def test_w2ner_decodes_nested_and_neighbouring_spans():
    grid = relations_of(torch.tensor([[[0, 4, 0], [1, 3, 2], [2, 4, 1], [5, 6, 1], [-100] * 3]]), 6)[0]
    spans = decode(grid, torch.full((6, 6), 0.75))
    assert sorted(span[:4] for span in spans) == [(0, 4, 0, 0.75), (1, 3, 2, 0.75), (2, 4, 1, 0.75), (5, 6, 1, 0.75)]
    grid[1, 2] = 0  # the way from head to tail is broken: what leads over it does not stand
    assert sorted(span[:3] for span in decode(grid, torch.ones(6, 6))) == [(2, 4, 1), (5, 6, 1)]


def test_distances_fall_into_powers_of_two():
    offsets = torch.tensor([0, 1, 2, 3, 4, 7, 8, 300, 5000, -1, -2, -3, -4, -300, -5000])
    assert distance_bucket(offsets).tolist() == [0, 1, 2, 2, 3, 3, 4, 9, 9, 10, 11, 11, 12, 18, 18]


def test_cnn_nested_ner_computes_what_the_paper_says():
    torch.manual_seed(5)
    size, length = 4, 3
    cnn = MaskedCNN(KnowFreeConfig(encoder_config=TINY_BERT, span_size=size, attention_heads=2, cnn_depth=2)).double()
    with torch.no_grad():
        for parameter in cnn.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    spans = torch.randn(1, length, length, size, dtype=torch.double)
    real = torch.tensor([[True, True, False]])  # a sentence of two units in a plane of three
    plane = Plane(spans, inside=real.unsqueeze(1), starts_real=real, limit=length, reach=0, limited=False)
    # Yan et al. 2023, eq 4: F'' = GELU(LayerNorm(F + Conv(F))), cells outside the sentence held at 0
    cells = {(i, j): spans[0, i, j].tolist() for i in range(2) for j in range(2)}
    for convolution, norm in zip(cnn.convolutions, cnn.norms, strict=True):
        weight, bias = matrices(convolution)
        scale, offset = matrices(norm)
        following = {}
        for i, j in cells:
            mixed = []
            for channel in range(size):
                total = bias[channel] + cells[i, j][channel]
                for a in range(3):
                    for b in range(3):
                        near = cells.get((i + a - 1, j + b - 1), [0.0] * size)
                        total += sum(weight[channel][k][a][b] * near[k] for k in range(size))
                mixed.append(total)
            mean = sum(mixed) / size
            deviation = math.sqrt(sum((x - mean) ** 2 for x in mixed) / size + 1e-5)
            following[i, j] = [
                gelu(g * (x - mean) / deviation + o) for x, g, o in zip(mixed, scale, offset, strict=True)
            ]
        cells = following
    with torch.no_grad():
        found = cnn(plane)
    for i, j in cells:
        torch.testing.assert_close(found[0, i, j], torch.tensor(cells[i, j], dtype=torch.double), rtol=1e-9, atol=1e-9)
