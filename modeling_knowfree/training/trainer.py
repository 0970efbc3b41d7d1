"""The Trainer: two learning rates, and evaluation on decoded spans."""

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput

from ..decoding_knowfree import Span, decode, pad_spans
from ..metrics import span_scores
from .arguments import KnowFreeTrainingArguments
from .averaging import WeightAverage
from .batching import CostBatches
from .checkpoints import ARGUMENTS_FILE, SafeCheckpoints
from .features import count_unknown
from .lora import ADAPTER, has_lora, load_checkpoint, merged_state, save_adapter

logger = logging.getLogger(__name__)
EXTENSION_SHARE = 1 / 3  # of the updates, in which `extension_schedule="first"` learns extension labels


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
        self.average = WeightAverage(args.average_last) if args.average_last else None
        if self.average:
            self.add_callback(self.average)

    def training_step(self, model, *args, **kwargs):
        """One step; with `extension_schedule="first"` extension labels have no limit in the first third of the updates,
        and no weight after it, nor have their words as tags."""
        config: Any = getattr(self.accelerator.unwrap_model(model), "config", None)  # a tagger with a CRF has none
        if not getattr(config, "extension_weights", None) or self.args.extension_schedule != "first":
            return super().training_step(model, *args, **kwargs)
        names = ("extension_weights", "extension_limit", "extension_tag_weight")
        kept = {name: getattr(config, name) for name in names}
        if self.state.global_step < EXTENSION_SHARE * self.state.max_steps:
            config.extension_limit = None
        else:
            config.extension_weights = [0.0] * len(kept["extension_weights"])
            config.extension_tag_weight = 0.0
        try:
            return super().training_step(model, *args, **kwargs)
        finally:
            for name, value in kept.items():
                setattr(config, name, value)

    def _maybe_log_save_evaluate(self, *args, **kwargs):
        due = self.control.should_evaluate or self.control.should_save
        with self.average.in_place(self.model) if self.average and due else nullcontext():  # type: ignore[arg-type]
            return super()._maybe_log_save_evaluate(*args, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of `per_device_train_batch_size` sentences, or with `spans_per_batch` of about one cost."""
        spans = self.args.spans_per_batch
        if spans is None:
            return super().get_train_dataloader()
        lengths, width = self.units_and_width()
        batches = CostBatches(lengths, self.args.train_batch_size, width, spans, self.args.seed)
        loader = DataLoader(
            self.train_dataset,  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As in Trainer, the longest sentences first, so that batches pad little; scores know no order."""
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, str):
            rows = self.eval_dataset[rows]  # type: ignore[index]
        lengths = [len(item["input_ids"]) for item in rows]
        loader = DataLoader(
            rows,
            batch_size=self.args.eval_batch_size,
            sampler=sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def units_and_width(self) -> tuple[list[int], int | None]:
        """Units of each training sentence, and the widest span scored: what a batch costs by."""
        lengths = [item["num_units"] for item in self.train_dataset]  # type: ignore[union-attr]
        return lengths, self.accelerator.unwrap_model(self.model).config.max_span_width

    def in_encoder(self, name: str) -> bool:
        """Whether the parameter `name` learns at `learning_rate`; the others do at `head_learning_rate`."""
        return "encoder." in name

    def group_of(self, name: str, parameter: torch.nn.Parameter) -> tuple[str, float, float]:
        """What a parameter belongs to, its peak learning rate and its weight decay."""
        part, rate = "head", self.args.head_learning_rate
        if self.in_encoder(name):
            part, rate = "encoder", self.args.learning_rate
        if parameter.ndim < 2:
            return f"{part} vectors", rate, 0.0
        return f"{part} matrices", rate, self.args.weight_decay

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """AdamW over the groups of `group_of`: encoder and head, each with and without weight decay."""
        if self.optimizer is not None:
            return self.optimizer
        groups: dict[tuple[str, float, float], list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():  # type: ignore[union-attr]
            if parameter.requires_grad:
                groups.setdefault(self.group_of(name, parameter), []).append(parameter)
        settings: list[dict[str, Any]] = []
        for (group, rate, decay), parameters in groups.items():
            settings.append({"params": parameters, "lr": rate, "weight_decay": decay})
            logger.info(
                "%s: %d tensors, %d parameters, learning rate %g, weight decay %g",
                group,
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
            for name in ("loss_weights", "span_weights", "has_extensions"):
                inputs.pop(name, None)
            logits = model(**inputs).logits
        config = self.accelerator.unwrap_model(model).config
        spans = decode(logits, config.threshold, config.decoding, config.multi_label)
        targets = len(config.target_labels)
        gold = [
            [Span(start, end, column, 1.0) for start, end, column in sentence if 0 <= column < targets]
            for sentence in span_labels.tolist()
        ]
        return None, pad_spans(spans, logits.device), pad_spans(gold, logits.device)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As in Trainer; gold of labels that the model does not have counts as missed, as in `knowfree evaluate`. Text
        longer than the encoder reads is cut off here, and read in windows there."""
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        unknown = getattr(dataloader.dataset, "unknown", None)
        if unknown and output.metrics and f"{metric_key_prefix}_f1" in output.metrics:
            count_unknown(output.metrics, unknown, metric_key_prefix)
        return output

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
        folder = Path(output_dir or str(self.args.output_dir))
        model = self.accelerator.unwrap_model(self.model)
        if has_lora(model):
            state = model.state_dict() if state_dict is None else state_dict
            super()._save(output_dir, merged_state(model, state))
            save_adapter(model, state, folder / ADAPTER)
        else:
            super()._save(output_dir, state_dict)
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle; the same as JSON instead
        if self.args.should_save:
            (folder / ARGUMENTS_FILE).write_text(json.dumps(self.args.to_sanitized_dict(), indent=2) + "\n")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        unwrapped = self.accelerator.unwrap_model(model or self.model)
        if has_lora(unwrapped):
            load_checkpoint(unwrapped, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if has_lora(model := self.accelerator.unwrap_model(self.model)):
            load_checkpoint(model, Path(str(self.state.best_model_checkpoint)))
        else:
            super()._load_best_model()


def _labelled(padded: np.ndarray, names: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    return [
        [(int(start), int(end), names[int(column)]) for start, end, column, _ in sentence if start >= 0]
        for sentence in padded
    ]
