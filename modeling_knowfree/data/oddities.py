"""What looks odd in rows that are all well formed: repeated ids, sentences as one token, units that flip."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .formats import Told
from .formats.base import unit_of
from .rows import Place, Row, show

_LONG = 7  # code points of a Chinese or Japanese token that is rather a sentence


@dataclass
class Oddities:
    """Sees one row after the other."""

    ids: set[str] = field(default_factory=set)
    repeats: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    single: int = 0
    sentences: int = 0  # tokens that are rather sentences
    example: str = ""
    characters: int = 0  # Chinese or Japanese rows in characters
    words: int = 0  # and in words
    word_example: str = ""
    entities: int = 0

    def make_unique(self, row: Row, default_id: str, place: Place, told: Told) -> None:
        """Gives a row without an id the default one, and one whose id was used before another."""
        row_id = default_id if row.get("id") is None else row["id"]
        if isinstance(row_id, str):
            if row_id in self.ids:
                number = self.repeats[row_id] + 2
                while f"{row_id}~{number}" in self.ids:
                    number += 1
                self.repeats[row_id] = number - 1
                told.add("ids were repeated and made unique", f"{show(row_id)} at {place} is {row_id}~{number}")
                row_id = f"{row_id}~{number}"
            self.ids.add(row_id)
        row["id"] = row_id

    def see(self, row: Row, place: Place) -> None:
        tokens = row["tokens"]
        self.rows += 1
        self.entities += len(row["entities"])
        longest = max(tokens, key=len)
        if len(tokens) == 1 and len(longest) > 1:
            self.single += 1
            self.example = self.example or f"{show(longest)} at {place}"
        if unit_of(tokens) == "character":
            if len(longest) == 1:
                self.characters += len(tokens) > 1
            else:
                self.words += 1
                self.word_example = self.word_example or f"{show(longest)} at {place}"
                if len(longest) > _LONG and unit_of([longest]) == "character":
                    self.sentences += 1
                    self.example = self.example or f"{show(longest)} at {place}"

    def tell(self, told: Told) -> None:
        mend = "; mend: write one token a word, or a code point, or give running text as `text`"
        if self.sentences:
            told.add("rows have a Chinese or Japanese token as long as a sentence", self.example + mend, self.sentences)
        elif self.rows > 2 and 2 * self.single > self.rows:
            told.add(f"of {self.rows} sentences are one token", self.example + mend, self.single)
        if self.characters and self.words:
            fewer = min(self.characters, self.words)
            what = f"rows count in {'words' if self.words == fewer else 'characters'}, the others not"
            told.add(what, f"{self.word_example}; mend: cut all rows alike", fewer)
        if self.rows and not self.entities:
            told.add("sentences, none of which has an entity: is the annotation elsewhere?", count=self.rows)
