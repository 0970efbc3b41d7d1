"""Disks that are full, read-only or out of inodes: one line says which file and what to do, and nothing is half there."""

import json
import os
from pathlib import Path

import pytest

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.files import as_os_error
from tests.modeling_knowfree.test_convert import released_folder
from tests.support.command import call
from tests.support.small_disk import Outcome, on_disk, writable_within

FULL = "free some space (df -h) or some files (df -i)"
READ_ONLY = "name a folder on a disk that can be written"
DISKS = {
    "no space": ("size=4k", False, FULL),
    "no inode": ("size=8m,nr_inodes=2", False, FULL),
    "read-only": ("size=8m", True, READ_ONLY),
}


@pytest.fixture
def disk(tmp_path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture(scope="module")
def rows(english_rows, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_rows(path, [{**row, "id": f"{number}-{row['id']}"} for number in range(40) for row in english_rows])
    return path


def check(outcome: Outcome, disk: Path, mend: str) -> None:
    lines = [line for line in outcome.error.splitlines() if line.startswith("knowfree: ")]
    assert outcome.code == 1 and len(lines) == 1 and "Traceback" not in outcome.error, outcome
    assert str(disk) in lines[0] and mend in lines[0] and ".tmp" not in lines[0], lines
    assert outcome.broken == [], outcome


@pytest.mark.parametrize("kind", DISKS)
def test_sample(kind, disk, rows):
    options, read_only, mend = DISKS[kind]
    argv = ["sample", "--train_file", rows, "--output_dir", disk / "low", "--sizes", "100", "--sizes", "200"]
    check(on_disk(disk, options, argv, read_only=read_only), disk, mend)


@pytest.mark.parametrize("kind", ["no inode", "read-only"])
def test_augment_init(kind, disk, rows):
    options, read_only, mend = DISKS[kind]
    argv = ["augment", "init", disk / "run", "--train_file", rows, "--language", "en", "--client", "recorded"]
    check(on_disk(disk, options, [*argv, "--answers", rows], read_only=read_only), disk, mend)


@pytest.mark.parametrize("left", [0, 4, 12, 28, 60, 100])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_augment_makes_its_store(command, left, disk, rows, tmp_path):
    """`left` KiB of 1 MiB are free when the store is made. It takes 32, and 100 for what is asked."""

    answers = tmp_path / "answers.jsonl"
    write_rows(answers, [{"task": "entities", "id": "1", "input": "deep snow", "completion": "[]"}])

    def fill() -> None:
        settings = {"train_file": str(rows), "language": "en", "client": "recorded", "answers": [str(answers)]}
        (disk / "augment.yaml").write_text(json.dumps(settings))
        status = os.statvfs(disk)
        (disk / "full").write_bytes(bytes(status.f_bavail * status.f_frsize - left * 1024))

    outcome = on_disk(disk, "size=1m", ["augment", command, disk], before=fill)
    if outcome.code or command == "run" or left < 32:
        check(outcome, disk, "free some space (df -h)")
    assert not [name for name in outcome.files if ".tmp" in name], outcome.files


NO_SPACE = [("no space", f"size={size}") for size in ("400k", "1m", "6m", "8m")]


@pytest.mark.parametrize(("kind", "size"), [*NO_SPACE, ("no inode", ""), ("read-only", "")])
def test_train(kind, size, disk, rows, encoder):
    """None of them holds the first checkpoint: 400 KB the weights and not the optimizer's state."""
    options, read_only, mend = DISKS[kind]
    argv = ["train", "--model_name_or_path", encoder, "--train_file", rows, "--output_dir", disk / "out"]
    argv += ["--max_steps", "2", "--use_cpu", "--disable_tqdm", "true", "--report_to", "none"]
    outcome = on_disk(disk, size or options, argv, read_only=read_only)
    check(outcome, disk, mend)
    assert not [name for name in outcome.files if name.startswith("out/") and not name.startswith("out/.unfinished/")]


def test_train_into_a_volume(disk, rows, encoder):
    """A folder that can be written in one that cannot."""
    argv = ["train", "--model_name_or_path", encoder, "--train_file", rows, "--output_dir", disk / "out"]
    argv += ["--max_steps", "2", "--use_cpu", "--disable_tqdm", "true", "--report_to", "none"]
    outcome = on_disk(disk, "size=8m", argv, before=lambda: writable_within(disk / "out"))
    assert outcome.code == 0 and "out/model.safetensors" in outcome.files, outcome
    assert not [name for name in outcome.files if name.endswith(".lock")]


def test_suggest_into_a_volume(disk, rows, trained, tmp_path):
    (tmp_path / "pool.txt").write_text("deep snow on the ridge\nthe bear left at 4 am\n")
    argv = [
        "suggest",
        tmp_path / "pool.txt",
        "--model",
        trained,
        "--number",
        "1",
        "--to",
        "brat",
        "--output",
        disk / "out",
    ]
    outcome = on_disk(disk, "size=8m", argv, before=lambda: writable_within(disk / "out"))
    assert outcome.code == 0 and "out/rows.txt" in outcome.files, outcome


def test_predict_into_a_full_file(disk, rows, trained):
    outcome = on_disk(
        disk, "size=4k", ["predict", "--model", trained, "--input", rows, "--threshold", "0.05"], output="spans.jsonl"
    )
    lines = outcome.error.splitlines()
    assert outcome.code == 1 and "Traceback" not in outcome.error, outcome
    assert lines[-1].startswith("knowfree: standard output: No space left on device; free some space"), lines


@pytest.mark.parametrize("name", ["spans.jsonl", "spans.parquet"])
def test_predict_into_a_file_on_a_full_disk(name, disk, rows, trained):
    argv = ["predict", "--model", trained, "--input", rows, "--threshold", "0.05", "--output", disk / name]
    outcome = on_disk(disk, "size=24k" if name.endswith("l") else "size=100k", argv)
    check(outcome, disk, FULL)
    assert name not in outcome.files


@pytest.mark.parametrize("kind", DISKS)
def test_export(kind, disk, trained):
    options, read_only, mend = DISKS[kind]
    outcome = on_disk(disk, options, ["export", trained, disk / "out"], read_only=read_only)
    check(outcome, disk, mend)
    assert not [name for name in outcome.files if name.startswith("out/")]


@pytest.mark.parametrize("kind", DISKS)
def test_convert(kind, disk, encoder, tmp_path):
    options, read_only, mend = DISKS[kind]
    released_folder(tmp_path / "released", encoder)
    argv = ["convert", "--input", tmp_path / "released", "--labels", tmp_path / "released" / "labels.txt"]
    outcome = on_disk(disk, options, [*argv, "--output", disk / "out"], read_only=read_only)
    check(outcome, disk, mend)
    assert not [name for name in outcome.files if name.startswith("out/")]


@pytest.mark.parametrize("error", [ValueError("the write failed in line 3"), InputError("iostream is no label")])
def test_what_is_no_trouble_of_the_disk_goes_through(error, tmp_path):
    with pytest.raises(type(error)) as raised, as_os_error(tmp_path / "out"):
        raise error
    assert raised.value is error


def test_a_folder_that_vanishes_is_told(tmp_path, capsys, monkeypatch):
    """What a command was told to read is gone."""
    import knowfree

    monkeypatch.setattr("sys.argv", ["knowfree", "sample", "--train_file", str(tmp_path / "gone" / "x.jsonl"),
                                     "--output_dir", str(tmp_path / "low")])  # fmt: skip
    with pytest.raises(SystemExit) as end:
        knowfree.main()
    assert end.value.code == 2 and "x.jsonl: no such file" in capsys.readouterr().err


def test_links_are_followed_to_files_that_are_not_there_yet(trained, rows, tmp_path):
    (tmp_path / "far").mkdir()
    for name, argv in {
        "spans.jsonl": ["predict", "--model", trained, "--input", rows, "--output"],
        "spans.parquet": ["predict", "--model", trained, "--input", rows, "--output"],
        "rows.conll": ["data", "convert", "--to", "conll", rows],
    }.items():
        (tmp_path / name).symlink_to(Path("far") / name)
        call(*argv, tmp_path / name)
        assert (tmp_path / name).is_symlink() and (tmp_path / "far" / name).stat().st_size, name


def test_links_that_lead_back_to_themselves_are_told(trained, rows, encoder, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    train = ["train", "--model_name_or_path", encoder, "--train_file", rows, "--use_cpu", "--max_steps", "2"]
    for argv in (
        [*train, "--output_dir", loop / "out"],
        ["sample", "--train_file", rows, "--sizes", "100", "--output_dir", loop / "out"],
        ["data", "convert", "--to", "conll", rows, loop],
        ["predict", "--model", trained, "--input", rows, "--output", loop],
    ):
        told = call(*argv, code=1)
        assert "lead back to themselves" in told and "Traceback" not in told, argv
    assert loop.is_symlink()


def test_rows_are_written_whole_or_not_at_all(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"tokens": ["old"]}])

    def failing():
        yield {"tokens": ["new"]}
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError) as error:
        write_rows(tmp_path / "rows.jsonl", failing())
    assert error.value.filename == str(tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == {"tokens": ["old"]}
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
