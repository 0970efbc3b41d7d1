"""Annotation of one row: what is asked, what is asked again, and what becomes of answers that do not fit."""

import asyncio
import json

import pytest

from augmentation.kept import failed
from augmentation.llm.dialogue import Unanswered, answer_all, both, finished, replay, together
from augmentation.llm.protocol import Completion, RowError
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.llm.tasks import entities_request
from augmentation.steps.annotation import annotate
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.asking import AnnotationSettings
from augmentation.steps.branches import annotate_synthetic
from augmentation.steps.segmentation import spelling_complaint

TOKENS = list("我们在嘉鱼。他回家看家")


class Author:
    """A client whose answers a test writes: `answers(request)` gives data, text, or (text, finish reason)."""

    model = "author"
    endpoint = "here"
    modes = ("none",)

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    async def send(self, request, mode):
        await asyncio.sleep(0)
        self.asked.append(request)
        answer = self.answers(request)
        if answer is None:
            raise RowError("no answer")
        text, reason = answer if isinstance(answer, tuple) else (answer, "stop")
        text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
        return Completion(text, reason, "author", 1, 1)

    async def close(self):
        pass

    def tasks(self):
        return [request.task for request in self.asked]


def settings(**changes):
    known = {
        "language": "zh",
        "unit": "character",
        "kinds": frozenset({"entities", "pos", "segmentation"}),
        "model": "author",
        "window_units": 400,
        "max_tokens": dict.fromkeys(("entities", "segmentation", "pos", "targets"), 100),
    }
    return AnnotationSettings(**known | changes)


@pytest.fixture
def answered(tmp_path):
    """Run one work against answers; returns its result, outcomes and the client."""
    stores = []

    def run(make_work, answers):
        client = Author(answers)
        store = Store(tmp_path / f"{len(stores)}.sqlite")
        stores.append(store)
        runner = Runner(client, store, mode="none")
        answer_all(lambda: [make_work()], runner)
        sent = len(client.asked)
        done = finished(make_work(), runner)
        assert len(client.asked) == sent
        return done, client

    yield run
    for store in stores:
        store.close()


WORDS = ["我们", "在", "嘉鱼", "。", "他", "回家", "看", "家"]


def by_task(**answers):
    return lambda request: answers[request.task]


def test_entities_words_and_tags_of_a_row(answered):
    tags = [{"word": word, "pos": "动词"} for word in WORDS]
    entities = [
        {"entity": "家", "type": "地点"},
        {"entity": "嘉鱼", "type": "地名"},
        {"entity": "北京", "type": "城市"},
    ]
    done, client = answered(
        lambda: annotate("r", TOKENS, settings()), by_task(entities=entities, segmentation=WORDS, pos=tags)
    )
    assert client.tasks() == ["entities", "segmentation", "pos"]
    assert [(s.start, s.end, s.type) for s in done.value.entities] == [(3, 5, "地名"), (10, 11, "地点")]
    assert done.value.words == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7), (7, 9), (9, 10), (10, 11)]
    assert done.value.tags == [(start, end, "VERB") for start, end in done.value.words]
    assert [(d.entity, d.reason) for d in done.value.dropped] == [("北京", "hallucinated")]
    assert done.value.counts["entities"]["hallucinated"] == 1


def test_words_that_do_not_spell_the_text_are_asked_for_once_more(answered):
    def answers(request):
        if request.task == "segmentation":
            return WORDS if request.reask else WORDS[1:]
        return []

    done, client = answered(lambda: annotate("r", TOKENS, settings(kinds=frozenset({"segmentation"}))), answers)
    assert client.tasks() == ["segmentation", "segmentation"]
    assert "'我们在嘉鱼。他回家看家'" in client.asked[1].messages[-1][1]
    assert len(done.value.words) == 8
    assert done.value.counts["segmentation"] == {
        **{"answers": 1, "failed": 0, "reasked": 1, "flagged": 0, "unplaced": 0, "filled": 0, "words": 8},
    }


def test_a_failed_question_for_the_words_is_asked_again_from_the_start(tmp_path):
    works = lambda: [annotate("r", TOKENS, settings(kinds=frozenset({"segmentation"})))]  # noqa: E731
    with Store(tmp_path / "answers.sqlite") as store:
        broken = Author(lambda request: "sorry, no" if request.reask else WORDS[1:])
        answer_all(works, Runner(broken, store, mode="none"))
        assert [request.reask for request in broken.asked] == [0, 1, 2, 3]
        assert store.release_failures() == 1
        mended = Author(lambda request: WORDS if request.reask == 2 else "sorry, again")
        answer_all(works, Runner(mended, store, mode="none"))
        assert [request.reask for request in mended.asked] == [1, 2]
        assert not list(store.failures())


def test_words_that_never_spell_the_text_are_aligned_and_flagged(answered):
    wrong = ["我们", "嘉鱼", "他", "回了", "家", "看", "家"]
    done, _ = answered(
        lambda: annotate("r", TOKENS, settings(kinds=frozenset({"segmentation"}))), by_task(segmentation=wrong)
    )
    assert done.value.words == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11)]
    counts = done.value.counts["segmentation"]
    assert (counts["reasked"], counts["flagged"], counts["unplaced"], counts["filled"]) == (1, 1, 1, 3)


def test_complaint_names_the_first_difference():
    assert spelling_complaint("我爱北京天安门", ["我", "爱", "南京", "天安门"]) == (
        "the words joined together must be exactly the input; after '我爱' the input goes on '北京天安门', "
        "the words '南京天安门'"
    )


def test_missing_tags_are_asked_for_once_and_only_those(answered):
    def answers(request):
        if request.task != "pos":
            return WORDS
        listed = [word for word in WORDS if word not in ("在", "。", "看")] if len(client_pos) == 0 else ["在", "看"]
        client_pos.append(request)
        return [{"word": word, "pos": "n"} for word in listed]

    client_pos = []
    done, _ = answered(lambda: annotate("r", TOKENS, settings(kinds=frozenset({"pos", "segmentation"}))), answers)
    assert len(client_pos) == 2
    assert '["在", "。", "看"]' in client_pos[1].messages[0][1]
    assert [tag[:2] for tag in done.value.tags] == [(0, 2), (2, 3), (3, 5), (6, 7), (7, 9), (9, 10), (10, 11)]
    assert (5, 6) in done.value.words  # it stays without a tag


def test_words_around_a_token_of_several_characters_are_spans_of_units(answered):
    words = ["他", "在", "NBA", "打球"]
    pos = [{"word": word, "pos": tag} for word, tag in zip(words, ("代词", "介词", "专有名词", "动词"), strict=True)]
    done, _ = answered(
        lambda: annotate("r", ["他", "在", "NBA", "打", "球"], settings(kinds=frozenset({"pos", "segmentation"}))),
        by_task(segmentation=words, pos=pos),
    )
    assert done.value.words == [(0, 1), (1, 2), (2, 3), (3, 5)]
    assert [tag for *_, tag in done.value.tags] == ["PRON", "ADP", "PROPN", "VERB"]
    cut, _ = answered(
        lambda: annotate("r", ["他", "NBA"], settings(kinds=frozenset({"segmentation"}))),
        by_task(segmentation=["他N", "BA"]),
    )
    assert (cut.value.words, cut.value.counts["segmentation"]["off_border"]) == ([], 2)


def test_words_that_the_tags_cut_anew_give_way(answered):
    pos = [{"word": word, "pos": "名词"} for word in ("北京", "大学", "很", "大")]
    done, _ = answered(
        lambda: annotate("r", list("北京大学很大"), settings(kinds=frozenset({"pos", "segmentation"}))),
        by_task(segmentation=["北京大学", "很", "大"], pos=pos),
    )
    assert done.value.words == [(4, 5), (5, 6)]
    assert [(start, end) for start, end, _ in done.value.tags] == [(0, 2), (2, 4), (4, 5), (5, 6)]


@pytest.mark.parametrize("untagged", [[], [{"word": word, "pos": ""} for word in WORDS]])
def test_where_no_word_has_a_tag_the_question_is_put_again_with_the_answer(answered, untagged):
    def answers(request):
        tagged = [{"word": word, "pos": "n"} for word in WORDS]
        return WORDS if request.task != "pos" else tagged if request.reask else untagged

    done, client = answered(lambda: annotate("r", TOKENS, settings(kinds=frozenset({"pos"}))), answers)
    assert client.tasks() == ["segmentation", "pos", "pos"]
    assert "no listed word was given a tag" in client.asked[2].messages[-1][1]
    assert (done.value.counts["pos"]["reasked"], len(done.value.tags)) == (1, len(WORDS))


def test_word_units_need_no_segmentation_answer(answered):
    tokens = "we left harrow creek".split()
    tags = [{"word": word, "pos": "NOUN"} for word in tokens]
    done, client = answered(
        lambda: annotate("r", tokens, settings(unit="word", language="en")), by_task(entities=[], pos=tags)
    )
    assert sorted(client.tasks()) == ["entities", "pos"]
    assert done.value.words == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [tag for *_, tag in done.value.tags] == ["NOUN"] * 4


def test_kinds_decide_what_is_asked(answered):
    done, client = answered(
        lambda: annotate("r", TOKENS, settings(kinds=frozenset({"entities"}))), by_task(entities=[])
    )
    assert client.tasks() == ["entities"]
    assert (done.value.words, done.value.tags) == ([], [])


def test_long_rows_are_asked_in_windows_and_offsets_added_back(answered):
    tokens = list("嘉鱼在湖北。嘉鱼很美。我爱嘉鱼")
    done, client = answered(
        lambda: annotate("r", tokens, settings(window_units=6, kinds=frozenset({"entities"}))),
        by_task(entities=[{"entity": "嘉鱼", "type": "地名"}]),
    )
    assert sorted(request.input for request in client.asked) == ["嘉鱼在湖北。", "嘉鱼很美。", "我爱嘉鱼"]
    assert [(s.start, s.end) for s in done.value.entities] == [(0, 2), (6, 8), (13, 15)]


def test_window_whose_answer_was_cut_is_asked_in_halves_once_a_level(answered):
    tokens = list("嘉鱼在湖北。我爱嘉鱼")

    def answers(request):
        entity = [{"entity": "嘉鱼", "type": "地名"}]
        return (entity, "stop") if len(request.input) <= 4 else ('[{"entity": "嘉鱼", "type": "地', "length")

    done, client = answered(lambda: annotate("r", tokens, settings(kinds=frozenset({"entities"}))), answers)
    assert [request.input for request in client.asked] == [
        "嘉鱼在湖北。我爱嘉鱼",
        "嘉鱼在湖北。",
        "我爱嘉鱼",
        "嘉鱼在",
        "湖北。",
    ]
    assert [(s.start, s.end) for s in done.value.entities] == [(0, 2), (8, 10)]
    assert done.value.counts["entities"]["split_windows"] == 2
    assert [outcome.error is None for outcome in done.outcomes] == [False, False, True, True, True]
    assert failed(done) == []  # what was cut has been answered in parts


@pytest.mark.parametrize("text", ["", "<think>let me see", "Okay, the user wants entities. First, 嘉鱼"])
def test_an_answer_cut_before_it_began_is_not_asked_for_in_halves(answered, text):
    done, client = answered(
        lambda: annotate("r", TOKENS, settings(kinds=frozenset({"entities"}))), by_task(entities=(text, "length"))
    )
    assert len(client.asked) == 1
    [outcome] = failed(done)
    assert "raise max_tokens" in outcome.error and outcome.failure_key


@pytest.mark.parametrize("second", [["。"], [], ["抱歉"]])
def test_a_correction_that_fits_less_than_the_first_words_is_not_taken(answered, second):
    done, _ = answered(
        lambda: annotate("r", TOKENS, settings(kinds=frozenset({"segmentation"}))),
        lambda request: second if request.reask else WORDS[1:],
    )
    assert len(done.value.words) == 8


def test_failed_question_leaves_the_others_alone(answered):
    done, _ = answered(
        lambda: annotate("r", TOKENS, settings(kinds=frozenset({"entities", "segmentation"}))),
        by_task(entities=None, segmentation=WORDS),
    )
    assert [(o.request.task, o.error) for o in done.outcomes if o.error] == [("entities", "no answer")]
    assert len(done.value.words) == 8 and done.value.counts["entities"]["failed"] == 1


TARGETS = TargetSettings(("ORG", "PER"), (("例", (("例", "PER"),)),), "guide", flat=True)


def test_targets_keep_to_the_label_set_and_stand_in_order(answered):
    answer = [
        {"entity": "音乐老师", "type": "PER"},
        {"entity": "老师", "type": "PER"},
        {"entity": "音乐", "type": "ART"},
        {"entity": "学校", "type": "ORG"},
    ]
    tokens = list("音乐老师在学校")
    bare = settings(kinds=frozenset())
    done, _ = answered(lambda: annotate_synthetic("r", tokens, bare, TARGETS), by_task(targets=answer))
    targets = done.value[1]
    assert [(s.start, s.end, s.type) for s in targets.entities] == [(0, 4, "PER"), (5, 7, "ORG")]
    assert [(d.entity, d.reason) for d in targets.dropped] == [("音乐", "unknown_label"), ("老师", "out_of_order")]
    nested = TargetSettings(TARGETS.labels, TARGETS.examples)
    done, _ = answered(lambda: annotate_synthetic("r", tokens, bare, nested), by_task(targets=answer))
    assert [(s.start, s.end) for s in done.value[1].entities] == [(0, 4), (2, 4), (5, 7)]


def ask(*texts):
    outcomes = yield [entities_request("r", text, language="en") for text in texts]
    return [outcome.request.input for outcome in outcomes]


def twice():
    first = yield from ask("a")
    return first + (yield from ask("b"))


def test_works_side_by_side_ask_in_one_list(answered):
    works = lambda: together([ask("x", "y"), twice(), ask()])  # noqa: E731
    state = replay(works(), lambda request: None)
    assert isinstance(state, Unanswered)
    assert [request.input for request in state.requests] == ["x", "y", "a"]
    done, client = answered(works, by_task(entities=[]))
    assert done.value == [["x", "y"], ["a", "b"], []]
    assert [request.input for request in client.asked] == ["x", "y", "a", "b"]
    pair, _ = answered(lambda: both(ask("x"), twice()), by_task(entities=[]))
    assert pair.value == (["x"], ["a", "b"])
