"""Several explanations of a gold sentence: each asked for by itself, all cleaned as one is."""

import json

import pytest
import yaml

from augmentation.llm.recorded import RecordedAnswersError, RecordedClient
from augmentation.llm.tasks import explanation_request
from tests.support.augment_call import call, three_sentences
from tests.support.llm_server import LLMServer
from tests.support.tiny_run import DEMO, lines_of

RESULTS = ("fusion.jsonl", "synthetic.jsonl", "train.jsonl", "counts.json", "label_map.json")


@pytest.fixture
def folder(tmp_path):
    """A run folder of three gold sentences, explained once by the recorded LLM."""
    return three_sentences(tmp_path / "run", client="recorded", answers=[str(DEMO / "answers.jsonl")])


def test_each_is_another_question_and_the_first_is_the_old_one():
    first, second, third = (
        explanation_request("r", "a bear", [("bear", "ANIMAL")], language="en", seed=7, sample=n) for n in range(3)
    )
    assert first == explanation_request("r", "a bear", [("bear", "ANIMAL")], language="en", seed=7)
    assert len({each.seed for each in (first, second, third)}) == 3
    assert len({each.key("m") for each in (first, second, third)}) == 3
    assert {each.messages for each in (second, third)} == {first.messages}
    assert [each.row_id for each in (first, second, third)] == ["r", "r#e2", "r#e3"]


def test_answers_that_lack_the_second_fail_as_ever_and_leave_the_first(folder, tmp_path):
    call("run", folder)
    once = {name: (folder / name).read_bytes() for name in RESULTS}
    assert "explanations null -> 2" in call("run", folder, "--explanations", 2, code=2)
    plan = json.loads(call("plan", folder, "--json"))
    assert plan["tasks"]["explanation"]["missing"] == 0
    assert "3 answers failed" in call("run", folder, "--explanations", 2, "--accept_changes")
    gold = [row["id"] for row in lines_of(folder / "gold.jsonl")]
    failed = lines_of(folder / "failed.jsonl")
    assert [(line["id"], line["task"]) for line in failed] == [(f"{name}#e2", "explanation") for name in gold]
    assert all("no recorded answer for task 'explanation'" in line["reason"] for line in failed)
    assert (folder / "synthetic.jsonl").read_bytes() == once["synthetic.jsonl"]

    known = lines_of(folder / "synthetic.jsonl")
    told = {"task": "explanation", "id": "again", "sample": 1}
    texts = [" ".join(row["tokens"]) for row in lines_of(folder / "gold.jsonl")]
    known_text = " ".join(known[0]["tokens"])
    lines = [told | {"input": text, "completion": "..."} for text in texts]
    lines[1]["completion"] = f"A marmot whistled . {known_text} It hid at once ."
    label = next(span["label"] for row in lines_of(folder / "gold.jsonl") for span in row["entities"])
    found = json.dumps([{"entity": "marmot", "type": label}])
    for text in ("A marmot whistled .", "It hid at once ."):
        lines.append({"task": "targets", "id": "", "input": text, "completion": found})
    (folder / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    call("retry-failed", folder, "--answers", DEMO / "answers.jsonl", "--answers", folder / "more.jsonl")
    rows = lines_of(folder / "synthetic.jsonl")
    fresh = [row for row in rows if row not in known]
    assert [(row["id"], row["parent_id"]) for row in fresh] == [
        (f"{gold[1]}#e2.1", gold[1]),
        (f"{gold[1]}#e2.3", gold[1]),
    ]
    assert [len(row["entities"]) for row in fresh] == [1, 0] and len(rows) == len(known) + 2
    counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))["synthesis"]
    assert counts["explanations"] == 6 and counts["duplicate"] == 1
    asked = [line["row_id"] for line in lines_of(folder / "provenance.jsonl") if line["task"] == "explanation"]
    assert asked == [name for row in gold for name in (row, f"{row}#e2")]
    before = (folder / "synthetic.jsonl").read_bytes()
    call("run", folder, "--max_requests", 0)
    assert (folder / "synthetic.jsonl").read_bytes() == before


def test_a_server_is_asked_each_once_and_what_it_repeats_is_dropped(folder):
    call("run", folder)
    once = lines_of(folder / "synthetic.jsonl")
    with LLMServer(RecordedClient([DEMO / "answers.jsonl"])) as server:
        other = folder.parent / "other"
        other.mkdir()
        settings = yaml.safe_load((folder / "augment.yaml").read_text(encoding="utf-8")) | {"answers": []}
        settings |= {"client": "hub", "model": "m", "base_url": server.url, "explanations": 2}
        (other / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        (other / "gold.jsonl").write_bytes((folder / "gold.jsonl").read_bytes())
        plan = json.loads(call("plan", other, "--json"))
        assert plan["tasks"]["explanation"]["missing"] == 6 and len(plan["prompts"]["explanation"]) == 2
        call("run", other, "--max_requests", 5, code=3)
        call("run", other)
        tasks = [entry["task"] for entry in server.answered()]
        assert tasks.count("explanation") == 6 and tasks.count("targets") == len(once)
    assert lines_of(other / "synthetic.jsonl") == once
    lines = [line for line in lines_of(other / "provenance.jsonl") if line["task"] == "explanation"]
    assert len({line["seed"] for line in lines}) == 6


def test_a_sample_that_is_no_number_is_refused(tmp_path):
    line = {"task": "explanation", "id": "r", "input": "a bear", "completion": "…", "sample": "2"}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(RecordedAnswersError, match="sample is '2'"):
        RecordedClient([tmp_path / "answers.jsonl"])
