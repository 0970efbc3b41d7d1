"""What `knowfree train` is told: command line over `--config` file over presets over the dataclasses' defaults."""

from __future__ import annotations

import json
import sys
import textwrap
from argparse import SUPPRESS, Action, ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NoReturn, get_args, get_type_hints

import torch
from transformers import HfArgumentParser, TrainingArguments

from ..data.rows import InputError, show
from ..settings import read_settings, unknown_setting
from .arguments import (
    LEARNING_RATES,
    RECIPES,
    TASK_PRESETS,
    DataArguments,
    KnowFreeTrainingArguments,
    ModelArguments,
    recipe_for,
)

Arguments = tuple[ModelArguments, DataArguments, KnowFreeTrainingArguments]
KINDS = (ModelArguments, DataArguments, KnowFreeTrainingArguments)
OFTEN_GIVEN = (
    "output_dir learning_rate weight_decay per_device_train_batch_size gradient_accumulation_steps num_train_epochs "
    "max_steps warmup_steps seed bf16 use_cpu eval_steps save_steps save_total_limit logging_steps report_to "
    "resume_from_checkpoint"
).split()
"""Of transformers' arguments those that `--help` shows."""
TOLD_ANEW = {
    "output_dir": "Folder for the trained model.  [required]",
    "learning_rate": "Peak learning rate of the encoder; where none is given "
    + ", ".join(f"{rate:g} for {name}." for name, rate in LEARNING_RATES.items()),
    "max_steps": "So many updates, in place of num_train_epochs.",
    "warmup_steps": "Updates in which learning rates rise from 0; below 1 a share of all.",
    "use_cpu": "Train on the CPU, where there is something faster too.",
    "seed": "Of the start and the order of the sentences.",
}
"""What transformers says of all models, said of this one."""
DECIDED = {
    "metric_for_best_model": (("f1", "eval_f1", None), "the best checkpoint is the one with the best f1"),
    "greater_is_better": ((True, None), "the best checkpoint is the one with the best f1"),
    "prediction_loss_only": ((False,), "evaluations decode spans and score them"),
    "batch_eval_metrics": ((False,), "scores are counted over all sentences"),
}
"""Of transformers' arguments those that have one value here: what else is allowed, and why."""
WIDTH, INDENT = 110, 34


class _Parser(HfArgumentParser):
    """Its values are only those that were given, and its errors are `InputError`s."""

    def __init__(self) -> None:
        super().__init__(KINDS, prog="knowfree train", allow_abbrev=False, add_help=False)  # type: ignore[arg-type]
        # Of `--x` and `--no_x` the first, which is typed.
        self.known: dict[str, Action] = {action.dest: action for action in reversed(self._actions)}
        self.needed = [name for name, action in self.known.items() if action.required]
        hints = {name: hint for kind in KINDS for name, hint in get_type_hints(kind).items()}
        self.optional = {name for name, hint in hints.items() if type(None) in get_args(hint)}
        for action in self._actions:
            action.default, action.required = SUPPRESS, False
        self.add_argument("--config", default=SUPPRESS)
        self.add_argument("-h", "--help", action="store_const", const="help", dest="help", default=SUPPRESS)
        self.add_argument("--help_all", "--help-all", action="store_const", const="all", dest="help", default=SUPPRESS)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `knowfree train --help` lists what may be given")


def parse_arguments(arguments: Sequence[str] | Mapping[str, Any]) -> Arguments:
    """
    The arguments of one training.

    Args:
        arguments: a command line; or arguments by name, as a config file holds them.

    Raises:
        InputError: an unknown or missing argument, an unknown preset, an unreadable config file, a value that is no
            such value or that TrainingArguments refuses.
        SystemExit: 0, after `--help` and `--help_all`.
    """
    parser = _Parser()
    if isinstance(arguments, Mapping):
        given = _typed(arguments, parser, "arguments")
    else:
        told = vars(parser.parse_args(list(arguments)))
        if wanted := told.pop("help", None):
            print(help_text(everything=wanted == "all"))
            raise SystemExit(0)
        path = told.pop("config", None)
        where = f"--config {path}"
        given = _typed(read_settings(path, name=where, like="argument: value"), parser, where) | told
    task = _chosen("task", given, TASK_PRESETS)
    recipe = recipe_for(_chosen("preset", given, RECIPES), given.get("model_name_or_path"), task)
    values = {
        "use_cpu": not torch.accelerator.is_available(),  # else each of several processes there trains by itself
        "disable_tqdm": not sys.stderr.isatty(),  # else as loud as transformers is, which commands silence
    }
    values |= recipe | given
    if missing := [f"--{name}" for name in parser.needed if name not in values]:
        parser.error(f"give {' and '.join(missing)}")
    try:
        model_args, data_args, args = parser.parse_dict(values)
    except (ValueError, ImportError) as error:
        raise InputError(f"arguments: {error}") from error
    if given.keys() & {"max_steps", "num_train_epochs"}:
        data_args.min_steps = 0
    _check(data_args)
    for name, (allowed, why) in DECIDED.items():
        if given.get(name, allowed[0]) not in allowed:
            raise InputError(f"--{name} {given[name]}: {why}; leave it out")
    if given.get("eval_strategy") == "no" and data_args.validation_file:
        raise InputError(
            "--eval_strategy no: with a validation file the best checkpoint is chosen by it; leave out one of the two"
        )
    if given.get("load_best_model_at_end") is False and data_args.validation_file and args.save_strategy != "no":
        raise InputError(
            "--load_best_model_at_end false: with a validation file the best checkpoint is the model; for the last "
            "weights give --save_strategy no, or leave out --validation_file"
        )
    return model_args, data_args, args


def _chosen(name: str, given: Mapping[str, Any], choices: Iterable[str]) -> str:
    value = given.get(name) or getattr(DataArguments, name)
    if value not in choices:
        raise InputError(f"--{name} {value}: choose one of {', '.join(choices)}")
    return value


def _typed(values: Mapping[str, Any], parser: _Parser, where: str) -> dict[str, Any]:
    """The values in the types that the command line would give them; null is the default where it is no value."""
    typed: dict[str, Any] = {}
    known = parser.known
    for name, value in values.items():
        if name not in known:
            near = str(unknown_setting(str(name), known, where)).partition("; there are")[0]
            near = near.replace("no setting", "no argument is called")
            raise InputError(f"{near}; `knowfree train --help` lists them")
        if value is None and name not in parser.optional:
            continue
        several = known[name].nargs == "+"
        if several and isinstance(value, dict):
            raise InputError(f"{where}: {name}: {show(value)} is no list; write {name}: [one, another]")
        if several and value is not None and not isinstance(value, list):
            value = [value]
        kind, many = known[name].type, isinstance(value, list) and several
        typed[name] = value
        if value is None or not callable(kind) or (kind is str and isinstance(value, (list, dict)) and not many):
            continue
        try:
            parts = [kind(one if isinstance(one, str) else json.dumps(one)) for one in (value if many else [value])]
        except (ValueError, TypeError, ArgumentTypeError) as error:
            wanted = getattr(kind, "__name__", str(kind)).removeprefix("string_to_")
            raise InputError(f"{where}: {name}: {show(value)} is no {wanted}") from error
        typed[name] = parts if many else parts[0]
    return typed


def _check(data_args: DataArguments) -> None:
    labels = data_args.labels or []
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError(f"--labels: {show(twice)} is named twice; name each label once")
    if (data_args.train_file is None) == (data_args.dataset_name is None):
        raise InputError("give one of --train_file FILE and --dataset_name ID")
    if data_args.dataset_name and (data_args.validation_file or data_args.test_file):
        raise InputError("--dataset_name has its own splits: leave out --validation_file and --test_file")


# help


def help_text(*, everything: bool) -> str:
    """The text of `knowfree train --help`: our arguments and the most used of transformers', in groups, with the
    defaults that a training has; with `everything` the others of `TrainingArguments` too."""
    parser = _Parser()
    own = [each.name for each in fields(KnowFreeTrainingArguments) if each.name not in _names(TrainingArguments)]
    training = [*OFTEN_GIVEN, *own]
    groups = {
        "data": [*_names(DataArguments)],
        "model": [*_names(ModelArguments)],
        "training": training,
    }
    if everything:
        groups["transformers.TrainingArguments"] = [n for n in _names(TrainingArguments) if n not in training]
    lines = [
        "Usage: knowfree train --model_name_or_path ENCODER --train_file FILE --output_dir DIR [OPTIONS]",
        "",
        "  Train one KnowFREE model. Every argument may also stand in a YAML file: --config train.yaml; the command",
        "  line wins over it. Dashes are understood for underscores.",
        "",
        "  knowfree train --model_name_or_path bert-base-chinese --train_file train.jsonl --output_dir runs/mine",
    ]
    for title, names in groups.items():
        lines += ["", f"{title[0].upper()}{title[1:]}:" if "." not in title else f"{title}:"]
        for name in names:
            lines += _entry(parser.known[name], name in parser.needed, brief=title == "training")
    lines += ["", "Other:", *_row("--config FILE", "YAML file with arguments.")]
    lines += _row("--help_all", "Every argument of transformers.TrainingArguments too.")
    return "\n".join(lines)


def _names(kind: type) -> list[str]:
    return [each.name for each in fields(kind) if each.init]


def _entry(action: Action, needed: bool, *, brief: bool) -> list[str]:
    name = action.dest
    kind = getattr(action.type, "__name__", "")
    value = {"int": "INT", "float": "FLOAT", "string_to_bool": "[BOOL]"}.get(kind, "TEXT")
    if action.choices:
        value = "|".join(map(str, action.choices))
    if action.nargs == "+":
        value += " …"
    told = " ".join(TOLD_ANEW.get(name, action.help or "").split())
    if brief and name not in TOLD_ANEW:
        told = told.partition(". ")[0].rstrip(".") + "."
    return _row(f"--{name} {value}", f"{told}  {'[required]' if needed else _default(name)}".rstrip())


def _default(name: str) -> str:
    task, recipe = DataArguments.task, DataArguments.preset
    for option, preset in ((f"--preset {recipe}", RECIPES[recipe]), (f"--task {task}", TASK_PRESETS[task])):
        if name in preset:
            return f"[default of {option}: {preset[name]}]"
    of_field = next(each for kind in KINDS for each in fields(kind) if each.name == name)
    value = of_field.default if of_field.default_factory is MISSING else of_field.default_factory()
    value = getattr(value, "value", value)
    return "" if value in (None, MISSING, "") or value == [] or value == {} else f"[default: {value}]"


def _row(head: str, told: str) -> list[str]:
    body = textwrap.wrap(told, WIDTH - INDENT) or [""]
    first = f"  {head}"
    if len(first) >= INDENT - 1:
        return [first, *(" " * INDENT + line for line in body)]
    return [f"{first:<{INDENT}}{body[0]}", *(" " * INDENT + line for line in body[1:])]
