"""The teacher: its two folds, its examples, its scores, and what its spans count (S11)."""

import numpy as np
import pytest

from augmentation.llm.dialogue import replay
from augmentation.steps.alignment import EntitySpan
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.asking import Annotation, AnnotationSettings
from augmentation.steps.teacher import Examples, Teacher, fold_of, intervals, label_precision, teacher_table
from tests.conftest import letter_counts, row

GOLD = [
    row("the bear left the creek", (1, 2, "WILDLIFE"), (4, 5, "PLACE"), id="a"),
    row("deep snow on the pass", (0, 2, "CONDITION"), id="b"),
    row("an axe in the snow", (1, 2, "GEAR"), id="c"),
    row("The bear left the creek .", (1, 2, "WILDLIFE"), id="d"),  # a once more
    row("we crossed the ridge", (3, 4, "PLACE"), id="e"),
]
LABELS = ("CONDITION", "GEAR", "PLACE", "WILDLIFE")


def teacher(limit=64, embed=letter_counts, seed=0, gold=GOLD):
    annotation = AnnotationSettings("en", "word", frozenset(), "m", 400, {"targets": 512})
    return Teacher(gold, "word", annotation, TargetSettings(LABELS, (), flat=True), limit, seed, embed)


def prompt(work):
    [request] = replay(work, lambda _: None).requests
    return "\n".join(content for _, content in request.messages)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [64, 1])
def test_the_probe_never_shows_a_sentence_to_itself(seed, limit):
    asking = teacher(limit=limit, seed=seed)
    assert asking.folds[0] == asking.folds[3]  # the same sentence twice in the gold
    for at, gold in enumerate(GOLD):
        shown = prompt(asking.probe_work(at)).rpartition("Input:")[0]
        assert " ".join(gold["tokens"]).lower().rstrip(" .") not in shown.lower()
        others = [other for other in range(len(GOLD)) if asking.folds[other] != asking.folds[at]]
        assert asking.others(at) == others
        assert shown.count("Example input:") == min(limit, len(others))


def test_the_pool_is_asked_with_all_gold_or_the_nearest_of_it():
    text = row("old snow on the pass", id="p")
    assert prompt(teacher().pool_work(text)).count("Example input:") == len(GOLD)
    near = prompt(teacher(limit=2).pool_work(text))
    shown = [line for line in near.splitlines() if line.startswith("Example input:")]
    similar = letter_counts([" ".join(r["tokens"]) for r in GOLD]) @ letter_counts(["old snow on the pass"])[0]
    nearest = [GOLD[at] for at in np.argsort(-similar)[:2]]
    assert shown == [f"Example input: {' '.join(r['tokens'])}" for r in reversed(nearest)]


def test_examples_are_embedded_only_where_they_have_to_be_chosen():
    def never(texts):
        raise AssertionError("no need")

    gold = [("a", ()), ("b", ())]
    assert Examples(gold, 2, never).of("x") == tuple(gold)
    assert Examples(gold, 0, never).of("x") == ()


def test_the_nearest_examples_are_those_of_the_smallest_angle_whatever_their_length():
    vectors = {"asked": [1.0, 0.0], "near": [1.0, 0.01], "long": [5.0, 5.0]}
    gold = [("near", ()), ("long", ())]
    assert Examples(gold, 1, lambda texts: np.array([vectors[text] for text in texts])).of("asked") == (gold[0],)


def test_descriptions_of_labels_stand_in_the_prompt():
    asking = teacher()
    asking.targets = TargetSettings(LABELS, (), "", True, (("GEAR", "what is carried"),))
    assert "- GEAR: what is carried" in prompt(asking.pool_work(GOLD[0]))
    assert "what is carried" not in prompt(teacher().pool_work(GOLD[0]))


def found(*spans):
    return Annotation([EntitySpan(*span, "x") for span in spans], [], [], [], {})


def test_the_report_scores_both_folds_together():
    answers = [found((1, 2, "WILDLIFE")), found(), found((1, 2, "GEAR"), (4, 5, "GEAR")), found((1, 2, "WILDLIFE"))]
    report = teacher().report([*answers, found((3, 4, "PLACE"))])
    assert (report["correct_spans"], report["predicted_spans"], report["gold_spans"]) == (4, 5, 6)
    assert report["f1"] == pytest.approx(8 / 11)
    assert {"f1", "precision", "recall", "macro_f1", "per_label", "intervals", "folds"} <= report.keys()
    assert sum(fold["rows"] for fold in report["folds"]) == 5
    low, high = report["intervals"]["f1"]
    assert 0 <= low < report["f1"] < high <= 1
    assert report["intervals"]["per_label"].keys() == report["per_label"].keys()
    assert [line.split()[0] for line in teacher_table(report).splitlines()] == ["label", *sorted(LABELS), "all"]
    precision = label_precision(report, [*LABELS, "NEVER"])
    assert precision["GEAR"] < precision["WILDLIFE"]  # one of two right
    assert precision["NEVER"] == pytest.approx(report["precision"])


def test_an_interval_of_certain_things_is_a_point():
    gold = [[(0, 1, "A")], [(1, 2, "B")]]
    told = intervals(gold, gold, seed=0)
    assert told["f1"] == told["precision"] == [1.0, 1.0]
    assert intervals(gold, [[], []], seed=0)["f1"] == [0.0, 0.0]


def test_folds_are_halves():
    keys = [str(number) for number in range(51)]
    folds = fold_of(keys, 3)
    assert folds == fold_of(keys, 3) != fold_of(keys, 4)
    assert sorted(map(folds.count, (0, 1))) == [25, 26]
