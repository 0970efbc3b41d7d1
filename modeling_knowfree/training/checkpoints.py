"""Checkpoints that are whole or absent, and trainings that a signal stops without loss."""

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..configuration_knowfree import KnowFreeConfig
from ..data.rows import InputError
from ..data.stored import stored_object
from ..files import as_os_error, lock_of, sync

WORK_FOLDER = ".unfinished"  # in the output folder: what is being written, and what is being deleted
ARGUMENTS_FILE = "training_args.json"
_CONFIG = "config.json"
# What must be equal for the weights and the optimizer of a checkpoint to fit a model.
_SHAPING = (
    *("unit", "id2label", "extension_labels", "head_size", "span_size", "biaffine_heads", "attention_heads"),
    *("attention_window", "span_mixer", "cnn_depth", "width_embedding_size", "formulation", "pooling"),
    *("unit_votes", "tag_weight", "extension_tag_weight"),
)
# Of the training, what its optimizer keeps from the checkpoint, whatever is given; of the data, how long they are.
_KEPT_BY_THE_OPTIMIZER = ("learning_rate", "head_learning_rate", "weight_decay")
_OF_THE_DATA = ("train_lengths",)

_SHAPING_THE_ENCODER = tuple(
    "model_type vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size".split()
)


class TrainingStopped(KeyboardInterrupt):
    """
    A signal ended a training after the update under way; its checkpoint is written.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int, step: int, steps: int, folder: str | os.PathLike[str]):
        self.signal = number
        super().__init__(
            f"stopped by {signal.Signals(number).name} after update {step} of {steps}; {folder} has the checkpoint: "
            "the same command goes on, `knowfree train` with --resume_from_checkpoint True"
        )


class StopOnSignal(TrainerCallback):
    """
    While it is entered (`with`), SIGINT and SIGTERM end the training after the update under way, with a checkpoint. A
    second signal acts at once. Of several processes all stop after the same update, whoever heard the signal.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():  # others hear no signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self.__exit__()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if args.world_size > 1:
            heard = torch.tensor(self.signal or 0, device=args.device)
            torch.distributed.all_reduce(heard, torch.distributed.ReduceOp.MAX)
            self.signal = int(heard) or None
        if self.signal is not None:
            control.should_save = control.should_training_stop = True
        return control


class SafeCheckpoints(Trainer):
    """
    A Trainer that writes checkpoints and models beside their place, syncs them and renames them: whoever kills it
    finds each whole or not at all. `save_total_limit` and the best checkpoint are kept as `TrainingArguments` says.
    """

    _saving = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.stop = StopOnSignal()
        self.add_callback(self.stop)

    def train(self, *args: Any, **kwargs: Any):
        """
        `Trainer.train`.

        Raises:
            TrainingStopped: by SIGINT or SIGTERM; the checkpoint is written.
            OSError: a checkpoint cannot be written; earlier ones are whole.
        """
        with self.stop:
            trained = super().train(*args, **kwargs)
        checkpoint = self._checkpoint(None)
        if self.stop.signal is not None and checkpoint.is_dir():
            raise TrainingStopped(self.stop.signal, self.state.global_step, self.state.max_steps, checkpoint)
        return trained

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """`Trainer.save_model`; the configuration comes last, so that what has one is whole."""
        if _internal_call:
            super().save_model(output_dir, _internal_call)
            return
        folder = Path(output_dir or str(self.args.output_dir))
        work = folder / WORK_FOLDER / "model"
        with as_os_error(folder):
            self._empty(work.parent)
            super().save_model(str(work), _internal_call=True)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                files = sorted(work.iterdir(), key=lambda path: (path.suffix == ".json", path.name == _CONFIG))
                for path in work.rglob("*"):
                    sync(path)
                (folder / _CONFIG).unlink(missing_ok=True)
                for path in files:
                    if path.is_dir():  # LoRA's adapter
                        shutil.rmtree(folder / path.name, ignore_errors=True)
                    path.replace(folder / path.name)
                shutil.rmtree(work.parent)
                sync(folder)
        if self.args.push_to_hub:
            self.push_to_hub(commit_message="Model save")

    def _checkpoint(self, trial: Any) -> Path:
        return Path(super()._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return os.path.join(folder, WORK_FOLDER) if self._saving else folder

    def _empty(self, work: Path) -> None:
        if self.args.should_save:
            shutil.rmtree(work, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        checkpoint = self._checkpoint(trial)
        work = checkpoint.parent / WORK_FOLDER / checkpoint.name
        only_model, self.args.save_only_model = self.args.save_only_model, False
        if self.stop.signal is None:
            self.args.save_only_model = only_model
        with as_os_error(checkpoint):
            self._empty(work.parent)
            self._saving = True
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._saving, self.args.save_only_model = False, only_model
            self.accelerator.wait_for_everyone()
            best = checkpoint.with_name(f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
            if best == checkpoint or best.is_dir():
                self.state.best_model_checkpoint = str(best)
            if self.args.should_save:
                self.state.save_to_json(str(work / TRAINER_STATE_NAME))
                for path in work.rglob("*"):
                    sync(path)
                _discard(checkpoint)
                work.replace(checkpoint)
                sync(checkpoint.parent)
                self._rotate(checkpoint)
                shutil.rmtree(work.parent)
        self.accelerator.wait_for_everyone()

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        # Under save_strategy "best" the answer decides alone whether to save, also what a signal asked for.
        return super()._determine_best_metric(metrics, trial) or self.stop.signal is not None

    def _rotate(self, newest: Path) -> None:
        """Delete the oldest checkpoints over `save_total_limit`, never the newest or the best."""
        limit, best = self.args.save_total_limit, self.state.best_model_checkpoint
        if limit is None or limit <= 0:
            return
        kept = {newest, Path(best)} if best else {newest}
        found = sorted_checkpoints(newest.parent)
        surplus = max(0, len(found) - max(limit, len(kept)))
        for checkpoint in [path for path in found if path not in kept][:surplus]:
            _discard(checkpoint)

    def _init_training_state(self, max_steps, per_epoch, epochs, resume_from_checkpoint, trial):
        started = super()._init_training_state(max_steps, per_epoch, epochs, resume_from_checkpoint, trial)
        if resume_from_checkpoint and self.state.best_model_checkpoint is None:
            # The state names the folder in which the best one was written; both may have moved together.
            named = stored_object(Path(resume_from_checkpoint) / TRAINER_STATE_NAME).get("best_model_checkpoint")
            best = Path(resume_from_checkpoint).with_name(Path(named).name) if named else None
            if best is not None and best.is_dir():
                self.state.best_model_checkpoint = str(best)
        return started

    def _finalize_training(self, *args: Any, **kwargs: Any):
        # With a limit of 1 the Trainer deletes all but the best checkpoint here, the one to go on from too.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            trained = super()._finalize_training(*args, **kwargs)
        finally:
            self.args.save_total_limit = limit
        best, home = self.state.best_model_checkpoint, self._checkpoint(None).parent
        # The best one may be that of another run, which this one was resumed from: nothing is deleted there, nor here.
        if limit == 1 and best and Path(best).parent == home and self.stop.signal is None and self.args.should_save:
            for checkpoint in sorted_checkpoints(home):
                if checkpoint != Path(best):
                    _discard(checkpoint)
            shutil.rmtree(home / WORK_FOLDER, ignore_errors=True)
        return trained


def _discard(checkpoint: Path) -> None:
    """Delete a checkpoint: away at once, then file by file."""
    if checkpoint.exists():
        gone = checkpoint.parent / WORK_FOLDER / f"deleted-{checkpoint.name}"
        shutil.rmtree(gone, ignore_errors=True)
        gone.parent.mkdir(exist_ok=True)
        checkpoint.replace(gone)
        shutil.rmtree(gone)


def sorted_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in an output folder, by their updates."""
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.is_dir()]
    numbered = [(int(path.name.split("-", 1)[1]), path) for path in found if path.name.split("-", 1)[1].isdecimal()]
    return [path for _, path in sorted(numbered)]


def whole_checkpoints(folder: Path) -> list[Path]:
    """Those of `sorted_checkpoints` that a training can go on from."""
    return [path for path in sorted_checkpoints(folder) if not _lacking(path)]


def checkpoint_to_resume(args: TrainingArguments) -> str | None:
    """
    The checkpoint that `resume_from_checkpoint` names: `True` (or `last`) the last whole one in the output folder,
    otherwise a folder; `None` or `False`: none.

    Raises:
        InputError: no output folder is named, it is no folder, holds something else, or there is no such checkpoint.
    """
    if args.output_dir is None:
        raise InputError("give --output_dir: the folder for the trained model")
    folder = Path(args.output_dir)
    if folder.is_file():
        raise InputError(f"--output_dir {folder}: is a file; name a folder")
    wish = args.resume_from_checkpoint
    named = str(wish).lower()
    if wish is None or named in ("false", "no", "0"):
        if folder.is_dir() and any(path not in (folder / WORK_FOLDER, lock_of(folder)) for path in folder.iterdir()):
            raise InputError(
                f"--output_dir {folder}: is not empty; name another folder, or add "
                "--resume_from_checkpoint True to continue an interrupted run"
            )
        return None
    if named in ("true", "last", "yes", "1") and not Path(str(wish)).is_dir():
        whole = whole_checkpoints(folder)
        if not whole:
            raise InputError(
                f"--resume_from_checkpoint {wish}: no such checkpoint, {folder} has none; leave it out to start anew"
            )
        return str(whole[-1])
    checkpoint = Path(str(wish))
    if not checkpoint.is_dir():
        raise InputError(
            f"--resume_from_checkpoint {wish}: no such checkpoint; name a folder checkpoint-…, or True for the last "
            f"one in {folder}, or leave it out to start anew"
        )
    if lacking := _lacking(checkpoint):
        raise InputError(
            f"--resume_from_checkpoint {wish}: is no whole checkpoint, it lacks {' and '.join(lacking)}; name another, "
            f"or True for the last whole one in {folder}"
        )
    return str(checkpoint)


def _lacking(checkpoint: Path) -> list[str]:
    lacking = []
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        lacking.append(f"a readable {TRAINER_STATE_NAME}")
    for what, patterns in (
        ("weights", ("*.safetensors", "pytorch_model_fsdp_*", "global_step*")),
        ("the optimizer's state", ("optimizer.pt", "optimizer_*", "optimizer.bin", "global_step*")),
    ):
        if not any(path for pattern in patterns for path in checkpoint.glob(pattern)):
            lacking.append(what)
    return lacking


def check_fits(checkpoint: str, config: Any, args: TrainingArguments) -> None:
    """
    Raises:
        InputError: the checkpoint was trained as another model than `config` describes, on sentences of other lengths,
            or at other rates than those of `args`.
    """
    path = Path(checkpoint) / _CONFIG
    if not path.exists():
        return
    # What an older version did not write was as its default is.
    was = KnowFreeConfig().to_dict() | stored_object(path)
    now = json.loads(config.to_json_string(use_diff=False))
    of_encoders = ((was["encoder_config"] or {}, now["encoder_config"], name) for name in _SHAPING_THE_ENCODER)
    file = Path(checkpoint) / ARGUMENTS_FILE
    told = stored_object(file) if file.exists() else {}  # older ones do not say
    of_data = ((was, now, name) for name in _OF_THE_DATA if was.get(name))
    of_rates = ((told, args.to_sanitized_dict(), name) for name in _KEPT_BY_THE_OPTIMIZER if name in told)
    for before, here, name in (*((was, now, name) for name in _SHAPING), *of_encoders, *of_data, *of_rates):
        if before.get(name) != here.get(name):
            raise InputError(
                f"--resume_from_checkpoint {checkpoint}: was trained with {name} {json.dumps(before.get(name))[:100]}, "
                f"this run has {json.dumps(here.get(name))[:100]}; give the data and options of the run that wrote it, "
                "or start anew in another --output_dir"
            )
