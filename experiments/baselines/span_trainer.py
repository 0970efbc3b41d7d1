"""What the Trainers of all baselines share: scores of decoded spans, and a whole training."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from modeling_knowfree.data.rows import span_sets
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.training.progress import show_lines
from modeling_knowfree.training.trainer import KnowFreeTrainer

from .windowed import FoundSpan

TRANSITION_RATE = 50
"""The learning rate of a CRF's transitions in multiples of the head's, at which they hardly move in 400 updates."""


class SpanTrainer(KnowFreeTrainer):
    """A Trainer whose `eval_dataset` is a list of rows. `find_spans(network, tokenizer, rows, batch_size, silent=…)` is
    how a network is asked for the spans of each."""

    find_spans: ClassVar[Callable[..., list[list[FoundSpan]]]]

    def group_of(self, name: str, parameter: torch.nn.Parameter) -> tuple[str, float, float]:
        """See `KnowFreeTrainer`; a CRF's transitions are a group of their own, without decay."""
        if "crf" in name.split("."):
            return "transitions", TRANSITION_RATE * self.args.head_learning_rate, 0.0
        return super().group_of(name, parameter)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Scores of decoded spans."""
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        network, silent = self.accelerator.unwrap_model(self.model), bool(self.args.disable_tqdm)
        found = self.find_spans(network, self.processing_class, rows, self.args.eval_batch_size, silent=silent)
        scores = span_scores(span_sets(rows), [[span[:3] for span in spans] for spans in found])
        per_label = scores.pop("per_label")
        scores |= {f"f1_{label}": per_label[label]["f1"] for label in per_label}
        metrics = {f"{metric_key_prefix}_{name}": score for name, score in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def run(self, resume: str | bool | None) -> dict[str, Any]:
        """
        Train, save, and score the validation rows where there are any.

        Returns:
            `{"validation": {"validation_f1": …}, "curve": [[update, dev F1], …]}`, both empty without validation rows.
        """
        show_lines(self)
        trained = self.train(resume_from_checkpoint=resume)
        self.save_model()
        self.save_metrics("train", trained.metrics)
        self.save_state()
        scores: dict[str, float] = {}
        if self.eval_dataset is not None:
            scores = self.evaluate(metric_key_prefix="validation")
            self.save_metrics("validation", scores)
        history = self.state.log_history
        return {"validation": scores, "curve": [[log["step"], log["eval_f1"]] for log in history if "eval_f1" in log]}
