"""Sentences with markup in them, and a model that was trained on them."""

import json
from pathlib import Path

import pytest

from modeling_knowfree.data.readers import write_rows
from tests.support.run_folder import TEST_ROWS

SCRIPT = "<script>alert(1)</script>"
IMAGE = '<img src=x onerror="alert(2)">'


def hostile(rows):
    """The rows with a label and a token that are markup."""
    text = json.dumps(rows).replace('"TIME"', json.dumps(SCRIPT)).replace('"axe"', json.dumps(IMAGE))
    return json.loads(text)


@pytest.fixture(scope="session")
def tagger(encoder, tmp_path_factory) -> Path:
    """A model with extension columns, trained on the test sentences, one of its labels markup."""
    from modeling_knowfree.training.train import train

    folder = tmp_path_factory.mktemp("tagger")
    rows = hostile(TEST_ROWS)
    for one in rows:
        one["extensions"] = [{**span, "label": f"ENT:{span['label']}", "source": "llm"} for span in one["entities"]]
    write_rows(folder / "train.jsonl", rows)
    train(
        [
            *("--model_name_or_path", str(encoder), "--train_file", str(folder / "train.jsonl"), "--use_cpu"),
            *("--output_dir", str(folder / "model"), "--max_steps", "60", "--learning_rate", "1e-3"),
            *("--disable_tqdm", "true", "--report_to", "none", "--save_strategy", "no"),
        ]
    )
    return folder / "model"
