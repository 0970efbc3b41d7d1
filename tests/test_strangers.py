"""Models and inputs of strangers: nothing that came with them runs, nobody is asked, every refusal is one line."""

import ast
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BartConfig,
    CanineTokenizer,
    FunnelConfig,
    T5Config,
    pipeline,
)

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.inference.tag import load_pipeline, predict
from modeling_knowfree.loading import load_tokenizer
from modeling_knowfree.training.train import train
from tests.support import ROOT
from tests.support.forked import knowfree_forked

LOADERS = {"from_pretrained", "from_config", "pipeline", "SentenceTransformer"}


def sources() -> list[Path]:
    folders = ("modeling_knowfree", "augmentation", "experiments", "hub_cards", "spaces", "examples", "benchmarks")
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]


def test_every_load_says_whether_it_trusts_remote_code():
    """By its own keyword; a call that forwards the keywords it was given is its caller's."""
    silent = []
    for path in sources():
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            given = {keyword.arg for keyword in call.keywords}
            of_this_encoder = name == "from_config" and ast.unparse(call).startswith("AutoModel.from_config(config.")
            if name in LOADERS and not given & {"trust_remote_code", None} and not of_this_encoder:
                silent.append(f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)[:80]}")
    assert silent == []


def test_no_source_asks_a_question():
    asking = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sources()
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("input", "click.prompt", "click.confirm")
    ]
    assert asking == []


# ------------------------------------------------------------------ code that came along

EVIL = "from pathlib import Path\nPath({marker!r}).write_text('ran')\n"


def plant(folder: Path, marker: Path, model_type: str | None) -> None:
    """Make a model folder name code of its own for everything that can be loaded from it."""
    for name in ("configuration_evil", "modeling_evil", "tokenization_evil", "pipeline_evil"):
        (folder / f"{name}.py").write_text(EVIL.format(marker=str(marker)))
    for path in folder.glob("*_knowfree.py"):
        path.write_text(EVIL.format(marker=str(marker)))
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_evil.Config",
        "AutoModel": "modeling_evil.Model",
        "AutoModelForTokenClassification": "modeling_evil.Model",
        "AutoTokenizer": [None, "tokenization_evil.Tokenizer"],
    }
    config["custom_pipelines"] = {"knowfree": {"impl": "pipeline_evil.Pipe", "pt": ["AutoModel"], "type": "text"}}
    config["model_type"] = model_type or config["model_type"]
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": [None, "tokenization_evil.Tokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def test_the_first_line_of_input_is_no_consent(trained, tmp_path):
    """The attack as it was found: a folder of an unknown kind, and a "y" on standard input."""
    shutil.copytree(trained, tmp_path / "stranger", ignore=shutil.ignore_patterns("checkpoint-*"))
    plant(tmp_path / "stranger", tmp_path / "marker", "stranger")
    argv = ["predict", "--model", tmp_path / "stranger", "--input", "-", "--text"]
    process = knowfree_forked(*argv, stdin=b"y\n" * 9)
    assert process.wait(300) == 2 and process.output() == b"", process.errors()
    [line] = process.errors().splitlines()
    assert b"run code" in line
    assert not (tmp_path / "marker").exists()


@pytest.fixture
def no_stdin(monkeypatch):
    """Whoever reads standard input fails the test."""

    class Closed:
        def __getattr__(self, name):
            raise AssertionError(f"standard input: {name}")

    monkeypatch.setattr("sys.stdin", Closed())


@pytest.mark.parametrize("model_type", [None, "stranger", "bert"])
def test_a_strangers_folder_runs_nothing(model_type, trained, tmp_path, no_stdin):
    folder = tmp_path / "stranger"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    plant(folder, tmp_path / "marker", model_type)
    text = "left harrow creek trailhead at 5 am ."
    if model_type is None:  # ours: it loads by our classes
        assert load_pipeline(str(folder))(text) == load_pipeline(str(trained))(text) != []
    else:
        with pytest.raises(InputError):
            load_pipeline(str(folder))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("model_type", [None, "stranger"])
def test_a_strangers_encoder_runs_nothing(model_type, encoder, english_rows, tmp_path, no_stdin):
    folder = tmp_path / "stranger"
    shutil.copytree(encoder, folder)
    plant(folder, tmp_path / "marker", model_type)
    write_rows(tmp_path / "rows.jsonl", english_rows)
    argv = ["--model_name_or_path", str(folder), "--train_file", str(tmp_path / "rows.jsonl"), "--use_cpu"]
    argv += ["--output_dir", str(tmp_path / "out"), "--max_steps", "1", "--disable_tqdm", "true"]
    if model_type is None:
        train([*argv, "--report_to", "none"])
    else:
        with pytest.raises(InputError, match="run code"):
            train([*argv, "--report_to", "none"])
        assert not (tmp_path / "out").exists()
    assert not (tmp_path / "marker").exists()


# ------------------------------------------------------------------ folders that do not hold one whole model


def without_tokenizer(folder: Path) -> str:
    for path in [*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("special*")]:
        path.unlink()
    return "has no tokenizer"


def with_another_tokenizer(folder: Path) -> str:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    del vocabulary[max(vocabulary, key=vocabulary.get)]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return "belongs to another encoder"


def with_a_larger_tokenizer(folder: Path) -> str:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.add_tokens(["one", "two"])
    tokenizer.save_pretrained(folder)
    return "belongs to another encoder"


def with_weights(change: Callable[[dict], None], told: str) -> Callable[[Path], str]:
    def mutant(folder: Path) -> str:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return told

    return mutant


def with_another_shape(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    config["head_size"], config["span_size"] = 100, 100
    (folder / "config.json").write_text(json.dumps(config))
    return "cannot be loaded"


def with_a_pickle(folder: Path) -> str:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return "pytorch_model.bin, a pickle"


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["KNOWFREE_TEST_MARKER"],))


def with_a_pickle_bomb(folder: Path) -> str:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (folder / "model.safetensors").unlink()
    return "pytorch_model.bin, a pickle"


MUTANTS = {
    "no tokenizer": without_tokenizer,
    "another tokenizer": with_another_tokenizer,
    "a larger tokenizer": with_a_larger_tokenizer,
    "a weight missing": with_weights(lambda weights: weights.pop("classifier.weight"), "weights are missing"),
    "a layer of the encoder missing": with_weights(
        lambda weights: weights.pop("knowfree.encoder.encoder.layer.1.output.dense.weight"), "weights are missing"
    ),
    "a weight left over": with_weights(
        lambda weights: weights.update({"more.weight": torch.zeros(2)}), "weights are left over, such as more.weight"
    ),
    "another shape": with_another_shape,
    "a pickle": with_a_pickle,
    "a pickle bomb": with_a_pickle_bomb,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_folder_that_is_not_one_whole_model_is_refused(mutant, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("KNOWFREE_TEST_MARKER", str(tmp_path / "marker"))
    folder = tmp_path / "model"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    told = MUTANTS[mutant](folder)
    with pytest.raises(InputError) as refusal:
        load_pipeline(str(folder))
    message = str(refusal.value)
    assert told in message and str(folder) in message and len(message.splitlines()) == 1, message
    with pytest.raises((ValueError, OSError, RuntimeError)):  # and by whoever has transformers alone
        pipeline("knowfree", model=str(folder), trust_remote_code=True)
    assert not (tmp_path / "marker").exists()


def test_an_encoder_that_is_not_whole_is_refused(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "rows.jsonl", english_rows)

    def refused(folder: Path, match: str) -> None:
        argv = ["--model_name_or_path", str(folder), "--train_file", str(tmp_path / "rows.jsonl"), "--use_cpu"]
        with pytest.raises(InputError, match=match):
            train([*argv, "--output_dir", str(tmp_path / "out"), "--max_steps", "1", "--report_to", "none"])
        assert not (tmp_path / "out").exists()

    for name in ("lacking", "pickled", "mute", "small"):
        shutil.copytree(encoder, tmp_path / name)
    with_weights(lambda weights: weights.pop("encoder.layer.0.output.dense.weight"), "")(tmp_path / "lacking")
    refused(tmp_path / "lacking", "1 weights are missing, such as encoder.layer.0")
    with_a_pickle(tmp_path / "pickled")
    refused(tmp_path / "pickled", "a pickle, which could run code")
    for path in tmp_path.glob("mute/*vocab*"), tmp_path.glob("mute/tokenizer*"):
        for file in path:
            file.unlink()
    refused(tmp_path / "mute", "has no tokenizer")
    with (tmp_path / "small" / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("\nextra\nwords")
    refused(tmp_path / "small", r"its tokenizer has \d+ pieces, its encoder \d+ embeddings")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (T5Config(), "t5 is an encoder-decoder; name an encoder"),
        (T5Config(is_encoder_decoder=False), "t5 is an encoder-decoder"),  # what T5EncoderModel saves
        (BartConfig(), "bart is an encoder-decoder"),
        (FunnelConfig(), "funnel pools padding with the text, so that scores would depend on the batch"),
    ],
)
def test_what_is_no_encoder_for_units_is_refused(config, match, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "rows.jsonl", english_rows)
    shutil.copytree(encoder, tmp_path / "other")
    config.save_pretrained(tmp_path / "other")
    given = {"model_name_or_path": str(tmp_path / "other"), "train_file": str(tmp_path / "rows.jsonl")}
    with pytest.raises(InputError, match=match):
        train({**given, "output_dir": str(tmp_path / "out"), "max_steps": 1})
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_a_vocabulary_is_not_told_to_be_missing(tmp_path):
    CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="its tokenizer, of characters or bytes, has no fast form; name an encoder"):
        load_tokenizer(str(tmp_path))


def test_body_and_head_load_from_one_checkpoint(trained):
    """What is refused above is not refused where it is right: the body of a model has no use for the head."""
    from modeling_knowfree import KnowFreeModel

    assert KnowFreeModel.from_pretrained(trained, trust_remote_code=False)
    model, told = AutoModelForTokenClassification.from_pretrained(
        trained, trust_remote_code=False, output_loading_info=True
    )
    assert model.config.tokenizer_size == len(load_tokenizer(str(trained))) and not told["missing_keys"]


# ------------------------------------------------------------------ texts

ODD_TEXTS = {
    "NUL": "left \0 harrow\0creek",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f left",
    "not characters": "left \ufffe\uffff\U0010ffff harrow",
    "right to left and joiners": "left \u202eharrow\u200d\u200b\ufeff creek",
    "combining": "e" + "\u0301" * 500,
    "one long word": "x" * 1_000,
    "blank": " \t\n\u3000\xa0",
    "separators": "left\u2028harrow\u2029creek\x85am",
}


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_odd_texts_have_spans_inside_them(name, pipelines):
    text = ODD_TEXTS[name]
    for pipe in pipelines.values():
        for span in pipe(text, threshold=0.01):
            assert text[span["start"] : span["end"]] == span["word"] != ""


def test_half_a_surrogate_pair_is_told_with_its_place(pipelines, trained):
    for text in ("bear \ud83d left", "\udc00"):
        with pytest.raises(ValueError, match=r"input 1: character \d \(U\+D[8C]"):
            pipelines["english"](["fine", text])
        with pytest.raises(ValueError, match=r"input 0: .*half of a surrogate pair"):
            pipelines["english"](["a", text], is_split_into_words=True)
        line = json.dumps({"text": text}).encode()
        with pytest.raises(InputError, match=r"in\.jsonl, line 2.*half a surrogate pair"):
            list(predict(str(trained), [b'{"text": "fine"}\n', line], name="in.jsonl", text=False))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "gb18030", "shift_jis"])
@pytest.mark.parametrize("text", [True, False])
def test_other_encodings_are_told_with_the_line(encoding, text, trained):
    words = {"latin-1": "café am", "shift_jis": "東京へ行く"}.get(encoding, "我们去東京 am")
    content = words if text else json.dumps({"text": words}, ensure_ascii=False)
    lines = (content + "\n").encode(encoding).splitlines(keepends=True)
    with pytest.raises(InputError, match=r"in\.txt, line 1: .*not UTF-8"):
        list(predict(str(trained), lines, name="in.txt", text=text))


def test_a_line_of_ten_megabytes_is_told(trained, tmp_path):
    long = "bear " * 2_000_000
    for content, text in (
        (long, True),
        (json.dumps({"text": long}), False),
        (json.dumps({"tokens": long.split()}), False),
    ):
        lines = [b"axe\n" if text else b'{"tokens": ["axe"]}\n' if '"tokens"' in content else b'{"text": "axe"}\n']
        with pytest.raises(InputError, match=r"in\.txt, line 2: .*long"):
            list(predict(str(trained), [*lines, content.encode()], name="in.txt", text=text))
    row = {"tokens": long.split(), "entities": []}
    write_rows(tmp_path / "rows.jsonl", [row])
    with pytest.raises(InputError, match=r"rows\.jsonl, line 1: .*tokens; allowed"):
        from modeling_knowfree.data.readers import read_rows

        read_rows(tmp_path / "rows.jsonl")
