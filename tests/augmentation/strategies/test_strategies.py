"""The strategies that make synthetic sentences otherwise than by explanations."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.variants import VARIANTS
from transformers import AutoConfig, AutoTokenizer, BertForMaskedLM

from augmentation.llm.answers import parse
from augmentation.llm.dialogue import Finished, replay
from augmentation.llm.outcome import Outcome
from augmentation.llm.probe import CANARY
from augmentation.llm.prompts import LANGUAGES, load_prompt
from augmentation.llm.protocol import Completion
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.llm.tasks import Request
from augmentation.pipeline import STORE_FILE, Augmentation
from augmentation.plan import make_plan
from augmentation.settings import check_settings
from augmentation.strategies.llm_da import LEVELS, WAYS, llm_da, misspelt
from augmentation.strategies.melm import RESULT, melm
from augmentation.strategies.progen import progen
from augmentation.strategies.seeds import Asking, SeedSentence
from modeling_knowfree.data.readers import write_rows
from modeling_knowfree.data.rows import InputError
from tests.conftest import letter_counts, row
from tests.support.llm_server import LLMServer
from tests.support.tiny_run import call, lines_of, tiny_settings

SUFFIXES = ("_llm", "_fusion", "_agree")
LIMITS = dict.fromkeys(("rewrite", "terms", "attributes", "compose", "verify"), 256)
TERMS = {"PLACE": ["Loch Ard", "the summit", "Glen Coe"], "GEAR": ["ice axe", "rope"]}


def seed(text: str, *spans: tuple[int, int, str]) -> SeedSentence:
    return SeedSentence(text, tuple(text.split()), spans, text)


SEEDS = [
    seed("old axe in north pass", (0, 2, "GEAR"), (3, 5, "PLACE")),
    seed("deep snow on the ridge", (3, 5, "PLACE")),
    seed("bear left"),
]
ASKING = Asking("en", "word", LIMITS, 0, 6, {})


def answer(request: Request) -> str:
    """What an LLM that does as it is told says."""
    prompt = request.messages[-1][1]
    if request.task == "terms":
        return json.dumps(TERMS[request.input])
    if request.task == "attributes":
        return json.dumps([{"attribute": "mood", "values": ["glad", "tired"]}])
    if request.task == "rewrite":
        return f"Rewritten: {request.input.splitlines()[0]}"
    if request.task == "compose":
        entities = json.loads(prompt.split("do not write the type: ")[1].split("]. It shall")[0] + "]")
        return "We saw " + " and ".join(each["entity"] for each in entities)
    assert request.task == "verify"
    said = json.loads(prompt.split("these entities: ")[1].split("}].")[0] + "}]")
    return json.dumps([item for item in said if item["entity"] != "rope"])


def told(request: Request) -> Outcome:
    return Outcome(request, None, parse(request.task, answer(request)))


def made(strategy, row_id: str) -> tuple[list[str], list[Request]]:
    done = replay(strategy(row_id), told)
    assert isinstance(done, Finished)
    return done.value, [outcome.request for outcome in done.outcomes]


@pytest.mark.parametrize("task", LIMITS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_prompts(task, language):
    variables = {key: ["x"] for key in "how entities text number label examples sentences attributes".split()}
    assert load_prompt(task, language).render(**variables)


def test_llm_da_rewrites_replaces_and_does_both():
    assert len(WAYS) == len(set(WAYS)) == 14
    found, requests = made(llm_da(ASKING, SEEDS), SEEDS[0].id)
    assert [request.task for request in requests] == ["terms", "terms", *["rewrite"] * 4]
    assert {request.input for request in requests[:2]} == {"PLACE", "GEAR"}
    replaced, rewritten = found[:2], found[2:]
    assert len(rewritten) == 4 and all(text.startswith("Rewritten: ") for text in rewritten)
    assert sum("old axe in north pass" in text for text in rewritten) == 2  # the level `context` keeps the sentence
    assert all("old axe" not in text and "north pass" not in text and len(text) > 8 for text in replaced)
    for request in requests[2:]:
        ways = request.input.splitlines()[1]
        assert ways in WAYS and ways in request.messages[0][1]
    assert made(llm_da(ASKING, SEEDS), SEEDS[0].id) == (found, requests)
    assert LEVELS == ("context", "entity", "both")


def test_a_slip_changes_little():
    dice = ASKING.dice("slips")
    for _ in range(50):
        assert abs(len(misspelt("north pass", dice)) - 10) <= 1
    assert misspelt("a b", dice) == "a b"
    for text in ("東京を見る", "𠮷野家へ行く", "서울에 갔다", "กรุงเทพ"):  # a character is no keystroke there
        assert misspelt(text, dice) == text


def test_progen_keeps_what_passes_its_own_check():
    found, requests = made(progen(ASKING, SEEDS), SEEDS[1].id)
    assert [request.task for request in requests[:3]] == ["attributes", "terms", "terms"]
    composed = [request for request in requests if request.task == "compose"]
    checked = [request for request in requests if request.task == "verify"]
    assert len(composed) == len(checked) == ASKING.per_row
    assert all("mood" in request.messages[0][1] for request in composed)
    assert found == [request.input for request in checked if "rope" not in request.input]
    assert 0 < len(found) < ASKING.per_row


class Scripted:
    """A client that answers by `answer`, and counts."""

    model, endpoint, modes = "scripted", "here", ("none",)

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def send(self, request, mode):
        self.asked[request.task] += 1
        text = answer(request) if request.task in LIMITS else json.dumps([{"entity": "Loch Ard", "type": "PLACE"}])
        return Completion(
            text=text, finish_reason="stop", served_model=None, prompt_tokens=10, completion_tokens=5, free=True
        )

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("strategy", ["llm_da", "progen"])
def test_an_augmentation_by_a_strategy_annotates_its_sentences_and_asks_nothing_twice(strategy, tmp_path):
    rows = [
        row("old axe in north pass", (0, 2, "GEAR"), (3, 5, "PLACE")),
        row("deep snow on the ridge", (3, 5, "PLACE")),
    ]
    rows[1]["tokens"][0] = "deep\u2028"  # ends no sentence
    write_rows(tmp_path / "gold.jsonl", rows)
    values = {"train_file": "gold.jsonl", "language": "en", "strategy": strategy, "kinds": [], "model": "scripted"}
    settings = check_settings(values, "here")
    client = Scripted()
    with Store(tmp_path / STORE_FILE) as store:
        run = Augmentation(tmp_path, settings, Runner(client, store), letter_counts)
        plan = make_plan(run)
        run.ask()
        counts = run.write()
        asked = dict(client.asked)
        run.ask()
        assert client.asked == asked
    assert asked.pop(CANARY.task) == 1
    for task, number in asked.items():
        planned = plan.tasks[task]
        assert planned.missing + planned.later[0] <= number <= planned.missing + planned.later[1], task
        assert plan.prompts[task] and planned.prompt_tokens[1] > 0
    assert (plan.tasks["terms"].missing, asked["terms"]) == (2, 2)  # once for both rows
    synthetic = lines_of(tmp_path / "synthetic.jsonl")
    assert counts["synthesis"]["kept"] == len(synthetic) > 2
    assert counts["synthesis"]["sentences"] <= settings.sentences_per_row * len(rows)
    assert {each["parent_id"] for each in synthetic} == {each["id"] for each in rows}
    found = [span for each in synthetic for span in each["entities"]]
    assert found and all(span["label"] == "PLACE" for span in found)
    assert {line["task"] for line in lines_of(tmp_path / "provenance.jsonl")} >= {"terms", "targets"}


@pytest.fixture(scope="module")
def masked(encoder, tmp_path_factory) -> Path:
    """Folder of a BERT with the encoder's tokenizer and a masked-LM head."""
    folder = tmp_path_factory.mktemp("masked")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    torch.manual_seed(0)
    BertForMaskedLM(AutoConfig.from_pretrained(encoder)).save_pretrained(folder)
    return folder


def test_melm_fills_entity_slots_only_and_keeps_what_it_made(masked, tmp_path):
    asking = Asking("en", "word", LIMITS, 0, 3, {})
    strategy = melm(asking, SEEDS, str(masked), tmp_path)
    found = {each.id: made(strategy, each.id) for each in SEEDS}
    assert all(requests == [] for _, requests in found.values())
    assert found["bear left"][0] == [] and len(found[SEEDS[0].id][0]) == 3
    for text in found[SEEDS[0].id][0]:
        assert text.split()[2:3] == ["in"] and len(text.split()) == 5
    for text in found[SEEDS[1].id][0]:
        assert text.startswith("deep snow on ")
    assert any(text != each.id for each in SEEDS for text in found[each.id][0])
    (tmp_path / "again").mkdir()
    again = melm(asking, SEEDS, str(masked), tmp_path / "again")
    assert {each.id: made(again, each.id) for each in SEEDS} == found
    lines = lines_of(tmp_path / RESULT)
    lines[1]["sentences"] = ["kept\u2028\x85whole"]
    write_rows(tmp_path / RESULT, lines)
    assert made(melm(asking, SEEDS, str(masked), tmp_path), SEEDS[0].id)[0] == ["kept\u2028\x85whole"]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"key"}', b"[" * 100_000, b"5\n", b'{"id": "bear left"}', "one gone"])
def test_melm_makes_again_what_is_damaged(damage, masked, tmp_path):
    asking = Asking("en", "word", LIMITS, 0, 1, {})
    found = made(melm(asking, SEEDS, str(masked), tmp_path), SEEDS[0].id)
    whole = (tmp_path / RESULT).read_bytes()
    head, *lines = whole.splitlines(keepends=True)
    (tmp_path / RESULT).write_bytes(head + (lines[0] if damage == "one gone" else damage))
    assert made(melm(asking, SEEDS, str(masked), tmp_path), SEEDS[0].id) == found
    assert (tmp_path / RESULT).read_bytes() == whole
    (tmp_path / RESULT).write_bytes(b"" if damage == "one gone" else damage)
    assert made(melm(asking, SEEDS, str(masked), tmp_path), SEEDS[0].id) == found


@pytest.mark.parametrize("says", [True, False])
def test_melm_makes_nothing_of_entities_beyond_what_its_model_reads(says, masked, tmp_path):
    words = ("snow",) * 600
    far = SeedSentence("far", (*words, "ridge"), ((600, 601, "PLACE"),), " ".join((*words, "ridge")))
    model = tmp_path / "masked"
    shutil.copytree(masked, model)
    if not says:  # as many tokenizers on the Hub: the network's positions alone tell
        told = json.loads((model / "tokenizer_config.json").read_text())
        assert told.pop("model_max_length") == 128
        (model / "tokenizer_config.json").write_text(json.dumps(told))
    strategy = melm(Asking("en", "word", LIMITS, 0, 1, {}), [SEEDS[0], far], str(model), tmp_path)
    assert made(strategy, "far")[0] == [] and len(made(strategy, SEEDS[0].id)[0]) == 1


def test_melm_needs_a_model_that_can_be_loaded_with_its_head(encoder, tmp_path):
    for wrong, problem in ((None, "name one"), (tmp_path, "has no tokenizer"), (encoder, r"such as cls\.predictions")):
        with pytest.raises(InputError, match=f"{problem}.*melm_model: bert-base-chinese"):
            melm(ASKING, SEEDS, str(wrong) if wrong else None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_melm_is_a_row_of_a_run_without_any_llm(encoder, masked, tmp_path: Path):
    settings = tiny_settings(tmp_path, encoder) | {"augment": {"sentences_per_row": 2}, "updates": 2}
    assert "mend: melm_model: bert-base-chinese" in call(tmp_path / "run", settings, "--variants", "melm", code=2)
    assert not (tmp_path / "run").exists()
    settings["augment"]["melm_model"] = str(masked)
    call(tmp_path / "run", settings, "--variants", "melm")
    base, line = lines_of(tmp_path / "run" / "results.jsonl")
    assert (base["variant"], line["variant"]) == ("base", "melm")  # base annotates
    assert line["gold_rows"] == 8 and line["synthetic_rows"] > 8


def test_a_run_in_which_the_llm_answers_nothing_trains_nothing(encoder, masked, tmp_path):
    (tmp_path / "answers.jsonl").write_text("")
    settings = tiny_settings(tmp_path, encoder) | {"updates": 2}
    asked = {"client": "recorded", "answers": [str(tmp_path / "answers.jsonl")], "encoder": str(encoder)}
    settings["augment"] = asked | {"sentences_per_row": 2, "melm_model": str(masked)}
    told = call(tmp_path / "run", settings, "--variants", "melm_llm", code=1)
    assert "got a usable answer, so no results were written" in told
    assert not (tmp_path / "run" / "all" / "melm_llm").exists()


class Lasts:
    """Answers that are recorded for every text: its last word is a place."""

    def completion_text(self, request: Request) -> str:
        assert request.task == "targets"
        return json.dumps([{"entity": request.input.split()[-1], "type": "PLACE"}])


def test_the_name_of_a_row_says_who_annotates_its_sentences(encoder, masked, tmp_path):
    settings = tiny_settings(tmp_path, encoder) | {"updates": 2}
    with LLMServer(Lasts()) as server:
        there = {"client": "hub", "base_url": f"{server.url}/v1", "model": "m", "encoder": str(encoder)}
        settings["augment"] = there | {"kinds": [], "sentences_per_row": 2, "melm_model": str(masked)}
        call(tmp_path / "run", settings, "--variants", "melm,melm_llm,melm_agree")
    results = lines_of(tmp_path / "run" / "results.jsonl")
    assert [line["variant"] for line in results] == ["base", "melm", "melm_llm", "f", "melm_agree"]  # f's model agrees
    subset = tmp_path / "run" / "all"
    made = [(subset / f"augmented-{name}" / RESULT).read_bytes() for name in ("melm", "melm_llm", "melm_agree")]
    assert made[0] == made[1] == made[2]  # tuned once
    by_llm = [row for row in lines_of(subset / "augmented-melm_llm" / "train.jsonl") if row["synthetic"]]
    assert by_llm and all([s["end"] for s in row["entities"]] == [len(row["tokens"])] for row in by_llm)
    both = [row for row in lines_of(subset / "melm_agree" / "train-0.jsonl") if row["synthetic"]]
    assert len(both) == len(by_llm) and all("uncertain" in row for row in both)
    alone = [row for row in lines_of(subset / "melm" / "train-0.jsonl") if row["synthetic"]]
    assert len(alone) == len(by_llm) and not any("uncertain" in row for row in alone)


def test_strategies_have_a_row_for_each_annotator_and_override_none_in_silence():
    plain = {"train_file": "t", "test_file": "t", "language": "en", "model_name_or_path": "m"}
    names = [strategy + suffix for strategy in ("melm", "llm_da", "progen") for suffix in ("", *SUFFIXES)]
    assert [name for name in VARIANTS if "strategy" in VARIANTS[name].augment] == names
    settings = check_run(plain | {"variants": names}, "test")
    assert [settings.annotator_of(name) for name in names] == ["base", None, "f", "f"] * 3
    check_run(plain | {"variants": ["fs_gold", "melm_llm", "f"], "augment": {"annotator": "agree"}}, "test")
    check_run(plain | {"variants": ["melm"], "augment": {"annotator": "gold"}}, "test")
    for name in ("melm", "llm_da", "progen"):
        with pytest.raises(InputError, match=f"annotator: agree: {name} has gold.*name {name}_agree for yours"):
            check_run(plain | {"variants": [name], "augment": {"annotator": "agree"}}, "test")
