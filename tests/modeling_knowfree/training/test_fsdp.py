"""Two processes under FSDP, each with half of the weights, learn what one process learns."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from modeling_knowfree.data.readers import write_rows
from modeling_knowfree.training.train import train
from tests.support import ROOT


@pytest.mark.soak
def test_two_processes_under_fsdp_learn_what_one_does(encoder, english_rows, tmp_path):
    shutil.copytree(encoder, tmp_path / "encoder")
    about = json.loads((encoder / "config.json").read_text())
    # Dropout would draw other numbers in each process.
    about |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(about))
    write_rows(tmp_path / "rows.jsonl", english_rows)  # eight: each update sees all of them

    def arguments(name: str, batch: int) -> dict:
        files = {"model_name_or_path": tmp_path / "encoder", "train_file": tmp_path / "rows.jsonl"}
        given = {"output_dir": tmp_path / name, "per_device_train_batch_size": batch, "max_steps": 4, "use_cpu": True}
        # With SGD differences of rounding stay as small as they are.
        given |= {"head_dropout": 0.0, "optim": "sgd", "learning_rate": 1e-2, "report_to": "none"}
        given |= {"join_sentences": 0}  # of a batch, and these have other batches
        return {key: str(value) for key, value in (files | given | {"save_strategy": "no"}).items()}

    train(arguments("one", 8))
    argv = [part for key, value in arguments("two", 4).items() for part in (f"--{key}", value)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    answer = subprocess.run(
        [*command, "-m", "tests.support.fsdp_process", "train", *argv],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    told = re.findall(r"sharded: (\d+) parts, (\d+) of (\d+) numbers here", answer.stderr)
    assert len(told) == 2, answer.stderr[-2000:]
    assert all(
        int(parts) >= 3 and int(local) < 0.6 * int(whole) for parts, local, whole in told
    )  # two layers, the rest
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    before = load_file(encoder / "model.safetensors")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5, msg=name)
    word = "embeddings.word_embeddings.weight"
    assert (one[f"knowfree.encoder.{word}"] - before[word]).abs().max() > 1e-3  # and they did learn
