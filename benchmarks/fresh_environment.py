"""Push a run to a Hub on loopback, then use it from a new virtual environment that has never heard of this project.

python -m benchmarks.fresh_environment --run runs/demo-en     (minutes: it installs torch)

The environment has torch, transformers, datasets and evaluate, nothing else; there the model loads by its classes and
as a pipeline, at the head and at the pinned revision, the data set loads config by config, the metric loads, and
predictions on the demo corpus' test sentences must equal those of the local folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.support.hub_server import Hub

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "transformers", "datasets", "evaluate")
SENTENCES = 40

PREDICT = """
import json, sys
from transformers import pipeline
texts = json.load(open(sys.argv[2]))
print(json.dumps(pipeline("knowfree", model=sys.argv[1], trust_remote_code=True)(texts)))
"""

STRANGER = """
import importlib.util, json, sys
unwanted = ("modeling_knowfree", "augmentation", "push_to_hub", "knowfree", "gradio", "seqeval", "jinja2_cli")
assert not [name for name in unwanted if importlib.util.find_spec(name)]
import evaluate
from datasets import get_dataset_config_names, load_dataset
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, pipeline

model, metric, revision, texts = sys.argv[1:]
texts = json.load(open(texts))
trust = {"trust_remote_code": True}
names = [type(auto.from_pretrained(model, **trust)).__name__
         for auto in (AutoConfig, AutoModel, AutoModelForTokenClassification)]
head = pipeline("knowfree", model=model, **trust)(texts)
pinned = pipeline("knowfree", model=model, revision=revision, **trust)(texts)
sets = {config: len(load_dataset(model + "-aug", config, split="train"))
        for config in get_dataset_config_names(model + "-aug")}
spans = [[{"start": s["start"], "end": s["end"], "label": s["entity_group"]} for s in found] for found in head]
f1 = evaluate.load(metric).compute(predictions=spans, references=spans)["f1"]
print(json.dumps({"names": names, "head": head, "pinned": pinned, "sets": sets, "f1": f1}))
"""


def output(*command: object, **options) -> str:
    """Standard output of a command; its errors go to the terminal."""
    return subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, **options
    ).stdout


def main() -> None:
    """Print what loaded; fail on the first difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="Run folder with model/ and augmented/.")
    parser.add_argument("--environment", type=Path, help="Virtual environment to make or use again.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, Hub() as hub:
        folder = Path(work)
        environment = given.environment or folder / "environment"
        python = environment / "bin" / "python"
        if not python.exists():
            venv.create(environment, with_pip=True)
            for packages in (PACKAGES[:1], PACKAGES):  # torch first: later ones would pull another build of it
                output(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *packages)
        installed = json.loads(output(python, "-m", "pip", "list", "--format", "json"))
        versions = {each["name"]: each["version"] for each in installed}
        assert "knowfree" not in versions

        rows = (ROOT / "examples" / "demo" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:SENTENCES]
        texts = folder / "texts.json"
        texts.write_text(json.dumps([" ".join(json.loads(row)["tokens"]) for row in rows]))
        pusher = hub.clients_environment(folder / "pusher")
        licences = ("--license", "apache-2.0", "--dataset_license", "apache-2.0", "--language", "en")
        push = (sys.executable, "push_to_hub.py", given.run.resolve(), "--repo_id", "org/trail", "--json", *licences)
        pushed = {each["repo_id"]: each for each in json.loads(output(*push, cwd=ROOT, env=pusher).splitlines()[-1])}

        stranger = {**hub.clients_environment(folder / "stranger"), "VIRTUAL_ENV": str(environment)}
        revision = pushed["org/trail"]["revision"]
        call = (python, "-W", "ignore", "-c", STRANGER, "org/trail", "org/span_f1", revision, texts)
        answer = json.loads(output(*call, cwd=folder, env=stranger).splitlines()[-1])
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        model = given.run.resolve() / "model"
        local = json.loads(output(sys.executable, "-W", "ignore", "-c", PREDICT, model, texts, env=offline))
    assert answer["names"] == ["KnowFreeConfig", "KnowFreeModel", "KnowFreeForTokenClassification"]
    assert answer["head"] == answer["pinned"] == local, "predictions differ"
    assert answer["f1"] == 1.0
    spans = sum(map(len, local))
    print(f"environment: {len(versions)} packages, " + ", ".join(f"{name} {versions[name]}" for name in PACKAGES))
    for name, each in pushed.items():
        print(f"pushed {each['repo_type']} {name}, private {each['private']}, revision {each['revision'][:12]}")
    print(f"loaded {', '.join(answer['names'])} and the pipeline, at the head and at {revision[:12]}")
    print(f"predictions equal on {len(local)} sentences, {spans} spans")
    print("data set: " + ", ".join(f"{config} {rows}" for config, rows in answer["sets"].items()))


if __name__ == "__main__":
    main()
