"""Words for the lexicon methods, and where they stand in a sentence. Characters as units alone: Chinese.

A lexicon is the user's file (a word a line, or word2vec's text format: the word, then its vector), the dictionary that
the package `rjieba` carries, or the words that the augmentation's segmentation found in the training rows.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from modeling_knowfree.data.lines import read_lines
from modeling_knowfree.data.rows import InputError, Place, Row, bad_input, show

PACKAGED = "rjieba"
AUGMENTATION = "augmentation"
OWN_SIZE = 50  # of vectors that no file gives
UNKNOWN, FIRST_WORD = 1, 2  # rows of the word table; row 0 is padding
ALLOWED = "a word, then nothing or its vector"
WORD_LABELS = ("SEG:", "POS:")
MOST_CHARACTERS = 10  # of a word: what is longer is no word that a sentence shares with another
LARGEST = 1e6  # number of a vector: beyond any that words were given, far from where a network overflows


@dataclass
class Lexicon:
    """
    Words of two characters and more, and the rows that they have in the table of vectors.

    Args:
        words: word -> row; words without a vector that the training rows do not have twice share the row `UNKNOWN`:
            they still tell where words begin and end.
        size: of the vectors.
        packaged: the dictionary of `rjieba` too, its words with the row `UNKNOWN` unless `words` has them.
    """

    words: dict[str, int]
    size: int
    packaged: bool = False
    _starts: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._starts = {}
        for word in self.words:
            self._starts[word[0]] = max(self._starts.get(word[0], 0), len(word))

    @property
    def rows(self) -> int:
        """Rows of the table of vectors."""
        return max([UNKNOWN, *self.words.values()]) + 1

    def matches(self, characters: Sequence[str]) -> list[tuple[int, int, int]]:
        """Every word in a sentence: `(start, end, row)`, units, end exclusive, sorted; words may overlap. A unit of
        several characters is part of a word as a whole or not at all."""
        text = "".join(characters)
        unit_at = {at: unit for unit, at in enumerate(accumulate(map(len, characters), initial=0))}
        known = self.words
        if self.packaged:
            named = _packaged_words(text)
            known = dict.fromkeys(named, UNKNOWN) | {word: known[word] for word in named if word in known}
            longest = dict.fromkeys(text, max(map(len, known), default=0))
        else:
            longest = self._starts
        found = []
        for start, character in enumerate(text):
            for end in range(start + 2, min(len(text), start + longest.get(character, 0)) + 1):
                row = known.get(text[start:end])
                if row is not None and start in unit_at and end in unit_at:
                    found.append((unit_at[start], unit_at[end], row))
        return found

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes; words in the order of the table, those with the row `UNKNOWN` apart."""
        ordered = sorted((row, word) for word, row in self.words.items() if row != UNKNOWN)
        unknown = [word for word, row in self.words.items() if row == UNKNOWN]
        return {
            "words": [word for _, word in ordered],
            "unknown": unknown,
            "size": self.size,
            "packaged": self.packaged,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Lexicon":
        """The lexicon that `to_json` stored."""
        words = {word: FIRST_WORD + at for at, word in enumerate(stored["words"])}
        return cls(words | dict.fromkeys(stored["unknown"], UNKNOWN), stored["size"], stored["packaged"])


def read_lexicon(source: str | None, rows: Sequence[Row]) -> tuple[Lexicon, dict[int, list[float]]]:
    """
    The lexicon for a training.

    Args:
        source: a file, `rjieba`, or None or `augmentation`: the words of the rows' `SEG:` and `POS:` extensions.
        rows: of training, all of single characters.

    Returns:
        the lexicon, and the vectors of its words by row.

    Raises:
        InputError: units are words; no such file; a line of it that holds no word; vectors of different sizes, or of
            numbers that are none; a file of frequencies or of CSV; no word that a row has; no `rjieba`.
    """
    check_characters(rows)
    vectors: dict[str, list[float]] = {}
    named: set[str] = set()
    if source in (None, AUGMENTATION):
        named = words_of_rows(rows)
        if not named:
            raise InputError(
                "a lexicon method needs words, and no segmentation marks any in these rows (what the LLM failed at: "
                "failed.jsonl of the augmentation); give lexicon: FILE (a word a line, or word2vec's text format), "
                f"lexicon: {PACKAGED}, or lexicon: {AUGMENTATION} with an LLM's segmentation"
            )
    elif source == PACKAGED:
        named = {word for row in rows for word in _packaged_words("".join(row["tokens"]))}
    else:
        vectors = dict(_read_words(Path(str(source))))
        named = set(vectors)
        vectors = {word: vector for word, vector in vectors.items() if vector}
    size = len(next(iter(vectors.values()))) if vectors else OWN_SIZE
    everything = Lexicon(dict.fromkeys(sorted(named), UNKNOWN), size)
    seen = Counter("".join(row["tokens"][a:b]) for row in rows for a, b, _ in everything.matches(row["tokens"]))
    if not seen:
        raise InputError(
            f"lexicon: {source}: no word of two characters and more in it stands in any training sentence; mend: give "
            f"words of the sentences' language and domain, or lexicon: {PACKAGED}"
        )
    own = sorted(vectors or (word for word, times in seen.items() if times > 1))
    words: dict[str, int] = dict.fromkeys(sorted(named), UNKNOWN) | {
        word: FIRST_WORD + at for at, word in enumerate(own)
    }
    lexicon = Lexicon(words, size, packaged=source == PACKAGED)
    pretrained: dict[int, list[float]] = {words[word]: vector for word, vector in vectors.items()}
    return lexicon, pretrained


def check_characters(rows: Iterable[Row]) -> None:
    """
    Whether the units are characters.

    Raises:
        InputError: a token is longer.
    """
    long = next((token for row in rows for token in row["tokens"] if len(token) > 1), None)
    if long is not None:
        raise InputError(
            f"lexicon methods read Chinese characters, and a token of the training rows is {long!r}; "
            "mend: take a row that reads words (base, w2ner, difinet, …)"
        )


def words_of_rows(rows: Iterable[Row]) -> set[str]:
    """The words, of two characters and more, that segmentation or parts of speech mark in the rows' extensions."""
    return {
        "".join(row["tokens"][span["start"] : span["end"]])
        for row in rows
        for span in row.get("extensions", ())
        if span["label"].startswith(WORD_LABELS) and 1 < span["end"] - span["start"] <= MOST_CHARACTERS
    }


def _read_words(path: Path) -> Iterator[tuple[str, list[float]]]:
    size: int | None = None
    lines = with_commas = 0
    head: list[str] = []  # of word2vec's format: how many words, how large
    for number, text in read_lines(path):
        word, *numbers = re.split("[ \t]+", text.rstrip())  # other white space may be a word of its own
        place = Place(str(path), number)
        if number == 1 and len(numbers) == 1 and word.isdecimal() and len(word) < 20:
            head = [word, *numbers]
            continue
        if not word:
            continue
        lines += 1
        with_commas += "," in word
        vector = _vector(numbers, text, place, first=size is None)
        if size is not None and len(vector) != size:
            problem = f"{len(vector)} numbers after {show(word)}, {size} in the lines before"
            bad_input(place, problem, allowed="vectors of one size", mend="mend or drop the line")
        size = len(vector)
        if 1 < len(word) <= MOST_CHARACTERS:
            yield word, vector
    if size is None:
        bad_input(Place(str(path)), "no words", allowed="a word a line", mend="write a word a line")
    if head and (head[1] != str(size) or lines < int(head[0])):
        problem = f"the head says {head[0]} words of {head[1]} numbers, and there are {lines} of {size}"
        mend = "copy the whole file again, or correct its first line"
        bad_input(Place(str(path), 1), problem, allowed="as many as the head says", mend=mend)
    if 2 * with_commas > lines:
        problem = f"commas in {with_commas} of {lines} words: this looks like CSV"
        bad_input(Place(str(path)), problem, allowed=ALLOWED, mend=f"cut the words out: cut -d, -f1 {path} > words.txt")


def _vector(numbers: Sequence[str], line: str, place: Place, *, first: bool) -> list[float]:
    """What stands after a word; the first word says how much that is."""
    cut_out = f"cut the words out: tr '\\t' ' ' < {place.path} | cut -d' ' -f1 > words.txt"
    try:
        vector = [float(number) for number in numbers]
    except ValueError:
        bad_input(place, show(line), allowed=ALLOWED, mend=f"part word and vector by spaces, or {cut_out}")
    if len(vector) == 1 and first:
        bad_input(place, f"{show(line)}: one number looks like a frequency", allowed=ALLOWED, mend=cut_out)
    for number, value in zip(numbers, vector, strict=True):
        if not abs(value) <= LARGEST:
            bad_input(
                place,
                f"{show(number)} in the vector of {show(line.split()[0])}",
                allowed=f"numbers between -{LARGEST:g} and {LARGEST:g}",
                mend="drop the line, or train the vectors anew",
            )
    return vector


def _packaged_words(text: str) -> set[str]:
    """Every dictionary word in a text, of two characters and more."""
    try:
        import rjieba
    except ImportError as error:
        raise InputError(
            f"lexicon: {PACKAGED} needs the package {PACKAGED}; mend: pip install 'knowfree[lexicon]', or name a file"
        ) from error
    return {word for word in rjieba.cut_all(text) if 1 < len(word) <= MOST_CHARACTERS}
