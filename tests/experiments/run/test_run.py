"""`knowfree run` as its users meet it: stages, results, resumption. The LLM's answers are the demo's."""

import json
import shutil
from pathlib import Path

import pytest
from knowfree_experiments.run.arguments import updates_of_recipe
from knowfree_experiments.run.finishing import finish
from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.variants import Variant
from transformers import AutoConfig, AutoTokenizer

from augmentation.llm.store_file import hold
from modeling_knowfree.data.readers import read_rows, write_rows
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.training.arguments import RECIPES, TASK_PRESETS
from modeling_knowfree.training.train import train
from tests.support.tiny_run import DEMO, FINISHED, call, lines_of


def test_every_cell_is_trained_scored_and_told(finished):
    results = lines_of(finished / "results.jsonl")
    order = [(result["variant"], result["seed"]) for result in results]
    assert order == [(variant, seed) for variant in FINISHED for seed in (0, 1)]
    for result in results:
        assert {"dataset": "trails", "subset": "all", "updates": 3, "gold_rows": 8}.items() <= result.items()
        assert [update for update, _ in result["curve"]] == [1, 2, 3]
        assert result["dev_f1"] == max(f1 for _, f1 in result["curve"])
        cell = finished / "all" / result["variant"] / f"seed-{result['seed']}"
        predictions = lines_of(cell / "test_predictions.jsonl")
        assert [row["id"] for row in predictions] == [f"trails-train-{n}" for n in range(12, 18)] or len(
            predictions
        ) == 6
        assert json.loads((cell / "cell.json").read_text()) == result
        assert not list(cell.glob("checkpoint-*"))
    assert (finished / "report.html").is_file()


def test_variants_learn_from_what_their_names_say(finished):
    def rows(name):
        return lines_of(finished / "all" / name)

    synthetic = [row for row in rows("augmented/train.jsonl") if row["synthetic"]]
    told = {row["id"]: row["entities"] for row in synthetic}
    for row in rows("fs_gold/train-0.jsonl"):
        assert row["synthetic"] == (row["id"] in told)
        assert not row["synthetic"] or all("score" in span for span in row["entities"])
    doubts = 0
    for row in rows("fs_agree/train-0.jsonl"):
        if row["synthetic"]:
            sure = {(span["start"], span["end"], span["label"]) for span in row["entities"]}
            unsure = {(span["start"], span["end"], span["label"]) for span in row["uncertain"]}
            llm = {(span["start"], span["end"], span["label"]) for span in told[row["id"]]}
            assert sure <= llm <= sure | unsure
            doubts += len(unsure)
    assert doubts
    sizes = {r["variant"]: (r["gold_rows"], r["synthetic_rows"]) for r in lines_of(finished / "results.jsonl")}
    assert sizes["base"] == sizes["f"] == (8, 0)
    assert sizes["fs"] == sizes["fs_agree"] == (8, len(synthetic))


def test_an_ablation_changes_the_augmentation(data, tmp_path):
    run = planned(data, tmp_path / "run", variants=["f", "f_without_pos"])
    run.augment("all", "f_without_pos", {}, False)
    rows = lines_of(run.augmented("all", "f_without_pos") / "fusion.jsonl")
    labels = {extension["label"] for row in rows for extension in row["extensions"]}
    assert {label.partition(":")[0] for label in labels} == {"ENT", "SEG"}


def test_explanations_are_asked_for_where_a_variant_learns_from_them(data, finished, tmp_path):
    folder = tmp_path / "run"
    call(folder, data | {"variants": ["base", "f"], "seeds": [0]})
    augmented = folder / "all" / "augmented"
    fusion = (augmented / "fusion.jsonl").read_bytes()
    asked = {line["task"] for line in lines_of(augmented / "provenance.jsonl")}
    assert "entities" in asked and not {"explanation", "targets"} & asked
    assert not (augmented / "synthetic.jsonl").exists()
    call(folder, data | {"variants": ["fs"], "seeds": [0]})  # adds to what is there
    name = "all/augmented/synthetic.jsonl"
    assert (folder / name).read_bytes() == (finished / name).read_bytes()
    call(folder, data | {"variants": ["f"], "seeds": [0]})  # takes nothing away
    assert (folder / name).exists() and (augmented / "fusion.jsonl").read_bytes() == fusion


def test_what_a_review_rejected_is_not_learnt(finished, data, tmp_path):
    folder = tmp_path / "run"
    for name in ("augmented", "base/seed-0"):
        shutil.copytree(finished / "all" / name, folder / "all" / name)
    augmented = folder / "all" / "augmented"
    rows = lines_of(augmented / "train.jsonl")
    gold, synthetic = rows[0], rows[-1]
    span = gold["extensions"][0]
    decisions = {
        gold["id"]: {"spans": {f"{span['start']}-{span['end']}-{span['label']}": "rejected"}},
        synthetic["id"]: {"sample": "rejected"},
    }
    (augmented / "decisions.json").write_text(json.dumps({"rows": decisions}))
    call(folder, data | {"variants": ["base", "fs"], "seeds": [0]})
    fs = lines_of(folder / "results.jsonl")[-1]
    assert fs["train_rows"] == len(rows) - 1
    learnt = lines_of(folder / "all" / "fs" / "train-0.jsonl")
    assert span not in learnt[0]["extensions"] and len(learnt[0]["extensions"]) == len(gold["extensions"]) - 1
    assert synthetic["id"] not in {row["id"] for row in learnt}


def test_a_second_call_trains_nothing_and_other_settings_only_what_they_change(finished, data, tmp_path, caplog):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)

    def times():
        return {path: path.stat().st_mtime_ns for path in folder.glob("all/*/seed-*/model.safetensors")}

    before, lines = times(), (folder / "results.jsonl").read_text()
    call(folder, data | {"variants": FINISHED, "seeds": [0, 1]})
    assert times() == before and (folder / "results.jsonl").read_text() == lines
    renamed = data | {"variants": FINISHED, "seeds": [0, 1], "dataset": "weibo"}
    call(folder, renamed)
    assert times() == before and {line["dataset"] for line in lines_of(folder / "results.jsonl")} == {"weibo"}
    call(folder, data | {"variants": ["f"], "seeds": [1]})
    assert times() == before and sorted(lines_of(folder / "results.jsonl"), key=str) == sorted(
        map(json.loads, lines.splitlines()), key=str
    )
    call(folder, data | {"variants": ["base"], "seeds": [0, 1], "train": data["train"] | {"beta": 0.7}})
    assert {path for path, time in times().items() if time != before[path]} == {
        folder / "all" / "base" / f"seed-{seed}" / "model.safetensors" for seed in (0, 1)
    }
    assert {line["variant"] for line in lines_of(folder / "results.jsonl")} == {"base"}
    assert caplog.messages.count("all fs seed 1: left out, settings or data have changed since it was trained") == 1


def test_recorded_results_are_carried_on_without_their_models(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished / "all" / "augmented", folder / "all" / "augmented")
    lines = (finished / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text("".join(line for line in lines if '"variant": "base"' in line))
    call(folder, data | {"variants": ["base", "fs_gold"], "seeds": [0]})
    assert [(r["variant"], r["seed"]) for r in lines_of(folder / "results.jsonl")] == [
        ("base", 0), ("base", 1), ("fs_gold", 0)
    ]  # fmt: skip
    # the model that annotates was trained again, and is what it was
    name = "all/base/seed-0/test_predictions.jsonl"
    assert (folder / name).read_bytes() == (finished / name).read_bytes()
    assert not (folder / "all" / "base" / "seed-1").exists()


def test_nothing_is_trained_where_all_results_and_rows_are_kept(finished, data, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for variant in ("base", "fs_gold"):
        shutil.rmtree(folder / "all" / variant / "seed-0")
    call(folder, data | {"variants": ["base", "fs_gold"], "seeds": [0]})
    assert not any((folder / "all" / variant / "seed-0").exists() for variant in ("base", "fs_gold"))


def test_a_run_trains_as_many_updates_as_train_does_where_batches_are_cut_by_their_cost(data, tmp_path):
    given = data["train"] | {"num_train_epochs": 1, "spans_per_batch": 60, "eval_steps": None}
    settings = check_run(data | {"train": given, "updates": None}, "test")
    rows = read_rows(settings.train_file)
    files = {"train_file": settings.train_file, "output_dir": str(tmp_path / "out")}
    train(files | {"model_name_or_path": settings.model_name_or_path} | given)
    trained = json.loads((tmp_path / "out" / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
    assert updates_of_recipe(settings, Variant(), rows) == trained > len(rows) / 8


def test_a_line_without_its_model_outlives_a_call_with_other_settings(data, tmp_path):
    folder = tmp_path / "run"
    line = put(planned(data, folder), "base", 0)
    write_rows(folder / "results.jsonl", [line])
    shutil.rmtree(folder / "all" / "base")  # only the line was kept
    longer = planned(data, folder, updates=9)
    other = put(longer, "base", 0)
    assert list(longer.go()) == [other] == lines_of(folder / "results.jsonl")
    assert list(planned(data, folder).go()) == [line] == lines_of(folder / "results.jsonl")


def test_subsets_are_drawn_and_budgets_stop_with_code_3(data, tmp_path):
    settings = data | {"variants": ["base", "f"], "subsets": ["k1", 4], "validation_file": None, "updates": 1}
    output = call(tmp_path / "run", settings, "--max-requests", 5, code=3)
    assert "run the same command to go on" in output
    gold = lines_of(tmp_path / "run" / "k1" / "gold.jsonl")
    assert len({span["label"] for row in gold for span in row["entities"]}) >= 5 and len(gold) < 8
    assert "finished before" not in output  # nothing was
    output = call(tmp_path / "run", settings, "--max-requests", 4, code=3)
    finished = len(lines_of(tmp_path / "run" / "results.jsonl"))
    assert finished == 2 and f"finished before: 2; to see them: knowfree report {tmp_path / 'run'}" in output
    call(tmp_path / "run", settings)
    results = lines_of(tmp_path / "run" / "results.jsonl")
    assert [(r["subset"], r["variant"], r["dev_f1"], r["curve"]) for r in results] == [
        (subset, variant, None, []) for subset in ("k1", "4") for variant in ("base", "f")
    ]
    assert len(lines_of(tmp_path / "run" / "4" / "gold.jsonl")) == 4
    # nothing chooses: the last variant of the last subset is laid out
    assert json.loads((tmp_path / "run" / "model" / "cell.json").read_text()) == results[-1]


def planned(data: dict, folder: Path, **changes) -> Run:
    """A run whose gold lies in its folder; nothing is trained."""
    run = Run(check_run(data | {"variants": ["base"]} | changes, "test"), folder)
    for subset, rows in run.subsets.items():
        write_rows(run.gold(subset), rows)
    return run


def put(run: Run, variant: str, seed: int, dev_f1: float | None = 0.5, subset: str = "all") -> dict:
    """A cell that looks finished."""
    cell = run.cell(subset, variant, seed, run.settings.updates)
    ratios = dict.fromkeys(("f1", "precision", "recall", "macro_f1"), 0.5)
    counts = {"train_rows": 8, "gold_rows": 8, "synthetic_rows": 0, "updates": cell.updates, "seconds": 1.0}
    result = {"dataset": "trails", "subset": subset, "variant": variant, "seed": seed, **ratios, "dev_f1": dev_f1}
    result |= {"curve": [], **counts, "per_label": {}, "versions": {}, "key": cell.key()}
    write_rows(cell.folder / "test_predictions.jsonl", [{"id": "1", "tokens": ["x"], "entities": []}])
    write_rows(cell.folder / "cell.json", [result])
    return result


def test_several_calls_fill_one_folder_and_what_their_settings_would_not_give_is_left_out(data, tmp_path, caplog):
    folder = tmp_path / "run"
    first = planned(data, folder, variants=["base", "cnn"], seeds=[0, 1])
    told = [put(first, variant, seed) for variant in ("base", "cnn") for seed in (0, 1)]
    other = planned(data, folder, subsets=[4])
    told.append(put(other, "base", 0, subset="4"))
    mine = planned(data, folder, define={"mine": {"train": {"beta": 0.7}}})
    told.append(put(mine, "mine", 0))
    write_rows(folder / "results.jsonl", mine.results())
    shutil.rmtree(folder / "all" / "cnn" / "seed-1")  # recorded only
    assert sorted(planned(data, folder).results(), key=str) == sorted(told, key=str)

    longer = planned(data, folder, updates=9)
    now = put(longer, "base", 0)
    assert [line for line in longer.results() if line["variant"] != "mine"] == [now]
    assert longer.results()[1:] == told[-1:]  # nobody knows what it was
    assert caplog.messages == [
        f"{cell}: left out, settings or data have changed since it was trained"
        for cell in ("4 base seed 0", "all base seed 1", "all cnn seed 0", "all cnn seed 1")
    ]
    assert (folder / "all" / "base" / "seed-1" / "cell.json").exists()


@pytest.mark.parametrize("name", ["test", "train"])
def test_a_variant_that_is_defined_no_more_is_left_out_once_its_data_have_changed(name, data, tmp_path, caplog):
    rows = read_rows(data[f"{name}_file"])
    copy = tmp_path / f"{name}.jsonl"
    write_rows(copy, rows)
    settings = data | {f"{name}_file": str(copy), "updates": 1}
    folder = tmp_path / "run"
    call(folder, settings | {"variants": ["base", "mine"], "define": {"mine": {"train": {"span_mixer": "none"}}}})
    call(folder, settings | {"variants": ["base"]})
    assert [line["variant"] for line in lines_of(folder / "results.jsonl")] == ["base", "mine"]
    write_rows(copy, rows[:-1])
    call(folder, settings | {"variants": ["base"]}, "--accept_changes")
    assert [line["variant"] for line in lines_of(folder / "results.jsonl")] == ["base"]
    assert "all mine seed 0: left out, settings or data have changed since it was trained" in caplog.messages
    assert (folder / "all" / "mine" / "seed-0" / "cell.json").exists()


def test_what_is_laid_out_is_of_this_call(data, tmp_path):
    settings = data | {"validation_file": None}
    both = planned(settings, tmp_path / "run", variants=["base", "plain"])
    base, plain = (put(both, variant, 0, None) for variant in ("base", "plain"))
    assert both.best() == (plain, None)
    assert planned(settings, tmp_path / "run").best() == (base, None)
    assert planned(settings, tmp_path / "run", updates=7).best() is None


def test_the_best_is_compared_over_shared_seeds(data, tmp_path):
    run = planned(data, tmp_path / "run", variants=["base", "plain"], seeds=[0, 1, 2])
    cells = [put(run, "base", seed, f1) for seed, f1 in enumerate([0.60, 0.62, 0.50])]
    for seed, f1 in enumerate([0.59, 0.61]):
        put(run, "plain", seed, f1)
    assert run.best() == (cells[1], pytest.approx(0.61))


@pytest.mark.parametrize("damage", ["truncated", "blank", '{"a": 1}', '{"key": "x"}', "byte"])
def test_damaged_results_are_told_of_and_rebuilt(data, tmp_path, caplog, damage):
    folder = tmp_path / "run"
    run = planned(data, folder, seeds=[0, 1])
    cells = [put(run, "base", seed) for seed in (0, 1)]
    write_rows(folder / "results.jsonl", cells)
    whole = (folder / "results.jsonl").read_bytes()
    damaged = {"truncated": whole[:-40], "blank": whole + b"\n", "byte": whole[:-20] + b"\xe4\n"}
    (folder / "results.jsonl").write_bytes(damaged.get(damage, whole + damage.encode() + b"\n"))
    assert list(planned(data, folder, seeds=[0, 1]).go()) == cells
    assert (folder / "results.jsonl").read_bytes() == whole
    told = [message for message in caplog.messages if "results.jsonl, line" in message]
    assert len(told) == (damage != "blank") and all("left out" in message for message in told)


def test_a_damaged_cell_is_trained_again(data, tmp_path):
    folder = tmp_path / "run"
    result = put(planned(data, folder, updates=1), "base", 0)
    (folder / "all" / "base" / "seed-0" / "cell.json").write_text(json.dumps(result)[:-9])
    write_rows(folder / "results.jsonl", [result])  # what it says is no model
    [again] = planned(data, folder, updates=1).go()
    assert again["key"] == result["key"] and again["versions"] and lines_of(folder / "results.jsonl") == [again]


def test_line_breaks_of_unicode_in_a_token_and_a_test_file_edited_meanwhile(data, tmp_path, monkeypatch):
    rows = read_rows(data["train_file"])
    rows[0]["tokens"][0] += "\u2028\u0085"
    write_rows(tmp_path / "train.jsonl", rows)
    test_file = tmp_path / "test.jsonl"
    shutil.copy(data["test_file"], test_file)
    changes = {"train_file": str(tmp_path / "train.jsonl"), "test_file": str(test_file), "updates": 1}
    run = planned(data, tmp_path / "run", **changes)
    cell = run.cell("all", "base", 0, 1)
    assert finish(cell, run.test)["train_rows"] == 8
    assert cell.result()

    def edit_and_load(*arguments):
        write_rows(test_file, [row | {"entities": []} for row in run.test])
        return load_pipeline(*arguments)

    monkeypatch.setattr("knowfree_experiments.run.finishing.load_pipeline", edit_and_load)
    finish(cell, run.test)
    assert cell.result() is None


@pytest.mark.parametrize("variant", ["base", "bio_crf", "w2ner"])
def test_a_row_of_another_recipe_is_another(data, tmp_path, monkeypatch, variant):
    put(planned(data, tmp_path / "run", variants=[variant]), variant, 0)
    assert planned(data, tmp_path / "run", variants=[variant]).cell("all", variant, 0, 3).result()
    monkeypatch.setitem(RECIPES["small"], "warmup_steps", 0.2)
    assert planned(data, tmp_path / "run", variants=[variant]).cell("all", variant, 0, 3).result() is None


@pytest.mark.parametrize("variant", ["bio_crf", "w2ner", "bert_bilstm_crf"])
def test_a_row_stays_where_the_recipe_changes_what_it_does_not_have(data, tmp_path, monkeypatch, variant):
    cell = planned(data, tmp_path / "run", variants=[variant]).cell("all", variant, 0, 3)
    before = cell.key()
    monkeypatch.setitem(RECIPES["small"], "tag_weight", 7.0)
    monkeypatch.setitem(RECIPES["small"], "extension_budget", 7.0)
    assert cell.key() == before


def test_the_preset_of_the_task_shapes_a_cell(data, tmp_path, monkeypatch):
    cell = planned(data, tmp_path / "run", variants=["base"]).cell("all", "base", 0, 3)
    before = cell.key()
    monkeypatch.setitem(TASK_PRESETS[cell.settings.task], "weight_decay", 0.5)
    assert cell.key() != before


@pytest.fixture
def causal(encoder, tmp_path) -> Path:
    """A folder that llm_lora may be told: a configuration, and a tokenizer that knows an end."""
    AutoConfig.from_pretrained(encoder).save_pretrained(tmp_path / "causal")
    AutoTokenizer.from_pretrained(encoder, eos_token="[SEP]").save_pretrained(tmp_path / "causal")
    return tmp_path / "causal"


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({"variants": ["llm_lora"], "lora": {"rank": 8}}, [{"language": "zh"}, {"lora": {"rank": 4}}]),
        ({"variants": ["llm_zero"]}, [{"label_descriptions": {"PLACE": "where"}}]),
    ],
)
def test_what_the_prompt_says_is_part_of_a_cell(data, causal, tmp_path, changes, others):
    [variant] = changes["variants"]

    def key(**more):
        told = changes | more
        told |= {"lora": told["lora"] | {"model": str(causal)}} if "lora" in told else {}
        return planned(data, tmp_path / "run", **told).cell("all", variant, 0, 3).key()

    assert key() == key() and all(key(**other) != key() for other in others)


def test_an_llm_that_tags_the_test_set_knows_nothing_of_label_merging(data, tmp_path):
    def key(**augment):
        values = data["augment"] | augment
        return (
            planned(data, tmp_path / "run", variants=["llm_zero"], augment=values).cell("all", "llm_zero", 0, 3).key()
        )

    assert key() == key(epsilon=0.7, kinds=["pos"]) != key(window_units=64)


def test_what_else_lies_in_files_is_part_of_a_cell(data, causal, tmp_path):
    words = tmp_path / "more.jsonl"
    shutil.copy(data["train_file"], words)
    of_words = {"variants": ["base"], "train": data["train"] | {"vocabulary_files": [str(words)]}}
    tuned = {"variants": ["llm_lora"], "lora": {"model": str(causal)}}

    def keys():
        return [
            planned(data, tmp_path / "run", **changes).cell("all", changes["variants"][0], 0, 3).key()
            for changes in (of_words, tuned)
        ]

    before = keys()
    words.write_text(words.read_text(encoding="utf-8").upper(), encoding="utf-8")
    config = json.loads((causal / "config.json").read_text())
    (causal / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.3}))
    assert all(old != new for old, new in zip(before, keys(), strict=True))


def test_an_encoder_of_other_weights_is_another(data, tmp_path):
    shutil.copytree(data["model_name_or_path"], tmp_path / "encoder")
    changes = {"model_name_or_path": str(tmp_path / "encoder")}
    put(planned(data, tmp_path / "run", **changes), "base", 0)
    weights = tmp_path / "encoder" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\0\0\0\1")
    assert planned(data, tmp_path / "run", **changes).cell("all", "base", 0, 3).result() is None
    weights.write_bytes(content)
    assert planned(data, tmp_path / "run", **changes).cell("all", "base", 0, 3).result()


def test_labels_that_begin_with_a_dash_are_labels(data, tmp_path):
    rows = read_rows(data["train_file"])
    for span in (span for row in rows for span in row["entities"] if span["label"] == "GEAR"):
        span["label"] = "-LRB-"
    for name in ("train", "dev", "test"):
        write_rows(tmp_path / f"{name}.jsonl", rows)
    files = {f"{name}_file": str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}
    changes = files | {"validation_file": None, "updates": 1, "variants": ["base", "bio"]}
    for result in planned(data, tmp_path / "run", **changes).go():
        assert "-LRB-" in result["per_label"]
    config = json.loads((tmp_path / "run" / "all" / "base" / "seed-0" / "config.json").read_text())
    assert "-LRB-" in config["id2label"].values()


def test_baselines_are_trained_with_what_the_run_says(data, tmp_path):
    given = {"gradient_accumulation_steps": 2, "lr_scheduler_type": "constant", "max_grad_norm": 9.0, "warmup_steps": 0}
    changes = {"train": data["train"] | given, "variants": ["base", "bio"], "updates": 1}
    list(planned(data, tmp_path / "run", **changes).go())
    told = [
        json.loads((tmp_path / "run" / "all" / variant / "seed-0" / "training_args.json").read_text())
        for variant in ("base", "bio")
    ]
    assert told[0].items() >= given.items()
    different = {name for name in told[0] if told[0][name] != told[1].get(name)}
    # max_steps wins over num_train_epochs; sentences are joined for the span model, extension labels learnt by it
    assert different == {"output_dir", "num_train_epochs", "join_sentences", "extension_schedule"}


def test_a_folder_of_other_data_is_refused(finished, data, tmp_path):
    before = (finished / "run.yaml").read_bytes()
    write_rows(tmp_path / "more.jsonl", read_rows(DEMO / "train.jsonl")[:9])
    output = call(finished, data | {"train_file": str(tmp_path / "more.jsonl")}, code=2)
    assert "gold.jsonl: holds other rows" in output and "--accept_changes" in output
    assert (finished / "run.yaml").read_bytes() == before


def test_recorded_answers_that_changed_are_read_anew(data, tmp_path):
    answers = tmp_path / "answers.jsonl"
    text = (DEMO / "answers.jsonl").read_text(encoding="utf-8")
    answers.write_text(text, encoding="utf-8")
    settings = data | {"variants": ["f"], "updates": 1, "augment": data["augment"] | {"answers": [str(answers)]}}
    call(tmp_path / "run", settings)
    fused = tmp_path / "run" / "all" / "augmented" / "fusion.jsonl"
    before = fused.read_bytes()
    stamp = fused.stat().st_mtime_ns
    call(tmp_path / "run", settings)
    assert fused.stat().st_mtime_ns == stamp  # nothing changed, nothing was made
    higher = settings | {"augment": settings["augment"] | {"max_tokens": {"entities": 9_000}}}
    call(tmp_path / "run", higher)
    assert fused.stat().st_mtime_ns != stamp and fused.read_bytes() == before  # what was cut would be asked again
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        if line["task"] == "entities":
            line["completion"] = "[]"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    call(tmp_path / "run", settings)
    assert b"ENT:" in before and b"ENT:" not in fused.read_bytes()


def test_a_second_call_on_a_folder_in_use_changes_nothing(data, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with hold(folder / "run.yaml"):
        output = call(folder, data | {"variants": ["base"]}, code=2)
    assert "another run is at work" in output and str(folder) in output
    assert [path.name for path in folder.iterdir()] == ["run.yaml.lock"]


def test_a_model_of_an_earlier_call_is_not_called_none(data, tmp_path):
    call(tmp_path / "run", data | {"variants": ["base"], "updates": 1})
    told = call(tmp_path / "run", data | {"variants": ["bio"], "updates": 1})
    assert f"{tmp_path / 'run' / 'model'}: stays as an earlier call left it, as no KnowFREE model" in told
    told = call(tmp_path / "other", data | {"variants": ["bio"], "updates": 1})
    assert f"{tmp_path / 'other' / 'model'}: none, as no KnowFREE model of these variants lies here" in told
