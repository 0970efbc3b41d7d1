"""The rows that are no KnowFREE in a whole run: networks trained on the same rows, and the LLM that tags by itself."""

import json

import pytest
from knowfree_experiments.run.arguments import shaping_arguments
from knowfree_experiments.run.results import PREDICTIONS_FILE
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.variants import LEXICON_TAGGERS, VARIANTS
from transformers import AlbertConfig, AlbertModel, AutoTokenizer

from augmentation.llm.recorded import RecordedClient
from modeling_knowfree.data.readers import read_rows, write_rows
from tests.conftest import row
from tests.support.llm_server import Faults, LLMServer
from tests.support.tiny_run import call, lines_of, tiny_settings


def answer(each: dict, entities: list[tuple[str, str]]) -> str:
    """A recorded answer to task `targets`."""
    completion = json.dumps([{"entity": entity, "type": label} for entity, label in entities])
    return json.dumps(
        {"task": "targets", "id": each["id"], "input": " ".join(each["tokens"]), "completion": completion}
    )


@pytest.fixture
def asked(encoder, tmp_path):
    """Settings of a run whose LLM finds all entities of the test rows but those of the first."""
    settings = tiny_settings(tmp_path, encoder)
    lines = []
    for number, each in enumerate(read_rows(settings["test_file"])):
        spans = sorted(each["entities"], key=lambda span: span["start"])
        found = [(" ".join(each["tokens"][span["start"] : span["end"]]), span["label"]) for span in spans]
        lines.append(answer(each, found if number else [("a mule", "WILDLIFE"), (found[0][0], "NONE OF THEM")]))
    (tmp_path / "targets.jsonl").write_text("\n".join(lines), encoding="utf-8")
    settings["augment"] = {"client": "recorded", "answers": [str(tmp_path / "targets.jsonl")]}
    return settings


def test_the_llm_tags_the_test_set_and_is_scored_as_everybody(asked, tmp_path):
    asked["augment"] |= {"usd_per_million_prompt_tokens": 1.0}
    folder = tmp_path / "run"
    printed = call(folder, asked, "--variants", "llm_zero,llm_few", "--seeds", "0,1")
    zero, few = lines_of(folder / "results.jsonl")
    assert (zero["variant"], few["variant"], zero["seed"]) == ("llm_zero", "llm_few", 0)
    gold = read_rows(asked["test_file"])
    right = sum(len(each["entities"]) for each in gold[1:])
    for line in (zero, few):
        assert line["recall"] == pytest.approx(right / (right + len(gold[0]["entities"])))
        assert line["precision"] == 1.0  # what has no place or no such label is never a span
        assert line["updates"] == 0 and line["dev_f1"] is None and line["curve"] == []
        assert line["llm"] | {"concurrency": 0} == {
            "texts": 6,
            "failed": 0,
            "unaligned": 2,
            "prompt_tokens": None,
            "completion_tokens": None,
            "usd": None,
            "seconds_per_text": None,
            "concurrency": 0,
        }
    predictions = read_rows(folder / "all" / "llm_zero" / "seed-0" / PREDICTIONS_FILE)
    assert predictions[0]["entities"] == [] and len(predictions[1]["entities"]) == len(gold[1]["entities"])
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "llm_zero" in report and "llm_few" in report
    assert call(folder, asked, "--variants", "llm_zero,llm_few", "--seeds", "0,1").count("seed 0  test F1") == 2
    assert "llm_zero" in printed


def test_rows_of_recorded_answers_have_each_their_own(asked, tmp_path):
    rows = read_rows(asked["test_file"])
    (tmp_path / "none.jsonl").write_text("\n".join(answer(each, []) for each in rows), encoding="utf-8")
    define = {"nothing": {"tagger": "llm_zero", "augment": {"answers": [str(tmp_path / "none.jsonl")]}}}
    call(tmp_path / "run", asked | {"define": define}, "--variants", "llm_zero,nothing")
    assert [line["f1"] > 0 for line in lines_of(tmp_path / "run" / "results.jsonl")] == [True, False]
    (tmp_path / "targets.jsonl").write_text((tmp_path / "none.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    call(tmp_path / "run", asked, "--variants", "llm_zero")
    assert lines_of(tmp_path / "run" / "results.jsonl")[0]["f1"] == 0


def test_texts_without_an_answer_are_counted_and_a_run_without_any_is_refused(asked, tmp_path):
    path = tmp_path / "targets.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:4]), encoding="utf-8")
    call(tmp_path / "run", asked, "--variants", "llm_zero")
    [line] = lines_of(tmp_path / "run" / "results.jsonl")
    assert line["llm"]["failed"] == 2
    path.write_text(lines[0].replace("targets", "entities"), encoding="utf-8")
    printed = call(tmp_path / "other", asked, "--variants", "llm_zero", code=1)
    assert not (tmp_path / "other" / "results.jsonl").exists()
    assert "no usable answer to any of the 6 texts" in printed and "no recorded answer" in printed


def test_texts_that_a_server_failed_on_are_asked_again(asked, tmp_path):
    path = asked["augment"]["answers"][0]
    cut = " ".join(read_rows(asked["test_file"])[2]["tokens"])
    with LLMServer(RecordedClient([path]), refuse_text=cut) as server:
        there = {"client": "hub", "base_url": f"{server.url}/v1", "model": "m"}
        call(tmp_path / "run", asked | {"augment": there}, "--variants", "llm_zero")
        [line] = lines_of(tmp_path / "run" / "results.jsonl")
        assert line["llm"]["failed"] == 1
        server.refuse_text, before = None, server.requests
        call(tmp_path / "run", asked | {"augment": there}, "--variants", "llm_zero", "--seeds", "4")
        assert [entry["input"] for entry in server.log[before:] if entry["task"] == "targets"] == [cut]
        [again] = lines_of(tmp_path / "run" / "results.jsonl")
        assert again["llm"]["failed"] == 0 and again["seed"] == 0 and again["recall"] > line["recall"]
        before = server.requests
        call(tmp_path / "run", asked | {"augment": there}, "--variants", "llm_zero")
        assert server.requests == before


def test_what_was_paid_counts_the_answers_that_a_re_ask_replaced(asked, tmp_path):
    faults = Faults(seed=1, sticky_malformed=0.5)
    with LLMServer(RecordedClient(asked["augment"]["answers"]), faults=faults) as server:
        there = {"client": "hub", "base_url": f"{server.url}/v1", "model": "m"}
        call(tmp_path / "run", asked | {"augment": there}, "--variants", "llm_zero")
        sent = [entry["prompt_tokens"] for entry in server.log if entry["task"] == "targets"]
    [line] = lines_of(tmp_path / "run" / "results.jsonl")
    assert 0 < line["llm"]["failed"] < line["llm"]["texts"] == 6 < len(sent)
    assert line["llm"]["prompt_tokens"] == sum(sent)


def test_the_llm_is_told_what_the_labels_mean(asked, tmp_path):
    path = asked["augment"]["answers"][0]
    with LLMServer(RecordedClient([path])) as server:
        there = {"client": "hub", "base_url": f"{server.url}/v1", "model": "m"}
        described = {"label_descriptions": {"PLACE": "where one can stand"}}
        call(tmp_path / "run", asked | described | {"augment": there}, "--variants", "llm_zero")
        asked_for = [entry["last"] for entry in server.log if entry["task"] == "targets"]
    assert asked_for and all("where one can stand" in prompt for prompt in asked_for)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"augment": {"client": "recorded"}}, "needs answers"),
        ({"augment": {"client": "recorded", "answers": ["none.jsonl"]}}, "none.jsonl: no such file"),
        ({"augment": {}}, "name the LLM"),
        ({"augment": {"induce_guideline": True}}, "induce_guideline: llm_zero tags the test set without"),
        ({"augment": {"verify": True}}, "verify: llm_zero tags the test set without a second look"),
        (
            {"define": {"mine": {"tagger": "llm_zero", "train": {"beta": 1}}}, "variants": ["mine"]},
            "nothing is trained",
        ),
        (
            {"define": {"mine": {"tagger": "w2ner", "train": {"span_mixer": "cnn"}}}, "variants": ["mine"]},
            "w2ner has no span_mixer",
        ),
        *(
            (
                {"define": {"mine": {"tagger": tagger, "train": {"join_sentences": 0.5}}}, "variants": ["mine"]},
                f"{what} has no join_sentences",
            )
            for tagger, what in (("bio_crf", "a BIO tagger"), ("difinet", "difinet"), ("llm_lora", "llm_lora"))
        ),
        (
            {"define": {"mine": {"tagger": "w2ner", "pool": "gold"}}, "variants": ["mine"], "unlabeled_file": ""},
            "mine: spans of the pool have weights and doubts, which w2ner cannot learn from",
        ),
        ({"variants": ["flat"]}, "flat needs words"),
        ({"variants": ["llm_lora"]}, "lora: {model: ID"),
        ({"variants": ["llm_lora"], "lora": {"model": "m", "rank": "8"}}, "rank is '8'"),
        ({"variants": ["llm_lora"], "lora": {"model": "m", "rank": 0}}, "rank is 0"),
        ({"variants": ["llm_lora"], "lora": {"model": "m", "max_new_tokens": True}}, "max_new_tokens is True"),
        ({"variants": ["llm_lora"], "lora": {"model": "nowhere"}}, "llm_lora: model nowhere: "),
        ({"variants": ["base", "w2ner"], "train": {"lora_rank": 4}}, "train of w2ner: lora_rank is for KnowFREE alone"),
        ({"variants": ["base", "bio"], "train": {"lora_rank": 4}}, "train of bio: lora_rank is for KnowFREE alone"),
        ({"variants": ["llm_lora"], "lora": {"model": "m", "quantization": "8bit"}}, "8bit"),
        (
            {"variants": ["llm_lora"], "lora": {"model": "m", "learning_rate": "2e-4"}},
            "as a number where it has a point",
        ),
        (
            {"define": {"mine": {"tagger": "llm_lora", "train": {"head_learning_rate": 0.1}}}, "variants": ["mine"]},
            "llm_lora has no head_learning_rate",
        ),
        ({"variants": ["lebert"], "lexicon": "rjieba"}, "read Chinese characters, and language is 'en'"),
        (
            {"variants": ["mect"], "lexicon": "rjieba", "language": "ko"},
            "mect: lexicon methods read Chinese characters",
        ),
        ({"variants": ["pcbert"], "lexicon": "none.txt", "language": "zh"}, "token of the training rows is"),
        ({"define": {"mine": {"tagger": "w3ner"}}, "variants": ["mine"]}, "w2ner"),
    ],
)
def test_rows_that_cannot_run_are_refused_before_anything_starts(changes, told, asked, tmp_path):
    (tmp_path / "texts.txt").write_text("deep snow again\n", encoding="utf-8")
    changes = changes | ({"unlabeled_file": str(tmp_path / "texts.txt")} if "unlabeled_file" in changes else {})
    settings = asked | {"variants": ["llm_zero"]} | changes
    assert told in call(tmp_path / "run", settings, code=2)
    assert not (tmp_path / "run").exists()


CHINESE = [
    row("张三去北京大学", (0, 2, "PER"), (3, 5, "LOC"), (3, 7, "ORG")),
    row("我们一起在嘉鱼", (5, 7, "LOC")),
    row("李四在大学医院见面", (0, 2, "PER"), (3, 7, "ORG")),
    row("今天下午去北京东站", (5, 7, "LOC"), (5, 9, "LOC")),
]


@pytest.fixture
def chinese(encoder, tmp_path):
    """Settings of a run on four nested Chinese sentences, which are dev and test too."""
    write_rows(tmp_path / "rows.jsonl", CHINESE)
    path = str(tmp_path / "rows.jsonl")
    (tmp_path / "words.txt").write_text("北京\n大学\n北京大学\n嘉鱼\n医院\n", encoding="utf-8")
    return {
        "train_file": path,
        "validation_file": path,
        "test_file": path,
        "language": "zh",
        "task": "nested_ner",
        "model_name_or_path": str(encoder),
        "updates": 1,
        "lexicon": str(tmp_path / "words.txt"),
        "train": {"use_cpu": True, "learning_rate": "1e-3", "spans_per_batch": 60},
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subsets": ["all", "wordless"]}, "flat on wordless: lexicon: "),
        (
            {"lexicon": "augmentation", "augment": {"kinds": ["entities"]}},
            "augment asks the LLM for kinds: ['entities']",
        ),
        (
            {"labels": [*"PER LOC ORG".split(), *(f"label{n}" for n in range(9))], "variants": ["pcbert"]},
            "of 12 labels",
        ),
    ],
)
def test_lexicon_rows_that_cannot_run_are_refused_before_anything_is_asked(changes, told, chinese, tmp_path):
    wordless = tmp_path / "wordless.jsonl"
    write_rows(wordless, [row("王五走了", (0, 2, "PER"))])
    settings = chinese | {"variants": ["f", "flat"]} | changes
    settings["subsets"] = [str(wordless) if one == "wordless" else one for one in settings.get("subsets", ["all"])]
    assert told in call(tmp_path / "run", settings, code=2)
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_layers_is_refused_before_anything_is_trained(chinese, encoder, tmp_path):
    small = {"hidden_size": 16, "embedding_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    AlbertModel(AlbertConfig(vocab_size=999, num_hidden_layers=4, **small)).save_pretrained(tmp_path / "albert")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path / "albert")
    settings = chinese | {"model_name_or_path": str(tmp_path / "albert"), "variants": ["base", "lebert"]}
    assert "AlbertModel has no list of layers" in call(tmp_path / "run", settings, code=2)
    assert not (tmp_path / "run").exists()


def test_a_lexicon_row_of_synthetic_sentences_keeps_them(chinese):
    own = {"define": {"mine": {"tagger": "lebert", "data": "train"}}, "lexicon": "augmentation"}
    known = check_run(chinese | own, "test").known_variants
    assert (known["mine"].data, known["lebert"].data) == ("train", "fusion")


def test_some_baselines_have_a_recipe_of_their_own_unless_the_run_names_one(chinese):
    def rates(**train):
        settings = check_run(chinese | {"train": train}, "test")
        return {name: shaping_arguments(settings, one).get("learning_rate") for name, one in VARIANTS.items()}

    own = {name for name, rate in rates().items() if rate == 1e-4}
    assert own == {"bio", "bio_crf", "bert_bilstm_crf", "w2ner", *LEXICON_TAGGERS}
    assert set(rates(learning_rate=3e-4).values()) == {3e-4}
    assert set(rates(preset="paper").values()) == {None}


def test_rows_of_tags_learn_in_bf16_without_being_told_of_the_cpu(chinese, tmp_path):
    settings = chinese | {"train": {"bf16": True}, "variants": ["bio", "bio_crf", "bert_bilstm_crf"]}
    call(tmp_path / "run", settings)
    assert len(lines_of(tmp_path / "run" / "results.jsonl")) == 3


def test_every_system_that_needs_no_llm_runs_on_the_same_rows(chinese, tmp_path):
    names = ["base", "plain", "cnn", "bio", "bio_crf", "bert_bilstm_crf", "w2ner", "difinet", *LEXICON_TAGGERS]
    call(tmp_path / "run", chinese, "--variants", ",".join(names))
    lines = {line["variant"]: line for line in lines_of(tmp_path / "run" / "results.jsonl")}
    assert list(lines) == names
    assert {line["updates"] for line in lines.values()} == {1}
    assert all(line["dev_f1"] is not None and len(line["curve"]) == 1 for line in lines.values())
    assert all(sum(label["support"] for label in line["per_label"].values()) == 8 for line in lines.values())
    configs = [tmp_path / "run" / "all" / name / "seed-0" / "config.json" for name in names[:3]]
    assert [json.loads(path.read_text())["span_mixer"] for path in configs] == ["local_attention", "none", "cnn"]
    keys = {name: line["key"] for name, line in lines.items()}
    (tmp_path / "words.txt").write_text("北京\n大学\n", encoding="utf-8")
    call(tmp_path / "run", chinese, "--variants", "w2ner,flat")
    lines = {line["variant"]: line for line in lines_of(tmp_path / "run" / "results.jsonl")}
    assert lines["flat"]["key"] != keys["flat"] and lines["w2ner"]["key"] == keys["w2ner"]
