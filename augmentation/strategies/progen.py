"""ProgGen: sentences step by step by a self-reflecting LLM (Heng et al. 2024, "ProgGen: Generating Named Entity
Recognition Datasets Step-by-step with Self-Reflexive Large Language Models").

The LLM says which attributes tell sentences of the domain apart; it gives entity terms of each label; it writes a
sentence around drawn terms and attribute values; it checks the terms in the sentence. A sentence stands where each of
its terms is in it and passed.
"""

from collections.abc import Sequence

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import row_seed, strategy_request
from augmentation.strategies.seeds import Asking, SeedSentence, Strategy

SENTENCES_SHOWN = 12
MOST_ATTRIBUTES = 3
MOST_TERMS = 3


def progen(asking: Asking, seeds: Sequence[SeedSentence]) -> Strategy:
    """The strategy for these gold sentences."""
    by_id = {seed.id: seed for seed in seeds}
    labels = sorted({label for seed in seeds for _, _, label in seed.spans})
    shown = [seed.text for seed in seeds[:SENTENCES_SHOWN]]
    reflect = strategy_request(
        "attributes",
        "attributes",
        "\n".join(shown),
        language=asking.language,
        max_tokens=asking.max_tokens["attributes"],
        temperature=0.0,
        sentences=shown,
    )

    def sentences(row_id: str) -> Work[list[str]]:
        reflected, *answers = yield [reflect, *(asking.terms(label, seeds) for label in labels)]
        attributes = [
            (item.attribute, [value for value in item.values if value.strip()])
            for item in (reflected.parsed.value if reflected.parsed else ())
        ]
        terms = {
            label: asking.offered(label, seeds, outcome.parsed.value)
            for label, outcome in zip(labels, answers, strict=True)
            if outcome.parsed
        }
        drawn, requests = [], []
        for number in range(asking.per_row):
            dice = asking.dice("progen", row_id, number)
            pairs = [(dice.choice(terms[label]), label) for label in _draw(dice, [x for x in labels if terms.get(x)])]
            values = {
                name: dice.choice(values)
                for name, values in dice.sample(attributes, min(MOST_ATTRIBUTES, len(attributes)))
                if values
            }
            drawn.append(pairs)
            requests.append(
                strategy_request(
                    "compose",
                    row_id,
                    "\n".join([by_id[row_id].text, *(term for term, _ in pairs), *values.values()]),
                    language=asking.language,
                    max_tokens=asking.max_tokens["compose"],
                    seed=row_seed(asking.seed, f"compose:{row_id}:{number}"),
                    text=by_id[row_id].text,
                    entities=_typed(asking, pairs),
                    attributes=values,
                )
            )
        composed = yield requests
        written = [
            (" ".join(outcome.parsed.value.split()), pairs)
            for outcome, pairs in zip(composed, drawn, strict=True)
            if outcome.parsed and not outcome.parsed.cut
        ]
        written = [(text, pairs) for text, pairs in written if all(term in text for term, _ in pairs)]
        if not written:
            return []
        checks = yield [
            strategy_request(
                "verify",
                row_id,
                text,
                language=asking.language,
                max_tokens=asking.max_tokens["verify"],
                temperature=0.0,
                text=text,
                entities=_typed(asking, pairs),
            )
            for text, pairs in written
        ]
        found = []
        for (text, pairs), outcome in zip(written, checks, strict=True):
            right = {(item.entity, item.type) for item in (outcome.parsed.value if outcome.parsed else ())}
            if all((term, asking.name(label)) in right for term, label in pairs):
                found.append(text)
        return found

    return sentences


def waiting(asked: set[str], per_row: int) -> dict[str, tuple[int, int]]:
    """What is asked for a row after the answers to the tasks `asked` (fewest, most), by task."""
    later = {} if "verify" in asked else {"verify": (0, per_row)}
    return later if "compose" in asked or "verify" in asked else {"compose": (per_row, per_row), **later}


def _typed(asking: Asking, pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"entity": term, "type": asking.name(label)} for term, label in pairs]


def _draw(dice, labels: Sequence[str]) -> list[str]:
    """One to `MOST_TERMS` labels."""
    return dice.sample(list(labels), min(len(labels), dice.randint(1, MOST_TERMS))) if labels else []
