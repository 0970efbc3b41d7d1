"""Training batches that cost about the same: by the spans they hold, not by their sentences alone."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from ..units_knowfree import batches_by_cost


class CostBatches(Sampler[list[int]]):
    """
    Sentences of about one length together, in batches with a limit of spans, drawn anew each epoch: among equally long
    sentences those beside each other change, and so does the order of the batches; their number stays.

    Args:
        lengths: units of each sentence.
        at_most: sentences a batch.
        max_span_width: the model's limit.
        spans: spans a batch, see `batches_by_cost`.
        seed: with the epoch's number it decides what is drawn, so that a resumed run sees what an undisturbed one does.
    """

    def __init__(self, lengths: Sequence[int], at_most: int, max_span_width: int | None, spans: int, seed: int):
        self.lengths, self.seed, self.epoch = torch.tensor(lengths), seed, 0
        self.sizes = batches_by_cost(sorted(lengths, reverse=True), at_most, max_span_width, spans)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        drawn = torch.randperm(len(self.lengths), generator=generator)
        longest_first = drawn[self.lengths[drawn].argsort(descending=True, stable=True)]
        batches = longest_first.split(self.sizes)
        for at in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[at].tolist()
