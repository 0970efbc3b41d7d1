import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from modeling_knowfree.metrics import span_scores


def test_hand_computed_scores_nested_and_multi_label():
    gold = [[(0, 4, "A"), (1, 2, "B"), (1, 2, "A")], [], [(0, 1, "C")]]
    predicted = [[(0, 4, "A"), (1, 2, "B"), (2, 3, "B")], [(0, 1, "A")], []]
    scores = span_scores(gold, predicted)
    assert (scores["gold_spans"], scores["predicted_spans"], scores["correct_spans"]) == (4, 4, 2)
    assert scores["precision"] == scores["recall"] == scores["f1"] == 0.5
    assert scores["per_label"]["A"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "predicted": 2}
    assert scores["per_label"]["B"]["f1"] == pytest.approx(2 / 3)
    assert scores["per_label"]["C"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1, "predicted": 0}
    assert scores["macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_nothing_to_find_scores_zero_without_an_error():
    assert span_scores([[]], [[]])["f1"] == 0.0


def test_doubled_spans_count_once():
    assert span_scores([[(0, 1, "A")]], [[(0, 1, "A"), (0, 1, "A")]])["predicted_spans"] == 1


def test_different_numbers_of_sentences_are_refused():
    with pytest.raises(ValueError, match="2 sentences of gold, 1 of predictions"):
        span_scores([[], []], [[]])


def test_equals_seqeval_strict_on_flat_data():
    gold = [["B-A", "I-A", "O", "B-B"], ["O", "B-B", "I-B"], ["B-A", "B-A"]]
    predicted = [["B-A", "I-A", "B-B", "B-B"], ["B-B", "I-B", "I-B"], ["B-A", "O"]]

    def spans(tags):
        found, start = [], None
        for at, tag in enumerate([*tags, "O"]):
            if start is not None and not tag.startswith("I-"):
                found.append((start, at, tags[start][2:]))
                start = None
            if tag.startswith("B-"):
                start = at
        return found

    ours = span_scores([spans(tags) for tags in gold], [spans(tags) for tags in predicted])
    strict = {"mode": "strict", "scheme": IOB2}
    assert ours["f1"] == pytest.approx(f1_score(gold, predicted, **strict))
    assert ours["precision"] == pytest.approx(precision_score(gold, predicted, **strict))
    assert ours["recall"] == pytest.approx(recall_score(gold, predicted, **strict))
