"""Which language text is in, by its scripts and its most frequent words."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from modeling_knowfree.data.rows import InputError, Row

FUNCTION_WORDS, RECURRING = 30, 3
"""The most frequent words of the gold, and how often they stand in it on average to tell a language by a few hits."""
SCRIPTS = {"zh": ("Han",), "ja": ("Han", "Kana"), "ko": ("Hangul",), "en": ("Latin",)}
SCRIPTS_OF_A_LANGUAGE = ("Han", "Kana", "Hangul")
MAIN_SCRIPT, FOREIGN_SCRIPT = 0.1, 0.02
"""What is written in a script by so large a share of its letters is in another language than what has so few."""
FOREIGN, DOUBTFUL = 0.1, 0.25
"""Shares of the gold's coverage by its most frequent words under which text is in another language, or may be."""


def check_language(rows: Sequence[Row], gold: Sequence[Row], unit: str, language: str, name: str) -> str | None:
    """
    Whether the texts of a pool are in the language of the gold: None, or what is doubtful about it.

    Args:
        language: of the gold.
        name: of the pool, for errors.

    Raises:
        InputError: it is another one.
    """
    pool_scripts, gold_scripts = (
        script_shares(token for row in some for token in row["tokens"]) for some in (rows, gold)
    )
    for one, other, whose, whom in (
        (pool_scripts, gold_scripts, "pool", "gold"),
        (gold_scripts, pool_scripts, "gold", "pool"),
    ):
        needed = {max(one, key=lambda script: one[script])} if one else set()
        needed |= {"Kana"} if one.get("Kana", 0.0) >= MAIN_SCRIPT else set()
        for script in needed:
            if other and other.get(script, 0.0) < FOREIGN_SCRIPT:
                raise InputError(
                    f"{name}: in another language than the gold ({language}): {one[script]:.0%} of the letters of the "
                    f"{whose} are {script}, of the {whom}'s {other.get(script, 0.0):.0%}; name texts in the gold's "
                    "language"
                )
    if unit == "character" or max(gold_scripts, key=gold_scripts.__getitem__, default="") in SCRIPTS_OF_A_LANGUAGE:
        return None
    frequent = Counter(token.lower() for row in gold for token in row["tokens"] if token.isalpha())
    common = dict(frequent.most_common(FUNCTION_WORDS))

    def coverage(some: Iterable[Row]) -> float:
        words = [token.lower() for row in some for token in row["tokens"] if token.isalpha()]
        return sum(word in common for word in words) / len(words) if words else 0.0

    of_gold, of_pool = coverage(gold), coverage(rows)
    if of_pool >= DOUBTFUL * of_gold:
        return None
    told = (
        f"the {len(common)} most frequent words of the gold are {of_gold:.0%} of its words and {of_pool:.0%} of the "
        "pool's"
    )
    recurring = sum(common.values()) >= RECURRING * len(common)
    if not of_pool or (recurring and of_pool < FOREIGN * of_gold):
        raise InputError(f"{name}: seems to be in another language than the gold ({language}): {told}")
    return f"{name}: may be in another language than the gold ({language}): {told}"


def script_doubt(rows: Sequence[Row], language: str, name: str) -> str | None:
    """What is doubtful about rows that are said to be in a language; None where their letters are of its scripts."""
    shares = script_shares(token for row in rows for token in row["tokens"])
    foreign = {"Kana": shares.get("Kana", 0.0)} if language == "zh" and shares.get("Kana", 0.0) >= MAIN_SCRIPT else {}
    if shares and sum(shares.get(script, 0.0) for script in SCRIPTS[language]) < FOREIGN_SCRIPT:
        foreign = shares
    if not foreign:
        return None
    script = max(foreign, key=foreign.__getitem__)
    return f"{name}: language is {language!r}, and {foreign[script]:.0%} of the letters are {script}: another one?"


def script_shares(texts: Iterable[str]) -> dict[str, float]:
    """The share of each script among the letters: `Han`, `Kana`, `Hangul`, `Latin`, `Cyrillic`, …"""
    scripts = Counter(_script(char) for text in texts for char in text if char.isalpha())
    return {script: count / scripts.total() for script, count in scripts.items()}


def _script(char: str) -> str:
    name = unicodedata.name(char, "OTHER").split()
    if name[0] in ("HIRAGANA", "KATAKANA") or name[:2] == ["HALFWIDTH", "KATAKANA"]:
        return "Kana"
    known = {"CJK": "Han", "HANGUL": "Hangul", "FULLWIDTH": "Latin"}
    return known.get(name[0], name[0].capitalize())
