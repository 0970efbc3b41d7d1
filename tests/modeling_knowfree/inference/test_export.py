"""The exported model: the pipeline's spans, in a process that never sees PyTorch."""

import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from modeling_knowfree.data.rows import InputError
from modeling_knowfree.inference import export as export_module
from modeling_knowfree.inference.commands import export
from modeling_knowfree.inference.export import export_onnx
from modeling_knowfree.inference.onnx_tagger import OnnxTagger
from modeling_knowfree.inference.tag import load_pipeline
from tests.support import ROOT

TAG = """
import importlib.util, json, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "modeling_knowfree", "safetensors"):
            raise ImportError(f"{name} is not to be imported here")
sys.meta_path.insert(0, Refused())
spec = importlib.util.spec_from_file_location("onnx_tagger", sys.argv[1] + "/onnx_tagger.py")
module = importlib.util.module_from_spec(spec); sys.modules["onnx_tagger"] = module; spec.loader.exec_module(module)
given = json.load(sys.stdin)
tagger = module.OnnxTagger(sys.argv[1], threads=1)
print(json.dumps([tagger(given["texts"]), tagger(given["units"], is_split_into_words=True), tagger(given["texts"][1])]))
"""


@pytest.fixture(scope="module", params=["trained", pytest.param("nested", marks=pytest.mark.soak)])
def model(request) -> Path:
    return request.getfixturevalue(request.param)


def texts_of(model: Path) -> list[str]:
    english = ["", "Left harrow creek trailhead at 5 am .", "the bear", " \t", "snow ! " * 60]
    return (
        english
        if model.name == "model" and "trained" in str(model)
        else ["", "我们一起在嘉鱼。", "北京大学 很好", "。" * 300]
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    """The folder that a whole export leaves: torch takes half a minute over the graph."""
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    assert CliRunner().invoke(export, [str(model), str(folder)], catch_exceptions=False).exit_code == 0
    return folder


@pytest.mark.parametrize("int8", [False, True])
def test_the_exported_model_gives_the_spans_of_the_pipeline(model, exported, tmp_path, monkeypatch, int8):
    folder = tmp_path / "exported" if int8 else exported
    if int8:
        graph = exported / "model.onnx"
        monkeypatch.setattr(
            "modeling_knowfree.inference.export._export_graph", lambda network, path: shutil.copy(graph, path)
        )
        arguments = [str(model), str(folder), "--to", "onnx", "--int8"]
        assert CliRunner().invoke(export, arguments, catch_exceptions=False).exit_code == 0
        assert (folder / "model.onnx").stat().st_size < graph.stat().st_size
    assert {"model.onnx", "tokenizer.json", "tagger.json", "onnx_tagger.py"} <= {p.name for p in folder.iterdir()}
    pipe = load_pipeline(str(model))
    texts = texts_of(model)
    units = [list(text) if pipe.model.config.unit == "character" else text.split() for text in texts if text.strip()]
    done = subprocess.run(
        [sys.executable, "-c", TAG, str(folder)],
        input=json.dumps({"texts": texts, "units": units}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    by_text, by_units, one = json.loads(done.stdout)
    assert [len(by_text), len(by_units)] == [len(texts), len(units)]
    if int8:
        integer = [node for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == "MatMulInteger"]
        # Of each layer all products but the last, and those of local attention.
        assert len(integer) == 5 * pipe.model.config.encoder_config.num_hidden_layers + 4
        return  # its scores depend on the batch; what it finds is measured (benchmarks/bench_export.py)
    assert one == by_text[1]
    for found, expected in ((by_text, pipe(texts)), (by_units, pipe(units, is_split_into_words=True))):
        assert any(expected)
        for mine, theirs in zip(found, expected, strict=True):
            assert [{**span, "score": None} for span in mine] == [{**span, "score": None} for span in theirs]
            assert [span["score"] for span in mine] == pytest.approx([span["score"] for span in theirs], abs=1e-4)


@pytest.mark.parametrize("name", ["tagger.json", "tokenizer.json", "model.onnx"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_a_damaged_file_of_an_export_is_named(exported, name, damage, tmp_path):
    shutil.copytree(exported, tmp_path / "exported")
    path = tmp_path / "exported" / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-100], "other": b"[1]"}[damage])
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: missing or damaged.*export the model again"):
        OnnxTagger(tmp_path / "exported", threads=1)


def test_commands_that_want_the_model_say_what_an_export_is(exported):
    with pytest.raises(InputError, match="is an export to ONNX; tag with the OnnxTagger"):
        load_pipeline(str(exported))


def test_half_a_surrogate_pair_is_told_with_its_place(exported):
    with pytest.raises(ValueError, match=r"input 1: character 2 \(U\+D83D\) is half of a surrogate pair"):
        OnnxTagger(exported, threads=1)(["the bear", "a \ud83d"])


def test_a_single_text_takes_the_options_of_a_list(model, exported):
    tagger, text = OnnxTagger(exported, threads=1), " ".join(text.rstrip(" .!。") for text in texts_of(model)[1:3] * 30)
    for options in ({"window_overlap": 5}, {"decoding": "all", "threshold": 0.4, "batch_size": 3}):
        assert tagger(text, **options) == tagger([text], **options)[0] != []
    assert tagger(text, window_overlap=5) != tagger(text, window_overlap=0)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("a", {"is_split_into_words": True}, "input 0: is_split_into_words=True takes a list of strings, got 'a'"),
        ([7], {"is_split_into_words": True}, "input 0: is_split_into_words=True takes a list of strings, got 7"),
        ([7], {}, "input 0: takes text, got int"),
        (["a"], {"window_overlap": -30}, "window_overlap=-30: give a whole number, 0 or more"),
        (["a"], {"window_overlap": 1.5}, "window_overlap=1.5"),
        (["a"], {"batch_size": 0}, "batch_size=0: give a whole number, 1 or more"),
        (["a"], {"threshold": "0.5"}, "threshold='0.5'"),
        (["a"], {"decoding": "best"}, "decoding='best'"),
    ],
)
def test_options_without_meaning_are_refused_as_by_the_pipeline(exported, given, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        OnnxTagger(exported, threads=1)(given, **options)


@pytest.mark.soak
def test_units_of_one_sentence_are_one_answer(model, exported):
    tagger, text = OnnxTagger(exported, threads=1), texts_of(model)[1]
    units = text.split() if " " in text else list(text)
    assert tagger(units, is_split_into_words=True) == tagger([units], is_split_into_words=True)[0] != []
    assert tagger(iter([text])) == [tagger(text)]


@pytest.mark.parametrize("texts", [{"text": "deep snow"}, b"deep snow", None, 3])
def test_what_is_no_text_is_refused(exported, texts):
    with pytest.raises(ValueError, match="takes text, not"):
        OnnxTagger(exported, threads=1)(texts)


def test_a_fresh_environment_runs_the_exported_model(trained, tmp_path):
    """A virtual environment that has what the tagger's file needs, out of a package registry, and nothing else."""
    folder, environment = tmp_path / "exported", tmp_path / "environment"
    export_onnx(str(trained), folder)
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--constraint", ROOT / "constraints.txt"]
    got = subprocess.run([*pip, "onnxruntime", "tokenizers", "numpy"], capture_output=True, text=True)
    if "connection broken" in got.stderr:  # pip's words before each further try
        pytest.skip("no package registry can be reached")
    assert got.returncode == 0, got.stderr
    there = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "onnxruntime" in there and not {"torch", "transformers", "knowfree"} & set(there.split())
    texts = texts_of(trained)
    done = subprocess.run(
        [python, folder / "onnx_tagger.py"], input="\n".join(texts), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = [[span | {"score": None} for span in json.loads(line)] for line in done.stdout.splitlines()]
    expected = [[span | {"score": None} for span in spans] for spans in load_pipeline(str(trained))(texts)]
    assert found == expected and any(expected)


def test_a_folder_that_exists_is_left_alone(trained, tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(InputError, match="exists"):
        CliRunner().invoke(export, [str(trained), str(tmp_path / "kept")], catch_exceptions=False)
    with pytest.raises(InputError, match="no such folder"):
        CliRunner().invoke(export, [str(tmp_path / "none"), str(tmp_path / "new")], catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_appears_meanwhile_is_left_alone(trained, tmp_path, monkeypatch):
    write, folder = export_module._export_graph, tmp_path / "exported"

    def write_slowly(*arguments):
        write(*arguments)
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"another's")

    monkeypatch.setattr(export_module, "_export_graph", write_slowly)
    with pytest.raises(InputError, match=r"exported: exists by now"):
        CliRunner().invoke(export, [str(trained), str(folder)], catch_exceptions=False)
    assert [path.name for path in folder.iterdir()] == ["model.onnx"] and list(tmp_path.iterdir()) == [folder]
