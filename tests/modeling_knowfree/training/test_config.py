"""What training rows decide about a model; `test_start.py` has the classifier's bias."""

import pytest

from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.config import auto_span_width, auto_tag_weight, build_config
from tests.conftest import row
from tests.support import SHARED


def rows_with_widths(widths):
    return [row("a " * 60, (0, width, "X"), extensions=[{"start": 0, "end": 60, "label": "ENT:y"}]) for width in widths]


@pytest.mark.parametrize(
    ("widths", "limit", "unreachable"),
    [
        ([], 16, 0),
        ([1, 2, 3], 16, 0),  # few and narrow: the least
        ([12], 18, 0),  # half as wide again
        ([1] * 1000 + [20], 16, 1),  # one in a thousand may be a slip
        ([1] * 998 + [20, 50], 30, 1),
        ([1] * 900 + [20] * 100, 30, 0),
    ],
)
def test_automatic_span_width_covers_the_training_data_with_a_margin(widths, limit, unreachable):
    assert auto_span_width(rows_with_widths(widths)) == (limit, unreachable)


@pytest.mark.parametrize(
    ("sentences", "weight"),
    [
        ([], 1.0),
        ([[(0, 2), (2, 3)]], 1.0),  # beside each other
        ([[(0, 3), (1, 2)]] + [[(0, 1)]] * 8, 1.0),  # two of ten: a fifth, and not more
        ([[(0, 3), (1, 2)]] + [[(0, 1)]] * 7, 0.0),
        ([[(0, 2), (0, 2)], [(0, 1)]], 0.0),  # two labels on a span: a tag holds one
        ([[(0, 2), (1, 3)], [(0, 1)]], 0.0),  # crossing
    ],
)
def test_tags_are_learnt_where_few_spans_overlap(sentences, weight):
    rows = [row("a b c d", *((*span, str(n)) for n, span in enumerate(spans))) for spans in sentences]
    assert auto_tag_weight(rows) == weight


def test_the_rows_decide_on_tags_where_none_is_told(encoder):
    def told(**options):
        given = {"model_name_or_path": str(encoder), "train_file": "t", "output_dir": "o", **options}
        return parse_arguments(given)[0].tag_weight

    flat, nested = [row("a b c", (0, 1, "X"))], [row("a b c", (0, 1, "X"), (0, 3, "X"))]
    weights = [
        [build_config(str(encoder), rows, tag_weight=weight).tag_weight for rows in (flat, nested)]
        for weight in (told(), told(task="nested_ner"), told(task="nested_ner", tag_weight=0.5))
    ]
    assert weights == [[1.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    assert told(task="nested_ner", preset="paper") == 0.0


@pytest.mark.shared
@pytest.mark.parametrize("subset", ["k5", "train_250"])
@pytest.mark.parametrize("name", ["weibo", "youku", "mit-movie", "cmeee", "stockmark-ja", "ud-zh"])
def test_automatic_span_width_leaves_little_of_other_splits_out_of_reach(name, subset):
    limit, _ = auto_span_width(read_rows(SHARED / f"data/{name}/{subset}.jsonl"))
    widths = [
        span["end"] - span["start"]
        for split in ("dev", "test")
        for row in read_rows(SHARED / f"data/{name}/{split}.jsonl")
        for span in row["entities"]
    ]
    assert sum(width > limit for width in widths) <= 0.005 * len(widths)
