"""Where long texts are cut: at sentence ends, into windows no longer than the training sentences."""

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from .units_knowfree import Pieces

SENTENCE_MARKS = frozenset("。！？!?．｡؟।॥")
WIDE_STOP = "．"
_FULL_STOP = frozenset(".")
_OPENING, _CLOSING = tuple("“‘「『（《〈【〔"), tuple("”’」』）》〉】〕")
_ENDING = SENTENCE_MARKS | frozenset(_CLOSING)
_ABBREVIATIONS = frozenset("mr mrs ms dr prof st no vs etc jr sr inc ltd co corp dept fig vol approx e.g i.e".split())


def sentence_ends(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """
    Where sentences of a text end, by marks and line breaks alone: no model, one pass.

    A full stop does not end a sentence inside a number, a name of a host, after one letter or a common abbreviation,
    or before a lower-case word of a text that has capitals; several in a row are one mark. One of full width does, but
    where it is a point (`is_point`). Nothing ends inside quotes and brackets that are closed.

    Args:
        text: the text, or the units joined (`join_units`).
        offsets: character offsets of its L units.

    Returns:
        Unit indices, ascending: a sentence ends before each; the last is L.
    """
    total, depth = len(offsets), 0
    paired = is_balanced(text, _OPENING, _CLOSING)
    has_capitals = any(character.isupper() for character in text)
    units = [text[start:end] for start, end in offsets]
    found: list[int] = []

    def further_stop(at: int) -> bool:  # one that a space parts from the last and a word follows begins that: ".NET"
        apart = offsets[at][0] > offsets[at - 1][1] and text[offsets[at][1] : offsets[at][1] + 1].isalnum()
        return _consists_of(_FULL_STOP, units[at]) and not apart

    at = 0
    while at < total:
        unit = units[at]
        if paired and unit in _OPENING:
            depth += 1
        elif paired and unit in _CLOSING:
            depth -= 1
        stop = at + 1
        mark = _consists_of(SENTENCE_MARKS, unit)
        if unit == WIDE_STOP:
            mark = not is_point(text, offsets[at][0])
        if _consists_of(_FULL_STOP, unit):
            while stop < total and further_stop(stop):
                stop += 1
            mark = _is_full_stop(text, offsets[at][0], offsets[stop - 1][1], has_capitals)
        gap = text[offsets[stop - 1][1] : offsets[stop][0]] if stop < total else ""
        if depth == 0 and (mark or "\n" in unit or "\n" in gap):
            while stop < total and (_consists_of(_ENDING, units[stop]) or units[stop].isspace() or further_stop(stop)):
                stop += 1
            found.append(stop)
        at = stop
    return found if found and found[-1] == total else [*found, total]


def _consists_of(marks: frozenset[str], unit: str) -> bool:
    return unit != "" and marks.issuperset(unit)


def is_point(text: str, at: int) -> bool:
    """Whether the full-width stop at a place of the text is part of a number or a name, as in ３．５ and ｗ．ａ: with a
    Latin letter or a digit, of either width, on both sides."""
    beside = unicodedata.normalize("NFKC", text[at - 1 : at] + " " + text[at + 1 : at + 2]).split(" ")
    return all(each.isascii() and each.isalnum() for each in beside)


def _is_full_stop(text: str, start: int, end: int, has_capitals: bool) -> bool:
    """Whether the `.`, or several, at a place of the text end a sentence."""
    following = text[end : end + 3].lstrip()[:1]
    if text[end : end + 1].isalnum() or (has_capitals and following.islower()):
        return False
    if end - start > 1:
        return True
    word = start - (text[start - 1 : start] == " ")
    first = word
    while first and word - first < 8 and text[first - 1].isalnum():
        first -= 1
    before = text[first:word].lower()
    return not (len(before) == 1 and before.isascii() and before.isalpha()) and before not in _ABBREVIATIONS


def is_balanced(text: str, opening: Sequence[str], closing: Sequence[str]) -> bool:
    """Whether every quote and bracket that opens is closed in order; if not, they say nothing about sentences."""
    stack: list[int] = []
    for character in text:
        if character in opening:
            stack.append(opening.index(character))
        elif character in closing and (not stack or stack.pop() != closing.index(character)):
            return False
    return not stack


SHORTEST_WINDOW = 40
"""Units: for the shortness of the training sentences windows are made no shorter, inside a sentence than half of it."""


def inner_window(lengths: Mapping[str, float]) -> int:
    """Units of the windows inside what has no marks of sentences: the median of the training sentences."""
    return int(max(SHORTEST_WINDOW // 2, lengths["median"]))


def usual_length(lengths: Mapping[str, float]) -> float:
    """The longest text, in units, that is read as one: 95 % of the training sentences are no longer."""
    return max(SHORTEST_WINDOW, lengths["p95"])


def windows(
    pieces: Pieces,
    max_pieces: int | None,
    overlap: int,
    ends: Callable[[], Sequence[int]] | None = None,
    lengths: Mapping[str, float] | None = None,
) -> list[tuple[int, int]]:
    """
    Cover a text by windows that the encoder can read, and that are like what training saw: quality falls with the
    length of what a model is given at once (benchmarks/README.md).

    A text that is no longer than 95 % of the training sentences is one window. A longer one is cut at sentence ends:
    as many whole sentences as a training sentence has, together no longer than that. A sentence longer than the longest
    of training, or what has no marks of sentences at all, is cut into overlapping windows of the median length.

    Args:
        pieces: the text, no unit of it longer than a window: `encode_units` with the same `max_pieces`.
        max_pieces: what the encoder reads at once, special pieces included; `None` without end.
        overlap: units that windows inside one sentence share, at most half a window.
        ends: gives the ends of sentences (`sentence_ends`), called for a text that is cut; without, the text counts as
            one sentence.
        lengths: `KnowFreeConfig.train_lengths`; without, only what the encoder cannot read at once is cut.

    Returns:
        Unit ranges `(start, end)`, in order; one range for a text that is not cut.
    """
    total = pieces.num_units
    special = pieces.unit_ids.count(-1)
    room = len(pieces.input_ids) if max_pieces is None else max_pieces - special
    usual = usual_length(lengths) if lengths else total
    longest = max(usual, lengths["max"]) if lengths else total
    inside = inner_window(lengths) if lengths else total
    together = lengths.get("sentences", 1) if lengths else total
    before = [0] * (total + 1)  # pieces before each unit
    for unit in pieces.unit_ids:
        if unit >= 0:
            before[unit + 1] += 1
    for unit in range(total):
        before[unit + 1] += before[unit]

    def fits(start: int, end: int, units: float) -> bool:
        return end - start <= units and before[end] - before[start] <= room

    if fits(0, total, usual):
        return [(0, total)]
    found: list[tuple[int, int]] = []
    start = sentences = 0  # of the window that still takes sentences
    previous = 0
    for end in ends() if ends else (total,):
        if sentences and (sentences >= together or not fits(start, end, usual)):
            found.append((start, previous))
            start, sentences = previous, 0
        if not fits(start, end, longest):
            found += _overlapping(before, start, end, room, inside, overlap)
            start = end
        else:
            sentences += 1
        previous = end
    return [*found, (start, total)] if start < total else found


def _overlapping(
    before: Sequence[int], start: int, total: int, room: int, longest: float, overlap: int
) -> list[tuple[int, int]]:
    """Windows over the units `[start, total)` of one sentence: `room` pieces and `longest` units at most."""
    found: list[tuple[int, int]] = []
    end = start
    while end < total:
        while end < total and before[end + 1] - before[start] <= room and end + 1 - start <= longest:
            end += 1
        found.append((start, end))
        start = max(start + (end - start + 1) // 2, end - overlap)
        while end < total and before[end + 1] - before[start] > room:
            start += 1  # less overlap where the next unit is long
    return found


def owner(start: int, end: int, ranges: Sequence[tuple[int, int]]) -> int:
    """Which of the windows sees most context around the span `[start, end)`: its scores count, the others' do not, so
    that no span is found twice. A text's own beginning and end are no missing context. `ranges` ascend; the span lies
    in at least one of them."""
    last = ranges[-1][1]

    def context(window: int) -> int:
        left, right = ranges[window]
        return min(last if left == 0 else start - left, last if right == last else right - end)

    at = bisect_right(ranges, start, key=lambda window: window[0]) - 1
    best = at
    while at >= 0 and ranges[at][1] >= end:
        if ranges[best][1] < end or context(at) >= context(best):
            best = at
        at -= 1
    return best
