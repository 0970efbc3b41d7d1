"""The model of eqs 7-15 written as plainly as can be: one sentence at a time, every (start, end) pair of its L×L plane,
a full attention matrix, one binary target a cell. Reads the weights of a `KnowFreeForTokenClassification`, shares no
code with it. For tests and benchmarks; memory grows with L³."""

import torch
import torch.nn.functional as F
from torch import Tensor


def unit_states(model, input_ids: Tensor, unit_ids: Tensor, num_units: int) -> Tensor:
    """One sentence without padding, `[P]` and `[P]`, to its `[L, D]` unit states."""
    pieces = model.knowfree.encoder(input_ids=input_ids[None], attention_mask=torch.ones_like(input_ids[None]))[0][0]
    pooled = []
    for unit in range(num_units):
        own = pieces[unit_ids == unit]
        match model.config.pooling:
            case "max":
                pooled.append(own.max(0).values)
            case "mean":
                pooled.append(own.mean(0))
            case "first":
                pooled.append(own[0])
    return torch.stack(pooled)


def dense_scores(model, units: Tensor) -> Tensor:
    """Unit states `[L, D]` of one sentence to the logits `[L, L, N]` of all its (first unit, last unit) pairs; pairs
    below the diagonal are computed like the rest, since attention sees them."""
    config, weights = model.config, dict(model.named_parameters())
    length = len(units)

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    starts = F.leaky_relu(linear(units, "start_mlp"))  # eq 7, (L, D')
    ends = F.leaky_relu(linear(units, "end_mlp"))
    heads = config.biaffine_heads
    by_head = torch.einsum(  # eq 8, (L, L, heads, D̃/heads)
        "lhx,hdxy,khy->lkhd",
        starts.view(length, heads, -1),
        weights["biaffine.weight"],
        ends.view(length, heads, -1),
    )
    spans = by_head.reshape(length, length, -1)
    spans = spans + linear(starts, "biaffine.start")[:, None] + linear(ends, "biaffine.end")[None, :]
    position = torch.arange(length)
    if config.width_embedding_size:
        bucket = (position[None, :] - position[:, None]).clamp(-15, 14) + 15
        spans = spans + linear(weights["biaffine.width_embedding.weight"][bucket], "biaffine.width")

    if config.span_mixer == "local_attention":
        heads = config.attention_heads
        query, key, value = (
            linear(spans, f"attention.{name}").view(length, length, heads, -1).transpose(1, 2)  # (start, K, end, D̃/K)
            for name in ("query", "key", "value")
        )
        far = (position[:, None] - position[None, :]).abs() > config.attention_window  # eq 9
        scores = query / query.shape[-1] ** 0.5 @ key.transpose(-1, -2)  # (start, K, end, end)
        scores = scores.masked_fill(far, -torch.inf)
        mixed = scores.softmax(-1) @ value
        mixed = linear(mixed.transpose(1, 2).reshape(length, length, -1), "attention.output")  # eq 10
        if config.formulation == "paper":
            mixed = mixed + spans
        spans = spans + F.layer_norm(mixed, mixed.shape[-1:], weights["norm.weight"], weights["norm.bias"])  # eq 11
    elif config.span_mixer == "cnn":
        mixed = spans
        for block in range(config.cnn_depth):
            own = {
                kind: weights[f"cnn.{kind}"] for kind in (f"convolutions.{block}.weight", f"convolutions.{block}.bias")
            }
            plane = F.conv2d(mixed.permute(2, 0, 1)[None], *own.values(), padding=1)[0].permute(1, 2, 0)
            norm = (weights[f"cnn.norms.{block}.weight"], weights[f"cnn.norms.{block}.bias"])
            mixed = F.gelu(F.layer_norm(mixed + plane, mixed.shape[-1:], *norm))
        spans = spans + mixed
    scores = linear(spans, "classifier")  # eq 12
    if config.unit_votes:
        inside, before, after = units @ weights["votes.weight"].transpose(1, 2)  # (L, N_tgt) each
        start, last, unit = position[:, None, None], position[None, :, None], position
        within = ((start <= unit) & (unit <= last)).to(units.dtype)  # (L, L, L)
        votes = within @ inside / within.sum(-1, keepdim=True).clamp(min=1)
        votes[1:] += before[:-1, None]
        votes[:, :-1] += after[1:]
        scores = torch.cat([scores[..., : votes.shape[-1]] + votes, scores[..., votes.shape[-1] :]], -1)
    return scores


def units_of(model, batch: dict[str, Tensor]) -> list[Tensor]:
    """`unit_states` of each sentence of a batch, cut out of its padding first."""
    found = []
    for ids, mask, unit_ids, length in zip(
        batch["input_ids"], batch["attention_mask"], batch["unit_ids"], batch["num_units"].tolist(), strict=True
    ):
        real = mask.bool()
        found.append(unit_states(model, ids[real], unit_ids[real], length))
    return found


def reference_logits(model, batch: dict[str, Tensor], columns: int) -> Tensor:
    """What `forward` must answer: `[B, L, W, columns]`, band layout."""
    longest = int(batch["num_units"].max())
    limit = min(longest, model.config.max_span_width or longest)
    planes = [dense_scores(model, units) for units in units_of(model, batch)]
    band = planes[0].new_full((len(planes), longest, limit, columns), torch.finfo(planes[0].dtype).min)
    for sentence, plane in enumerate(planes):
        for start in range(len(plane)):
            for end in range(start + 1, min(len(plane), start + limit) + 1):
                band[sentence, start, end - start - 1] = plane[start, end - 1, :columns]
    return band


def dense_loss(config, plane: Tensor, gold_spans: Tensor) -> Tensor:
    """Eqs 13 and 15 for one sentence: `plane` `[L, L, N]` against an explicit grid of targets."""
    length = len(plane)
    weights = plane.new_tensor([1.0] * len(config.target_labels) + config.extension_weights)
    width = torch.arange(length)[None, :] - torch.arange(length)[:, None] + 1
    counted = (width >= 1) & (width <= (config.max_span_width or length))
    gold = torch.zeros_like(plane)
    for start, end, column in gold_spans.tolist():
        if start >= 0 and end <= length:
            gold[start, end - 1, column] = 1
    cells = F.binary_cross_entropy_with_logits(plane, gold, reduction="none") * weights
    return cells[counted].sum() / (counted.sum() if config.loss_reduction == "mean" else 1)


def tag_loss(tags, units: Tensor, gold_spans: Tensor, columns: list[int]) -> Tensor:
    """Cross-entropy, summed, of the BIO tags of the labels in `columns` over one sentence's `units` `[L, D]`; those in
    several spans have the tags of all."""
    losses = []
    for at, unit in enumerate(units):
        shares = torch.zeros(2 * len(columns) + 1, dtype=units.dtype)
        for start, end, column in gold_spans.tolist():
            if column in columns and start <= at < end:
                shares[columns.index(column) + (0 if at == start else len(columns))] += 1
        if not shares.any():
            shares[-1] = 1
        losses.append(F.cross_entropy(F.linear(unit, tags.weight, tags.bias), shares / shares.sum()))
    return torch.stack(losses).sum()


def reference_loss(model, batch: dict[str, Tensor]) -> Tensor:
    """Eqs 13-15 and the tags': the mean over sentences, synthetic ones weighing β."""
    losses = []
    for units, gold, weight in zip(units_of(model, batch), batch["span_labels"], batch["loss_weights"], strict=True):
        loss = dense_loss(model.config, dense_scores(model, units), gold)
        share = 1 / len(units) if model.config.loss_reduction == "mean" else 1
        targets = len(model.config.target_labels)
        if model.config.tag_weight:
            of_tags = tag_loss(model.tags, units, gold, list(range(targets)))
            loss = loss + model.config.tag_weight * share * of_tags
        if model.config.extension_tag_weight:
            for kind in ("POS", "SEG"):
                names = enumerate(model.config.extension_labels, targets)
                if columns := [column for column, name in names if name.startswith(f"{kind}:")]:
                    of_tags = tag_loss(model.extension_tags[kind], units, gold, columns)
                    loss = loss + model.config.extension_tag_weight * share * of_tags
        losses.append(loss * weight)
    return torch.stack(losses).mean()


def random_batch(
    num_units: list[int], labels: int, seed: int = 0, pad_pieces: int = 0, vocabulary: int = 60
) -> dict[str, Tensor]:
    """A padded batch of random sentences: one to three pieces a unit, special pieces around, up to five gold spans
    each. Sentence k depends on `seed` and k alone, not on the others or on padding."""
    rows = []
    for at, length in enumerate(num_units):
        generator = torch.Generator().manual_seed(1000 * seed + at)
        pieces = torch.randint(1, 4, (length,), generator=generator)
        unit_ids = torch.cat(
            [torch.tensor([-1]), torch.repeat_interleave(torch.arange(length), pieces), torch.tensor([-1])]
        )
        ids = torch.randint(1, vocabulary, (len(unit_ids),), generator=generator)
        ends = torch.randint(1, length + 1, (5,), generator=generator)
        starts = (torch.rand(5, generator=generator) * ends).long()
        columns = torch.randint(0, labels, (5,), generator=generator)
        gold = sorted(set(zip(starts.tolist(), ends.tolist(), columns.tolist(), strict=True)))
        rows.append((ids, unit_ids, gold))
    longest = max(len(ids) for ids, _, _ in rows) + pad_pieces

    def padded(values: Tensor, filler: int) -> Tensor:
        return F.pad(values, (0, longest - len(values)), value=filler)

    return {
        "input_ids": torch.stack([padded(ids, 0) for ids, _, _ in rows]),
        "attention_mask": torch.stack([padded(torch.ones_like(ids), 0) for ids, _, _ in rows]),
        "unit_ids": torch.stack([padded(unit_ids, -1) for _, unit_ids, _ in rows]),
        "num_units": torch.tensor(num_units),
        "span_labels": torch.tensor([[*map(list, gold), *[[-100] * 3] * (5 - len(gold))] for _, _, gold in rows]),
        "loss_weights": torch.linspace(0.4, 1, len(num_units)).double(),
    }
