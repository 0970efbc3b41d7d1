"""Invariants of the model (guide: "Invariants that tests hold"), held against the dense L×L reference."""

import pytest
import torch

from tests.support.reference import random_batch, reference_logits, reference_loss

LENGTHS = [9, 1, 17, 4, 2, 30]
MIXERS = ["local_attention", "cnn", "none"]
VARIANTS = [
    {},
    {"formulation": "released"},
    {"span_mixer": "none"},
    {"span_mixer": "cnn"},
    {"width_embedding_size": 0},
    {"attention_window": 0},
    {"attention_window": 1, "pooling": "mean"},
    {"attention_window": 40, "pooling": "first"},
    {"max_span_width": 1},
    {"max_span_width": 5},
    {"max_span_width": 5, "formulation": "released", "attention_window": 6},
    {"max_span_width": 29},
    {"max_span_width": 400},
    {"unit_votes": True},
    {"unit_votes": True, "max_span_width": 5},
    {"unit_votes": True, "span_mixer": "cnn", "pooling": "mean"},
]


def inputs(batch, *extra):
    return {name: batch[name] for name in ("input_ids", "attention_mask", "unit_ids", "num_units", *extra)}


def assert_gradients_close(found, expected):
    """Of two models after `backward`, parameter by parameter, relative to the largest; what is nothing but rounding, as
    of queries that have one key, counts as 0."""
    for (name, parameter), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        if other.grad is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        scale = 1.0 if name.endswith("key.bias") else other.grad.abs().max().clamp(min=1e-6)
        assert (parameter.grad - other.grad).abs().max() <= 1e-9 * scale, name


def assert_logits_close(found, expected, tolerance):
    """Same cells outside the sentences, and inside them within `tolerance` of the largest |logit|."""
    outside = torch.finfo(expected.dtype).min
    length, limit = expected.shape[1:3]
    assert (found[:, length:] == torch.finfo(found.dtype).min).all(), "a span beyond the longest sentence is scored"
    assert (found[:, :, limit:] == torch.finfo(found.dtype).min).all()
    found = found[:, :length, :limit]
    assert found.shape == expected.shape
    assert torch.equal(found == torch.finfo(found.dtype).min, expected == outside)
    inside = expected != outside
    largest = expected[inside].abs().max()
    assert (found[inside].to(expected.dtype) - expected[inside]).abs().max() <= tolerance * largest


def name_of(variant):
    return ",".join(f"{key}={value}" for key, value in variant.items()) or "default"


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["f64", "f32"])
def test_logits_equal_the_dense_reference(tiny_model, variant, dtype, tolerance):
    model = tiny_model(dtype=dtype, **variant)
    batch = random_batch(LENGTHS, labels=5)
    with torch.no_grad():
        targets = model(**inputs(batch)).logits
        every = model(**inputs(batch), output_extension_logits=True).logits
        assert_logits_close(targets, reference_logits(model, batch, 3), tolerance)
        assert_logits_close(every, reference_logits(model, batch, 5), tolerance)


def test_logits_equal_the_dense_reference_over_many_blocks(tiny_model, monkeypatch):
    """Rows are worked on in blocks; small blocks put every sentence on both sides of a border."""
    from modeling_knowfree import bands_knowfree

    monkeypatch.setattr(bands_knowfree, "CELLS_PER_BLOCK", 40)
    model = tiny_model(dtype=torch.float64)
    batch = random_batch(LENGTHS, labels=5)
    with torch.no_grad():
        assert_logits_close(model(**inputs(batch)).logits, reference_logits(model, batch, 3), 1e-9)


def test_dense_planes_are_scored_a_few_sentences_at_a_time(tiny_model, monkeypatch):
    from modeling_knowfree import modeling_knowfree
    from modeling_knowfree.mixers_knowfree import MaskedCNN

    model = tiny_model(dtype=torch.float64, span_mixer="cnn", unit_votes=True)
    batch = inputs(random_batch(LENGTHS, labels=5))
    largest: list[int] = []
    forward = MaskedCNN.forward
    monkeypatch.setattr(
        MaskedCNN, "forward", lambda self, plane: largest.append(len(plane.spans)) or forward(self, plane)
    )
    with torch.no_grad():
        whole = model(**batch).logits
        monkeypatch.setattr(modeling_knowfree, "DENSE_CELLS", 2 * max(LENGTHS) ** 2 + 1)
        parts = model(**batch).logits
    assert largest[0] == len(LENGTHS) and set(largest[1:]) <= {1, 2} and sum(largest[1:]) == len(LENGTHS)
    assert_logits_close(parts, whole, 1e-12)
    model(**batch).logits.sum().backward()  # in training as a whole
    assert largest[-1] == len(LENGTHS)


def test_bfloat16_logits_lie_within_five_percent_of_float32(tiny_model):
    model = tiny_model()
    batch = random_batch(LENGTHS, labels=5)
    with torch.no_grad():
        expected = model(**inputs(batch)).logits
        with torch.autocast("cpu", torch.bfloat16):
            under_autocast = model(**inputs(batch)).logits
        cast = model.bfloat16()(**inputs(batch)).logits
    assert cast.dtype == torch.bfloat16
    for found in (under_autocast, cast):
        inside = expected != torch.finfo(torch.float32).min
        worst = (found[inside].float() - expected[inside]).abs().max() / expected[inside].abs().max()
        assert worst <= 0.05


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_sentence_scores_the_same_alone_in_a_batch_and_at_any_padding(tiny_model, mixer):
    model = tiny_model(dtype=torch.float64, span_mixer=mixer)
    with torch.no_grad():
        together = model(**inputs(random_batch(LENGTHS, labels=5, pad_pieces=11))).logits
        for at, length in enumerate(LENGTHS):
            alone = {name: value[at : at + 1] for name, value in random_batch(LENGTHS, labels=5).items()}
            pieces = int(alone["attention_mask"].sum())
            alone = {
                name: value[:, :pieces] if value.ndim == 2 and name not in ("span_labels",) else value
                for name, value in inputs(alone).items()
            }
            assert_logits_close(model(**alone).logits, together[at : at + 1, :length, :length], 1e-9)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("limit", [1, 2, 7, 16])
def test_a_width_limit_changes_no_score(tiny_model, mixer, limit):
    batch = random_batch(LENGTHS, labels=5)
    with torch.no_grad():
        everything = tiny_model(dtype=torch.float64, span_mixer=mixer)(**inputs(batch)).logits
        limited = tiny_model(dtype=torch.float64, span_mixer=mixer, max_span_width=limit)(**inputs(batch)).logits
    assert_logits_close(limited, everything[:, :, :limit], 1e-9)


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"formulation": "released"},
        {"span_mixer": "none"},
        {"max_span_width": 5},
        {"loss_reduction": "mean"},
        {"unit_votes": True, "tag_weight": 0.5},
        {"tag_weight": 2.0, "loss_reduction": "mean"},
        {"tag_weight": 0.5, "extension_tag_weight": 0.2, "extension_labels": ["POS:noun", "SEG:WORD"]},
        {"extension_tag_weight": 0.3, "loss_reduction": "mean"},
    ],
    ids=name_of,
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["f64", "f32"])
def test_loss_and_gradients_equal_the_dense_reference(tiny_model, variant, dtype, tolerance):
    batch = random_batch(LENGTHS, labels=5)
    found, expected = tiny_model(dtype=dtype, **variant), tiny_model(dtype=dtype, **variant)
    loss = found(**inputs(batch, "span_labels", "loss_weights")).loss
    reference = reference_loss(expected, batch)
    assert loss.item() == pytest.approx(reference.item(), rel=1e-6 if dtype == torch.float32 else 1e-10)
    loss.backward()
    reference.backward()
    theirs = dict(expected.named_parameters())
    for name, parameter in found.named_parameters():
        if theirs[name].grad is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        # Softmax cancels what the encoder's key biases add: their gradient is zero but for rounding.
        scale = 1.0 if name.endswith("key.bias") else theirs[name].grad.abs().max()
        assert (parameter.grad - theirs[name].grad).abs().max() <= tolerance * scale, name


def test_gradients_flow_through_the_logits_too(tiny_model):
    """Without gold the logits are all there is: a user's own loss must train the model as well."""
    batch = random_batch(LENGTHS, labels=5)
    found, expected = tiny_model(dtype=torch.float64), tiny_model(dtype=torch.float64)
    logits = found(**inputs(batch), output_extension_logits=True).logits[:, :30, :30]
    reference = reference_logits(expected, batch, 5)
    inside = reference != torch.finfo(torch.float64).min
    (logits[inside] ** 2).sum().backward()
    (reference[inside] ** 2).sum().backward()
    for (name, parameter), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        assert parameter.grad is not None, name
        assert torch.allclose(parameter.grad, other.grad, rtol=1e-8, atol=1e-9 * max(1.0, other.grad.abs().max())), name


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_loss_is_the_same_under_padding_and_accumulation(tiny_model, reduction):
    lengths = [5, 12, 3, 8, 20, 1, 7, 7]
    model = tiny_model(
        dtype=torch.float64, loss_reduction=reduction, unit_votes=True, tag_weight=1.0, extension_tag_weight=0.5
    )
    names = ("span_labels", "loss_weights")
    with torch.no_grad():
        whole = model(**inputs(random_batch(lengths, labels=5), *names)).loss
        padded = model(**inputs(random_batch(lengths, labels=5, pad_pieces=9), *names)).loss
        batch = inputs(random_batch(lengths, labels=5), *names)
        one_by_one = [model(**{name: value[at : at + 1] for name, value in batch.items()}).loss for at in range(8)]
    assert padded.item() == pytest.approx(whole.item(), rel=1e-10)
    assert torch.stack(one_by_one).mean().item() == pytest.approx(whole.item(), rel=1e-10)


def test_tags_of_units_in_several_spans_and_of_half_gold_ones(tiny_model):
    """By hand: a unit in two spans has half of each tag, one in a span of weight 0.25 is outside by 0.75, units in a span
    that is left out count nothing, and a span that the encoder cuts goes on to the last unit."""
    tags = tiny_model(dtype=torch.float64, tag_weight=1.0).tags
    units = torch.randn(1, 8, tags.in_features, dtype=torch.float64)
    spans = torch.tensor([[[0, 4, 1], [1, 2, 0], [4, 5, 2], [5, 6, ~0], [6, 9, 0], [2, 3, 3], [-100] * 3]])
    weights = torch.tensor([[1.0, 1.0, 0.25, 1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    found = tags.loss(units, torch.tensor([7]), spans, weights)
    odds = tags(units)[0].log_softmax(-1)  # B-0 B-1 B-2 I-0 I-1 I-2 O
    expected = odds[0, 1] + (odds[1, 0] + odds[1, 4]) / 2 + odds[2, 4] + odds[3, 4]
    expected = expected + 0.25 * odds[4, 2] + 0.75 * odds[4, 6] + odds[6, 0]
    assert found.item() == pytest.approx(-expected.item(), rel=1e-12)


def test_tags_of_words_are_those_of_the_looked_at_rows_whatever_the_order_of_the_labels(tiny_model):
    """By hand: targets and entities are no words, a row that nobody looked at says nothing, and columns need not be
    neighbours."""
    labels = ["POS:noun", "ENT:food", "POS:verb"]
    weights = {"extension_labels": labels, "extension_weights": [1.0] * 3}
    model = tiny_model(dtype=torch.float64, extension_tag_weight=0.5, **weights)
    without = tiny_model(dtype=torch.float64, **weights)
    without.load_state_dict(model.state_dict(), strict=False)
    batch = random_batch([4, 3], labels=6)
    batch["span_labels"] = torch.tensor([[[0, 2, 1], [0, 2, 3], [2, 3, 4], [3, 4, 5]], [[0, 3, 5], *[[-100] * 3] * 3]])
    looked = torch.tensor([True, False])
    with torch.no_grad():
        given = inputs(batch, "span_labels", "loss_weights")
        added = model(**given, has_extensions=looked).loss - without(**given, has_extensions=looked).loss
        units = model.knowfree(**inputs(batch)).last_hidden_state[0]
        odds = model.extension_tags["POS"](units).log_softmax(-1)  # B-noun B-verb I-noun I-verb O
    expected = -(odds[0, 0] + odds[1, 2] + odds[2, 4] + odds[3, 1]) * batch["loss_weights"][0] * 0.5 / 2
    assert added.item() == pytest.approx(expected.item(), rel=1e-9)


def test_padded_and_unreachable_gold_is_left_out_of_the_loss(tiny_model):
    model = tiny_model(dtype=torch.float64, max_span_width=4)
    batch = random_batch([6, 3], labels=5)
    batch["span_labels"] = torch.tensor([[[0, 2, 1], [0, 6, 0], [-100] * 3], [[1, 3, 4], [2, 5, 2], [-100] * 3]])
    names = ("span_labels", "loss_weights")
    with torch.no_grad():
        loss = model(**inputs(batch, *names)).loss
        batch["span_labels"] = torch.tensor([[[0, 2, 1]], [[1, 3, 4]]])
        assert loss.item() == pytest.approx(model(**inputs(batch, *names)).loss.item(), rel=1e-12)


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_parameter_moves_in_one_step(tiny_model, mixer):
    model = tiny_model(span_mixer=mixer, unit_votes=True, tag_weight=1.0, extension_tag_weight=0.5).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(**inputs(random_batch(LENGTHS, labels=5), "span_labels", "loss_weights")).loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} did not move"


def test_dropout_in_training_is_drawn_anew_and_seeded(tiny_model):
    model = tiny_model().train()
    batch = inputs(random_batch(LENGTHS, labels=5), "span_labels", "loss_weights")

    def gradients(seed):
        torch.manual_seed(seed)
        model.zero_grad()
        model(**batch).loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    assert torch.equal(gradients(1), gradients(1))
    assert not torch.allclose(gradients(1), gradients(2))


def test_soft_gold_and_rows_nobody_looked_at_change_the_loss_as_said(tiny_model):
    """`span_weights` w is BCE against w; `has_extensions` false takes the extension columns out of that row's loss."""
    model = tiny_model(dtype=torch.float64)
    batch = random_batch([6, 4], labels=5)
    batch["span_labels"] = torch.tensor([[[0, 2, 1], [1, 4, 3], [0, 6, ~2]], [[1, 3, 4], [2, 4, 0], [-100] * 3]])
    soft = torch.tensor([[0.25, 0.5, 1.0], [0.75, 1.0, 1.0]], dtype=torch.float64)
    looked = torch.tensor([False, True])
    with torch.no_grad():
        found = model(**inputs(batch, "span_labels"), span_weights=soft, has_extensions=looked).loss
        logits = model(**inputs(batch), output_extension_logits=True).logits
    expected = []
    for row, length in enumerate((6, 4)):
        gold = torch.zeros(length, length, 5, dtype=torch.float64)
        weights = torch.tensor([1, 1, 1, 0.5, 0.25], dtype=torch.float64).expand(length, length, 5).clone()
        for (start, end, column), weight in zip(batch["span_labels"][row].tolist(), soft[row], strict=True):
            if start >= 0 and column < 0:
                weights[start, end - start - 1, ~column] = 0
            elif start >= 0:
                gold[start, end - start - 1, column] = weight
        if not looked[row]:
            weights[..., 3:] = 0
        cells = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[row, :length, :length], gold, weights, reduction="none"
        )
        inside = torch.arange(length)[:, None] + torch.arange(length) < length
        expected.append(cells[inside].sum())
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-10)
    with torch.no_grad():
        all_looked = model(**inputs(batch, "span_labels"), has_extensions=torch.tensor([True, True])).loss
        assert all_looked == model(**inputs(batch, "span_labels")).loss


def test_a_tokenizers_output_alone_says_what_to_call(tiny_model):
    ids = torch.tensor([[1, 5, 6, 2]])
    with pytest.raises(ValueError, match=r"unit_ids \[B, P\] and num_units.*pipeline\(\"knowfree\".*KnowFreeCollator"):
        tiny_model()(input_ids=ids, token_type_ids=torch.zeros_like(ids), attention_mask=torch.ones_like(ids))


def test_only_span_labels_is_a_label_to_the_trainer():
    import inspect

    from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification

    names = inspect.signature(KnowFreeForTokenClassification.forward).parameters
    assert [name for name in names if "label" in name] == ["span_labels"]
    assert not any(parameter.kind == parameter.VAR_KEYWORD for parameter in names.values())


WAYS = ["tiled", "heads padded", "one launch a row"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """A GPU's way over the band, which runs on a CPU as well."""
    from modeling_knowfree import bands_knowfree, mixers_knowfree, modeling_knowfree

    monkeypatch.setattr(modeling_knowfree, "PackedBand", bands_knowfree.TiledBand)
    if request.param == "heads padded":
        monkeypatch.setattr(mixers_knowfree, "HEAD_MULTIPLE", {"cpu": 8})
    if request.param == "one launch a row":
        monkeypatch.setattr(bands_knowfree, "CELLS_PER_LAUNCH", 1)
    return request.param


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.get("span_mixer") != "cnn"], ids=name_of)
def test_the_gpu_way_gives_the_same_logits_and_gradients(tiny_model, variant, way):
    batch = random_batch(LENGTHS, labels=5, pad_pieces=3)
    found, expected = tiny_model(dtype=torch.float64, **variant), tiny_model(dtype=torch.float64, **variant)
    out = found(**inputs(batch, "span_labels", "loss_weights"))
    assert_logits_close(out.logits.detach(), reference_logits(expected, batch, 5).detach(), 1e-9)
    out.loss.backward()
    reference_loss(expected, batch).backward()
    assert_gradients_close(found, expected)


def test_the_gpu_way_holds_its_tolerance_in_bfloat16(tiny_model, monkeypatch):
    from modeling_knowfree import modeling_knowfree

    model, batch = tiny_model(), random_batch(LENGTHS, labels=5)
    with torch.no_grad():
        expected = model(**inputs(batch)).logits
        monkeypatch.setattr(modeling_knowfree, "PackedBand", modeling_knowfree.TiledBand)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(**inputs(batch)).logits
    assert found.dtype == torch.bfloat16  # no detour through fp32
    inside = expected != torch.finfo(torch.float32).min
    worst = (found[inside].float() - expected[inside]).abs().max() / expected[inside].abs().max()
    assert worst <= 0.05
