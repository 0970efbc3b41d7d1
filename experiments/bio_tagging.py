"""Baselines: BIO token classification with HF's own head, alone or under a linear-chain CRF."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PreTrainedModel,
    set_seed,
)

from experiments.train import checkpoint_to_resume, plan_schedule, read_splits
from modeling_knowfree import KnowFreeConfig
from modeling_knowfree.layouts_knowfree import spans_of_tags
from modeling_knowfree.metrics_knowfree import span_scores
from modeling_knowfree.rows_knowfree import InputError, Place, Row, bad_input, show_span
from modeling_knowfree.training_knowfree import (
    DataArguments,
    KnowFreeTrainer,
    KnowFreeTrainingArguments,
    target_labels,
)
from modeling_knowfree.units_knowfree import IGNORED, Pieces, cut, encode_units, owner, windows

logger = logging.getLogger(__name__)
OUTSIDE = "O"
CRF_CONFIG = "bio_crf.json"  # not config.json: no other class may load the emissions and forget the transitions
WEIGHTS = "model.safetensors"
WINDOW_OVERLAP = 64  # as in the knowfree pipeline

FoundSpan = tuple[int, int, str, float]  # start, end (exclusive), label, score


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
    **options: Any,
) -> dict[str, Any]:
    """
    Train a BIO tagger: a label on the first piece of each unit, none on its other pieces.

    Args:
        train_file, validation_file: rows in any layout of `readers_knowfree`; only `entities` count, synthetic rows
            as much as gold ones. With a validation file the checkpoint best on it by span F1 is kept, of five.
        output_dir: new folder. The plain head is saved as any model of its class, the CRF with `bio_crf.json`.
        model_name_or_path: pretrained encoder, a folder or a Hub id.
        labels: target labels; `None`: those of the training rows.
        crf: a linear-chain CRF on top of the head (`pytorch-crf`), trained by its likelihood, decoded by Viterbi.
        max_steps: updates.
        learning_rate, head_learning_rate: peak rates of the encoder, and of the linear layer and the transitions.
        dropout: on the encoder's output.
        options: further `KnowFreeTrainingArguments`.

    Returns:
        `{"validation": {"validation_f1": …}, "curve": [[update, dev F1], …]}`, both empty without a validation file.

    Raises:
        InputError: bad files, rows or folders; spans that BIO cannot hold; no `pytorch-crf`. Nothing is written then.
    """
    args = KnowFreeTrainingArguments(
        output_dir=output_dir,
        max_steps=max_steps,
        seed=seed,
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        per_device_train_batch_size=batch_size,
        weight_decay=weight_decay,
        **{"warmup_steps": 0.1, "report_to": "none", **options},
    )
    resume = checkpoint_to_resume(args)
    data_args = DataArguments(train_file=train_file, validation_file=validation_file, labels=labels)
    splits = read_splits(data_args, flat=False)
    for name, path in (("train", train_file), ("validation", validation_file)):
        _check_flat(splits.get(name, []), str(path))
    plan_schedule(data_args, args, len(splits["train"]))

    set_seed(seed)
    tokenizer, network = _build(model_name_or_path, labels or target_labels(splits["train"]), crf, dropout)
    trainer = BioTrainer(
        model=network,
        args=args,
        train_dataset=_features(splits["train"], tokenizer, network),
        eval_dataset=splits.get("validation"),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
    )
    trained = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    trainer.save_metrics("train", trained.metrics)
    trainer.save_state()
    scores: dict[str, float] = {}
    if "validation" in splits:
        scores = trainer.evaluate(metric_key_prefix="validation")
        trainer.save_metrics("validation", scores)
    history = trainer.state.log_history
    return {"validation": scores, "curve": [[log["step"], log["eval_f1"]] for log in history if "eval_f1" in log]}


def predict_bio(folder: str | Path, rows: Sequence[Row], batch_size: int = 32) -> list[list[FoundSpan]]:
    """
    Tag rows with a model that `train_bio` wrote, texts longer than the encoder reads in overlapping windows.

    Args:
        rows: only `tokens` is read.

    Returns:
        For each row its spans `(start, end, label, score)` in units, end exclusive, sorted. The score is the mean
        probability of the span's tags; under a CRF 1.0.

    Raises:
        InputError: nothing there that `train_bio` wrote, or no `pytorch-crf` for a CRF.
    """
    tokenizer, network = _load(Path(folder))
    return _tag(network.to(PartialState().device), tokenizer, rows, batch_size)


class CrfTagger(nn.Module):
    """A token-classification model as emission layer, and transitions between the tags of neighbouring units."""

    def __init__(self, emissions: PreTrainedModel):
        super().__init__()
        try:
            from torchcrf import CRF
        except ImportError as error:
            raise InputError("BIO + CRF needs pytorch-crf; mend: pip install --no-deps pytorch-crf") from error
        self.emissions = emissions
        self.crf = CRF(emissions.config.num_labels, batch_first=True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """
        Negative log likelihood, summed over units, mean over sentences.

        Args:
            labels: `[B, P]`, the tag of a unit at its first piece, -100 at all other pieces.
        """
        logits = self.emissions(input_ids=input_ids, attention_mask=attention_mask).logits.float()  # [B, P, T]
        units, mask = _first_pieces(labels)
        tags = labels.gather(1, units).clamp(min=0)  # [B, L]
        return {"loss": -self.crf(_gather(logits, units), tags, mask, reduction="mean")}


class BioTrainer(KnowFreeTrainer):
    """Trainer of a token-classification model or a `CrfTagger`; `eval_dataset` is a list of rows."""

    def in_encoder(self, name: str) -> bool:
        """See `KnowFreeTrainer`."""
        return name.removeprefix("emissions.").startswith(f"{_emissions(self.model).base_model_prefix}.")

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Scores of decoded spans, long texts in windows."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        found = _tag(
            self.accelerator.unwrap_model(self.model),
            self.processing_class,
            rows,
            self.args.eval_batch_size,
            silent=self.args.disable_tqdm,
        )
        gold = [[(span["start"], span["end"], span["label"]) for span in row["entities"]] for row in rows]
        scores = span_scores(gold, [[span[:3] for span in spans] for spans in found])
        per_label = scores.pop("per_label")
        scores |= {f"f1_{label}": per_label[label]["f1"] for label in per_label}
        metrics = {f"{metric_key_prefix}_{name}": score for name, score in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        model = self.accelerator.unwrap_model(self.model)
        if isinstance(model, CrfTagger) and self.args.should_save:
            model.emissions.config.to_json_file(Path(output_dir or str(self.args.output_dir)) / CRF_CONFIG)


def _emissions(network: nn.Module) -> PreTrainedModel:
    emissions = network.emissions if isinstance(network, CrfTagger) else network
    assert isinstance(emissions, PreTrainedModel)
    return emissions


def _check_flat(rows: Sequence[Row], path: str) -> None:
    for number, row in enumerate(rows, 1):
        spans = sorted((span["start"], span["end"], span["label"]) for span in row["entities"])
        for left, right in pairwise(spans):
            if right[0] < left[1]:
                bad_input(
                    Place(path, number, row["id"], noun="row"),
                    f"spans {show_span(*left)} and {show_span(*right)} share a token: BIO cannot hold them",
                    allowed="one span with one label at each token",
                    mend="drop one of the two, or train a span model: knowfree train --task nested_ner",
                )


def _build(model_name_or_path: str, labels: Sequence[str], crf: bool, dropout: float) -> tuple[Any, nn.Module]:
    tags = [OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in "BI")]
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, add_prefix_space=True)
        names = {"id2label": dict(enumerate(tags)), "label2id": {tag: column for column, tag in enumerate(tags)}}
        config = AutoConfig.from_pretrained(model_name_or_path, **names)
        model = AutoModelForTokenClassification.from_pretrained(model_name_or_path, config=config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"model_name_or_path {model_name_or_path}: {message:.400}") from error
    for child in model.children():
        if isinstance(child, nn.Dropout):  # before the linear layer; every family names its config field otherwise
            child.p = dropout
    return tokenizer, CrfTagger(model) if crf else model


def _load(folder: Path) -> tuple[Any, nn.Module]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one that train_bio wrote")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if (folder / CRF_CONFIG).exists():
            config = AutoConfig.from_pretrained(folder / CRF_CONFIG)
            network: nn.Module = CrfTagger(AutoModelForTokenClassification.from_config(config))
            load_model(network, folder / WEIGHTS)
        else:
            network = AutoModelForTokenClassification.from_pretrained(folder)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: cannot be loaded: {' '.join(str(error).split()):.300}") from error
    if _emissions(network).config.id2label.get(0) != OUTSIDE:
        raise InputError(f"{folder}: holds no BIO tagger; name a folder that train_bio wrote")
    return tokenizer, network


def _max_pieces(network: nn.Module) -> int | None:
    return KnowFreeConfig(_emissions(network).config).max_pieces


def _feature(pieces: Pieces, tags: Sequence[int]) -> dict[str, list[int]]:
    """`tags` of the units at their first pieces, -100 elsewhere: so `labels` also says where the units are."""
    before = [-1, *pieces.unit_ids]
    labels = [
        tags[unit] if unit >= 0 and unit != last else IGNORED
        for last, unit in zip(before, pieces.unit_ids, strict=False)
    ]
    return {"input_ids": pieces.input_ids, "labels": labels}


def _features(rows: Sequence[Row], tokenizer, network: nn.Module) -> list[dict[str, list[int]]]:
    columns, limit = _emissions(network).config.label2id, _max_pieces(network)
    features, cut_off = [], 0
    for row, pieces in zip(rows, encode_units(tokenizer, [row["tokens"] for row in rows]), strict=True):
        _, length = windows(pieces, limit, 0)[0]
        tags = [columns[OUTSIDE]] * length
        for span in row["entities"]:
            if span["end"] > length:
                cut_off += 1
                continue
            inside = columns[f"I-{span['label']}"]
            tags[span["start"] : span["end"]] = [columns[f"B-{span['label']}"]] + [inside] * (
                span["end"] - span["start"] - 1
            )
        features.append(_feature(cut(pieces, 0, length), tags))
    if cut_off:
        logger.warning("train: %d spans lie beyond what the encoder reads (split the sentences)", cut_off)
    return features


def _first_pieces(labels: Tensor) -> tuple[Tensor, Tensor]:
    """`[B, P]` labels to the pieces that carry units, `[B, L]`, and which of these are no padding, `[B, L]`."""
    marked = labels != IGNORED
    units = (~marked).long().argsort(dim=1, stable=True)[:, : int(marked.sum(dim=1).max())]
    return units, marked.gather(1, units)


def _gather(logits: Tensor, units: Tensor) -> Tensor:
    return logits.gather(1, units.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))  # [B, P, T] -> [B, L, T]


@torch.inference_mode()
def _tag(network: nn.Module, tokenizer, rows: Sequence[Row], batch_size: int, silent: bool = False):
    network.eval()
    emissions, collate = _emissions(network), DataCollatorForTokenClassification(tokenizer)
    names, limit = emissions.config.id2label, _max_pieces(network)
    encoded = encode_units(tokenizer, [row["tokens"] for row in rows])
    ranges = [windows(pieces, limit, WINDOW_OVERLAP) for pieces in encoded]
    jobs = [
        (at, window, _feature(cut(encoded[at], start, end), [0] * (end - start)))
        for at, cuts in enumerate(ranges)
        for window, (start, end) in enumerate(cuts)
    ]
    jobs.sort(key=lambda job: len(job[2]["input_ids"]), reverse=True)
    tags = [[OUTSIDE] * pieces.num_units for pieces in encoded]
    scores = [[1.0] * pieces.num_units for pieces in encoded]
    with tqdm(total=len(jobs), desc="tag", unit="sentence", disable=silent, leave=False) as bar:
        for first in range(0, len(jobs), batch_size):
            chunk = jobs[first : first + batch_size]
            batch = collate([feature for _, _, feature in chunk]).to(emissions.device)
            units, mask = _first_pieces(batch.pop("labels"))
            logits = _gather(emissions(**batch).logits.float(), units)
            probabilities, best = logits.softmax(-1).max(-1)
            if isinstance(network, CrfTagger):
                probabilities, best = torch.ones_like(probabilities), network.crf.decode(logits, mask)
            else:
                best = best.tolist()
            for (at, window, _), columns, sure in zip(chunk, best, probabilities.tolist(), strict=True):
                left, right = ranges[at][window]
                for unit in range(left, right):
                    if owner(unit, unit + 1, ranges[at]) == window:
                        tags[at][unit], scores[at][unit] = names[columns[unit - left]], sure[unit - left]
            bar.update(len(chunk))
    found: list[list[FoundSpan]] = []
    for row_tags, row_scores in zip(tags, scores, strict=True):
        spans = [(span["start"], span["end"], span["label"]) for span in spans_of_tags(row_tags)]
        found.append([(a, b, label, sum(row_scores[a:b]) / (b - a)) for a, b, label in spans])
    return found
