"""The mean of the weights over the last part of training (Izmailov et al. 2018), in place of the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import TrainerCallback


class WeightAverage(TrainerCallback):
    """
    Keeps the running mean of the weights after each of the last updates.

    Args:
        share: of all updates that take part, the last ones.
    """

    def __init__(self, share: float):
        self.share = share
        self.updates = 0
        self.mean: dict[str, torch.Tensor] = {}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step <= state.max_steps * (1 - self.share):
            return
        self.updates += 1
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not parameter.requires_grad:
                    continue
                if name not in self.mean:
                    self.mean[name] = parameter.detach().clone()
                else:
                    self.mean[name].lerp_(parameter, 1 / self.updates)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """The mean is the model, unless a checkpoint was chosen, which holds the mean of its time already."""
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            self._exchange(model)

    @contextmanager
    def in_place(self, model: torch.nn.Module) -> Iterator[None]:
        """Inside, the model has the mean weights: what is scored and saved is what will be used."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: torch.nn.Module) -> None:
        for name, parameter in model.named_parameters():
            if name in self.mean:
                kept = parameter.detach().clone()
                parameter.copy_(self.mean[name])
                self.mean[name] = kept
