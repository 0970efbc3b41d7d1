"""Geometry of the report's charts: numbers to places on a canvas. The template draws them as SVG, in the page's own
colours, so that they follow light, dark and print."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 400, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40


@dataclass(frozen=True)
class Point:
    """A value with, where known, its standard deviation; `x` and `y` in the data's units."""

    x: float
    y: float
    sd: float | None = None


@dataclass(frozen=True)
class Mark:
    """A point on the canvas: its place, the ends of its error bar, and its value in words."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Line:
    """A series: its name, `points` as SVG's polyline wants them, and its marks."""

    name: str
    points: str
    marks: list[Mark]


@dataclass(frozen=True)
class Chart:
    """A line chart; ticks are (place, text), `floor` is where the y axis starts, in the data's units. Units of the
    canvas are those of its viewBox."""

    title: str
    x_name: str
    y_name: str
    floor: float
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def line_chart(
    title: str,
    series: Mapping[str, Sequence[Point]],
    *,
    x_name: str,
    y_name: str,
    x_labels: Mapping[float, str] | None = None,
) -> Chart:
    """
    Lines over percentages. The y axis starts at 0, or where all values are in the upper half of it at the round number
    below them; error bars end at 0 and 100.

    Args:
        series: by name its points, in order of x; y in [0, 100].
        x_labels: where ticks stand and what they say; round numbers by default.

    Raises:
        ValueError: no point at all.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        raise ValueError(f"chart {title!r}: no point to draw")
    x_ticks = x_labels or {x: f"{x:g}" for x in round_numbers(min(p.x for p in points), max(p.x for p in points))}
    lowest = max(0.0, min(p.y - (p.sd or 0) for p in points))
    highest = min(100.0, max(p.y + (p.sd or 0) for p in points))
    heights = round_numbers(0.0 if lowest < highest / 2 else lowest, highest, outside=True)
    heights = [y for y in heights if 0 <= y <= 100]
    x_low, x_high = min(*x_ticks, *(p.x for p in points)), max(*x_ticks, *(p.x for p in points))
    margin = 0.04 * (x_high - x_low) or 1

    def across(x: float) -> float:
        share = (x - x_low + margin) / (x_high - x_low + 2 * margin)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def up(y: float) -> float:
        share = (y - heights[0]) / (heights[-1] - heights[0])
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def mark(name: str, point: Point) -> Mark:
        spread = "" if point.sd is None else f" ± {point.sd:.1f}"
        at = (x_labels or {}).get(point.x, f"{point.x:g}")
        low, high = (
            (None, None)
            if point.sd is None
            else (
                up(max(0, point.y - point.sd)),
                up(min(100, point.y + point.sd)),
            )
        )
        return Mark(across(point.x), up(point.y), low, high, f"{name}, {x_name} {at}: {point.y:.1f}{spread}")

    lines = []
    for name, line in series.items():
        marks = [mark(name, point) for point in line]
        lines.append(Line(name, " ".join(f"{one.x},{one.y}" for one in marks), marks))
    return Chart(
        title,
        x_name,
        y_name,
        heights[0],
        [(across(x), text) for x, text in x_ticks.items()],
        [(up(y), f"{y:g}") for y in heights],
        lines,
    )


def round_numbers(low: float, high: float, *, outside: bool = False) -> list[float]:
    """About five round numbers from `low` to `high`, steps 1, 2 or 5 times a power of ten; with `outside` the first
    and the last enclose them. At least two."""
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    power = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= (high - low) * (1 - 1e-9))
    first, last = (math.floor, math.ceil) if outside else (math.ceil, math.floor)
    begin, end = first(low / step + (0 if outside else -1e-9)), last(high / step + (0 if outside else 1e-9))
    if end <= begin:
        end = begin + 1
    return [round(i * step, 10) for i in range(begin, end + 1)]
