"""A sentence a line, words between spaces: `word/TAG` (parts of speech), `word/B-PER` and `word/PER word/O`, or words
alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from ..lines import Line
from ..rows import WORD_LABEL, Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each, unit_of
from .schemes import Scheme, looks_like_tags, read_tags, scheme_of

_ARTICLE = re.compile(r"(\d{8}-\d{2}-\d{3}-\d{3})/m")
_CLOSING = re.compile(r"(.+/[A-Za-z]\w*)((?:\][A-Za-z]\w*)+)")
_TAG_LIKE = re.compile(r"[BIESMLUO](-\S*)?")
_PART_OF_SPEECH = re.compile(r"[\w$*+-]{1,16}|[^\w\s]{1,3}")
_PUNCTUATION = re.compile("[，。、；：？！「」『』（）《》“”]")


class Tagged(NamedTuple):
    """A sentence of words with tags, and the brackets around some of them: first word, behind the last, label."""

    words: list[str]
    tags: list[str]
    brackets: list[tuple[int, int, str]]
    row_id: str | None


def separator_of(lines: Iterable[str]) -> str | None:
    """`/` or `_`, whichever separates a word from a tag in more fields, at least half of them; None if neither does."""
    fields = [field for text in lines for field in text.split()]
    tagged = {mark: sum(all(field.rpartition(mark)) for field in fields) for mark in "/_"}
    mark = max(tagged, key=tagged.__getitem__)
    return mark if fields and 2 * tagged[mark] >= len(fields) else None


def _tags(separator: str, lines: Iterable[str]) -> Counter[str]:
    return Counter(
        field.rpartition(separator)[2].partition("]")[0] or "]"
        for text in lines
        for field in text.split()
        if separator in field
    )


def _is_bio(tags: Counter[str]) -> bool:
    scheme = scheme_of(tags)
    positions = isinstance(scheme, Scheme) and scheme.name in ("bio", "bioes", "suffix") and bool(set(tags) - {"O"})
    return positions and looks_like_tags(tags) and bool({"O", "B"} & set(tags) or any("-" in tag for tag in tags))


def _has_outside(tags: Counter[str]) -> bool:
    """Whether words are tagged as no entity: O, which is no part of speech, or o (MSRA), where it is the commonest."""
    return "O" in tags or tags["o"] == max(tags.values(), default=1)


def _guess(file: File, entities: bool) -> Guess | None:
    if not file.first_lines or file.json_kind is not None or "\t" in file.first_lines[0]:
        return None
    separator = separator_of(file.first_lines)
    if separator is None:
        return None
    tags = _tags(separator, file.first_lines)
    bio = _is_bio(tags)
    if (bio or _has_outside(tags)) != entities:
        return None
    if not entities and any("|||" in text for text in file.first_lines[:20]):
        return None
    if not entities and sum(n for tag, n in tags.items() if _PART_OF_SPEECH.fullmatch(tag)) < 0.9 * tags.total():
        return None
    what = f"word{separator}B-PER" if bio else f"word{separator}TAG" + " beside O" * entities
    return Guess(0.6, f"fields such as {what}: {show(file.first_lines[0].split()[0])}")


def _fields(text: str, separator: str, place: Place) -> list[tuple[str, str]]:
    pairs = []
    for field in text.split():
        word, _, tag = field.rpartition(separator)
        if not word or not tag:
            allowed = f"word{separator}TAG"
            bad_input(place, f"{show(field)} has no tag", allowed=allowed, mend=f"write it as {allowed}")
        pairs.append((word, tag))
    return pairs


def _placed(file: File) -> Iterable[tuple[Place, Line]]:
    return ((file.place(line.number), line) for line in file.lines() if line.text.strip())


def read_pos(file: File, options: Options) -> Placed:
    separator = separator_of(file.first_lines) or "/"
    unit = options.unit or unit_of(
        field.rpartition(separator)[0] for text in file.first_lines for field in text.split()
    )
    nested = options.task == "nested_ner"

    def row(line: Line, place: Place) -> Row | None:
        found = _sentence(line.text, separator, place)
        if not found.words:
            return None
        made = row_of_words(found.words, found.tags, unit)
        ends = [0, *accumulate(len(word) if unit == "character" else 1 for word in found.words)]
        for start, end, label in found.brackets:
            if nested:
                made["entities"].append({"start": ends[start], "end": ends[end], "label": label})
            else:
                example = f"{show(''.join(found.words[start:end]))} {label} at {place}; --task nested_ner reads them"
                options.told.add("compounds in brackets left out", example)
        return {"id": found.row_id, **made}

    return each(_placed(file), row)


def _sentence(text: str, separator: str, place: Place) -> Tagged:
    """People's Daily: an article number in front, compounds in brackets that may nest."""
    found = Tagged([], [], [], match[1] if (match := _ARTICLE.match(text.lstrip("\ufeff "))) else None)
    open_at: list[int] = []
    for number, field in enumerate(text.split()):
        if number == 0 and found.row_id is not None:
            continue
        while separator == "/" and field.startswith("[") and len(field) > 1 and field[1] != "/":
            open_at.append(len(found.words))
            field = field[1:]
        closing = _CLOSING.fullmatch(field) if separator == "/" and open_at else None
        [(word, tag)] = _fields(closing[1] if closing else field, separator, place)
        found.words.append(word)
        found.tags.append(tag)
        for label in closing[2].split("]")[1:] if closing else ():
            if not open_at:
                problem = f"{show(field)} closes a bracket that is not open"
                bad_input(place, problem, allowed="[a/n b/n]nt", mend="open it, or take it out")
            found.brackets.append((open_at.pop(), len(found.words), label))
    if open_at:
        problem = f"the bracket before {show(found.words[open_at[-1]])} is never closed"
        bad_input(place, problem, allowed="[a/n b/n]nt", mend="close it with ]nt, or take it out")
    return found


def read_slashed(file: File, options: Options) -> Placed:
    separator = separator_of(file.first_lines) or "/"
    everything = [line.text for _, line in _placed(file)]
    tags = _tags(separator, everything)
    fields = [field.rpartition(separator)[0] for text in everything for field in text.split()]
    words_of_characters = unit_of(fields) == "character" and any(len(word) > 1 for word in fields)
    # An entity of MSRA is one word; what has a character a tag joins its neighbours.
    alone = words_of_characters and options.scheme is None and not _is_bio(tags)
    scheme = scheme_of(tags, named="each" if alone else options.scheme)

    def row(line: Line, place: Place) -> Row:
        pairs = _fields(line.text, separator, place)
        if isinstance(scheme, str):
            bad_input(place, f"which tag scheme? {scheme}", allowed="word/B-PER", mend="name it: --scheme bio")
        entities = read_tags(scheme, [tag for _, tag in pairs], place, options.told)
        words = [word for word, _ in pairs]
        if not words_of_characters or options.unit == "word":
            return {"id": None, "tokens": words, "entities": entities}
        at = [0, *accumulate(map(len, words))]
        spans = [span | {"start": at[span["start"]], "end": at[span["end"]]} for span in entities]
        return {"id": None, "tokens": list("".join(words)), "entities": spans}

    return each(_placed(file), row)


# ------------------------------------------------------------------ words alone


def looks_segmented(lines: Sequence[str]) -> bool:
    """Whether lines are text cut into words: several short words a line, punctuation apart."""
    fields = [field for text in lines for field in text.split()]
    tagged = sum(bool(_TAG_LIKE.fullmatch(text.split()[-1])) for text in lines)
    if 2 * tagged >= len(lines) or 2 * sum("\t" in text for text in lines) >= len(lines) or _are_columns(lines):
        return False
    several = sum(len(text.split()) > 1 for text in lines)
    marks = [field for field in fields if _PUNCTUATION.search(field)]
    apart = sum(len(field) == 1 for field in marks)
    short = sum(map(len, fields)) <= 5 * max(1, len(fields))
    return 2 * several >= len(lines) and short and apart >= 0.9 * len(marks)


def _are_columns(lines: Sequence[str]) -> bool:
    """Whether lines have as many fields each, of which the last is one of a few that are no punctuation: tags."""
    rows = [text.split() for text in lines]
    width, count = Counter(map(len, rows)).most_common(1)[0]
    last = Counter(row[-1] for row in rows if len(row) == width)
    few = len(last) <= max(3, count // 10) and len(last) < count
    return 1 < width < 5 and count >= 0.9 * len(rows) and few and not any(map(_PUNCTUATION.search, last))


def detect_segmentation(file: File) -> Guess | None:
    lines = file.first_lines
    if not lines or file.json_kind is not None or any("|||" in text for text in lines[:20]):
        return None
    if (file.unit or unit_of(lines)) == "character" and looks_segmented(lines):
        return Guess(0.4, "Chinese or Japanese words between spaces")
    return None


def read_segmentation(file: File, options: Options) -> Placed:
    if (options.unit or unit_of(file.first_lines)) != "character":
        problem = f"word units, and the first line is {show(next(iter(file.first_lines), ''))}"
        mend = "ask for unit character, or for another format"
        bad_input(file.name, problem, allowed="segmentation of text that is counted in characters", mend=mend)
    if options.task in ("ner", "nested_ner"):
        problem = f"text cut into words is no annotation of entities, the first line is {show(file.first_lines[0])}"
        bad_input(file.place(1), problem, allowed="sentences with entities", mend="train with --task segmentation")

    def row(line: Line, place: Place) -> Row:
        words = line.text.split()
        return {"id": None, **row_of_words(words, [WORD_LABEL] * len(words), "character")}

    return each(_placed(file), row)


def row_of_words(words: Sequence[str], labels: Sequence[str], unit: str) -> dict[str, Any]:
    """Tokens, and each word as a span of its label."""
    lengths = [len(word) if unit == "character" else 1 for word in words]
    ends = list(accumulate(lengths))
    entities = [
        {"start": end - length, "end": end, "label": label}
        for end, length, label in zip(ends, lengths, labels, strict=True)
    ]
    return {"tokens": list("".join(words)) if unit == "character" else list(words), "entities": entities}


POS = Format(
    name="pos",
    tool="People's Daily 1998 (PKU), other corpora of parts of speech",
    recognised="fields word/TAG or word_TAG, a sentence a line",
    trap="brackets and the article number belong to no word; 1/2/m is the word 1/2",
    detect=lambda file: _guess(file, entities=False),
    read=read_pos,
    aliases=("pku-brackets", "pku"),
)
SLASHED = Format(
    name="slashed-bio",
    tool="MSRA (2006), older Chinese and Vietnamese NER sets, Stanford-like output",
    recognised="fields word/B-PER or word/PER beside word/O (or o), a sentence a line",
    trap="the tags are positions and no parts of speech; the last / counts",
    detect=lambda file: _guess(file, entities=True),
    read=read_slashed,
)
SEGMENTATION = Format(
    name="segmentation",
    tool="SIGHAN (PKU, MSR), other segmented corpora",
    recognised="Chinese or Japanese in short words between spaces, punctuation apart",
    trap="raw text is not segmentation, and no annotation of entities",
    detect=detect_segmentation,
    read=read_segmentation,
)
