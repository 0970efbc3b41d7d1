"""The KnowFREE span model, top to bottom in the order data meets it. Equation numbers: Lai et al., ACL version.

Letters in shape comments: B sentences, P pieces, L units, U = all units of the batch without padding, D encoder size,
D' = config.head_size, D̃ = config.span_size, W widths scored, N label columns, ω = config.attention_window.
"""

import shutil
from bisect import bisect_right
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_knowfree import KnowFreeConfig

# The width embedding of the released code: last unit - first unit, clipped.
MIN_WIDTH, MAX_WIDTH = -15, 14
# Span cells worked on together: large enough to hide Python, small enough that a block's tensors stay in cache.
CELLS_PER_BLOCK = {"cpu": 2000, "cuda": 65536}
# Starts whose biaffine matrices (40 KB each) one product makes: enough that reading its weight costs nothing.
STARTS_AT_ONCE = 256


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
        last_hidden_state (`Tensor` `[B, L, D]`): one state a unit; zero after the sentence's end.
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
            module.reset_parameters()  # smaller weights than Xavier's: worth 2 F1 on 27 sentences, benchmarks/README.md
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

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
    for part in ("configuration", "modeling", "decoding", "units", "pipeline"):
        source, copy = here / f"{part}_knowfree.py", folder / f"{part}_knowfree.py"
        if not (copy.exists() and copy.samefile(source)):
            shutil.copyfile(source, copy)
    named = deepcopy(config)
    named.auto_map = {
        "AutoConfig": "configuration_knowfree.KnowFreeConfig",
        "AutoModel": "modeling_knowfree.KnowFreeModel",
        "AutoModelForTokenClassification": "modeling_knowfree.KnowFreeForTokenClassification",
    }
    named.custom_pipelines = {
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
            self.encoder.pooler = None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, unit_ids: Tensor, num_units: Tensor
    ) -> KnowFreeModelOutput:
        """
        Args:
            input_ids: `[B, P]`.
            attention_mask: `[B, P]`, 1 on pieces, 0 on padding.
            unit_ids: `[B, P]`, the unit each piece belongs to; -1 for special pieces and padding.
            num_units: `[B]`, units in each sentence.
        """
        pieces = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, P, D)
        length = int(num_units.max())
        return KnowFreeModelOutput(last_hidden_state=pool_pieces(pieces, unit_ids, length, self.config.pooling))


def pool_pieces(pieces: Tensor, unit_ids: Tensor, length: int, how: str) -> Tensor:
    """Piece states `[B, P, D]` to unit states `[B, length, D]`; `unit_ids` `[B, P]`, -1 belongs to no unit."""
    batch, _, size = pieces.shape
    slots = torch.where(unit_ids >= 0, unit_ids, length)  # the slot after the last unit takes what no unit owns
    if how == "first":
        later = F.pad(unit_ids[:, 1:] == unit_ids[:, :-1], (1, 0))
        slots = slots.masked_fill(later, length)
    index = slots.unsqueeze(-1).expand(-1, -1, size)  # (B, P, D)
    reduce = "amax" if how == "max" else "mean"
    units = pieces.new_zeros(batch, length + 1, size)
    return units.scatter_reduce(1, index, pieces, reduce, include_self=False)[:, :length]


class UnitIndex:
    """Where the real units of a padded batch lie, so that the span head never works on padding: `mask` `[B, L]`; and of
    each unit, how many of its sentence lie `before` `[U]` and `after` it `[U]`, itself included."""

    def __init__(self, num_units: Tensor, length: int):
        position = torch.arange(length, device=num_units.device)
        self.mask = position < num_units[:, None]  # (B, L)
        self.before = position.expand_as(self.mask)[self.mask]
        self.after = (num_units[:, None] - position)[self.mask]

    def blocks(self, limit: int, cells: int):
        """Yield lists of `(rows, longest, shortest)`: flat unit indices to start spans from, widest first, and their
        largest and smallest width, at most `limit`. A list has about `STARTS_AT_ONCE` rows. A block has about `cells`
        cells, and ends sooner where its narrower rows would waste more than a new block's start costs."""
        widths, order = self.after.clamp(max=limit).sort(descending=True, stable=True)
        longest, area = widths.tolist(), [0, *widths.cumsum(0).tolist()]
        start = 0
        while start < len(longest):
            group, enough = [], start + STARTS_AT_ONCE
            while start < min(enough, len(longest)):
                width, before = longest[start], area[start] - start * longest[start]
                stops = range(start + 1, min(len(longest), start + max(1, cells // width)) + 1)
                waste = [stop * width - area[stop] + before for stop in stops]
                stop = stops[bisect_right(waste, cells // 16) - 1]
                group.append((order[start:stop], width, longest[stop - 1]))
                start = stop
            yield group

    def borders(self, rows: Tensor, width: int, shortest: int, window: int) -> list[tuple[int, Tensor]]:
        """Which neighbours are not in the sentence, for the spans from `rows` at offsets 0 … width-1: pairs of a first
        cell and a mask `[2ω+1, cells]`. Only the ω first offsets, and those from ω before the end of the shortest row,
        can have such neighbours; no mask is made for the others."""
        near = torch.arange(-window, window + 1, device=rows.device).view(-1, 1, 1)
        found = []
        for first, last in (0, min(window, width)), (max(window, shortest - window), width):
            cells = near + torch.arange(first, max(first, last), device=rows.device).unsqueeze(-1)
            outside = (cells < -self.before[rows]) | (cells >= self.after[rows])  # (2ω+1, offsets, R)
            found.append((first * len(rows), outside.flatten(1)))
        return found


class MultiHeadBiaffine(nn.Module):
    """Eq 8: `H_B[i, j, h·out + d] = Σ_xy H_s[i, h, x] W[h, d, x, y] H_e[j, h, y]` plus a linear term over
    `[H_s; 1; H_e; 1; width embedding]`."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        heads, size = config.biaffine_heads, config.head_size // config.biaffine_heads
        self.heads = heads
        self.weight = nn.Parameter(torch.empty(heads, config.span_size // heads, size, size))
        # The linear term's weight cut by what it multiplies: no [H_s; H_e; …] is ever built for a span.
        self.start = nn.Linear(config.head_size, config.span_size)
        self.end = nn.Linear(config.head_size, config.span_size)
        self.has_width = config.width_embedding_size > 0
        if self.has_width:
            self.width_embedding = nn.Embedding(MAX_WIDTH - MIN_WIDTH + 1, config.width_embedding_size)
            self.width = nn.Linear(config.width_embedding_size, config.span_size, bias=False)
        self.dropout = nn.Dropout(config.head_dropout)

    def terms(self, starts: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The linear term's summands: by start `[U, D̃]`, by end `[U, D̃]`, by width `[30, D̃]`."""
        by_width = self.width(self.dropout(self.width_embedding.weight)) if self.has_width else None
        return self.start(self.dropout(starts)), self.end(self.dropout(ends)), by_width

    def matrices(self, starts: Tensor) -> Tensor:
        """`[R, D']` -> `[R, h, y, d]`, `Σ_x H_s[i, h, x] W[h, d, x, y]`: the part of eq 8 that all ends share."""
        by_head = starts.unflatten(1, (self.heads, -1)).transpose(0, 1)  # (h, R, x)
        product = by_head @ self.weight.permute(0, 2, 3, 1).flatten(2)  # (h, R, y·d)
        return product.transpose(0, 1).contiguous().unflatten(2, (by_head.shape[2], -1))

    def forward(self, matrices: Tensor, ends: Tensor, terms: tuple, rows: Tensor, offsets: Tensor) -> Tensor:
        """Spans from the units `rows` `[R]` (`matrices` are theirs) to the units `offsets` `[C]` further: `[C, R, D̃]`.
        `ends` `[U, D']` as in eq 7. Cells that leave the sentence hold numbers without meaning."""
        by_start, by_end, by_width = terms
        matrices = matrices.flatten(0, 1)  # (R·h, y, d)
        last = (rows + offsets[:, None]).clamp(0, len(ends) - 1)  # (C, R)
        # F.embedding is as fast as indexing, and its gradient much faster.
        right = F.embedding(last, ends).view(len(offsets), *matrices.shape[:2]).transpose(0, 1)  # (R·h, C, y)
        product = torch.baddbmm(F.embedding(rows, by_start).view(len(matrices), 1, -1), right, matrices)  # (R·h, C, d)
        spans = F.embedding(last, by_end)  # (C, R, D̃)
        if by_width is not None:
            spans += by_width[offsets.clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH].unsqueeze(1)
        return (spans.view(len(offsets), len(matrices), -1) + product.transpose(0, 1)).view_as(spans)


class BandAttention(torch.autograd.Function):
    """
    Eq 10 between the 2ω+1 cells around each cell, channels first: a neighbour is a shift of the flat cell axis, so
    every step is one pass over contiguous memory, and neither a score matrix nor a gathered neighbour is ever built.
    Autograd would give each shifted slice a gradient tensor of its own; `backward` adds them up in place.

    Shapes: queries `[K, c, n]`, keys and values `[2, K, c, m]`, cell i of the queries having neighbours i, i + step, …,
    i + 2ω·step. `borders` names neighbours that are not in the sentence: pairs of the first cell and a mask
    `[2ω+1, cells]`. Returns `[K, c, n]`.
    """

    @staticmethod
    def forward(ctx, queries: Tensor, keys_values: Tensor, borders: list[tuple[int, Tensor]], reach: int, step: int):
        near_keys, near_values = (_neighbours(part, reach, step, queries.shape[-1]) for part in keys_values)
        scores = queries.new_empty(reach, len(queries), queries.shape[-1])
        product = torch.empty_like(queries)
        for score, keys in zip(scores, near_keys, strict=True):
            torch.mul(_as_many(queries, keys), keys, out=_as_many(product, keys))
            torch.sum(product, 1, out=score)
        # The finite minimum: a cell with no neighbour in the sentence must not become NaN.
        for first, outside in borders:
            at_border = scores[..., first : first + outside.shape[-1]]
            at_border.masked_fill_(outside.unsqueeze(1), torch.finfo(scores.dtype).min)
        weights = scores.softmax(0)
        by_shift = weights.unsqueeze(2).unbind()
        mixed = by_shift[0] * near_values[0]
        for weight, values in zip(by_shift[1:], near_values[1:], strict=True):
            _as_many(mixed, values).addcmul_(_as_many(weight, values), values)
        ctx.save_for_backward(queries, keys_values, weights)
        ctx.step = step
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        queries, keys_values, weights = ctx.saved_tensors
        shifts = len(weights), ctx.step, queries.shape[-1]
        grad_queries, grad_keys_values = torch.zeros_like(queries), torch.zeros_like(keys_values)
        near_keys, near_values = (_neighbours(part, *shifts) for part in keys_values)
        near_grad_keys, near_grad_values = (_neighbours(part, *shifts) for part in grad_keys_values)
        grad_weights, product = torch.zeros_like(weights), torch.empty_like(queries)
        parts = zip(weights.unsqueeze(2), grad_weights, near_values, near_grad_values, strict=True)
        for weight, grad_weight, values, grad_values in parts:
            grad_here, product_here = _as_many(grad, values), _as_many(product, values)
            torch.mul(grad_here, values, out=product_here)
            torch.sum(product_here, 1, out=_as_many(grad_weight, values))
            grad_values.addcmul_(_as_many(weight, values), grad_here)
        grad_scores = grad_weights.sub_((weights * grad_weights).sum(0)).mul_(weights).unsqueeze(2)  # softmax
        for grad_score, keys, grad_keys in zip(grad_scores, near_keys, near_grad_keys, strict=True):
            grad_score = _as_many(grad_score, keys)
            _as_many(grad_queries, keys).addcmul_(grad_score, keys)
            grad_keys.addcmul_(grad_score, _as_many(queries, keys))
        return grad_queries, grad_keys_values, None, None, None


# `narrow` costs less than an index, and a block has some hundred slices: 2 % of a training step's head.
def _neighbours(cells: Tensor, reach: int, step: int, count: int) -> list[Tensor]:
    """`cells[…, s·step : s·step + count]` for the 2ω+1 shifts s; shorter where the cells end: what would lie beyond is
    in no sentence."""
    firsts = [min(shift * step, cells.shape[-1]) for shift in range(reach)]
    return [cells.narrow(-1, first, min(count, cells.shape[-1] - first)) for first in firsts]


def _as_many(cells: Tensor, beside: Tensor) -> Tensor:
    """The first cells, as many as `beside` has."""
    here = beside.shape[-1]
    return cells if cells.shape[-1] == here else cells.narrow(-1, 0, here)


class LocalAttention(nn.Module):
    """Eqs 9-10: multi-head self-attention along the end index, each start by itself, over the 2ω+1 nearest ends."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        self.heads, self.window = config.attention_heads, config.attention_window
        self.query = nn.Linear(config.span_size, config.span_size)
        self.key = nn.Linear(config.span_size, config.span_size, bias=False)  # softmax would cancel it
        self.value = nn.Linear(config.span_size, config.span_size)
        self.output = nn.Linear(config.span_size, config.span_size)

    def forward(self, wanted: Tensor, spans: Tensor, borders: list[tuple[int, Tensor]]) -> Tensor:
        """Cells `wanted` `[width·R, D̃]` at offsets 0 … width-1, `spans` `[C, R, D̃]` at offsets -ω, … -> what `wanted`
        attend to `[width·R, D̃]`; C ≤ width + 2ω, and neighbours beyond C are among `borders`, see `BandAttention`."""
        rows, size = spans.shape[1:]
        by_head = (self.heads, size // self.heads)
        scale = by_head[1] ** -0.5
        queries = torch.addmm(scale * self.query.bias[:, None], scale * self.query.weight, wanted.t())  # (D̃, width·R)
        keys_values = torch.cat([self.key.weight, self.value.weight]) @ spans.view(-1, size).t()  # (2·D̃, C·R)
        queries, keys_values = queries.unflatten(0, by_head), keys_values.unflatten(0, (2, *by_head))
        mixed = BandAttention.apply(queries, keys_values, borders, 2 * self.window + 1, rows)
        # Weights sum to 1: the value's bias comes through unchanged, and is added here to vectors, not to cells.
        bias = F.linear(self.value.bias, self.output.weight, self.output.bias)
        return F.linear(mixed.flatten(0, 1).t(), self.output.weight, bias)


class MaskedCNN(nn.Module):
    """The ablation of `span_mixer="cnn"`: blocks of 3x3 convolution over the (start, end) plane, padding held at 0
    (Yan et al. 2023). Dense in L, and exempt from the band."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        size = config.span_size
        self.convolutions = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1) for _ in range(config.cnn_depth))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(config.cnn_depth))

    def forward(self, spans: Tensor, inside: Tensor) -> Tensor:
        """`spans` `[B, L, L, D̃]`, `inside` `[B, L, L]` -> `[B, L, L, D̃]`."""
        inside = inside.unsqueeze(-1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            spans = spans * inside
            mixed = convolution(spans.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            spans = F.gelu(norm(spans + mixed))
        return spans


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
        if config.span_mixer == "local_attention":
            self.attention = LocalAttention(config)
            self.norm = nn.LayerNorm(config.span_size)
        elif config.span_mixer == "cnn":
            self.cnn = MaskedCNN(config)
        self.classifier = nn.Linear(config.span_size, len(config.target_labels) + len(config.extension_labels))
        self.dropout = nn.Dropout(config.head_dropout)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        unit_ids: Tensor,
        num_units: Tensor,
        span_labels: Tensor | None = None,
        loss_weights: Tensor | None = None,
        output_extension_logits: bool = False,
    ) -> KnowFreeOutput:
        """
        Args:
            input_ids, attention_mask, unit_ids: `[B, P]`, see `KnowFreeModel.forward`.
            num_units: `[B]`.
            span_labels: `[B, S, 3]`, start, end (exclusive), label column; rows of -100 are padding. The column `~c`
                leaves label c of that span out of the loss.
            loss_weights: `[B]`, 1, or β for synthetic sentences (eq 14).
            output_extension_logits: score the extension labels too.
        """
        units = self.knowfree(input_ids, attention_mask, unit_ids, num_units).last_hidden_state  # (B, L, D)
        wanted = len(self.config.target_labels)
        if span_labels is not None or output_extension_logits:
            wanted += len(self.config.extension_labels)
        score = self._score_dense if self.config.span_mixer == "cnn" else self._score_band
        logits = score(self.dropout(units), num_units, wanted)
        loss = None if span_labels is None else self._loss(logits, num_units, span_labels, loss_weights)
        return KnowFreeOutput(loss=loss, logits=logits)

    def _classify(self, spans: Tensor, columns: int) -> Tensor:
        return F.linear(spans, self.classifier.weight[:columns], self.classifier.bias[:columns])

    def _score_band(self, units: Tensor, num_units: Tensor, columns: int) -> Tensor:
        """`[B, L, D]` -> `[B, L, W, columns]`. A width limit is a narrower band whose cells attend to the same
        neighbours as in the full one: ω cells below the diagonal, ω above the widest span."""
        config = self.config
        batch, length, _ = units.shape
        index = UnitIndex(num_units, length)
        flat = units[index.mask]  # (U, D)
        starts, ends = F.leaky_relu(self.start_mlp(flat)), F.leaky_relu(self.end_mlp(flat))  # eq 7, (U, D')
        terms = self.biaffine.terms(starts, ends)
        window = config.attention_window if config.span_mixer == "local_attention" else 0
        limit = min(length, config.max_span_width or length)

        pieces: list[Tensor] = []
        cells: list[Tensor] = []
        slots = index.mask.flatten().nonzero() * limit  # (U, 1)
        block_size = CELLS_PER_BLOCK.get(units.device.type, CELLS_PER_BLOCK["cpu"])
        for group in index.blocks(limit + window, block_size):
            matrices = self.biaffine.matrices(starts[torch.cat([rows for rows, _, _ in group])])
            for (rows, longest, shortest), own in zip(group, matrices.split([len(b[0]) for b in group]), strict=True):
                width = min(longest, limit)
                offsets = torch.arange(-window, longest, device=units.device)
                spans = self.biaffine(own, ends, terms, rows, offsets)  # (C, R, D̃)
                wanted = spans[window : window + width].flatten(0, 1)  # (width·R, D̃)
                if config.span_mixer == "local_attention":
                    mixed = self.attention(wanted, spans, index.borders(rows, width, shortest, window))
                    if config.formulation == "paper":
                        mixed += wanted
                    wanted = self.norm(mixed).add_(wanted)  # eqs 11, 12
                pieces.append(self._classify(wanted, columns))  # eq 12
                cells.append((slots[rows] + offsets[window : window + width]).t().flatten())

        found = torch.cat(pieces)
        lowest = torch.finfo(found.dtype).min
        logits = found.new_full((batch * length * limit, columns), lowest).index_copy_(0, torch.cat(cells), found)
        logits.masked_fill_(~band_mask(num_units, length, limit).view(-1, 1), lowest)
        return logits.view(batch, length, limit, columns)

    def _score_dense(self, units: Tensor, num_units: Tensor, columns: int) -> Tensor:
        """The CNN mixer's way to the same band layout, through the L×L plane of each sentence."""
        batch, length, _ = units.shape
        limit = min(length, self.config.max_span_width or length)
        flat = units.flatten(0, 1)
        starts, ends = F.leaky_relu(self.start_mlp(flat)), F.leaky_relu(self.end_mlp(flat))
        terms = self.biaffine.terms(starts, ends)
        matrices = self.biaffine.matrices(starts).unflatten(0, (batch, length)).unbind(1)
        position = torch.arange(length, device=units.device)
        planes = []
        for row in range(length):
            rows = torch.arange(batch, device=units.device) * length + row
            planes.append(self.biaffine(matrices[row], ends, terms, rows, position - row))
        spans = torch.stack(planes).permute(2, 0, 1, 3)  # (B, L, L, D̃)
        real = position < num_units[:, None]
        spans = spans + self.cnn(spans, real[:, :, None] & real[:, None, :])
        scores = self._classify(spans, columns)
        end = position[:, None] + torch.arange(limit, device=units.device)  # (L, W)
        band = scores[:, position[:, None], end.clamp(max=length - 1)]
        return band.masked_fill(~band_mask(num_units, length, limit).unsqueeze(-1), torch.finfo(band.dtype).min)

    def _loss(self, logits: Tensor, num_units: Tensor, span_labels: Tensor, loss_weights: Tensor | None) -> Tensor:
        """Eqs 13-15: binary cross-entropy of every span of the sentence against every label."""
        _, length, limit, columns = logits.shape
        exact = torch.promote_types(logits.dtype, torch.float32)  # half precision is too coarse for a sum over cells
        weights = logits.new_ones(columns, dtype=exact)
        if self.config.extension_labels:
            weights[len(self.config.target_labels) :] = weights.new_tensor(self.config.extension_weights)
        # BCE(x, y) = softplus(x) - x·y: the gold is subtracted where it lies, no grid of targets is built.
        # Cells outside the sentence hold the dtype's minimum, whose softplus is 0.
        loss = (F.softplus(logits.to(exact)).sum((1, 2)) * weights).sum(-1)  # (B,)
        start, end, column = span_labels.unbind(-1)  # (B, S) each
        left_out, column = column < 0, torch.where(column < 0, ~column, column).clamp(max=columns - 1)
        width = end - start - 1
        reachable = (start >= 0) & (width < limit) & (end <= num_units[:, None])
        sentence = torch.arange(len(logits), device=logits.device)[:, None]
        at_gold = logits[sentence, start.clamp(0, length - 1), width.clamp(0, limit - 1), column].to(exact)
        at_gold = torch.where(left_out, F.softplus(at_gold), at_gold)
        loss = loss - (at_gold * weights[column]).masked_fill(~reachable, 0).sum(-1)
        if self.config.loss_reduction == "mean":
            loss = loss / band_mask(num_units, length, limit).sum((1, 2)).clamp(min=1)
        if loss_weights is not None:
            loss = loss * loss_weights
        return loss.mean()


def band_mask(num_units: Tensor, length: int, limit: int) -> Tensor:
    """`[B, length, limit]`, true where the span `[i, i+1+d)` lies inside its sentence."""
    position = torch.arange(length, device=num_units.device)
    end = position[:, None] + torch.arange(1, limit + 1, device=num_units.device)
    return end <= num_units[:, None, None]
