"""What the baseline networks share: an encoder's unit states under them, rows to batches, training, windows, files."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from accelerate import PartialState
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import set_seed

from modeling_knowfree import loading
from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.decoding_knowfree import Span, best_first, resolve
from modeling_knowfree.modeling_knowfree import KnowFreeModel
from modeling_knowfree.training.checkpoints import checkpoint_to_resume
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.config import build_config
from modeling_knowfree.training.features import loss_weight
from modeling_knowfree.training.tokenizer import load_tokenizer
from modeling_knowfree.training.train import plan_schedule, read_splits
from modeling_knowfree.units_knowfree import KnowFreeCollator, Pieces, infer_unit

from .span_trainer import SpanTrainer
from .windowed import FoundSpan, batches_of_parts, beginnings

logger = logging.getLogger(__name__)

TAGGERS = {
    "w2ner": "W2Ner",
    "difinet": "DiFiNet",
    "bert_bilstm_crf": "BertBiLstmCrf",
    "flat": "Flat",
    "mect": "Mect",
    "lebert": "Lebert",
    "pcbert": "Pcbert",
}
"""The networks: the file of this folder that each stands in, and its class."""
TAGGER_FILE = "tagger.json"  # not config.json: no other class may load the encoder and forget the rest
WEIGHTS = "model.safetensors"


class Tagger(nn.Module):
    """
    A network that finds spans over the states of an encoder's units, `[B, L, D]`.

    A batch is a dict: `input_ids`, `attention_mask`, `unit_ids` `[B, P]`, `num_units` `[B]`, for training
    `span_labels` `[B, S, 3]` (start, end, label column, padded with -100) and `loss_weights` `[B]`, and what `extra`
    and `collate_extra` add.

    Attributes:
        flat: it cannot hold overlapping spans; it learns from the outermost ones and is scored on all.
        one_label: it cannot hold two labels on one span; it learns one of them and is scored on both.
        cannot: in words, what it cannot express.
    """

    flat: ClassVar[bool] = False
    one_label: ClassVar[bool] = False
    cannot: ClassVar[str] = ""
    accepts_loss_kwargs = False

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        self.config = config
        self.knowfree = KnowFreeModel(config)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The mean of the sentences' losses, each times its weight."""
        weights = batch.pop("loss_weights")
        return {"loss": (self.loss(batch) * weights).mean()}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss of each sentence, `[B]`."""
        raise NotImplementedError

    def find(self, batch: dict[str, Tensor]) -> list[list[Span]]:
        """The spans of each sentence, in any order; they may still overlap."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> dict[str, Any]:
        """Arguments of `__init__` that the training rows decide."""
        return {}

    @classmethod
    def check(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> None:
        """Before a run starts: whether `prepare` will find what it needs; raises InputError where not."""

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """As `PreTrainedModel`: of the encoder."""
        self.knowfree.gradient_checkpointing_enable(**options)

    def get_input_embeddings(self) -> nn.Module:
        """As `PreTrainedModel`: of the encoder."""
        return self.knowfree.get_input_embeddings()

    def set_start(self, rows: Sequence[Row], start_bias: str) -> None:
        """For networks that score every span: begin with their bias, see `training.start.set_start_bias`."""

    def copy_encoder(self, encoder: nn.Module) -> None:
        """For networks with a second encoder: begin it with the weights of the first."""

    def gold_extra(self, row: Row) -> dict[str, Any]:
        """What only training is told of a row, beside its spans."""
        return {}

    def extra(self, tokens: Sequence[str]) -> dict[str, Any]:
        """What the network wants to know of a sentence beside its pieces."""
        return {}

    def collate_extra(self, features: Sequence[dict[str, Any]], length: int) -> dict[str, Tensor]:
        """`extra` of the sentences of a batch as tensors; `length` is L."""
        return {}

    def sides(self, feature: dict[str, Any]) -> Sequence[int]:
        """For networks whose memory grows with pairs of units: see `batches_of_parts`."""
        return ()

    def settings(self) -> dict[str, Any]:
        """The arguments of `__init__` after the configuration, as JSON holds them."""
        return {}

    def unit_states(self, batch: dict[str, Tensor]) -> Tensor:
        """The encoder's states `[B, L, D]`, after dropout; L is the longest sentence's units, as in `collate_extra`."""
        names = ("input_ids", "attention_mask", "unit_ids", "num_units")
        states = self.knowfree(*(batch[name] for name in names)).last_hidden_state  # (B, P, D)
        return self.dropout(states[:, : int(batch["num_units"].max())])


class TaggerCollator(KnowFreeCollator):
    """`KnowFreeCollator`, and what the network adds."""

    KEYS = ("input_ids", "attention_mask", "unit_ids", "num_units", "span_labels", "loss_weights")

    def __init__(self, pad_token_id: int, network: Tagger):
        super().__init__(pad_token_id)
        self.network = network

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = super().__call__(features)
        length = max(feature["num_units"] for feature in features)
        return {name: batch[name] for name in self.KEYS if name in batch} | self.network.collate_extra(features, length)


def exact(scores: Tensor) -> Tensor:
    """At least in single precision: half is too coarse for a sum over cells."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def real_units(batch: dict[str, Tensor], states: Tensor) -> Tensor:
    """Which of the units `[B, L, …]` are no padding: `[B, L]`."""
    return torch.arange(states.shape[1], device=states.device) < batch["num_units"][:, None]


def biaffine(left: Tensor, right: Tensor, weight: Tensor, linear: nn.Linear) -> Tensor:
    """`l_iᵀ U r_j + W[l_i; r_j] + b`: `left`, `right` `[B, L, s]`, U `weight` `[n, s, s]` -> `[B, L, L, n]`."""
    by_left, by_right = linear.weight.split(left.shape[-1], 1)
    both = F.linear(left, by_left).unsqueeze(2) + F.linear(right, by_right, linear.bias).unsqueeze(1)
    return torch.einsum("bix,nxy,bjy->bijn", left, weight, right) + both


def outermost(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The rows with flat entities alone: of spans that share a unit the one that starts first, then the longest, then
    the first label; and how many entities that leaves out."""
    kept_rows, lost = [], 0
    for row in rows:
        kept: list[dict[str, Any]] = []
        for span in sorted(row["entities"], key=lambda span: (span["start"], -span["end"], span["label"])):
            if kept and span["start"] < kept[-1]["end"]:
                lost += 1
            else:
                kept.append(span)
        kept_rows.append({**row, "entities": kept})
    return kept_rows, lost


def train_tagger(
    name: str, arguments: Mapping[str, Any], *, lexicon: str | None = None, **settings: Any
) -> dict[str, Any]:
    """
    Train a baseline network: the recipe, the rows, the encoder, the selection on dev are `knowfree train`'s.

    Args:
        name: of `TAGGERS`.
        arguments: of `knowfree train`; what shapes KnowFREE's own head has no use here.
        lexicon: for networks that want words, see `lexicon.read_lexicon`.
        settings: of the network, its sizes for example.

    Returns:
        `{"validation": {"validation_f1": …}, "curve": [[update, dev F1], …]}`, both empty without a validation file.

    Raises:
        InputError: bad arguments, files, rows or folders. Nothing is written then.
    """
    model_args, data_args, args = parse_arguments(arguments)
    if args.lora_rank:
        raise InputError(f"{name}: --lora_rank is for KnowFREE alone; leave it out")
    resume = checkpoint_to_resume(args)
    splits = read_splits(data_args, flat=model_args.decoding == "flat")
    plan_schedule(data_args, args, len(splits["train"]))
    kind, rows = tagger_class(name), splits["train"]
    set_seed(args.seed)
    encoder = model_args.encoder_folder(infer_unit(rows))
    try:
        tokenizer = load_tokenizer(encoder, infer_unit(rows))
        gold = [{key: row[key] for key in ("id", "tokens", "entities")} for row in rows]
        config = build_config(encoder, gold, labels=data_args.labels, **model_args.config_fields(rows))
        prepared = kind.prepare(rows, lexicon, encoder, labels=config.target_labels)
        network = kind(config, **{**prepared, **settings})
        network.knowfree.encoder = loading.load_encoder(encoder, network.knowfree.encoder.config)
        network.copy_encoder(network.knowfree.encoder)
        network.set_start(gold, model_args.start_bias)
    except InputError:
        raise
    except (OSError, ValueError, KeyError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"--model_name_or_path {model_args.model_name_or_path}: {message:.400}") from error

    trainer = TaggerTrainer(
        model=network,
        args=args,
        train_dataset=training_features(rows, tokenizer, network, args.beta),
        eval_dataset=splits.get("validation"),
        data_collator=TaggerCollator(tokenizer.pad_token_id or 0, network),
        processing_class=tokenizer,
    )
    return trainer.run(resume)


def tagger_class(name: str) -> type[Tagger]:
    """The network called `name`; its file is imported now."""
    return getattr(import_module(f".{name}", __package__), TAGGERS[name])


def training_features(rows: Sequence[Row], tokenizer, network: Tagger, beta: float) -> list[dict[str, Any]]:
    """Rows to features with gold; what the encoder cannot read at once is cut off, what the network cannot hold is
    left out, and both are told."""
    config = network.config
    if network.flat:
        rows, overlapping = outermost(rows)
        if overlapping:
            logger.warning("train: %d gold spans lie in or across others: %s", overlapping, network.cannot)
    elif network.one_label and (twice := sum(len(each) - len(set(each)) for each in map(_extents, rows))):
        logger.warning("train: %d gold spans have a label beside another one's: %s", twice, network.cannot)
    columns = {label: column for column, label in enumerate(config.target_labels)}
    features = []
    for row, pieces in beginnings(rows, tokenizer, config.max_pieces):
        feature = _feature(network, row["tokens"], pieces) | network.gold_extra(row)
        spans = [(span["start"], span["end"], columns[span["label"]]) for span in row["entities"]]
        feature["span_labels"] = sorted(spans)
        feature["loss_weights"] = loss_weight(row, beta)
        features.append(feature)
    return features


def _extents(row: Row) -> list[tuple[int, int]]:
    return [(span["start"], span["end"]) for span in row["entities"]]


def _feature(network: Tagger, tokens: Sequence[str], pieces: Pieces) -> dict[str, Any]:
    known = {"input_ids": pieces.input_ids, "unit_ids": pieces.unit_ids, "num_units": pieces.num_units}
    return known | network.extra(tokens)


@torch.inference_mode()
def tag(
    network: Tagger, tokenizer, rows: Sequence[Row], batch_size: int, *, silent: bool = False
) -> list[list[FoundSpan]]:
    """
    Tag rows, texts longer than the encoder reads in overlapping windows: a span comes from the window that sees most
    around it. Of spans that cannot stand together (`config.decoding`) the better ones are kept.

    Args:
        rows: only `tokens` is read.

    Returns:
        For each row its spans, sorted by start, then end, then label column of the network.
    """
    was_training = network.training
    network.eval()
    config, device = network.config, next(network.parameters()).device
    collate = TaggerCollator(tokenizer.pad_token_id or 0, network)
    hits: list[list[Span]] = [[] for _ in rows]
    feature_of, limit = partial(_feature, network), config.max_pieces
    for parts in batches_of_parts(rows, tokenizer, limit, feature_of, batch_size, silent, network.sides):
        batch = {name: value.to(device) for name, value in collate([part.feature for part in parts]).items()}
        for part, spans in zip(parts, network.find(batch), strict=True):
            moved = (span._replace(start=span.start + part.start, end=span.end + part.start) for span in spans)
            hits[part.row] += [span for span in moved if part.owns(span.start, span.end)]
    network.train(was_training)
    found = (resolve(sorted(spans, key=best_first), config.decoding, config.multi_label) for spans in hits)
    labels = config.target_labels
    return [[(span.start, span.end, labels[span.label], span.score) for span in spans] for spans in found]


def predict_tagger(folder: str | Path, rows: Sequence[Row], batch_size: int = 32) -> list[list[FoundSpan]]:
    """
    Tag rows with a network that `train_tagger` wrote.

    Returns:
        For each row its spans `(start, end, label, score)` in units, end exclusive, sorted.

    Raises:
        InputError: nothing there that `train_tagger` wrote.
    """
    tokenizer, network = load_tagger(Path(folder))
    return tag(network.to(PartialState().device), tokenizer, rows, batch_size)


def load_tagger(folder: Path) -> tuple[Any, Tagger]:
    """
    The tokenizer and the network in a folder that `train_tagger` wrote.

    Raises:
        InputError: it holds none, or one that cannot be read.
    """
    if not (folder / TAGGER_FILE).is_file():
        raise InputError(f"{folder}: holds no {TAGGER_FILE}; name a folder that train_tagger wrote")
    with loading.told_in_one_line(str(folder)):
        stored = json.loads((folder / TAGGER_FILE).read_text(encoding="utf-8"))
        config = KnowFreeConfig.from_dict(stored["config"])
        network = tagger_class(stored["tagger"])(config, **stored["settings"])
        load_model(network, folder / WEIGHTS)
        return loading.load_tokenizer(str(folder)), network


class TaggerTrainer(SpanTrainer):
    """Trainer of a `Tagger`."""

    find_spans = staticmethod(tag)

    def units_and_width(self) -> tuple[list[int], int | None]:
        """See `KnowFreeTrainer`; of a lattice, words count as units do."""
        network = self.accelerator.unwrap_model(self.model)
        lengths, width = super().units_and_width()
        sides = [sum(network.sides(item)) for item in self.train_dataset]  # type: ignore[union-attr]
        return [max(pair) for pair in zip(lengths, sides, strict=True)], width

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        network = self.accelerator.unwrap_model(self.model)
        if self.args.should_save:
            name = type(network).__module__.rsplit(".", 1)[-1]
            config = json.loads(network.config.to_json_string(use_diff=False))
            stored = {"tagger": name, "config": config, "settings": network.settings()}
            path = Path(output_dir or str(self.args.output_dir)) / TAGGER_FILE
            path.write_text(json.dumps(stored, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
