"""`knowfree augment` in this process, and a small folder for it."""

from pathlib import Path

import yaml
from click.testing import CliRunner

import knowfree
from tests.support.tiny_run import DEMO


def call(*arguments: object, code: int = 0) -> str:
    """`knowfree augment ARGUMENTS`: what it prints; it must end with `code`."""
    result = CliRunner().invoke(knowfree.cli, ["augment", *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


def three_sentences(folder: Path, **settings: object) -> Path:
    """A run folder of three gold sentences of the English demo, without extension labels unless `settings` say so."""
    folder.mkdir()
    gold = (DEMO / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:3]
    (folder / "gold.jsonl").write_text("".join(gold), encoding="utf-8")
    settings = {"train_file": "gold.jsonl", "language": "en", "kinds": []} | settings
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder
