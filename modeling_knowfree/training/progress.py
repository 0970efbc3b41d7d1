"""What a training shows while it runs: a bar, and a line for each loss and each score, without dictionaries."""

import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm
from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback


def log_line(logs: Mapping[str, Any], step: int, steps: int) -> str | None:
    """The line for what the Trainer logs; None for what is told elsewhere (the end of a training)."""
    name = next((key.removesuffix("_f1") for key in logs if key.endswith("_f1") and key.count("_") == 1), None)
    if name is not None:
        shown = ("f1", "precision", "recall")
        scores = "  ".join(f"{key} {logs[f'{name}_{key}'] * 100:.2f}" for key in shown if f"{name}_{key}" in logs)
        return f"update {step} of {steps}: {name} {scores}"
    if "loss" in logs:
        return f"update {step} of {steps}: loss {float(logs['loss']):.4g}"
    return None


class _Lines(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        line = log_line(logs or {}, state.global_step, state.max_steps)
        if line and state.is_world_process_zero:
            tqdm.write(line, file=sys.stderr)


class _Bar(ProgressCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        """Lines are `_Lines`'s."""


def show_lines(trainer: Trainer) -> None:
    """Lines in place of the dictionaries that the Trainer prints."""
    for kind in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(kind)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(_Bar())
    trainer.add_callback(_Lines())
