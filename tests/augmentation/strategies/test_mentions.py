"""Mentions that the LLM offers, swapped into gold sentences: spans stay gold, and no held-out sentence is made."""

import json

import pytest
import yaml

from augmentation.llm.answers import parse
from augmentation.llm.dialogue import Finished, replay
from augmentation.llm.outcome import Outcome
from augmentation.llm.recorded import RecordedClient
from augmentation.steps.annotator import annotate_by_model
from augmentation.steps.explanations import Sentences, TokenStyle, sentence_key
from augmentation.strategies.mentions import Swaps, free_spans, is_certain
from augmentation.strategies.seeds import Asking, SeedSentence, exchanged
from tests.support.augment_call import call, three_sentences
from tests.support.llm_server import LLMServer
from tests.support.tiny_run import DEMO, lines_of, tiny_settings
from tests.support.tiny_run import call as call_run

LIMITS = {"terms": 256}


def seed(text, *spans, character=False):
    return SeedSentence(text, tuple(text if character else text.split()), spans, text)


def test_spans_move_with_what_is_put_before_and_into_them():
    sentence = seed("old axe in north pass today", (0, 2, "GEAR"), (3, 5, "PLACE"), (5, 6, "TIME"))
    tokens, spans = exchanged(sentence, {(3, 5): ["Glen"], (0, 2): ["a", "big", "new", "rope"]})
    assert tokens == "a big new rope in Glen today".split()
    assert [(tokens[start:end], label) for start, end, label in spans] == [
        (["a", "big", "new", "rope"], "GEAR"),
        (["Glen"], "PLACE"),
        (["today"], "TIME"),
    ]
    assert exchanged(sentence, {}) == (list(sentence.tokens), list(sentence.spans))


def test_nested_overlapping_and_twice_labelled_spans_are_left_alone():
    spans = [(0, 5, "ORG"), (2, 4, "LOC"), (5, 7, "PER"), (8, 10, "A"), (9, 11, "B"), (12, 13, "X"), (12, 13, "Y")]
    assert free_spans(spans) == [(5, 7, "PER")]
    assert free_spans([]) == []


def swaps(*seeds, unit="word", style=None, per_row=6):
    asking = Asking("zh" if unit == "character" else "en", unit, LIMITS, 0, 4, {})
    cut = style.tokens if style else (list if unit == "character" else str.split)
    return Swaps(asking, {each.id: each for each in seeds}, cut, per_row)


def offered(swapping, terms):
    def told(request):
        return Outcome(request, None, parse("terms", json.dumps(terms[request.input])))

    done = replay(swapping.work(), told)
    assert isinstance(done, Finished)
    return done.value, [outcome.request.input for outcome in done.outcomes]


def test_gold_spans_hold_another_mention_of_their_label_and_context_stays():
    nested = seed("the club of north pass met old axe", (0, 5, "ORG"), (3, 5, "PLACE"), (6, 8, "GEAR"))
    plain = seed("deep snow in north pass", (3, 5, "PLACE"))
    swapping = swaps(nested, plain, seed("bear left"))
    terms, asked = offered(
        swapping, {"PLACE": ["Loch Ard", "north pass"], "GEAR": ["ice axe", " rope\n"], "ORG": ["x"]}
    )
    assert asked == ["GEAR", "PLACE"]  # ORG has no span that is free, so no mention of it is asked for
    for tokens, spans in swapping.sentences(nested.id, terms):
        assert tokens[:6] == "the club of north pass met".split() and spans[:2] == [(0, 5, "ORG"), (3, 5, "PLACE")]
        [(start, end, label)] = spans[2:]
        assert (label, " ".join(tokens[start:end])) in {("GEAR", "ice axe"), ("GEAR", "rope")} and end == len(tokens)
    assert {" ".join(tokens) for tokens, _ in swapping.sentences(plain.id, terms)} == {"deep snow in Loch Ard"}
    assert list(swapping.sentences("bear left", terms)) == []
    assert list(swapping.sentences(nested.id, terms)) == list(swapping.sentences(nested.id, terms))
    assert list(swapping.sentences(plain.id, {})) == []  # the LLM offered nothing


@pytest.mark.parametrize(
    "bad",
    ["...", "\u200b", "a\u200bb", "\x00", "\ufffd pass", "x" * 33, "long " * 3000, "a whole sentence of the dev set"],
)
def test_what_cannot_be_a_mention_is_never_swapped_in(bad):
    swapping = swaps(seed("met at north pass", (2, 4, "PLACE")))
    terms, _ = offered(swapping, {"PLACE": [bad, "- Loch\nArd", "**Glen**"]})
    assert terms == {"PLACE": [["Loch", "Ard"], ["Glen"]]}


def test_gold_that_is_left_out_or_weighed_is_not_swapped():
    row = {"tokens": ["Rome"], "entities": [{"start": 0, "end": 1, "label": "LOC"}]}
    assert is_certain(row)
    assert not is_certain(row | {"weight": 0.5})
    assert not is_certain(row | {"uncertain": [{"start": 0, "end": 1, "label": "PER"}]})
    assert not is_certain(row | {"entities": [{"start": 0, "end": 1, "label": "LOC", "weight": 0.5}]})


def test_mentions_are_cut_as_the_data_set_cuts():
    rows = [{"tokens": "we met o'brien , at 5 am .".split()}]
    swapping = swaps(seed("we met bob", (2, 3, "PER")), style=TokenStyle.of(rows, "word"))
    terms, _ = offered(swapping, {"PER": ["Ann O'Hara, Jr."]})
    [tokens, spans] = next(swapping.sentences("we met bob", terms))
    assert tokens == ["we", "met", "ann", "o'hara", ",", "jr", "."] and spans == [(2, 7, "PER")]
    chinese = swaps(seed("我在嘉鱼", (2, 4, "LOC"), character=True), unit="character")
    terms, _ = offered(chinese, {"LOC": ["武汉市"]})
    assert next(chinese.sentences("我在嘉鱼", terms)) == (list("我在武汉市"), [(2, 5, "LOC")])


def test_held_out_repeated_and_source_sentences_are_never_made():
    held_out = frozenset([sentence_key("a bear in Loch Ard")])
    sentences = Sentences("en", TokenStyle("word"), frozenset([sentence_key("a bear")]), held_out)
    made = [("a bear in Loch Ard".split(), []), ("a bear .".split(), []), ("an elk".split(), [(1, 2, "X")])]
    [row] = sentences.swapped("r", [*made, made[-1]])
    assert (row["id"], row["parent_id"], row["annotator"], row["synthetic"]) == ("r#m3", "r", "mentions", True)
    assert row["entities"] == [{"start": 1, "end": 2, "label": "X"}]
    counts = {"swapped": 4, "in_dev_or_test": 1, "equal_to_source": 1, "duplicate": 1, "kept": 1}
    assert dict(sentences.counts) == counts


def test_no_model_replaces_spans_that_are_gold():
    gold = {"id": "r#m1", "entities": [{"start": 0, "end": 1, "label": "X"}], "annotator": "mentions"}
    other = {"id": "r#1", "entities": [], "annotator": None}
    found = [{"start": 1, "end": 2, "label": "Y", "score": 0.9}]
    for annotator in ("gold", "fusion", "agree"):
        assert next(iter(annotate_by_model([gold, other], [found, found], annotator, min_targets=2))) == gold


class Offers(RecordedClient):
    """Recorded answers, and mentions of any label."""

    def completion_text(self, request):
        if request.task == "terms":
            return json.dumps(["Upper Wendle", "the wet saddle", "hut nine"])
        return super().completion_text(request)


@pytest.fixture
def offering(monkeypatch):
    monkeypatch.setattr("augmentation.llm.clients.RecordedClient", Offers)


@pytest.fixture
def folder(tmp_path):
    return three_sentences(tmp_path / "run", explain=False, swap_mentions=3)


def test_a_run_of_swaps_alone_asks_a_question_a_label_and_goes_on_after_a_stop(folder):
    gold = {row["id"]: row for row in lines_of(folder / "gold.jsonl")}
    labels = {span["label"] for row in gold.values() for span in row["entities"]}
    with LLMServer(Offers([DEMO / "answers.jsonl"])) as server:
        settings = yaml.safe_load((folder / "augment.yaml").read_text(encoding="utf-8"))
        settings |= {"client": "hub", "model": "m", "base_url": server.url}
        (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        plan = json.loads(call("plan", folder, "--json"))
        assert plan["tasks"]["terms"]["missing"] == len(labels) and 0 < len(plan["prompts"]["terms"]) <= 2
        assert set(plan["tasks"]) == {"terms"}
        call("run", folder, "--max_requests", 2, code=3)
        call("run", folder)
        assert [entry["task"] for entry in server.answered() if entry["task"]] == ["terms"] * len(labels)
        before = (folder / "train.jsonl").read_bytes()
        call("run", folder, "--max_requests", 0)
    assert (folder / "train.jsonl").read_bytes() == before
    rows = lines_of(folder / "synthetic.jsonl")
    assert rows and {row["parent_id"] for row in rows} <= gold.keys()
    for row in rows:
        parent = gold[row["parent_id"]]
        assert (row["source"], row["synthetic"], row["annotator"]) == ("synthetic", True, "mentions")
        assert sorted(s["label"] for s in row["entities"]) == sorted(s["label"] for s in parent["entities"])
        mentions = {" ".join(row["tokens"][s["start"] : s["end"]]) for s in row["entities"]}
        own = {" ".join(parent["tokens"][s["start"] : s["end"]]) for s in parent["entities"]}
        assert mentions - own and mentions - own <= {"Upper Wendle", "the wet saddle", "hut nine"}
    assert lines_of(folder / "train.jsonl") == lines_of(folder / "fusion.jsonl") + rows
    provenance = lines_of(folder / "provenance.jsonl")
    assert sorted(line["row_id"] for line in provenance) == sorted(f"terms-{label}" for label in labels)
    call("review", folder)


def test_without_mentions_the_failures_are_listed_and_the_rest_is_made(folder):
    settings = yaml.safe_load((folder / "augment.yaml").read_text(encoding="utf-8"))
    settings |= {"client": "recorded", "answers": [str(DEMO / "answers.jsonl")], "explain": True}
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    call("run", folder)
    failed = lines_of(folder / "failed.jsonl")
    assert failed and {line["task"] for line in failed} == {"terms"}
    assert all("no recorded answer for task 'terms'" in line["reason"] for line in failed)
    assert lines_of(folder / "synthetic.jsonl")
    call("run", folder, "--swap_mentions", 0, "--accept_changes")
    assert lines_of(folder / "failed.jsonl") == []


def test_a_run_learns_swaps_as_synthetic_rows_whoever_annotates(encoder, tmp_path, offering):
    settings = tiny_settings(tmp_path, encoder) | {"updates": 2, "variants": ["base", "f"]}
    settings["augment"] |= {"swap_mentions": 2, "kinds": []}
    call_run(tmp_path / "run", settings)
    augmented = tmp_path / "run" / "all" / "augmented"
    assert not (augmented / "synthetic.jsonl").exists()
    call_run(tmp_path / "run", settings, "--variants", "fs,fs_gold")  # the same folder goes on with them
    lines = {line["variant"]: line for line in lines_of(tmp_path / "run" / "results.jsonl")}
    swapped = [row for row in lines_of(augmented / "synthetic.jsonl") if row["annotator"] == "mentions"]
    assert swapped and lines["fs"]["synthetic_rows"] == len(lines_of(augmented / "synthetic.jsonl"))
    by_model = lines_of(tmp_path / "run" / "all" / "fs_gold" / "train-0.jsonl")
    assert [row for row in by_model if row["annotator"] == "mentions"] == swapped
    assert any(row["synthetic"] and row["annotator"] == "gold" for row in by_model)
