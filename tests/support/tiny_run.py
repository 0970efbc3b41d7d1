"""Runs of `knowfree run` that take seconds, on sentences of the demo corpus and its recorded answers."""

import json
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

import knowfree
from modeling_knowfree.data.readers import read_rows, write_rows
from tests.conftest import ROOT

DEMO = ROOT / "examples" / "demo"
FINISHED = ["base", "f", "fs", "fs_agree", "fs_gold"]
"""The variants of the run that the fixture `finished` holds: each whose rows are made in a way of their own."""


def tiny_settings(folder: Path, encoder: Path) -> dict[str, Any]:
    """Settings of a run on eight demo sentences that takes seconds; its files go into `folder`."""
    rows = read_rows(DEMO / "train.jsonl")
    write_rows(folder / "train.jsonl", rows[:8])
    write_rows(folder / "dev.jsonl", rows[8:12])
    write_rows(folder / "test.jsonl", rows[12:18])
    return {
        "dataset": "trails",
        "train_file": str(folder / "train.jsonl"),
        "validation_file": str(folder / "dev.jsonl"),
        "test_file": str(folder / "test.jsonl"),
        "language": "en",
        "model_name_or_path": str(encoder),
        "updates": 3,
        "train": {"learning_rate": "1e-3", "use_cpu": True},
        "augment": {"client": "recorded", "answers": [str(DEMO / "answers.jsonl")], "encoder": str(encoder)},
    }


def call(folder: Path, settings: dict, *arguments: object, code: int = 0) -> str:
    """`knowfree run` into `folder` in this process: what it prints; it must end with `code`."""
    config = folder.parent / f"{folder.name}.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    line = ["run", "--config", str(config), "--output_dir", str(folder), *map(str, arguments)]
    result = CliRunner().invoke(knowfree.cli, line)
    assert result.exit_code == code, result.output
    return result.output


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
