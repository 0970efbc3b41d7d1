"""The folder of a run: whose it is, and what is mended of it when something in it is gone or broken."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from modeling_knowfree.data.rows import write_rows
from tests.support.tiny_run import FINISHED, call, lines_of


@pytest.fixture
def settings(data) -> dict:
    return data | {"variants": FINISHED, "seeds": [0, 1]}


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run", copy_function=shutil.copy2)


def contents(folder: Path) -> dict[str, str]:
    """sha256 of the files that do not say when they were made."""
    changing = (
        "cell.json",
        "results.jsonl",
        "report.html",
        "trainer_state.json",
        "training_args.json",
        "answers.sqlite",
    )
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(changing) and not path.name.endswith(("results.json", ".bin"))
    }


@pytest.mark.parametrize(
    "name", ["model/weights.bin", "augmented/notes.txt", "report.html", "results.jsonl", "run.yaml"]
)
def test_what_no_run_made_is_not_replaced(data, tmp_path, name):
    own = tmp_path / "own" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine: yes\n", encoding="utf-8")
    told = call(tmp_path / "own", data | {"variants": ["base"], "updates": 1}, code=2)
    assert "no run made it" in told and "name another --output_dir" in told
    assert [path for path in (tmp_path / "own").rglob("*") if path.is_file()] == [own]
    assert own.read_text(encoding="utf-8") == "mine: yes\n"


def test_notes_of_people_stay_where_nothing_changes(settings, folder):
    (folder / "model" / "README.md").write_text("# Mine\n", encoding="utf-8")
    noted = (folder / "run.yaml").read_text(encoding="utf-8") + "# why these seeds\n"
    (folder / "run.yaml").write_text(noted, encoding="utf-8")
    call(folder, settings)
    assert (folder / "run.yaml").read_text(encoding="utf-8") == noted
    assert (folder / "model" / "README.md").read_text(encoding="utf-8") == "# Mine\n"


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("all/augmented/state.json", None),
        ("all/augmented/counts.json", b'{"lin'),
        ("all/augmented/fusion.jsonl", None),
        ("all/augmented/fusion.jsonl", "lines"),
        ("all/augmented/train.jsonl", b'{"id": "'),
        ("all/fs/seed-0/test_predictions.jsonl", None),
        ("all/f/seed-1/test_predictions.jsonl", b'{"id": "'),
        ("all/gold.jsonl", None),
    ],
)
def test_what_is_gone_or_cut_off_is_made_again(settings, folder, name, left):
    before = contents(folder)
    path = folder / name
    if left == "lines":  # whole ones, but fewer
        left = b"".join(path.read_bytes().splitlines(keepends=True)[:-2])
    path.unlink() if left is None else path.write_bytes(left)
    call(folder, settings)
    assert contents(folder) == before


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "cut"])
def test_a_model_that_cannot_be_loaded_is_trained_again_before_it_is_laid_out(settings, folder, damage):
    before = contents(folder)
    best = next(path.parent for path in folder.glob("all/*/seed-*/model.safetensors") if is_laid_out(folder, path))
    path = best / ("model.safetensors" if damage == "cut" else damage)
    os.truncate(path, 1000) if damage == "cut" else path.unlink()
    call(folder, settings)
    assert contents(folder) == before


def is_laid_out(folder: Path, weights: Path) -> bool:
    return weights.read_bytes() == (folder / "model" / "model.safetensors").read_bytes()


def test_gold_that_was_cut_off_is_told_how_to_be_mended(settings, folder):
    (folder / "all" / "gold.jsonl").write_text('{"id": "', encoding="utf-8")
    assert "gold.jsonl: was changed or cut off; delete it" in call(folder, settings, code=2)


def test_what_test_and_training_share_is_told(data, tmp_path, caplog):
    both = str(tmp_path / "both.jsonl")
    write_rows(both, [*lines_of(Path(data["train_file"]))[:3], *lines_of(Path(data["test_file"]))])
    call(tmp_path / "run", data | {"test_file": both, "variants": ["base"], "updates": 1})
    [told] = [message for message in caplog.messages if "of its sentences" in message]
    assert told.startswith(f"{both}: 3 of its sentences are in {data['train_file']} too")


def test_another_language_than_said_is_told(data, tmp_path, caplog):
    call(tmp_path / "run", data | {"language": "zh", "variants": ["base"], "updates": 1})
    assert any("language is 'zh', and 100% of the letters are Latin" in message for message in caplog.messages)


def test_dollars_without_prices_are_refused_before_anything_is_made(data, tmp_path):
    answers = data["augment"] | {"annotator": "llm"}
    for variant in ("llm_zero", "fs"):
        settings = data | {"variants": ["base", variant], "augment": answers}
        told = call(tmp_path / "run", settings, "--max_usd", 1, code=2)
        assert f"augment of {variant}: max_usd needs the price of a token" in told
        assert not list((tmp_path / "run").rglob("*.jsonl"))
