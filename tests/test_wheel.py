"""The built wheel alone, in an environment of its own, beside a folder that is called as one of ours was."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from modeling_knowfree.data.readers import write_rows
from tests.support import ROOT

ALLOWED = {"knowfree.py", "push_to_hub.py", "modeling_knowfree", "augmentation"}
ALLOWED_BEGINNING = "knowfree_"


@pytest.mark.soak
def test_the_wheel_works_beside_a_folder_called_experiments(encoder, english_rows, tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(copy_of_tree(tmp_path))], check=True)
    (wheel,) = tmp_path.glob("knowfree-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        tops = {name.split("/")[0] for name in packed.namelist()}
    assert all(t in ALLOWED or t.startswith(ALLOWED_BEGINNING) or t.endswith(".dist-info") for t in tops), tops

    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True)
    others = dict.fromkeys([sysconfig.get_paths()["purelib"], *(p for p in sys.path if p.endswith("site-packages"))])
    (site / "zz_others.pth").write_text("\n".join(others))  # torch and the like; editable installs are not followed

    work = tmp_path / "work"
    for name in ("experiments", "hub_cards", "spaces", "examples"):
        (work / name).mkdir(parents=True)
        (work / name / "__init__.py").write_text(f"raise RuntimeError('the user\\'s own {name}')")
    write_rows(work / "train.jsonl", english_rows)

    def knowfree(*argv: object) -> str:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        command = [str(python), "-m", "knowfree", *map(str, argv)]
        answer = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    told = "import knowfree, modeling_knowfree as m; print(knowfree.__file__, m.__file__)"
    where = subprocess.run([str(python), "-c", told], cwd=work, capture_output=True, text=True, check=True).stdout
    assert all(Path(path).is_relative_to(site) for path in where.split()), where
    assert "train" in knowfree("--help")
    files = ("--model_name_or_path", encoder, "--train_file", "train.jsonl", "--output_dir", "model")
    knowfree("train", *files, "--max_steps", 60, "--learning_rate", "1e-3", "--use_cpu")
    found = knowfree("predict", "--model", "model", "--input", "train.jsonl").splitlines()
    assert len(found) == 8 and any(json.loads(line)["entities"] for line in found)
    assert "variant" in knowfree("run", "--output_dir", "x", "--variants", "list")


def copy_of_tree(tmp_path: Path) -> Path:
    """What git has, so that a build leaves nothing in the checkout and takes nothing that is not in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            copy = tmp_path / "tree" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    return tmp_path / "tree"
