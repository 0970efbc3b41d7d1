"""Rows to features, and the Trainer. Training only: this file is never pushed to the Hub."""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import EvalPrediction, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME

from ..configuration_knowfree import KnowFreeConfig
from ..decoding_knowfree import Span, decode, pad_spans
from ..loading import load_config, load_encoder
from ..metrics import span_scores
from ..modeling_knowfree import KnowFreeForTokenClassification
from ..units_knowfree import cut, encode_units, infer_unit
from .checkpoints import SafeCheckpoints

logger = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass
class ModelArguments:
    """
    The encoder and the span head on it; everything but the first goes into `KnowFreeConfig`.

    Args:
        model_name_or_path (`str`): pretrained encoder, a folder or a Hub id.
        pooling, span_mixer, formulation, attention_heads, attention_window, head_dropout, width_embedding_size,
        max_span_width, loss_reduction, threshold, decoding: see `KnowFreeConfig`.
        alpha_cap (`float`, *optional*): largest weight of an extension label (eq 15); 0 for none.
    """

    model_name_or_path: str = field(metadata={"help": "Pretrained encoder: a folder or a Hub id."})
    pooling: str = field(default="max", metadata={"help": "From pieces to units: max, first or mean."})
    span_mixer: str = field(
        default="local_attention",
        metadata={"help": "What lets neighbouring spans see each other: local_attention, cnn or none."},
    )
    formulation: str = field(
        default="paper", metadata={"help": "paper, or released: what the released checkpoints were trained with."}
    )
    attention_heads: int = field(default=10, metadata={"help": "Heads of the local attention (K, eq 10)."})
    attention_window: int = field(default=3, metadata={"help": "Neighbours on each side (omega, eq 9)."})
    head_dropout: float = field(default=0.4, metadata={"help": "Dropout on unit states and on the linear term."})
    width_embedding_size: int = field(default=25, metadata={"help": "Size of the width embedding; 0 switches it off."})
    max_span_width: str | None = field(
        default=None,
        metadata={"help": "Widest span scored: units, or auto for what the training spans ask for; default: all."},
    )
    loss_reduction: str = field(default="sum", metadata={"help": "Over the cells of a sentence: sum or mean."})
    threshold: float = field(default=0.5, metadata={"help": "A span is a hit above this probability."})
    decoding: str = field(
        default="flat", metadata={"help": "flat, nested or all: which hits may stand together. --task sets it."}
    )
    alpha_cap: float = field(
        default=1.0, metadata={"help": "Largest weight of an extension label; 0: none, the letter of eq 15."}
    )

    def config_fields(self, rows: Sequence[Row]) -> dict[str, Any]:
        """
        What `build_config` takes.

        Raises:
            ValueError: a `max_span_width` that is neither a number nor `auto`.
        """
        fields = {name: value for name, value in vars(self).items() if name != "model_name_or_path"}
        width: str | int | None = self.max_span_width
        if width == "auto":
            width, wider = auto_span_width(rows)
            logger.info("max_span_width auto: %d units; %d training spans are wider", width, wider)
        elif width is not None and not str(width).isdecimal():
            raise ValueError(f"max_span_width={width!r}: give a number of units, or auto")
        return {**fields, "alpha_cap": self.alpha_cap or None, "max_span_width": None if width is None else int(width)}


@dataclass
class DataArguments:
    """
    Where the sentences are; files in any layout of `data.readers`.

    Args:
        train_file, validation_file, test_file (`str`): validation is optional (best checkpoint by F1), test is looked
            at once, at the end.
        dataset_name (`str`): instead of files, a Hub data set or folder with splits train, validation, test.
        dataset_config_name (`str`): its configuration.
        labels (`list[str]`): the target labels, where the training sentences lack some that others have.
        task (`str`): preset of decoding, weight decay and beta: ner, nested_ner, segmentation or pos.
        preset (`str`): `small`, ours for little data, or `paper`, every letter of the paper.
        min_steps (`int`): at least this many updates, however few the sentences.
    """

    train_file: str | None = field(default=None, metadata={"help": "Training sentences."})
    validation_file: str | None = field(
        default=None, metadata={"help": "Sentences to choose the best checkpoint on; without, the last one is kept."}
    )
    test_file: str | None = field(default=None, metadata={"help": "Sentences to score once, at the end."})
    dataset_name: str | None = field(default=None, metadata={"help": "A Hub data set or folder, instead of files."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that data set."})
    labels: list[str] | None = field(
        default=None, metadata={"help": "Target labels; default: those that the training sentences have."}
    )
    task: str = field(default="ner", metadata={"help": "Preset: ner, nested_ner, segmentation or pos."})
    preset: str = field(default="small", metadata={"help": "Training recipe: small (ours, for little data) or paper."})
    min_steps: int = field(
        default=0,
        metadata={"help": "Train at least this many updates; ignored with --max_steps or --num_train_epochs."},
    )


@dataclass
class KnowFreeTrainingArguments(TrainingArguments):
    """
    transformers' `TrainingArguments`, plus what a span head on a pretrained encoder needs.

    Args:
        head_learning_rate (`float`): peak learning rate of everything but the encoder; `learning_rate` is the
            encoder's (appendix H: 1e-3 and 2e-5).
        beta (`float`): loss weight of synthetic sentences (eq 14, Table 10).
        save_steps (`float`): as in `TrainingArguments`; 0, the default: at each evaluation, or four times in the run.
        save_total_limit (`int`): as in `TrainingArguments`, default 1; 0 or `None` keeps every checkpoint.
        resume_from_checkpoint (`str`): a checkpoint's folder, or `True` for the last whole one in `output_dir`.
    """

    head_learning_rate: float = field(
        default=1e-3, metadata={"help": "Peak learning rate of everything but the encoder."}
    )
    beta: float = field(default=0.4, metadata={"help": "Loss weight of synthetic sentences (eq 14)."})
    save_steps: float = field(
        default=0,
        metadata={"help": "Updates between checkpoints, below 1 a share of all; 0: each evaluation, or 4 in all."},
    )
    save_total_limit: int | None = field(
        default=1, metadata={"help": "Checkpoints kept, the best one and the last one always; 0: all of them."}
    )
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "Go on from this checkpoint: its folder, or True for the last in output_dir."}
    )


# Table 10 by task; its exceptions by data set are in examples/.
TASK_PRESETS: dict[str, dict[str, Any]] = {
    "ner": {"decoding": "flat", "weight_decay": 1e-3, "beta": 0.4},
    "nested_ner": {"decoding": "nested", "weight_decay": 1e-3, "beta": 0.4},
    "segmentation": {"decoding": "flat", "weight_decay": 1e-2, "beta": 1.0},
    "pos": {"decoding": "flat", "weight_decay": 1e-2, "beta": 1.0},
}
# "small" was chosen on mit-movie's dev set, see benchmarks/README.md; "paper" is appendix H.
RECIPES: dict[str, dict[str, Any]] = {
    "small": {
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 20,
        "min_steps": 400,
        "warmup_steps": 0.1,
        "alpha_cap": 1.0,
    },
    "paper": {
        "learning_rate": 2e-5,
        "head_learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 20,
        "min_steps": 0,
        "warmup_steps": 0.1,
        "alpha_cap": 0.0,
    },
}


def target_labels(rows: Iterable[Row]) -> list[str]:
    """The labels that the rows' entities have, sorted."""
    return sorted({span["label"] for row in rows for span in row["entities"]})


def has_multi_label(rows: Iterable[Row]) -> bool:
    """Whether some span carries two target labels."""
    for row in rows:
        spans = [(span["start"], span["end"]) for span in row["entities"]]
        if len(spans) != len(set(spans)):
            return True
    return False


def extension_weights(rows: Sequence[Row], alpha_cap: float | None = 1.0) -> dict[str, float]:
    """
    α_i = 0.5·Ĉ/C_i of every extension label that the rows have (eq 15).

    Args:
        rows: every training row, synthetic ones included.
        alpha_cap: largest α_i, or `None` for the paper's letter.

    Returns:
        Extension label -> α_i, labels sorted. C_i counts the label's spans; Ĉ is the mean count of a target label.
    """
    counts = Counter(span["label"] for row in rows for span in row.get("extensions", ()))
    targets = [span["label"] for row in rows for span in row["entities"]]
    mean = len(targets) / max(1, len(set(targets)))
    weights = {label: 0.5 * mean / counts[label] for label in sorted(counts)}
    return weights if alpha_cap is None else {label: min(alpha_cap, alpha) for label, alpha in weights.items()}


_SPECIAL_PIECES = ("pad_token_id", "bos_token_id", "eos_token_id")


def auto_span_width(
    rows: Iterable[Row], coverage: float = 0.999, margin: float = 1.5, minimum: int = 16
) -> tuple[int, int]:
    """
    A width limit for `max_span_width="auto"`, and what it costs.

    Over six data sets, limits from 5-shot to full training data put at most 0.5 % of dev and test gold out of reach.

    Args:
        rows: training rows; their target spans count, extension spans do not.
        coverage: share of the target spans that must fit even without the margin; the widest few may be slips.
        margin: factor for wider spans in text not seen yet.
        minimum: narrowest limit, in units: a few sentences say little.

    Returns:
        The limit in units, and how many of the rows' target spans are wider.
    """
    widths = sorted(span["end"] - span["start"] for row in rows for span in row["entities"])
    if not widths:
        return minimum, 0
    covering = widths[math.ceil(coverage * len(widths)) - 1]
    limit = max(minimum, math.ceil(margin * covering))
    return limit, sum(width > limit for width in widths)


def build_config(
    model_name_or_path: str,
    rows: Sequence[Row],
    alpha_cap: float | None = 1.0,
    labels: Sequence[str] | None = None,
    **options: Any,
) -> KnowFreeConfig:
    """
    A `KnowFreeConfig` for these training rows.

    Args:
        model_name_or_path: folder or Hub id of the encoder.
        rows: training rows; they decide unit, target labels, extension labels with their α_i, and multi-label.
        alpha_cap: see `extension_weights`.
        labels: target labels in column order; by default those of the rows, sorted.
        options: further fields of `KnowFreeConfig`.
    """
    labels = labels or target_labels(rows)
    alphas = extension_weights(rows, alpha_cap)
    encoder = load_config(model_name_or_path)
    special: dict[str, Any] = {name: getattr(encoder, name, None) for name in _SPECIAL_PIECES}
    return KnowFreeConfig(
        encoder_config=encoder,
        **special,
        unit=infer_unit(rows),
        id2label=dict(enumerate(labels)),
        label2id={label: column for column, label in enumerate(labels)},
        extension_labels=list(alphas),
        extension_weights=list(alphas.values()),
        multi_label=has_multi_label(rows),
        **options,
    )


def build_model(model_name_or_path: str, config: KnowFreeConfig) -> KnowFreeForTokenClassification:
    """A fresh span head on the pretrained encoder; call `transformers.set_seed` before."""
    model = KnowFreeForTokenClassification(config)
    encoder = load_encoder(model_name_or_path, model.knowfree.encoder.config)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    model.knowfree.encoder = encoder
    return model


@dataclass
class Features(Dataset):
    """
    Rows as the collator wants them: a map-style data set for the Trainer.

    Attributes:
        items: one feature dict a row.
        gold: target spans of all rows.
        cut_off: of these, how many lie beyond what the encoder reads.
        too_wide: of these, how many are wider than `config.max_span_width`.
    """

    items: list[dict[str, Any]]
    gold: int
    cut_off: int
    too_wide: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self.items[at]

    @property
    def unreachable_gold(self) -> int:
        """Gold spans that no threshold will ever bring."""
        return self.cut_off + self.too_wide

    def losses(self) -> str | None:
        """One line on what truncation and the width limit cost, with the setting that mends it; `None` for nothing."""
        told = []
        if self.cut_off:
            told.append(f"{self.cut_off} lie beyond what the encoder reads (split the sentences)")
        if self.too_wide:
            told.append(f"{self.too_wide} are wider than max_span_width (raise --max_span_width)")
        if not told:
            return None
        return f"{self.unreachable_gold / self.gold:.1%} of {self.gold} gold spans cannot be found: {'; '.join(told)}"


def build_features(rows: Sequence[Row], tokenizer, config: KnowFreeConfig, beta: float = 1.0) -> Features:
    """
    Tokenise rows; sentences longer than the encoder reads lose their end, and the features count what that costs.

    Args:
        rows: checked rows (`data.readers.check_rows`).
        tokenizer: the encoder's.
        config: names the label columns.
        beta: loss weight of rows with `synthetic` true.
    """
    columns = {label: column for column, label in enumerate([*config.target_labels, *config.extension_labels])}
    targets = len(config.target_labels)
    items: list[dict[str, Any]] = []
    gold = cut_off = too_wide = 0
    limit = config.max_pieces
    for row, pieces in zip(rows, encode_units(tokenizer, [row["tokens"] for row in rows], limit), strict=True):
        if limit is not None and len(pieces.input_ids) > limit:
            special = pieces.unit_ids.count(-1)
            body = [unit for unit in pieces.unit_ids if unit >= 0]
            pieces = cut(pieces, 0, body[limit - special])
        spans = [*row["entities"], *row.get("extensions", ())]
        labelled = {(s["start"], s["end"], columns[s["label"]]) for s in spans if s["label"] in columns}
        left_out = {
            (s["start"], s["end"], ~columns[s["label"]]) for s in row.get("uncertain", ()) if s["label"] in columns
        }
        for start, end, column in labelled:
            if column < targets:
                gold += 1
                if end > pieces.num_units:
                    cut_off += 1
                elif config.max_span_width is not None and end - start > config.max_span_width:
                    too_wide += 1
        items.append(
            {
                "input_ids": pieces.input_ids,
                "unit_ids": pieces.unit_ids,
                "num_units": pieces.num_units,
                "span_labels": sorted(labelled | left_out),
                "loss_weights": beta if row.get("synthetic") else 1.0,
            }
        )
    return Features(items, gold, cut_off, too_wide)


class KnowFreeTrainer(SafeCheckpoints):
    """
    Trainer for `KnowFreeForTokenClassification`: two learning rates, weight decay on matrices only, evaluation on
    decoded spans. Pass it features (`build_features`), the tokenizer as `processing_class` and a `KnowFreeCollator`.
    """

    args: KnowFreeTrainingArguments

    def __init__(self, model: torch.nn.Module, args: KnowFreeTrainingArguments, **kwargs: Any):
        kwargs.setdefault("compute_metrics", self.span_metrics)
        args.remove_unused_columns = False  # features are lists of dicts
        super().__init__(model=model, args=args, **kwargs)

    def in_encoder(self, name: str) -> bool:
        """Whether the parameter `name` learns at `learning_rate`; the others do at `head_learning_rate`."""
        return "encoder." in name

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """AdamW over four groups: encoder and head, each with and without weight decay."""
        if self.optimizer is not None:
            return self.optimizer
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():  # type: ignore[union-attr]
            if parameter.requires_grad:
                groups.setdefault((self.in_encoder(name), parameter.ndim >= 2), []).append(parameter)
        settings: list[dict[str, Any]] = []
        for (encoder, matrix), parameters in groups.items():
            rate = self.args.learning_rate if encoder else self.args.head_learning_rate
            decay = self.args.weight_decay if matrix else 0.0
            settings.append({"params": parameters, "lr": rate, "weight_decay": decay})
            logger.info(
                "%s %s: %d tensors, %d parameters, learning rate %g, weight decay %g",
                "encoder" if encoder else "head",
                "matrices" if matrix else "vectors",
                len(parameters),
                sum(parameter.numel() for parameter in parameters),
                rate,
                decay,
            )
        optimizer, options = self.get_optimizer_cls_and_kwargs(self.args)
        self.optimizer = optimizer(settings, **options)
        return self.optimizer

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Decoded spans and gold, each `[B, S, 4]` (start, end, label column, score) padded with -100: logits never
        leave the device."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            if prediction_loss_only:
                return model(**inputs).loss.detach(), None, None
            span_labels = inputs.pop("span_labels")
            inputs.pop("loss_weights", None)
            logits = model(**inputs).logits
        config = self.accelerator.unwrap_model(model).config
        spans = decode(logits, config.threshold, config.decoding, config.multi_label)
        targets = len(config.target_labels)
        gold = [
            [Span(start, end, column, 1.0) for start, end, column in sentence if 0 <= column < targets]
            for sentence in span_labels.tolist()
        ]
        return None, pad_spans(spans, logits.device), pad_spans(gold, logits.device)

    def span_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Micro and macro scores, `f1_<label>` for each label, and counts, of what `prediction_step` returned."""
        names = self.accelerator.unwrap_model(self.model).config.target_labels
        gold, predicted = (
            _labelled(np.asarray(spans), names) for spans in (prediction.label_ids, prediction.predictions)
        )
        scores = span_scores(gold, predicted)
        per_label = scores.pop("per_label")
        return {**scores, **{f"f1_{label}": per_label[label]["f1"] for label in per_label}}

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or str(self.args.output_dir))
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle; the same as JSON instead
        if self.args.should_save:
            (folder / "training_args.json").write_text(json.dumps(self.args.to_sanitized_dict(), indent=2) + "\n")


def _labelled(padded: np.ndarray, names: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    return [
        [(int(start), int(end), names[int(column)]) for start, end, column, _ in sentence if start >= 0]
        for sentence in padded
    ]
