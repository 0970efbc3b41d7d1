"""Alignment: the ladder, the rules about overlaps and words, and what hypothesis can think of."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augmentation.steps.alignment import (
    UnitText,
    align_entities,
    align_in_order,
    align_tags,
    align_words,
    fold,
    segment,
    spells,
)


def characters(text):
    return UnitText.from_tokens(list(text), "character")


def words_of(text):
    return UnitText.from_tokens(text.split(), "word")


def spans(result):
    return [(span.start, span.end, span.type) for span in result.spans]


def test_every_occurrence_is_taken_and_counted_as_ambiguous():
    result = align_entities(words_of("the bear saw the bear"), [("bear", "Animal"), ("bear", "Animal")])
    assert spans(result) == [(1, 2, "Animal"), (4, 5, "Animal")]
    assert dict(result.counts) == {"pairs": 1, "exact": 1, "ambiguous": 1, "off_border_occurrences": 0, "spans": 2}


def test_targets_take_an_occurrence_an_item_in_order():
    text = characters("李帆和李帆的妈妈")
    one = align_in_order(text, [("李帆", "PER")], flat=True)
    assert spans(one) == [(0, 2, "PER")]  # the other occurrence is not meant
    two = align_in_order(text, [("李帆", "PER"), ("李帆", "PER"), ("李帆", "PER")], flat=True)
    assert (spans(two), two.counts["out_of_order"]) == ([(0, 2, "PER"), (3, 5, "PER")], 1)
    back = align_in_order(text, [("妈妈", "PER"), ("李帆", "PER"), ("爸爸", "PER")], flat=True)
    assert spans(back) == [(6, 8, "PER")]
    assert [(drop.entity, drop.reason) for drop in back.dropped] == [("李帆", "out_of_order"), ("爸爸", "hallucinated")]


def test_nested_targets_go_on_from_the_start_of_the_one_before():
    text = characters("北京大学北京")
    items = [("北京大学", "ORG"), ("北京", "LOC"), ("北京", "LOC"), ("北京", "GPE")]
    assert spans(align_in_order(text, items, flat=False)) == [
        (0, 4, "ORG"),
        (0, 2, "LOC"),
        (4, 6, "LOC"),
        (4, 6, "GPE"),
    ]
    assert spans(align_in_order(text, items[:2], flat=True)) == [(0, 4, "ORG"), (4, 6, "LOC")]


@pytest.mark.parametrize(
    ("text", "items", "expected"),
    [
        (characters("ＮＢＡ球星姚明谈NBA"), ["NBA", "姚明", "NBA"], [(0, 3), (5, 7), (8, 11)]),
        (words_of("us star Ann left the US"), ["US", "Ann", "US"], [(0, 1), (2, 3), (5, 6)]),
        (words_of("IBM said ibm is big"), ["IBM", "IBM"], [(0, 1), (2, 3)]),
        (words_of("tell us about the US and Ann"), ["US", "Ann"], [(4, 5), (6, 7)]),  # spelt so, and all find a place
    ],
)
def test_targets_spelt_otherwise_keep_their_place_in_the_order(text, items, expected):
    result = align_in_order(text, [(item, "X") for item in items], flat=True)
    assert [(span.start, span.end) for span in result.spans] == expected
    assert result.counts["exact"] + result.counts["normalised"] == len(items)


def test_occurrences_of_one_mention_never_overlap():
    assert spans(align_entities(characters("哈哈哈哈哈"), [("哈哈", "声")])) == [(0, 2, "声"), (2, 4, "声")]


def test_occurrence_that_splits_a_word_yields_to_one_that_does_not():
    text = characters("我回家看家")
    words = [(0, 1), (1, 3), (3, 4), (4, 5)]
    result = align_entities(text, [("家", "地点")], words)
    assert spans(result) == [(4, 5, "地点")]
    assert result.counts["yielded"] == 1
    assert spans(align_entities(text, [("回", "动作")], words)) == [(1, 2, "动作")]  # the only occurrence stays


def test_overlapping_occurrences_prefer_word_borders():
    result = align_entities(characters("人人人人"), [("人人", "众")], [(0, 1), (1, 3), (3, 4)])
    assert spans(result) == [(1, 3, "众")]


def test_nested_and_same_start_spans_stay():
    pairs = [("北京大学", "学校"), ("北京", "城市"), ("北京大学", "机构")]
    result = align_entities(characters("北京大学"), pairs)
    assert spans(result) == [(0, 2, "城市"), (0, 4, "学校"), (0, 4, "机构")]


@pytest.mark.parametrize(
    ("text", "entity", "span"),
    [
        ("ＮＢＡ总决赛", "NBA", (0, 3)),
        ("straße", "STRASSE", (0, 6)),
        ("oﬃce hours", "office", (0, 4)),
        ("die İzmir", "i̇zmir", (4, 9)),
        ("cafe\u0301 noir", "café", (0, 5)),
        ("café noir", "cafe\u0301", (0, 4)),
        ("½ mile", "1⁄2", (0, 1)),
        ("ｶﾞｰﾄﾞ下", "ガード", (0, 5)),
        ("각각", "\u1100\u1161\u11a8", (0, 1)),
        ("北 京", "北京", (0, 3)),
    ],
)
def test_second_rung_maps_back_to_the_original_characters(text, entity, span):
    result = align_entities(characters(text), [(entity, "T")])
    assert (result.spans[0].start, result.spans[0].end) == span
    assert result.counts["normalised"] == 1


@pytest.mark.parametrize(("text", "entity"), [("ﬁn", "f"), ("ﬁn", "in"), ("½", "1"), ("각", "\u1100")])
def test_part_of_a_character_is_no_occurrence(text, entity):
    result = align_entities(characters(text), [(entity, "T")])
    assert (result.spans, result.counts["hallucinated"]) == ([], 1)


def test_losses_are_counted_with_their_reason():
    pairs = [("stream", "A"), ("ream", "B"), ("river", "C"), ("  ", "D"), ("Am", "E")]
    result = align_entities(words_of("a stream at 5 am"), pairs)
    assert spans(result) == [(1, 2, "A"), (4, 5, "E")]
    assert [(d.entity, d.reason) for d in result.dropped] == [
        ("ream", "off_border"),
        ("river", "hallucinated"),
        ("  ", "empty"),
    ]
    counts = result.counts
    assert (
        counts["pairs"] == 5 == sum(counts[k] for k in ("exact", "normalised", "hallucinated", "off_border", "empty"))
    )


def test_words_that_spell_the_text_are_taken_as_they_are():
    text = characters("我爱 北京")
    result = segment(text, ["我", "爱", "北京"])
    assert (result.words, result.flagged, result.filled) == ([(0, 1), (1, 2), (3, 5)], False, 0)


def test_words_that_do_not_spell_the_text_keep_order_and_the_rest_becomes_words():
    result = segment(characters("我很爱北京天安门"), ["我", "爱", "上海", "天安门"])
    assert result.words == [(0, 1), (1, 2), (2, 3), (3, 5), (5, 8)]
    assert (result.flagged, result.unplaced, result.filled) == (True, 1, 2)


def test_word_is_never_searched_for_behind_its_place():
    # searching for 的 would put both on the first one
    assert align_words(characters("我的你的"), ["的", "你", "的"]) == [(1, 2), (2, 3), (3, 4)]
    # "b" stands before "a": only one of them can keep its place
    assert align_words(characters("abc"), ["b", "a", "c"]) in ([(1, 2), None, (2, 3)], [None, (0, 1), (2, 3)])


def test_order_that_covers_most_wins():
    assert align_words(characters("x长长的词x"), ["长长的词", "x"]) == [(1, 5), (5, 6)]


def test_tags_go_to_the_listed_words_in_order():
    text = characters("我爱北京")
    words = [(0, 1), (1, 2), (2, 4)]
    result = align_tags(text, words, [("我", "代词"), ("北京", "名词")])
    assert result.tagged == [(0, 1, "代词"), (2, 4, "名词")]
    assert (result.missing, result.resegmented) == ([(1, 2)], False)
    result = align_tags(text, words, [("我", "代词"), ("爱", ""), ("北京", "名词")])
    assert result.missing == [(1, 2)]


def test_tagger_that_cuts_anew_and_spells_the_text_keeps_its_borders():
    text = characters("我爱北京")
    result = align_tags(text, [(0, 1), (1, 2), (2, 4)], [("我爱", "短语"), ("北", "名词"), ("京", "名词")])
    assert result.tagged == [(0, 2, "短语"), (2, 3, "名词"), (3, 4, "名词")]
    assert (result.missing, result.resegmented) == ([], True)


def test_tagger_that_cuts_anew_and_does_not_spell_keeps_only_listed_words():
    result = align_tags(characters("我爱北京"), [(0, 1), (1, 2), (2, 4)], [("我爱", "短语"), ("北京", "名词")])
    assert result.resegmented  # it does spell the text
    result = align_tags(characters("我爱北京"), [(0, 1), (1, 2), (2, 4)], [("我爱", "短语"), ("京", "名词")])
    assert (result.tagged, result.missing) == ([], [(0, 1), (1, 2), (2, 4)])


ALPHABET = "aAbB ßﬁﬃİiI½ⅣéÉe\u0301\u0308ｶﾞガ한\u1112\u1161\u11abΣσςͅᾳ家回北京。\u3000\u200d😀"
TEXTS = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=24)
ANY = st.text(min_size=0, max_size=12)


@st.composite
def text_and_mentions(draw):
    text = draw(st.one_of(TEXTS, st.text(min_size=1, max_size=30)))
    unit = draw(st.sampled_from(["character", "word"]))
    tokens = list(text) if unit == "character" else (text.split() or ["x"])
    mentions = draw(st.lists(st.one_of(TEXTS, ANY), max_size=4))
    joined = UnitText.from_tokens(tokens, unit)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(joined.text)))
        piece = joined.text[start : draw(st.integers(start, len(joined.text)))]
        mentions.append(draw(st.sampled_from([piece, piece.upper(), piece.lower(), piece.replace(" ", "")])))
    return joined, mentions


@given(text_and_mentions(), st.booleans())
def test_every_span_cuts_out_what_the_model_named(case, with_words):
    text, mentions = case
    words = segment(text, mentions).words if with_words else None
    result = align_entities(text, [(mention, f"T{i}") for i, mention in enumerate(mentions)], words)
    places = {}
    for span in result.spans:
        assert 0 <= span.start < span.end <= len(text.offsets)
        cut = text.text[text.offsets[span.start][0] : text.offsets[span.end - 1][1]]
        assert fold(cut) == fold(span.entity) and span.entity == mentions[int(span.type[1:])]
        places.setdefault(span.type, []).append((span.start, span.end))
    for found in places.values():
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(found))
    counts = result.counts
    assert counts["pairs"] == len(mentions) == len(places) + len(result.dropped)
    assert sum(counts[k] for k in ("hallucinated", "off_border", "empty")) == len(result.dropped)


@given(text_and_mentions())
def test_exact_unit_spans_are_always_found(case):
    text, _ = case
    for start, (first, last) in enumerate(text.offsets):
        entity = text.text[first:last]
        if fold(entity) and {first, last} <= text.cluster_borders:
            assert any(s.start <= start < s.end for s in align_entities(text, [(entity, "T")]).spans)


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("un cafe\u0301", "cafe"),
        ("か\u3099く", "か"),
        (unicodedata.normalize("NFD", "김철수"), unicodedata.normalize("NFD", "기")),
        ("I ❤\ufe0f you", "❤"),
        ("a 👨\u200d👩\u200d👧", "👨"),
        ("a 👍🏽", "👍"),
    ],
)
def test_no_mention_ends_inside_what_is_drawn_as_one(text, mention):
    assert align_entities(UnitText.from_tokens(list(text), "character"), [(mention, "X")]).spans == []
    assert len(align_entities(UnitText.from_tokens(list(text), "character"), [(text, "X")]).spans) == 1


@given(text_and_mentions())
def test_words_and_tags_are_monotone_and_cover_the_text(case):
    text, words = case
    placed = align_words(text, words)
    assert len(placed) == len(words)
    kept = [(span, word) for span, word in zip(placed, words, strict=True) if span]
    assert all(fold(text.text[span[0] : span[1]]) == fold(word) for span, word in kept)
    assert all(a[0][1] <= b[0][0] for a, b in itertools.pairwise(kept))

    result = segment(text, words)
    assert all(a[1] <= b[0] for a, b in zip(result.words, result.words[1:], strict=False))
    covered = {i for start, end in result.words for i in range(start, end)}
    assert {i for i, char in enumerate(text.text) if not char.isspace()} <= covered

    items = [(word, f"tag{i}") for i, word in enumerate(words)]
    tags = align_tags(text, result.words, items)
    assert all(a[1] <= b[0] for a, b in zip(tags.tagged, tags.tagged[1:], strict=False))
    for start, end, tag in tags.tagged:
        assert fold(text.text[start:end]) == fold(words[int(tag[3:])])
        assert tags.resegmented or (start, end) in result.words
    assert set(tags.missing) <= set(result.words)


@given(TEXTS)
def test_pieces_of_the_text_spell_it(text):
    tokens = characters(text)
    assert spells(tokens, [text])
    assert segment(tokens, [text]).flagged is False


def test_runaway_answer_stays_cheap():
    result = segment(characters("的" * 600), ["的"] * 50_000)
    assert len(result.words) == 600 and result.flagged
