"""Running text with spans in offsets -> rows in units, and what the offsets count.

A file counts in one way as a whole: the texts that it states beside its offsets decide, else the tool's usual way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from ...units_knowfree import split_text
from ..rows import InputError, Place, Row, bad_input, check_bounds, is_silent, show, show_span
from .base import Options, Placed, Told, unit_of


class Mention(NamedTuple):
    """A span as its file has it: raw borders, label, and the text that the file says it covers."""

    start: Any
    end: Any
    label: Any
    stated: Any = None


@dataclass
class TextRow:
    """A text with mentions; `tokens` where the file gives them."""

    text: str
    mentions: list[Mention] = field(default_factory=list)
    row_id: Any = None
    tokens: Sequence[str] | None = None


class Counting(NamedTuple):
    """What offsets count: code points, UTF-16 code units or UTF-8 bytes, and whether `end` is the last one's own."""

    measure: str
    inclusive: bool

    def __str__(self) -> str:
        return f"{self.measure}, end {'inclusive' if self.inclusive else 'exclusive'}"


USUAL = Counting("code points", False)
INCLUSIVE = Counting("code points", True)
COUNTINGS = tuple(
    Counting(measure, last) for measure in ("code points", "UTF-16", "UTF-8 bytes") for last in (False, True)
)


class Borders:
    """Offsets of one text -> code points."""

    def __init__(self, text: str):
        self.text = text
        self._starts: dict[str, list[int]] = {}

    def cut(self, mention: Mention, counting: Counting) -> tuple[int, int] | None:
        """The code points that a mention covers, or None where these borders are none of the text."""
        start, end = mention.start, mention.end
        if type(start) is not int or type(end) is not int:
            return None
        start, end = self._at(start, counting.measure), self._at(end + counting.inclusive, counting.measure)
        return (start, end) if start is not None and end is not None and start < end else None

    def _at(self, offset: int, measure: str) -> int | None:
        if measure == "code points":
            return offset if 0 <= offset <= len(self.text) else None
        starts = self._starts.get(measure)
        if starts is None:
            starts = self._starts[measure] = _starts(self.text, measure)
        at = bisect_left(starts, offset)
        return at if at < len(starts) and starts[at] == offset else None


def _starts(text: str, measure: str) -> list[int]:
    starts, at = [0], 0
    for character in text:
        code = ord(character)
        if measure == "UTF-16":
            at += 1 + (code > 0xFFFF)
        else:
            at += 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
        starts.append(at)
    return starts


def rows_of_texts(
    texts: Sequence[tuple[Place, TextRow | InputError]],
    options: Options,
    *,
    usual: Counting = USUAL,
    by_definition: bool = False,
) -> Placed:
    """
    Rows of a file's texts.

    Args:
        usual: how the tool counts.
        by_definition: a stated text that contradicts `usual` is refused, instead of deciding how the file counts.
    """
    good = [(place, text) for place, text in texts if not isinstance(text, InputError)]
    borders = [Borders(text.text) for _, text in good]
    unit = options.unit or unit_of(text.text for _, text in good)
    counting, hint = _counting([text for _, text in good], borders, usual, by_definition, unit, options)
    of_row = iter(zip(borders, (text for _, text in good), strict=True))
    for place, text in texts:
        if isinstance(text, InputError):
            yield place, text
            continue
        try:
            row = _row(*next(of_row), place=place, unit=unit, counting=counting, options=options, hint=hint)
        except InputError as error:
            yield place, error
            continue
        if row["tokens"] or text.mentions:
            yield place, row
        else:
            options.told.add("empty texts left out", str(place))


def _counting(
    texts: Sequence[TextRow],
    borders: Sequence[Borders],
    usual: Counting,
    by_definition: bool,
    unit: str,
    options: Options,
) -> tuple[Counting, str]:
    """How the file counts, and a hint for errors: what would fit all of it."""
    mentions = [(b, m, text) for b, text in zip(borders, texts, strict=True) for m in text.mentions]
    candidates = [usual, *(counting for counting in COUNTINGS if counting != usual)]
    stated = [(b, m) for b, m, _ in mentions if isinstance(m.stated, str | list)]
    if stated:
        found = next((c for c in candidates if all(_agrees(b, m, c, True) for b, m in stated)), None)
        found = found or next((c for c in candidates if all(_agrees(b, m, c, False) for b, m in stated)), None)
        if found is None or found == usual:
            return usual, ""
        if by_definition:
            what = "all" if len(stated) > 1 else "the"
            spans = f"{what} {len(stated)} stated text{'s' * (len(stated) > 1)} of the file"
            if found == INCLUSIVE:
                return usual, f"; ends are inclusive in this file, {spans} fit with end + 1: write end + 1"
            return usual, f"; {spans} fit {found}: write code points, end exclusive"
        options.told.add(f"stated texts show that offsets count {found} here (usual: {usual})", count=len(stated))
        return found, ""
    if not mentions or not any(_looks_wrong(b, m, usual) for b, m, _ in mentions):
        if unit == "character" and not options.trim:
            _tell_doubts(mentions, candidates, unit, options)
        return usual, ""
    for counting in candidates[1:]:
        if not any(_looks_wrong(b, m, counting) for b, m, _ in mentions):
            mend = "end + 1" if (usual, counting) == (USUAL, INCLUSIVE) else str(counting)
            return usual, f"; all {len(mentions)} spans of the file would fit {mend}: rewrite them if that is meant"
    return usual, ""


def _tell_doubts(
    mentions: Sequence[tuple[Borders, Mention, TextRow]], candidates: Sequence[Counting], unit: str, options: Options
) -> None:
    """Where no word can be cut: spans with punctuation at an edge that another way of counting would free of it, and
    spans behind an emoji, which UTF-16 would count otherwise."""
    usual = candidates[0]
    odd = [one for one in mentions if _has_marks(*one[:2], usual)]
    for counting in candidates[1:] if odd else ():
        if not any(_looks_wrong(b, m, counting) or _has_marks(b, m, counting) for b, m, _ in mentions):
            borders, mention, _ = odd[0]
            example = f"{show(borders.text[slice(*borders.cut(mention, usual) or ())])} {show(mention.label)}"
            what = f"spans have punctuation at an edge, and all {len(mentions)} would fit {counting}: is that meant?"
            options.told.add(what, example, len(odd))
            return
    wide = [(b, m) for b, m, _ in mentions if b.cut(m, usual) != b.cut(m, Counting("UTF-16", usual.inclusive))]
    if wide and not any(_looks_wrong(b, m, Counting("UTF-16", usual.inclusive)) for b, m, _ in mentions):
        borders, mention = wide[0]
        example = f"{show(borders.text[slice(*borders.cut(mention, usual) or ())])} {show(mention.label)}"
        options.told.add(
            "spans behind an emoji were counted in code points; the file states no text to check them",
            example,
            len(wide),
        )


def _has_marks(borders: Borders, mention: Mention, counting: Counting) -> bool:
    cut = borders.cut(mention, counting)
    text = borders.text[slice(*cut)] if cut else ""
    return bool(text) and not {text[0], text[-1]}.isdisjoint("，。、；：！？,.;:!?")


def _agrees(borders: Borders, mention: Mention, counting: Counting, exactly: bool) -> bool:
    found = borders.cut(mention, counting)
    if found is None:
        return False
    text, stated = borders.text[slice(*found)], mention.stated
    if isinstance(stated, list):
        stated = "".join(map(str, stated))
    return text == stated if exactly else "".join(text.split()) == "".join(stated.split())


def _looks_wrong(borders: Borders, mention: Mention, counting: Counting) -> bool:
    """Whether a span leaves its text, cuts a word of letters, or has white space at an edge."""
    found = borders.cut(mention, counting)
    if found is None:
        return True
    text, (start, end) = borders.text, found
    return text[start].isspace() or text[end - 1].isspace() or _cuts(text, start) or _cuts(text, end)


def _cuts(text: str, at: int) -> bool:
    """Whether a border lies inside a run of letters and digits of a script that writes words apart."""
    return 0 < at < len(text) and _in_word(text[at - 1]) and _in_word(text[at])


def _in_word(character: str) -> bool:
    return character.isalnum() and unit_of(character) == "word"


def _row(
    borders: Borders, row: TextRow, *, place: Place, unit: str, counting: Counting, options: Options, hint: str
) -> Row:
    text = row.text
    if row.tokens is not None:
        units, noun = align(row.tokens, text, place), "token"
    else:
        units, noun = split_text(text, unit), unit
    unit_of_start = {start: index for index, (start, _) in enumerate(units)}
    unit_of_end = {end: index for index, (_, end) in enumerate(units)}
    entities: list[Row] = []
    for mention in row.mentions:
        found = borders.cut(mention, counting)
        if found is None:
            _refuse(mention, text, counting, place, hint)
        start, end = found
        if isinstance(mention.stated, str | list) and not _agrees(borders, mention, counting, False):
            stated = "".join(map(str, mention.stated))
            problem = f"span {show_span(mention.start, mention.end, mention.label)} cuts out {show(text[start:end])}"
            mend = f"count from 0, end exclusive{hint}"
            bad_input(
                place, f"{problem}, its text is {show(stated)}", allowed="a span that cuts out its text", mend=mend
            )
        at_edge = is_silent if options.trim else str.isspace
        if row.tokens is None and (at_edge(text[start]) or at_edge(text[end - 1])):
            if not options.trim:
                _refuse_edges(mention, text[start:end], place, hint)
            start, end = _trimmed(text, start, end)
            options.told.add("spans trimmed of white space", f"{show(text[start:end])} at {place}")
            if start == end:
                continue
        if start not in unit_of_start or end not in unit_of_end:
            problem = f"span {show_span(start, end, mention.label)} {show(text[start:end])} cuts a {noun}"
            near = [show(text[a:b]) + f" [{a}, {b})" for a, b in units if a < end and start < b]
            allowed = f"borders of {noun}s: {', '.join(near) or 'no ' + noun + ' is there'}"
            characters = ", or cut the text into characters: knowfree data convert IN OUT --unit character"
            mend = f"move the span to such borders{characters if noun == 'word' else ''}{hint}"
            bad_input(place, problem, allowed=allowed, mend=mend)
        if hint and row.tokens is None and (_cuts(text, start) or _cuts(text, end)):
            problem = f"span {show_span(start, end, mention.label)} {show(text[start:end])} cuts a word"
            bad_input(place, problem, allowed="whole words", mend=f"move its borders{hint}")
        entities.append({"start": unit_of_start[start], "end": unit_of_end[end] + 1, "label": mention.label})
    if options.trim:
        entities = without_repeats(entities, place, options.told)
    return {"id": row.row_id, "tokens": [text[start:end] for start, end in units], "entities": entities}


def without_repeats(entities: Sequence[Row], place: Place, told: Told) -> list[Row]:
    """Trimmed spans, each once."""
    kept = list({repr(span): span for span in entities}.values())
    if repeated := len(entities) - len(kept):
        told.add("spans that are another one when trimmed left out", f"at {place}", repeated)
    return kept


def _refuse(mention: Mention, text: str, counting: Counting, place: Place, hint: str) -> NoReturn:
    start, end, label, stated = mention
    if hint:
        span = show_span(start, end, label)
        says = f", its text is {show(''.join(map(str, stated)))}" if isinstance(stated, str | list) else ""
        covered = text[start:end] if type(start) is int and type(end) is int and 0 <= start <= end else ""
        allowed = "a span inside its text that covers it"
        bad_input(place, f"span {span} cuts out {show(covered)}{says}", allowed=allowed, mend=f"count anew{hint}")
    last = end + counting.inclusive if type(end) is int else end
    check_bounds(start, last, label, len(text) if counting.measure == "code points" else 1 << 60, place, "character")
    problem = f"span {show_span(start, end, label)} has no such place in a text counted in {counting}"
    bad_input(place, problem, allowed=f"borders of its {len(text)} characters", mend="count again from 0")


def _refuse_edges(mention: Mention, covered: str, place: Place, hint: str) -> None:
    where = ["begins with white space"] * covered[0].isspace() + ["ends with white space"] * covered[-1].isspace()
    problem = f"span {show_span(mention.start, mention.end, mention.label)} {show(covered)} {' and '.join(where)}"
    mend = f"--trim cuts white space off spans; or move the borders{hint}"
    bad_input(place, problem, allowed="spans without white space at their edges", mend=mend)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and is_silent(text[start]):
        start += 1
    while start < end and is_silent(text[end - 1]):
        end -= 1
    return start, end


def align(tokens: Sequence[Any], text: str, place: Place) -> list[tuple[int, int]]:
    """Where tokens stand in their text; white space and format characters, of which `split_text` makes no words, are
    skipped between them.

    Raises InputError for tokens that do not spell the text.
    """
    offsets, at = [], 0
    for index, token in enumerate(tokens):
        if not isinstance(token, str) or not token:
            mend = "put the token in quotes, or take it out"
            bad_input(place, f"token {index} is {show(token)}", allowed="a string that is not empty", mend=mend)
        begin = at
        while not text.startswith(token, begin):
            if begin >= len(text) or not is_silent(text[begin]):
                problem = f"token {index} is {show(token)}, the text goes on with {show(text[at : at + 20])}"
                bad_input(
                    place, problem, allowed="tokens that spell the text", mend="correct the token, or leave out tokens"
                )
            begin += 1
        at = begin + len(token)
        offsets.append((begin, at))
    if not all(map(is_silent, text[at:])):
        mend = "add the tokens that are missing, or leave out tokens"
        bad_input(place, f"no tokens for {show(text[at : at + 20])}", allowed="tokens that spell the text", mend=mend)
    return offsets


def placed_texts(
    placed: Iterable[tuple[Place, Any]], convert: Callable[[Any, Place], TextRow | None]
) -> list[tuple[Place, TextRow | InputError]]:
    """Every entry as a text with mentions; what `convert` answers with None is left out."""
    texts: list[tuple[Place, TextRow | InputError]] = []
    for place, entry in placed:
        if not isinstance(entry, InputError):
            try:
                entry = convert(entry, place)
            except InputError as error:
                entry = error
        if entry is not None:
            texts.append((place, entry))
    return texts


def joined_text(row: Row) -> tuple[str, list[tuple[int, int]]]:
    """A row's text, and where its units stand in it as `align` finds them: what writers of offsets write. A `text`
    that the units do not spell is none of theirs."""
    tokens, text = row["tokens"], row.get("text")
    if isinstance(text, str):
        with suppress(InputError):
            return text, align(tokens, text, Place("row"))
    gap = "" if all(len(token) == 1 for token in tokens) else " "
    text = gap.join(tokens)
    return text, align(tokens, text, Place("row"))


def written_spans(row: Row) -> Iterator[tuple[int, int, str, str]]:
    """Character offsets, label and text of each entity, for writers."""
    text, offsets = joined_text(row)
    for span in row["entities"]:
        start, end = offsets[span["start"]][0], offsets[span["end"] - 1][1]
        yield start, end, span["label"], text[start:end]
