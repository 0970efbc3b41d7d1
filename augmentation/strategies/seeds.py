"""The gold sentences that strategies start from, and what all strategies share."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import Request, row_seed, strategy_request
from augmentation.steps.explanations import plain_paragraphs

TERMS_ASKED = 40
LONGER, LETTERS_MORE = 2, 10  # how much longer than the longest gold entity an offered one may be
EXAMPLES_SHOWN = 10

_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs"}

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

    def mentions(self, label: str, seeds: Sequence[SeedSentence]) -> list[str]:
        """The gold entities of a label, each once."""
        found = (self.join(s.tokens[a:b]) for s in seeds for a, b, other in s.spans if other == label)
        return list(dict.fromkeys(found))

    def offered(self, label: str, seeds: Sequence[SeedSentence], values: Sequence[str]) -> list[str]:
        """The terms among what the LLM answered to `terms`, each once: without marks of lists, with a letter or digit,
        no character that nobody sees, and not much longer than the longest gold entity."""
        longest = LONGER * max(map(len, self.mentions(label, seeds)), default=0) + LETTERS_MORE
        terms = (" ".join(plain_paragraphs(value)) for value in values)
        return [
            term
            for term in dict.fromkeys(terms)
            if any(map(str.isalnum, term))
            and len(term) <= longest
            and "\ufffd" not in term
            and not _UNSEEN.intersection(map(category, term))
        ]

    def terms(self, label: str, seeds: Sequence[SeedSentence]) -> Request:
        """New entities of a label, in the style of the gold ones: one question for all rows."""
        known = self.mentions(label, seeds)
        return strategy_request(
            "terms",
            f"terms-{label}",
            self.name(label),
            language=self.language,
            max_tokens=self.max_tokens["terms"],
            seed=row_seed(self.seed, f"terms:{label}"),
            label=self.name(label),
            number=TERMS_ASKED,
            examples=known[:EXAMPLES_SHOWN],
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
