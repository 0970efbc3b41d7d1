"""Fixtures of all tests: nothing here needs a network."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings
from transformers import BertConfig, BertModel

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification
from tests.support import ROOT, SHARED

torch.set_num_threads(1)
# Machines are shared: how long an example takes says nothing of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `shared` skips where the development data are not beside the checkout."""
    if item.get_closest_marker("shared") and not SHARED.is_dir():
        pytest.skip("the development data beside the checkout are absent")


@pytest.fixture(scope="session", autouse=True)
def synced_to_memory() -> Iterator[None]:
    """A file is synced for the sake of a power cut, which no test makes; descriptors must be good ones all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="module", autouse=True)
def settled() -> None:
    """What was imported or made before this file is there to stay: the full collections that every training asks for
    take a second where they go over it, and there are hundreds of them."""
    gc.collect()
    gc.freeze()


TINY_BERT = {
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
}
TARGETS = {0: "LOC", 1: "ORG", 2: "PER"}


@pytest.fixture
def tiny_model():
    """Factory of two-layer models whose every parameter is random, biases and norms too: `tiny_model(**config)`."""

    def make(seed: int = 0, dtype: torch.dtype = torch.float32, **options) -> KnowFreeForTokenClassification:
        config = {
            "encoder_config": TINY_BERT,
            "head_size": 16,
            "span_size": 20,
            "attention_heads": 5,
            "width_embedding_size": 6,
            "cnn_depth": 2,
            "id2label": TARGETS,
            "label2id": {name: column for column, name in TARGETS.items()},
            "extension_labels": ["ENT:food", "POS:noun"],
            "extension_weights": [0.5, 0.25],
            **options,
        }
        torch.manual_seed(seed)
        model = KnowFreeForTokenClassification(KnowFreeConfig(**config))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        return model.to(dtype).eval()

    return make


WORDS = (
    "left harrow creek trailhead at 5 am deep snow the ridge bear crossed on 4 july . , old axe in north pass a"
).split()
CHARACTERS = "我们一起在嘉鱼北京大学医院的时候了。，！今天下午张三李四去东地铁站见面"


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    """Folder of a two-layer BERT with random weights and a tokenizer that knows some Chinese and English."""
    folder = tmp_path_factory.mktemp("encoder")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *CHARACTERS, *letters]
    vocabulary += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 128}')
    torch.manual_seed(0)
    BertModel(BertConfig(**{**TINY_BERT, "vocab_size": len(set(vocabulary)), "hidden_size": 48})).save_pretrained(
        folder
    )
    return folder


def row(text: str, *spans: tuple[int, int, str], id: str | None = None, **more) -> dict:
    """A row from words parted by spaces, or from characters; spans are `(start, end, label)`."""
    tokens = text.split() if " " in text else list(text)
    entities = [{"start": start, "end": end, "label": label} for start, end, label in spans]
    return {"id": id or text, "tokens": tokens, "entities": entities, **more}


# 16 spans, 4 of them PLACE.
ENGLISH_ROWS = [
    row("left harrow creek trailhead at 5 am .", (1, 4, "PLACE"), (5, 7, "TIME")),
    row("deep snow on the north pass", (0, 2, "CONDITION"), (3, 6, "PLACE")),
    row("a bear crossed the ridge on 4 july", (1, 2, "WILDLIFE"), (4, 5, "PLACE"), (6, 8, "TIME")),
    row("old axe in the snow", (0, 2, "GEAR"), (4, 5, "CONDITION")),
    row("the bear left at 4 am", (1, 2, "WILDLIFE"), (4, 6, "TIME")),
    row("axe , axe , axe .", (0, 1, "GEAR"), (2, 3, "GEAR"), (4, 5, "GEAR")),
    row("in the old creek", (2, 4, "PLACE")),
    row("crossed at 5 .", (2, 3, "TIME")),
]


@pytest.fixture(scope="session")
def english_rows() -> list[dict]:
    return ENGLISH_ROWS


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` that `make` fills; the processes of a test run share it, the first that asks has it made."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(base / f"{name}.lock"):
        if not (base / name).exists():
            (base / f"{name}.unfinished").mkdir()
            make(base / f"{name}.unfinished")
            (base / f"{name}.unfinished").rename(base / name)
    return base / name


@pytest.fixture(scope="session")
def trained(encoder, english_rows, tmp_path_factory) -> Path:
    """Folder of a model that `knowfree train` wrote on eight sentences, `checkpoint-*` folders included."""
    from modeling_knowfree.data.readers import write_rows
    from modeling_knowfree.training.train import train

    def make(folder: Path) -> None:
        write_rows(folder / "train.jsonl", english_rows)
        train(
            [
                *("--model_name_or_path", str(encoder), "--train_file", str(folder / "train.jsonl")),
                *("--output_dir", str(folder / "model"), "--max_steps", "60", "--learning_rate", "2e-3", "--use_cpu"),
                *("--disable_tqdm", "true", "--report_to", "none"),
            ]
        )

    return made_once(tmp_path_factory, "trained", make) / "model"


@pytest.fixture(scope="session")
def nested(encoder, tmp_path_factory) -> Path:
    """Folder of a model of Chinese characters with nested spans and extension columns, overfitted on eight sentences."""
    import json

    from modeling_knowfree.training.train import train
    from tests.support.space_rows import EXTENSIONS, NESTED_ROWS

    rows = []
    for number, (text, *spans) in enumerate(NESTED_ROWS):
        found = []
        for span in spans:
            word, label = span.split()
            start = text.index(word)
            found.append({"start": start, "end": start + len(word), "label": label})
        extensions = [{**span, "label": EXTENSIONS[span["label"]], "source": "llm"} for span in found]
        rows.append({"id": str(number), "tokens": list(text), "entities": found, "extensions": extensions})

    def make(folder: Path) -> None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "train.jsonl").write_text(lines, encoding="utf-8")
        train(
            [
                *("--model_name_or_path", str(encoder), "--train_file", str(folder / "train.jsonl"), "--use_cpu"),
                *("--task", "nested_ner", "--output_dir", str(folder / "chinese"), "--max_steps", "70"),
                *("--learning_rate", "2e-3", "--disable_tqdm", "true", "--report_to", "none"),
            ]
        )

    return made_once(tmp_path_factory, "nested", make) / "chinese"


@pytest.fixture(scope="session")
def pipelines(trained, nested) -> dict:
    """The pipelines of the two trained models, `english` and `chinese`."""
    from transformers import pipeline

    return {
        name: pipeline("knowfree", model=str(folder), trust_remote_code=True)
        for name, folder in (("english", trained), ("chinese", nested))
    }


@pytest.fixture(scope="session")
def augmented(tmp_path_factory) -> Path:
    """Folder that `knowfree augment run` fills: six sentences of the demo corpus and the answers recorded for them."""
    from augmentation.llm.clients import open_client
    from augmentation.llm.runner import Runner
    from augmentation.llm.store import Store
    from augmentation.pipeline import STORE_FILE, Augmentation
    from augmentation.settings import SETTINGS_FILE, check_settings, settings_text

    demo = ROOT / "examples" / "demo"
    folder = tmp_path_factory.mktemp("run") / "augmented"
    folder.mkdir()
    gold = (demo / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "gold.jsonl").write_text("".join(gold[:6]), encoding="utf-8")
    # One gold sentence stands in the test file too, so that the overlap check has something to find.
    (folder / "dev.jsonl").write_text("".join(gold[6:9]), encoding="utf-8")
    (folder / "test.jsonl").write_text("".join(gold[5:8]), encoding="utf-8")
    answers = str(demo / "answers.jsonl")
    files = {"train_file": "gold.jsonl", "dev_file": "dev.jsonl", "test_file": "test.jsonl", "answers": [answers]}
    settings = check_settings(files | {"language": "en", "client": "recorded"}, "conftest.py")
    (folder / SETTINGS_FILE).write_text(settings_text(settings), encoding="utf-8")
    client = open_client("recorded", model=None, base_url=None, provider=None, token_env=None, answers=(answers,))
    with Store(folder / STORE_FILE) as store:
        run = Augmentation(folder, settings, Runner(client, store), letter_counts)
        run.ask()
        run.write()
    return folder


def letter_counts(texts):
    """A sentence encoder that needs no weights: how often each letter occurs, to length 1."""
    import numpy as np

    counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=float)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)


@pytest.fixture(scope="session")
def hub_run(trained, augmented) -> Path:
    """A run folder as `knowfree push` takes it: model/, augmented/, results.jsonl and card.yaml."""
    import shutil

    folder = augmented.parent
    shutil.copytree(trained, folder / "model", ignore=shutil.ignore_patterns("checkpoint-*"))
    (folder / "model" / "test_results.json").write_text(
        '{"test_f1": 0.625, "test_precision": 0.5, "test_recall": 0.8333333, "test_f1_PLACE": 1.0}'
    )
    (folder / "results.jsonl").write_text(
        '{"dataset": "trail", "subset": "k20", "variant": "KnowFREE", "seed": 0, "f1": 0.625}\n'
        '{"dataset": "trail", "subset": "k20", "variant": "KnowFREE", "seed": 1, "f1": 0.575}\n'
    )
    (folder / "card.yaml").write_text(
        "license: apache-2.0\ndataset_license: cc-by-sa-4.0\nlanguage: en\nbase_model: org/tiny-bert\n"
        "source: {name: Trail reports, license: written for this project,\n"
        "  dataset_id: org/trail-reports, splits: {test: test}}\n"
        "label_meanings: {PLACE: 'a place on the route', GEAR: 'what is carried | worn'}\n"
    )
    return folder


@pytest.fixture
def hub(monkeypatch):
    """A Hub on loopback; a call that it does not know fails the test."""
    from tests.support.hub_server import Hub

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with Hub() as server:
        yield server
