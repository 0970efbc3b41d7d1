"""Where sentences end, and windows that are like what training saw."""

from itertools import pairwise

import pytest

from modeling_knowfree.units_knowfree import Pieces, join_units, split_text
from modeling_knowfree.windows_knowfree import owner, sentence_ends, windows


def sentences(text: str, unit: str) -> list[str]:
    offsets = split_text(text, unit)
    starts = [0, *sentence_ends(text, offsets)]
    return [text[offsets[left][0] : offsets[right - 1][1]] for left, right in pairwise(starts)]


@pytest.mark.parametrize(
    ("unit", "text", "found"),
    [
        ("character", "我在嘉鱼。你呢？好！！", ["我在嘉鱼。", "你呢？", "好！！"]),
        ("character", "他说“好。走吧。”然后走了。再见", ["他说“好。走吧。”然后走了。", "再见"]),
        ("character", "《你好！李焕英》很好看。我哭了。", ["《你好！李焕英》很好看。", "我哭了。"]),
        ("character", "一）先。二）后。", ["一）先。", "二）后。"]),  # brackets that nothing opened
        ("character", "第一行\n第二行", ["第一行\n", "第二行"]),
        ("character", "今日は晴れ。明日は？", ["今日は晴れ。", "明日は？"]),
        ("character", "価格は３．５円です．次は。", ["価格は３．５円です．", "次は。"]),
        ("word", "ｗｗｗ．ＡＢＣ．jpを見る．１．序論", ["ｗｗｗ．ＡＢＣ．jpを見る．", "１．", "序論"]),
        ("character", "값은 3.5 입니다. 좋아요.", ["값은 3.5 입니다. ", "좋아요."]),
        ("character", "The Mt. Fuji in Feb. is cold. Go!", ["The Mt. ", "Fuji in Feb. is cold. ", "Go!"]),
        ("word", "Dr. No left at 3.5 km. See example.com. Bye", ["Dr. No left at 3.5 km.", "See example.com.", "Bye"]),
        ("word", "snow on the pass . two bears seen ! ok", ["snow on the pass .", "two bears seen !", "ok"]),
        ("word", "by J. Smith of the U.S. navy. He won.", ["by J. Smith of the U.S. navy.", "He won."]),
        ("word", "Wait... he went. Then ... Next", ["Wait... he went.", "Then ...", "Next"]),
        ("word", "Really?... Yes.!?. Use .NET. .NET is old.", ["Really?...", "Yes.!?.", "Use .NET.", ".NET is old."]),
        ("word", "so long . . . and done .", ["so long . . .", "and done ."]),
        ("character", "等等...算了。好。。。", ["等等...算了。", "好。。。"]),
        ("word", "one line\nanother line", ["one line", "another line"]),
        ("word", "कल आना। आज नहीं।", ["कल आना।", "आज नहीं।"]),
    ],
)
def test_sentences_end_at_marks_and_line_breaks_only(unit, text, found):
    assert sentences(text, unit) == found


def test_an_empty_unit_opens_and_closes_nothing():
    units = ["snow", "", ".", "bears", ".", "", "left", "."]
    assert sentence_ends(*join_units(units, "word")) == [3, 5, 8]


def test_marks_that_are_one_token_end_a_sentence():
    units = ["Well", "...", "what", "?!", "Go", "now", "..", "X"]
    assert sentence_ends(*join_units(units, "word")) == [4, 7, 8]


def pieces(length: int) -> Pieces:
    return Pieces(list(range(length + 2)), [-1, *range(length), -1], length)


LENGTHS = {"median": 30, "p95": 50, "max": 70, "sentences": 2}


def test_a_text_like_those_of_training_is_not_cut():
    def ends():
        raise AssertionError("nothing to cut: nobody asks where sentences end")

    assert windows(pieces(50), 512, 8, ends, LENGTHS) == [(0, 50)]
    assert windows(pieces(500), 512, 8, ends, None) == [(0, 500)]


def test_windows_hold_whole_sentences_as_many_as_a_training_sentence_has():
    found = windows(pieces(100), 512, 8, lambda: [10, 20, 30, 60, 100], LENGTHS)
    assert found == [(0, 20), (20, 60), (60, 100)]


def test_a_sentence_up_to_the_longest_of_training_stays_whole_and_a_longer_one_overlaps():
    assert windows(pieces(140), 512, 8, lambda: [70, 140], LENGTHS) == [(0, 70), (70, 140)]
    overlapping = [(10, 40), (32, 62), (54, 84), (76, 106), (98, 110)]
    assert windows(pieces(110), 512, 8, lambda: [10, 110], LENGTHS) == [(0, 10), *overlapping]


def test_a_text_without_marks_is_cut_into_windows_of_the_median_length_that_share_half():
    queries = {"median": 24, "p95": 32, "max": 46, "sentences": 1}
    assert windows(pieces(70), 512, 64, lambda: [70], queries) == [(0, 24), (12, 36), (24, 48), (36, 60), (48, 70)]
    assert windows(pieces(46), 512, 64, lambda: [46], queries) == [(0, 46)]
    assert windows(pieces(47), 512, 64, lambda: [47], {**queries, "median": 3}) == [
        (0, 20),
        (10, 30),
        (20, 40),
        (30, 47),
    ]


def test_what_the_encoder_cannot_read_is_cut_at_sentence_ends_too():
    assert windows(pieces(20), 12, 2, lambda: [6, 12, 20], None) == [(0, 6), (6, 12), (12, 20)]


def test_few_short_training_sentences_do_not_make_crumbs():
    short = {"median": 5, "p95": 6, "max": 7, "sentences": 1}
    assert windows(pieces(40), 512, 8, lambda: [20, 40], short) == [(0, 40)]


def test_a_long_text_costs_no_more_than_its_length():
    text, offsets = join_units([*"好的。"] * 60_000, "character")
    ends = sentence_ends(text, offsets)
    ranges = windows(pieces(len(offsets)), 512, 8, lambda: ends, LENGTHS)
    assert ranges[-1][1] == len(offsets) and max(right - left for left, right in ranges) == 6
    assert [owner(at, at + 2, ranges) for at in (0, 90_000, 179_996)] == [0, 15_000, 29_999]
