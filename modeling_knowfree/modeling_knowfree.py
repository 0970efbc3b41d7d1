"""The KnowFREE span model, top to bottom in the order data meets it. Equation numbers: Lai et al., ACL version.

Letters in shape comments: B sentences, P pieces, L padded units (= P, since every unit has a piece), U = all units of
the batch without padding, D encoder size, D' = config.head_size, D̃ = config.span_size, W widths scored, N label
columns, ω = config.attention_window, h heads.

The spans of eq 8 are made in `bands_knowfree`, what they hear from their neighbours in `mixers_knowfree`, and what the
units say of them in `votes_knowfree`; `tags_knowfree` has a second loss. These two are not in the paper.
"""

import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .bands_knowfree import MultiHeadBiaffine, PackedBand, PackedBlock, Plane, TiledBand, TiledBlock
from .configuration_knowfree import TRAVELLING_FILES, KnowFreeConfig
from .mixers_knowfree import MIXERS
from .tags_knowfree import UnitTags, word_columns
from .votes_knowfree import UnitVotes

# Cells of dense planes that are scored at once outside of training: `[cells, D̃]` some times over, 1 GB at D̃ = 200.
DENSE_CELLS = 200_000


@dataclass
class KnowFreeOutput(ModelOutput):
    """
    Args:
        loss (`Tensor` `[]`, *optional*): eqs 13-14, when `span_labels` were given.
        logits (`Tensor` `[B, L, W, n]`): band layout, entry (i, d) is the span `[i, i+1+d)`; cells outside the
            sentence hold the dtype's minimum. n = targets, or all labels with `span_labels` or
            `output_extension_logits`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


@dataclass
class KnowFreeModelOutput(ModelOutput):
    """
    Args:
        last_hidden_state (`Tensor` `[B, P, D]`): one state a unit; as wide as the pieces, zero after the units.
    """

    last_hidden_state: Tensor | None = None


class KnowFreePreTrainedModel(PreTrainedModel):
    config: KnowFreeConfig
    config_class = KnowFreeConfig
    base_model_prefix = "knowfree"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MultiHeadBiaffine):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            module.reset_parameters()  # smaller weights than Xavier's: worth 2 F1 on 27 sentences, benchmarks/TRIALS.md
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, UnitVotes):
            nn.init.zeros_(module.weight)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """`PreTrainedModel.from_pretrained`, from safetensors alone.

        Raises:
            ValueError: some weights are missing or left over; what the model finds would be noise.
        """
        kwargs.setdefault("use_safetensors", True)
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        model, told = loaded
        wrong = {"missing": told["missing_keys"]}
        if not isinstance(model, KnowFreeModel):  # that one has no use for the span head's
            wrong["left over"] = told["unexpected_keys"]
        for how, names in wrong.items():
            if names:
                raise ValueError(
                    f"{pretrained_model_name_or_path}: {len(names)} weights are {how}, such as {min(names)}: "
                    "model.safetensors and config.json belong to different models; copy both from one folder"
                )
        return (model, told) if output_loading_info else model

    def resize_token_embeddings(self, *args, **kwargs):
        """`PreTrainedModel.resize_token_embeddings`, told in the encoder's configuration, by which it is loaded."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        self.config.encoder_config.vocab_size = embeddings.num_embeddings
        return embeddings

    def save_pretrained(self, save_directory, *args, drop_extension_labels: bool = False, **kwargs):
        """`PreTrainedModel.save_pretrained`, and with it the code, so that the folder loads with remote code.

        Args:
            drop_extension_labels: leave the extension columns out of the checkpoint.
        """
        kept = self.config
        self.config = _with_remote_code(kept, Path(save_directory))
        try:
            if drop_extension_labels:
                targets = len(kept.target_labels)
                self.config.extension_labels, self.config.extension_weights = [], []
                state = kwargs.pop("state_dict", None) or self.state_dict()
                kwargs["state_dict"] = {
                    name: value[:targets].clone() if name.startswith("classifier.") else value
                    for name, value in state.items()
                    if not name.startswith("extension_tags.")
                }
            super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            self.config = kept


def _with_remote_code(config: KnowFreeConfig, folder: Path) -> KnowFreeConfig:
    """Copy the code that inference needs into `folder`; return the config that names it, for the Auto classes and
    `pipeline("knowfree")`."""
    # Imported here for its file: remote loading brings along what this module imports, so a model that came from the
    # Hub can be saved with its pipeline again.
    from .pipeline_knowfree import KnowFreePipeline

    folder.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    for name in TRAVELLING_FILES:
        source, copy = here / name, folder / name
        if not (copy.exists() and copy.samefile(source)):
            shutil.copyfile(source, copy)
    named = deepcopy(config)
    named.auto_map = {
        "AutoConfig": "configuration_knowfree.KnowFreeConfig",
        "AutoModel": "modeling_knowfree.KnowFreeModel",
        "AutoModelForTokenClassification": "modeling_knowfree.KnowFreeForTokenClassification",
    }
    named.custom_pipelines = {  # type: ignore[assignment]
        "knowfree": {
            "impl": f"pipeline_knowfree.{KnowFreePipeline.__name__}",
            "pt": ["AutoModelForTokenClassification"],
            "type": "text",
        }
    }
    return named


class KnowFreeModel(KnowFreePreTrainedModel):
    """Encoder and pooling of pieces: one state a unit."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder_config)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = nn.Identity()  # some encoders call it, whoever reads it
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        unit_ids: Tensor | None = None,
        num_units: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> KnowFreeModelOutput:
        """
        Args:
            input_ids: `[B, P]`.
            attention_mask: `[B, P]`, 1 on pieces, 0 on padding; without it all are pieces.
            unit_ids: `[B, P]`, the unit each piece belongs to; -1 for special pieces and padding.
            num_units: `[B]`, units in each sentence; every unit has a piece.
            token_type_ids: `[B, P]`, for encoders that know them.

        Raises:
            ValueError: without `unit_ids` and `num_units`: a tokenizer's output does not have them.
        """
        if unit_ids is None or num_units is None:
            raise ValueError(_UNITS_MISSING)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        pieces = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **extra).last_hidden_state
        return KnowFreeModelOutput(last_hidden_state=pool_pieces(pieces, unit_ids, self.config.pooling))


_UNITS_MISSING = (
    "a KnowFREE model scores spans of units, and needs unit_ids [B, P] and num_units [B] beside input_ids; a tokenizer "
    'alone does not make them. For text: pipeline("knowfree", model=FOLDER_OR_REPO, trust_remote_code=True)(text). For '
    "the forward: KnowFreeCollator(tokenizer.pad_token_id)([vars(p) for p in encode_units(tokenizer, [units])]), "
    "units being a list of strings; both functions are in units_knowfree.py"
)


def pool_pieces(pieces: Tensor, unit_ids: Tensor, how: str) -> Tensor:
    """Piece states `[B, P, D]` to unit states `[B, P, D]`, zero where there is no unit; `unit_ids` `[B, P]`, -1 belongs
    to none. No sentence has more units than pieces, so a shape that is known holds them."""
    length = unit_ids.shape[1]
    slots = torch.where(unit_ids >= 0, unit_ids, length)  # the slot after the last unit takes what no unit owns
    if how == "first":
        later = F.pad(unit_ids[:, 1:] == unit_ids[:, :-1], (1, 0))
        slots = slots.masked_fill(later, length)
    index = slots.unsqueeze(-1).expand_as(pieces)  # (B, P, D)
    if how == "max":
        lowest = torch.finfo(pieces.dtype).min
        units = F.pad(torch.full_like(pieces, lowest), (0, 0, 0, 1), value=lowest)  # (B, L + 1, D)
        units = units.scatter_reduce(1, index, pieces, "amax")
        units = units.masked_fill(units == lowest, 0)
    else:
        empty = F.pad(torch.zeros_like(pieces), (0, 0, 0, 1))
        units = empty.scatter_add(1, index, pieces)
        if how == "mean":
            count = empty[..., :1].scatter_add(1, index[..., :1], torch.ones_like(pieces[..., :1]))
            units = units / count.clamp(min=1)
    return units[:, :length]


class KnowFreeForTokenClassification(KnowFreePreTrainedModel):
    """Scores every span of a sentence for every label; see `decoding_knowfree` for what becomes of the scores."""

    accepts_loss_kwargs = False

    def __init__(self, config: KnowFreeConfig):
        super().__init__(config)
        self.knowfree = KnowFreeModel(config)
        size = config.encoder_config.hidden_size
        self.start_mlp = nn.Linear(size, config.head_size)
        self.end_mlp = nn.Linear(size, config.head_size)
        self.biaffine = MultiHeadBiaffine(config)
        name, mixer = MIXERS[config.span_mixer]
        setattr(self, name, mixer(config))
        if config.span_mixer == "local_attention":
            self.norm = nn.LayerNorm(config.span_size)
        self.votes = UnitVotes(config) if config.unit_votes else None
        targets = len(config.target_labels)
        self.tags = UnitTags(size, list(range(targets))) if config.tag_weight else None
        self.classifier = nn.Linear(config.span_size, targets + len(config.extension_labels))
        words = word_columns(config) if config.extension_tag_weight else {}
        self.extension_tags = nn.ModuleDict({kind: UnitTags(size, columns) for kind, columns in words.items()})
        self.dropout = nn.Dropout(config.head_dropout)
        self.post_init()

    @property
    def mixer(self) -> nn.Module:
        return getattr(self, MIXERS[self.config.span_mixer][0])

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        unit_ids: Tensor | None = None,
        num_units: Tensor | None = None,
        span_labels: Tensor | None = None,
        loss_weights: Tensor | None = None,
        output_extension_logits: bool = False,
        span_weights: Tensor | None = None,
        has_extensions: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> KnowFreeOutput:
        """
        Args:
            input_ids, attention_mask, unit_ids, token_type_ids: `[B, P]`, see `KnowFreeModel.forward`.
            num_units: `[B]`.
            span_labels: `[B, S, 3]`, start, end (exclusive), label column; rows of -100 are padding. The column `~c`
                leaves label c of that span out of the loss.
            loss_weights: `[B]`, 1, or β for synthetic sentences (eq 14).
            output_extension_logits: score the extension labels too.
            span_weights: `[B, S]`, how much each of `span_labels` is gold, 0 to 1; without it all are 1.
            has_extensions: `[B]`; where false nobody looked for extension labels, and the sentence takes no part in
                their loss; without it all were looked at.

        Raises:
            ValueError: without `unit_ids` and `num_units`.
        """
        units = self.knowfree(input_ids, attention_mask, unit_ids, num_units, token_type_ids).last_hidden_state
        assert num_units is not None  # the encoder's forward refused it
        wanted = len(self.config.target_labels)
        if span_labels is not None or output_extension_logits:
            wanted += len(self.config.extension_labels)
        units = self.dropout(units)
        logits = self.score(units, num_units, wanted)
        loss = None
        if span_labels is not None:
            loss = self._loss(logits, num_units, span_labels, loss_weights, span_weights, has_extensions)
            scale = torch.ones_like(num_units, dtype=loss.dtype) if loss_weights is None else loss_weights
            if self.config.loss_reduction == "mean":
                scale = scale / num_units.clamp(min=1)
            if self.tags is not None:
                of_tags = self.tags.loss(units, num_units, span_labels, span_weights)  # (B,)
                loss = loss + self.config.tag_weight * (of_tags * scale).mean()
            if has_extensions is not None:
                scale = scale * has_extensions
            for tags in self.extension_tags.values():
                of_tags = tags.loss(units, num_units, span_labels, span_weights)  # type: ignore[operator]
                loss = loss + self.config.extension_tag_weight * (of_tags * scale).mean()
        return KnowFreeOutput(loss=loss, logits=logits)

    def score(self, units: Tensor, num_units: Tensor, columns: int) -> Tensor:
        """Unit states `[B, L, D]` to logits `[B, L, W, columns]`, eqs 7-12. A width limit: a narrower band whose cells
        attend to the same neighbours as in the full one: ω cells below the diagonal, ω above the widest span."""
        length = units.shape[1]
        reach: int | None = self.mixer.reach  # type: ignore[assignment]
        if reach is None and not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
            most = max(1, DENSE_CELLS // length**2)
            if len(units) > most:  # a dense plane is as large as its longest sentence, for each of the batch
                parts = zip(units.split(most), num_units.split(most), strict=True)
                return torch.cat([self.score(*part, columns) for part in parts])
        limit = torch.sym_min(length, self.config.max_span_width or length)
        starts, ends = F.leaky_relu(self.start_mlp(units)), F.leaky_relu(self.end_mlp(units))  # eq 7, (B, L, D')
        real = torch.arange(length, device=units.device) < num_units[:, None]  # (B, L)
        given = (self.biaffine, starts, ends, real, limit)
        spans: Plane | PackedBand | TiledBand
        if reach is None:
            spans = Plane.of(*given, 0, 0)
        elif torch.compiler.is_compiling():
            spans = Plane.of(*given, reach, self.config.max_span_width or 0)
        else:
            spans = (PackedBand if units.device.type == "cpu" else TiledBand)(*given, reach)
        weight, bias = self.classifier.weight[:columns], self.classifier.bias[:columns]
        logits = spans.logits([F.linear(self._mixed(block), weight, bias) for block in spans])  # eq 12
        if self.votes is not None:
            votes = self.votes(units, limit)
            logits[..., : votes.shape[-1]].add_(votes)
        outside = ~band_mask(num_units, length, limit).unsqueeze(-1)
        return logits.masked_fill(outside, torch.finfo(logits.dtype).min)

    def _mixed(self, block: PackedBlock | TiledBlock | Plane) -> Tensor:
        """Eqs 10 and 11, and the sum `H_B + H_G` that eq 12 maps: the block's wanted spans, each with what it hears
        from its neighbours."""
        mixed = self.mixer(block)
        if mixed is None:
            return block.wanted
        if self.config.span_mixer == "local_attention":
            mixed = layer_norm(self.norm, mixed)
        return mixed.add_(block.wanted)

    def _loss(
        self,
        logits: Tensor,
        num_units: Tensor,
        span_labels: Tensor,
        loss_weights: Tensor | None,
        span_weights: Tensor | None,
        has_extensions: Tensor | None,
    ) -> Tensor:
        """Eqs 13-15: binary cross-entropy of every span of the sentence against every label."""
        batch, length, limit, columns = logits.shape
        exact = torch.promote_types(logits.dtype, torch.float32)  # half precision is too coarse for a sum over cells
        targets = len(self.config.target_labels)
        alphas = [1.0] * targets + self.config.extension_weights
        weights = torch.tensor(alphas, dtype=exact, device=logits.device).expand(batch, -1)  # (B, N)
        if has_extensions is not None:
            extension = torch.arange(columns, device=logits.device) >= targets
            weights = weights * ~(extension & ~has_extensions.bool()[:, None])
        # BCE(x, y) = softplus(x) - x·y: the gold is subtracted where it lies, no grid of targets is built.
        # Cells outside the sentence hold the dtype's minimum, whose softplus is 0.
        of_labels = F.softplus(logits.to(exact)).sum((1, 2)) * weights  # (B, N)
        start, end, column = span_labels.unbind(-1)  # (B, S) each
        left_out, column = column < 0, torch.where(column < 0, ~column, column).clamp(max=columns - 1)
        width = end - start - 1
        reachable = (start >= 0) & (width < limit) & (end <= num_units[:, None])
        sentence = torch.arange(batch, device=logits.device)[:, None]
        at_gold = logits[sentence, start.clamp(0, length - 1), width.clamp(0, limit - 1), column].to(exact)
        gold = at_gold if span_weights is None else at_gold * span_weights
        gold = torch.where(left_out, F.softplus(at_gold), gold) * weights.gather(1, column)
        of_labels = of_labels.scatter_add(1, column, -gold.masked_fill(~reachable, 0))
        scale = torch.ones_like(weights[:, 0]) if loss_weights is None else loss_weights
        if self.config.loss_reduction == "mean":
            scale = scale / band_mask(num_units, length, limit).sum((1, 2)).clamp(min=1)
        of_targets, of_extensions = (
            (part.sum(-1) * scale).mean() for part in of_labels.split([targets, columns - targets], 1)
        )
        if self.config.extension_limit is not None:
            # At every update, not the first alone: targets are learnt by heart before a hundred other labels are, whose
            # gradient would then be all that is left.
            most = self.config.extension_limit * of_targets.detach()
            of_extensions = of_extensions * (most / of_extensions.detach().clamp(min=1e-12)).clamp(max=1)
        return of_targets + of_extensions


def layer_norm(norm: nn.LayerNorm, spans: Tensor) -> Tensor:
    """`norm(spans)` in the spans' own precision: autocast would take them to fp32, twice the bytes."""
    if norm.weight.dtype == spans.dtype:
        return norm(spans)
    with torch.autocast(spans.device.type, enabled=False):
        weight, bias = norm.weight.to(spans.dtype), norm.bias.to(spans.dtype)
        return F.layer_norm(spans, norm.normalized_shape, weight, bias, norm.eps)


def band_mask(num_units: Tensor, length: int, limit: int) -> Tensor:
    """`[B, length, limit]`, true where the span `[i, i+1+d)` lies inside its sentence."""
    position = torch.arange(length, device=num_units.device)
    end = position[:, None] + torch.arange(1, limit + 1, device=num_units.device)
    return end <= num_units[:, None, None]
