"""The one renderer of spans: colours, lines, and where a browser puts what is written from right to left."""

import itertools
import math
import re
from collections.abc import Iterator

import pytest

from augmentation.review.span_html import STYLE, DrawnSpan, key, labels_of, looks, render
from tests.support.browser import chromium, playwright_api
from tests.support.space_driver import CHROMIUM_ARGUMENTS

NEAREST = 0.07  # in OKLab, where 0.02 is a difference that people just see


def channels(colour: str) -> list[float]:
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in values]


def contrast(colour: str, ground: str) -> float:
    light = sorted(
        sum(c * w for c, w in zip(channels(x), (0.2126, 0.7152, 0.0722), strict=True)) for x in (colour, ground)
    )
    return (light[1] + 0.05) / (light[0] + 0.05)


def oklab(colour: str) -> list[float]:
    """Ottosson 2020."""
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
              [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    cones = [sum(a * b for a, b in zip(row, channels(colour), strict=True)) ** (1 / 3) for row in to_cones]
    return [sum(a * b for a, b in zip(row, cones, strict=True)) for row in to_lab]


@pytest.mark.parametrize(("ground", "side"), [("#ffffff", "on_light"), ("#181818", "on_dark")])
def test_thirty_labels_have_colours_that_differ_and_can_be_read(ground, side):
    drawn = looks(f"L{number}" for number in range(30))
    colours = [getattr(look, side) for look in drawn.values()]
    assert min(contrast(colour, ground) for colour in colours) >= 4.5
    assert min(math.dist(oklab(a), oklab(b)) for a, b in itertools.combinations(colours, 2)) > NEAREST


def test_labels_of_the_same_colour_have_other_lines_and_neighbours_too():
    drawn = list(looks(map(str, range(150))).values())
    assert len(set(drawn)) == 150, "no two of 150 look the same"
    assert all(a.line != b.line for a, b in itertools.pairwise(drawn[:30]))


def test_every_span_bears_its_name_and_the_key_names_all():
    rows = [{"entities": [{"label": "B"}, {"label": "A"}], "extensions": [{"label": "POS:X"}, {"label": "A"}]}]
    assert labels_of([*rows, {"entities": [], "extensions": None}]) == ["A", "B", "POS:X"]
    drawn = looks(["A", "<b>", "ENT:\u202ex"])
    spans = [DrawnSpan(0, 3, "A"), DrawnSpan(1, 2, "<b>"), DrawnSpan(2, 3, "ENT:\u202ex", "extension")]
    html = render(["one", "two", "three"], spans, unit="word", drawn=drawn)
    assert re.findall('class="name">([^<]*)<', html) == ["A", "&lt;b&gt;", "ENT:⟨RLO⟩x"]
    listed = key(drawn, ["ENT:\u202ex"])
    assert re.findall("<bdi>(.*?)</bdi>", listed) == ["A", "&lt;b&gt;", "ENT:⟨RLO⟩x"]
    assert listed.count("on extension") == 1 and "on line-0" in listed and "on line-1" in listed


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright_api().sync_playwright() as session:
        found = session.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS, timeout=180_000)
        yield found
        found.close()


@pytest.fixture
def places(browser):
    """`places(tokens, spans)`: where a browser puts each word, its left edge in pixels."""
    page = browser.new_page(viewport={"width": 1200, "height": 400})
    page.set_default_timeout(180_000)

    def find(tokens: list[str], *spans: tuple[int, int, str]) -> list[float]:
        drawn = looks(label for *_, label in spans)
        body = render(tokens, [DrawnSpan(*span) for span in spans], unit="word", drawn=drawn)
        page.set_content(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}")
        return page.evaluate(
            """words => {
                const walker = document.createTreeWalker(document.querySelector('.spans'), NodeFilter.SHOW_TEXT);
                const nodes = [];
                while (walker.nextNode())
                    if (!walker.currentNode.parentElement.closest('.lane, .turn')) nodes.push(walker.currentNode);
                let node = 0, from = 0;
                return words.map(word => {
                    while ((from = nodes[node].data.indexOf(word, from)) < 0) { node += 1; from = 0; }
                    const range = document.createRange();
                    range.setStart(nodes[node], from);
                    from += word.length;
                    range.setEnd(nodes[node], from);
                    return range.getBoundingClientRect().left;
                });
            }""",
            tokens,
        )

    yield find
    page.close()


def test_a_sentence_from_right_to_left_stays_whole(places):
    arabic = "ذهب محمد علي حسن الكبير إلى مدينة بغداد".split()
    found = places(arabic, (1, 5, "PER"), (2, 3, "PER"), (6, 8, "LOC"))
    assert found == sorted(found, reverse=True) and len(set(found)) == len(arabic)
    assert found == pytest.approx(places(arabic), abs=25), "spans move no word but by their margins"


def test_words_from_right_to_left_inside_a_sentence_from_left_to_right_stay_whole(places):
    mixed = "they saw مدينة بغداد الكبيرة جدا today".split()
    found = places(mixed, (2, 4, "LOC"), (3, 4, "NAME"), (4, 5, "SIZE"))
    left, right, after = found[:2], found[2:6], found[6]
    assert left == sorted(left) and right == sorted(right, reverse=True)
    assert max(left) < min(right) and max(right) < after
    english = "مدينة New York City الكبيرة".split()
    found = places(english, (1, 4, "LOC"), (1, 3, "NAME"))
    assert found[0] > max(found[1:]) and found[4] < min(found[:4])
    assert found[1:4] == sorted(found[1:4])
