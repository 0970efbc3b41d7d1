"""What `knowfree train` shows: our options first with true defaults, a line a stage, no dictionaries."""

import math
import re

import pytest
from click.testing import CliRunner

from knowfree import cli
from modeling_knowfree.console import be_quiet
from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.training.command_line import help_text, parse_arguments
from modeling_knowfree.training.progress import log_line
from modeling_knowfree.training.train import train
from tests.support.terminal import shown_by

NEEDED = {"model_name_or_path": "m", "train_file": "t", "output_dir": "o"}


def test_help_is_short_and_help_all_is_whole():
    short, whole = help_text(everything=False), help_text(everything=True)
    assert len(short.splitlines()) < 110 and all(len(line) <= 110 for line in short.splitlines())
    assert short.index("--train_file") < short.index("--pooling") < short.index("--learning_rate")
    assert "--deepspeed" not in short and "--deepspeed" in whole
    named = re.findall(r"^  --(\w+)", whole, re.MULTILINE)
    assert len(named) == len(set(named)) and len(named) > 120


def test_the_defaults_that_help_shows_are_those_that_a_training_has():
    entries = [" ".join(entry.split()) for entry in help_text(everything=False).split("\n  --")]
    found = [re.match(r"(\w+) .*\[default(?: of [^:]*)?: ([^\]]+)\]", entry) for entry in entries]
    shown = {match[1]: match[2] for match in found if match}
    having = {name: value for part in parse_arguments(NEEDED) for name, value in vars(part).items()}
    assert {"learning_rate", "min_steps", "head_dropout", "beta", "decoding"} <= shown.keys()
    for name in shown.keys() - {"report_to", "use_cpu"}:  # lists; what this machine has
        assert str(getattr(having[name], "value", having[name])) in (shown[name], f"{shown[name]}.0"), name


@pytest.mark.parametrize("option", ["--help", "-h", "--help-all", "--help_all"])
def test_help_ends_well(option):
    answer = CliRunner().invoke(cli, ["train", option])
    assert answer.exit_code == 0 and answer.output.startswith("Usage: knowfree train")


def test_an_argument_that_looks_like_a_value_is_read_once():
    """`--config` as a value of another option, an option twice, `=`: argparse reads the line, nothing else does."""
    line = ["--model_name_or_path=m", "--train-file", "t", "--output_dir", "o", "--labels", "A", "--task", "pos"]
    model, data, args = parse_arguments([*line, "--seed=1", "--seed", "2", "--preset", "paper"])
    assert (data.task, data.labels, args.seed, args.beta, model.alpha_cap) == ("pos", ["A"], 2, 1.0, 0.0)


def test_null_is_the_default_where_it_is_no_value():
    given = {"train_file": "t", "output_dir": "o", "model_name_or_path": "m"}
    model, _, args = parse_arguments(given | {"extension_budget": None, "alpha_cap": None, "save_total_limit": None})
    assert (model.extension_budget, model.alpha_cap, args.save_total_limit) == (1.0, 1.0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight_decay": math.nan}, "weight_decay=nan: give 0 or more"),
        ({"weight_decay": -1}, "weight_decay=-1.0: give 0 or more"),
        ({"max_grad_norm": math.nan}, "max_grad_norm=nan"),
        ({"num_train_epochs": 0}, "num_train_epochs=0.0: give more than 0"),
        ({"num_train_epochs": -3}, "num_train_epochs=-3.0: give more than 0"),
        ({"max_steps": 0}, "max_steps=0: give 1 or more, or leave it out"),
        ({"max_steps": -7}, "max_steps=-7"),
        ({"warmup_steps": math.nan}, "warmup_steps=nan"),
        ({"adam_beta1": 2}, "adam_beta1=2.0: give 0 or more, less than 1"),
        ({"adam_epsilon": -1}, "adam_epsilon=-1.0"),
        ({"seed": 2**32}, "less than 4294967296"),
        ({"labels": {"a": 1}}, r"labels: \{'a': 1\} is no list"),
        ({"validation_file": "v", "eval_strategy": "no"}, "--eval_strategy no: with a validation file"),
    ],
)
def test_numbers_and_lists_that_mean_nothing_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        parse_arguments({"train_file": "t", "output_dir": "o", "model_name_or_path": "m"} | given)


def test_one_value_is_a_list_of_one():
    given = {"train_file": "t", "output_dir": "o", "model_name_or_path": "m", "labels": "PER"}
    model, data, _ = parse_arguments(given | {"vocabulary_files": "train.jsonl"})
    assert (data.labels, model.vocabulary_files) == (["PER"], ["train.jsonl"])


@pytest.mark.parametrize("given", [("--report_to", "foo"), ("--optim", "adamw_bnb_8bit")])
def test_what_the_trainer_refuses_is_one_line(given, encoder, english_rows, tmp_path):
    write_rows(tmp_path / "t.jsonl", english_rows)
    line = ["--model_name_or_path", str(encoder), "--train_file", str(tmp_path / "t.jsonl"), "--use_cpu"]
    with pytest.raises(InputError, match=r"^arguments: [^\n]*--help-all"):
        train([*line, "--output_dir", str(tmp_path / "out"), "--max_steps", "1", *given])
    assert not (tmp_path / "out").exists()


def test_lines_of_the_log():
    assert log_line({"loss": 1.23456, "grad_norm": 1.0}, 4, 8) == "update 4 of 8: loss 1.235"
    scores = {"eval_f1": 0.5, "eval_precision": 1.0, "eval_recall": 0.25, "eval_f1_PER": 0.1}
    assert log_line(scores, 4, 8) == "update 4 of 8: eval f1 50.00  precision 100.00  recall 25.00"
    assert log_line({"train_runtime": 3.0, "train_loss": 1.0}, 8, 8) is None


def test_a_training_is_quiet(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "train.jsonl", english_rows)
    files = [each for name in ("train", "validation") for each in (f"--{name}_file", str(tmp_path / "train.jsonl"))]
    line = ["train", "--model_name_or_path", str(encoder), *files, "--output_dir", str(tmp_path / "out"), "--use_cpu"]
    answer = CliRunner().invoke(cli, [*line, "--max_steps", "4", "--eval_steps", "2", "--logging_steps", "2"])
    assert answer.exit_code == 0, answer.output
    told = [line for line in answer.output.replace("\r", "\n").splitlines() if line.strip()]
    assert any(line.startswith("update 4 of 4: eval f1") for line in told)
    for noise in ("{", "LOAD REPORT", "Loading weights", "Writing model shards", "[transformers]"):
        assert noise not in answer.output


def test_a_bar_is_drawn_where_someone_looks_on(encoder, english_rows, tmp_path, monkeypatch):
    write_rows(tmp_path / "train.jsonl", english_rows)
    given = {"model_name_or_path": str(encoder), "train_file": str(tmp_path / "train.jsonl"), "use_cpu": True}
    given |= {"output_dir": str(tmp_path / "out"), "max_steps": 2}
    be_quiet()
    assert b" 2/2 [" in shown_by(lambda: train(given), monkeypatch)
