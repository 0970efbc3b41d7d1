"""The KnowFREE span model, top to bottom in the order data meets it. Equation numbers: Lai et al., ACL version.

Letters in shape comments: B sentences, P pieces, L padded units (= P, since every unit has a piece), U = all units of
the batch without padding, D encoder size, D' = config.head_size, D̃ = config.span_size, W widths scored, N label
columns, ω = config.attention_window, h heads.

Three ways lead over the band of spans, to the same scores. `PackedBand`: on a CPU; real units alone, in blocks that fit
its cache. `TiledBand`: on a GPU; few large kernels over padded rectangles, planned from shapes. `Plane`: whatever
traces the forward (compile, export, ONNX); one block of plain operations, for any batch and length.
"""

import math
import shutil
from bisect import bisect_right
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_knowfree import TRAVELLING_FILES, KnowFreeConfig

# The width embedding of the released code: last unit - first unit, clipped.
MIN_WIDTH, MAX_WIDTH = -15, 14
# Span cells worked on together. Packed: large enough to hide Python, small enough that a block's tensors stay in cache.
CELLS_PER_BLOCK = 2000
# Tiled: large enough to fill a GPU; below, cutting the triangle finer costs more launches than it saves cells.
CELLS_PER_LAUNCH = 65536
# Numbers that fused attention wants a head to be a multiple of.
HEAD_MULTIPLE = {"cuda": 8}
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
            self.encoder.pooler = None
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
    'alone does not make them. For text: pipeline("knowfree", model=…, tokenizer=…, trust_remote_code=True)(text). For '
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
        """The linear term's summands: by start `[…, D̃]`, by end `[…, D̃]`, by width `[30, D̃]`."""
        by_width = self.width(self.dropout(self.width_embedding.weight)) if self.has_width else None
        return self.start(self.dropout(starts)), self.end(self.dropout(ends)), by_width

    def matrices(self, starts: Tensor) -> Tensor:
        """`[R, D']` -> `[R, h, y, d]`, `Σ_x H_s[i, h, x] W[h, d, x, y]`: the part of eq 8 that all ends share."""
        by_head = starts.unflatten(1, (self.heads, -1)).transpose(0, 1)  # (h, R, x)
        product = by_head @ self.weight.permute(0, 2, 3, 1).flatten(2)  # (h, R, y·d)
        return product.transpose(0, 1).contiguous().unflatten(2, (by_head.shape[2], -1))

    def packed(self, matrices: Tensor, ends: Tensor, terms: tuple, rows: Tensor, offsets: Tensor) -> Tensor:
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

    def rectangle(self, starts: Tensor, ends: Tensor, by_start: Tensor, by_end: Tensor, by_offset: Tensor) -> Tensor:
        """Spans from some units of every sentence, `starts` `[B, R, D']`, each to C ends in a row, which begin one
        further for every next start: `ends` `[B, R+C-1, D']`. With them the linear term's summands `[B, R, D̃]`,
        `[B, R+C-1, D̃]`, `[C, D̃]`. Returns `[B, R, C, D̃]`."""
        batch, rows, _ = starts.shape
        cells = len(by_offset)
        matrices = self.matrices(starts.flatten(0, 1)).flatten(0, 1)  # (B·R·h, y, d)
        right = ends.unfold(1, cells, 1).unflatten(2, (self.heads, -1)).permute(0, 1, 2, 4, 3)  # (B, R, h, C, y)
        offset = by_start.unflatten(2, (self.heads, 1, -1)).flatten(0, 2)  # (B·R·h, 1, d)
        product = torch.baddbmm(offset, right.flatten(0, 2), matrices).unflatten(0, (batch, rows, self.heads))
        linear = by_end.unfold(1, cells, 1).transpose(2, 3) + by_offset  # (B, R, C, D̃)
        return (linear.unflatten(3, (self.heads, -1)) + product.transpose(2, 3)).flatten(3)


@dataclass
class PackedBlock:
    """Some rows of the band, offsets first: `spans` `[C, R, D̃]` at offsets -ω, …; `wanted` `[width·R, D̃]` those at
    offsets 0 … width-1; `borders`, see `BandAttention`."""

    spans: Tensor
    wanted: Tensor
    borders: list[tuple[int, Tensor]]

    def attend(self, attention: "LocalAttention") -> Tensor:
        return attention.packed(self.wanted, self.spans, self.borders)


class PackedBand:
    """The band of spans of the real units alone, one flat list of all sentences' units, in blocks that fit a CPU's
    cache. Cutting the sentences out of their padding needs their lengths, so this way cannot be traced."""

    def __init__(self, biaffine: MultiHeadBiaffine, starts: Tensor, ends: Tensor, real: Tensor, limit: int, reach: int):
        """`starts` and `ends` `[B, L, D']` as in eq 7; `real` `[B, L]`; `limit` widths are wanted, `reach` is ω."""
        self.biaffine, self.limit, self.reach = biaffine, limit, reach
        self.shape = (*real.shape, limit)
        self.starts, self.ends = starts[real], ends[real]  # (U, D')
        self.terms = biaffine.terms(self.starts, self.ends)
        self.slots = real.flatten().nonzero() * limit  # (U, 1)
        position = torch.arange(real.shape[1], device=real.device)
        before = [position[own] for own in real]
        self.lengths = [len(own) for own in before]
        # Of each unit, how many of its sentence lie before and after it, itself included.
        self.before = torch.cat(before)  # (U)
        self.after = torch.cat([len(own) - own for own in before])
        self.cells: list[Tensor] = []

    def __iter__(self) -> Iterator[PackedBlock]:
        self.cells = []
        for group in self._plan(self.limit + self.reach):
            matrices = self.biaffine.matrices(self.starts[torch.cat([rows for rows, _, _ in group])])
            for (rows, longest, shortest), own in zip(group, matrices.split([len(b[0]) for b in group]), strict=True):
                width = min(longest, self.limit)
                offsets = torch.arange(-self.reach, longest, device=rows.device)
                spans = self.biaffine.packed(own, self.ends, self.terms, rows, offsets)  # (C, R, D̃)
                wanted = offsets[self.reach : self.reach + width]
                self.cells.append((self.slots[rows] + wanted).t().flatten())
                borders = self._borders(rows, width, shortest) if self.reach else []
                yield PackedBlock(spans, spans[self.reach : self.reach + width].flatten(0, 1), borders)

    def _plan(self, limit: int) -> Iterator[list[tuple[Tensor, int, int]]]:
        """Lists of `(rows, longest, shortest)`: flat unit indices to start spans from, widest first, and their largest
        and smallest width, at most `limit`. A list has about `STARTS_AT_ONCE` rows. A block has about `CELLS_PER_BLOCK`
        cells, and ends sooner where its narrower rows would waste more than a new block's start costs."""
        order = self.after.clamp(max=limit).sort(descending=True, stable=True).indices
        longest = sorted((min(limit, left) for n in self.lengths for left in range(1, n + 1)), reverse=True)
        area = [0, *accumulate(longest)]
        start = 0
        while start < len(longest):
            group, enough = [], start + STARTS_AT_ONCE
            while start < min(enough, len(longest)):
                width, before = longest[start], area[start] - start * longest[start]
                stops = range(start + 1, min(len(longest), start + max(1, CELLS_PER_BLOCK // width)) + 1)
                waste = [stop * width - area[stop] + before for stop in stops]
                stop = stops[bisect_right(waste, CELLS_PER_BLOCK // 16) - 1]
                group.append((order[start:stop], width, longest[stop - 1]))
                start = stop
            yield group

    def _borders(self, rows: Tensor, width: int, shortest: int) -> list[tuple[int, Tensor]]:
        """Which neighbours are not in the sentence, for the spans from `rows` at offsets 0 … width-1: pairs of a first
        cell and a mask `[2ω+1, cells]`. Only the ω first offsets, and those from ω before the end of the shortest row,
        can have such neighbours; no mask is made for the others."""
        near = torch.arange(-self.reach, self.reach + 1, device=rows.device).view(-1, 1, 1)
        found = []
        for first, last in (0, min(self.reach, width)), (max(self.reach, shortest - self.reach), width):
            cells = near + torch.arange(first, max(first, last), device=rows.device).unsqueeze(-1)
            outside = (cells < -self.before[rows]) | (cells >= self.after[rows])  # (2ω+1, offsets, R)
            found.append((first * len(rows), outside.flatten(1)))
        return found

    def logits(self, scores: list[Tensor]) -> Tensor:
        """The scores of each block's wanted spans to `[B, L, W, n]`."""
        found = torch.cat(scores)
        size, columns = self.shape[0] * self.shape[1] * self.shape[2], found.shape[1]
        band = found.new_full((size, columns), torch.finfo(found.dtype).min)
        return band.index_copy_(0, torch.cat(self.cells), found).view(*self.shape, columns)


@dataclass
class TiledBlock:
    """A rectangle of the band as one list of cells, row after row, each row with ω cells more on both sides: a
    neighbour along the end index is a neighbour in the list. `spans` `[M, D̃]`, M = 2ω + whole tiles; `inside` `[M]`,
    whether the cell's end is in its sentence; `wanted` `[M - 2ω, D̃]`, all but the first and last ω; `once`, what a
    forward's blocks need not make again."""

    spans: Tensor
    wanted: Tensor
    inside: Tensor
    tile: int
    once: dict[str, tuple[Tensor, ...]]

    def attend(self, attention: "LocalAttention") -> Tensor:
        if "attention" not in self.once:
            self.once["attention"] = attention.tile_tensors(self.tile)
        return attention.tiled(self.spans, self.inside, self.tile, *self.once["attention"])


class TiledBand:
    """The band of spans in few large rectangles, planned from shapes, for a GPU. Arguments as in `PackedBand`."""

    def __init__(self, biaffine: MultiHeadBiaffine, starts: Tensor, ends: Tensor, real: Tensor, limit: int, reach: int):
        self.biaffine, self.starts, self.limit, self.reach = biaffine, starts, limit, reach
        self.by_start, by_end, by_width = biaffine.terms(starts, ends)
        # What all blocks slice: ends and their terms with 0 beside the sentence, a term and a truth for each cell.
        self.ends, self.by_end = (F.pad(units, (0, 0, reach, limit + reach)) for units in (ends, by_end))
        offset = torch.arange(-reach, limit + reach, device=starts.device)
        if by_width is None:
            self.by_offset = by_end.new_zeros(1, 1).expand(len(offset), by_end.shape[-1])
        else:
            self.by_offset = by_width[offset.clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH]  # (C, D̃)
        end = torch.arange(starts.shape[1], device=starts.device)[:, None] + offset  # (L, C)
        self.inside = (end >= 0) & (end < real.sum(1)[:, None, None])  # (B, L, C)
        # Keys of a tile are a multiple of 16: what matrix units multiply at once.
        self.tile = max(32, 16 * math.ceil((4 * reach) / 16)) - 2 * reach
        self.rectangles: list[tuple[int, int, int]] = []
        self.once: dict[str, tuple[Tensor, ...]] = {}

    def __iter__(self) -> Iterator[TiledBlock]:
        self.rectangles = self._plan()
        reach = self.reach
        for first, rows, count in self.rectangles:
            cells, last = count + 2 * reach, first + rows
            met = slice(first, last + cells - 1)
            spans = self.biaffine.rectangle(
                *(self.starts[:, first:last], self.ends[:, met]),
                *(self.by_start[:, first:last], self.by_end[:, met], self.by_offset[:cells]),
            ).flatten(0, 2)  # (B·R·C, D̃)
            inside = self.inside[:, first:last, :cells].flatten()
            if reach:
                spare = -(spans.shape[0] - 2 * reach) % self.tile
                spans, inside = F.pad(spans, (0, 0, 0, spare)), F.pad(inside, (0, spare))
            yield TiledBlock(spans, spans[reach : spans.shape[0] - reach], inside, self.tile, self.once)

    def _plan(self) -> list[tuple[int, int, int]]:
        """`(first start, starts, widths)` of each rectangle: the triangle that a sentence's spans are is cut into
        rectangles of about `CELLS_PER_LAUNCH` cells, of which few lie outside."""
        batch, length, _ = self.starts.shape
        found, first = [], 0
        while first < length:
            count = min(self.limit, length - first)
            rows = min(length - first, -(-CELLS_PER_LAUNCH // (batch * count)))
            found.append((first, rows, count))
            first += rows
        return found

    def logits(self, scores: list[Tensor]) -> Tensor:
        """The scores of each block's wanted spans to `[B, L, W, n]`; cells outside the sentences without meaning."""
        batch, reach, bands = self.starts.shape[0], self.reach, []
        for found, (_, rows, count) in zip(scores, self.rectangles, strict=True):
            cells = batch * rows * (count + 2 * reach)
            found = F.pad(found, (0, 0, reach, reach))[:cells].unflatten(0, (batch, rows, count + 2 * reach))
            bands.append(F.pad(found[:, :, reach : reach + count], (0, 0, 0, self.limit - count)))
        return bands[0] if len(bands) == 1 else torch.cat(bands, 1)


@dataclass
class Plane:
    """All starts of padded sentences against all ends, or against those that a width limit leaves, as the only block of
    itself: for every kind of tracing, its shapes being sums of L and constants; and for the mixer that needs them all.
    `spans` `[B, L, C, D̃]`, ω more at both edges; `inside` `[B, L | 1, C]`, whether the cell's end is in its sentence;
    `starts_real` `[B, L]`; `limit` widths are wanted; `limited`: column c is the end c - ω, or start + c - ω."""

    spans: Tensor
    inside: Tensor
    starts_real: Tensor
    limit: int
    reach: int
    limited: bool

    @classmethod
    def of(
        cls,
        biaffine: MultiHeadBiaffine,
        starts: Tensor,
        ends: Tensor,
        real: Tensor,
        limit: int,
        reach: int,
        widest: int,
    ) -> "Plane":
        """Arguments as in `PackedBand`; `widest`: the configured limit, 0 for none."""
        length = real.shape[1]
        by_start, by_end, by_width = biaffine.terms(starts, ends)
        matrices = biaffine.matrices(starts.flatten(0, 1)).unflatten(0, real.shape)  # (B, L, h, y, d)
        start = torch.arange(length, device=starts.device)[:, None]
        beyond = reach + widest

        def met(units: Tensor) -> Tensor:
            """`[B, L, …]` -> `[B, 1, C, …]` or `[B, L, C, …]`: what each start meets; 0 beside the sentence."""
            padded = F.pad(units, (*[0, 0] * (units.ndim - 2), reach, beyond))
            if not widest:
                return padded.unsqueeze(1)
            return padded[:, start + torch.arange(widest + 2 * reach, device=starts.device)]

        right = met(ends).unflatten(-1, (biaffine.heads, -1))
        if widest:
            spans = torch.einsum("bichy,bihyd->bichd", right, matrices)
        else:
            spans = torch.einsum("bjhy,bihyd->bijhd", right[:, 0], matrices)
        spans = spans.flatten(3) + by_start.unsqueeze(2) + met(by_end)
        column = torch.arange(spans.shape[2], device=starts.device) - reach  # (C)
        if by_width is not None:
            width = column.expand(length, -1) if widest else column - start
            spans = spans + by_width[width.clamp(MIN_WIDTH, MAX_WIDTH) - MIN_WIDTH]
        return cls(spans, met(real.long()) > 0, real, limit, reach, bool(widest))

    @property
    def wanted(self) -> Tensor:
        return self.spans[:, :, self.reach : self.spans.shape[2] - self.reach]

    def attend(self, attention: "LocalAttention") -> Tensor:
        return attention.shifted(self.wanted, self.spans, self.inside)

    def __iter__(self) -> Iterator["Plane"]:
        yield self

    def logits(self, scores: list[Tensor]) -> Tensor:
        """`[B, L, C - 2ω, n]` to `[B, L, W, n]`; cells outside the sentences without meaning."""
        if self.limited:
            return scores[0][:, :, : self.limit]
        length = self.starts_real.shape[1]
        position = torch.arange(length, device=self.inside.device)
        end = position[:, None] + torch.arange(self.limit, device=self.inside.device)  # (L, W)
        return scores[0][:, position[:, None], end.clamp(max=length - 1)]


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


class NoMixer(nn.Module):
    """Plain biaffine NER. A mixer is called with a block of spans and says what its `wanted` ones hear from their
    neighbours, or `None`; `reach`: how far along the end index it looks, `None` for over the whole plane."""

    reach = 0

    def __init__(self, config: KnowFreeConfig):
        super().__init__()

    def forward(self, block: PackedBlock | TiledBlock) -> None:
        return None


class LocalAttention(nn.Module):
    """Eqs 9-10: multi-head self-attention along the end index, each start by itself, over the 2ω+1 nearest ends; and
    the sum under the norm of eq 11."""

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        self.heads, self.reach = config.attention_heads, config.attention_window
        self.adds_spans = config.formulation == "paper"
        self.query = nn.Linear(config.span_size, config.span_size)
        self.key = nn.Linear(config.span_size, config.span_size, bias=False)  # softmax would cancel it
        self.value = nn.Linear(config.span_size, config.span_size)
        self.output = nn.Linear(config.span_size, config.span_size)

    def forward(self, block: PackedBlock | TiledBlock) -> Tensor:
        mixed = block.attend(self)
        return mixed.add_(block.wanted) if self.adds_spans else mixed

    def _output_bias(self) -> Tensor:
        # Weights sum to 1: the value's bias comes through unchanged, and is added here to vectors, not to cells.
        return F.linear(self.value.bias, self.output.weight, self.output.bias)

    def packed(self, wanted: Tensor, spans: Tensor, borders: list[tuple[int, Tensor]]) -> Tensor:
        """See `PackedBlock`: what `wanted` attend to `[width·R, D̃]`; C ≤ width + 2ω, and neighbours beyond C are among
        `borders`."""
        rows, size = spans.shape[1:]
        by_head = (self.heads, size // self.heads)
        scale = by_head[1] ** -0.5
        queries = torch.addmm(scale * self.query.bias[:, None], scale * self.query.weight, wanted.t())  # (D̃, width·R)
        keys_values = torch.cat([self.key.weight, self.value.weight]) @ spans.view(-1, size).t()  # (2·D̃, C·R)
        queries, keys_values = queries.unflatten(0, by_head), keys_values.unflatten(0, (2, *by_head))
        mixed = BandAttention.apply(queries, keys_values, borders, 2 * self.reach + 1, rows)
        return F.linear(mixed.flatten(0, 1).t(), self.output.weight, self._output_bias())

    def tile_tensors(self, tile: int) -> tuple[Tensor, ...]:
        """What `tiled` needs of weights and masks: q, k and v in one matrix, and its bias; the output's, and its bias;
        which keys of a tile a query may see, and which is itself."""
        size = len(self.output.weight) // self.heads
        # Fused attention wants heads of a multiple of so many numbers: the weights are padded, so no cell is.
        spare = -size % HEAD_MULTIPLE.get(self.output.weight.device.type, 1)
        together = torch.cat([self.query.weight, self.key.weight, self.value.weight])
        output, bias = self.output.weight, F.pad(self.query.bias, (0, 2 * len(self.query.bias)))
        if spare:
            together = F.pad(together.unflatten(0, (-1, size)), (0, 0, 0, spare)).flatten(0, 1)
            bias = F.pad(bias.view(-1, size), (0, spare)).flatten()
            output = F.pad(output.unflatten(1, (self.heads, size)), (0, spare)).flatten(1)
        key_at = torch.arange(tile + 2 * self.reach, device=bias.device)
        distance = key_at - self.reach - torch.arange(tile, device=bias.device)[:, None]  # (tile, keys)
        return together, bias, output, self._output_bias(), distance.abs() <= self.reach, distance == 0

    def tiled(
        self,
        spans: Tensor,
        inside: Tensor,
        tile: int,
        together: Tensor,
        bias: Tensor,
        output: Tensor,
        output_bias: Tensor,
        close: Tensor,
        itself: Tensor,
    ) -> Tensor:
        """See `TiledBlock`: what all but the first and last ω of `spans` attend to `[M - 2ω, D̃]`, by tiles of queries
        against their keys and ω more on both sides; the rest is `tile_tensors`."""
        keys, scale = close.shape[1], (spans.shape[1] // self.heads) ** -0.5
        near = F.linear(spans, together, bias).unfold(0, keys, tile)  # (n, 3·K·e, keys)
        near = near.unflatten(1, (3, self.heads, -1)).movedim(4, 3)  # (n, 3, K, keys, e)
        queries = near[:, 0, :, self.reach : self.reach + tile]
        # Every cell sees itself, so that one outside the sentence, which nobody asks for, does not become NaN.
        seen = close & inside.unfold(0, keys, tile)[:, None, None, :] | itself
        mixed = F.scaled_dot_product_attention(queries, near[:, 1], near[:, 2], seen, scale=scale)
        return F.linear(mixed.transpose(1, 2).flatten(2).flatten(0, 1), output, output_bias)

    def shifted(self, wanted: Tensor, spans: Tensor, inside: Tensor) -> Tensor:
        """See `Plane`: what `wanted` `[B, L, C - 2ω, D̃]` attend to, neighbour by neighbour: sums that a compiler fuses,
        and slices whose bounds are constants beside C."""
        by_head = (self.heads, wanted.shape[-1] // self.heads)
        count, lowest = wanted.shape[2], torch.finfo(spans.dtype).min
        queries = (self.query(wanted) * by_head[1] ** -0.5).unflatten(3, by_head)  # (B, L, C - 2ω, K, e)
        keys, values = self.key(spans).unflatten(3, by_head), F.linear(spans, self.value.weight).unflatten(3, by_head)
        shifts = [slice(shift, shift + count) for shift in range(2 * self.reach + 1)]
        scores = [(queries * keys[:, :, at]).sum(-1) for at in shifts]  # (B, L, C - 2ω, K) each
        # The finite minimum: a cell with no neighbour in the sentence must not become NaN.
        scores = [score.masked_fill(~inside[:, :, at, None], lowest) for score, at in zip(scores, shifts, strict=True)]
        weights = torch.stack(scores).softmax(0).unsqueeze(-1).unbind()
        mixed = sum(weight * values[:, :, at] for weight, at in zip(weights, shifts, strict=True))
        return F.linear(mixed.flatten(3), self.output.weight, self._output_bias())


class MaskedCNN(nn.Module):
    """The ablation of `span_mixer="cnn"`: blocks of 3x3 convolution over the (start, end) plane, padding held at 0
    (Yan et al. 2023). Dense in L, and exempt from the band."""

    reach = None

    def __init__(self, config: KnowFreeConfig):
        super().__init__()
        size = config.span_size
        self.convolutions = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1) for _ in range(config.cnn_depth))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(config.cnn_depth))

    def forward(self, block: Plane) -> Tensor:
        """`[B, L, L, D̃]`."""
        spans, inside = block.spans, (block.starts_real.unsqueeze(2) & block.inside).unsqueeze(-1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            spans = spans * inside
            mixed = convolution(spans.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            spans = F.gelu(norm(spans + mixed))
        return spans


# span_mixer -> the attribute that holds it, which names its weights in checkpoints, and its class
MIXERS: dict[str, tuple[str, type[nn.Module]]] = {
    "local_attention": ("attention", LocalAttention),
    "cnn": ("cnn", MaskedCNN),
    "none": ("no_mixer", NoMixer),
}


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
        self.classifier = nn.Linear(config.span_size, len(config.target_labels) + len(config.extension_labels))
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
        logits = self.score(self.dropout(units), num_units, wanted)
        loss = None
        if span_labels is not None:
            loss = self._loss(logits, num_units, span_labels, loss_weights, span_weights, has_extensions)
        return KnowFreeOutput(loss=loss, logits=logits)

    def score(self, units: Tensor, num_units: Tensor, columns: int) -> Tensor:
        """Unit states `[B, L, D]` to logits `[B, L, W, columns]`, eqs 7-12. A width limit: a narrower band whose cells
        attend to the same neighbours as in the full one: ω cells below the diagonal, ω above the widest span."""
        length = units.shape[1]
        limit = torch.sym_min(length, self.config.max_span_width or length)
        starts, ends = F.leaky_relu(self.start_mlp(units)), F.leaky_relu(self.end_mlp(units))  # eq 7, (B, L, D')
        real = torch.arange(length, device=units.device) < num_units[:, None]  # (B, L)
        given = (self.biaffine, starts, ends, real, limit)
        reach: int | None = self.mixer.reach  # type: ignore[assignment]
        spans: Plane | PackedBand | TiledBand
        if reach is None:
            spans = Plane.of(*given, 0, 0)
        elif torch.compiler.is_compiling():
            spans = Plane.of(*given, reach, self.config.max_span_width or 0)
        else:
            spans = (PackedBand if units.device.type == "cpu" else TiledBand)(*given, reach)
        weight, bias = self.classifier.weight[:columns], self.classifier.bias[:columns]
        logits = spans.logits([F.linear(self._mixed(block), weight, bias) for block in spans])  # eq 12
        outside = ~band_mask(num_units, length, limit).unsqueeze(-1)
        return logits.masked_fill(outside, torch.finfo(logits.dtype).min)

    def _mixed(self, block: PackedBlock | TiledBlock | Plane) -> Tensor:
        """Eqs 10-12: the block's wanted spans, each with what it hears from its neighbours."""
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
        loss = (F.softplus(logits.to(exact)).sum((1, 2)) * weights).sum(-1)  # (B,)
        start, end, column = span_labels.unbind(-1)  # (B, S) each
        left_out, column = column < 0, torch.where(column < 0, ~column, column).clamp(max=columns - 1)
        width = end - start - 1
        reachable = (start >= 0) & (width < limit) & (end <= num_units[:, None])
        sentence = torch.arange(batch, device=logits.device)[:, None]
        at_gold = logits[sentence, start.clamp(0, length - 1), width.clamp(0, limit - 1), column].to(exact)
        gold = at_gold if span_weights is None else at_gold * span_weights
        gold = torch.where(left_out, F.softplus(at_gold), gold) * weights.gather(1, column)
        loss = loss - gold.masked_fill(~reachable, 0).sum(-1)
        if self.config.loss_reduction == "mean":
            loss = loss / band_mask(num_units, length, limit).sum((1, 2)).clamp(min=1)
        if loss_weights is not None:
            loss = loss * loss_weights
        return loss.mean()


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
