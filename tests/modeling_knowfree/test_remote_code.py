"""What is saved loads for a stranger: a fresh process, another folder, without this package, offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.inference.tag import load_pipeline

STRANGER = """
import json, sys
for name in ("modeling_knowfree", "augmentation", "experiments", "knowfree"):
    sys.modules[name] = None  # as if not installed
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline
folder = sys.argv[1]
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
body = AutoModel.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True)
tagger = pipeline("knowfree", model=folder, trust_remote_code=True)
model.save_pretrained("again")
AutoTokenizer.from_pretrained(folder, trust_remote_code=True).save_pretrained("again")
again = pipeline("knowfree", model="again", trust_remote_code=True)
text = "left harrow creek trailhead at 5 am ."
print(json.dumps({
    "names": [type(x).__name__ for x in (config, body, model, tagger)],
    "spans": tagger(text), "again": again(text),
}))
"""
REFUSED = """
import sys
sys.modules["modeling_knowfree"] = None
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, pipeline
calls = [c.from_pretrained for c in (AutoConfig, AutoModel, AutoModelForTokenClassification)]
for call in [*calls, lambda folder, **options: pipeline("knowfree", model=folder, **options)]:
    try:
        call(sys.argv[1], trust_remote_code=False)
    except ValueError as error:
        assert "trust_remote_code" in str(error), error
    else:
        raise SystemExit(f"{call} ran code that nobody trusted")
print("refused")
"""


def stranger(script: str, folder: Path, cwd: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    answer = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("which", ["model", "checkpoint"])
def test_a_saved_folder_loads_all_ways(which, trained, tmp_path):
    folder = trained if which == "model" else next(trained.glob("checkpoint-*"))
    answer = json.loads(stranger(STRANGER, folder, tmp_path))
    names = ["KnowFreeConfig", "KnowFreeModel", "KnowFreeForTokenClassification", "KnowFreePipeline"]
    assert answer["names"] == names
    assert answer["spans"] == answer["again"] == load_pipeline(str(folder))("left harrow creek trailhead at 5 am .")
    assert answer["spans"]


def test_without_trust_nothing_runs(trained, tmp_path):
    assert stranger(REFUSED, trained, tmp_path) == "refused\n"


def test_nothing_in_a_saved_folder_is_a_pickle(trained):
    assert not [path.name for path in trained.iterdir() if path.suffix in (".bin", ".pt", ".pkl", ".pth")]
    assert (trained / "model.safetensors").exists()


def test_extension_columns_can_be_left_out_of_a_checkpoint(tiny_model, tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path, drop_extension_labels=True)
    assert load_file(tmp_path / "model.safetensors")["classifier.weight"].shape[0] == 3
    assert model.config.extension_labels and model.classifier.weight.shape[0] == 5
    smaller = KnowFreeForTokenClassification.from_pretrained(tmp_path)
    assert smaller.config.extension_labels == []


def test_travelling_files_import_only_torch_transformers_and_each_other(trained):
    allowed = {"torch", "transformers", "modeling_knowfree", *sys.stdlib_module_names}
    for path in trained.glob("*_knowfree.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == ["import"] or (words[:1] == ["from"] and "import" in words):
                root = words[1].split(".")[0]
                assert root in allowed or words[1].startswith("."), f"{path.name}: {line}"
