"""`knowfree train`: one model from one training file."""

import json
import logging
import math
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import HfArgumentParser, set_seed

from ..data.inspection import inspect, summary
from ..data.readers import InputError, read_dataset, read_file, read_rows
from ..data.rows import Row
from ..encoders import HUB_IDS
from ..files import write_whole
from ..loading import check_vocabulary, told_in_one_line
from ..units_knowfree import KnowFreeCollator, infer_unit
from .arguments import RECIPES, TASK_PRESETS, DataArguments, KnowFreeTrainingArguments, ModelArguments
from .checkpoints import check_fits, checkpoint_to_resume
from .config import build_config, build_model, target_labels
from .features import Features, build_features
from .tokenizer import load_tokenizer
from .trainer import KnowFreeTrainer

logger = logging.getLogger(__name__)
ORIGIN_FILE = "data_args.json"
Arguments = tuple[ModelArguments, DataArguments, KnowFreeTrainingArguments]


def parse_arguments(arguments: Sequence[str] | Mapping[str, Any]) -> Arguments:
    """
    Command line over `--config` file over presets over the dataclasses' defaults.

    Args:
        arguments: a command line; or arguments by name, as a config file holds them.

    Raises:
        InputError: unknown key or preset, unreadable config file, a value that TrainingArguments refuses.
        SystemExit: what argparse refuses (2), or `--help` (0).
    """
    parser = HfArgumentParser(
        (ModelArguments, DataArguments, KnowFreeTrainingArguments),  # type: ignore[arg-type]
        prog="knowfree train",
        description="Train one KnowFREE model. Every argument may also stand in a YAML file: --config run.yaml.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with arguments; the command line wins over it.")
    known = {action.dest: action for action in reversed(parser._actions)}  # of --x and --no_x the first, which is typed
    argv = [] if isinstance(arguments, Mapping) else list(arguments)
    given = {token[2:].split("=")[0].replace("-", "_") for token in argv if token.startswith("--")}
    from_file = _checked(arguments, known, "arguments") if isinstance(arguments, Mapping) else _read_config(argv, known)
    given |= from_file.keys()

    def chosen(name: str, choices: Iterable[str]) -> str:
        value = _value(argv, name) or from_file.get(name) or known[name].default
        if value not in choices:
            raise InputError(f"--{name} {value}: choose one of {', '.join(choices)}")
        return value

    if not {"-h", "--help"} & set(argv):
        task, recipe = chosen("task", TASK_PRESETS), chosen("preset", RECIPES)
        parser.set_defaults(**TASK_PRESETS[task], **RECIPES[recipe])
    # Unless told that it is on a CPU, each of several processes there trains by itself.
    parser.set_defaults(use_cpu=not torch.accelerator.is_available())
    # An argument from the file is as good as given: argparse must not ask for it again.
    parser.set_defaults(**from_file)
    for name in from_file:
        known[name].required = False
    try:
        namespace = parser.parse_args(argv)
        model_args, data_args, args = parser.parse_dict(
            {name: value for name, value in vars(namespace).items() if name != "config"}
        )
    except (ValueError, ImportError) as error:
        raise InputError(f"arguments: {error}") from error
    if given & {"max_steps", "num_train_epochs"}:
        data_args.min_steps = 0
    _check(data_args)
    return model_args, data_args, args


def _value(argv: Sequence[str], name: str) -> str | None:
    for token, following in zip(argv, [*argv, ""][1:], strict=True):
        if token == f"--{name}":
            return following
        if token.startswith(f"--{name}="):
            return token.split("=", 1)[1]
    return None


def _read_config(argv: Sequence[str], known: dict[str, Any]) -> dict[str, Any]:
    path = _value(argv, "config")
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            values = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"--config {path}: holds {type(values).__name__}; write one `argument: value` a line")
    return _checked(values, known, f"--config {path}")


def _checked(values: Mapping[str, Any], known: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values in the types that the command line would give them."""
    checked = {}
    for name, value in values.items():
        if name not in known or name == "config":
            raise InputError(f"{where}: no argument is called {name!r}; `knowfree train --help` lists them")
        kind, many = known[name].type, isinstance(value, list) and known[name].nargs == "+"
        checked[name] = value
        if value is None or not callable(kind) or (kind is str and isinstance(value, (list, dict)) and not many):
            continue
        try:
            typed = [kind(one if isinstance(one, str) else json.dumps(one)) for one in (value if many else [value])]
        except (ValueError, TypeError, ArgumentTypeError) as error:
            raise InputError(f"{where}: {name}: {value!r} is no {kind.__name__.removeprefix('string_to_')}") from error
        checked[name] = typed if many else typed[0]
    return checked


def _check(data_args: DataArguments) -> None:
    if (data_args.train_file is None) == (data_args.dataset_name is None):
        raise InputError("give one of --train_file FILE and --dataset_name ID")
    if data_args.dataset_name and (data_args.validation_file or data_args.test_file):
        raise InputError("--dataset_name has its own splits: leave out --validation_file and --test_file")


def read_splits(data_args: DataArguments, flat: bool) -> dict[str, list[Row]]:
    """
    Rows of the splits that are given: `train`, `validation`, `test`.

    Args:
        flat: overlapping gold is refused.

    Raises:
        InputError: the first bad row of any split; a label that only validation or test has.
    """
    splits: dict[str, list[Row]] = {}
    given = data_args.labels
    if data_args.dataset_name:
        from datasets import load_dataset

        try:
            found = load_dataset(data_args.dataset_name, data_args.dataset_config_name)
        except (OSError, ValueError) as error:
            raise InputError(f"--dataset_name {data_args.dataset_name}: {' '.join(str(error).split())}") from error
        if "train" not in found:
            raise InputError(f"--dataset_name {data_args.dataset_name}: no split train, only {', '.join(found)}")
        labels = given
        for name in ("train", "validation", "test"):
            if name in found:
                where = f"{data_args.dataset_name}[{name}]"
                splits[name] = read_dataset(found[name], name=where, flat=flat, labels=labels)
                labels = labels or _labels(splits["train"], where)
        return splits
    assert data_args.train_file is not None  # `_check` saw to it
    reading = read_file(data_args.train_file, flat=flat, labels=given)
    for line in summary(inspect(reading, data_args.train_file)):
        logger.info(line)
    splits["train"] = reading.rows
    labels, unit = given or _labels(splits["train"], data_args.train_file), infer_unit(splits["train"])
    for name, path in (("validation", data_args.validation_file), ("test", data_args.test_file)):
        if path:
            splits[name] = read_rows(path, unit=unit, flat=flat, labels=labels)
    return splits


def _labels(rows: list[Row], where: str) -> list[str]:
    labels = target_labels(rows)
    if not labels:
        raise InputError(f"{where}: no row has an entity: there is nothing to learn; mend: annotate some spans")
    return labels


def plan_schedule(data_args: DataArguments, args: KnowFreeTrainingArguments, sentences: int) -> None:
    """
    Fill in `max_steps`, and where not given how often to evaluate and save: five times on the way with a validation
    set, the best checkpoint kept; without, four times, only against a crash.

    Raises:
        InputError: evaluations and checkpoints that do not go together, so that no best checkpoint could be chosen.
    """
    per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    if args.max_steps <= 0:
        epochs = math.ceil(math.ceil(sentences / per_step) * args.num_train_epochs)
        args.max_steps = max(data_args.min_steps, epochs)
    evaluates = bool(data_args.validation_file) or args.eval_strategy != "no"
    parts = 5 if evaluates else 4

    def updates(steps: float | None) -> int:
        return math.ceil(steps * args.max_steps) if steps and steps < 1 else int(steps or 0)

    save_steps = updates(args.save_steps)
    if evaluates:
        if args.eval_strategy == "no":
            args.eval_strategy = "epoch" if args.save_strategy == "epoch" else "steps"
        args.eval_steps = updates(args.eval_steps) or save_steps or max(1, math.ceil(args.max_steps / parts))
        args.load_best_model_at_end = args.save_strategy != "no"
        args.metric_for_best_model, args.greater_is_better = "f1", True
        if args.load_best_model_at_end and args.save_strategy in ("steps", "epoch"):
            if args.eval_strategy != args.save_strategy:
                raise InputError(
                    f"--save_strategy {_name(args.save_strategy)} with --eval_strategy {_name(args.eval_strategy)}: "
                    "the best checkpoint is chosen among evaluated ones; give both the same, or --save_strategy no"
                )
            if args.save_strategy == "steps" and save_steps % args.eval_steps:
                raise InputError(
                    f"--save_steps {save_steps} with --eval_steps {args.eval_steps}: the best checkpoint is chosen "
                    "among evaluated ones; give a multiple of --eval_steps"
                )
        save_steps = save_steps or args.eval_steps
    args.save_steps = save_steps or max(1, math.ceil(args.max_steps / parts))


def train(arguments: Sequence[str] | Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """
    Train, and score what there is to score.

    Args:
        arguments: see `parse_arguments`.

    Returns:
        The metrics of each split scored, as also written to `<split>_results.json` in the output folder.

    Raises:
        InputError: anything wrong with arguments, files or folders; nothing has been written then.
        TrainingStopped: by SIGINT or SIGTERM; a checkpoint is written.
    """
    model_args, data_args, args = parse_arguments(arguments)
    resume = checkpoint_to_resume(args)
    origin = origin_of(model_args, data_args)
    splits = read_splits(data_args, flat=model_args.decoding == "flat")
    if data_args.dataset_name and "validation" in splits:
        data_args.validation_file = data_args.dataset_name
    plan_schedule(data_args, args, len(splits["train"]))

    set_seed(args.seed)
    tokenizer, model = _load_encoder(model_args, splits["train"], data_args.labels)
    if resume:
        check_fits(resume, model.config)
    features = {
        name: build_features(rows, tokenizer, model.config, beta=args.beta if name == "train" else 1.0)
        for name, rows in splits.items()
    }
    _tell(model, splits, features, args)
    trainer = KnowFreeTrainer(
        model=model,
        args=args,
        train_dataset=features["train"],
        eval_dataset=features.get("validation"),
        data_collator=KnowFreeCollator(tokenizer.pad_token_id or 0),
        processing_class=tokenizer,
    )
    trained = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    if args.should_save:
        write_whole(Path(str(args.output_dir)) / ORIGIN_FILE, json.dumps(origin, indent=2) + "\n")
    trainer.save_metrics("train", trained.metrics)
    trainer.save_state()
    results: dict[str, dict[str, float]] = {}
    for name in ("validation", "test"):
        if name in features:
            metrics = trainer.evaluate(features[name], metric_key_prefix=name)
            metrics[f"{name}_unreachable_gold"] = features[name].unreachable_gold
            trainer.save_metrics(name, metrics)
            results[name] = metrics
    return results


def origin_of(model_args: ModelArguments, data_args: DataArguments) -> dict[str, str | None]:
    """What a model is made of, for its card: Hub ids as they are, of files the names, of folders `./` and the names."""

    def hub_id_or_folder(name: str | None) -> str | None:
        return f"./{Path(name).resolve().name}" if name and Path(name).exists() else HUB_IDS.get(name or "", name)

    files = {name: getattr(data_args, name) for name in ("train_file", "validation_file", "test_file")}
    return {
        "model_name_or_path": hub_id_or_folder(model_args.model_name_or_path),
        "dataset_name": hub_id_or_folder(data_args.dataset_name),
        "dataset_config_name": data_args.dataset_config_name,
        **{name: Path(path).name if path else None for name, path in files.items()},
    }


def _load_encoder(model_args: ModelArguments, rows: list[Row], labels: list[str] | None):
    name = model_args.model_name_or_path
    with told_in_one_line(f"--model_name_or_path {name}"):
        folder = model_args.encoder_folder(infer_unit(rows))
        tokenizer = load_tokenizer(folder, infer_unit(rows))
        config = build_config(folder, rows, labels=labels, **model_args.config_fields(rows))
        check_vocabulary(tokenizer, config.encoder_config, f"--model_name_or_path {name}")
        config.tokenizer_size = len(tokenizer)
        return tokenizer, build_model(folder, config, rows, model_args.start_bias)


def _name(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))


def _tell(model, splits: dict[str, list[Row]], features: dict[str, Features], args: KnowFreeTrainingArguments) -> None:
    config = model.config
    logger.info(
        "%d target labels, %d extension labels, unit %s, %d updates of %d sentences",
        len(config.target_labels),
        len(config.extension_labels),
        config.unit,
        args.max_steps,
        args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
    )
    for name, rows in splits.items():
        logger.info("%s: %d sentences, %d target spans", name, len(rows), features[name].gold)
        if lost := features[name].losses():
            logger.warning("%s: %s", name, lost)
