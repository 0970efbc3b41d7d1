"""The picker: the same texts for the same seed, and never the same text twice."""

import itertools
import random

import pytest

from augmentation.steps.picking import NEAR_DUPLICATE, PICKS, doubt_of, pick
from tests.conftest import letter_counts

NAMES = "anna boris clara dmitri elena felix greta hugo ivana jakob klara lasse marta nils olga".split()
PLACES = ("harrow creek", "the north pass", "a frozen lake")
TEXTS = [f"{name} walked to {place} in {len(name) * 7} hours" for name, place in itertools.product(NAMES, PLACES)]
TEXTS += [text.upper() + " !" for text in TEXTS[:10]]  # near-duplicates
DOUBTS = [(number * 37 % 101) / 101 for number in range(len(TEXTS))]


def picked(how, number=12, seed=0, taken=()):
    return pick(number, TEXTS, how=how, seed=seed, taken=taken, doubts=DOUBTS, embed=letter_counts)


@pytest.mark.parametrize("how", PICKS)
def test_the_picker_is_deterministic_and_takes_nothing_twice(how):
    first = picked(how)
    assert first == picked(how) and len(first) == len(set(first)) == 12
    more = picked(how, taken=first)
    assert not set(first) & set(more) and len(more) == 12
    folded = ["".join(TEXTS[at].lower().strip(" !").split()) for at in first + more]
    assert len(set(folded)) == len(folded)  # no near-duplicates, of what was taken before neither
    everything = picked(how, number=1000)
    assert 24 < len(everything) <= len(TEXTS) - 10


def test_no_near_duplicates_whatever_their_order():
    letters = random.Random(0)
    texts = ["".join(letters.choices("abcdefgh", k=40)) for _ in range(40)]
    texts += [
        text[:at] + "z" + text[at + 1 :] for text, at in zip(texts, letters.choices(range(40), k=40), strict=True)
    ]
    kept = [texts[at] for at in pick(80, texts, how="random", seed=3)]

    def alike(a: str, b: str) -> float:
        first, second = ({text[at : at + 3] for at in range(38)} for text in (a, b))
        return len(first & second) / len(first | second)

    assert all(alike(a, b) < NEAR_DUPLICATE for a, b in itertools.combinations(kept, 2))
    assert all(any(alike(text, other) >= NEAR_DUPLICATE for other in kept) for text in texts)


def test_seeds_differ_only_where_chance_decides():
    assert picked("random", seed=1) != picked("random", seed=2)
    assert picked("uncertain", seed=1) == picked("uncertain", seed=2)


def test_uncertain_takes_the_greatest_doubt_first():
    chosen = [DOUBTS[at] for at in picked("uncertain")]
    assert chosen == sorted(chosen, reverse=True)
    assert min(chosen) > sorted(DOUBTS, reverse=True)[24]


def test_diverse_covers_groups_that_chance_may_miss():
    texts = [f"{letter * 9} {number}" for letter in "abcdef" for number in range(3 if letter != "a" else 60)]
    chosen = pick(6, texts, how="diverse", seed=0, embed=letter_counts)
    assert {texts[at][0] for at in chosen} == set("abcdef")


def test_doubt_counts_expected_errors_by_length():
    assert doubt_of([], 4) == 0
    assert doubt_of([{"score": 0.5}, {"score": 0.9}], 4) == pytest.approx((0.5 + 0.1) / 2)
