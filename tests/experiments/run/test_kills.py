"""`knowfree run` killed at any moment goes on to the same results."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.support.forked import knowfree_forked
from tests.support.tiny_run import call, lines_of, tiny_settings


def comparable(folder: Path) -> list[dict]:
    volatile = ("seconds", "tag_seconds")
    return [{k: v for k, v in line.items() if k not in volatile} for line in lines_of(folder / "results.jsonl")]


def entries(folder: Path) -> int:
    """How many files and folders lie in a folder, which others write to and delete from meanwhile."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def test_what_was_stopped_says_how_it_goes_on(encoder, tmp_path):
    settings = tiny_settings(tmp_path, encoder) | {"variants": ["base"], "updates": 4000}
    settings["train"] |= {"logging_steps": 5}
    config, folder = tmp_path / "long.yaml", tmp_path / "stopped"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    process = knowfree_forked("run", "--config", config, "--output_dir", folder)
    while process.poll() is None and b"update " not in process.errors():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 128 + signal.SIGINT
    last = process.errors().decode().splitlines()[-1]
    assert "stopped by SIGINT; the same command goes on" in last and "checkpoint" not in last


@pytest.mark.parametrize("variant", ["base", "bio", "bert_bilstm_crf"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_that_was_stopped_goes_on_and_ends_in_the_same_results(encoder, tmp_path, variant, number):
    settings = tiny_settings(tmp_path, encoder) | {"variants": [variant], "updates": 60}
    settings["train"] |= {"eval_steps": 20}
    call(tmp_path / "whole", settings)
    folder = tmp_path / "stopped"
    process = knowfree_forked("run", "--config", tmp_path / "whole.yaml", "--output_dir", folder)
    while process.poll() is None and not list(folder.glob("all/*/.seed-0.unfinished/checkpoint-20/trainer_state.json")):
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    told = call(folder, settings)
    assert "update 20 of 60" not in told and "update 60 of 60" in told
    assert comparable(folder) == comparable(tmp_path / "whole")
    name = f"all/{variant}/seed-0/test_predictions.jsonl"
    assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [path.name for path in (folder / "all" / variant).iterdir()] == ["seed-0"]


@pytest.mark.soak
def test_killed_at_random_points_it_ends_in_the_same_results(encoder, tmp_path):
    settings = tiny_settings(tmp_path, encoder) | {"variants": ["base", "fs_fusion"], "updates": 4}
    call(tmp_path / "whole", settings)
    config, folder = tmp_path / "whole.yaml", tmp_path / "killed"
    luck, kills = random.Random(0), 0
    ended = 1
    for attempt in range(6):
        process = knowfree_forked("run", "--config", config, "--output_dir", folder)
        before = entries(folder)
        # killed a moment after it has left something new on disk: in a stage of its own each time
        while attempt < 5 and process.poll() is None:
            if entries(folder) != before:
                time.sleep(luck.uniform(0, 1.5))
                process.kill()
                kills += 1
                break
            time.sleep(0.02)
        ended = process.wait()
        assert ended in (0, -signal.SIGKILL), process.errors().decode()
    assert kills >= 3 and ended == 0
    assert comparable(folder) == comparable(tmp_path / "whole")
    for name in (
        "augmented-fs_fusion/fusion.jsonl",
        "fs_fusion/train-0.jsonl",
        "fs_fusion/seed-0/test_predictions.jsonl",
    ):
        assert (folder / "all" / name).read_bytes() == (tmp_path / "whole" / "all" / name).read_bytes()
