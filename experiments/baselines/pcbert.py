"""PCBERT: a prompted parent beside a LEBERT child (Lai et al., COLING 2022, "PCBERT: Parent and Child BERT for Chinese
Few-shot NER").

The parts: the *child* is LEBERT on the target labels. The *parent* is a second encoder that reads a prompt before the
sentence, the name of each label with a mask behind it, and learns at the masks which labels the sentence has, implicit
ones too (label extension: the `ENT:` labels of the training rows where an augmentation found some, else the targets
alone). The child's characters attend to the masks, then BIO tags under a CRF.

The paper's parent is trained on a large annotated corpus first (its SUPERNER is not to be had) and asks about one word
at a time; ours learns from the rows that every system here gets, in one pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel

from modeling_knowfree.configuration_knowfree import KnowFreeConfig, max_pieces
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.loading import load_config
from modeling_knowfree.training.tokenizer import load_tokenizer

from .lebert import Lebert
from .tagger import real_units

IMPLICIT = "ENT:"
MOST_LABELS = 24  # targets, then the most frequent implicit ones: each costs pieces of the parent's input
PARENT_WEIGHT = 0.5  # of the parent's loss beside the child's


class Pcbert(Lebert):
    """
    Args:
        prompt: piece ids of the prompt, masks included.
        masks: where each label's mask stands in it; the targets first.
        implicit: the labels after the targets, as the training rows spell them.
    """

    def __init__(
        self,
        config: KnowFreeConfig,
        lexicon: dict[str, Any],
        prompt: Sequence[int],
        masks: Sequence[int],
        implicit: Sequence[str],
        vectors: dict[int, list[float]] | None = None,
    ):
        super().__init__(config, lexicon, vectors)
        self.more: dict[str, Any] = {"prompt": list(prompt), "masks": list(masks), "implicit": list(implicit)}
        size = config.encoder_config.hidden_size
        self.parent = nn.ModuleDict({"encoder": AutoModel.from_config(config.encoder_config)})
        if getattr(self.parent["encoder"], "pooler", None) is not None:
            self.parent["encoder"].pooler = torch.nn.Identity()
        self.occurs = nn.Linear(size, 1)
        self.attention = nn.Linear(size, size, bias=False)
        self.mixed_norm = nn.LayerNorm(size)

    @classmethod
    def prepare(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> dict[str, Any]:
        settings = super().prepare(rows, lexicon, encoder, labels)
        counts: dict[str, int] = {}
        for row in rows:
            for label in {span["label"] for span in row.get("extensions", ()) if span["label"].startswith(IMPLICIT)}:
                counts[label] = counts.get(label, 0) + 1
        ordered = sorted(counts, key=lambda label: (-counts[label], label))
        implicit = ordered[: max(0, MOST_LABELS - len(labels))]
        return settings | fitting_prompt(labels, implicit, encoder)

    @classmethod
    def check(cls, rows: Sequence[Row], lexicon: str | None, encoder: str, labels: Sequence[str]) -> None:
        super().check(rows, lexicon, encoder, labels)
        fitting_prompt(labels, [], encoder)

    def copy_encoder(self, encoder: nn.Module) -> None:
        """Give the parent the pretrained weights that the child begins with."""
        self.parent["encoder"].load_state_dict(encoder.state_dict())

    def settings(self) -> dict[str, Any]:
        return super().settings() | self.more

    def gold_extra(self, row: Row) -> dict[str, Any]:
        """Which implicit labels a training row has."""
        found = {span["label"] for span in row.get("extensions", ())}
        return {"implicit": [float(label in found) for label in self.more["implicit"]]}

    def collate_extra(self, features: Sequence[dict[str, Any]], length: int) -> dict[str, Tensor]:
        found = super().collate_extra(features, length)
        if "implicit" in features[0]:
            found["implicit"] = torch.tensor([feature["implicit"] for feature in features])
        return found

    def mask_states(self, batch: dict[str, Tensor]) -> Tensor:
        """The parent's states at the masks, `[B, N, D]`, one for each label."""
        prompt = torch.tensor(self.more["prompt"], device=batch["input_ids"].device).expand(len(batch["input_ids"]), -1)
        # The prompt stands first: what follows a sentence in its batch must not move it.
        ids = torch.cat([prompt, batch["input_ids"]], 1)[:, : self.config.max_pieces]
        mask = torch.cat([torch.ones_like(prompt), batch["attention_mask"]], 1)[:, : self.config.max_pieces]
        states = self.parent["encoder"](input_ids=ids, attention_mask=mask).last_hidden_state
        return self.dropout(states[:, self.more["masks"]])

    def mixed(self, units: Tensor, masks: Tensor) -> Tensor:
        """The child's units `[B, L, D]` after attention to the parent's masks `[B, N, D]`."""
        weights = (self.attention(units) @ masks.transpose(1, 2) * units.shape[-1] ** -0.5).softmax(-1)
        return self.mixed_norm(units + weights @ masks)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        return self.mixed(self.unit_states(batch), self.mask_states(batch))

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The child's, and the parent's: which labels the sentence has, mean over labels."""
        masks = self.mask_states(batch)
        states = self.mixed(self.unit_states(batch), masks)
        child = self.tags.loss(states, real_units(batch, states), batch["span_labels"])
        columns = torch.arange(len(self.config.target_labels), device=states.device)
        targets = (batch["span_labels"][..., 2, None] == columns).any(1).to(masks.dtype)  # (B, targets)
        gold = torch.cat([targets, batch["implicit"].to(masks.dtype)], 1)
        parent = F.binary_cross_entropy_with_logits(self.occurs(masks).squeeze(-1), gold, reduction="none").mean(1)
        return child + PARENT_WEIGHT * parent


def fitting_prompt(labels: Sequence[str], implicit: Sequence[str], encoder: str) -> dict[str, Any]:
    """
    `prompt`, `masks` and `implicit` of `Pcbert`: the prompt has at most half of what the encoder reads at once, the
    last implicit labels are left out for it.

    Raises:
        InputError: the names of the targets alone need more.
    """
    tokenizer, most = load_tokenizer(encoder, "character"), max_pieces(load_config(encoder))
    for kept in range(len(implicit), -1, -1):
        prompt, masks = prompt_of([*labels, *implicit[:kept]], tokenizer)
        if most is None or len(prompt) <= most // 2:
            return {"prompt": prompt, "masks": masks, "implicit": list(implicit[:kept])}
    raise InputError(
        f"pcbert: the names of {len(labels)} labels are a prompt of {len(prompt)} pieces, and the encoder reads {most} "
        "at once, of which the sentence needs half; mend: give labels shorter names, take an encoder that reads more, "
        "or the row lebert, which has no prompt"
    )


def prompt_of(labels: Sequence[str], tokenizer: Any) -> tuple[list[int], list[int]]:
    """The pieces of the labels' names with a mask behind each, and where the masks stand."""
    start, end = (
        next((i for i in ids if i is not None), None)
        for ids in ((tokenizer.cls_token_id, tokenizer.bos_token_id), (tokenizer.sep_token_id, tokenizer.eos_token_id))
    )
    prompt, masks = [] if start is None else [start], []
    for label in labels:
        name = label.removeprefix(IMPLICIT).replace(".", " ").replace("_", " ").lower()
        prompt += tokenizer(name, add_special_tokens=False)["input_ids"]
        masks.append(len(prompt))
        prompt.append(tokenizer.mask_token_id)
    return prompt + ([] if end is None else [end]), masks
