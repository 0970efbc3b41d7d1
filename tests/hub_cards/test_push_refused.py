"""What `knowfree push` refuses before anything is sent."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest


def harm(folder: Path, what: str) -> None:
    model, augmented = folder / "model", folder / "augmented"
    config = json.loads((model / "config.json").read_text())
    token = "hf_" + "Ab1" * 12
    match what:
        case "weights gone":
            (model / "model.safetensors").rename(model / "pytorch_model.bin")
        case "weights cut":
            weights = (model / "model.safetensors").read_bytes()
            (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        case "code gone":
            (model / "units_knowfree.py").unlink()
        case "vocabulary gone":
            for path in [*model.glob("tokenizer.json"), *model.glob("vocab*"), *model.glob("*.model")]:
                path.unlink()
        case "tokenizer gone":
            (model / "tokenizer_config.json").unlink()
        case "another model":
            (model / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
        case "code not named":
            (model / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "auto_map"}))
        case "code from elsewhere":
            named = config["auto_map"] | {"AutoModel": "org/other--modeling_knowfree.KnowFreeModel"}
            (model / "config.json").write_text(json.dumps(config | {"auto_map": named}))
        case "no licence":
            (folder / "card.yaml").write_text("dataset_license: mit\n")
        case "no licence of the data":
            (folder / "card.yaml").write_text("license: mit\n")
        case "token in the tokenizer":
            path = model / "tokenizer_config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"token": token}))
        case "token in use in the code":
            path = model / "units_knowfree.py"
            path.write_text(path.read_text() + f"\n# {os.environ['HF_TOKEN']}\n")
        case "token in the text":
            path = augmented / "fusion.jsonl"
            first, *rest = path.read_text().splitlines()
            row = json.loads(first)
            row["tokens"][0] = token
            path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
        case "password in provenance":
            path = augmented / "provenance.jsonl"
            path.write_text(
                path.read_text().replace('"endpoint": "recorded"', '"endpoint": "http://me:secret@llm:80"', 1)
            )
        case "results gone":
            (augmented / "counts.json").unlink()
        case "model gone":
            shutil.rmtree(model)
        case "augmentation gone":
            shutil.rmtree(augmented)
        case "provenance cut":
            path = augmented / "provenance.jsonl"
            path.write_text(path.read_text()[:-20])
        case "provenance without a model":
            path = augmented / "provenance.jsonl"
            path.write_text(path.read_text().replace('"model":', '"modell":', 1))
        case "attempts in words":
            path = augmented / "provenance.jsonl"
            path.write_text(re.sub(r'"attempts": \d+', '"attempts": "x"', path.read_text(), count=1))
        case "a row without a source" | "a row without entities":
            path = augmented / "fusion.jsonl"
            first, *rest = path.read_text().splitlines()
            row = {name: value for name, value in json.loads(first).items() if name != what.split()[-1]}
            path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
        case "half a character":
            path = augmented / "fusion.jsonl"
            first, *rest = path.read_text().splitlines()
            row = json.loads(first)
            row["tokens"][0] = "\ud800"
            path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
        case "no shares":
            path = augmented / "label_map.json"
            path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "shares"}))
        case "empty counts" | "no teacher's score":
            (augmented / {"empty counts": "counts.json"}.get(what, "teacher.json")).write_text("{}")
        case "no types":
            path = augmented / "counts.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"types": {}}))
        case "unknown decoding" | "unknown unit":
            changed = {what.split()[-1]: "weird"}
            (model / "config.json").write_text(json.dumps(config | changed))
        case "labels in a list":
            (model / "config.json").write_text(json.dumps(config | {"id2label": ["PER"]}))
        case "cell without scores":
            (model / "cell.json").write_text('{"variant": ["fs"], "per_label": null}')
        case "scores in words":
            (model / "test_results.json").write_text('{"test_f1": "high"}')
        case "half a character in the card":
            (folder / "card.yaml").write_text('license: mit\nsource: {name: "\\ud800x"}\n')
        case "card broken":
            (folder / "card.yaml").write_text("licence: mit\n")
        case _:
            raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "fragments"),
    [
        ("weights gone", ["no model.safetensors", "pytorch_model.bin", "not pushed", "save_pretrained"]),
        ("weights cut", ["model.safetensors", "not a whole safetensors file"]),
        ("code gone", ["units_knowfree.py", "missing"]),
        ("tokenizer gone", ["no tokenizer", "save_pretrained"]),
        ("vocabulary gone", ["no tokenizer", "save_pretrained"]),
        ("another model", ["holds a bert model", "knowfree train"]),
        ("code not named", ["auto_map", "save_pretrained"]),
        ("code from elsewhere", ["org/other--modeling_knowfree"]),
        ("no licence", ["org/m", "no licence", "--license", "card.yaml"]),
        ("no licence of the data", ["org/m-aug", "no licence", "--dataset_license"]),
        ("token in the tokenizer", ["tokenizer_config.json, line", "a Hugging Face token", "nothing was pushed"]),
        ("token in use in the code", ["units_knowfree.py, line", "the token in use"]),
        ("token in the text", ["fusion/train.parquet, row 1", "a Hugging Face token"]),
        ("password in provenance", ["provenance/train.parquet, row 1", "a password in a URL"]),
        ("results gone", ["counts.json", "No such file"]),
        ("model gone", ["model", "no such folder", "--model"]),
        ("augmentation gone", ["augmented", "no such folder", "--augmented"]),
        ("card broken", ["card.yaml", "'licence'"]),
        ("provenance cut", ["provenance.jsonl: ", "were written"]),
        ("provenance without a model", ["provenance.jsonl", "has no 'model'"]),
        ("attempts in words", ["provenance.jsonl", "'x'", "put it back"]),
        ("a row without a source", ["fusion.jsonl", "has no 'source'"]),
        ("a row without entities", ["fusion.jsonl", "has no 'entities'"]),
        ("half a character", ["fusion.jsonl", "surrogates not allowed"]),
        ("no shares", ["label_map.json", "has no 'shares'"]),
        ("empty counts", ["counts.json", "Field required"]),
        ("no teacher's score", ["teacher.json", "has no 'f1'"]),
        ("no types", ["counts.json", "types", "at least 1"]),
        ("unknown decoding", ["config.json", "decoding", "'weird'"]),
        ("unknown unit", ["config.json", "unit", "'weird'"]),
        ("labels in a list", ["config.json"]),
        ("cell without scores", ["cell.json", "dataset: Field required"]),
        ("scores in words", ["test_results.json", "f1", "valid number"]),
        ("half a character in the card", ["card.yaml", "half a surrogate pair"]),
    ],
)
def test_what_must_not_leave_is_refused_in_one_line(what, fragments, hub, command, run_copy):
    harm(run_copy, what)
    code, out = command(run_copy, "--repo_id", "org/m", "--only", "dataset", "--only", "model")
    assert code == 2, out
    lines = [line for line in out.splitlines() if line.startswith("knowfree: ")]
    assert len(lines) == 1
    assert all(fragment in lines[0] for fragment in fragments), lines[0]
    assert "Ab1Ab1" not in out and hub.token not in out and "secret" not in out
    assert hub.calls == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["{run}", "--repo_id", "m"], ["--repo_id m", "OWNER/NAME"]),
        (["{run}", "--repo_id", "org/a b"], ["--repo_id org/a b"]),
        (["{run}", "--repo_id", f"org/{'m' * 92}"], ["--repo_id org/mmm", "m-demo", "96"]),
        (["nowhere", "--repo_id", "org/m"], ["nowhere", "no such folder"]),
        (["--repo_id", "org/m", "--only", "model"], ["no run folder", "--model"]),
        (["{run}", "--repo_id", "org/m", "--license", "Apache 2.0"], ["'Apache 2.0'", "apache-2.0"]),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments, fragments, hub, command, hub_run):
    code, out = command(*(argument.format(run=hub_run) for argument in arguments))
    assert code == 2
    lines = [line for line in out.splitlines() if line.startswith("knowfree: ")]
    assert len(lines) == 1 and all(fragment in lines[0] for fragment in fragments), out
    assert hub.calls == []


def test_meanings_of_other_labels_are_told(command, run_copy):
    (run_copy / "card.yaml").write_text("license: mit\nlabel_meanings: {PLACE: where, PLACES: x}\n")
    code, out = command(run_copy, "--repo_id", "org/m", "--only", "model", "--dry_run")
    assert code == 0 and out.count("label_meanings: the model has no label 'PLACES'; did you mean 'PLACE'?") == 1


def test_an_older_folder_is_pushed_with_the_defaults_of_what_it_does_not_say(command, run_copy):
    path = run_copy / "model" / "config.json"
    later = ("decoding", "threshold", "pooling", "span_mixer", "formulation", "multi_label", "max_span_width")
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in later}))
    code, out = command(run_copy, "--repo_id", "org/m", "--only", "model", "--dry_run")
    assert code == 0 and "never overlapping" in out


def test_offline_is_told(command, hub_run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, out = command(hub_run, "--repo_id", "org/span", "--only", "metric")
    assert code == 1 and "HF_HUB_OFFLINE is set; mend: unset HF_HUB_OFFLINE" in out


def test_without_a_token_nothing_is_sent(hub, command, hub_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent")
    code, out = command(hub_run, "--repo_id", "org/span", "--only", "metric")
    assert code == 2
    assert "hf auth login" in out and "HF_TOKEN" in out


@pytest.mark.parametrize("token", ["hf_\u00dcnicode" + "Ab1" * 10, "hf_Ab1\x07" + "Ab1" * 10])
def test_a_token_that_no_header_may_hold_is_told_and_never_shown(token, hub, command, hub_run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    code, out = command(hub_run, "--repo_id", "org/span", "--only", "metric")
    assert code == 2 and "HF_TOKEN" in out and "holds a character that no token has; copy it again" in out
    assert "Ab1" not in out and hub.calls == []
