"""BIO tags over units: a token-classification model of transformers, alone or as emission layer of a linear-chain CRF;
rows to features, and a network's tags to spans."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DataCollatorForTokenClassification, PreTrainedConfig, PreTrainedModel

from modeling_knowfree.configuration_knowfree import max_pieces
from modeling_knowfree.data.formats.schemes import spans_of_tags
from modeling_knowfree.data.rows import Row, triple
from modeling_knowfree.training.features import loss_weight
from modeling_knowfree.units_knowfree import IGNORED, Pieces

from .crf_head import tag_transitions
from .windowed import FoundSpan, batches_of_parts, beginnings

OUTSIDE = "O"


class CrfTagger(nn.Module):
    """
    A token-classification model as emission layer, and `tag_transitions` between the tags of neighbouring units.

    Raises:
        InputError: `pytorch-crf` is not installed.
    """

    def __init__(self, emissions: PreTrainedModel):
        super().__init__()
        self.emissions = emissions
        self.crf = tag_transitions(emissions.config.num_labels // 2)  # type: ignore[operator]

    @property
    def config(self) -> PreTrainedConfig:
        """Of the emission model."""
        return self.emissions.config

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """As `PreTrainedModel`: of the emission model."""
        self.emissions.gradient_checkpointing_enable(**options)

    def get_input_embeddings(self) -> nn.Module:
        """As `PreTrainedModel`: of the emission model."""
        return self.emissions.get_input_embeddings()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, loss_weights: Tensor
    ) -> dict[str, Tensor]:
        """
        Negative log likelihood of the tags: sum over units, mean over sentences, each times its weight.

        Args:
            labels: `[B, P]`, the tag of a unit at its first piece, -100 at all other pieces.
            loss_weights: `[B]`.
        """
        logits = self.emissions(input_ids=input_ids, attention_mask=attention_mask).logits.float()  # [B, P, T]
        firsts, mask = first_pieces(labels)
        tags = labels.gather(1, firsts).clamp(min=0)  # [B, L]
        likelihood = self.crf(gather(logits, firsts), tags, mask, reduction="none")  # [B]
        return {"loss": -(likelihood * loss_weights).mean()}


def weighted_loss(model: nn.Module, loss_weights: Tensor, **batch: Tensor) -> Tensor:
    """Of a token-classification model: cross-entropy over all pieces that carry a tag, each times its sentence's
    weight `[B]`, over their number."""
    labels = batch.pop("labels")
    logits = model(**batch).logits.float()
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return (losses.view_as(labels).sum(1) * loss_weights).sum() / (labels != IGNORED).sum()


def emission_model(network: nn.Module) -> Any:
    """The `PreTrainedModel` in it, or that it is."""
    return network.emissions if isinstance(network, CrfTagger) else network


def bio_tags(labels: Sequence[str]) -> list[str]:
    """O, then B- and I- of each label: the columns of the logits."""
    return [OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def bio_features(rows: Sequence[Row], tokenizer, config) -> list[dict[str, Any]]:
    """Rows to `{"input_ids", "labels", "loss_weights"}`; what the encoder cannot read at once is cut off, and
    told."""
    features = []
    for row, pieces in beginnings(rows, tokenizer, max_pieces(config)):
        tags = [OUTSIDE] * pieces.num_units
        for span in row["entities"]:
            tags[span["start"]] = f"B-{span['label']}"
            for unit in range(span["start"] + 1, span["end"]):
                tags[unit] = f"I-{span['label']}"
        feature = _feature(pieces, [config.label2id[tag] for tag in tags])
        features.append(feature | {"loss_weights": loss_weight(row, 1.0)})
    return features


def _feature(pieces: Pieces, tags: Sequence[int]) -> dict[str, list[int]]:
    """Tags at the units' first pieces, -100 elsewhere: `labels` is also what says where the units are."""
    pairs = zip([-1, *pieces.unit_ids[:-1]], pieces.unit_ids, strict=True)
    labels = [tags[unit] if unit >= 0 and unit != last else IGNORED for last, unit in pairs]
    return {"input_ids": pieces.input_ids, "labels": labels}


def first_pieces(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of `[B, P]` labels the positions of the pieces that carry units, and which of them are no padding, `[B, L]`."""
    marked = labels != IGNORED
    firsts = (~marked).long().argsort(dim=1, stable=True)[:, : int(marked.sum(dim=1).max())]
    return firsts, marked.gather(1, firsts)


def gather(logits: Tensor, firsts: Tensor) -> Tensor:
    """`[B, P, T]` of pieces to `[B, L, T]` of units."""
    return logits.gather(1, firsts.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


@torch.inference_mode()
def tag(
    network: nn.Module, tokenizer, rows: Sequence[Row], batch_size: int, *, silent: bool = False
) -> list[list[FoundSpan]]:
    """
    Tag rows; of a text in several windows each unit's tag comes from the window that sees most around it.

    Args:
        network: a token-classification model or a `CrfTagger`; left in evaluation mode.

    Returns:
        For each row its spans, sorted; I- after O or after another type, which a CRF never says, opens a span, as in
        transformers' own pipeline. The score is the mean probability of the span's tags, 1.0 under a CRF.
    """
    network.eval()
    config = emission_model(network).config
    collate = DataCollatorForTokenClassification(tokenizer)
    tags = [[OUTSIDE] * len(row["tokens"]) for row in rows]
    scores = [[0.0] * len(row["tokens"]) for row in rows]

    def unlabelled(tokens: Sequence[str], pieces: Pieces) -> dict[str, list[int]]:
        return _feature(pieces, [0] * len(tokens))

    limit = max_pieces(config)
    for parts in batches_of_parts(rows, tokenizer, limit, unlabelled, batch_size, silent):
        columns, sure = _best_tags(network, collate([part.feature for part in parts]))
        for i, part in enumerate(parts):
            for unit in range(part.start, part.end):
                if part.owns(unit, unit + 1):
                    tags[part.row][unit] = config.id2label[columns[i][unit - part.start]]
                    scores[part.row][unit] = sure[i][unit - part.start]
    found: list[list[FoundSpan]] = []
    for row_tags, row_scores in zip(tags, scores, strict=True):
        spans = map(triple, spans_of_tags(row_tags))
        found.append([(a, b, label, sum(row_scores[a:b]) / (b - a)) for a, b, label in spans])
    return found


def _best_tags(network: nn.Module, batch) -> tuple[list[list[int]], list[list[float]]]:
    """Tag and score of every unit."""
    emissions = emission_model(network)
    firsts, mask = first_pieces(batch.pop("labels").to(emissions.device))
    logits = gather(emissions(**batch.to(emissions.device)).logits.float(), firsts)
    if isinstance(network, CrfTagger):
        return network.crf.decode(logits, mask), torch.ones(mask.shape).tolist()
    probabilities, columns = logits.softmax(-1).max(-1)
    return columns.tolist(), probabilities.tolist()
