"""Reruns of the benchmarks: a recorded line counts for what it was made from, and for nothing else."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks import bio_search, mit_movie, scratch_encoders
from modeling_knowfree.data.rows import InputError


def test_a_recorded_trial_counts_for_its_own_data_set(tmp_path):
    results = tmp_path / "results.jsonl"
    shutil.copy(bio_search.RESULTS, results)
    first = json.loads(results.read_text().split("\n")[0])
    asked = first["head"], first["settings"]
    assert bio_search.trial(*asked, Path("data/mit-movie"), first["updates"], results)["dev_f1"] == first["dev_f1"]
    with pytest.raises(FileNotFoundError):
        bio_search.trial(*asked, tmp_path / "nonexistent", first["updates"], results)


def test_recorded_cells_count_for_their_own_data_set(tmp_path, monkeypatch, capsys):
    recorded = mit_movie.RESULTS.read_text()
    results = tmp_path / "results.jsonl"
    monkeypatch.setattr(mit_movie, "RESULTS", results)
    other = json.loads(recorded.split("\n")[0]) | {"dataset": "weibo", "subset": "k3"}
    results.write_text(recorded + json.dumps(other) + "\n")
    assert len(mit_movie.finished("mit-movie")) == recorded.count("\n") and mit_movie.finished("weibo") == [other]
    mit_movie.table("mit-movie")
    assert "| k5 | 3 | 45.0 (44.7 - 45.5) |" in (told := capsys.readouterr().out) and "k3" not in told


def test_recorded_runs_count_for_their_number_of_steps(tmp_path, monkeypatch):
    for folder, _, _ in scratch_encoders.RUNS.values():
        (tmp_path / folder).mkdir(exist_ok=True)
    line = ["scratch_encoders", "--data", str(tmp_path), "--threads", str(torch.get_num_threads())]
    monkeypatch.setattr("sys.argv", line)
    scratch_encoders.main()  # nothing is missing
    monkeypatch.setattr("sys.argv", [*line, "--steps", "299"])
    with pytest.raises(InputError, match=r"train_250\.jsonl: no such file"):
        scratch_encoders.main()


@pytest.mark.parametrize("benchmark", [bio_search, mit_movie, scratch_encoders])
def test_data_that_are_not_there_are_said(benchmark, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", "--data", "/nonexistent"])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert "error: --data /nonexistent: " in capsys.readouterr().err
