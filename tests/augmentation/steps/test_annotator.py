"""A trained model annotates synthetic sentences, alone or with the LLM (S7, S9)."""

import pytest

from augmentation.steps.annotator import TargetSettings, annotate_by_model
from tests.conftest import row


def span(start, end, label, score):
    return {"start": start, "end": end, "label": label, "score": score, "word": "x"}


@pytest.mark.parametrize(
    ("named", "label"),
    [
        *((name, "Film Director") for name in ("Film Director", "film_director", "ＦＩＬＭ-director")),
        *(("A", "A"), ("a", "a"), ("Ａ", None), ("Director", None)),
    ],
)
def test_a_label_is_known_in_another_spelling_where_only_one_can_be_meant(named, label):
    assert TargetSettings(("A", "Film Director", "a"), ()).label_of(named) == label


def test_a_model_replaces_the_targets_and_keeps_its_scores():
    rows = [row("the old creek", (0, 1, "PLACE")), row("a bear")]
    predicted = [[span(1, 3, "PLACE", 0.75)], []]
    annotated = list(annotate_by_model(rows, predicted, "fusion"))
    assert [each["entities"] for each in annotated] == [
        [{"start": 1, "end": 3, "label": "PLACE", "score": 0.75}],
        [],
    ]
    assert "uncertain" not in annotated[0]
    assert [each["annotator"] for each in annotated] == ["fusion", "fusion"]
    assert rows[0]["entities"] == [{"start": 0, "end": 1, "label": "PLACE"}]
    assert [each["id"] for each in annotate_by_model(rows, predicted, "gold", min_targets=1)] == ["the old creek"]


def test_what_llm_and_model_agree_on_counts_and_the_rest_is_uncertain():
    llm = row("left harrow creek at 5 am", (1, 3, "PLACE"), (4, 6, "TIME"))
    model = [span(1, 3, "PLACE", 0.9), span(4, 6, "GEAR", 0.6), span(0, 1, "TIME", 0.7)]
    [annotated] = annotate_by_model([llm], [model], "agree")
    assert annotated["entities"] == [{"start": 1, "end": 3, "label": "PLACE", "score": 0.9}]
    assert annotated["annotator"] == "agree"
    assert annotated["uncertain"] == [
        {"start": 0, "end": 1, "label": "TIME"},
        {"start": 4, "end": 6, "label": "GEAR"},
        {"start": 4, "end": 6, "label": "TIME"},
    ]
