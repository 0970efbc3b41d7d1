"""Alignment (S2, S3, S5): what the model named in words becomes spans of the text it was shown.

Everything here works on character offsets of one text and ends in unit spans `[start, end)`. A mention is looked for
as written, then by its folded form (NFKC, casefold, white space off); what is in neither is hallucinated. Words and
their tags are never searched for: they are laid along the text in order, each place used once.
"""

import itertools
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import regex

from modeling_knowfree.units_knowfree import join_units

CharSpan = tuple[int, int]


@dataclass(frozen=True)
class Folded:
    """A folded text that remembers where it came from.

    `text` is the folded form; its character i comes from the characters `[starts[i], ends[i])` of the original.
    `opens[i]` and `closes[i]` say whether a span may begin before and end after character i: not inside a ligature,
    a fraction, or between a letter and its combining marks.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    opens: tuple[bool, ...]
    closes: tuple[bool, ...]

    def source(self, start: int, end: int) -> CharSpan | None:
        """Original characters of folded `[start, end)`, or None where a border cuts an original character."""
        if start >= end or not (self.opens[start] and self.closes[end - 1]):
            return None
        return self.starts[start], self.ends[end - 1]


def fold_with_offsets(text: str) -> Folded:
    """Fold `text` cluster by cluster (`cluster_ends`).

    The decomposed form (NFKD) is what is compared: two strings agree in it exactly when they agree in NFKC, and it
    never joins characters across a cluster's border, so every folded character has an origin.
    """
    if text.isascii():
        kept = [i for i, char in enumerate(text) if not char.isspace()]
        whole = (True,) * len(kept)
        folded = "".join(text[i] for i in kept).lower()
        return Folded(folded, tuple(kept), tuple(i + 1 for i in kept), whole, whole)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    opens: list[bool] = []
    closes: list[bool] = []
    for start, end in itertools.pairwise([0, *cluster_ends(text)]):
        cluster = _fold_cluster(text[start:end])
        size = len(cluster)
        parts.append(cluster)
        starts += [start] * size
        ends += [end] * size
        opens += [i == 0 for i in range(size)]
        closes += [i == size - 1 for i in range(size)]
    return Folded("".join(parts), tuple(starts), tuple(ends), tuple(opens), tuple(closes))


def cluster_ends(text: str) -> list[int]:
    """Where what is drawn as one ends: a letter with its marks, a syllable of Hangul in parts, an emoji put together
    (extended grapheme clusters of UAX 29)."""
    return [found.end() for found in regex.finditer(r"\X", text)]


@lru_cache(maxsize=1 << 16)
def _fold_cluster(cluster: str) -> str:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold())
    return "".join(char for char in decomposed if not char.isspace())


@lru_cache(maxsize=1 << 16)
def fold(text: str) -> str:
    """The declared normalisation of the alignment: NFKC and casefold, white space off."""
    return fold_with_offsets(text).text


@dataclass(frozen=True)
class UnitText:
    """Units joined to a text, with the way back from characters to units."""

    text: str
    offsets: tuple[CharSpan, ...]
    unit_at_start: dict[int, int] = field(repr=False)
    unit_at_end: dict[int, int] = field(repr=False)

    @classmethod
    def from_tokens(cls, tokens: Sequence[str], unit: str) -> "UnitText":
        """Join `tokens` by "" (`unit="character"`) or by one space (`unit="word"`)."""
        text, offsets = join_units(tokens, unit)
        return cls(
            text,
            tuple((start, end) for start, end in offsets),
            {start: unit for unit, (start, _) in enumerate(offsets)},
            {end: unit for unit, (_, end) in enumerate(offsets)},
        )

    @cached_property
    def folded(self) -> Folded:
        """The folded text."""
        return fold_with_offsets(self.text)

    @cached_property
    def cluster_borders(self) -> frozenset[int]:
        """Where a span may begin or end without cutting what is drawn as one, such as か\u3099."""
        return frozenset(range(len(self.text) + 1) if self.text.isascii() else (0, *cluster_ends(self.text)))

    def units(self, span: CharSpan) -> tuple[int, int] | None:
        """Units `[start, end)` of a character span, None where a border is not a unit's border."""
        first, last = self.unit_at_start.get(span[0]), self.unit_at_end.get(span[1])
        return None if first is None or last is None or last < first else (first, last + 1)


@dataclass(frozen=True)
class EntitySpan:
    """Units `[start, end)` with the raw type the model gave; `entity` is the mention as the model wrote it."""

    start: int
    end: int
    type: str
    entity: str


@dataclass(frozen=True)
class Dropped:
    """A mention without a place: `reason` is `hallucinated`, `off_border`, `empty` or, of targets, `out_of_order`."""

    entity: str
    type: str
    reason: str


@dataclass
class EntityAlignment:
    """Spans and losses of one text.

    `counts`, in (entity, type) pairs: `pairs` = `exact` + `normalised` + `hallucinated` + `off_border` + `empty`;
    `ambiguous` of the aligned ones have more than one place. In spans: `spans`; `yielded` left to an occurrence that
    splits no word; `off_border_occurrences` lay inside units while the mention has other places.
    """

    spans: list[EntitySpan]
    dropped: list[Dropped]
    counts: Counter[str]


def align_in_order(text: UnitText, items: Iterable[tuple[str, str]], *, flat: bool) -> EntityAlignment:
    """Give every (entity, type) item one occurrence, in the order of the items (S5, task `targets`).

    An item stands at the next place after the one before it: after its end in a flat task, else from its start on, but
    never twice at one place with one type. What has no place there is dropped; nothing is searched for elsewhere. Where
    more items find a place so, one that spells the mention otherwise (NFKC, case, spaces) is as good as an exact one.

    Returns:
        spans in the order of the items; `counts` as `align_entities`, in items, and `out_of_order`: the mention stands
        only before the item before it.
    """
    items = list(items)
    strict = _in_order(text, items, flat=flat, exact_first=True)
    if not strict.counts["out_of_order"]:
        return strict
    return max(strict, _in_order(text, items, flat=flat, exact_first=False), key=lambda found: len(found.spans))


def _in_order(text: UnitText, items: Iterable[tuple[str, str]], *, flat: bool, exact_first: bool) -> EntityAlignment:
    spans: list[EntitySpan] = []
    dropped: list[Dropped] = []
    counts: Counter[str] = Counter()
    taken: set[tuple[int, int, str]] = set()
    cursor = 0
    for entity, type_ in items:
        counts["pairs"] += 1
        found, rung, off_border = _find(text, entity, exact_first=exact_first)
        place = next((span for span in found if span[0] >= cursor and (*span, type_) not in taken), None)
        if place is None:
            reason = (
                "out_of_order" if found else rung if rung == "empty" else "off_border" if off_border else "hallucinated"
            )
            counts[reason] += 1
            dropped.append(Dropped(entity, type_, reason))
            continue
        counts["exact" if text.text[slice(*place)] == entity.strip() else "normalised"] += 1
        counts["ambiguous"] += len(found) > 1
        taken.add((*place, type_))
        cursor = place[1] if flat else place[0]
        units = text.units(place)
        assert units is not None  # `_find` keeps to unit borders
        spans.append(EntitySpan(*units, type_, entity))
    counts["spans"] += len(spans)
    return EntityAlignment(spans, dropped, counts)


def align_entities(
    text: UnitText, pairs: Iterable[tuple[str, str]], words: Sequence[CharSpan] | None = None
) -> EntityAlignment:
    """Give every (entity, type) pair all its non-overlapping occurrences (S5).

    Args:
        text: the text that the model was shown.
        pairs: (entity, type) as the model named them; a repeated pair counts once.
        words: character spans of the segmented words (character languages). A mention with an occurrence on word
            borders gives up those that split a word.

    Returns:
        spans sorted by start and end, then in the model's order; nested and same-start spans stay.
    """
    spans: list[EntitySpan] = []
    dropped: list[Dropped] = []
    counts: Counter[str] = Counter()
    word_starts = [start for start, _ in words] if words else []
    for entity, type_ in dict.fromkeys(pairs):
        counts["pairs"] += 1
        found, rung, off_border = _find(text, entity)
        if not found:
            reason = rung if rung == "empty" else "off_border" if off_border else "hallucinated"
            counts[reason] += 1
            dropped.append(Dropped(entity, type_, reason))
            continue
        counts[rung] += 1
        counts["off_border_occurrences"] += off_border
        if words:
            whole = [span for span in found if not _splits_word(span, words, word_starts)]
            if whole:
                counts["yielded"] += len(found) - len(whole)
                found = whole
        kept = _leftmost_without_overlap(found)
        counts["ambiguous"] += len(kept) > 1
        for start, end in filter(None, map(text.units, kept)):
            spans.append(EntitySpan(start, end, type_, entity))
    spans.sort(key=lambda span: (span.start, span.end))
    counts["spans"] += len(spans)
    return EntityAlignment(spans, dropped, counts)


def _find(text: UnitText, entity: str, *, exact_first: bool = True) -> tuple[list[CharSpan], str, int]:
    """(occurrences on unit borders, rung of the ladder, occurrences off unit borders); with `exact_first` those of the
    first rung that has any, else all."""
    mention = entity.strip()
    folded_mention = fold(mention)
    if not folded_mention:
        return [], "empty", 0
    off_border = 0
    whole = text.cluster_borders
    exact = [(at, at + len(mention)) for at in _positions(text.text, mention) if {at, at + len(mention)} <= whole]
    places = [text.folded.source(at, at + len(folded_mention)) for at in _positions(text.folded.text, folded_mention)]
    normalised = [span for span in places if span]
    rungs = [("exact", exact), ("normalised", normalised)] if exact_first else [("", sorted({*exact, *normalised}))]
    for rung, spans in rungs:
        on_border = [span for span in spans if text.units(span)]
        off_border = max(off_border, len(spans) - len(on_border))
        if on_border:
            return on_border, rung, off_border
    return [], "", off_border


def _positions(text: str, part: str) -> Iterable[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _splits_word(span: CharSpan, words: Sequence[CharSpan], word_starts: list[int]) -> bool:
    for border in span:
        index = bisect_right(word_starts, border) - 1
        if index >= 0 and words[index][0] < border < words[index][1]:
            return True
    return False


def _leftmost_without_overlap(spans: Iterable[CharSpan]) -> list[CharSpan]:
    kept: list[CharSpan] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def spells(text: UnitText, words: Sequence[str]) -> bool:
    """Whether the words, in order and without gaps, are the text (folded, so white space does not matter)."""
    return "".join(map(fold, words)) == text.folded.text


def fit(text: UnitText, words: Sequence[str]) -> tuple[bool, int]:
    """How good the words of an answer are: whether they spell the text, and how many of its characters they cover."""
    return spells(text, words), sum(span[1] - span[0] for span in align_words(text, words) if span)


def align_words(text: UnitText, words: Sequence[str]) -> list[CharSpan | None]:
    """Lay `words` along the text: monotone, one to one, covering as many characters as possible.

    Returns:
        one character span per word, None for a word that has no place of its own between its neighbours'. Where the
        words spell the text, every word has its place, save one whose border falls inside a character (a ligature).
    """
    folded = text.folded
    needles = [fold(word) for word in words]
    if "".join(needles) == folded.text:
        ends = np.cumsum([len(needle) for needle in needles], dtype=np.int64).tolist()
        return [folded.source(end - len(needle), end) for needle, end in zip(needles, ends, strict=True)]

    spans: list[CharSpan | None] = [None] * len(needles)
    known = {needle: _places(folded, needle) for needle in set(needles)}
    places = [known[needle] for needle in needles]
    # more words than characters cannot all have a place; the cap keeps a runaway answer's table small
    candidates = [i for i, found in enumerate(places) if found][: len(folded.text)]
    choice = _best_places([len(needles[i]) for i in candidates], [places[i] for i in candidates], len(folded.text))
    at = 0
    for row, i in enumerate(candidates):
        place = int(choice[row, at])
        if place >= 0:
            at = place + len(needles[i])
            spans[i] = folded.source(place, at)
    return spans


def _places(folded: Folded, needle: str) -> list[int]:
    if not needle:
        return []
    return [at for at in _positions(folded.text, needle) if folded.source(at, at + len(needle))]


def _best_places(widths: list[int], places: list[list[int]], length: int) -> np.ndarray:
    """Dynamic program over words and text: the place of word i when the text before p is used up `[words, length + 1]`.

    -1 leaves the word out. The choice covers the most characters with words[i:]; of equally good places the first.
    """
    # best[i, p]: characters that words[i:] can cover from p on
    best = np.zeros((len(widths) + 1, length + 1), dtype=np.int32)
    choice = np.full((len(widths), length + 1), -1, dtype=np.int32)
    for i in range(len(widths) - 1, -1, -1):
        here = np.asarray(places[i])
        covered = np.full(length + 1, -1, dtype=np.int32)  # by words[i:] if word i stands exactly there
        covered[here] = widths[i] + best[i + 1, here + widths[i]]
        reachable = np.maximum.accumulate(covered[::-1])[::-1]
        peaks = np.where(covered == reachable, np.arange(length + 1), length + 1)
        first = np.minimum.accumulate(peaks[::-1])[::-1]
        stands = reachable >= np.maximum(best[i + 1], 1)
        best[i] = np.where(stands, reachable, best[i + 1])
        choice[i] = np.where(stands, first, -1)
    return choice


def uncovered_words(text: UnitText, spans: Iterable[CharSpan | None]) -> list[CharSpan]:
    """Every stretch of characters that no word covers, cut at white space: it becomes a word of its own (S2)."""
    covered = np.zeros(len(text.text), dtype=bool)
    for span in spans:
        if span:
            covered[slice(*span)] = True
    words: list[CharSpan] = []
    for i, char in enumerate(text.text):
        if covered[i] or char.isspace():
            continue
        if words and words[-1][1] == i:
            words[-1] = (words[-1][0], i + 1)
        else:
            words.append((i, i + 1))
    return words


@dataclass(frozen=True)
class WordAlignment:
    """Words of a text in order, without overlap, covering all but white space.

    `flagged`: the answer did not spell the text. `unplaced`: words without a place; `filled`: stretches that no word
    covered and that became words.
    """

    words: list[CharSpan]
    flagged: bool
    unplaced: int
    filled: int


def segment(text: UnitText, words: Sequence[str]) -> WordAlignment:
    """The words of an answer as character spans (S2)."""
    placed = align_words(text, words)
    filled = uncovered_words(text, placed)
    return WordAlignment(
        sorted([span for span in placed if span] + filled),
        not spells(text, words),
        sum(span is None for span, word in zip(placed, words, strict=True) if fold(word)),
        len(filled),
    )


@dataclass(frozen=True)
class TagAlignment:
    """Tagged words of a text: `(start, end, tag)` in characters; `missing` are the listed words without a tag.

    `resegmented`: the model cut the text into words of its own, which stand.
    """

    tagged: list[tuple[int, int, str]]
    missing: list[CharSpan]
    resegmented: bool


def align_tags(text: UnitText, words: Sequence[CharSpan], items: Sequence[tuple[str, str]]) -> TagAlignment:
    """One tag per listed word, in order (S3).

    Args:
        text: the text that the model was shown.
        words: character spans of the words listed in the prompt.
        items: (word, tag) as the model answered; an empty tag counts as missing.
    """
    placed = align_words(text, [word for word, _ in items])
    tagged = [(*span, tag.strip()) for span, (_, tag) in zip(placed, items, strict=True) if span and tag.strip()]
    listed = set(words)
    if spells(text, [word for word, _ in items]) and any(span not in listed for span in placed if span):
        taken = {(start, end) for start, end, _ in tagged}
        return TagAlignment(tagged, [word for word in words if _free(word, placed) and word not in taken], True)
    tagged = [(start, end, tag) for start, end, tag in tagged if (start, end) in listed]
    taken = {(start, end) for start, end, _ in tagged}
    return TagAlignment(tagged, [word for word in words if word not in taken], False)


def _free(word: CharSpan, placed: Iterable[CharSpan | None]) -> bool:
    return not any(span and span[0] < word[1] and word[0] < span[1] and span != word for span in placed)
