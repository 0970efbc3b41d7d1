"""A guideline that the LLM induces from the gold: written to be read and mended, then used; each fold has its own."""

import json

import pytest
import yaml

from augmentation.llm.answers import Parsed
from augmentation.llm.dialogue import Finished, replay
from augmentation.llm.outcome import Outcome
from augmentation.llm.recorded import RecordedClient
from augmentation.settings import check_settings
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.explanations import sentence_key
from augmentation.steps.guideline import induce_guideline
from augmentation.steps.teacher import fold_of
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.units_knowfree import join_units
from tests.support.augment_call import call
from tests.support.pool_files import pool_files
from tests.support.tiny_run import DEMO


@pytest.fixture
def folder(tmp_path):
    """A run folder whose recorded LLM writes a guideline of all gold and one of each fold."""
    folder = tmp_path / "run"
    settings = pool_files(folder, texts=6) | {"induce_guideline": True}
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    texts = [join_units(row["tokens"], "word")[0] for row in read_rows(folder / "gold.jsonl")]
    folds = fold_of(list(map(sentence_key, texts)), 0)
    parts = {"all": texts} | {str(n): [t for t, fold in zip(texts, folds, strict=True) if fold == n] for n in (0, 1)}
    with (folder / "answers.jsonl").open("a", encoding="utf-8") as file:
        for part, shown in parts.items():
            answer = {
                "task": "guideline",
                "id": part,
                "input": "\n".join(shown),
                "completion": f"<think>so</think>Of {part}.",
            }
            file.write(json.dumps(answer) + "\n")
    return folder


def test_it_is_written_read_mended_and_then_used(folder, monkeypatch):
    asked = {}
    answer = RecordedClient.completion_text

    def heard(client, request):
        asked[request.row_id] = request.messages[0][1]
        return answer(client, request)

    assert json.loads(call("plan", folder, "--json"))["tasks"]["guideline"]["missing"] == 3
    assert "--- guideline ---" in call("plan", folder)
    monkeypatch.setattr(RecordedClient, "completion_text", heard)
    said = call("run", folder, code=3)
    assert "guideline.txt" in said and "run the same command again" in said
    assert (folder / "guideline.txt").read_text(encoding="utf-8") == "Of all.\n"
    assert not (folder / "teacher.json").exists() and not (folder / "pool.jsonl").exists()
    (folder / "guideline.txt").write_text("No articles.\n", encoding="utf-8")
    call("run", folder)
    assert "--- guideline ---" not in call("plan", folder)
    gold = read_rows(folder / "gold.jsonl")
    folds = fold_of([sentence_key(join_units(row["tokens"], "word")[0]) for row in gold], 0)
    for row, fold in zip(gold, folds, strict=True):
        assert f"Guidelines: Of {1 - fold}.\n" in asked[row["id"]]  # never one that its own sentence shaped
    pool = [asked[row["id"]] for row in read_rows(folder / "pool.jsonl")]
    assert len(pool) == 6 and all("Guidelines: No articles.\n" in prompt for prompt in pool)
    tasks = [
        json.loads(line)["task"] for line in (folder / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert tasks.count("guideline") == 3
    (folder / "guideline.txt").write_text("All articles.\n", encoding="utf-8")
    assert "guideline.txt" in call("run", folder, code=2)  # the pool would be paid for again
    call("run", folder, "--accept_changes")


@pytest.fixture
def without_pool(folder):
    """The same without texts: the LLM explains the gold, and puts targets on what it wrote."""
    settings = yaml.safe_load((folder / "augment.yaml").read_text(encoding="utf-8"))
    settings |= {"unlabeled_file": None, "explain": True, "answers": ["answers.jsonl", "all.jsonl"]}
    demo = (DEMO / "answers.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "all.jsonl").write_text("".join(line for line in demo if '"task": "targets"' not in line), "utf-8")
    targets = [line for line in demo if '"task": "targets"' in line]
    guidelines = [
        line for line in (folder / "answers.jsonl").read_text("utf-8").splitlines(True) if "guideline" in line
    ]
    (folder / "answers.jsonl").write_text("".join([*targets, *guidelines]), encoding="utf-8")
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings | {"induce_guideline": False}), encoding="utf-8")
    return folder


def test_without_a_pool_it_leads_the_targets_of_synthetic_sentences(without_pool, monkeypatch):
    folder, asked = without_pool, []
    answer = RecordedClient.completion_text

    def heard(client, request):
        asked.append(request)
        return answer(client, request)

    monkeypatch.setattr(RecordedClient, "completion_text", heard)
    call("run", folder)
    before = (folder / "synthetic.jsonl").read_bytes()
    plain = [request for request in asked if request.task == "targets"]
    assert plain and not any("Guidelines:" in request.messages[0][1] for request in plain)
    asked.clear()
    assert "induce_guideline" in call("run", folder, "--induce_guideline", code=2)
    said = call("run", folder, "--induce_guideline", "--accept_changes", code=3)
    assert "guideline.txt" in said and "probe" not in said and [request.task for request in asked] == ["guideline"]
    assert not (folder / "guideline-fold-0.txt").exists()
    (folder / "guideline.txt").write_text("No articles.\n", encoding="utf-8")
    asked.clear()
    call("run", folder)
    assert len(asked) == len(plain) and all("Guidelines: No articles.\n" in each.messages[0][1] for each in asked)
    assert (folder / "synthetic.jsonl").read_bytes() == before  # the recorded LLM does not listen
    assert '"task": "guideline"' in (folder / "provenance.jsonl").read_text(encoding="utf-8")
    asked.clear()
    call("run", folder, "--no_induce_guideline", "--accept_changes")
    assert asked == []  # answers without a guideline are still those of the same questions


def test_where_the_llm_puts_targets_on_nothing_it_writes_none_and_says_so(without_pool, caplog):
    settings = yaml.safe_load((without_pool / "augment.yaml").read_text(encoding="utf-8"))
    settings |= {"induce_guideline": True, "annotator": "gold"}
    (without_pool / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    call("run", without_pool)
    assert "writes no guideline" in caplog.text and not (without_pool / "guideline.txt").exists()


def test_plan_counts_the_one_that_synthetic_sentences_want(without_pool):
    settings = (without_pool / "augment.yaml").read_text(encoding="utf-8")
    settings = settings.replace("induce_guideline: false", "induce_guideline: true")
    (without_pool / "augment.yaml").write_text(settings, encoding="utf-8")
    assert json.loads(call("plan", without_pool, "--json"))["tasks"]["guideline"]["missing"] == 1


@pytest.mark.parametrize(
    ("said", "cut", "kept"),
    [
        ("No articles.\nNo titles, exc", True, ("No articles.", "No titles, exc")),
        ("No articles.\nNo titles.", False, ("No articles.\nNo titles.", None)),
        ("No articles.\n\n" + "x" * 9000, False, ("No articles.", "x" * 7986)),
        ("No art", True, ("No art", "")),
    ],
)
def test_a_cut_guideline_ends_with_a_whole_line(said, cut, kept):
    annotation = check_settings({"train_file": "gold.jsonl", "language": "en", "model": "m"}, "here").annotation("word")
    work = induce_guideline("guideline-all", [("a bear", ())], annotation, TargetSettings(("WILDLIFE",), ()))
    done = replay(work, lambda request: Outcome(request, None, Parsed(said, cut=cut)))
    assert isinstance(done, Finished) and done.value == kept


def test_a_cut_guideline_is_told_of_when_it_is_written_alone(folder, caplog):
    lines = (folder / "answers.jsonl").read_text(encoding="utf-8").replace("Of all.", "Of all.\\n" + "x" * 9000)
    (folder / "answers.jsonl").write_text(lines, encoding="utf-8")
    call("run", folder, code=3)
    assert [message.partition(";")[0] for message in caplog.messages if "cut by" in message] == [
        f"{folder / 'guideline.txt'}: cut by max_tokens (guideline) or at 8000 characters"
    ]
    call("run", folder)
    call("plan", folder)
    assert caplog.text.count("cut by") == 1


@pytest.mark.parametrize(("content", "what"), [(b"\xff\xfe", "UTF-8"), (b"x" * 9000, "9000 characters")])
def test_a_guideline_that_cannot_be_used_is_refused(folder, content, what):
    (folder / "guideline.txt").write_bytes(content)
    assert what in call("run", folder, code=2)


def test_an_llm_that_gives_none_stops_the_run(folder):
    lines = (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    empty = [line if '"guideline"' not in line else line.replace("Of all.", "") for line in lines]
    (folder / "answers.jsonl").write_text("".join(empty), encoding="utf-8")
    told = call("run", folder, code=3)
    assert "gave no guideline" in told and f"knowfree augment retry-failed {folder}" in told
    assert not (folder / "guideline.txt").exists()
