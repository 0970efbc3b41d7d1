"""`llm_lora` end to end on a causal model of a few thousand weights."""

import json

import pytest
import torch

pytest.importorskip("peft", reason="peft is not installed: pip install peft")
from knowfree_experiments.baselines.llm_lora import (
    IGNORED,
    LORA_FILE,
    _Collator,
    _feature,
    _load,
    predict_llm_lora,
    tag_by_model,
    train_llm_lora,
)
from knowfree_experiments.run.cells import Cell
from knowfree_experiments.run.settings import check_run
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from augmentation.llm.tasks import targets_request
from modeling_knowfree.data.readers import InputError, write_rows
from tests.conftest import row

ROWS = [
    row("old axe in the snow", (0, 2, "GEAR")),
    row("deep snow on the ridge"),
    row("bear on the ridge", (0, 1, "WILDLIFE"), (3, 4, "PLACE")),
    row("a bear", (1, 2, "WILDLIFE")),
]


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A folder with a one-layer Llama over single characters."""
    folder = tmp_path_factory.mktemp("causal")
    characters = sorted({chr(code) for code in range(32, 127)} | {"\n"})
    vocabulary = {piece: at for at, piece in enumerate(["<pad>", "<eos>", "<unk>", *characters])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def arguments(folder, **changes) -> dict:
    rows = [*ROWS, row("axe on ridge", (0, 1, "GEAR"), synthetic=True)]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "dev.jsonl", ROWS)
    return {
        "model_name_or_path": "unused",
        "train_file": str(folder / "train.jsonl"),
        "validation_file": str(folder / "dev.jsonl"),
        "output_dir": str(folder / "out"),
        "max_steps": 3,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
        **changes,
    }


def test_the_adapter_alone_is_tuned_saved_and_tags(causal, tmp_path):
    returned = train_llm_lora(
        arguments(tmp_path), str(causal), language="en", rank=4, max_new_tokens=24, learning_rate=1e-2
    )
    assert returned["validation"]["validation_gold_spans"] == 4 and returned["curve"] == []
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    moved = [name for name, weight in weights.items() if "lora_B" in name and weight.abs().sum() > 0]
    assert len(moved) == sum("lora_B" in name for name in weights) == 2 * 7  # every linear layer but the output
    assert json.loads((tmp_path / "out" / LORA_FILE).read_text())["labels"] == ["GEAR", "PLACE", "WILDLIFE"]
    found = predict_llm_lora(tmp_path / "out", ROWS)
    assert len(found) == len(ROWS)
    assert all(
        0 <= start < end <= len(each["tokens"])
        for each, spans in zip(ROWS, found, strict=True)
        for start, end, _, _ in spans
    )


def test_tuning_makes_the_answers_likelier(causal, tmp_path):
    from peft import PeftModel

    train_llm_lora(
        arguments(tmp_path, max_steps=12), str(causal), language="en", rank=16, max_new_tokens=1, learning_rate=1e-2
    )
    told = json.loads((tmp_path / "out" / LORA_FILE).read_text())
    losses = []
    for tuned in (False, True):
        tokenizer, network = _load(told)
        network = PeftModel.from_pretrained(network, str(tmp_path / "out")) if tuned else network
        batch = _Collator(tokenizer)([_feature(each, tokenizer, told, 1.0) for each in ROWS])
        batch.pop("weight")
        with torch.no_grad():
            losses.append(float(network.eval()(**batch).loss))
    assert losses[1] < losses[0] - 0.1


@pytest.mark.parametrize(("given", "rate"), [({}, 2e-4), ({"learning_rate": 3e-3}, 3e-3)])
def test_the_adapter_learns_at_its_own_rate(given, rate, causal, tmp_path):
    options = arguments(tmp_path, max_steps=1, lr_scheduler_type="constant", warmup_steps=0, head_learning_rate=0.5)
    train_llm_lora(options, str(causal), language="en", max_new_tokens=1, **given)
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    moved = torch.cat([weight.flatten() for name, weight in weights.items() if "lora_B" in name])  # from 0
    assert float(moved.abs().max()) == pytest.approx(rate, rel=0.05)


class Says(torch.nn.Module):
    """A model whose answer is given."""

    device = torch.device("cpu")

    def __init__(self, tokenizer, text: str, positions: int = 2048):
        super().__init__()
        self.answer = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        self.config = LlamaConfig(max_position_embeddings=positions)

    def generate(self, input_ids, max_new_tokens, **_):
        return torch.cat([input_ids, self.answer[:, :max_new_tokens]], 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"entity": "axe", "type": "GEAR"}, {"entity": "snow", "type": "PLACE"}]', [(1, 2, "GEAR"), (4, 5, "PLACE")]),
        ('[{"entity": "snow", "type": "PLACE"}, {"entity": "axe", "type": "GEAR"}]', [(4, 5, "PLACE")]),  # out of order
        ('[{"entity": "axe", "type": "TOOL"}, {"entity": "mule", "type": "GEAR"}]', []),
        (
            '[{"entity": "axe", "type": "gear"}, {"entity": "snow", "type": "Place "}]',
            [(1, 2, "GEAR"), (4, 5, "PLACE")],
        ),
        ("there is nothing", []),
    ],
)
def test_answers_are_aligned_as_every_llm_s(text, found, causal):
    told = {"model": str(causal), "dtype": "float32", "quantization": None, "language": "en", "unit": "word"}
    told |= {"labels": ["GEAR", "PLACE"], "max_new_tokens": 200, "flat": True}
    tokenizer, _ = _load(told)
    [spans] = tag_by_model(Says(tokenizer, text), tokenizer, ROWS[:1], told)
    assert [span[:3] for span in spans] == found


@pytest.mark.parametrize("less", [1, 5, 20, 30])
def test_of_an_answer_that_was_cut_the_whole_items_count(less, causal, caplog):
    told = {"model": str(causal), "dtype": "float32", "quantization": None, "language": "en", "unit": "word"}
    told |= {"labels": ["GEAR", "PLACE"], "flat": True}
    tokenizer, _ = _load(told)
    text = '[{"entity": "axe", "type": "GEAR"}, {"entity": "snow", "type": "PLACE"}]'
    told["max_new_tokens"] = len(tokenizer(text)["input_ids"]) - less
    [spans] = tag_by_model(Says(tokenizer, text), tokenizer, ROWS[:1], told)
    assert [span[:3] for span in spans] == [(1, 2, "GEAR")]
    assert "1 of 1 answers were cut; raise max_new_tokens" in caplog.text and "no JSON" not in caplog.text


def test_texts_longer_than_the_model_reads_are_told(causal, caplog):
    told = {"model": str(causal), "dtype": "float32", "quantization": None, "language": "en", "unit": "word"}
    told |= {"labels": ["GEAR"], "max_new_tokens": 9, "flat": True}
    tokenizer, _ = _load(told)
    assert tag_by_model(Says(tokenizer, "[]", positions=40), tokenizer, ROWS[:2], told) == [[], []]
    assert "2 of 2 texts are longer than the model reads" in caplog.text


def test_training_rows_longer_than_the_model_reads_are_left_out(causal, tmp_path, caplog):
    given = arguments(tmp_path, max_steps=1)
    long = row(" ".join(["snow"] * 600), (0, 1, "GEAR"))
    write_rows(tmp_path / "train.jsonl", [*ROWS, long])
    train_llm_lora(given, str(causal), language="en", max_new_tokens=2)
    assert "1 of 5 training rows are longer than" in caplog.text
    write_rows(tmp_path / "train.jsonl", [long])
    with pytest.raises(InputError, match="every question and answer is longer than the 2048 pieces"):
        train_llm_lora(given | {"output_dir": str(tmp_path / "other")}, str(causal), language="en")


def test_only_the_answer_is_learnt_and_synthetic_sentences_weigh_beta(causal):
    told = {
        "model": str(causal),
        "dtype": "float32",
        "quantization": None,
        "language": "en",
        "labels": ["GEAR"],
        "unit": "word",
    }
    tokenizer, _ = _load(told)
    feature = _feature({**ROWS[0], "synthetic": True}, tokenizer, told, 0.4)
    learnt = [label for label in feature["labels"] if label != IGNORED]
    assert tokenizer.decode(learnt) == '[{"entity": "old axe", "type": "GEAR"}]<eos>'
    assert feature["weight"] == 0.4 and feature["input_ids"][-len(learnt) :] == learnt
    batch = _Collator(tokenizer)([feature, _feature(ROWS[1], tokenizer, told, 0.4)])
    assert batch["attention_mask"].sum(1).tolist() == [
        len(feature["input_ids"]),
        int((batch["input_ids"][1] != 0).sum()),
    ]


def test_the_question_is_llm_zero_s_with_guidelines_and_meanings(causal):
    told = {"model": str(causal), "dtype": "float32", "quantization": None, "language": "en", "unit": "word"}
    told |= {"labels": ["GEAR"]}
    tokenizer, _ = _load(told)
    described = {"guidelines": "No articles.", "label_descriptions": {"GEAR": "what one carries"}}
    meanings = (("GEAR", "what one carries"),)
    for more, given in (({}, {}), (described, {"guidelines": "No articles.", "descriptions": meanings})):
        feature = _feature(ROWS[0], tokenizer, told | more, 1.0)
        question = [i for i, label in zip(feature["input_ids"], feature["labels"], strict=True) if label == IGNORED]
        asked = targets_request("", "old axe in the snow", ["GEAR"], [], language="en", **given).messages[0][1]
        assert tokenizer.decode(question) == asked + "\n"
    assert "what one carries" in asked and "No articles." in asked


def test_what_cannot_run_is_refused(causal, tmp_path):
    with pytest.raises(InputError, match="model nowhere"):
        train_llm_lora(arguments(tmp_path), "nowhere", language="en")
    with pytest.raises(InputError, match="needs a GPU"):
        train_llm_lora(arguments(tmp_path), str(causal), language="en", quantization="4bit")
    with pytest.raises(InputError, match=LORA_FILE):
        predict_llm_lora(tmp_path, ROWS)
    assert not (tmp_path / "out").exists()


def test_it_is_a_row_of_a_run(causal, encoder, tmp_path):
    from tests.support.tiny_run import call, lines_of, tiny_settings

    settings = tiny_settings(tmp_path, encoder) | {"updates": 1, "lora": {"model": str(causal), "max_new_tokens": 4}}
    settings["label_descriptions"] = {"GEAR": "what one carries"}
    settings["augment"] |= {"guidelines": "No articles."}
    call(tmp_path / "run", settings, "--variants", "llm_lora")
    told = json.loads((tmp_path / "run" / "all" / "llm_lora" / "seed-0" / LORA_FILE).read_text())
    assert (told["guidelines"], told["label_descriptions"]) == ("No articles.", {"GEAR": "what one carries"})
    [line] = lines_of(tmp_path / "run" / "results.jsonl")
    without = check_run({**settings, "label_descriptions": {}, "variants": ["llm_lora"]}, "test")
    train_file = tmp_path / "run" / "all" / "gold.jsonl"
    assert Cell(without, "all", "llm_lora", 0, train_file, tmp_path, 1).key() != line["key"]
    assert line["variant"] == "llm_lora" and line["updates"] == 1 and line["dev_f1"] == 0.0
