"""`knowfree train`: one model from one training file."""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from ..configuration_knowfree import KnowFreeConfig
from ..data.inspection import inspect, summary
from ..data.readers import InputError, read_dataset, read_file, read_rows
from ..data.rows import Row, visible
from ..encoders import HUB_IDS
from ..files import write_whole
from ..held import held
from ..loading import ORIGIN_FILE, check_vocabulary, load_config, told_in_one_line
from ..units_knowfree import KnowFreeCollator, batches_by_cost, infer_unit
from ..windows_knowfree import inner_window
from .arguments import DataArguments, KnowFreeTrainingArguments, ModelArguments
from .checkpoints import check_fits, checkpoint_to_resume
from .command_line import parse_arguments
from .config import auto_extension_schedule, build_config, build_model, target_labels
from .features import Features, build_features, unknown_labels
from .joining import JoiningCollator, mark_open_ended
from .lora import add_lora, check_lora_fits
from .padding import check_padding
from .progress import show_lines
from .tokenizer import load_tokenizer, lost_capitals
from .trainer import KnowFreeTrainer

logger = logging.getLogger(__name__)


def read_splits(data_args: DataArguments, flat: bool) -> dict[str, list[Row]]:
    """
    Rows of the splits that are given: `train`, `validation`, `test`.

    Args:
        flat: overlapping gold is refused.

    Raises:
        InputError: the bad rows of a split. Labels that only validation or test has are told: unreachable spans.
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
        for name in ("train", "validation", "test"):
            if name in found:
                where = f"{data_args.dataset_name}[{name}]"
                allowed = given if name == "train" else None
                splits[name] = read_dataset(found[name], name=where, flat=flat, labels=allowed, **data_args.reading())
                if name == "train":
                    labels, unit = given or _labels(splits["train"], where), infer_unit(splits["train"])
                else:
                    _tell_unit(splits[name], unit, where)
                    tell_unknown(splits[name], labels, where)
        return splits
    assert data_args.train_file is not None  # `_check` saw to it
    said = data_args.reading()
    reading = read_file(data_args.train_file, flat=flat, labels=given, **said)
    for line in summary(inspect(reading, data_args.train_file)):
        logger.info(visible(line))
    splits["train"] = reading.rows
    labels, unit = given or _labels(splits["train"], data_args.train_file), infer_unit(splits["train"])
    for name, path in (("validation", data_args.validation_file), ("test", data_args.test_file)):
        if path:
            splits[name] = read_rows(path, unit=unit, flat=flat, **said)
            _tell_unit(splits[name], unit, path)
            tell_unknown(splits[name], labels, path)
    return splits


def _tell_unit(rows: list[Row], unit: str, where: str) -> None:
    """Splits of which one counts in characters and the other in words do not fit each other."""
    if (found := infer_unit(rows)) != unit:
        logger.warning("%s: tokens are %ss, those of the training file %ss; cut both alike", where, found, unit)


def tell_unknown(rows: list[Row], labels: Iterable[str], where: str) -> None:
    """Labels that the model will not have: their spans count as gold that nothing can find."""
    unknown = unknown_labels(rows, labels)
    if unknown:
        listed = ", ".join(f"{label} ({count})" for label, count in unknown.most_common(10))
        logger.warning(
            "%s: %d spans have labels that the training sentences lack, and cannot be found: %s; put sentences with "
            "them into the training file, or name all labels with --labels",
            where,
            unknown.total(),
            listed,
        )


def _labels(rows: list[Row], where: str) -> list[str]:
    labels = target_labels(rows)
    if not labels:
        raise InputError(f"{where}: no row has an entity: there is nothing to learn; mend: annotate some spans")
    return labels


def plan_schedule(
    data_args: DataArguments, args: KnowFreeTrainingArguments, sentences: int, batches: int | None = None
) -> None:
    """
    Fill in `max_steps`, and where not given how often to evaluate and save: five times on the way with a validation
    set, the best checkpoint kept; without, four times, only against a crash.

    Raises:
        InputError: no full batch where others are dropped; evaluations without sentences, or that do not go together
            with the checkpoints, so that no best one could be chosen.
    """
    together = args.train_batch_size * args.world_size
    per_step = together * args.gradient_accumulation_steps
    if args.dataloader_drop_last and batches is None and sentences < together:
        raise InputError(
            f"--dataloader_drop_last: {sentences} sentences fill no batch of {together}, all "
            "would be dropped; leave it out, or lower --per_device_train_batch_size"
        )
    if args.max_steps <= 0:
        an_epoch = math.ceil((batches or sentences / args.train_batch_size) * args.train_batch_size / per_step)
        epochs = math.ceil(an_epoch * args.num_train_epochs)
        args.max_steps = max(data_args.min_steps, epochs)
    if args.warmup_steps < 1 and args.warmup_steps * args.max_steps < 1:
        args.warmup_steps = 0  # Trainer would make one update of it, at a rate of 0
    evaluates = bool(data_args.validation_file)
    if not evaluates and args.eval_strategy != "no":
        raise InputError(
            f"--eval_strategy {_name(args.eval_strategy)}: there are no sentences to evaluate on; add "
            "--validation_file FILE, or leave it out"
        )
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
        InputError: anything wrong with arguments, files or folders, or another process trains into the folder; nothing
            has been written then.
        TrainingStopped: by SIGINT or SIGTERM; a checkpoint is written.
    """
    model_args, data_args, args = parse_arguments(arguments)
    resume = checkpoint_to_resume(args)
    origin = origin_of(model_args, data_args)
    splits = read_splits(data_args, flat=model_args.decoding == "flat")
    if data_args.dataset_name and "validation" in splits:
        data_args.validation_file = data_args.dataset_name
    plan_schedule(data_args, args, len(splits["train"]), batches_an_epoch(splits["train"], model_args, args))
    if args.extension_schedule == "auto":
        args.extension_schedule = auto_extension_schedule(splits["train"], nested=model_args.decoding != "flat")

    set_seed(args.seed)
    tokenizer, model = _load_encoder(model_args, splits["train"], data_args.labels)
    if args.lora_rank:
        add_lora(model, args.lora_rank, str(origin["model_name_or_path"]))
    if resume:
        check_fits(resume, model.config, args)
        check_lora_fits(resume, args.lora_rank)
    features = {
        name: build_features(rows, tokenizer, model.config, beta=args.beta if name == "train" else 1.0)
        for name, rows in splits.items()
    }
    _tell(model, splits, features, args)
    collator = KnowFreeCollator(tokenizer.pad_token_id or 0)
    if args.join_sentences and mark_open_ended(features["train"], splits["train"], model.config.unit):
        reach = inner_window(model.config.train_lengths) // 2
        collator = JoiningCollator(
            tokenizer.pad_token_id or 0, args.join_sentences, reach, model.config.max_pieces, args.seed
        )
    if lost := lost_capitals(tokenizer, splits["train"]):
        logger.warning("%s: %s", origin["model_name_or_path"], lost)
    try:
        KnowFreeTrainer.get_optimizer_cls_and_kwargs(args, model)  # for its error, which would come in the training
        trainer = KnowFreeTrainer(
            model=model,
            args=args,
            train_dataset=features["train"],
            eval_dataset=features.get("validation"),
            data_collator=collator,
            processing_class=tokenizer,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        raise InputError(
            f"arguments: {' '.join(str(error).split()):.400}; `knowfree train --help-all` lists what may be given"
        ) from error
    show_lines(trainer)
    folder = Path(str(args.output_dir)).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not args.should_save:
        return _trained(trainer, features, origin, resume)
    with held(folder, "--output_dir"):
        if checkpoint_to_resume(args) != resume:
            raise InputError(f"--output_dir {folder}: another training went on with it meanwhile; name another folder")
        return _trained(trainer, features, origin, resume)


def _trained(
    trainer: KnowFreeTrainer, features: Mapping[str, Features], origin: Mapping[str, str | None], resume: str | None
) -> dict[str, dict[str, float]]:
    """Train and score; returns as `train` does."""
    trained = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    if trainer.args.should_save:
        write_whole(Path(str(trainer.args.output_dir)) / ORIGIN_FILE, json.dumps(origin, indent=2) + "\n")
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


def batches_an_epoch(rows: Sequence[Row], model_args: ModelArguments, args: KnowFreeTrainingArguments) -> int | None:
    """
    How many batches an epoch has where `spans_per_batch` cuts them; None where it does not.

    Raises:
        InputError: a `spans_per_batch` below 1, or for several processes; a `max_span_width` that is none.
    """
    if args.spans_per_batch is None:
        return None
    if args.spans_per_batch < 1:
        raise InputError(f"--spans_per_batch {args.spans_per_batch}: give 1 or more, or leave it out")
    if args.world_size > 1:
        raise InputError("--spans_per_batch: batches of different sizes train in one process; leave it out here")
    lengths = sorted((len(row["tokens"]) for row in rows), reverse=True)
    try:
        width = model_args.config_fields(rows)["max_span_width"]
    except ValueError as error:
        raise InputError(str(error)) from error
    return len(batches_by_cost(lengths, args.train_batch_size, width, args.spans_per_batch))


def origin_of(model_args: ModelArguments, data_args: DataArguments) -> dict[str, str | None]:
    """What a model is made of, for its card: Hub ids as they are, of files the names, of folders `./` and the names."""

    def hub_id_or_folder(name: str | None) -> str | None:
        return f"./{Path(name).resolve().name}" if name and Path(name).exists() else HUB_IDS.get(name or "", name)

    files = {name: getattr(data_args, name) for name in ("train_file", "validation_file", "test_file")}
    return {
        "model_name_or_path": hub_id_or_folder(model_args.model_name_or_path),
        "dataset_name": hub_id_or_folder(data_args.dataset_name),
        "dataset_config_name": data_args.dataset_config_name,
        "task": data_args.task,
        **{name: Path(path).name if path else None for name, path in files.items()},
    }


def _load_encoder(model_args: ModelArguments, rows: list[Row], labels: list[str] | None):
    where = f"--model_name_or_path {model_args.model_name_or_path}"
    with told_in_one_line(where):
        folder = model_args.encoder_folder(infer_unit(rows))
        if isinstance(load_config(folder), KnowFreeConfig):
            raise InputError(
                f"{where}: is a trained KnowFREE model; name the encoder that it was trained on, or go on with its "
                "training: --output_dir of that training, --resume_from_checkpoint True"
            )
        tokenizer = load_tokenizer(folder, infer_unit(rows))
        try:
            config = build_config(folder, rows, labels=labels, **model_args.config_fields(rows))
        except ValueError as error:
            raise InputError(f"arguments: {error}") from error
        check_vocabulary(tokenizer, config.encoder_config, where)
        config.tokenizer_size = len(tokenizer)
        model = build_model(folder, config, rows, model_args.start_bias)
    check_padding(model, tokenizer, rows, where)
    return tokenizer, model


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
