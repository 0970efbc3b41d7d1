"""Windows over long texts."""

from hypothesis import given
from hypothesis import strategies as st

from augmentation.steps.windows import halves, windows


def test_windows_end_at_sentence_ends():
    tokens = list("今天好。明天也好，后天不好")
    assert windows(tokens, 6) == [(0, 4), (4, 9), (9, 13)]
    assert windows(tokens, 100) == [(0, 13)]
    assert windows("we left . it was 3.5 km on".split(), 4) == [(0, 3), (3, 7), (7, 8)]


def test_full_stop_inside_a_number_is_no_end():
    assert windows(list("约3.5公里远处"), 4) == [(0, 4), (4, 8)]
    assert windows(list("約３．５公里です．"), 4) == [(0, 4), (4, 8), (8, 9)]
    assert windows(["約３．", "５公里．", "です"], 2) == [(0, 2), (2, 3)]
    assert windows(list("行く｡明日も"), 5) == [(0, 3), (3, 6)]


def test_halves_prefer_the_sentence_end_nearest_the_middle():
    tokens = list("一。二三四五。六七八九")
    assert halves(tokens, 0, 11) == [(0, 7), (7, 11)]
    assert halves(list("一二三四"), 0, 4) == [(0, 2), (2, 4)]
    assert halves(list("一二三四"), 0, 4, lambda border: border != 2) == [(0, 1), (1, 4)]
    assert halves(["x"], 0, 1) == [(0, 1)]
    assert halves(list("一二"), 0, 2, lambda border: False) == [(0, 2)]


@given(st.lists(st.sampled_from(["a", "。", ".", ",", "3", " ", "word."]), min_size=1), st.integers(1, 9))
def test_windows_cover_the_text_in_order(tokens, size):
    ranges = windows(tokens, size)
    assert [i for start, end in ranges for i in range(start, end)] == list(range(len(tokens)))
    assert all(0 < end - start <= size for start, end in ranges)
    for start, end in ranges:
        parts = halves(tokens, start, end)
        assert [i for a, b in parts for i in range(a, b)] == list(range(start, end))
        assert len(parts) == (2 if end - start > 1 else 1)
