"""Charts of the report: ticks, and where points lie."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from knowfree_experiments.report.charts import Point, line_chart, round_numbers


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4), st.booleans())
@example(50.0, 0.0, True)
@example(0.0, 100.0, False)
def test_round_numbers_are_few_even_and_in_order(low, width, outside):
    found = round_numbers(low, low + width, outside=outside)
    assert 2 <= len(found) <= 8
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert min(steps) > 0 and max(steps) == pytest.approx(min(steps), rel=1e-6)
    if outside:
        assert found[0] <= low + 1e-6 and low + width <= found[-1] + 1e-6


def test_round_numbers_are_those_people_choose():
    assert round_numbers(0, 100) == [0, 20, 40, 60, 80, 100]
    assert round_numbers(32, 61, outside=True) == [30, 40, 50, 60, 70]


def test_line_chart_places_points_inside_its_frame():
    chart = line_chart(
        "t",
        {"a": [Point(5, 40, 10), Point(10, 60)], "b": [Point(5, 50)]},
        x_name="k",
        y_name="F1",
        x_labels={5: "k5", 10: "k10"},
    )
    assert [text for _, text in chart.x_ticks] == ["k5", "k10"]
    first, second = chart.lines[0].marks
    assert chart.left < first.x < second.x < chart.right
    assert chart.top <= second.y < first.y <= chart.bottom  # up is more
    assert first.high < first.y < first.low and second.low is None
    assert first.text == "a, k k5: 40.0 ± 10.0" and second.text == "a, k k10: 60.0"
    assert chart.lines[1].marks[0].x == first.x
    assert chart.floor == 30
    with pytest.raises(ValueError, match="no point"):
        line_chart("t", {"a": []}, x_name="k", y_name="F1")


def floor_and_top(*points: Point) -> tuple[float, float]:
    chart = line_chart("t", {"a": points}, x_name="k", y_name="F1, %")
    return chart.floor, float(chart.y_ticks[-1][1])


def test_the_axis_starts_where_differences_show_and_never_outside_what_a_percentage_can_be():
    assert floor_and_top(Point(0, 2, 5), Point(1, 30)) == (0, 30)
    assert floor_and_top(Point(0, 30), Point(1, 70)) == (0, 80)
    assert floor_and_top(Point(0, 94.2), Point(1, 95.9)) == (94, 96)
    assert floor_and_top(Point(0, 97, 6), Point(1, 99, 4)) == (90, 100)
    chart = line_chart("t", {"a": [Point(0, 97, 6), Point(1, 99)]}, x_name="k", y_name="F1, %")
    assert chart.top <= chart.lines[0].marks[0].high
