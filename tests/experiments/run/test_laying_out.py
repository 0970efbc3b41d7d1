"""What `knowfree run` lays out for `knowfree push`: `model/` and `augmented/` of the cell that is best on dev."""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from knowfree_experiments.run.laying_out import _in_place_of, lay_out
from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import VARIANTS, check_run
from knowfree_hub_cards.facts import read_augmentation

from augmentation.finished import check_no_copy
from augmentation.llm.store_file import StoreError, hold
from augmentation.review.decisions import read_decisions
from augmentation.settings import load_settings
from tests.support.command import call
from tests.support.tiny_run import FINISHED, lines_of


def test_the_best_on_dev_is_laid_out_for_pushing(finished):
    results = lines_of(finished / "results.jsonl")
    by_variant: dict[str, list[dict]] = {}
    for result in results:
        by_variant.setdefault(result["variant"], []).append(result)
    best = max(by_variant.values(), key=lambda cells: sum(cell["dev_f1"] for cell in cells))
    chosen = json.loads((finished / "model" / "cell.json").read_text())
    assert chosen == max(best, key=lambda cell: cell["dev_f1"])
    assert (finished / "augmented" / "train.jsonl").exists() == (VARIANTS[chosen["variant"]].data != "gold")


def test_a_model_that_annotated_stands_in_the_provenance(finished, data, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    run = Run(check_run(data | {"variants": ["fs_gold"], "seeds": [1]}, "test"), tmp_path / "run")
    [result] = [r for r in run.results() if (r["variant"], r["seed"]) == ("fs_gold", 1)]
    lay_out(run, result)
    augmented = tmp_path / "run" / "augmented"
    line = lines_of(augmented / "provenance.jsonl")[-1]
    assert (line["task"], line["model"], line["mode"]) == ("targets", "base seed 1", "frozen model")
    weights = (tmp_path / "run" / "all" / "base" / "seed-1" / "model.safetensors").read_bytes()
    assert line["prompt_sha256"] == hashlib.sha256(weights).hexdigest()
    facts = read_augmentation(augmented)
    assert facts.rows["train"] == 8 + facts.rows["synthetic"] == result["train_rows"]


def test_what_people_decided_on_the_laid_out_augmentation_outlives_it(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = Run(check_run(data | {"variants": FINISHED, "seeds": [0, 1]}, "test"), folder)
    of = {result["variant"]: result for result in run.results()}
    laid_out, source = folder / "augmented" / "decisions.json", folder / "all" / "augmented" / "decisions.json"
    lay_out(run, of["f"])
    assert not laid_out.exists()
    laid_out.write_text('{"rows": {"a": {"sample": "rejected"}}}')
    lay_out(run, of["f"])
    assert "a" in read_decisions(laid_out).rows and not source.exists()
    lay_out(run, of["base"])  # it learnt from gold alone
    assert not (folder / "augmented").exists()
    lay_out(run, of["fs"])
    assert "a" in read_decisions(laid_out).rows and not (folder / "decisions.json").exists()
    os.utime(laid_out, (1, 1))
    source.write_text('{"rows": {"b": {"sample": "rejected"}}}')
    lay_out(run, of["f"])
    assert read_decisions(laid_out).rows.keys() == {"b"}  # decided later
    assert not (folder / "decisions.json").exists()


def test_a_data_base_and_its_log_are_copied_not_shared(finished, data, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "all" / "augmented" / "answers.sqlite-wal").write_bytes(b"")
    run = Run(check_run(data | {"variants": ["fs"]}, "test"), tmp_path / "run")
    lay_out(run, next(result for result in run.results() if result["variant"] == "fs"))
    copies = [path.stat().st_nlink for path in sorted((tmp_path / "run" / "augmented").glob("answers.sqlite*"))]
    assert set(copies) == {1} and len(copies) > 1
    assert (tmp_path / "run" / "model" / "model.safetensors").stat().st_nlink == 2


def test_nothing_is_asked_where_it_would_be_lost(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = Run(check_run(data | {"variants": ["fs"]}, "test"), folder)
    lay_out(run, next(result for result in run.results() if result["variant"] == "fs"))
    for command in ("run", "retry-failed"):
        told = call("augment", command, folder / "augmented", code=2)
        assert f"knowfree augment run {folder / 'all' / 'augmented'}" in told
    check_no_copy(folder / "all" / "augmented")
    (tmp_path / "apart").mkdir()
    for copy in (folder / "mine", tmp_path / "apart" / "augmented"):  # nobody replaces these
        check_no_copy(shutil.copytree(folder / "augmented", copy))


def test_what_is_laid_out_is_whole_or_that_of_before(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = Run(check_run(data | {"variants": ["fs"]}, "test"), folder)
    result = next(result for result in run.results() if result["variant"] == "fs")
    lay_out(run, result)
    before = {path.name: path.stat().st_ino for path in (folder / "augmented").iterdir()}
    with (
        hold(folder / "all" / "augmented" / "answers.sqlite"),
        pytest.raises(StoreError, match="another run is at work"),
    ):
        lay_out(run, result)
    with pytest.raises(KeyboardInterrupt), _in_place_of(folder / "augmented") as work:
        work.mkdir()
        raise KeyboardInterrupt
    assert {path.name: path.stat().st_ino for path in (folder / "augmented").iterdir()} == before
    lay_out(run, result)
    assert {path.name for path in (folder / "augmented").iterdir()} == before.keys()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("number", range(1, 7))
def test_a_stop_leaves_a_pair_or_a_word_for_push(number, finished, data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = Run(check_run(data | {"variants": FINISHED}, "test"), folder)
    of = {result["variant"]: result for result in run.results()}
    lay_out(run, of["f"])
    replaced = os.replace
    left = number

    def stop(source, target):
        nonlocal left
        if Path(source).parent == folder or Path(target).parent == folder:
            left -= 1
            if not left:
                raise KeyboardInterrupt
        replaced(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with suppress(KeyboardInterrupt):
        lay_out(run, of["fs"])
    monkeypatch.undo()
    assert left <= 0 or number > 4  # two folders, each set aside and put in its place
    model = folder / "model" / "cell.json"
    variant = json.loads(model.read_text())["variant"] if model.exists() else None
    pair = {"f": False, "fs": True}.get(variant) == (folder / "augmented" / "synthetic.jsonl").exists()
    noted = (folder / ".laying_out").exists()
    assert noted or (pair and variant == "fs" and number > 4)
    push = ("push", folder, "--repo_id", "org/m", "--license", "mit", "--dataset_license", "mit", "--dry_run")
    told = call(*push, code=2 if noted else 0)
    assert ("stopped while model/ and augmented/ were laid out" in told) == noted
    lay_out(run, of["fs"])
    call(*push)


def test_a_model_stays_with_its_augmentation_while_the_next_one_is_in_use(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = Run(check_run(data | {"variants": FINISHED}, "test"), folder)
    of = {result["variant"]: result for result in run.results()}
    lay_out(run, of["base"])
    with hold(folder / "all" / "augmented" / "answers.sqlite"), pytest.raises(StoreError):
        lay_out(run, of["fs"])
    assert json.loads((folder / "model" / "cell.json").read_text())["variant"] == "base"
    assert not (folder / "augmented").exists() and not (folder / ".laying_out").exists()


def test_links_to_another_disk_are_followed(finished, data, tmp_path):
    folder, far = tmp_path / "run", tmp_path / "far" / "away"
    shutil.copytree(finished, folder)
    far.mkdir(parents=True)
    for name in ("model", "augmented"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).symlink_to(far / name)
    run = Run(check_run(data | {"variants": FINISHED}, "test"), folder)
    of = {result["variant"]: result for result in run.results()}
    for variant in ("fs", "f", "base", "fs"):
        lay_out(run, of[variant])
        assert (folder / "model").is_symlink() and (folder / "augmented").is_symlink()
        assert json.loads((far / "model" / "cell.json").read_text()) == of[variant]
        assert (far / "augmented" / "fusion.jsonl").exists() == (variant != "base")
    assert load_settings(folder / "augmented").train_file == os.path.relpath(
        folder / "all" / "gold.jsonl", far / "augmented"
    )
    assert sorted(path.name for path in far.iterdir()) == ["augmented", "model"]
