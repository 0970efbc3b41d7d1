"""`--lora_rank`: few weights of the encoder learn; what is saved loads without peft, and scores the same."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModel, AutoModelForTokenClassification

from modeling_knowfree.data.readers import write_rows
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.loading import load_tokenizer
from modeling_knowfree.pipeline_knowfree import KnowFreePipeline
from modeling_knowfree.training.train import train
from modeling_knowfree.training.trainer import KnowFreeTrainer

pytest.importorskip("peft", reason='the extra is absent: pip install "knowfree[lora]"')

LOAD = """
import json, sys
for name in ("peft", "modeling_knowfree"):
    sys.modules[name] = None  # as if it were not installed
from transformers import pipeline
print(json.dumps(pipeline("knowfree", model=sys.argv[1], trust_remote_code=True)(sys.argv[2], threshold=0.01)))
"""


@pytest.fixture
def lora(encoder, english_rows, tmp_path, monkeypatch):
    """`lora(name, **arguments)` trains into a folder of that name; the folder and the model as it was in memory."""
    write_rows(tmp_path / "train.jsonl", english_rows)
    trainers = []
    made = KnowFreeTrainer.__init__
    monkeypatch.setattr(KnowFreeTrainer, "__init__", lambda self, **k: (trainers.append(self), made(self, **k))[1])

    def run(name: str, **arguments):
        given = {"max_steps": 6, "save_steps": 3, "save_total_limit": 0, "use_cpu": True, "report_to": "none"}
        given |= {"disable_tqdm": True, "lora_rank": 2, "learning_rate": 1e-2, "head_dropout": 0.0} | arguments
        where = {"model_name_or_path": str(encoder), "train_file": str(tmp_path / "train.jsonl")}
        train(given | where | {"output_dir": str(tmp_path / name)})
        return tmp_path / name, trainers[-1].model.eval()

    return run


def logits_of(model) -> torch.Tensor:
    ids = torch.arange(5, 25).reshape(2, 10)
    units = torch.arange(10).repeat(2, 1)
    with torch.no_grad():
        return model(ids, torch.ones_like(ids), units, torch.tensor([10, 10])).logits


def test_the_head_and_the_additions_learn_and_the_merged_model_scores_the_same(lora, encoder):
    from peft import PeftModel

    folder, trained = lora("whole")
    trains = {name for name, parameter in trained.named_parameters() if parameter.requires_grad}
    heads = {name for name, _ in trained.named_parameters() if "encoder." not in name}
    assert heads < trains and all(".lora_" in name for name in trains - heads)
    assert len(trains - heads) == 2 * 2 * 6  # A and B, two layers, six linear maps each
    pretrained = AutoModel.from_pretrained(encoder, trust_remote_code=False).state_dict()
    for name, parameter in trained.named_parameters():
        if name not in trains:
            plain = name.removeprefix("knowfree.encoder.").replace(".base_layer.", ".")
            assert torch.equal(parameter, pretrained[plain]), name
    for path in (folder, folder / "checkpoint-6"):
        loaded = AutoModelForTokenClassification.from_pretrained(path, trust_remote_code=True).eval()
        assert not any("lora" in name for name in loaded.state_dict())
        torch.testing.assert_close(logits_of(loaded), logits_of(trained), rtol=1e-4, atol=1e-4)
    text = "the bear left at 4 am"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD, folder, text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    pipe = KnowFreePipeline(model=trained, tokenizer=load_tokenizer(str(folder)), task="knowfree")
    expected = pipe(text, threshold=0.01)
    assert expected and [span | {"score": 0} for span in json.loads(done.stdout)] == [
        span | {"score": 0} for span in expected
    ]
    changed = loaded.knowfree.encoder.state_dict()
    assert sum(not torch.equal(changed[name], pretrained[name]) for name in changed) == 2 * 6
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(encoder, trust_remote_code=False), folder / "adapter")
    ids = torch.arange(5, 25).reshape(2, 10)
    torch.testing.assert_close(adapted(ids).last_hidden_state, loaded.knowfree.encoder(ids).last_hidden_state)


def test_a_run_resumed_is_the_undisturbed_one(lora):
    whole, _ = lora("whole")
    (whole / "checkpoint-3").rename(whole.parent / "checkpoint-3")
    again, _ = lora("again", resume_from_checkpoint=str(whole.parent / "checkpoint-3"))
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    for rank in (0, 4):
        with pytest.raises(InputError, match=f"trained with --lora_rank 2, this run has {rank}"):
            lora(f"other{rank}", resume_from_checkpoint=str(whole.parent / "checkpoint-3"), lora_rank=rank)


def test_the_best_checkpoint_is_loaded(lora, tmp_path):
    folder, model = lora("best", validation_file=str(tmp_path / "train.jsonl"), max_steps=8, eval_steps=2, save_steps=2)
    state = json.loads((sorted(folder.glob("checkpoint-*"))[-1] / "trainer_state.json").read_text())
    best = AutoModelForTokenClassification.from_pretrained(state["best_model_checkpoint"], trust_remote_code=True)
    torch.testing.assert_close(logits_of(model), logits_of(best.eval()), rtol=1e-4, atol=1e-4)


def test_a_rank_below_one_is_refused(lora):
    with pytest.raises(InputError, match="--lora_rank -1: give 1 or more"):
        lora("none", lora_rank=-1)
