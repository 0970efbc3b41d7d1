"""LLM-DA: the LLM rewrites contexts and replaces entities (Ye et al. 2024, "LLM-DA: Data Augmentation via Large
Language Models for Few-Shot Named Entity Recognition").

Three levels in turn: *context*, the sentence rewritten in one of 14 ways, its entities kept; *entity*, its entities
replaced by others of their type, with noise now and then, as people misspell; *both*, replaced, then rewritten. The 14
ways follow the paper's four dimensions (length, vocabulary, clauses, style); their wording is ours.
"""

from collections.abc import Sequence

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import Request, row_seed, strategy_request
from augmentation.strategies.seeds import Asking, SeedSentence, Strategy, exchanged

WAYS = (
    "make it longer",
    "make it shorter",
    "use more adverbs",
    "use more adjectives",
    "use more prepositions",
    "use more conjunctions",
    "use a subordinate clause",
    "use a participle clause",
    "in the style of news",
    "in the style of spoken language",
    "in the style of a magazine",
    "in the style of fiction",
    "in the style of an encyclopedia",
    "in the style of a film review",
)
NOISE_RATE = 0.3  # of the sentences whose entities were replaced
LEVELS = ("context", "entity", "both")


def llm_da(asking: Asking, seeds: Sequence[SeedSentence]) -> Strategy:
    """The strategy for these gold sentences."""
    by_id = {seed.id: seed for seed in seeds}

    def sentences(row_id: str) -> Work[list[str]]:
        seed = by_id[row_id]
        labels = sorted({label for _, _, label in seed.spans})
        answers = yield [asking.terms(label, seeds) for label in labels]
        terms = {
            label: asking.offered(label, seeds, outcome.parsed.value)
            for label, outcome in zip(labels, answers, strict=True)
            if outcome.parsed
        }
        found: list[str] = []
        requests: list[Request] = []
        for number in range(asking.per_row):
            level = LEVELS[number % len(LEVELS)]
            dice = asking.dice("llm_da", row_id, number)
            tokens, kept = list(seed.tokens), [asking.join(seed.tokens[a:b]) for a, b, _ in seed.spans]
            if level != "context":
                tokens, kept = replaced(seed, terms, asking, dice)
            if level == "entity":
                text = asking.join(tokens)
                found.append(misspelt(text, dice) if dice.random() < NOISE_RATE else text)
            else:
                requests.append(rewrite(asking, row_id, number, asking.join(tokens), kept, dice.choice(WAYS)))
        for outcome in (yield requests) if requests else []:
            if outcome.parsed and not outcome.parsed.cut:
                found.append(" ".join(outcome.parsed.value.split()))
        return found

    return sentences


def waiting(asked: set[str], per_row: int) -> dict[str, tuple[int, int]]:
    """What is asked for a row after the answers to the tasks `asked` (fewest, most), by task."""
    rewritten = sum(LEVELS[number % len(LEVELS)] != "entity" for number in range(per_row))
    return {"rewrite": (rewritten, rewritten)} if "terms" in asked else {}


def rewrite(asking: Asking, row_id: str, number: int, text: str, entities: Sequence[str], how: str) -> Request:
    """The question for one rewriting; recorded answers know it by the text and the way, a line each."""
    return strategy_request(
        "rewrite",
        row_id,
        f"{text}\n{how}",
        language=asking.language,
        max_tokens=asking.max_tokens["rewrite"],
        seed=row_seed(asking.seed, f"rewrite:{row_id}:{number}"),
        text=text,
        entities=list(entities),
        how=how,
    )


def replaced(seed: SeedSentence, terms: dict[str, list[str]], asking: Asking, dice) -> tuple[list[str], list[str]]:
    """Tokens with each outermost entity replaced by another of its type, where there is one; and the entities."""
    mentions: dict[tuple[int, int], list[str]] = {}
    at = 0
    for start, end, label in sorted(seed.spans, key=lambda span: (span[0], -span[1])):
        if start < at:
            continue
        own = list(seed.tokens[start:end])
        others = [term for term in terms.get(label, ()) if term != asking.join(own)]
        if others:
            chosen = dice.choice(others)
            own = list(chosen) if asking.unit == "character" else chosen.split()
        mentions[start, end] = own
        at = end
    return exchanged(seed, mentions)[0], list(map(asking.join, mentions.values()))


def misspelt(text: str, dice) -> str:
    """The text with one slip of the keyboard: a letter left out, doubled, or two swapped. Of digits and alphabets with
    capitals alone: where a character is a syllable or a word, another one is no slip."""
    slips = [char.isdecimal() or char.lower() != char.upper() for char in text]
    places = [at for at in range(len(text) - 1) if slips[at] and slips[at + 1]]
    if not places:
        return text
    at = dice.choice(places)
    slip = dice.randrange(3)
    if slip == 0:
        return text[:at] + text[at + 1 :]
    if slip == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
