"""What users of transformers type by habit works, or is refused in a sentence that says what to type instead."""

import json

import datasets
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
    pipeline,
)
from transformers.pipelines.pt_utils import KeyDataset

from modeling_knowfree.data.readers import write_rows
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.tokenizer import load_tokenizer
from modeling_knowfree.training.train import train
from modeling_knowfree.units_knowfree import encode_units
from tests.conftest import CHARACTERS, WORDS, row

TEXTS = ["left harrow creek trailhead at 5 am .", "", "deep snow on the north pass", "the bear left at 4 am"]


@pytest.fixture(scope="module")
def tagger(trained):
    return pipeline("knowfree", model=str(trained), trust_remote_code=True)


@pytest.fixture(scope="module")
def found(tagger):
    """The spans of TEXTS, one text at a time."""
    spans = [tagger(text) for text in TEXTS]
    assert spans[0] and spans[1] == [] and spans[2] and spans[3]
    return spans


@pytest.mark.parametrize("task", ["token-classification", "ner", None])
def test_the_tasks_of_habit_are_this_pipeline(task, trained, found):
    pipe = pipeline(task, model=str(trained), trust_remote_code=True)
    assert type(pipe).__name__ == "KnowFreePipeline" and pipe(TEXTS) == found


@pytest.mark.parametrize("task", ["knowfree", "token-classification", "ner"])
def test_without_trust_they_say_what_to_type(task, trained):
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        pipeline(task, model=str(trained), trust_remote_code=False)


def test_a_saved_config_has_one_pipeline(trained):
    assert list(json.loads((trained / "config.json").read_text())["custom_pipelines"]) == ["knowfree"]


def test_a_loaded_model_works_with_a_pipeline_of_its_task(trained, found):
    model = AutoModelForTokenClassification.from_pretrained(trained, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(trained, trust_remote_code=True)
    assert pipeline("knowfree", model=model, tokenizer=tokenizer)(TEXTS) == found


@pytest.mark.parametrize("auto", [AutoModelForTokenClassification, AutoModel])
def test_a_model_with_more_pieces_is_loaded_as_it_was_saved(auto, trained, tmp_path):
    model = auto.from_pretrained(trained, trust_remote_code=True)
    pieces = model.get_input_embeddings().num_embeddings
    model.resize_token_embeddings(pieces + 2)
    model.save_pretrained(tmp_path)
    again = auto.from_pretrained(tmp_path, trust_remote_code=True)
    assert again.get_input_embeddings().num_embeddings == pieces + 2


def test_sentences_without_a_unit_are_no_batch(trained):
    model = AutoModelForTokenClassification.from_pretrained(trained, trust_remote_code=True)
    empty = {"input_ids": torch.tensor([[2, 3]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    with pytest.raises(ValueError, match="at least one sentence with a unit"):
        model(**empty, unit_ids=torch.full((1, 2), -1), num_units=torch.tensor([0]))


def test_a_model_called_on_a_tokenizers_output_says_what_to_call(trained):
    """`pipeline("ner", model=<a model>)` cannot know the task's class; it ends in the same sentence."""
    model = AutoModelForTokenClassification.from_pretrained(trained, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(trained, trust_remote_code=True)
    told = r'pipeline\("knowfree", model=FOLDER_OR_REPO, trust_remote_code=True'
    with pytest.raises((ValueError, TypeError), match=told):
        model(**tokenizer("left harrow creek", return_tensors="pt"))
    with pytest.raises((ValueError, TypeError), match=told):
        pipeline("ner", model=model, tokenizer=tokenizer)("left harrow creek")


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_spans_are_aggregated_already(strategy, trained, tagger, found):
    assert tagger(TEXTS, aggregation_strategy=strategy) == found
    if strategy == "simple":
        assert (
            pipeline("ner", model=str(trained), trust_remote_code=True, aggregation_strategy=strategy)(TEXTS) == found
        )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"aggregation_strategy": "none"}, "aggregation_strategy='none': .* whole spans"),
        ({"aggregation_strategy": "best"}, "aggregation_strategy='best'"),
        ({"stride": 16}, "no option 'stride': .*window_overlap"),
        ({"grouped_entities": True}, "no option 'grouped_entities': .*leave it out"),
        ({"delimiter": "|"}, "no option 'delimiter': .*is_split_into_words"),
        ({"truncation": True}, "no option 'truncation': overflow='truncate'"),
        ({"ignore_labels": "PLACE"}, "ignore_labels='PLACE': give a list"),
        ({"tresholt": 0.5}, "no option 'tresholt'$"),
    ],
)
def test_options_that_mean_nothing_here_are_refused_by_name(option, told, trained, tagger):
    with pytest.raises(ValueError, match=told):
        tagger(TEXTS, **option)
    with pytest.raises(ValueError, match=told):
        type(tagger)(model=tagger.model, tokenizer=tagger.tokenizer, **option)


def test_ignored_labels_are_left_out(tagger, found):
    labels = {span["entity_group"] for spans in found for span in spans}
    assert tagger(TEXTS, ignore_labels=["O"]) == found
    for label in labels:
        kept = [[span for span in spans if span["entity_group"] != label] for spans in found]
        assert tagger(TEXTS, ignore_labels=[label, "O"]) == kept
    assert tagger(TEXTS, ignore_labels=sorted(labels)) == [[]] * len(TEXTS)


def test_key_data_sets_columns_arrays_and_generators(tagger, found):
    data = datasets.Dataset.from_dict({"id": list(range(len(TEXTS))), "text": TEXTS})
    assert list(tagger(KeyDataset(data, "text"))) == found
    assert list(tagger(KeyDataset(data, "text"), batch_size=2, num_workers=0)) == found
    assert tagger(data["text"]) == found
    assert list(tagger(text for text in TEXTS)) == found
    assert tagger(np.array(TEXTS)) == found
    assert tagger(tuple(TEXTS)) == found
    assert list(tagger(TextOnly())) == found
    with pytest.raises(ValueError, match=r'input 0: takes text, got dict.*KeyDataset\(data, "text"\)'):
        list(tagger(data))


class TextOnly(torch.utils.data.Dataset):
    """A data set of torch: a length and items, no iterator."""

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, at):
        return TEXTS[at]


def test_a_generator_is_answered_as_it_streams(tagger):
    def endless():
        while True:
            yield "the bear left at 4 am"

    answers = tagger(endless(), batch_size=2)
    assert [next(answers) for _ in range(3)] == [tagger("the bear left at 4 am")] * 3


def test_map_over_a_data_set(tagger, found):
    data = datasets.Dataset.from_dict({"text": TEXTS})
    batched = data.map(lambda batch: {"spans": tagger(batch["text"])}, batched=True, batch_size=3)
    assert [[dict(span) for span in spans] for spans in batched["spans"]] == found
    one = data.select([0, 2]).map(lambda row: {"spans": tagger(row["text"])})
    assert list(one["spans"]) == [found[0], found[2]]


@pytest.mark.parametrize("size", [1, 3, 64])
def test_batch_size(size, trained, tagger, found):
    assert tagger(TEXTS, batch_size=size) == found
    assert pipeline("knowfree", model=str(trained), trust_remote_code=True, batch_size=size)(TEXTS) == found


@pytest.mark.parametrize("size", [0, -1])
def test_a_pipeline_of_no_batch_is_refused(size, trained):
    with pytest.raises(ValueError, match=f"batch_size={size}: give a whole number, 1 or more"):
        pipeline("knowfree", model=str(trained), trust_remote_code=True, batch_size=size)


@pytest.mark.parametrize("device", ["cpu", -1, torch.device("cpu")])
def test_device(device, trained, found):
    pipe = pipeline("knowfree", model=str(trained), trust_remote_code=True, device=device)
    assert pipe.device == torch.device("cpu") and pipe(TEXTS) == found


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", torch.float64])
def test_dtype(dtype, trained, found):
    pipe = pipeline("knowfree", model=str(trained), trust_remote_code=True, dtype=dtype)
    assert pipe.model.dtype == (torch.float64 if dtype is torch.float64 else torch.bfloat16)
    for spans, exact in zip(pipe(TEXTS), found, strict=True):
        assert [(s["start"], s["end"], s["entity_group"]) for s in spans] == [
            (s["start"], s["end"], s["entity_group"]) for s in exact
        ]
        for span, same in zip(spans, exact, strict=True):
            assert type(span["score"]) is float and span["score"] == pytest.approx(same["score"], abs=0.05)


@pytest.fixture(scope="module")
def marked_encoder(tmp_path_factory):
    """Folder of a tiny encoder whose tokenizer begins every word with a mark, as SentencePiece does."""
    folder = tmp_path_factory.mktemp("marked")
    special = ["<s>", "<pad>", "</s>", "<unk>", "\u2581"]
    plain = dict.fromkeys([*CHARACTERS, *"abcdefghijklmnopqrstuvwxyz0123456789", *(f"\u2581{word}" for word in WORDS)])
    backend = Tokenizer(models.Unigram([(piece, -1.0 - len(special) / 9) for piece in [*special, *plain]], unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 32}
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=len(special) + len(plain), max_position_embeddings=66, **sizes)
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("unit", ["character", "word"])
@pytest.mark.parametrize("kind", ["word pieces", "word marks"])
def test_the_repositorys_tokenizer_cuts_as_training_did(unit, kind, encoder, marked_encoder, english_rows, tmp_path):
    """What AutoTokenizer gives for units is what the features of training held; raw text is cut into the same units."""
    folder = encoder if kind == "word pieces" else marked_encoder
    rows = [row("我们一起在嘉鱼", (5, 7, "LOC")), row("北京 大学!".replace(" ", ""), (0, 4, "ORG"))]
    rows = english_rows if unit == "word" else rows
    write_rows(tmp_path / "rows.jsonl", rows)
    argv = ["--model_name_or_path", str(folder), "--train_file", str(tmp_path / "rows.jsonl"), "--max_steps", "1"]
    train([*argv, "--output_dir", str(tmp_path / "out"), "--use_cpu", "--disable_tqdm", "true", "--report_to", "none"])
    tagger = pipeline("ner", model=str(tmp_path / "out"), trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    features = build_features(rows, load_tokenizer(str(folder), unit), tagger.model.config)
    units = [each["tokens"] for each in rows]
    assert tokenizer(units, is_split_into_words=True)["input_ids"] == [item["input_ids"] for item in features.items]
    for tokens, pieces, item in zip(units, encode_units(tokenizer, units), features.items, strict=True):
        assert (pieces.input_ids, pieces.unit_ids) == (item["input_ids"], item["unit_ids"])
        document = tagger.preprocess([("" if unit == "character" else " ").join(tokens)])[0]
        assert document.units == tokens
        assert document.windows[0].pieces.input_ids == item["input_ids"]
