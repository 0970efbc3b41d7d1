import json
import shutil
import sys
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from knowfree_experiments.baselines.bio_network import bio_features, bio_tags, emission_model
from knowfree_experiments.baselines.bio_tagging import BioTrainer, _build, predict_bio, train_bio
from knowfree_experiments.baselines.crf_head import FORBIDDEN, tag_transitions
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForTokenClassification,
    DataCollatorForTokenClassification,
)

from modeling_knowfree.console import be_quiet
from modeling_knowfree.data.formats.schemes import spans_of_tags
from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.training.arguments import KnowFreeTrainingArguments
from tests.conftest import row
from tests.support.terminal import shown_by

HEADS = ["bio", "bio_crf"]
TAGS = ["O", *(f"{prefix}-{label}" for label in ("CONDITION", "GEAR", "PLACE", "TIME", "WILDLIFE") for prefix in "BI")]


def settings(head: str, encoder: Path, folder: Path, **changes) -> dict:
    if head == "bio_crf":
        pytest.importorskip("torchcrf", reason="pytorch-crf is not installed: pip install --no-deps pytorch-crf")
    return {
        "train_file": str(folder / "train.jsonl"),
        "validation_file": str(folder / "train.jsonl"),
        "output_dir": str(folder / head),
        "model_name_or_path": str(encoder),
        "labels": None,
        "crf": head == "bio_crf",
        "max_steps": 100,
        "seed": 0,
        "learning_rate": 2e-3,
        "head_learning_rate": 5e-3,
        "use_cpu": True,
        "disable_tqdm": True,
        **changes,
    }


def spans(rows: list[dict]) -> list[list[tuple]]:
    return [[(span["start"], span["end"], span["label"]) for span in row["entities"]] for row in rows]


def without_scores(found: list[list[tuple]]) -> list[list[tuple]]:
    return [[span[:3] for span in sentence] for sentence in found]


@pytest.fixture(scope="module")
def taggers(encoder, english_rows, tmp_path_factory):
    """Factory of tagger folders by head, each trained once on eight sentences; with what `train_bio` returned."""
    made: dict[str, tuple[Path, dict]] = {}

    def make(head: str) -> tuple[Path, dict]:
        if head not in made:
            folder = tmp_path_factory.mktemp(head)
            write_rows(folder / "train.jsonl", english_rows)
            returned = train_bio(**settings(head, encoder, folder, eval_steps=10, save_total_limit=10))
            made[head] = folder / head, returned
        return made[head]

    return make


@pytest.mark.parametrize("head", HEADS)
def test_eight_sentences_are_learnt_by_heart(head, taggers, english_rows):
    folder, returned = taggers(head)
    assert returned["validation"]["validation_f1"] == 1.0
    assert returned["validation"]["validation_gold_spans"] == 16
    assert [update for update, _ in returned["curve"]] == list(range(10, 101, 10))
    assert returned["curve"][0][1] < 1.0
    found = predict_bio(folder, english_rows, batch_size=3)
    assert without_scores(found) == spans(english_rows)
    scores = [span[3] for sentence in found for span in sentence]
    assert all(score == 1.0 for score in scores) if head == "bio_crf" else all(0.2 < score < 1.0 for score in scores)


def test_any_batch_size_finds_the_same(taggers, english_rows):
    folders = [taggers(head)[0] for head in HEADS]
    rows = [row("the old bear crossed north harrow pass at 4 july ."), row("snow"), *english_rows]
    alone, batched = ([predict_bio(folder, rows, batch_size=size) for folder in folders] for size in (1, 4))
    for one, other in zip(alone, batched, strict=True):
        assert without_scores(one) == without_scores(other)
        scores = [[span[3] for sentence in found for span in sentence] for found in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_folder_without_its_head_is_refused(head, taggers, english_rows, tmp_path):
    shutil.copytree(taggers(head)[0], tmp_path / "lacking", ignore=shutil.ignore_patterns("checkpoint-*"))
    weights = load_file(tmp_path / "lacking" / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.endswith("classifier.weight")}
    assert len(kept) == len(weights) - 1
    save_file(kept, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"classifier\.weight"):
        predict_bio(tmp_path / "lacking", english_rows)


@pytest.mark.parametrize("head", HEADS)
def test_the_checkpoint_best_on_dev_is_kept(head, taggers):
    folder, returned = taggers(head)
    best = max(returned["curve"], key=lambda point: point[1])[0]
    assert best < 100
    kept, chosen, last = (
        load_file(path / "model.safetensors")
        for path in (folder, folder / f"checkpoint-{best}", folder / "checkpoint-100")
    )
    assert all(torch.equal(kept[name], chosen[name]) for name in kept)
    assert not all(torch.equal(kept[name], last[name]) for name in kept)


def test_the_plain_head_is_a_model_of_transformers_own(taggers, english_rows):
    folder, _ = taggers("bio")
    model, loading = AutoModelForTokenClassification.from_pretrained(folder, output_loading_info=True)
    assert type(model) is BertForTokenClassification
    assert not any(loading.values())
    assert [model.config.id2label[column] for column in range(11)] == TAGS
    batch = AutoTokenizer.from_pretrained(folder)(["old", "axe"], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        best = model.eval()(**batch).logits.argmax(-1)[0].tolist()
    assert [TAGS[column] for column in best[1:3]] == ["B-GEAR", "I-GEAR"]


@pytest.mark.parametrize("head", HEADS)
def test_a_folder_holds_no_pickle_at_its_top(head, taggers):
    folder, _ = taggers(head)
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert {"model.safetensors", "tokenizer.json", "training_args.json"} < names
    assert ("bio_crf.json" in names, "config.json" in names) == (head == "bio_crf", head == "bio")
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]


def test_viterbi_finds_the_best_path_of_all(taggers):
    """Brute force over every tag sequence of three units, from the saved weights alone."""
    folder, _ = taggers("bio_crf")
    weights = load_file(folder / "model.safetensors")
    emitter = BertForTokenClassification(AutoConfig.from_pretrained(folder / "bio_crf.json")).eval()
    emitter.load_state_dict({k.removeprefix("emissions."): v for k, v in weights.items() if "emissions." in k})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ("pass 5 axe", "deep july bear", "north old 4"):
        with torch.no_grad():
            emissions = emitter(**tokenizer(text, return_tensors="pt")).logits[0, 1:4]

        def score(path, emissions=emissions):
            return float(
                weights["crf.start_transitions"][path[0]]
                + sum(emissions[at, tag] for at, tag in enumerate(path))
                + sum(weights["crf.transitions"][a, b] for a, b in pairwise(path))
                + weights["crf.end_transitions"][path[-1]]
            )

        best = max(product(range(len(TAGS)), repeat=3), key=score)
        wanted = [span[:3] for span in tags_to_spans([TAGS[tag] for tag in best])]
        assert without_scores(predict_bio(folder, [row(text)]))[0] == wanted


def tags_to_spans(tags: list[str]) -> list[tuple[int, int, str]]:
    return [(span["start"], span["end"], span["label"]) for span in spans_of_tags(tags)]


def legal(path: tuple[int, ...]) -> bool:
    """Whether each I of a sequence of O, B-0, I-0, B-1, I-1, … follows B or I of its label."""
    return all(tag % 2 or tag == 0 or before in (tag - 1, tag) for before, tag in pairwise((0, *path)))


def test_a_crf_knows_only_paths_whose_inside_tags_follow_their_label():
    """Brute force over every sequence of tags of two labels, with emissions that want inside tags everywhere."""
    pytest.importorskip("torchcrf", reason="pytorch-crf is not installed: pip install --no-deps pytorch-crf")
    torch.manual_seed(0)
    crf = tag_transitions(2).double()
    emissions = torch.randn(1, 4, 5, dtype=torch.double)
    emissions[..., 2::2] += 3
    gold, real = (0, 1, 2, 3), torch.ones(1, 4, dtype=torch.bool)

    def score(path) -> torch.Tensor:
        between = [crf.transitions[a, b] for a, b in pairwise(path)]
        ends = [crf.start_transitions[path[0]], crf.end_transitions[path[-1]]]
        return torch.stack([*between, *ends, *(emissions[0, at, tag] for at, tag in enumerate(path))]).sum()

    paths = [path for path in product(range(5), repeat=4) if legal(path)]
    assert 100 < len(paths) < 5**4
    with torch.no_grad():
        scores = torch.stack([score(path) for path in paths])
        likelihood = crf(emissions, torch.tensor([gold]), real)
        torch.testing.assert_close(likelihood, score(gold) - scores.logsumexp(0))
    assert tuple(crf.decode(emissions, real)[0]) == paths[int(scores.argmax())]


def test_transitions_learn_faster_than_the_head_and_forbidden_ones_stay(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows)
    first, second = (
        train_and_load(settings("bio_crf", encoder, tmp_path, output_dir=str(tmp_path / str(steps)), max_steps=steps,
                                validation_file=None, weight_decay=0.1, warmup_steps=0, head_learning_rate=1e-3,
                                lr_scheduler_type="constant"))
        for steps in (1, 2)
    )  # fmt: skip
    moved = (second["crf.transitions"] - first["crf.transitions"]).abs()
    inside, ways = torch.arange(11) % 2 == 0, torch.eye(11) + torch.eye(11).roll(1, 1)
    forbidden = inside & (torch.arange(11) > 0) & (ways == 0)
    assert moved[~forbidden].max() == pytest.approx(0.05, rel=0.2)
    assert second["crf.transitions"][forbidden].unique().tolist() == [FORBIDDEN]
    assert second["crf.start_transitions"][2::2].unique().tolist() == [FORBIDDEN]
    assert (second["emissions.classifier.bias"] - first["emissions.classifier.bias"]).abs().max() < 2e-3


@pytest.mark.parametrize("head", HEADS)
def test_long_text_is_tagged_to_its_end(head, taggers, english_rows):
    folder, _ = taggers(head)
    one = english_rows[5]  # axe , axe , axe .
    long = row(" ".join(one["tokens"] * 60))
    assert len(long["tokens"]) == 360  # the encoder reads 128 pieces
    found = predict_bio(folder, [long, one])
    wanted = [(at, at + 1, "GEAR") for at in range(0, 360, 2)]
    assert span_scores([wanted], [without_scores(found)[0]])["f1"] > 0.9
    assert found[0][-1][0] > 350
    assert without_scores(found)[1] == [(0, 1, "GEAR"), (2, 3, "GEAR"), (4, 5, "GEAR")]


@pytest.mark.parametrize("head", HEADS)
def test_a_unit_longer_than_the_encoder_reads_does_not_end_the_rest(head, taggers, encoder):
    folder, _ = taggers(head)
    long = row("axe , " + "我" * 200 + " , axe .", (0, 1, "GEAR"), (4, 5, "GEAR"))
    assert {(0, 1, "GEAR"), (4, 5, "GEAR")} <= set(without_scores(predict_bio(folder, [long]))[0])
    config = AutoConfig.from_pretrained(encoder, id2label=dict(enumerate(bio_tags(["GEAR"]))))
    config.label2id = {tag: column for column, tag in config.id2label.items()}
    [feature] = bio_features([long], AutoTokenizer.from_pretrained(encoder), config)
    assert len(feature["input_ids"]) <= config.max_position_embeddings


@pytest.mark.parametrize("head", HEADS)
def test_units_of_many_pieces_count_once(head, encoder, tmp_path):
    """`trailheads` is split into pieces, the head of a unit is its first piece."""
    rows = [row("harrowing trailheads at creeks", (0, 2, "PLACE"), (3, 4, "PLACE")), row("bears left", (0, 1, "BEAR"))]
    write_rows(tmp_path / "train.jsonl", rows)
    pieces = AutoTokenizer.from_pretrained(encoder)(rows[0]["tokens"], is_split_into_words=True)
    assert len(pieces["input_ids"]) > 6
    train_bio(**settings(head, encoder, tmp_path, validation_file=None, max_steps=60))
    assert without_scores(predict_bio(tmp_path / head, rows)) == spans(rows)


@pytest.mark.parametrize("head", HEADS)
def test_same_seed_same_tagger_and_every_parameter_moves(head, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows)
    first, again, later = (
        train_and_load(settings(head, encoder, tmp_path, output_dir=str(tmp_path / name), max_steps=steps,
                                validation_file=None, lr_scheduler_type="constant"))
        for name, steps in (("first", 1), ("again", 1), ("later", 2))
    )  # fmt: skip
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert [name for name in first if torch.equal(first[name], later[name])] == []


def test_a_bar_is_drawn_where_someone_looks_on(encoder, english_rows, tmp_path, monkeypatch):
    write_rows(tmp_path / "train.jsonl", english_rows)
    given = settings("bio", encoder, tmp_path, max_steps=2, validation_file=None)
    del given["disable_tqdm"]
    be_quiet()
    assert b" 2/2 [" in shown_by(lambda: train_bio(**given), monkeypatch)


def train_and_load(arguments: dict) -> dict[str, torch.Tensor]:
    assert train_bio(**arguments) == {"validation": {}, "curve": []}
    return load_file(Path(arguments["output_dir"]) / "model.safetensors")


@pytest.mark.parametrize("head", HEADS)
def test_encoder_and_head_have_rates_of_their_own(head, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows)
    common = {"max_steps": 1, "validation_file": None, "lr_scheduler_type": "constant"}
    still, encoder_alone, head_alone = (
        train_and_load(settings(head, encoder, tmp_path, output_dir=str(tmp_path / name), **common, **rates))
        for name, rates in (
            ("still", {"learning_rate": 0.0, "head_learning_rate": 0.0}),
            ("encoder", {"head_learning_rate": 0.0}),
            ("head", {"learning_rate": 0.0}),
        )
    )
    moved = [
        {name for name in still if not torch.equal(still[name], weights[name])}
        for weights in (encoder_alone, head_alone)
    ]
    plain = {"classifier.weight", "classifier.bias"}
    crf = {"crf.transitions", "crf.start_transitions", "crf.end_transitions"}
    assert moved[1] == (plain if head == "bio" else {f"emissions.{name}" for name in plain} | crf)
    assert moved[0] == still.keys() - moved[1]


@pytest.mark.parametrize("head", HEADS)
def test_batches_by_cost_hold_sentences_of_one_length(head, encoder, tmp_path):
    rows = [row("a bear" + " snow" * extra, (1, 2, "WILDLIFE")) for extra in range(12)]
    options = settings(head, encoder, tmp_path, spans_per_batch=60)
    tokenizer, network = _build(str(encoder), "word", ["WILDLIFE"], options["crf"], 0.1)
    learner = BioTrainer(
        model=network,
        args=KnowFreeTrainingArguments(str(tmp_path / "out"), spans_per_batch=60, use_cpu=True, report_to="none"),
        train_dataset=bio_features(rows, tokenizer, emission_model(network).config),
        data_collator=DataCollatorForTokenClassification(tokenizer),
    )
    batches = [(batch["labels"] != -100).sum(1).tolist() for batch in learner.get_train_dataloader()]
    assert sorted(length for batch in batches for length in batch) == list(range(2, 14))
    assert all(len(batch) * max(batch) * (max(batch) + 1) // 2 <= 60 or len(batch) == 1 for batch in batches)
    assert max(map(len, batches)) > 3
    write_rows(tmp_path / "train.jsonl", rows)
    train_bio(**options | {"max_steps": 2, "validation_file": None})


@pytest.mark.parametrize("head", HEADS)
def test_a_row_s_own_weight_is_its_share_of_the_loss(head, encoder, english_rows, tmp_path):
    tokenizer, network = _build(str(encoder), "word", ["WILDLIFE"], settings(head, encoder, tmp_path)["crf"], 0.0)
    collate = DataCollatorForTokenClassification(tokenizer)
    learner = BioTrainer(
        model=network.eval(), args=KnowFreeTrainingArguments(str(tmp_path / "out"), use_cpu=True, report_to="none")
    )

    def loss(*rows: dict) -> float:
        with torch.no_grad():
            return float(
                learner.compute_loss(network, collate(bio_features(rows, tokenizer, emission_model(network).config)))
            )

    pair = [row("deep snow on the pass"), row("a bear left again", (1, 2, "WILDLIFE"))]
    whole, first, second = loss(*pair), loss(pair[0]), loss(pair[1])
    shares = (0.5, 0.5) if head == "bio_crf" else (5 / 9, 4 / 9)  # a mean over sentences, or over tags
    assert whole == pytest.approx(shares[0] * first + shares[1] * second, rel=1e-5)
    weighted = loss(pair[0], {**pair[1], "weight": 0.25})
    assert weighted == pytest.approx(shares[0] * first + 0.25 * shares[1] * second, rel=1e-5)
    if head == "bio":
        batch = collate(bio_features(pair, tokenizer, network.config))
        batch.pop("loss_weights")
        with torch.no_grad():
            assert whole == pytest.approx(float(network(**batch).loss), rel=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_an_interrupted_training_goes_on_to_the_same_tagger(head, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows)
    whole = settings(head, encoder, tmp_path, output_dir=str(tmp_path / "whole"), max_steps=10, save_total_limit=5)
    train_bio(**whole)
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole" / "checkpoint-4", cut / "checkpoint-4")
    returned = train_bio(**whole | {"output_dir": str(cut), "resume_from_checkpoint": "last"})
    assert [update for update, _ in returned["curve"]] == [2, 4, 6, 8, 10]
    one, other = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (row("deep snow on the ridge", (0, 2, "CONDITION"), (1, 2, "PLACE"), id="n1"), "[1, 2) 'PLACE'"),
        (row("deep snow on the ridge", (0, 2, "CONDITION"), (1, 3, "PLACE"), id="n1"), "[1, 3) 'PLACE'"),
        (row("deep snow on the ridge", (0, 2, "CONDITION"), (0, 2, "PLACE"), id="n1"), "[0, 2) 'PLACE'"),
    ],
    ids=["nested", "crossing", "two labels on one span"],
)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_gold_that_bio_cannot_hold_is_refused(bad, shown, split, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows)
    write_rows(tmp_path / f"{split}.jsonl", [*english_rows[:4], bad])
    changes = {"validation_file": str(tmp_path / f"{split}.jsonl")}
    with pytest.raises(InputError) as error:
        train_bio(**settings("bio", encoder, tmp_path, **changes))
    message = str(error.value)
    assert f"{split}.jsonl, row 5 (id 'n1'): " in message
    assert shown in message and "BIO cannot hold them" in message and "--task nested_ner" in message
    assert not (tmp_path / "bio").exists()


def test_a_run_may_have_bio_learn_from_the_outermost_of_overlapping_spans(encoder, english_rows, tmp_path, caplog):
    nested = row("deep snow on the ridge", (0, 5, "CONDITION"), (3, 5, "PLACE"), id="n1")
    write_rows(tmp_path / "train.jsonl", [*english_rows, nested])
    with caplog.at_level("WARNING"):
        returned = train_bio(**settings("bio", encoder, tmp_path, overlapping=True))
    assert "1 gold spans lie in or across others" in caplog.text
    assert (
        returned["validation"]["validation_recall"] == 17 / 18 and returned["validation"]["validation_precision"] == 1
    )


def test_a_label_without_training_spans_can_be_named(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows[5:])
    labels = ["WILDLIFE", "GEAR", "PLACE", "TIME"]
    train_bio(**settings("bio", encoder, tmp_path, labels=labels, max_steps=2, validation_file=None))
    config = json.loads((tmp_path / "bio" / "config.json").read_text())
    assert list(config["id2label"].values())[:3] == ["O", "B-WILDLIFE", "I-WILDLIFE"]


def test_without_pytorch_crf_the_error_names_the_mend(encoder, english_rows, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcrf", None)
    write_rows(tmp_path / "train.jsonl", english_rows)
    arguments = settings("bio", encoder, tmp_path) | {"crf": True}
    with pytest.raises(InputError, match="pip install --no-deps pytorch-crf"):
        train_bio(**arguments)
    assert not (tmp_path / "bio").exists()


def test_a_folder_in_use_and_a_folder_of_something_else_are_refused(taggers, encoder, tmp_path):
    folder, _ = taggers("bio")
    with pytest.raises(InputError, match="is not empty"):
        train_bio(**settings("bio", encoder, folder.parent))
    for wrong, what in (
        (tmp_path / "none", "no such folder"),
        (encoder, "weights are missing, such as classifier"),
        (tmp_path, "has no tokenizer"),
    ):
        with pytest.raises(InputError, match=what):
            predict_bio(wrong, [row("deep snow")])
