"""What is saved loads for a stranger: a fresh process, another folder, without this package, offline."""

import json
import sys

import pytest
from safetensors.torch import load_file

from modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.inference.tag import load_pipeline
from tests.support.stranger import stranger

STRANGER = """
import json, os, sys
for name in ("modeling_knowfree", "augmentation", "experiments", "knowfree"):
    sys.modules[name] = None  # as if not installed
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline

def refuses(folder):
    calls = [c.from_pretrained for c in (AutoConfig, AutoModel, AutoModelForTokenClassification)]
    for call in [*calls, lambda folder, **options: pipeline("knowfree", model=folder, **options)]:
        try:
            call(folder, trust_remote_code=False)
        except ValueError as error:
            assert "trust_remote_code" in str(error), error
        else:
            raise SystemExit(f"{call} ran code that nobody trusted")
    return "refused"

def loads(folder):
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    body = AutoModel.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True)
    tagger = pipeline("knowfree", model=folder, trust_remote_code=True)
    model.save_pretrained("again")
    AutoTokenizer.from_pretrained(folder, trust_remote_code=True).save_pretrained("again")
    again = pipeline("knowfree", model="again", trust_remote_code=True)
    text = "left harrow creek trailhead at 5 am ."
    return {
        "names": [type(x).__name__ for x in (config, body, model, tagger)],
        "spans": tagger(text), "again": again(text),
    }

model, checkpoint = sys.argv[1:]
for work, folder in ((refuses, model), (loads, model), (loads, checkpoint)):
    child = os.fork()  # none sees what another has registered
    if child == 0:
        print(json.dumps(work(folder)), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, (work.__name__, folder)
"""


@pytest.fixture(scope="module")
def told(trained, tmp_path_factory) -> dict:
    """What a process that knows nothing of us tells of `trained` and of a checkpoint in it: torch is imported once."""
    cwd = tmp_path_factory.mktemp("stranger")
    answer = stranger(STRANGER, cwd, trained, next(trained.glob("checkpoint-*")))
    refused, model, checkpoint = map(json.loads, answer.splitlines())
    return {"refused": refused, "model": model, "checkpoint": checkpoint}


@pytest.mark.parametrize("which", ["model", "checkpoint"])
def test_a_saved_folder_loads_all_ways(which, trained, told):
    folder = trained if which == "model" else next(trained.glob("checkpoint-*"))
    names = ["KnowFreeConfig", "KnowFreeModel", "KnowFreeForTokenClassification", "KnowFreePipeline"]
    answer = told[which]
    assert answer["names"] == names
    assert answer["spans"] == answer["again"] == load_pipeline(str(folder))("left harrow creek trailhead at 5 am .")
    assert answer["spans"]


def test_without_trust_nothing_runs(told):
    assert told["refused"] == "refused"


def test_nothing_in_a_saved_folder_is_a_pickle(trained):
    assert not [path.name for path in trained.iterdir() if path.suffix in (".bin", ".pt", ".pkl", ".pth")]
    assert (trained / "model.safetensors").exists()


def test_extension_columns_can_be_left_out_of_a_checkpoint(tiny_model, tmp_path):
    model = tiny_model(extension_tag_weight=0.1)
    model.save_pretrained(tmp_path, drop_extension_labels=True)
    kept = load_file(tmp_path / "model.safetensors")
    assert kept["classifier.weight"].shape[0] == 3
    assert model.state_dict().keys() - kept.keys() == {"extension_tags.POS.weight", "extension_tags.POS.bias"}
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
