"""What `knowfree push` refuses before anything is sent."""

import json
import os
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


def test_without_a_token_nothing_is_sent(hub, command, hub_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent")
    code, out = command(hub_run, "--repo_id", "org/span", "--only", "metric")
    assert code == 2
    assert "hf auth login" in out and "HF_TOKEN" in out
