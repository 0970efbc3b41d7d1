"""Checkpoints: when they are written and deleted, whole or absent, and equal weights after any interruption."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.held import held
from modeling_knowfree.training import train as train_module
from modeling_knowfree.training.checkpoints import (
    WORK_FOLDER,
    TrainingStopped,
    checkpoint_to_resume,
    sorted_checkpoints,
)
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.train import plan_schedule, train
from modeling_knowfree.training.trainer import KnowFreeTrainer
from tests.support.forked import FORK, knowfree_forked

# Eight sentences by three: an epoch is three updates, the last of them smaller.
UPDATES = 7
QUIET = ["--use_cpu", "--disable_tqdm", "true", "--report_to", "none", "--logging_steps", "2"]


@pytest.fixture(scope="module")
def files(encoder, english_rows, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_rows(folder / "rows.jsonl", english_rows)
    return folder


@pytest.fixture(scope="module")
def command_line(encoder, files):
    """The arguments of a short training into a folder: `command_line(folder, *more)`."""

    def make(folder: Path, *more: str, updates: int = UPDATES, validation: bool = False) -> list[str]:
        argv = ["--model_name_or_path", str(encoder), "--train_file", str(files / "rows.jsonl"), *QUIET]
        argv += ["--validation_file", str(files / "rows.jsonl"), "--eval_steps", "2"] if validation else []
        argv += ["--max_steps", str(updates), "--per_device_train_batch_size", "3", "--learning_rate", "1e-3"]
        return [*argv, "--output_dir", str(folder), *more]

    return make


@pytest.fixture(scope="module")
def undisturbed(command_line, tmp_path_factory) -> Path:
    """Output folder of a training that kept all its checkpoints."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    train(command_line(folder, "--save_steps", "1", "--save_total_limit", "0"))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def names(folder: Path) -> list[str]:
    return [path.name for path in sorted_checkpoints(folder)]


def whole(folder: Path) -> bool:
    """Whether all checkpoints and the model, if it is there, can be read."""
    for checkpoint in sorted_checkpoints(folder):
        if not weights(checkpoint) or not torch.load(checkpoint / "optimizer.pt", weights_only=True):
            return False
    return not (folder / "config.json").exists() or bool(weights(folder))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], ["checkpoint-7"]),
        (["--save_steps", "3", "--save_total_limit", "2"], ["checkpoint-6", "checkpoint-7"]),
        (["--save_steps", "0.3", "--save_total_limit", "0"], ["checkpoint-3", "checkpoint-6", "checkpoint-7"]),
        (["--save_strategy", "epoch", "--save_total_limit", "9"], ["checkpoint-3", "checkpoint-6", "checkpoint-7"]),
    ],
)
def test_checkpoints_are_written_and_kept_as_told(options, kept, command_line, tmp_path):
    train(command_line(tmp_path / "out", *options))
    assert names(tmp_path / "out") == kept
    assert whole(tmp_path / "out") and not (tmp_path / "out" / WORK_FOLDER).exists()


def planned(*options: str, validation: bool = True):
    argv = ["--model_name_or_path", "m", "--train_file", "t", "--output_dir", "o", "--use_cpu", "--max_steps", "100"]
    _, data_args, args = parse_arguments([*argv, *(["--validation_file", "v"] if validation else []), *options])
    plan_schedule(data_args, args, sentences=20)
    return args


def test_the_schedule_follows_what_is_given():
    assert planned(validation=False).save_steps == 25
    assert planned("--save_steps", "7", validation=False).save_steps == 7
    given = planned()
    assert (given.eval_steps, given.save_steps, given.load_best_model_at_end) == (20, 20, True)
    given = planned("--save_steps", "30", "--eval_steps", "10")
    assert (given.eval_steps, given.save_steps) == (10, 30)
    assert planned("--save_steps", "40").eval_steps == 40
    given = planned("--save_strategy", "no")
    assert (given.eval_strategy, given.load_best_model_at_end) == ("steps", False)
    assert planned("--save_strategy", "epoch").eval_strategy == "epoch"
    with pytest.raises(InputError, match=r"--save_steps 25 with --eval_steps 10: .* multiple"):
        planned("--save_steps", "25", "--eval_steps", "10")
    with pytest.raises(InputError, match="--save_strategy epoch with --eval_strategy steps"):
        planned("--save_strategy", "epoch", "--eval_strategy", "steps")


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_resumed_after_any_update_reaches_the_same_weights(step, undisturbed, command_line, tmp_path):
    shutil.copytree(undisturbed / f"checkpoint-{step}", tmp_path / "elsewhere" / f"checkpoint-{step}")
    train(
        command_line(tmp_path / "out", "--resume_from_checkpoint", str(tmp_path / "elsewhere" / f"checkpoint-{step}"))
    )
    assert equal(tmp_path / "out", undisturbed)


class Signals(TrainerCallback):
    """Sends signals to this process when an update has ended."""

    def __init__(self, at: int, *numbers: int):
        self.at, self.numbers = at, numbers

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.at:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.fixture
def send(monkeypatch):
    """Lets the next trainings signal themselves: `send(at, *signals)`, after update `at`."""
    waiting: list[Signals] = []
    build = KnowFreeTrainer.__init__

    def init(self, *args, **kwargs):
        build(self, *args, **kwargs)
        if waiting:
            self.add_callback(waiting.pop())

    monkeypatch.setattr(KnowFreeTrainer, "__init__", init)
    return lambda at, *numbers: waiting.append(Signals(at, *numbers))


@pytest.mark.parametrize(("number", "validation"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_leaves_a_checkpoint_from_which_the_run_ends_the_same(
    number, validation, send, command_line, undisturbed, tmp_path
):
    calm = undisturbed
    if validation:
        calm = tmp_path / "calm"
        train(command_line(calm, validation=True))
    before = signal.getsignal(number)
    for at in (0, 3):
        send(at, number)
        argv = command_line(tmp_path / "out", *(["--resume_from_checkpoint", "True"] * (at > 0)), validation=validation)
        with pytest.raises(TrainingStopped, match=rf"{number.name} after update {at + 1} of 7; .*checkpoint-{at + 1} "):
            train(argv)
        assert f"checkpoint-{at + 1}" in names(tmp_path / "out") and whole(tmp_path / "out")
        assert not (tmp_path / "out" / "config.json").exists()
        assert signal.getsignal(number) is before
    train(command_line(tmp_path / "out", "--resume_from_checkpoint", "true", validation=validation))
    assert equal(tmp_path / "out", calm)
    if validation:
        read = [(folder / "validation_results.json").read_text() for folder in (calm, tmp_path / "out")]
        assert read[0].split('"validation_f1"')[1][:20] == read[1].split('"validation_f1"')[1][:20]


@pytest.mark.parametrize("options", [["--save_strategy", "no"], ["--save_only_model", "true"]])
def test_a_signal_leaves_a_checkpoint_whatever_the_strategy(options, send, command_line, undisturbed, tmp_path):
    send(2, signal.SIGTERM)
    with pytest.raises(TrainingStopped):
        train(command_line(tmp_path / "out", *options))
    train(command_line(tmp_path / "out", *options, "--resume_from_checkpoint", "True"))
    assert equal(tmp_path / "out", undisturbed)


def test_a_folder_that_another_process_trains_into_is_left_to_it(command_line, tmp_path):
    with held(tmp_path / "out", "--output_dir"), pytest.raises(InputError, match="out: another process is writing it"):
        train(command_line(tmp_path / "out"))
    assert names(tmp_path) == []


def test_a_model_that_another_process_finished_meanwhile_is_left_alone(command_line, tmp_path, monkeypatch):
    load, line = train_module._load_encoder, command_line(tmp_path / "out")

    def load_slowly(*arguments):
        monkeypatch.setattr(train_module, "_load_encoder", load)
        train(line)
        return load(*arguments)

    monkeypatch.setattr(train_module, "_load_encoder", load_slowly)
    with pytest.raises(InputError, match=r"out: is not empty"):
        train([*line, "--seed", "7"])
    assert json.loads((tmp_path / "out" / "training_args.json").read_text())["seed"] == 42


def test_a_second_signal_acts_at_once(send, command_line, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    send(2, signal.SIGINT, signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt) as interrupt:
            train(command_line(tmp_path / "out"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not isinstance(interrupt.value, TrainingStopped)
    assert names(tmp_path / "out") == ["checkpoint-2"]


def test_the_best_checkpoint_survives_a_stop_and_a_move(send, command_line, tmp_path):
    """With a limit of one, the best is kept beside the last; its folder may be moved in between."""
    best_at_4 = ["--metric_for_best_model", "f1", "--save_steps", "2"]
    train(command_line(tmp_path / "calm", *best_at_4, validation=True))
    send(4, signal.SIGTERM)
    with pytest.raises(TrainingStopped):
        train(command_line(tmp_path / "out", *best_at_4, validation=True))
    assert "checkpoint-5" in names(tmp_path / "out") and len(names(tmp_path / "out")) <= 2
    (tmp_path / "out").rename(tmp_path / "moved")
    train(command_line(tmp_path / "moved", *best_at_4, "--resume_from_checkpoint", "True", validation=True))
    assert equal(tmp_path / "moved", tmp_path / "calm")
    assert names(tmp_path / "moved") == names(tmp_path / "calm")


def test_a_run_that_goes_on_elsewhere_deletes_nothing_of_the_first(command_line, tmp_path):
    every = ["--save_steps", "2", "--eval_steps", "2", "--learning_rate", "0", "--head_learning_rate", "0"]
    train(
        command_line(tmp_path / "old", *every, "--save_total_limit", "0", validation=True)
    )  # the first stays the best
    before = names(tmp_path / "old")
    resume = ["--resume_from_checkpoint", str(tmp_path / "old" / "checkpoint-4"), "--save_total_limit", "1"]
    train(command_line(tmp_path / "new", *every, *resume, validation=True))
    assert names(tmp_path / "old") == before and "checkpoint-4" in before


def test_a_folder_that_moved_after_the_last_update_still_gives_the_best(command_line, tmp_path):
    slow = ["--learning_rate", "1e-6", "--head_learning_rate", "1e-6"]  # the first stays the best
    options = ["--save_steps", "2", "--eval_steps", "2", "--save_total_limit", "0", *slow]
    train(command_line(tmp_path / "out", *options, validation=True))
    best = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["best_global_step"]
    (tmp_path / "out").rename(tmp_path / "moved")
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "moved" / name).unlink()
    again = [*options, "--resume_from_checkpoint", "True"]
    train(command_line(tmp_path / "moved", *again, validation=True))
    assert names(tmp_path / "moved")[-1] != f"checkpoint-{best}"
    assert equal(tmp_path / "moved", tmp_path / "moved" / f"checkpoint-{best}")


def test_what_cannot_be_resumed_is_refused_by_name(undisturbed, command_line, tmp_path):
    def refused(match: str, *more: str, folder: Path = tmp_path / "out") -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match=match):
            train(command_line(folder, *more))
        assert sorted(tmp_path.rglob("*")) == before

    refused("True: no such checkpoint", "--resume_from_checkpoint", "True")
    refused("no such checkpoint; name a folder", "--resume_from_checkpoint", str(tmp_path / "absent"))
    for lacking, what in (
        ("optimizer.pt", "lacks the optimizer's state"),
        ("model.safetensors", "lacks weights"),
        ("trainer_state.json", "lacks a readable trainer_state.json"),
    ):
        half = tmp_path / lacking / "checkpoint-3"
        shutil.copytree(undisturbed / "checkpoint-3", half)
        (half / lacking).unlink()
        refused(what, "--resume_from_checkpoint", str(half))
    shutil.copytree(undisturbed / "checkpoint-2", half.with_name("checkpoint-2"))
    args = planned("--output_dir", str(half.parent), "--resume_from_checkpoint", "True")
    assert checkpoint_to_resume(args) == str(half.with_name("checkpoint-2")), "the last whole one, not the last"
    refused(
        "was trained with span_mixer .*local_attention.*, this run has .*none",
        *("--resume_from_checkpoint", str(undisturbed / "checkpoint-3"), "--span_mixer", "none"),
    )
    for name, now in (("head_learning_rate", 0.01), ("weight_decay", 0.5)):
        refused(
            rf"was trained with {name} [\d.e-]+, this run has {now}",
            *("--resume_from_checkpoint", str(undisturbed / "checkpoint-3"), f"--{name}", str(now)),
        )
    other = tmp_path / "other" / "checkpoint-3"  # of other sentences
    shutil.copytree(undisturbed / "checkpoint-3", other)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    lengths = config["train_lengths"] | {"max": 99}
    (other / "config.json").write_text(json.dumps(config | {"train_lengths": lengths}))
    refused("was trained with train_lengths .*99.*, this run has", "--resume_from_checkpoint", str(other))
    older = tmp_path / "older" / "checkpoint-3"  # of a version that had no votes of units
    shutil.copytree(undisturbed / "checkpoint-3", older)
    config = json.loads((older / "config.json").read_text(encoding="utf-8"))
    (older / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "unit_votes"}))
    refused("trained with unit_votes false, this run has true", "--resume_from_checkpoint", str(older))
    smaller = tmp_path / "smaller" / "checkpoint-3"
    shutil.copytree(undisturbed / "checkpoint-3", smaller)
    layers = config["encoder_config"] | {"num_hidden_layers": 1}
    (smaller / "config.json").write_text(json.dumps(config | {"encoder_config": layers}))
    refused("was trained with num_hidden_layers 1, this run has 2", "--resume_from_checkpoint", str(smaller))
    (smaller / "config.json").write_text("{")
    refused("config.json: not JSON", "--resume_from_checkpoint", str(smaller))
    refused("is not empty.*--resume_from_checkpoint True", folder=undisturbed)


def test_a_disk_that_is_full_is_told_and_leaves_whole_checkpoints(command_line, tmp_path):
    """A limit on the size of files stands for a full disk: errors come from the same calls."""
    folder = tmp_path / "out"
    size = 300_000  # the optimizer's state needs more, the weights less
    told = _forked(_train_with_limit, command_line(folder, "--save_steps", "2"), size)
    assert told == (errno.EFBIG, str(folder / "checkpoint-2"))
    assert names(folder) == [] and not (folder / "config.json").exists()
    train(command_line(folder))  # what is left over is no obstacle
    assert whole(folder) and not (folder / WORK_FOLDER).exists()


def _train_with_limit(argv: list[str], size: int):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        train(argv)
    except OSError as error:
        return error.errno, error.filename


def _forked(function, *args):
    queue = FORK.SimpleQueue()
    process = FORK.Process(target=lambda: queue.put(function(*args)))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return queue.get()


def _train_quietly(argv: list[str]) -> None:
    try:
        train(argv)
    except TrainingStopped as stop:
        os._exit(128 + stop.signal)
    os._exit(0)


def kill_loop(folder: Path, argv, kills: list[int], seconds: float, seed: int) -> None:
    """A training killed at random moments up to so many seconds after a new checkpoint, resumed each time."""
    draw = random.Random(seed)
    for number in [*kills, None]:
        before = names(folder)
        options = ["--resume_from_checkpoint", "True"] if before else []
        process = FORK.Process(target=_train_quietly, args=(argv(folder, *options),))
        process.start()
        if number is not None:
            while names(folder) in (before, []) and process.is_alive():
                time.sleep(0.02)
            time.sleep(draw.uniform(0, seconds))
            assert process.is_alive(), "it ended before it could be killed: more updates are needed"
            os.kill(process.pid, number)
        process.join(900)
        assert process.exitcode == {None: 0, signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}[number]
        assert whole(folder), f"a half-written checkpoint after {number}"


def _killed_and_undisturbed(command_line, tmp_path: Path, kills: list[int], updates: int) -> tuple[Path, Path]:
    def argv(folder: Path, *more: str) -> list[str]:
        return command_line(folder, "--save_steps", "2", *more, updates=updates)

    started = time.monotonic()
    kill_loop(tmp_path / "calm", argv, [], 0, 0)
    between_checkpoints = 2 * (time.monotonic() - started) / updates
    (tmp_path / "killed").mkdir()
    kill_loop(tmp_path / "killed", argv, kills, between_checkpoints, seed=len(kills))
    return tmp_path / "killed", tmp_path / "calm"


def test_killed_and_terminated_at_random_moments_it_ends_in_the_same_weights(command_line, tmp_path):
    kills = [signal.SIGKILL, signal.SIGTERM]
    assert equal(*_killed_and_undisturbed(command_line, tmp_path, kills, updates=24))


@pytest.mark.soak
def test_twenty_kills_and_ten_terminations(command_line, tmp_path):
    kills = [*[signal.SIGKILL] * 20, *[signal.SIGTERM] * 10]
    random.Random(0).shuffle(kills)
    assert equal(*_killed_and_undisturbed(command_line, tmp_path, kills, updates=240))


def test_the_command_exits_by_the_signal_and_says_how_to_go_on(command_line, tmp_path):
    argv = command_line(tmp_path / "out", "--save_steps", "1", updates=100_000)
    process = knowfree_forked("train", *argv)
    while not names(tmp_path / "out"):
        assert process.poll() is None, process.errors()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    error = process.errors().decode()
    last = error.strip().splitlines()[-1]
    assert last.startswith("knowfree: stopped by SIGTERM after update") and "--resume_from_checkpoint True" in last
    assert "Traceback" not in error and whole(tmp_path / "out")
