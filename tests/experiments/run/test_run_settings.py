"""What `knowfree run` refuses before it starts, and how it reads its files."""

import json
import shutil

import pytest
from knowfree_experiments.report.comparison import compare
from knowfree_experiments.run.results import read_run
from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import check_run

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.inference.tag import evaluate
from tests.support.tiny_run import call, lines_of, tiny_settings


@pytest.fixture(scope="module")
def data(tmp_path_factory, encoder) -> dict:
    return tiny_settings(tmp_path_factory.mktemp("data"), encoder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"variants": ["base", "best"]}, "no variant 'best'"),
        ({"colour": 1}, "no setting 'colour'"),
        ({"subsets": ["k0"]}, "k 0 asked for; allowed: 1 and more"),
        ({"subsets": ["half"]}, "'half'"),
        ({"subsets": ["k" + "1" * 5000]}, "is none; write k5"),
        ({"subsets": ["1" * 5000]}, "is none; write k5"),
        ({"train": {"max_span_width": "1" * 5000}}, "give a number of units, or auto"),
        ({"seeds": []}, "name at least one"),
        ({"seeds": [True]}, "seeds is true, which is no value of it"),
        ({"labels": [""]}, "labels: name at least one, and each once, none of them empty"),
        ({"train_file": ""}, "train_file is '': "),
        ({"test_file": ""}, "test_file is '': "),
        ({"dataset": ""}, "dataset is '': "),
        ({"labels": ["PLACE", "TIME", "PLACE"]}, "labels: name at least one, and each once"),
        ({"define": {"base": {}}}, "a name of its own"),
        ({"define": {"..": {}}, "variants": [".."]}, "define: '..'; give it a name of its own"),
        ({"define": {"augmented": {}}, "variants": ["augmented"]}, "'augmented' is what the run keeps beside"),
        ({"define": {"augmented-f": {}}, "variants": ["f"]}, "'augmented-f' is what the run keeps beside"),
        ({"define": {"mine": {"data": "silver"}}, "variants": ["mine"]}, "silver"),
        (
            {"define": {"mine": {"dat": "gold"}}, "variants": ["mine"]},
            "define.mine: no setting 'dat'; did you mean data?",
        ),
        ({"min-teacher-f1": 0.6}, "no setting 'min-teacher-f1'; did you mean min_teacher_f1?"),
        ({"augment": {"merge-labels": True}}, "augment: no setting 'merge-labels'"),
        (
            {"augment": {"requests_per_minute": float("inf")}},
            "requests_per_minute is inf: Input should be a finite number",
        ),
        ({"augment": {"concurrency": 10**9}}, "concurrency is 1000000000: "),
        (
            {"augment": {"client": "recorded", "answers": ["no.jsonl"]}, "variants": ["f"]},
            "answers no.jsonl: no such file",
        ),
        ({"train": {"learnig_rate": 1}}, "no argument is called 'learnig_rate'; did you mean learning_rate?"),
        ({"augment": {"annotator": "oracle"}}, "oracle"),
        ({"language": "fr"}, "language is 'fr'"),
        ({"label_descriptions": {"PLAEC": "where"}}, "label_descriptions: 'PLAEC' is no label here; there are "),
        ({"test_file": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"updates": 0}, "updates"),
        ({"train": {"learning_rates": 1}, "variants": ["base"]}, "learning_rates"),
        (
            {"train": {"learning_rate": "abc"}, "variants": ["f"]},
            "train of f: arguments: learning_rate: 'abc' is no float",
        ),
        ({"train": {"learning_rate": {"a": 1}}}, "learning_rate: {'a': 1} is no float"),
        ({"train": {"use_cpu": "maybe"}}, "use_cpu: 'maybe' is no bool"),
        ({"train": {"lr_scheduler_type": "sideways"}}, "train of base: arguments: sideways is not a valid"),
        ({"train": {"per_device_train_batch_size": 0}}, "train of base: "),
        ({"train": {"pooling": "median"}}, "train of base: pooling='median': choose one of"),
        ({"train": {"attention_heads": 7}}, "must be a multiple of attention_heads=7"),
        ({"train": {"max_span_width": "wide"}}, "max_span_width='wide'"),
        ({"define": {"m": {"train": {"head_dropout": 7}}}, "variants": ["m"]}, "train of m: head_dropout=7.0: give a"),
        (
            {"define": {"m": {"train": {"num_train_epochs": 9}}}, "variants": ["m"]},
            "m: no num_train_epochs of its own: all",
        ),
        (
            {"define": {"m": {"train": {"max_steps": 9}}}, "variants": ["m"]},
            "'max_steps' is to be given here: the run sets",
        ),
        (
            {"define": {"m": {"tagger": "bio", "train": {"pooling": "max"}}}, "variants": ["m"]},
            "BIO tagger has no pooling",
        ),
        ({"define": {"m": {"tagger": "bio", "train": {"beta": 1}}}, "variants": ["m"]}, "a BIO tagger has no beta"),
        (
            {"train": {"push_to_hub": True}},
            "train of base: no argument 'push_to_hub' is to be given here: `knowfree push`",
        ),
        ({"train": {"hub_token": "hf_x"}}, "train of base: no argument 'hub_token' is to be given here"),
        ({"train": {"save_steps": 3, "eval_steps": 2}}, "train of base: --save_steps 3 with --eval_steps 2: the best"),
        ({"train": {"eval_strategy": "no"}}, "train of base: --eval_strategy no: with a validation file"),
        (
            {"train": {"eval_strategy": "epoch", "save_strategy": "steps"}},
            "the best checkpoint is chosen among evaluated",
        ),
        (
            {"train": {"load_best_model_at_end": False}},
            "train of base: --load_best_model_at_end false: with a validation",
        ),
        ({"validation_file": None, "train": {"eval_strategy": "epoch"}}, "there are no sentences to evaluate on"),
        ({"seeds": [-1]}, "seeds.0 is -1: "),
        ({"augment": ["recorded"]}, "augment is ['recorded']: "),
        ({"augment": {"cleint": "recorded"}, "variants": ["base"]}, "augment: no setting 'cleint'"),
        ({"augment": {"answers": None}}, "augment: answers is None: Input should be a valid tuple"),
        ({"augment": {"answers": "a.jsonl"}}, "augment: answers is 'a.jsonl': Input should be a valid tuple"),
        ({"define": {"mine": {"augment": {"p": 0}}}, "variants": ["base"]}, "define: mine: p is 0: "),
        ({1: 2}, "1 is no name of a setting"),
        ({"subsets": [None]}, "subsets.0 is None: "),
        ({"subsets": [[1]]}, "subsets.0 is [1]: "),
        ({"model_name_or_path": "no/such-encoder", "variants": ["base"]}, "no/such-encoder"),
    ],
)
def test_bad_settings_are_one_line_code_2_and_leave_nothing(data, tmp_path, change, told):
    output = call(tmp_path / "run", data | change, code=2)
    assert told in output.splitlines()[-1] and "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_looks_at_dev_may_be_set(data, tmp_path):
    looks = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    call(tmp_path / "run", data | {"variants": ["base"], "updates": 3, "train": looks})
    (line,) = lines_of(tmp_path / "run" / "results.jsonl")
    assert [update for update, _ in line["curve"]] == [1, 2, 3]  # a batch has all sentences


def test_a_lone_number_is_a_list_of_one(data):
    settings = check_run(data | {"seeds": 3, "subsets": 5}, "here")
    assert (settings.seeds, settings.subsets) == ([3], ["5"])


def test_lists_may_be_one_text_with_commas_and_spaces(data):
    settings = check_run(data | {"variants": "base, f ,", "labels": "PLACE, TIME", "seeds": "1, 2"}, "here")
    assert (settings.variants, settings.labels, settings.seeds) == (["base", "f"], ["PLACE", "TIME"], [1, 2])


def test_all_files_are_read_for_the_task(data, tmp_path):
    tagged = [{"tokens": ["old", "axe", "head", "lost"], "tags": ["O", "NOUN", "NOUN", "VERB"]}] * 3
    (tmp_path / "pos.jsonl").write_text("".join(json.dumps(each) + "\n" for each in tagged), encoding="utf-8")
    files = dict.fromkeys(("train_file", "validation_file", "test_file"), str(tmp_path / "pos.jsonl"))
    settings = data | files | {"task": "pos", "variants": ["base"], "subsets": [str(tmp_path / "pos.jsonl")]}
    call(tmp_path / "run", settings)
    run = read_run(tmp_path / "run")
    for rows in (lines_of(tmp_path / "run" / "pos" / "gold.jsonl"), run.test_rows):
        assert [(span["start"], span["end"]) for span in rows[0]["entities"]] == [(1, 2), (2, 3), (3, 4)]
    model = tmp_path / "run" / "pos" / "base" / "seed-0"
    scores = evaluate(str(model), str(tmp_path / "pos.jsonl"))
    assert scores["gold_spans"] == 9
    assert evaluate(str(model), str(tmp_path / "pos.jsonl"), reading={"task": "ner"})["gold_spans"] == 6


def offsets(sentences: list[str]) -> str:
    """A file of running text: each sentence with its last word as the one entity, counted in characters."""
    spans = [{"start": text.rindex(" ") + 1, "end": len(text), "label": "LOC"} for text in sentences]
    return "".join(json.dumps({"text": t, "entities": [s]}) + "\n" for t, s in zip(sentences, spans, strict=True))


def test_all_files_are_read_in_the_unit_of_the_train_file(data, tmp_path):
    words = [["我们", "一起", "在", "嘉鱼"], ["他们", "住", "在", "武汉"]]
    entities = [{"start": 3, "end": 4, "label": "LOC"}]
    write_rows(tmp_path / "train.jsonl", [{"id": text[0], "tokens": text, "entities": entities} for text in words])
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "validation", "test", "part")}
    for name in ("validation", "test", "part"):
        files[name].write_text(offsets([" ".join(text) for text in words]), encoding="utf-8")
    settings = {f"{name}_file": str(files[name]) for name in ("train", "validation", "test")}
    settings |= {"language": "zh", "variants": ["base", "bio"], "subsets": [str(files["part"])]}
    call(tmp_path / "run", data | settings)
    assert [row["tokens"] for row in lines_of(tmp_path / "run" / "part" / "gold.jsonl")] == words
    run = read_run(tmp_path / "run")
    assert run.unit == "word" and [row["tokens"] for row in run.test_rows] == words
    assert compare(run, "part", "bio", "base", resamples=10).sentences == 2


def test_a_unit_that_the_tokens_do_not_have_is_refused(data, tmp_path):
    with pytest.raises(InputError, match=r"unit is 'character', but .*train\.jsonl has word tokens; leave unit out"):
        Run(check_run(data | {"unit": "character"}, "test"), tmp_path)


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("model", [], "the folder 'model', which the run keeps for itself (as it does model, augmented, "),
        ("augmented", [], "the folder 'augmented', which"),
        ("k1", ["k1"], "two are called k1"),
        ("all", ["all"], "two are called all"),
    ],
)
def test_subsets_that_would_lie_in_one_folder_are_refused(data, tmp_path, name, more, told):
    file = tmp_path / f"{name}.jsonl"
    shutil.copy(data["train_file"], file)
    for subsets in ([str(file), *more], [*more, str(file)]):
        assert told in call(tmp_path / "run", data | {"subsets": subsets, "variants": ["base"]}, code=2)
        assert not (tmp_path / "run").exists()
