"""`knowfree push` against a Hub on loopback, and what it pushed loaded by strangers with the real clients."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, SpaceCard
from huggingface_hub.errors import RepositoryNotFoundError
from knowfree_hub_cards.details import Details, read_details
from knowfree_hub_cards.parcels import pack_dataset, pack_metric, pack_model, pack_space
from safetensors.torch import load_file
from transformers import pipeline as local_pipeline

from modeling_knowfree.configuration_knowfree import TRAVELLING_FILES
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.files import write_whole
from push_to_hub import push_parcel
from tests.support import ROOT
from tests.support.forked import Forked, knowfree_forked
from tests.support.hub_server import Hub

SENTENCE = "left harrow creek trailhead at 5 am ."
CODE = {*TRAVELLING_FILES, "handler.py"}
CONFIGS = ["fusion", "synthetic", "train", "label_map", "provenance"]

STRANGER = """
import importlib, json, sys

class NotInstalled:
    names = {
        "modeling_knowfree", "augmentation", "experiments", "hub_cards", "knowfree", "push_to_hub",
        "knowfree_demo", "knowfree_spaces",
    }

    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in NotInstalled.names:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, NotInstalled)
for name in NotInstalled.names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
import evaluate
from datasets import load_dataset
from transformers import AutoModel, AutoModelForTokenClassification, pipeline

owner, revision, text = sys.argv[1:]
model = f"{owner}/trail"
names = [
    type(auto.from_pretrained(model, trust_remote_code=True)).__name__
    for auto in (AutoModel, AutoModelForTokenClassification)
]
spans = pipeline("knowfree", model=model, trust_remote_code=True)(text)
pinned = pipeline("knowfree", model=model, revision=revision, trust_remote_code=True)(text)
sets = {}
for config in ("fusion", "synthetic", "train", "label_map", "provenance"):
    rows = load_dataset(f"{model}-aug", config, split="train")
    sets[config] = {"rows": len(rows), "features": str(rows.features), "first": rows[0]}
metric = evaluate.load(f"{owner}/span_f1")
gold = [[{"start": 0, "end": 2, "label": "A"}]]
f1 = metric.compute(predictions=gold, references=gold)["f1"]
assert not NotInstalled.names & sys.modules.keys()
print(json.dumps({"names": names, "spans": spans, "pinned": pinned, "sets": sets, "f1": f1}))
"""


def in_fresh_process(hub: Hub, home: Path, *command: object, cwd: Path, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=hub.clients_environment(home) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def answer_of(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "Ignoring part of dataset_info" not in err, err  # what datasets says of a card that it cannot use
    return out


def told(out: str) -> dict[str, dict]:
    """What `--json` printed, by repository; progress bars may stand before it."""
    return {each["repo_id"]: each for each in json.loads(out[out.index("[{") :].splitlines()[0])}


@pytest.fixture
def anonymous(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


def test_everything_pushed_loads_for_a_stranger(hub, hub_run, command, tmp_path):
    def script() -> None:
        sys.argv = ["push_to_hub.py", str(hub_run), "--repo-id", "org/trail", "--json"]
        runpy.run_path(str(ROOT / "push_to_hub.py"), run_name="__main__")

    pusher = Forked(script)  # with the Hub and the token of `command`
    assert pusher.wait(300) == 0, pusher.errors()[-3000:]
    pushed = told(pusher.output().decode())
    assert set(pushed) == {"org/trail", "org/trail-aug", "org/span_f1", "org/trail-demo"}
    assert all(each["private"] for each in pushed.values())
    assert hub.count("lfs_upload") == 6  # weights and five tables
    revision = pushed["org/trail"]["revision"]
    assert f'revision="{revision}"' in hub.repositories["model", "org/trail"].files["README.md"].content.decode()

    # On its path lies the checkout, as where this package is installed: the stranger must refuse to import it.
    call = ("-W", "ignore", "-c", STRANGER, "org", revision, SENTENCE)
    process = in_fresh_process(hub, tmp_path / "stranger", *call, cwd=tmp_path, PYTHONPATH=str(ROOT))
    answer = json.loads(answer_of(process).splitlines()[-1])
    local = local_pipeline("knowfree", model=str(hub_run / "model"), trust_remote_code=True)(SENTENCE)
    assert answer["names"] == ["KnowFreeModel", "KnowFreeForTokenClassification"]
    assert local and answer["spans"] == answer["pinned"] == local
    assert answer["f1"] == 1.0
    sets = answer["sets"]
    assert sets["train"]["rows"] == sets["fusion"]["rows"] + sets["synthetic"]["rows"]
    gold = json.loads((hub_run / "augmented" / "gold.jsonl").read_text().splitlines()[0])
    assert sets["fusion"]["first"]["tokens"] == gold["tokens"]
    assert [(span["start"], span["end"], span["label"]) for span in sets["fusion"]["first"]["entities"]] == [
        (span["start"], span["end"], span["label"]) for span in gold["entities"]
    ]
    assert "'start': Value('int32')" in sets["fusion"]["features"]
    assert "'radius': Value('float64')" in sets["label_map"]["features"]
    assert sets["provenance"]["first"]["model"] == "recorded"


@pytest.mark.parametrize(("call", "uploaded_again"), [("lfs_upload", 1), ("commit", 0), ("validate_yaml", 0)])
def test_a_push_killed_half_way_and_repeated_is_complete(
    call, uploaded_again, hub, hub_run, pack_trained, command, tmp_path
):
    """Killed before the weights are up, before the commit, and between the commit and its card."""
    arguments = (hub_run, "--repo_id", "org/m", "--only", "model", "--json")
    hub.hold(call)
    process = knowfree_forked("push", *arguments)  # with the Hub and the token of `command`
    assert hub.held.wait(300), process.errors()
    process.kill()
    hub.hold(None)
    repository = hub.repositories["model", "org/m"]
    if call == "validate_yaml":
        assert CODE | {"config.json", "model.safetensors"} <= set(repository.files)
        assert "README.md" not in repository.files
    else:
        assert set(repository.files) == {".gitattributes"}

    uploads = hub.count("lfs_upload")
    code, out = command(*arguments)
    assert code == 0, out
    pushed, parcel = told(out)["org/m"], pack_trained()
    assert hub.count("lfs_upload") - uploads == uploaded_again
    assert set(repository.files) == {*parcel.files, "README.md", ".gitattributes"}
    assert f'revision="{pushed["revision"]}"' in repository.files["README.md"].content.decode()
    at_revision = repository.at(pushed["revision"])[1]
    assert all(
        at_revision[path].content == (content if isinstance(content, bytes) else content.read_bytes())
        for path, content in parcel.files.items()
    )


def with_a_secret(model: Path) -> None:
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"token": "hf_" + "Ab1" * 12}))


def another_folder(model: Path) -> None:
    other = Path(shutil.copytree(model, model.parent / "other"))
    model.rename(model.parent / "older")
    other.rename(model)


@pytest.mark.parametrize("change", [with_a_secret, another_folder])
def test_a_model_that_changes_while_the_data_set_is_pushed_is_not_pushed(change, hub, command, run_copy):
    hub.hold("commit", "/api/datasets")
    process = knowfree_forked("push", run_copy, "--repo_id", "org/m", "--only", "dataset", "--only", "model")
    assert hub.held.wait(300), process.errors()
    change(run_copy / "model")
    hub.hold(None)
    assert process.wait(300) == 2
    assert f"{run_copy / 'model'} changed while it was pushed; run it again" in process.errors().decode()
    assert ("model", "org/m") not in hub.repositories


def test_what_is_pushed_is_what_was_checked(hub, command, run_copy):
    was = (run_copy / "model" / "tokenizer_config.json").read_bytes()
    hub.hold("lfs_upload")
    process = knowfree_forked("push", run_copy, "--repo_id", "org/m", "--only", "model")
    assert hub.held.wait(300), process.errors()
    with_a_secret(run_copy / "model")
    hub.hold(None)
    assert process.wait(300) == 0, process.errors()
    assert hub.repositories["model", "org/m"].files["tokenizer_config.json"].content == was


def test_a_data_set_that_changes_while_it_is_packed_is_not_pushed(run_copy, tmp_path):
    path, stop = run_copy / "augmented" / "train.jsonl", Event()
    content = path.read_bytes()

    def rewrite() -> None:
        while not stop.wait(0.001):
            write_whole(path, content.decode())

    with ThreadPoolExecutor(1) as another_run:
        another_run.submit(rewrite)
        try:
            with pytest.raises(InputError, match=r"augmented changed while it was pushed; run it again"):
                pack_dataset(run_copy / "augmented", "org/a", read_details(run_copy / "card.yaml"), tmp_path)
        finally:
            stop.set()


def test_a_push_that_another_one_overtakes_says_to_run_it_again(hub, command, run_copy):
    assert command(run_copy, "--repo_id", "org/m", "--only", "model")[0] == 0
    repository = hub.repositories["model", "org/m"]
    config = json.loads((run_copy / "model" / "config.json").read_text())
    (run_copy / "model" / "config.json").write_text(json.dumps(config | {"threshold": 0.25}))
    hub.hold("commit")
    process = knowfree_forked("push", run_copy, "--repo_id", "org/m", "--only", "model")
    assert hub.held.wait(300), process.errors()
    repository.commit("another push", repository.files)
    hub.hold(None)
    assert process.wait(300) == 1
    told = "the Hub refused: A commit has happened since; somebody else pushed meanwhile: run it again"
    assert told in process.errors().decode()


def test_four_pushes_killed_among_them_and_repeated_are_complete(hub, hub_run, command, tmp_path):
    arguments = (hub_run, "--repo_id", "org/trail", "--json")
    hub.hold("preupload", "/api/models/")
    process = knowfree_forked("push", *arguments)  # with the Hub and the token of `command`
    assert hub.held.wait(300), process.errors()
    process.kill()
    hub.hold(None)
    done, begun = hub.repositories["dataset", "org/trail-aug"], hub.repositories["model", "org/trail"]
    assert len(done.commits) == 3 and set(begun.files) == {".gitattributes"}
    assert ("space", "org/trail-demo") not in hub.repositories

    code, out = command(*arguments)
    assert code == 0, out
    assert set(told(out)) == {"org/trail", "org/trail-aug", "org/span_f1", "org/trail-demo"}
    assert len(done.commits) == 3  # nothing to add
    assert {f"{config}/train.parquet" for config in CONFIGS} | {"README.md"} <= set(done.files)
    assert CODE | {"config.json", "model.safetensors", "README.md"} <= set(begun.files)
    assert "span_html.py" in hub.repositories["space", "org/trail-demo"].files


def test_a_repeated_push_commits_nothing_and_a_changed_one_updates(hub, api, pack_trained, hub_run, tmp_path):
    first = push_parcel(pack_trained(), api)
    repository = hub.repositories["model", "org/m"]
    commits = len(repository.commits)
    assert commits == 3  # the Hub's own, the files, the card
    assert push_parcel(pack_trained(), api) == first
    assert len(repository.commits) == commits

    changed = Path(shutil.copytree(hub_run / "model", tmp_path / "changed"))
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"threshold": 0.25}))
    # What an earlier push of a larger model would have left, and what somebody added on the Hub.
    left = {"model-00001-of-00002.safetensors": repository.files["model.safetensors"]}
    left |= dict.fromkeys(("vocab.txt", "added_tokens.json"), repository.files["config.json"])
    theirs = ("picture.txt", "onnx/notes_knowfree.py", "adapter/adapter_model.safetensors", "extra.safetensors")
    repository.commit("by hand", {**repository.files, **left, **dict.fromkeys(theirs, repository.files["config.json"])})
    uploads = hub.count("lfs_upload")
    second = push_parcel(pack_trained(changed), api)
    assert second["revision"] != first["revision"]
    assert hub.count("lfs_upload") == uploads  # the weights are the same
    assert json.loads(repository.files["config.json"].content)["threshold"] == 0.25
    assert not left.keys() & repository.files.keys() and set(theirs) <= repository.files.keys()
    card = repository.files["README.md"].content.decode()
    assert first["revision"] not in card and card.count(second["revision"]) == 3


def test_the_card_of_a_push_killed_before_it_does_not_pin_the_older_weights(hub, api, pack_trained, hub_run, tmp_path):
    first = push_parcel(pack_trained(), api)
    repository = hub.repositories["model", "org/m"]
    changed = Path(shutil.copytree(hub_run / "model", tmp_path / "changed"))
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"threshold": 0.25}))
    # The second push up to its first commit: new files beside the card of the first push.
    card = repository.files["README.md"].content.decode()
    push_parcel(replace(pack_trained(changed), pinned=False, card=lambda _: card), api)
    assert f'revision="{first["revision"]}"' in repository.files["README.md"].content.decode()
    second = push_parcel(pack_trained(changed), api)
    assert second["revision"] != first["revision"]
    assert f'revision="{second["revision"]}"' in repository.files["README.md"].content.decode()


@pytest.mark.parametrize(
    ("part", "name", "theirs"),
    [
        ("metric", "span_f1", "app.py"),
        ("space", "m-demo", "lib/util.py"),
        ("dataset", "m-aug", "data/train.parquet"),
        ("model", "m", "model.safetensors"),
    ],
)
def test_a_repository_that_no_push_made_is_left_alone(part, name, theirs, hub, api, command, hub_run):
    where = {"repo_id": f"org/{name}", "repo_type": {"metric": "space"}.get(part, part)}
    api.create_repo(**where, space_sdk="gradio" if where["repo_type"] == "space" else None)
    push = [hub_run, "--repo_id", "org/m", *(word for each in ("metric", part) for word in ("--only", each))]
    api.create_commit(**where, operations=[CommitOperationAdd("README.md", b"mine")], commit_message="begun")
    api.create_commit(**where, operations=[CommitOperationAdd(theirs, b"mine")], commit_message="begun")
    commits = {key: len(each.commits) for key, each in hub.repositories.items()}
    code, out = command(*push)
    assert code == 2 and f"org/{name}: is a {where['repo_type']} that no knowfree push made, with {theirs};" in out
    assert {key: len(each.commits) for key, each in hub.repositories.items()} == commits
    api.create_commit(**where, operations=[CommitOperationDelete(theirs)], commit_message="emptied")
    assert command(*push)[0] == 0


def test_weights_that_nothing_loads_stay_here(pack_trained, hub_run, tmp_path):
    folder = Path(shutil.copytree(hub_run / "model", tmp_path / "model"))
    shutil.copy(folder / "model.safetensors", folder / "extra.safetensors")
    parcel = pack_trained(folder)
    assert "extra.safetensors" in parcel.left_out and "extra.safetensors" not in parcel.files
    parameters = re.search(r"([\d,]+) parameters", pack_trained().card(None))
    assert parameters and parameters[0] in parcel.card(None)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    parcel = pack_trained(folder)
    assert parameters[0] in parcel.card(None)
    assert {name for name in parcel.files if "safetensors" in name} == {
        "model-00001-of-00001.safetensors",
        "model.safetensors.index.json",
    }
    index["weight_map"]["b"] = "../model.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"index\.json: names '\.\./model\.safetensors'"):
        pack_trained(folder)


def test_private_unless_public_is_said(hub, api, anonymous):
    push_parcel(pack_metric("org/span_f1"), api)
    with pytest.raises(RepositoryNotFoundError):
        anonymous.space_info("org/span_f1")
    assert push_parcel(pack_metric("org/span_f1"), api, private=False)["private"]  # stays as it is
    push_parcel(pack_metric("org/public"), api, private=False)
    assert anonymous.space_info("org/public").private is False


def test_dry_run_lists_files_and_cards_and_sends_nothing(hub, command, hub_run):
    code, out = command(hub_run, "--repo_id", "org/trail", "--dry-run", "--drop-extension-labels")
    assert code == 0, out
    assert hub.calls == []
    listed = {line.split()[1]: int(line.split()[0].replace(",", "")) for line in out.splitlines() if line[:1] == " "
              and len(line.split()) == 2 and line.split()[0].replace(",", "").isdigit()}  # fmt: skip
    weights = hub_run / "model" / "model.safetensors"
    assert listed["model.safetensors"] == weights.stat().st_size
    assert CODE | {"config.json", "tokenizer.json", "fusion/train.parquet", "span_f1.py", "metrics.py"} <= set(listed)
    assert {"app.py", "span_html.py", "requirements.txt", "README.md"} <= set(listed)
    assert not any(name.endswith((".bin", ".pt", "training_args.json")) for name in listed)
    for told in (
        "## Limitations",
        "## Bias",
        "model-index:",
        "dataset_info:",
        "private if new",
        "KNOWFREE_MODELS=org/trail",
    ):
        assert told in out


def test_a_model_pushed_alone_names_what_was_pushed_before_it(hub, command, run_copy):
    (run_copy / "card.yaml").write_text((run_copy / "card.yaml").read_text() + "\nvariant: KnowFREE-F\n")
    code, out = command(run_copy, "--repo_id", "org/linked", "--only", "model", "--dry-run")
    assert code == 0 and "org/linked-aug" not in out and "span_f1" not in out, out
    assert command(run_copy, "--repo_id", "org/linked", "--only", "dataset", "--only", "metric")[0] == 0
    code, out = command(run_copy, "--repo_id", "org/linked", "--only", "model", "--dry-run")
    assert code == 0 and 'load_dataset("org/linked-aug"' in out and 'evaluate.load("org/span_f1")' in out, out


def test_a_run_without_augmentation_has_no_data_set_to_push(hub, command, run_copy):
    shutil.rmtree(run_copy / "augmented")
    code, out = command(run_copy, "--repo_id", "org/trail", "--dry-run")
    assert code == 0 and "no data set is pushed" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("== ")] == [
        "org/span_f1:", "org/trail:", "org/trail-demo:",
    ]  # fmt: skip


def test_a_folder_of_knowfree_run_needs_only_licences(hub, command, run_copy):
    (run_copy / "card.yaml").unlink()
    scores = {"f1": 0.5, "precision": 0.4, "recall": 0.6, "macro_f1": 0.25, "dev_f1": None, "curve": []}
    cells = [
        {"dataset": "trail", "subset": "k5", "variant": variant, "seed": 0, "train_rows": 9, "gold_rows": 6}
        | {"synthetic_rows": 3 if variant == "fs" else 0, "updates": 120, "per_label": {"PLACE": {"f1": 1.0}}, **scores}
        for variant in ("base", "f", "fs")
    ]
    (run_copy / "results.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    (run_copy / "model" / "cell.json").write_text(json.dumps(cells[-1]))
    (run_copy / "run.yaml").write_text("language: en\n")
    for name in ("test_predictions.jsonl", "train.jsonl"):
        (run_copy / "model" / name).write_text("{}\n")
    licences = ("--license", "apache-2.0", "--dataset_license", "cc-by-sa-4.0")
    code, out = command(run_copy, "--repo_id", "org/trail", *licences, "--dry-run")
    assert code == 0, out
    model = out[out.index("== org/trail:") : out.index("== org/trail-demo:")]
    for told in ("A KnowFREE-FS span tagger", "subset k5: 6 gold sentences and 3 synthetic ones", "- en\n"):
        assert told in model
    for name in ("KnowFREE", "KnowFREE-F", "KnowFREE-FS"):
        assert f"| {name} &#40;trail, k5&#41; | 0 | 50.00 | 50.00 – 50.00 |" in model
    assert not any(name in model for name in ("cell.json", "predictions", "train.jsonl", "data_args.json"))


def test_a_model_push_is_what_inference_needs(pack_trained):
    parcel = pack_trained()
    assert set(parcel.files) - {"special_tokens_map.json", "vocab.txt"} == CODE | {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_extension_labels_can_be_dropped(tiny_model, encoder, tmp_path):
    folder, work = tmp_path / "model", tmp_path / "work"
    work.mkdir()
    tiny_model().save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(encoder / name, folder)
    parcel = pack_model(folder, "org/m", Details(license="mit"), work, drop_extension_labels=True)
    assert load_file(parcel.files["model.safetensors"])["classifier.weight"].shape[0] == 3
    assert json.loads(parcel.files["config.json"])["extension_labels"] == []
    assert parcel.files["vocab.txt"] == (folder / "vocab.txt").read_bytes()
    card = parcel.card(None)
    assert "saw 2 extension labels; their columns were left out" in card
    assert load_file(folder / "model.safetensors")["classifier.weight"].shape[0] == 5


def test_the_space_is_pushed_with_the_renderer_and_the_models_it_shows(hub, api):
    pushed = push_parcel(pack_space("org/trail-demo", ["org/trail", "org/other"]), api)
    repository = hub.repositories["space", "org/trail-demo"]
    assert repository.sdk == "gradio"
    assert repository.variables == {"KNOWFREE_MODELS": "org/trail,org/other"}
    assert repository.files["span_html.py"].content == (ROOT / "augmentation" / "review" / "span_html.py").read_bytes()
    card = SpaceCard(repository.files["README.md"].content.decode()).data
    assert card.app_file in repository.files
    assert (card.sdk, card.license, card.models) == ("gradio", "apache-2.0", ["org/trail", "org/other"])
    assert pushed["commit"] == repository.head


def test_the_dataset_is_the_same_on_a_second_push(hub, api, hub_run, tmp_path):
    commits = []
    for number in range(2):
        work = tmp_path / str(number)
        work.mkdir()
        parcel = pack_dataset(hub_run / "augmented", "org/a", read_details(hub_run / "card.yaml"), work)
        commits.append(push_parcel(parcel, api)["commit"])
    assert commits[0] == commits[1]


def test_metadata_of_the_pushed_model_card(pack_trained):
    card = ModelCard(pack_trained().card("0" * 40)).data
    assert (card.license, card.base_model, card.model_name) == ("apache-2.0", "org/tiny-bert", "m")
