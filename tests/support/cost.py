"""What a piece of PyTorch costs a GPU, counted without one: launches and bytes. Run on meta tensors it allocates
nothing, so any size can be counted."""

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NO_KERNELS = ("aten::empty", "aten::_unsafe_view", "aten::detach", "aten::lift_fresh", "aten::promote_types")


class Cost(TorchDispatchMode):
    """
    Within it every operator that is no view, no bare allocation and no question of types is one kernel, and moves the
    bytes of its tensors in and out.

    Attributes:
        kernels: how many.
        moved: bytes.
        names: the operators, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.moved, self.names = 0, 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if not (func.is_view or name in NO_KERNELS):
            self.add(name, *(leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)))
        return result

    def add(self, name: str, *tensors: torch.Tensor) -> None:
        self.kernels += 1
        self.moved += sum(tensor.nbytes for tensor in tensors)
        self.names.append(name)


def attention_as_one_kernel(cost: Cost):
    """`F.scaled_dot_product_attention` as a GPU runs it; on meta tensors PyTorch would take it apart."""

    def attend(query, key, value, mask=None, scale=None):
        out = query.new_empty(query.shape).transpose(1, 2).contiguous().transpose(1, 2)
        cost.kernels -= 1  # the line above stands for the kernel
        cost.moved -= 2 * out.nbytes
        cost.names.pop()
        cost.add("attention", query, key, value, mask, out)
        return out

    assert F.scaled_dot_product_attention is not attend
    return attend
