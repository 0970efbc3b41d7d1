"""What the head costs on a GPU, counted: kernels a forward, bytes and multiply-adds beside the floor. Issue 18 asks for
the numbers; benchmarks/SPEED.md has them in a table."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.side_by_side import TARGETS, bert_base_model
from tests.support.cost import Cost, attention_as_one_kernel

# One block of the head, from unit states to masked logits; every further block; and the votes of units, once.
KERNELS_ONE_BLOCK, KERNELS_MORE, KERNELS_VOTES = 58, 27, 15
# Bytes of one bf16 tensor of D̃ = 200 over every span; the operators of the head move so many of them at most.
PASSES, PASSES_VOTES = 50, 2.5
# Multiply-adds a span of the sentence: 200·50 biaffine, 4·200·200 attention; and what blocks and halos add.
MULTIPLY_ADDS = 1.55


def head(batch: int, length: int, limit: int | None = None):
    with torch.device("meta"):
        model = bert_base_model(limit).bfloat16()
        units = torch.empty(batch, length, 768, dtype=torch.bfloat16)
        num_units = torch.empty(batch, dtype=torch.long)
    return lambda: model.score(units, num_units, TARGETS)


def counted(monkeypatch, *case) -> Cost:
    run = head(*case)
    with torch.no_grad(), Cost() as cost:
        monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", attention_as_one_kernel(cost))
        run()
    return cost


@pytest.mark.parametrize(("length", "limit"), [(32, None), (128, None), (128, 32), (510, 32)])
def test_a_sentence_alone_is_one_block_of_few_kernels(monkeypatch, length, limit):
    cost = counted(monkeypatch, 1, length, limit)
    assert cost.kernels <= KERNELS_ONE_BLOCK + KERNELS_VOTES, cost.names


def test_a_large_batch_adds_few_kernels_and_moves_few_bytes(monkeypatch):
    for batch, length in ((32, 128), (8, 510)):
        cost = counted(monkeypatch, batch, length)
        spans = batch * length * (length + 1) // 2
        blocks = cost.names.count("attention")
        assert cost.kernels <= KERNELS_ONE_BLOCK + KERNELS_VOTES + KERNELS_MORE * (blocks - 1), cost.names
        assert blocks <= 2 + 1.5 * spans / 65536
        assert cost.moved <= (PASSES + PASSES_VOTES) * spans * 200 * 2


def test_multiply_adds_lie_near_the_floor():
    for batch, length in ((32, 128), (8, 510)):
        run = head(batch, length)
        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            run()
        floor = batch * length * (length + 1) // 2 * (200 * 50 + 4 * 200 * 200)
        assert floor <= flops.get_total_flops() / 2 <= MULTIPLY_ADDS * floor


def test_the_profiler_sees_as_few_kernels_on_real_tensors(tiny_model, monkeypatch):
    """The same count by torch.profiler, whose CPU events are what PyTorch runs: no operator hides others."""
    from modeling_knowfree import modeling_knowfree

    monkeypatch.setattr(modeling_knowfree, "PackedBand", modeling_knowfree.TiledBand)
    model, units = tiny_model(), torch.randn(2, 20, 24)
    with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        model.score(units, torch.tensor([20, 7]), 3)
    free = {
        "view",
        "_unsafe_view",
        "empty",
        "empty_strided",
        "as_strided",
        "permute",
        "transpose",
        "expand",
        "slice",
        "select",
    }
    free |= {"t", "alias", "detach", "unfold", "narrow", "unsqueeze", "squeeze", "resolve_conj", "resolve_neg", "set_"}
    free |= {"reshape", "flatten", "unflatten", "movedim", "is_nonzero", "result_type", "to", "expand_as", "contiguous"}
    leaves = [
        event.name
        for event in profile.events()
        if event.name.startswith("aten::") and event.name[6:] not in free and not event.cpu_children
    ]
    assert len(leaves) <= 1.25 * KERNELS_ONE_BLOCK, leaves  # copies inside products count as events of their own
