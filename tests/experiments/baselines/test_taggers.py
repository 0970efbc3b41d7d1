"""What every baseline network must do: learn by heart, move all its parameters, not care for padding, save and load."""

import json
import logging

import pytest
import torch
from knowfree_experiments.baselines import windowed
from knowfree_experiments.baselines.tagger import (
    TaggerCollator,
    TaggerTrainer,
    load_tagger,
    outermost,
    predict_tagger,
    tag,
    tagger_class,
    train_tagger,
    training_features,
)
from transformers import AutoConfig, AutoTokenizer, LongformerConfig, LongformerModel

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.training.config import build_config
from tests.conftest import row

SIZES = {
    "w2ner": {"lstm_size": 32, "channels": 16, "biaffine_size": 16, "hidden_size": 16, "embedding_size": 6},
    "difinet": {"side_size": 24, "span_size": 16},
    "bert_bilstm_crf": {"lstm_size": 32},
    "flat": {"size": 24, "heads": 4},
    "mect": {"size": 24, "heads": 4, "part_size": 8},
    "lebert": {},
    "pcbert": {},
}
NAMES = list(SIZES)
FOR_WORDS = NAMES[:3]
"""Networks that do not need characters and a lexicon."""

NESTED = [
    row("北京大学医院的时候", (0, 2, "LOC"), (0, 4, "ORG"), (0, 6, "ORG")),
    row("张三去北京大学", (0, 2, "PER"), (3, 5, "LOC"), (3, 7, "ORG")),
    row("我们一起在嘉鱼", (5, 7, "LOC")),
    row("李四在大学医院见面", (0, 2, "PER"), (3, 7, "ORG")),
    row("今天下午去北京东站", (0, 2, "TIME"), (0, 4, "TIME"), (5, 7, "LOC"), (5, 9, "LOC")),
    row("我们见面了。"),
    row("张三李四一起", (0, 2, "PER"), (2, 4, "PER")),
    row("嘉鱼地铁站", (0, 2, "LOC"), (0, 5, "LOC")),
]
LEXICON = "北京\n大学\n北京大学\n嘉鱼\n医院\n地铁站\n地铁\n张三\n李四\n今天\n下午\n东站\n"
TWO_LABELS = [{**each, "entities": list(each["entities"])} for each in NESTED]
TWO_LABELS[7] = row("嘉鱼地铁站", (0, 2, "LOC"), (0, 5, "LOC"), (0, 5, "ORG"))


def arguments(encoder, folder, rows, **changes) -> dict:
    """Arguments of a training that takes seconds, on rows written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.jsonl", rows)
    return {
        "model_name_or_path": str(encoder),
        "train_file": str(folder / "train.jsonl"),
        "validation_file": str(folder / "train.jsonl"),
        "output_dir": str(folder / "model"),
        "learning_rate": 2e-3,
        "head_learning_rate": 1e-2,
        "head_dropout": 0.0,
        "max_steps": 40,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
        **changes,
    }


def spans(rows: list[dict]) -> list[list[tuple]]:
    return [sorted((span["start"], span["end"], span["label"]) for span in each["entities"]) for each in rows]


def found_in(folder, rows, batch_size=3) -> list[list[tuple]]:
    return [sorted(span[:3] for span in each) for each in predict_tagger(folder, rows, batch_size)]


@pytest.fixture
def lexicon(tmp_path):
    """A file of words."""
    path = tmp_path / "words.txt"
    path.write_text(LEXICON, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def of_words(encoder, english_rows, tmp_path_factory):
    """`of_words(name)`: the folder of a network trained on eight flat sentences, with what its training returned."""
    made = {}

    def make(name: str):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            options = arguments(encoder, folder, english_rows)
            made[name] = folder / "model", train_tagger(name, options, **SIZES[name])
        return made[name]

    return make


@pytest.mark.parametrize("name", FOR_WORDS)
def test_eight_flat_sentences_are_learnt_by_heart_and_a_saved_network_finds_the_same(name, of_words, english_rows):
    folder, returned = of_words(name)
    assert returned["validation"]["validation_f1"] == 1.0
    assert [update for update, _ in returned["curve"]] == [8, 16, 24, 32, 40]
    assert found_in(folder, english_rows) == spans(english_rows)


@pytest.mark.parametrize("name", NAMES)
def test_nested_sentences_are_learnt_as_far_as_the_network_can_hold_them(name, encoder, lexicon, tmp_path, caplog):
    options = arguments(encoder, tmp_path, NESTED, task="nested_ner")
    with caplog.at_level(logging.WARNING):
        train_tagger(name, options, lexicon=lexicon, **SIZES[name])
    kind = tagger_class(name)
    flat, lost = outermost(NESTED)
    assert lost == 6
    if kind.flat:
        assert f"{lost} gold spans" in caplog.text and kind.cannot in caplog.text
    assert found_in(tmp_path / "model", NESTED) == spans(flat if kind.flat else NESTED)


def test_two_labels_on_one_span_are_learnt_by_the_span_matrix(encoder, tmp_path):
    train_tagger("difinet", arguments(encoder, tmp_path, TWO_LABELS, task="nested_ner"), **SIZES["difinet"])
    assert found_in(tmp_path / "model", TWO_LABELS) == spans(TWO_LABELS)


def test_of_two_labels_on_one_span_the_word_grid_tells_what_it_leaves_out(network_and_batch, caplog):
    with caplog.at_level(logging.WARNING):
        network_and_batch("w2ner", TWO_LABELS)[1](TWO_LABELS)
    lost = sum(len(row["entities"]) - len({(e["start"], e["end"]) for e in row["entities"]}) for row in TWO_LABELS)
    assert lost and f"{lost} gold spans have a label beside another one's: two labels on one span" in caplog.text


@pytest.fixture
def network_and_batch(encoder, lexicon):
    """Factory of an untrained network and a function from rows to its batch."""

    def make(name, rows=NESTED, **options):
        torch.manual_seed(0)
        config = build_config(str(encoder), rows, decoding="nested", head_dropout=0.0)
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        kind = tagger_class(name)
        prepared = kind.prepare(rows, lexicon, str(encoder), config.target_labels)
        network = kind(config, **{**prepared, **SIZES[name], **options}).eval()

        def batch(some):
            features = training_features(some, tokenizer, network, 0.5)
            return TaggerCollator(0, network)(features)

        return network, batch

    return make


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_moves_in_one_step(name, network_and_batch):
    network, batch = network_and_batch(name)
    network.train()
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(2):  # what starts at zero lets its neighbours' gradients through in the second step
        optimizer.zero_grad()
        network(**batch(NESTED))["loss"].backward()
        optimizer.step()
    unseen = {"knowfree.encoder.embeddings.token_type_embeddings.weight"}  # moves, but is one constant to the encoder
    still = {key for key, value in network.named_parameters() if torch.equal(value, before[key])}
    assert not still - unseen


@pytest.mark.parametrize("name", NAMES)
def test_a_sentence_is_scored_the_same_alone_and_in_a_batch(name, network_and_batch):
    network, batch = network_and_batch(name)
    network.double()
    with torch.no_grad():
        together = network.loss(batch(NESTED))
        alone = torch.cat([network.loss(batch([each])) for each in NESTED])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_synthetic_sentences_weigh_beta(name, network_and_batch):
    network, batch = network_and_batch(name)
    gold, synthetic = batch(NESTED[:1]), batch([{**NESTED[0], "synthetic": True}])
    with torch.no_grad():
        assert float(network(**synthetic)["loss"]) == pytest.approx(0.5 * float(network(**gold)["loss"]), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_s_own_weight_goes_before_beta(name, network_and_batch):
    network, batch = network_and_batch(name)
    gold, weighted = batch(NESTED[:1]), batch([{**NESTED[0], "synthetic": True, "weight": 0.2}])
    with torch.no_grad():
        assert float(network(**weighted)["loss"]) == pytest.approx(0.2 * float(network(**gold)["loss"]), rel=1e-5)


def test_weights_of_spans_and_uncertain_ones_are_told(network_and_batch, caplog):
    entities = [{**NESTED[2]["entities"][0], "weight": 0.9}]
    soft = {**NESTED[2], "entities": entities, "uncertain": [{"start": 0, "end": 2, "label": "PER"}]}
    with caplog.at_level(logging.WARNING):
        network_and_batch("w2ner")[1]([soft, NESTED[0]])
    assert "2 spans have a weight of their own or are uncertain" in caplog.text


def test_the_span_matrix_begins_with_the_share_of_each_label(network_and_batch):
    network, batch = network_and_batch("difinet")
    with torch.no_grad():
        before = float(network(**batch(NESTED))["loss"])
        network.set_start(NESTED, "none")
        assert float(network(**batch(NESTED))["loss"]) == before > 80  # ln 2 for every span and label
        network.set_start(NESTED, "prior")
        assert float(network(**batch(NESTED))["loss"]) < before / 4


def test_a_training_of_the_span_matrix_starts_so_and_the_letter_of_the_paper_does_not(encoder, tmp_path):
    losses = {}
    for preset in ("small", "paper"):
        changes = {"preset": preset, "task": "nested_ner", "max_steps": 1, "logging_steps": 1, "learning_rate": 0.0}
        train_tagger("difinet", arguments(encoder, tmp_path / preset, NESTED, **changes), **SIZES["difinet"])
        history = json.loads((tmp_path / preset / "model" / "trainer_state.json").read_text())["log_history"]
        losses[preset] = history[0]["loss"]
    assert losses["small"] < losses["paper"] / 4


@pytest.mark.parametrize("name", FOR_WORDS)
@pytest.mark.parametrize("option", [{"gradient_checkpointing": True}, {"neftune_noise_alpha": 5.0}])
def test_what_transformers_asks_of_a_model_reaches_the_encoder(name, option, encoder, english_rows, tmp_path):
    train_tagger(name, arguments(encoder, tmp_path, english_rows, max_steps=2, **option), **SIZES[name])
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_of_overlapping_spans_the_outermost_are_kept():
    rows = [row("a b c d e", (1, 2, "X"), (0, 3, "Y"), (0, 3, "Z"), (2, 5, "X"), (3, 4, "X"))]
    kept, lost = outermost(rows)
    assert spans(kept) == [[(0, 3, "Y"), (3, 4, "X")]] and lost == 3
    assert len(rows[0]["entities"]) == 5


def test_text_longer_than_the_encoder_reads_is_tagged_in_windows(of_words, english_rows):
    folder, _ = of_words("difinet")
    tokens = english_rows[4]["tokens"]  # "the bear left at 4 am"
    found = found_in(folder, [{"id": "long", "tokens": tokens * 40, "entities": []}])[0]
    assert found[-1][1] > 200 and len(found) == len(set(found))


@pytest.mark.parametrize(
    ("name", "sizes"), [("w2ner", [1, 4, 3]), ("difinet", [1, 4, 3]), ("flat", [1, 2, 2, 3]), ("lebert", [8])]
)
def test_sentences_are_tagged_as_many_at_once_as_their_cells_let(name, sizes, network_and_batch, encoder, monkeypatch):
    network, _ = network_and_batch(name)
    network.double()
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    rows = [{"id": "long", "tokens": list("张三去北京大学" * 4), "entities": []}, *NESTED[:7]]
    together = tag(network, tokenizer, rows, 8)
    found, find = [], network.find

    def counted(batch):
        found.append(tuple(batch["input_ids"].shape))
        return find(batch)

    monkeypatch.setattr(network, "find", counted)
    monkeypatch.setattr(windowed, "MOST_CELLS", 350)  # four sentences of 9 units have 324; three of 9 with 4 words, 507
    again = tag(network, tokenizer, rows, 8)
    assert [size for size, _ in found] == sizes and found[0][1] == 28 + 2
    assert [[span[:3] for span in spans] for spans in again] == [[span[:3] for span in spans] for spans in together]


def test_the_prompt_leaves_half_of_what_the_encoder_reads_to_the_sentence(encoder, lexicon):
    kind = tagger_class("pcbert")
    names = [f"label{number:02}" for number in range(8)]  # 7 pieces and a mask each, of 128 / 2
    rows = [{**NESTED[0], "extensions": [{"start": 0, "end": 2, "label": f"ENT:kind{n}"}]} for n in range(3)]
    fitting = kind.prepare(rows, lexicon, str(encoder), names[:7])
    assert len(fitting["prompt"]) == 7 * 8 + 6 + 2 and fitting["implicit"] == ["ENT:kind0"]
    kind.check(NESTED, lexicon, str(encoder), names[:7])
    with pytest.raises(InputError, match=r"names of 8 labels are a prompt of 66 pieces, .* reads 128 at once.* mend"):
        kind.check(NESTED, lexicon, str(encoder), names)


def test_a_training_batch_of_a_lattice_costs_by_its_words_too(encoder, lexicon, tmp_path, monkeypatch):
    lengths = []

    def taken(trainer):
        lengths.append(trainer.units_and_width()[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(TaggerTrainer, "get_train_dataloader", taken)
    for name in ("lebert", "flat"):
        with pytest.raises(KeyboardInterrupt):
            options = arguments(encoder, tmp_path / name, NESTED, task="nested_ner")
            train_tagger(name, options, lexicon=lexicon, **SIZES[name])
    units = [len(each["tokens"]) for each in NESTED]
    words = [4, 4, 1, 3, 4, 0, 2, 3]
    assert lengths == [units, [sum(pair) for pair in zip(units, words, strict=True)]]


@pytest.mark.parametrize("name", ["lebert", "pcbert"])
def test_words_enter_an_encoder_that_pads_inside_itself(name, encoder, lexicon, tmp_path):
    """Longformer pads to whole windows of attention, 8 pieces here."""
    vocabulary = AutoConfig.from_pretrained(encoder).vocab_size
    small = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    config = LongformerConfig(vocab_size=vocabulary, attention_window=[8, 8], pad_token_id=0, **small)
    LongformerModel(config).save_pretrained(tmp_path / "longformer")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path / "longformer")
    options = arguments(tmp_path / "longformer", tmp_path / "run", NESTED, task="nested_ner", max_steps=1)
    train_tagger(name, options, lexicon=lexicon, **SIZES[name])
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_folders_that_hold_no_network_are_refused(encoder, tmp_path):
    for wrong in (tmp_path / "none", encoder, tmp_path):
        with pytest.raises(InputError, match=r"tagger\.json"):
            load_tagger(wrong)
    (tmp_path / "tagger.json").write_text(json.dumps({"tagger": "w2ner"}))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_tagger(tmp_path)
