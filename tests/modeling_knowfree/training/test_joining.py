"""Sentences without a mark at their end are seen amid others in training, and only there."""

import pytest
import torch

from modeling_knowfree.training.arguments import KnowFreeTrainingArguments
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.features import Features
from modeling_knowfree.training.joining import JoiningCollator, mark_open_ended
from modeling_knowfree.units_knowfree import KnowFreeCollator

CLS, SEP = 101, 102


def feature(first: int, length: int, *spans: tuple[int, int, int], **more) -> dict:
    """A sentence of so many units of one piece each, the first with two."""
    pieces = [CLS, first, *range(first, first + length), SEP]
    units = [-1, 0, *range(length), -1]
    made = {"input_ids": pieces, "unit_ids": units, "num_units": length, "span_labels": sorted(spans)}
    return {**made, "loss_weights": 1.0, "open_ended": True, **more}


def batch() -> list[dict]:
    return [
        feature(1000, 6, (0, 2, 0), (4, 6, 1), (2, 3, ~1)),
        feature(2000, 5, (0, 1, 1), (3, 5, 0)),
        feature(3000, 7, (0, 7, 2), (6, 7, 0)),
    ]


def rows_of(made: dict) -> list[tuple[list[int], set[tuple[int, ...]]]]:
    """Pieces of each sentence without padding, and its spans."""
    return [
        (ids[: int(mask.sum())].tolist(), {tuple(span) for span in spans.tolist() if span[0] >= 0})
        for ids, mask, spans in zip(made["input_ids"], made["attention_mask"], made["span_labels"], strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "unit", "open_ended"),
    [
        ("show me films with bears", "word", True),
        ("show me films with bears .", "word", False),
        ("who starred in it ?", "word", False),
        ("我要看电影", "character", True),
        ("我要看电影。", "character", False),
        ("see dr .", "word", True),
    ],
)
def test_only_what_a_longer_text_would_not_cut_is_open_ended(text, unit, open_ended):
    tokens = text.split() if unit == "word" else list(text)
    features = Features([{}], 0, 0, 0)
    assert mark_open_ended(features, [{"tokens": tokens}], unit) == open_ended
    assert features.items == [{"open_ended": open_ended}]


def test_a_joined_sentence_is_whole_between_parts_of_others():
    joined = rows_of(JoiningCollator(0, share=1, reach=4, max_pieces=None, seed=3)(batch()))
    longer = 0
    for (pieces, spans), own in zip(joined, batch(), strict=True):
        body = own["input_ids"][1:-1]
        at = next(at for at in range(len(pieces)) if pieces[at : at + len(body)] == body)
        assert (pieces[0], pieces[-1]) == (CLS, SEP)
        assert not {CLS, SEP} & set(pieces[1:-1])
        before = len(set(pieces[1:at]))  # units: the first of a sentence has two pieces alike
        shifted = {(start + before, end + before, column) for start, end, column in own["span_labels"]}
        total = len(set(pieces[1:-1]))
        assert shifted <= spans
        assert all(0 <= start < end <= total for start, end, _ in spans)
        assert all(end <= before or start >= before + own["num_units"] for start, end, _ in spans - shifted)
        assert before <= 4
        assert total - before - own["num_units"] <= 4
        longer += len(pieces) > len(own["input_ids"])
    assert longer


def test_spans_of_the_others_come_along_where_they_are_whole():
    found = set()
    for seed in range(40):
        made = JoiningCollator(0, share=1, reach=4, max_pieces=None, seed=seed)(batch())
        pieces, spans = rows_of(made)[0]
        units = sorted(set(pieces[1:-1]), key=pieces.index)
        found |= {(*units[start:end], column) for start, end, column in spans if units[start] >= 2000}
    # (3, 5, 0) and (0, 1, 1) of the second; (0, 7, 2) of the third never fits into 4 units, and none of it is shown
    assert found == {(2003, 2004, 0), (2000, 1)}


def test_no_span_of_the_others_is_cut():
    crossed = [
        feature(1000, 3),
        feature(2000, 8, (1, 4, 0), (3, 6, 1)),
        feature(3000, 8, (1, 4, 0), (3, 6, 1), (0, 8, ~0)),
    ]
    seen = set()
    for seed in range(200):
        pieces, _ = rows_of(JoiningCollator(0, share=1, reach=8, max_pieces=None, seed=seed)(crossed))[0]
        units = sorted(set(pieces[1:-1]), key=pieces.index)
        at = units.index(1000)
        seen |= {("before", units[0] % 1000, units[0] // 1000)} if at else set()
        seen |= {("after", units[-1] % 1000, units[-1] // 1000)} if at + 3 < len(units) else set()
    assert seen == {
        *(("before", start, 2) for start in (0, 1, 6, 7)), ("before", 0, 3),
        *(("after", last, 2) for last in (0, 5, 6, 7)), ("after", 7, 3),
    }  # fmt: skip


@pytest.mark.parametrize("column", [0, 4, ~4], ids=["target", "extension", "uncertain"])
def test_a_sentence_that_the_encoder_does_not_read_to_its_end_gives_no_half_span(column):
    long = feature(2000, 8, (1, 3, 1), (6, 11, column), (9, 10, 0), open_ended=False)
    seen = set()
    for seed in range(60):
        made = JoiningCollator(0, 1, 8, None, seed)([feature(1000, 3, (1, 2, 0)), long])
        unit_ids = [unit for unit in made["unit_ids"][0].tolist() if unit >= 0]
        units = [*dict(zip(unit_ids, made["input_ids"][0].tolist()[1:], strict=False)).values()]
        at = units.index(1000)
        assert made["num_units"].tolist() == [len(units), 8]
        assert sorted(set(unit_ids)) == list(range(len(units)))
        assert units[at : at + 3] == [1000, 1001, 1002]
        assert not {2006, 2007} & set(units)
        spans = rows_of(made)[0][1]
        assert {(*units[start:end], label) for start, end, label in spans} - {(2001, 2002, 1)} == {(1001, 0)}
        seen |= {("before", at > 0), ("after", at + 3 < len(units))}
    assert seen == {(side, there) for side in ("before", "after") for there in (False, True)}


def test_it_draws_by_batch_and_seed_alone():
    def drawn(seed: int) -> list:
        return rows_of(JoiningCollator(0, share=0.5, reach=4, max_pieces=None, seed=seed)(batch()))

    assert drawn(1) == drawn(1)
    assert len({repr(drawn(seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize("changed", [{"share": 0}, {"max_pieces": 9}, {"reach": 0}])
def test_it_leaves_alone_what_it_should(changed):
    options = {"share": 1.0, "reach": 4, "max_pieces": None, "seed": 0, **changed}
    alone = rows_of(KnowFreeCollator(0)(batch()))
    made = JoiningCollator(0, **options)(batch())
    assert rows_of(made) == alone
    closed = [{**each, "open_ended": False} for each in batch()]
    assert rows_of(JoiningCollator(0, 1.0, 4, None, 0)(closed)) == alone
    assert rows_of(JoiningCollator(0, 1.0, 4, None, 0)(batch()[:1])) == alone[:1]


def test_weights_move_with_their_spans_and_rows_without_extensions_stay_among_themselves():
    soft = [
        feature(1000, 4, (0, 1, 0), span_weights=[0.7], has_extensions=False),
        feature(2000, 4, (0, 1, 1), (3, 4, 1)),
        feature(3000, 4, (0, 1, 0), (3, 4, 0), span_weights=[0.2, 0.3], has_extensions=False),
    ]
    for seed in range(20):
        made = JoiningCollator(0, share=1, reach=4, max_pieces=None, seed=seed)(soft)
        weights, spans, kept = made["span_weights"], made["span_labels"], made["has_extensions"].tolist()
        assert kept == [False, True, False]
        assert not set(made["input_ids"][0].tolist()) & set(range(2000, 2004))
        assert rows_of(made)[1] == rows_of(KnowFreeCollator(0)(soft))[1]
        of_row = dict(zip(map(tuple, spans[0].tolist()), weights[0].tolist(), strict=True))
        own = [weight for weight in of_row.values() if weight == pytest.approx(0.7)]
        assert len(own) == 1
        assert {round(weight, 1) for span, weight in of_row.items() if span[0] >= 0} <= {0.7, 0.2, 0.3}
    assert torch.equal(made["loss_weights"], torch.ones(3))


def test_sentences_of_one_loss_weight_stay_among_themselves():
    mixed = [
        feature(1000, 4, (0, 1, 0)),
        feature(2000, 4, (0, 1, 1), (3, 4, 1), loss_weights=0.4),
        feature(3000, 4, (0, 1, 0), (3, 4, 0)),
        feature(4000, 4, (1, 2, 0), loss_weights=0.4),
    ]
    seen = set()
    for seed in range(20):
        made = JoiningCollator(0, share=1, reach=4, max_pieces=None, seed=seed)(mixed)
        for at, ids in enumerate(made["input_ids"].tolist()):
            seen |= {(at, piece // 1000) for piece in ids if piece >= 1000}
    assert seen == {(0, 1), (0, 3), (1, 2), (1, 4), (2, 1), (2, 3), (3, 2), (3, 4)}


def test_the_small_recipe_joins_and_the_papers_does_not(encoder, tmp_path, english_rows):
    from modeling_knowfree.data.rows import write_rows

    write_rows(tmp_path / "train.jsonl", english_rows)
    needed = {"model_name_or_path": str(encoder), "train_file": str(tmp_path / "train.jsonl")}
    shares = [
        parse_arguments({**needed, "output_dir": str(tmp_path / "out"), "preset": preset})[2].join_sentences
        for preset in ("small", "paper")
    ]
    assert shares == [0.25, 0]
    with pytest.raises(ValueError, match="join_sentences=2: give a share of the sentences from 0 to 1"):
        KnowFreeTrainingArguments(output_dir=str(tmp_path), join_sentences=2)
