"""What happens over the updates: the mean of the last weights, extension labels that come first."""

import json
from itertools import pairwise

import pytest
import torch
from transformers import AutoTokenizer, TrainerCallback, set_seed

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.training.arguments import KnowFreeTrainingArguments
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.config import auto_extension_schedule, build_config, build_model
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.train import train
from modeling_knowfree.training.trainer import KnowFreeTrainer
from modeling_knowfree.units_knowfree import KnowFreeCollator

from .test_start import NEEDED, with_extensions


class Watch(TrainerCallback):
    """Notes the classifier's weight after each update and at each evaluation."""

    def __init__(self):
        self.after, self.scored = [], {}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.after.append(model.classifier.weight.detach().clone())

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        self.scored[state.global_step] = model.classifier.weight.detach().clone()


@pytest.fixture
def trained_with(encoder, english_rows, tmp_path):
    """A trainer that has trained on eight sentences with ten extension labels: `trained_with(**arguments)`."""

    def make(**arguments) -> tuple[KnowFreeTrainer, Watch]:
        rows = with_extensions(english_rows, 10)
        set_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        config = build_config(str(encoder), rows)
        options = {"output_dir": str(tmp_path / "run"), "use_cpu": True, "report_to": [], "disable_tqdm": True}
        trainer = KnowFreeTrainer(
            build_model(str(encoder), config, rows),
            KnowFreeTrainingArguments(**options, **{"max_steps": 6, "save_strategy": "no", **arguments}),
            train_dataset=build_features(rows, tokenizer, config),
            eval_dataset=build_features(rows, tokenizer, config),
            data_collator=KnowFreeCollator(tokenizer.pad_token_id),
            processing_class=tokenizer,
        )
        watch = Watch()
        trainer.add_callback(watch)
        trainer.train()
        return trainer, watch

    return make


def test_the_model_is_the_mean_of_its_last_weights_and_scored_as_such(trained_with):
    trainer, watch = trained_with(average_last=0.5, eval_strategy="steps", eval_steps=2)
    means = {2: watch.after[1], 4: watch.after[3], 6: torch.stack(watch.after[3:]).mean(0)}
    for step, mean in means.items():
        torch.testing.assert_close(watch.scored[step], mean, msg=f"update {step}")
    torch.testing.assert_close(trainer.model.classifier.weight, means[6])
    assert not torch.equal(watch.after[5], means[6])


def test_a_compiled_model_is_averaged_too(trained_with):
    compiled = {"torch_compile": True, "torch_compile_backend": "eager"}
    _, watch = trained_with(average_last=0.5, eval_strategy="steps", eval_steps=6, **compiled)
    torch.testing.assert_close(watch.scored[6], torch.stack(watch.after[3:]).mean(0))


def test_the_mean_is_the_model_where_no_checkpoint_was_chosen(trained_with):
    late = {"eval_strategy": "steps", "eval_steps": 3, "eval_delay": 9, "save_strategy": "steps", "save_steps": 3}
    trainer, watch = trained_with(average_last=0.5, **late, load_best_model_at_end=True, metric_for_best_model="f1")
    torch.testing.assert_close(trainer.model.classifier.weight, torch.stack(watch.after[3:]).mean(0))


def test_averaging_leaves_training_itself_alone(trained_with):
    _, plain = trained_with(eval_strategy="steps", eval_steps=2)
    _, averaged = trained_with(eval_strategy="steps", eval_steps=2, average_last=0.5)
    torch.testing.assert_close(plain.after, averaged.after)


def test_extension_labels_come_first_and_the_saved_weights_stay(trained_with):
    constant, at_constant = trained_with()
    first, at_first = trained_with(extension_schedule="first")
    targets = len(constant.model.config.target_labels)
    assert all(not torch.equal(before[targets:], after[targets:]) for before, after in pairwise(at_constant.after))
    moved = [(run.after[-1] - run.after[1])[targets:].abs().mean() for run in (at_first, at_constant)]
    assert moved[0] < moved[1]  # what AdamW's momentum carries on
    assert first.model.config.extension_weights == constant.model.config.extension_weights


def test_all_that_extension_labels_bring_is_learnt_first(trained_with):
    class Loss(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            assert model.config.extension_limit == limit and model.config.extension_tag_weight == weight

    trainer, _ = trained_with(max_steps=1)
    limit, weight = 0.5, 0.25
    config = trainer.model.config
    config.extension_limit, config.extension_tag_weight = limit, weight
    trainer.args.extension_schedule, seen = "first", []
    forward = trainer.model.forward

    def watched(*args, **kwargs):
        seen.append((config.extension_limit, config.extension_tag_weight, sum(config.extension_weights)))
        config.extension_tag_weight = 0.0  # the model was made without these layers
        return forward(*args, **kwargs)

    trainer.model.forward = watched
    trainer.add_callback(Loss())
    trainer.args.max_steps = 6
    trainer.train()
    whole = sum(config.extension_weights)
    assert seen == [(None, weight, whole)] * 2 + [(limit, 0.0, 0.0)] * 4


def test_the_rows_decide_the_schedule_unless_it_is_given(encoder, english_rows, tmp_path):
    rows = with_extensions(english_rows, 10)
    assert auto_extension_schedule(rows, nested=False) == "first"
    assert auto_extension_schedule(rows, nested=True) == "constant"
    for other in ({"synthetic": True}, {"source": "pool"}):
        assert auto_extension_schedule([*rows, rows[0] | other], nested=False) == "constant"
    assert [parse_arguments(NEEDED | {"preset": name})[2].extension_schedule for name in ("small", "paper")] == [
        "auto",
        "constant",
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    given = {"model_name_or_path": str(encoder), "train_file": str(tmp_path / "rows.jsonl"), "max_steps": 1}
    train(given | {"output_dir": str(tmp_path / "out"), "report_to": "none", "use_cpu": True})
    told = json.loads((tmp_path / "out" / "training_args.json").read_text(encoding="utf-8"))
    assert told["extension_schedule"] == "first"


@pytest.mark.parametrize("setting", [{"extension_schedule": "linear"}, {"average_last": 1.0}, {"average_last": -0.1}])
def test_what_no_schedule_is_called_is_refused(setting):
    with pytest.raises((ValueError, InputError), match=f"{next(iter(setting))}="):
        parse_arguments(NEEDED | setting)
