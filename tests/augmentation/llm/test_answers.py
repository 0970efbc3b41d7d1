"""The parsers: what each task accepts, what is repaired, and that no input brings another exception."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augmentation.llm.answers import AnswerError, EntityItem, MergeGroup, Parsed, PosItem, VerdictItem, parse
from augmentation.llm.tasks import TASKS
from tests.support.augment_mutants import mutants

PARIS = EntityItem(entity="Paris", type="City")
OSLO = EntityItem(entity="Oslo", type="City")
PARIS_JSON = '{"entity": "Paris", "type": "City"}'
OSLO_JSON = '{"entity": "Oslo", "type": "City"}'


@pytest.mark.parametrize(
    ("text", "expected", "repaired"),
    [
        (f"[{PARIS_JSON}, {OSLO_JSON}]", [PARIS, OSLO], False),
        (f'{{"items": [{PARIS_JSON}]}}', [PARIS], False),
        (f'{{"entities": [{PARIS_JSON}], "note": "none"}}', [PARIS], False),
        ("[]", [], False),
        ('{"items": []}', [], False),
        (f"```json\n[{PARIS_JSON}]\n```", [PARIS], False),
        (f"Here you are:\n```\n[{PARIS_JSON}]\n```\nand also\n```\n[{OSLO_JSON}]\n```", [PARIS, OSLO], False),
        (f"{PARIS_JSON}\n{OSLO_JSON}", [PARIS, OSLO], False),
        (f"<think>maybe [{OSLO_JSON}]?</think>[{PARIS_JSON}]", [PARIS], False),
        (f"maybe [{OSLO_JSON}]?</think>\n[{PARIS_JSON}]", [PARIS], False),
        (f"As in [1], the answer is [{PARIS_JSON}].", [PARIS], False),
        (f'{{"sentences": 1}} [{PARIS_JSON}]', [PARIS], False),
        ("[{entity: 'Paris', type: 'City'}]", [PARIS], True),
        ('[{"entity": "Paris", "type": "City"},]', [PARIS], True),
        ('[{"entity": "Paris", "type": "City"}', [PARIS], True),
        ('[{"entity": " Paris ", "type": "City\\n"}]', [PARIS], False),
        ('[{"entity": 1966, "type": "Year"}]', [EntityItem(entity="1966", type="Year")], False),
        ('[{"entity": 3.50, "type": 1E5}]', [EntityItem(entity="3.50", type="1E5")], False),
        ('[{"entity": 007, "type": "a: 08, b"},]', [EntityItem(entity="007", type="a: 08, b")], True),
        ("{}", [], False),
        (f'{{"entities": [{PARIS_JSON}], "relations": []}}', [PARIS], False),
        ('{"entities": [], "relations": []}', [], False),
        (f"<thought>maybe [{OSLO_JSON}]?</thought>[{PARIS_JSON}]", [PARIS], False),
        (f"[THINK]maybe [{OSLO_JSON}]?[/THINK][{PARIS_JSON}]", [PARIS], False),
        (f"◁think▷maybe [{OSLO_JSON}]?◁/think▷[{PARIS_JSON}]", [PARIS], False),
        (f"<|channel|>analysis<|message|>[{OSLO_JSON}]<|channel|>final<|message|>[{PARIS_JSON}]", [PARIS], False),
        ('[{"entity": "Paris", "type": "City", "entity": "Oslo", "type": "City"}]', [PARIS, OSLO], False),
        ('{"entity": "Paris", "type": "City", "entity": "Oslo", "type": "City"}', [PARIS, OSLO], False),
        (f'{{"items": [{PARIS_JSON}], "items": [{OSLO_JSON}]}}', [PARIS, OSLO], False),
        ('[["Paris", "City"], ["Oslo", "City"]]', [PARIS, OSLO], False),
        ('[{"entity": "Paris", "type": "Town", "type": "City"}]', [PARIS], False),
        ('[{"entity": "Paris", "type": "City", "entity": "Paris"}]', [PARIS], False),
        (f'{{"thought": "a", "thought": "b"}} [{PARIS_JSON}]', [PARIS], False),
        (f'{{"items": [{PARIS_JSON}], "notes": ["none"]}}', [PARIS], False),
        ('[{"entity": "Paris", "type": "\u200bCity\u200b"}]', [PARIS], False),
        ("\n".join(["{'entity': 'Paris', 'type': 'City'}"] * 40), [PARIS] * 40, True),
        ("[{entity: Paris, type: City}]", [PARIS], True),  # no quote anywhere, and nothing better
        ('[{"entity": "a]}b", "type": "x"}]', [EntityItem(entity="a]}b", type="x")], False),
        ('[{"entity": "\\ud800", "type": "x"}]', [EntityItem(entity="\ufffd", type="x")], False),
    ],
)
def test_entities(text, expected, repaired):
    assert parse("entities", text) == Parsed(expected, repaired=repaired)


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        ("segmentation", '["我们", "一起"]', ["我们", "一起"]),
        ("segmentation", '{"items": ["a", 5]}', ["a", "5"]),
        ("segmentation", '["left over", true] ["a", "b"]', ["a", "b"]),
        ("verify_targets", '[{"number": 2, "right": false}]', [VerdictItem(number=2, right=False)]),
        ("pos", '[{"word": "a", "pos": "DET"}]', [PosItem(word="a", pos="DET")]),
        ("pos", '[["a", "DET"], ["b", null]]', [PosItem(word="a", pos="DET"), PosItem(word="b")]),
        (
            "merge",
            '{"A": ["a"], "B": []}',
            [MergeGroup(standard="A", synonyms=["a"]), MergeGroup(standard="B", synonyms=[])],
        ),
        ("pos", '[{"word": "a", "pos": null}, {"word": "b"}]', [PosItem(word="a"), PosItem(word="b")]),
        ("merge", '{"groups": [{"standard": "A", "synonyms": ["a"]}]}', [MergeGroup(standard="A", synonyms=["a"])]),
        ("merge", '[{"standard": "A", "synonyms": ["a"]}]', [MergeGroup(standard="A", synonyms=["a"])]),
        ("merge", '{"standard": "A", "synonyms": ["a"]}', [MergeGroup(standard="A", synonyms=["a"])]),
        (
            "merge_standard",
            '{"A": ["a", "b"], "C": ["c"]}',
            [MergeGroup(standard="A", synonyms=["a", "b"]), MergeGroup(standard="C", synonyms=["c"])],
        ),
        (
            "merge",
            '{"items": ["item"], "result": ["end"]}',
            [
                MergeGroup(standard="items", synonyms=["item"]),
                MergeGroup(standard="result", synonyms=["end"]),
            ],
        ),
        ("explanation", "<think>hm</think>\nIt is a city .", "It is a city ."),
    ],
)
def test_other_tasks(task, text, expected):
    assert parse(task, text) == Parsed(expected)


@pytest.mark.parametrize("task", ["rewrite", "compose"])
@pytest.mark.parametrize(
    "text",
    [
        '[{"entity": null, "type": 5}]',
        '```json\n{"sentence": "We met Bob."}\n```',
        "<html><body><p>We met.</p></body></html>",
    ],
)
def test_json_or_a_page_is_no_sentence(task, text):
    with pytest.raises(AnswerError, match="write one plain sentence"):
        parse(task, text)
    assert parse(task, 'We met "Bob" [1] at a < b.').value == 'We met "Bob" [1] at a < b.'


def test_words_in_brackets_amid_prose_are_no_items():
    assert parse("terms", '40 names of type [PER]:\n["Ann", "Bob"]').value == ["Ann", "Bob"]
    assert parse("terms", "there is none of type [PER]: []").value == []


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        ("entities", f'[{PARIS_JSON}, {{"type": "City", "entity": "Os', [PARIS]),
        ("terms", '["Paris", "New Yo', ["Paris"]),
    ],
)
def test_an_answer_that_ends_inside_a_string_was_cut_whatever_the_server_says(task, text, expected):
    parsed = parse(task, text)
    assert (parsed.value, parsed.cut) == (expected, True)


@pytest.mark.parametrize("length", [0, 300])  # mended here, and in a process of its own
def test_what_the_mending_library_itself_fails_on_is_an_unusable_answer(length, capfd):
    with pytest.raises(AnswerError, match="broken beyond repair"):
        parse("entities", '{"```json [{"entity": "巴黎", "type": "城市"}]```"}' + "x" * length + "]")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'[{PARIS_JSON}, {OSLO_JSON}, {{"entity": "Li', [PARIS, OSLO]),
        (f"[{PARIS_JSON}, {OSLO_JSON}", [PARIS]),  # whether the last is whole cannot be known
        (f"[{PARIS_JSON}, {OSLO_JSON}] and that is", [PARIS, OSLO]),  # the list was closed before the cut
    ],
)
def test_a_cut_answer_loses_its_last_item(text, expected):
    parsed = parse("entities", text, cut=True)
    assert (parsed.value, parsed.cut) == (expected, True)


@pytest.mark.parametrize(
    ("task", "text", "complaint"),
    [
        ("entities", "", "empty"),
        ("entities", "<think>I never stop thinking", "empty"),
        ("entities", "I cannot help with that.", "no JSON in the answer: 'I cannot help"),
        ("entities", '[{"entity": "Paris"}]', "item 1, 'type': Field required"),
        ("entities", '[{"entity": "a", "type": "b"}, {"entity": "", "type": "b"}]', "item 2, 'entity'"),
        ("entities", '["Paris"]', "item 1"),
        ("entities", f'{PARIS_JSON}\n{{"entity": "Oslo", "type": null}}', "item 1, 'type'"),
        ("entities", f'[1] [{PARIS_JSON}] [{OSLO_JSON}, {{"entity": "", "type": "City"}}]', "item 2, 'entity'"),
        ("entities", f'{{"items": [{{"name": "Oslo"}}]}} [{PARIS_JSON}]', "item 1, 'entity': Field required"),
        ("merge", '{"items": ["person", "location"]}', "item 1"),
        ("merge", '{"groups": [], "unmatched": ["x"]}', "item 1"),
        ("targets", '{"LOC": [["Rome", "Paris"]]}', "item 1"),
        ("entities", f'[{{"entity": "Paris", "type": "{"x" * 101}"}}]', "at most 100 characters"),
        ("entities", '{"items": {"a": 1}}', "item 1"),
        ("segmentation", "[true]", "item 1"),
        ("entities", "[" * 100, "nested deeper than 32"),
        ("entities", "[" * 300_000, "nested deeper than 32"),
        ("entities", "x" * 400_001, "more than 400000"),
        ("explanation", "  ", "empty"),
    ],
)
def test_complaints_can_be_quoted(task, text, complaint):
    with pytest.raises(AnswerError) as caught:
        parse(task, text)
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("task", "text", "usable", "misfits"),
    [
        ("entities", f'[{PARIS_JSON}, {{"entity": "Rome", "type": null}}, {OSLO_JSON}]', [PARIS, OSLO], 1),
        ("entities", f'[{{"entity": "", "type": ""}}] [{PARIS_JSON}]', [PARIS], 1),
        ("entities", f'[{PARIS_JSON}, {{"entity": "Rome", "type": "{"x" * 101}"}}]', [PARIS], 1),
        ("verify_targets", '[{"number": 1, "right": true}, {"right": 2}]', [VerdictItem(number=1, right=True)], 1),
    ],
)
def test_what_is_sound_of_an_answer_with_a_misfit_is_kept_for_when_no_better_one_comes(task, text, usable, misfits):
    with pytest.raises(AnswerError) as caught:
        parse(task, text)
    assert caught.value.usable == Parsed(usable, misfits=misfits)


def test_nothing_is_usable_of_an_answer_without_a_sound_item():
    with pytest.raises(AnswerError) as caught:
        parse("entities", '[{"entity": "", "type": ""}]')
    assert caught.value.usable is None


def test_a_cut_answer_without_a_whole_item_is_no_empty_answer():
    with pytest.raises(AnswerError, match="before its first complete item"):
        parse("entities", '[{"entity": "Pa', cut=True)


def test_five_thousand_mutants_bring_no_other_exception():
    begun = time.process_time()
    usable = 0
    for task, text, cut in mutants(5000, seed=7):
        try:
            value = parse(task, text, cut=cut).value
        except AnswerError:
            continue
        usable += 1
        json.dumps(value if isinstance(value, str) else [str(item) for item in value]).encode("utf-8")
        str(value).encode("utf-8")  # no lone surrogate gets through
    assert 1000 < usable < 5000
    assert time.process_time() - begun < 30


@given(st.sampled_from(TASKS), st.text(alphabet=st.sampled_from('[]{}",:\\ \n`a1é嘉\ud800\x00')), st.booleans())
def test_no_text_brings_another_exception(task, text, cut):
    with contextlib.suppress(AnswerError):
        parse(task, text, cut=cut)
