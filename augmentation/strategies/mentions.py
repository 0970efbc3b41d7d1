"""Mentions that the LLM offers, swapped into gold sentences (ours, after the entity level of LLM-DA): the gold spans
move along, so nobody has to put targets on what comes of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augmentation.llm.dialogue import Work
from augmentation.strategies.seeds import Asking, SeedSentence, exchanged

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Swaps:
    """
    Args:
        seeds: the gold sentences that `is_certain` knows all about, by id.
        cut: a mention into tokens, as the data set cuts them.
        per_row: new sentences wanted for a gold sentence.
    """

    asking: Asking
    seeds: Mapping[str, SeedSentence]
    cut: Callable[[str], list[str]]
    per_row: int

    def work(self) -> Work[dict[str, list[list[str]]]]:
        """By label the tokens of the mentions that the LLM offers: one question a label, those of `llm_da` too."""
        seeds = list(self.seeds.values())
        labels = sorted({label for seed in seeds for _, _, label in free_spans(seed.spans)})
        if not labels:
            return {}
        outcomes = yield [self.asking.terms(label, seeds) for label in labels]
        return {
            label: [self.cut(term) for term in self.asking.offered(label, seeds, outcome.parsed.value)]
            for label, outcome in zip(labels, outcomes, strict=True)
            if outcome.parsed
        }

    def sentences(
        self, row_id: str, offered: Mapping[str, Sequence[list[str]]]
    ) -> Iterator[tuple[list[str], list[Span]]]:
        """Tokens and gold spans of a gold sentence with other mentions at one or more of its targets."""
        seed = self.seeds[row_id]
        others = {
            (start, end): [tokens for tokens in offered.get(label, ()) if tokens != list(seed.tokens[start:end])]
            for start, end, label in free_spans(seed.spans)
        }
        places = [place for place, mentions in others.items() if mentions]
        for number in range(self.per_row if places else 0):
            dice = self.asking.dice("mentions", row_id, number)
            chosen = dice.sample(places, dice.randint(1, len(places)))
            yield exchanged(seed, {place: dice.choice(others[place]) for place in chosen})


def is_certain(row: Mapping[str, Any]) -> bool:
    """Whether a gold row, and each span of it, counts in full: what is left out or weighed could not move along."""
    weights = [row.get("weight"), *(span.get("weight") for span in row["entities"])]
    return not row.get("uncertain") and all(weight is None for weight in weights)


def free_spans(spans: Sequence[Span]) -> list[Span]:
    """The spans that share no unit with another."""
    return [
        one
        for at, one in enumerate(spans)
        if not any(at != i and one[0] < other[1] and other[0] < one[1] for i, other in enumerate(spans))
    ]
