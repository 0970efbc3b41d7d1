"""Baselines: BIO token classification with transformers' own head, alone or under a linear-chain CRF."""

import logging
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_model
from torch import nn
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    set_seed,
)

from modeling_knowfree import loading
from modeling_knowfree.data.rows import InputError, Place, Row, bad_input, show_span, triple
from modeling_knowfree.encoders import encoder_path
from modeling_knowfree.training.arguments import DataArguments, KnowFreeTrainingArguments
from modeling_knowfree.training.checkpoints import checkpoint_to_resume
from modeling_knowfree.training.config import target_labels
from modeling_knowfree.training.tokenizer import load_tokenizer
from modeling_knowfree.training.train import plan_schedule, read_splits
from modeling_knowfree.units_knowfree import IGNORED, infer_unit

from .bio_network import OUTSIDE, CrfTagger, bio_features, bio_tags, emission_model, tag, weighted_loss
from .crf_head import FLAT_ONLY
from .span_trainer import SpanTrainer
from .tagger import WEIGHTS, outermost
from .windowed import FoundSpan

logger = logging.getLogger(__name__)
CRF_CONFIG = "bio_crf.json"  # not config.json: no other class may load the emissions and forget the transitions


def train_bio(
    train_file: str,
    *,
    validation_file: str | None,
    output_dir: str,
    model_name_or_path: str,
    labels: list[str] | None,
    crf: bool,
    max_steps: int,
    seed: int,
    learning_rate: float,
    head_learning_rate: float,
    batch_size: int = 8,
    dropout: float = 0.1,
    weight_decay: float = 1e-3,
    overlapping: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """
    Train a BIO tagger: a label on the first piece of each unit, none on its other pieces.

    Args:
        train_file, validation_file: rows in any layout of `data.readers`; only `entities` and a row's own `weight`
            count, synthetic rows without one as much as gold ones. With a validation file the checkpoint best on it by
            span F1 is kept, of five.
        output_dir: new folder. The plain head is saved as any model of its class; with a CRF encoder, head and
            transitions lie in one safetensors file, their configuration in `bio_crf.json`.
        model_name_or_path: pretrained encoder, a folder or a Hub id.
        labels: target labels; `None`: those of the training rows.
        crf: a CRF over the units (`pytorch-crf`), trained by its likelihood, decoded by Viterbi.
        max_steps: updates.
        learning_rate, head_learning_rate: peak rates of the encoder, and of the linear layer; transitions learn
            `TRANSITION_RATE` times as fast as the latter.
        dropout: on the encoder's output.
        overlapping: learn from the outermost of spans that share a token, and be scored on all, instead of refusing
            them.
        options: further `KnowFreeTrainingArguments`; `resume_from_checkpoint="last"` continues an interrupted run.

    Returns:
        `{"validation": {"validation_f1": …}, "curve": [[update, dev F1], …]}`, both empty without a validation file.

    Raises:
        InputError: bad files, rows or folders; spans that BIO cannot hold; no `pytorch-crf`. Nothing is written then.
    """
    settings: dict[str, Any] = {"warmup_steps": 0.1, "report_to": "none", **options}
    settings.setdefault("use_cpu", not torch.accelerator.is_available())  # without it bf16 wants a GPU
    settings.setdefault("disable_tqdm", not sys.stderr.isatty())  # as `knowfree train` has it
    args = KnowFreeTrainingArguments(
        output_dir=output_dir,
        max_steps=max_steps,
        seed=seed,
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        per_device_train_batch_size=batch_size,
        weight_decay=weight_decay,
        **settings,
    )
    resume = checkpoint_to_resume(args)
    data_args = DataArguments(train_file=train_file, validation_file=validation_file, labels=labels)
    splits = read_splits(data_args, flat=False)
    if overlapping:
        splits["train"], lost = outermost(splits["train"])
        if lost:
            logger.warning("train: %d gold spans lie in or across others: %s", lost, FLAT_ONLY)
    else:
        for name, path in (("train", train_file), ("validation", validation_file)):
            _check_one_tag_a_token(splits.get(name, []), str(path))
    plan_schedule(data_args, args, len(splits["train"]))

    set_seed(seed)
    unit = infer_unit(splits["train"])
    names = labels or target_labels(splits["train"])
    tokenizer, network = _build(encoder_path(model_name_or_path, unit), unit, names, crf, dropout)
    trainer = BioTrainer(
        model=network,
        args=args,
        train_dataset=bio_features(splits["train"], tokenizer, emission_model(network).config),
        eval_dataset=splits.get("validation"),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
    )
    return trainer.run(resume)


def predict_bio(folder: str | Path, rows: Sequence[Row], batch_size: int = 32) -> list[list[FoundSpan]]:
    """
    Tag rows with a model that `train_bio` wrote, texts longer than the encoder reads in overlapping windows.

    Args:
        rows: only `tokens` is read.

    Returns:
        For each row its spans `(start, end, label, score)` in units, end exclusive, sorted; see `bio_network.tag`.

    Raises:
        InputError: nothing there that `train_bio` wrote, or no `pytorch-crf` for a CRF.
    """
    tokenizer, network = _load(Path(folder))
    return tag(network.to(PartialState().device), tokenizer, rows, batch_size)


class BioTrainer(SpanTrainer):
    """Trainer of a token-classification model or a `CrfTagger`."""

    find_spans = staticmethod(tag)

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # `weighted_loss` is a mean, so accumulated ones are averaged

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean over sentences of a CRF, over tags without one, each times the sentence's weight."""
        crf = isinstance(self.accelerator.unwrap_model(model), CrfTagger)
        loss = model(**inputs)["loss"] if crf else weighted_loss(model, **inputs)
        return (loss, None) if return_outputs else loss

    def units_and_width(self) -> tuple[list[int], int | None]:
        """See `KnowFreeTrainer`; no span is too wide."""
        return [sum(label != IGNORED for label in item["labels"]) for item in self.train_dataset], None  # type: ignore[union-attr]

    def in_encoder(self, name: str) -> bool:
        """See `KnowFreeTrainer`."""
        assert self.model is not None
        return name.removeprefix("emissions.").startswith(f"{emission_model(self.model).base_model_prefix}.")

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        network = self.accelerator.unwrap_model(self.model)
        if isinstance(network, CrfTagger) and self.args.should_save:
            network.emissions.config.to_json_file(Path(output_dir or str(self.args.output_dir)) / CRF_CONFIG)


def _check_one_tag_a_token(rows: Sequence[Row], path: str) -> None:
    for number, row in enumerate(rows, 1):
        for left, right in pairwise(sorted(map(triple, row["entities"]))):
            if right[0] < left[1]:
                bad_input(
                    Place(path, number, row["id"], noun="row"),
                    f"spans {show_span(*left)} and {show_span(*right)} share a token: BIO cannot hold them",
                    allowed="one span with one label at each token",
                    mend="drop one of the two, or train a span model: knowfree train --task nested_ner",
                )


def _build(
    model_name_or_path: str, unit: str, labels: Sequence[str], crf: bool, dropout: float
) -> tuple[Any, nn.Module]:
    tags = bio_tags(labels)
    names: dict[str, Any] = {"id2label": dict(enumerate(tags)), "label2id": {tags[i]: i for i in range(len(tags))}}
    with loading.told_in_one_line(f"model_name_or_path {model_name_or_path}"):
        tokenizer = load_tokenizer(model_name_or_path, unit)
        config = loading.load_config(model_name_or_path, **names)
        loading.check_vocabulary(tokenizer, config, f"model_name_or_path {model_name_or_path}")
        model = loading.load_encoder(model_name_or_path, config, AutoModelForTokenClassification, new_head=True)
    for child in model.children():
        if isinstance(child, nn.Dropout):  # the one before the linear layer; its config field differs by family
            child.p = dropout
    return tokenizer, CrfTagger(model) if crf else model


def _load(folder: Path) -> tuple[Any, nn.Module]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one that train_bio wrote")
    with loading.told_in_one_line(str(folder)):
        tokenizer = loading.load_tokenizer(str(folder))
        if (folder / CRF_CONFIG).exists():
            config = loading.load_config(str(folder / CRF_CONFIG))
            network: nn.Module = CrfTagger(AutoModelForTokenClassification.from_config(config, trust_remote_code=False))
            load_model(network, folder / WEIGHTS)
        else:
            config = loading.load_config(str(folder))
            network = loading.load_encoder(str(folder), config, AutoModelForTokenClassification)
    if emission_model(network).config.id2label.get(0) != OUTSIDE:
        raise InputError(f"{folder}: holds no BIO tagger; name a folder that train_bio wrote")
    return tokenizer, network
