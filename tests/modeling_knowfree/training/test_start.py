"""A sound start: the first loss is small, and the extension columns leave the encoder to the targets."""

import math
import random

import pytest
import torch
from transformers import AutoTokenizer, set_seed

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.readers import InputError
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.config import build_config, build_model, extension_weights
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.start import check_start_bias, prior_log_odds
from modeling_knowfree.units_knowfree import KnowFreeCollator
from tests.conftest import CHARACTERS, row


def with_extensions(rows: list[dict], labels: int = 60, seed: int = 0) -> list[dict]:
    """The rows with two spans of each of so many extension labels: more of them than of the targets."""
    rng = random.Random(seed)
    extended = [{**each, "extensions": []} for each in rows]
    cells = [
        (at, start, end)
        for at, each in enumerate(rows)
        for start in range(len(each["tokens"]))
        for end in range(start + 1, min(len(each["tokens"]), start + 3) + 1)
    ]
    for label in range(labels):
        for at, start, end in rng.sample(cells, 2):
            span = {"start": start, "end": end, "label": f"ENT:{label}", "source": "llm"}
            extended[at]["extensions"].append(span)
    return extended


def long_rows() -> list[dict]:
    rng = random.Random(1)
    texts = ["".join(rng.choices(CHARACTERS, k=60)) for _ in range(8)]
    return with_extensions([row(text, (3, 6, "LOC"), (20, 22, "PER"), (40, 45, "ORG"), id=text) for text in texts])


@pytest.fixture
def first_batch(encoder):
    """The model before its first update, and all rows as one batch: `first_batch(rows, start_bias)`."""

    def make(rows, start_bias="prior", **options):
        set_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        config = build_config(str(encoder), rows, **options)
        model = build_model(str(encoder), config, rows, start_bias).eval()
        features = build_features(rows, tokenizer, config)
        return model, KnowFreeCollator(tokenizer.pad_token_id)(list(features))

    return make


def test_tags_begin_at_their_shares_of_the_units(first_batch):
    words = [
        {"start": start, "end": end, "label": label, "source": "llm"}
        for start, end, label in ((0, 2, "POS:NOUN"), (2, 3, "POS:VERB"), (3, 5, "POS:NOUN"), (5, 6, "ENT:place"))
    ]
    rows = [{**row("我们在北京。", (3, 5, "LOC")), "extensions": words}, row("一起。", (0, 2, "PER"))]
    model, _ = first_batch(rows, tag_weight=1.0, extension_tag_weight=0.1)
    targets = torch.tensor([1.5, 1.5, 1.5, 1.5, 5.5])  # B-LOC B-PER I-LOC I-PER O, half a unit added to each
    assert torch.allclose(model.tags.bias.softmax(0), targets / targets.sum())
    of_words = torch.tensor([2.5, 1.5, 2.5, 0.5, 4.5])  # B-NOUN B-VERB I-NOUN I-VERB O
    assert list(model.extension_tags) == ["POS"]
    assert torch.allclose(model.extension_tags["POS"].bias.softmax(0), of_words / of_words.sum())


def test_prior_is_each_labels_share_of_the_spans_scored():
    rows = [
        row("abcd", (0, 2, "A"), (1, 2, "A")),
        row("ab", (0, 1, "B"), extensions=[{"start": 0, "end": 2, "label": "X"}]),
    ]
    config = KnowFreeConfig(id2label={0: "A", 1: "B", 2: "C"}, extension_labels=["X"])
    cells = 10 + 3  # of four units, of two
    odds = [(count + 0.5) / (cells + 1 - count - 0.5) for count in (2, 1, 0, 1)]
    assert prior_log_odds(rows, config) == pytest.approx([math.log(each) for each in odds])
    config.max_span_width = 2
    odds = [(count + 0.5) / (7 + 3 + 1 - count - 0.5) for count in (2, 1, 0, 1)]
    assert prior_log_odds(rows, config) == pytest.approx([math.log(each) for each in odds])


def test_the_first_loss_is_that_of_knowing_how_rare_labels_are(first_batch):
    rows = long_rows()
    cells = sum(len(each["tokens"]) * (len(each["tokens"]) + 1) // 2 for each in rows)

    def entropy(count: int) -> float:
        share = (count + 0.5) / (cells + 1)
        return -count * math.log(share) - (cells - count) * math.log(1 - share)

    model, batch = first_batch(rows)
    weights = [1.0] * 3 + model.config.extension_weights
    counts = [sum(s["label"] == label for each in rows for s in [*each["entities"], *each["extensions"]])
              for label in [*model.config.target_labels, *model.config.extension_labels]]  # fmt: skip
    best = sum(weight * entropy(count) for weight, count in zip(weights, counts, strict=True)) / len(rows)
    with torch.no_grad():
        loss = model(**batch).loss.item()
        paper = first_batch(rows, "none")[0](**batch).loss.item()
    assert best < loss < 1.6 * best
    assert paper > 50 * loss


@pytest.mark.parametrize("labels", [10, 60, 200])
def test_extension_columns_do_not_drown_the_targets(labels, first_batch):
    """At the first update no extension column's gradient is half as large again as the largest of the targets', without
    a budget; within it none is larger, and all together reach the encoder with at most as much."""
    rows = with_extensions([{**each, "extensions": []} for each in long_rows()], labels)
    options = {name: getattr(parse_arguments(NEEDED)[0], name) for name in ("extension_budget", "min_extension_count")}
    model, batch = first_batch(rows, **options)

    def gradient() -> torch.Tensor:
        model.zero_grad()
        model(**batch).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.knowfree.encoder.parameters() if p.grad is not None])

    limit, model.config.extension_limit = model.config.extension_limit, None
    gradient()  # as in the first updates of `extension_schedule="first"`
    columns = model.classifier.weight.grad.norm(dim=1)
    assert columns[3:].max() <= 1.5 * columns[:3].max()
    model.config.extension_limit = limit
    both, weights = gradient(), model.config.extension_weights
    columns = model.classifier.weight.grad.norm(dim=1)
    assert columns[3:].max() <= columns[:3].max()
    model.config.extension_weights = [0.0] * len(weights)
    targets = gradient()
    assert targets.norm() > 0
    assert (both - targets).norm() <= targets.norm()


def test_the_budget_of_extension_labels_grows_with_the_sentences(encoder):
    rows = with_extensions([row("abcd", (0, 1, "A"), (2, 3, "B"), id=str(number)) for number in range(40)], 60)
    pool = [row("abcd", id=f"pool {number}", has_extensions=False, extensions=[]) for number in range(60)]

    def limit(of: list[dict], budget: float) -> float | None:
        return build_config(str(encoder), of, extension_budget=budget).extension_limit

    assert limit(rows, 0) is None
    assert limit(rows, 1.0) == pytest.approx(0.4)
    assert limit(rows, 0.5) == pytest.approx(0.2)
    assert limit([*rows, *pool], 1.0) == pytest.approx(0.4)  # nobody looked at those
    rare = [{**rows[0], "extensions": [{"start": 0, "end": 1, "label": "ENT:once", "source": "llm"}]}]
    assert "ENT:once" not in extension_weights([*rows, *rare], min_extension_count=2)
    assert len(extension_weights([*rows, *rare], min_extension_count=2)) == 60


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_limit_holds_in_every_batch(reduction, first_batch):
    """The loss is T + min(1, limit·T/E)·E, and the gradient that of the parts at these weights."""
    rows = long_rows()
    model, batch = first_batch(rows, "none", loss_reduction=reduction)
    weights = model.config.extension_weights

    def loss_and_gradient(extensions: list[float], limit: float | None) -> tuple[float, torch.Tensor]:
        model.config.extension_weights, model.config.extension_limit = extensions, limit
        model.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        return loss.item(), model.start_mlp.weight.grad.clone()

    both, with_both = loss_and_gradient(weights, None)
    targets, with_targets = loss_and_gradient([0.0] * len(weights), None)
    share = 0.3 * targets / (both - targets)
    assert 0 < share < 1
    limited, with_limited = loss_and_gradient(weights, 0.3)
    assert limited == pytest.approx(1.3 * targets, rel=1e-4)
    torch.testing.assert_close(with_limited, with_targets + share * (with_both - with_targets), rtol=1e-3, atol=1e-3)
    assert loss_and_gradient(weights, 1e6)[0] == pytest.approx(both, rel=1e-6)
    assert loss_and_gradient(weights, 0.0)[0] == pytest.approx(targets, rel=1e-6)


NEEDED = {"model_name_or_path": "encoder", "train_file": "train.jsonl", "output_dir": "out"}


def test_the_paper_preset_starts_as_the_paper_does():
    model_args, _, _ = parse_arguments(NEEDED | {"preset": "paper"})
    assert (model_args.start_bias, model_args.alpha_cap) == ("none", 0.0)
    assert (model_args.extension_budget, model_args.min_extension_count) == (0.0, 1)
    assert parse_arguments(NEEDED)[0].start_bias == "prior"


@pytest.mark.parametrize(("value", "bias"), [("-5.3", -5.3), ("0", 0.0)])
def test_one_bias_for_all_columns(value, bias, first_batch):
    model, _ = first_batch(long_rows(), value)
    assert model.classifier.bias.tolist() == pytest.approx([bias] * 63)


@pytest.mark.parametrize("value", ["rare", "nan", "inf", ""])
def test_a_start_bias_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match=r"start_bias=.*give prior, none"):
        check_start_bias(value)


@pytest.mark.parametrize("setting", [{"extension_budget": -1}, {"min_extension_count": -1}, {"alpha_cap": -0.5}])
def test_negative_weights_are_refused(setting):
    model_args, _, _ = parse_arguments(NEEDED | setting)
    with pytest.raises((ValueError, InputError), match="give 0 or more"):
        model_args.config_fields([])


def test_a_seed_gives_the_same_head_however_many_extension_labels(encoder):
    rows = long_rows()
    bare = [{**each, "extensions": []} for each in rows]

    def start(of: list[dict], seed: int) -> dict[str, torch.Tensor]:
        set_seed(seed)
        model = build_model(str(encoder), build_config(str(encoder), of), of)
        return {name: parameter.detach() for name, parameter in model.named_parameters()}

    without, beside, other = start(bare, 0), start(rows, 0), start(bare, 1)
    for name, weights in without.items():
        assert torch.equal(weights, beside[name][: len(weights)]), name
    assert not torch.equal(without["classifier.weight"], other["classifier.weight"])
    assert len(beside["classifier.weight"]) == 63
