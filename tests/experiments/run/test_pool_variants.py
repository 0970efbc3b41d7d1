"""Variants that learn from text without labels (S11), and their place in the report."""

import json
import shutil
from pathlib import Path

import pytest
from knowfree_experiments.report.teachers import beside_teachers
from knowfree_experiments.run.pool_rows import DISBELIEVED, LOWEST, by_gold_model, cross_fitted, without_disagreement
from knowfree_experiments.run.results import read_run
from knowfree_experiments.run.settings import check_run

from augmentation.steps.explanations import sentence_key
from modeling_knowfree.data.rows import InputError
from tests.support.pool_files import pool_files
from tests.support.tiny_run import call, lines_of, tiny_settings


@pytest.fixture(scope="module")
def pooled(tmp_path_factory, encoder):
    """A finished run of `base` and `u`, its settings, and its folder."""
    folder = tmp_path_factory.mktemp("pooled")
    files = pool_files(folder, texts=12)
    settings = tiny_settings(folder, encoder) | {
        "unlabeled_file": str(folder / files["unlabeled_file"]),
        "augment": {"client": "recorded", "answers": [str(folder / name) for name in files["answers"]]},
        "variants": ["base", "u"],
    }
    call(folder / "run", settings, "--ask", 10)
    return settings, folder / "run"


def test_u_learns_from_gold_and_the_texts_asked(pooled):
    _, folder = pooled
    base, u = lines_of(folder / "results.jsonl")
    assert (base["variant"], base["pool_rows"]) == ("base", 0)
    assert (u["variant"], u["gold_rows"], u["synthetic_rows"], u["pool_rows"]) == ("u", 8, 0, 10)
    rows = lines_of(folder / "all" / "u" / "train-0.jsonl")
    assert [row.get("source") for row in rows] == [None] * 8 + ["pool"] * 10
    assert json.loads((folder / "all" / "teacher.json").read_text())["asked"] == 10
    config = json.loads((folder / "all" / "u" / "seed-0" / "config.json").read_text())
    assert config["extension_labels"] == []


def test_a_second_call_asks_and_trains_nothing(pooled):
    settings, folder = pooled
    before = {path: path.stat().st_mtime_ns for path in folder.glob("all/*/seed-*/cell.json")}
    call(folder, settings, "--ask", 10)
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("all/*/seed-*/cell.json")}


def test_all_texts_are_asked_about_where_some_were_before(pooled, tmp_path):
    settings, finished = pooled
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    call(folder, settings)
    assert [line["pool_rows"] for line in lines_of(folder / "results.jsonl")] == [0, 12]


def test_texts_are_picked_anew_of_another_pool(pooled, tmp_path):
    settings, finished = pooled
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    picked = set(json.loads((folder / "all" / "augmented-u" / "picked.json").read_text(encoding="utf-8"))["texts"])
    texts = Path(settings["unlabeled_file"]).read_text(encoding="utf-8").splitlines(keepends=True)
    before = [text for text in texts if sentence_key(text) in picked]
    fresh = [text for text in texts if sentence_key(text) not in picked]
    assert len(before) == 10 and len(fresh) == 2
    (tmp_path / "other.txt").write_text("".join(before[:4] + fresh), encoding="utf-8")
    call(folder, settings | {"unlabeled_file": str(tmp_path / "other.txt")}, "--ask", 5, "--accept_changes")
    assert json.loads((folder / "all" / "teacher.json").read_text())["asked"] == 5


def test_the_report_shows_the_student_beside_its_teacher(pooled):
    _, folder = pooled
    [beside] = beside_teachers(read_run(folder))
    assert (beside.subset, beside.variant, beside.asked, beside.usd) == ("all", "u", 10, None)
    assert [texts for texts, _ in beside.curve] == [0, 10]
    assert 0 < beside.tokens[0] < beside.tokens[1] and beside.student_seconds > 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The student beside its teacher" in page and "texts asked" in page


def test_who_annotates_the_pool():
    plain = {"train_file": "t", "test_file": "t", "language": "en", "model_name_or_path": "m", "unlabeled_file": "p"}
    names = ["u", "u_llm", "u_gold", "u_agree", "fs"]

    def annotators(**augment):
        settings = check_run(plain | {"variants": names, "augment": augment}, "test")
        return [settings.pool_annotator(name) for name in names], settings.all_variants

    assert annotators() == (["gold", "llm", "gold", "agree", None], ["base", *names])
    assert annotators(answers=["a.jsonl"])[0] == ["llm", "llm", "gold", "agree", None]
    assert annotators(model="m")[0][0] == "llm"


def test_without_texts_there_is_nothing_to_learn_from(tmp_path, encoder):
    settings = tiny_settings(tmp_path, encoder) | {"variants": ["u"]}
    with pytest.raises(InputError, match="unlabeled_file"):
        check_run(settings, "test")


def span(start, label, score=None, **more):
    return {"start": start, "end": start + 1, "label": label} | ({} if score is None else {"score": score}) | more


def test_disagreement_is_left_out_up_to_the_measured_errors():
    rows = [{"id": str(n), "entities": [span(0, "A", weight=0.9), span(1, "B")]} for n in range(4)]
    predicted = [
        [span(0, "A", 0.8), span(2, "A", 0.99)],  # A is believed, B is not, and the student insists on another A
        [span(0, "A", 0.01), span(2, "A", 0.5)],
        [span(0, "A", 0.02), span(1, "B", 0.9)],
        [span(0, "A", 0.03), span(1, "B", 0.9)],
    ]
    cleaned, count = without_disagreement(rows, predicted, {"A": 0.5, "B": 1.0})
    assert [[(s["start"], s["label"]) for s in row["entities"]] for row in cleaned] == [
        [(0, "A"), (1, "B")],  # of B no error was ever measured
        [(1, "B")],
        [(1, "B")],
        [(0, "A"), (1, "B")],  # half of the A may go, the least believed
    ]
    assert [[(s["start"], s["label"]) for s in row["uncertain"]] for row in cleaned] == [
        [(2, "A")],
        [(0, "A")],
        [(0, "A")],
        [],
    ]
    assert count == 3 and cleaned[0]["entities"][0]["weight"] == 0.9


def test_equally_disbelieved_spans_do_not_go_by_their_place_in_the_file():
    rows = [{"id": str(n), "entities": [span(0, "A")]} for n in range(40)]
    cleaned, count = without_disagreement(rows, [[]] * 40, {"A": 0.5})
    kept = [at for at, row in enumerate(cleaned) if row["entities"]]
    assert count == 20 and min(kept) < 10 and kept != list(range(20, 40))


def test_students_say_how_little_they_believe(trained, english_rows):
    found = cross_fitted(english_rows, english_rows, lambda rows, name: trained)
    scores = [one["score"] for spans in found for one in spans]
    assert len(found) == len(english_rows) and LOWEST <= min(scores) < DISBELIEVED < max(scores)


def test_the_gold_model_gives_soft_targets_where_it_is_sure():
    found = [span(0, "A", 0.95), span(1, "A", 0.5), span(2, "A", 0.01)]
    [row] = by_gold_model([{"id": "1", "entities": []}], [found], "flat")
    assert row["entities"] == [span(0, "A", 0.95, weight=0.95)]
    assert row["uncertain"] == [span(1, "A")] and row["annotator"] == "gold"


@pytest.mark.parametrize(("decoding", "kept"), [("flat", [(3, 5)]), ("nested", [(0, 5), (3, 5)])])
def test_confident_spans_that_may_not_stand_together_are_left_out_of_the_loss(decoding, kept):
    found = [
        {"start": start, "end": end, "label": "A", "score": score}
        for start, end, score in ((0, 5, 0.95), (3, 5, 0.99), (4, 6, 0.92))
    ]
    [row] = by_gold_model([{"id": "1", "entities": []}], [found], decoding)
    assert [(one["start"], one["end"]) for one in row["entities"]] == kept
    assert {(one["start"], one["end"]) for one in row["uncertain"]} == {(0, 5), (3, 5), (4, 6)} - set(kept)


def test_a_span_that_a_student_takes_for_another_label_is_not_disbelieved():
    rows = [{"id": "1", "entities": [span(0, "A"), span(1, "A"), span(2, "A")]}]
    predicted = [[span(0, "B", 0.6), span(1, "B", 0.99), span(2, "A", 0.9)]]  # one label a span is all it tells
    [row], _ = without_disagreement(rows, predicted, {"A": 0.0})
    assert [one["start"] for one in row["entities"]] == [0, 2]


@pytest.mark.parametrize("where", ["augment", "define"])
@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("ask", 20, "beside `variants`"),
        ("min_teacher_f1", 0.9, "beside `variants`"),
        ("pick_model", "m", "leave it out"),
    ],
)
def test_what_the_run_sets_is_refused_in_the_augmentation(tmp_path, encoder, where, name, value, mend):
    settings = tiny_settings(tmp_path, encoder) | {"unlabeled_file": "p", "variants": ["u"]}
    if where == "augment":
        settings["augment"] = settings["augment"] | {name: value}
    else:
        settings["define"] = {"mine": {"pool": "llm", "augment": {name: value}}}
    with pytest.raises(InputError, match=f"{name}: .*{mend}"):
        check_run(settings, "test")


def test_rounds_go_on_where_they_were_stopped_and_share_one_budget(tmp_path, encoder):
    files = pool_files(tmp_path, texts=12)
    settings = tiny_settings(tmp_path, encoder) | {
        "unlabeled_file": str(tmp_path / files["unlabeled_file"]),
        "augment": {"client": "recorded", "answers": [str(tmp_path / name) for name in files["answers"]]},
        "variants": ["u"],
        "pick": "uncertain",
        "rounds": 3,
        "ask": 9,
    }
    call(tmp_path / "whole", settings)
    for limit in (10, 1, 2):  # 8 of the gold; in the first round, at its end, in the second
        told = call(tmp_path / "run", settings, "--max_requests", limit, code=3)
        assert f"--max_requests {limit} is reached" in told and "run the same command to go on" in told
    call(tmp_path / "run", settings, "--max_requests", 4)
    for name in ("all/augmented-u/pool.jsonl", "all/asked.jsonl", "all/augmented-u/picked.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
