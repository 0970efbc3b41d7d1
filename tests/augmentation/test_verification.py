"""A second look at the targets that the LLM put on texts: what it rejects is left out, what it does not judge stays."""

import json

import pytest
import yaml

from augmentation.llm.answers import AnswerError, parse
from augmentation.llm.dialogue import Finished, replay
from augmentation.llm.outcome import Outcome
from augmentation.llm.prompts import LANGUAGES, load_prompt
from augmentation.llm.recorded import RecordedClient
from augmentation.settings import check_settings
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.verification import annotate_targets
from modeling_knowfree.data.readers import read_rows
from tests.support.augment_call import call
from tests.support.llm_server import LLMServer
from tests.support.pool_files import pool_files
from tests.support.tiny_run import DEMO, lines_of

TEXT = "a bear saw a bear near the stone hut"
FOUND = [("bear", "WILDLIFE"), ("bear", "WILDLIFE"), ("stone hut", "PLACE")]


def items(pairs):
    return json.dumps([{"entity": entity, "type": label} for entity, label in pairs])


def verdicts(*right):
    return json.dumps([{"number": number, "right": each} for number, each in enumerate(right, start=1)])


def annotated(second, *, verify=True, window=400, tokens=None, cut=False):
    """What comes of a text whose targets are `FOUND` and whose second look says `second`; and the requests."""
    settings = check_settings({"train_file": "g", "language": "en", "model": "m", "window_units": window}, "t")
    targets = TargetSettings(
        ("PLACE", "WILDLIFE"), (("an elk", (("elk", "WILDLIFE"),)),), "No articles.", verify=verify
    )

    def told(request):
        if request.task == "targets":
            text = items([pair for pair in FOUND if pair[0] in request.input])
            return Outcome(request, None, parse("targets", text))
        try:
            return Outcome(request, None, parse("verify_targets", second, cut=cut))
        except AnswerError as error:
            return Outcome(request, None, None, str(error), "unusable")

    work = annotate_targets("r", tokens or TEXT.split(), settings.annotation("word"), targets)
    done = replay(work, told)
    assert isinstance(done, Finished)
    spans = [(span.start, span.end, span.type) for span in done.value.entities]
    return spans, done.value.counts.get("verify_targets"), [outcome.request for outcome in done.outcomes]


ALL = [(1, 2, "WILDLIFE"), (4, 5, "WILDLIFE"), (7, 9, "PLACE")]


@pytest.mark.parametrize(
    ("second", "kept", "counts"),
    [
        (verdicts(True, True, True), [0, 1, 2], {"confirmed": 3}),
        (verdicts(True, False, False), [0], {"confirmed": 1, "rejected": 2}),
        ('[{"number": 3, "right": false}]', [0, 1], {"rejected": 1, "unanswered": 2}),
        ('[{"number": 9, "right": false}]', [0, 1, 2], {"unanswered": 3}),
        ("[]", [0, 1, 2], {"unanswered": 3}),
        (
            '[{"number": 1, "right": false}, {"number": 1, "right": true}, {"number": 1, "right": false}]',
            [0, 1, 2],
            {"unanswered": 3},
        ),
        ("all of them look fine", [0, 1, 2], {"unanswered": 3, "failed": 1}),
        ('[{"number": 1, "right": "perhaps"}]', [0, 1, 2], {"unanswered": 3, "failed": 1}),
    ],
)
def test_what_is_rejected_goes_and_what_is_not_judged_stays(second, kept, counts):
    spans, told, requests = annotated(second)
    assert spans == [ALL[at] for at in kept]
    assert {name: n for name, n in told.items() if n} == counts | {"answers": 1}
    assert [request.task for request in requests] == ["targets", "verify_targets"]  # one a sentence, not one a span
    prompt = requests[1].messages[0][1]
    assert '{"number": 3, "entity": "stone hut", "type": "PLACE"}' in prompt and prompt.endswith(f"Input: {TEXT}")
    assert "Guidelines: No articles." in prompt and "All its right spans" in prompt


def test_of_a_cut_answer_the_spans_behind_the_cut_stay():
    spans, told, _ = annotated(verdicts(False, True, False)[:-8], cut=True)
    assert spans == ALL[1:] and told == {"answers": 1, "failed": 0, "rejected": 1, "confirmed": 1, "unanswered": 1}


def test_nothing_is_asked_where_it_is_off_or_nothing_was_found():
    spans, told, requests = annotated("", verify=False)
    assert spans == ALL and told is None and [request.task for request in requests] == ["targets"]
    spans, told, requests = annotated("", tokens="it snowed".split())
    assert spans == [] and told is None and [request.task for request in requests] == ["targets"]


def test_windows_are_looked_at_one_by_one():
    tokens = ("a bear left . " * 6).split()
    spans, told, requests = annotated(verdicts(False), tokens=tokens, window=16)
    seconds = [request for request in requests if request.task == "verify_targets"]
    assert len(seconds) == 2 and told["rejected"] == 2
    assert len(spans) == 2 * 2 - 2  # the recorded LLM names two a window


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_prompt(language):
    known = {"labels": ["A"], "examples": [], "guidelines": "", "descriptions": [], "text": "x"}
    prompt = load_prompt("verify_targets", language).render(spans=[{"number": 1, "entity": "y", "type": "A"}], **known)
    assert '[{"number": 1, "entity": "y", "type": "A"}]' in prompt and "[{number: 1, right: true}]" in prompt


@pytest.fixture
def folder(tmp_path):
    """A run folder with a pool of six texts, four gold sentences explained, and an LLM that takes back what it says of
    the first target of every text."""
    folder = tmp_path / "run"
    settings = pool_files(folder, texts=6) | {"explain": True, "answers": ["answers.jsonl", "more.jsonl"]}
    gold = (folder / "gold.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:4]
    (folder / "gold.jsonl").write_text("".join(gold), encoding="utf-8")
    probe = lines_of(folder / "answers.jsonl")[6:]
    demo = [line for line in lines_of(DEMO / "answers.jsonl") if line["task"] in ("targets", "explanation")]
    found = [line for line in [*demo, *probe] if line["task"] == "targets"]
    seconds = [
        line | {"task": "verify_targets", "completion": json.dumps([{"number": 1, "right": False}])}
        for line in found
        if json.loads(line["completion"])
    ]
    for name, lines in (("answers.jsonl", [*demo, *probe]), ("more.jsonl", seconds)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def test_a_run_leaves_out_what_is_rejected_counts_it_and_asks_nothing_twice(folder):
    call("run", folder)
    before = {name: lines_of(folder / f"{name}.jsonl") for name in ("synthetic", "pool", "fusion")}
    assert "verify" in call("run", folder, "--verify", code=2)
    plan = json.loads(call("plan", folder, "--json"))
    assert "verify_targets" not in plan["tasks"]
    with LLMServer(RecordedClient([folder / "answers.jsonl", folder / "more.jsonl"])) as server:
        settings = yaml.safe_load((folder / "augment.yaml").read_text(encoding="utf-8"))
        settings |= {"client": "hub", "model": "m", "base_url": server.url, "answers": [], "verify": True}
        other = folder.parent / "other"
        other.mkdir()
        for name in ("gold.jsonl", "pool.txt"):
            (other / name).write_bytes((folder / name).read_bytes())
        (other / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        plan = json.loads(call("plan", other, "--json"))
        assert plan["tasks"]["verify_targets"]["later"][1] >= 6 + 4
        assert "--- verify_targets ---" in call("plan", other)
        call("run", other, "--max_requests", 25, code=3)
        call("run", other)
        sent = server.requests
        call("run", other)
        assert server.requests == sent
        texts = [entry["input"] for entry in server.answered() if entry["task"] == "verify_targets"]
    tagged = [" ".join(r["tokens"]) for part in ("synthetic", "pool") for r in before[part] if r["entities"]]
    assert len(texts) == len(set(texts)) == len(set(tagged)) + 3  # some texts of the pool are synthetic sentences too
    for part in ("synthetic", "pool"):
        rows = lines_of(other / f"{part}.jsonl")
        assert [row["id"] for row in rows] == [row["id"] for row in before[part]]
        for old, new in zip(before[part], rows, strict=True):
            spans = [{key: span[key] for key in ("start", "end", "label")} for span in old["entities"]]
            assert [{key: span[key] for key in ("start", "end", "label")} for span in new["entities"]] == spans[1:]
    assert lines_of(other / "fusion.jsonl") == before["fusion"]  # gold is never looked at
    counts = json.loads((other / "counts.json").read_text(encoding="utf-8"))
    rejected = counts["synthetic"]["verify_targets"]["rejected"] + counts["pool"]["verify_targets"]["rejected"]
    assert rejected == len(tagged) and counts["failed"] == {}
    probed = json.loads((other / "teacher.json").read_text(encoding="utf-8"))
    assert probed["probe_verified"]["rejected"] == 3 and probed["plan"]["tasks"]["verify_targets"] == 6
    assert len(read_rows(other / "train.jsonl")) == 4 + len(before["synthetic"]) + len(before["pool"])
