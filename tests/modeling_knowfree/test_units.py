import unicodedata
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from modeling_knowfree import units_knowfree
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.units_knowfree import (
    KnowFreeCollator,
    Pieces,
    batches_by_cost,
    cut,
    encode_units,
    infer_unit,
    join_units,
    span_count,
    split_text,
    tell_unspaced,
)
from modeling_knowfree.windows_knowfree import owner, windows
from tests.support import SHARED


@pytest.mark.parametrize(
    ("text", "unit", "units"),
    [
        ("我们 a1", "character", ["我", "们", " ", "a", "1"]),
        ("", "character", []),
        ("left Harrow-creek at 5.30!", "word", ["left", "Harrow", "-", "creek", "at", "5", ".", "30", "!"]),
        ("  \t\n", "word", []),
        ("한국어 문장을 a", "word", ["한국어", "문장을", "a"]),
        ("हिन्दी में", "word", ["हिन्दी", "में"]),
        ("a_b 😀c", "word", ["a", "_", "b", "😀", "c"]),
        ("می\u200cخواهم", "word", ["می\u200cخواهم"]),
        ("soft\u00ad\u2060ware", "word", ["soft\u00ad\u2060ware"]),
        ("I❤️NY ☀️서울 ️go", "word", ["I", "❤️", "NY", "☀️", "서울", "️go"]),
        ("\ufeffbear\u00ad, \u200fa\u200bb 😀\u200d😀", "word", ["bear", ",", "a", "b", "😀", "😀"]),
    ],
)
def test_text_is_cut_into_units(text, unit, units):
    assert [text[start:end] for start, end in split_text(text, unit)] == units


@given(st.text(), st.sampled_from(["character", "word"]))
def test_units_lie_in_order_and_leave_out_only_what_is_invisible(text, unit):
    offsets = split_text(text, unit)
    ends = [0, *(end for _, end in offsets)]
    assert all(before <= start < end for before, (start, end) in zip(ends, offsets, strict=False))
    left_out = "".join(text[a:b] for a, b in zip(ends, [*(start for start, _ in offsets), len(text)], strict=True))
    assert all(character.isspace() or unicodedata.category(character) == "Cf" for character in left_out)


@pytest.mark.parametrize(
    ("text", "unit", "told"),
    [
        ("王小明昨天在上海市場買了三斤豆腐，回家做菜", "word", 1),
        ("昨日は上海の市場で豆腐を三丁買って帰りました", "word", 1),
        ("วันนี้เขาไปตลาดซื้อเต้าหู้", "word", 1),
        ("我 昨天 在 上海市 买 了 豆腐", "word", 0),
        ("어제 상하이 시장에서 두부를 샀습니다", "word", 0),
        ("the Donaudampfschifffahrtsgesellschaft in 上海", "word", 0),
        ("王小明昨天在上海市場買了三斤豆腐", "character", 0),
    ],
)
def test_text_without_spaces_is_told_of_once_where_words_are_counted(text, unit, told, caplog):
    units_knowfree._tell_unspaced.cache_clear()
    for _ in range(2):
        tell_unspaced([text[start:end] for start, end in split_text(text, unit)], unit)
    assert caplog.text.count("text without spaces between words") == told


@given(st.lists(st.text(min_size=1), min_size=1), st.sampled_from(["character", "word"]))
def test_joined_units_are_found_again_at_their_offsets(units, unit):
    text, offsets = join_units(units, unit)
    assert [text[start:end] for start, end in offsets] == units


def test_unit_is_character_only_if_every_token_is_one_code_point():
    assert infer_unit([{"tokens": ["我", " ", "a"]}]) == "character"
    assert infer_unit([{"tokens": ["我"]}, {"tokens": ["ab"]}]) == "word"


def test_every_unit_has_pieces_and_none_shifts_another(encoder):
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    sentences = [["我", " ", "\u200d", "鱼"], ["harrow", "zq", "\ufffd"], [" "]]
    unk = tokenizer.unk_token_id
    encoded = encode_units(tokenizer, sentences)
    assert [pieces.unit_ids for pieces in encoded] == [[-1, 0, 1, 2, 3, -1], [-1, 0, 1, 1, 2, -1], [-1, 0, -1]]
    assert [pieces.num_units for pieces in encoded] == [4, 3, 1]
    assert encoded[0].input_ids[2:4] == [unk, unk]
    assert tokenizer.convert_ids_to_tokens(encoded[1].input_ids[2:4]) == ["z", "##q"]


def test_sentences_encode_alike_alone_and_together(encoder):
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    sentences = [["left", "harrow"], ["我", " "], ["a"] * 200]
    assert encode_units(tokenizer, sentences) == [encode_units(tokenizer, [units])[0] for units in sentences]


def test_a_tokenizer_that_hides_the_units_is_refused(encoder):
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    slow = type("Slow", (), {"is_fast": False})()
    with pytest.raises(ValueError, match="Slow does not tell which unit"):
        encode_units(slow, [["a"]])
    assert encode_units(tokenizer, []) == []


def sentence(pieces_of_each_unit: list[int]) -> Pieces:
    unit_ids = [-1, *(unit for unit, count in enumerate(pieces_of_each_unit) for _ in range(count)), -1]
    return Pieces(list(range(len(unit_ids))), unit_ids, len(pieces_of_each_unit))


def test_windows_cover_a_long_sentence_with_overlap():
    assert windows(sentence([1] * 10), 12, 2) == [(0, 10)]
    assert windows(sentence([1] * 10), 8, 2) == [(0, 6), (4, 10)]
    assert windows(sentence([1] * 12), 8, 2) == [(0, 6), (4, 10), (8, 12)]
    assert windows(sentence([1, 1, 4, 1, 1]), 8, 1) == [(0, 3), (2, 5)]
    assert windows(sentence([1] * 10), None, 2) == [(0, 10)]


def test_of_a_unit_too_long_for_the_encoder_the_first_pieces_are_kept(encoder, caplog):
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    units = ["left", "z" * 40, "harrow"]
    [whole], [short] = encode_units(tokenizer, [units]), encode_units(tokenizer, [units], 8)
    assert whole.unit_ids == [-1, 0, *[1] * 40, 2, -1]
    assert short == Pieces([*whole.input_ids[:8], *whole.input_ids[-2:]], [-1, 0, *[1] * 6, 2, -1], 3)
    assert "'zzzzzzzzzzzz" in caplog.text and "40 pieces, the encoder reads 6 at once" in caplog.text
    assert windows(short, 8, 2) == [(0, 1), (1, 2), (2, 3)]
    assert encode_units(tokenizer, [units], 44) == [whole]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=80), st.integers(7, 30), st.integers(0, 40))
def test_windows_fit_overlap_and_leave_nothing_out(counts, room, overlap):
    pieces = sentence(counts)
    found = windows(pieces, room, overlap)
    assert found[0][0] == 0
    assert found[-1][1] == len(counts)
    for start, end in found:
        assert len(cut(pieces, start, end).input_ids) <= room
    for (left, middle), (start, end) in pairwise(found):
        assert left < start <= middle < end


@given(st.integers(2, 90), st.integers(4, 20), st.integers(0, 12), st.data())
def test_every_span_that_fits_some_window_has_one_owner_that_holds_it(length, room, overlap, data):
    ranges = windows(sentence([1] * length), room + 2, overlap)
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, min(length, start + 4)))
    holders = [at for at, (left, right) in enumerate(ranges) if left <= start and end <= right]
    if holders:
        assert owner(start, end, ranges) in holders


def test_cut_keeps_special_pieces_and_numbers_units_anew():
    assert cut(sentence([1, 2, 1]), 1, 3) == Pieces([0, 2, 3, 4, 5], [-1, 0, 0, 1, -1], 2)


def test_collator_pads_against_literal_tensors():
    batch = KnowFreeCollator(pad_token_id=9)(
        [
            {
                "input_ids": [2, 5, 3],
                "unit_ids": [-1, 0, -1],
                "num_units": 1,
                "span_labels": [(0, 1, 4)],
                "loss_weights": 1.0,
            },
            {
                "input_ids": [2, 5, 6, 3],
                "unit_ids": [-1, 0, 1, -1],
                "num_units": 2,
                "span_labels": [],
                "loss_weights": 0.4,
            },
        ]
    )  # fmt: skip
    expected = {
        "input_ids": torch.tensor([[2, 5, 3, 9], [2, 5, 6, 3]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
        "unit_ids": torch.tensor([[-1, 0, -1, -1], [-1, 0, 1, -1]]),
        "num_units": torch.tensor([1, 2]),
        "span_labels": torch.tensor([[[0, 1, 4]], [[-100, -100, -100]]]),
        "loss_weights": torch.tensor([1.0, 0.4]),
    }
    assert batch.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor), name


@pytest.mark.shared
@pytest.mark.parametrize("name", ["weibo", "stockmark-ja"])
def test_raw_text_of_real_data_gives_the_tokens_back(name):
    for row in read_rows(SHARED / "data" / name / "test.jsonl"):
        text, offsets = join_units(row["tokens"], "character")
        assert split_text(text, "character") == offsets


def test_collator_gives_all_rows_what_some_have():
    plain = {"input_ids": [2, 3], "unit_ids": [0, 1], "num_units": 2, "span_labels": [(0, 1, 4)], "loss_weights": 1.0}
    soft = {**plain, "span_labels": [(0, 1, 1), (1, 2, 0)], "span_weights": [0.5, 1.0], "has_extensions": False}
    batch = KnowFreeCollator(pad_token_id=9)([plain, soft])
    assert batch["span_weights"].tolist() == [[1.0, 1.0], [0.5, 1.0]]
    assert batch["has_extensions"].tolist() == [True, False]
    assert not {"span_weights", "has_extensions"} & KnowFreeCollator(pad_token_id=9)([plain]).keys()


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    at_most=st.integers(1, 20),
    width=st.none() | st.integers(1, 40),
    spans=st.none() | st.integers(1, 4000),
)
def test_batches_by_cost_keep_every_sentence_and_their_limits(lengths, at_most, width, spans):
    sizes, start = batches_by_cost(lengths, at_most, width, spans), 0
    assert sum(sizes) == len(lengths) and min(sizes) >= 1 and max(sizes) <= at_most
    for size in sizes:
        longest = max(lengths[start : start + size])
        counted = sum(min(width or longest, longest - at) for at in range(longest))
        assert span_count(longest, width) == counted
        assert spans is None or size == 1 or size * counted <= spans
        if spans is not None and size < at_most and start + size < len(lengths):  # one more would be too many
            longest = max(longest, lengths[start + size])
            assert (size + 1) * span_count(longest, width) > spans
        start += size
