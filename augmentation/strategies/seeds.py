"""The gold sentences that strategies start from, and what all strategies share."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import Request, row_seed, strategy_request

TERMS_ASKED = 40
EXAMPLES_SHOWN = 10

Strategy = Callable[[str], Work[list[str]]]
"""Row id -> the work that makes its new sentences, one string each."""


@dataclass(frozen=True)
class SeedSentence:
    """A gold sentence: spans `(start, end, label)` in units, end exclusive, sorted; `text` as the LLM is shown it."""

    id: str
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int, str], ...]
    text: str


@dataclass(frozen=True)
class Asking:
    """How a strategy asks: language of the prompts, unit of the tokens, limits of answers by task, seed of the run,
    sentences wanted for a row, readable names of labels."""

    language: str
    unit: str
    max_tokens: dict[str, int]
    seed: int
    per_row: int
    type_names: dict[str, str]

    def dice(self, *what: object) -> random.Random:
        """Random numbers that depend on the run's seed and on `what` alone."""
        return random.Random(row_seed(self.seed, ":".join(map(str, what))))

    def join(self, tokens: Sequence[str]) -> str:
        """Tokens as text."""
        return ("" if self.unit == "character" else " ").join(tokens)

    def name(self, label: str) -> str:
        """A label in words."""
        return self.type_names.get(label, label)

    def terms(self, label: str, seeds: Sequence[SeedSentence]) -> Request:
        """New entities of a label, in the style of the gold ones: one question for all rows."""
        known = dict.fromkeys(self.join(s.tokens[a:b]) for s in seeds for a, b, other in s.spans if other == label)
        return strategy_request(
            "terms",
            f"terms-{label}",
            self.name(label),
            language=self.language,
            max_tokens=self.max_tokens["terms"],
            seed=row_seed(self.seed, f"terms:{label}"),
            label=self.name(label),
            number=TERMS_ASKED,
            examples=list(known)[:EXAMPLES_SHOWN],
        )


def exchanged(
    seed: SeedSentence, mentions: Mapping[tuple[int, int], Sequence[str]]
) -> tuple[list[str], list[tuple[int, int, str]]]:
    """The tokens of a sentence with others at places `(start, end)` that do not overlap, and its spans, which move
    along; those that only cross a place's border, or lie inside it, mean nothing then."""
    tokens: list[str] = []
    at = 0
    for (start, end), mention in sorted(mentions.items()):
        tokens += [*seed.tokens[at:start], *mention]
        at = end

    def moved(border: int) -> int:
        return border + sum(len(mention) - (end - start) for (start, end), mention in mentions.items() if end <= border)

    return [*tokens, *seed.tokens[at:]], [(moved(start), moved(end), label) for start, end, label in seed.spans]


def usable_terms(values: Sequence[str]) -> list[str]:
    """Terms without line breaks and doubled ones, in order."""
    return list(dict.fromkeys(" ".join(value.split()) for value in values if value.strip()))
