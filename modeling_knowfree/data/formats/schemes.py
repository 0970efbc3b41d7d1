"""Tag schemes: which one a set of tags follows, and tags -> spans.

| scheme | tags |
| --- | --- |
| bio | `B-PER` `I-PER`, IOB1 too: I- opens where nothing is open |
| bioes | `B-` `I-` `E-` `S-`; BMES, BIOS and BILOU are read by the same rules |
| suffix | `PER-B` `PER-I` |
| io | the whole tag is the label, neighbours with one label are one span |
| each | the whole tag is the label of its token alone, as parts of speech have it |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..rows import WORD_LABEL, Place, Row, bad_input, show
from .base import Told

SCHEMES = ("bio", "iob1", "iob2", "bioes", "bmes", "bilou", "suffix", "io", "each")
SIGNS = ("0", "-", "_")  # O only beside tags with positions
_WORDS = ("OUT", "OTHER", "OTHERS", "NONE", "NULL", "NIL", "OUTSIDE")
OUTSIDE = ("O", "o", *SIGNS, "N/A", *(form(word) for word in _WORDS for form in (str, str.lower, str.capitalize)))
ALLOWED = "O, or B-, I-, E-, M- or S- and a label"

_LOWER = re.compile(r"[biesmluw][-_:].+", re.DOTALL)
_STACK = re.compile(r"[|,+;]")
_PREFIXED = re.compile(r"([BIESMLUW])([-_:])(.+)", re.DOTALL)
_SUFFIXED = re.compile(r"(.+)([-_:])([BIESMLU])", re.DOTALL)
_BARE = re.compile(r"[BIESMLU]")
_LABEL_LIKE = re.compile(r"[^\W\d_][\w .&/+:|-]*")


@dataclass
class Scheme:
    """How the tags of one file are read: `split` gives position letter and label of a tag; `outside` is its O."""

    name: str
    outside: frozenset[str]
    split: Callable[[str], tuple[str, str] | None]
    why: str

    def spans(self, tags: Sequence[str]) -> list[Row]:
        """Spans of tags that are all of this scheme."""
        return _joined([("O", "") if tag in self.outside else self.split(tag) or ("O", "") for tag in tags])

    def fits(self, tag: Any) -> bool:
        return isinstance(tag, str) and (tag in self.outside or self.split(tag) is not None)

    def check(self, tag: Any, place: Place) -> None:
        """Raises InputError for a tag of another scheme."""
        if not self.fits(tag):
            mend = "write the tag as one of these, such as B-PER, or name another --scheme"
            allowed = ALLOWED if self.name in ("bio", "bioes") else f"tags of the scheme {self.name}: {self.why}"
            bad_input(place, f"tag {show(tag)}", allowed=allowed, mend=mend)


def _joined(parts: Iterable[tuple[str, str]]) -> list[Row]:
    """B, S, U and W open a span, E, L, S, U and W close it; I, M, E and L continue an open one of their own label and
    open one otherwise."""
    spans: list[Row] = []
    is_open = False
    for index, (position, label) in enumerate(parts):
        if position == "O":
            is_open = False
            continue
        if position in "IMEL" and is_open and spans[-1]["label"] == label:
            spans[-1]["end"] = index + 1
        else:
            spans.append({"start": index, "end": index + 1, "label": label})
        is_open = position in "BIM"
    return spans


def spans_of_tags(tags: Sequence[str]) -> list[Row]:
    """BIO, BIOES or BMES tags -> spans. B and S open a span, E and S close it; I, M and E continue an open span of
    their own type and open one otherwise (after O, or after another type). A tag without a type is `WORD`."""
    return _joined([(tag[0], tag[2:] or WORD_LABEL) for tag in tags])


def _by_prefix(tag: str) -> tuple[str, str] | None:
    if match := _PREFIXED.fullmatch(tag):
        return match[1], match[3]
    return (tag, WORD_LABEL) if _BARE.fullmatch(tag) else None


def _by_lower_prefix(tag: str) -> tuple[str, str] | None:
    return (tag[0].upper(), tag[2:]) if _LOWER.fullmatch(tag) else None


def _by_suffix(tag: str) -> tuple[str, str] | None:
    match = _SUFFIXED.fullmatch(tag)
    return (match[3], match[1]) if match else None


def _whole(tag: str) -> tuple[str, str]:
    return "I", tag


def _alone(tag: str) -> tuple[str, str]:
    return "S", tag


def _scheme(name: str, outside: frozenset[str], why: str) -> Scheme:
    split = {"suffix": _by_suffix, "lower": _by_lower_prefix, "io": _whole, "each": _alone}.get(name, _by_prefix)
    if name in ("iob1", "iob2", "lower"):
        name = "bio"
    # A file has few tags and many tokens.
    return Scheme("bioes" if name in ("bmes", "bilou") else name, outside, lru_cache(4096)(split), why)


def outside_of(tags: Counter[str]) -> frozenset[str]:
    """The spellings of O among tags: O itself and o, or else the one of the known spellings that is commonest."""
    if "O" in tags or "o" in tags:
        return frozenset({"O", "o"})
    known = [tag for tag, _ in tags.most_common() if tag in OUTSIDE]
    return frozenset(known[:1] or ["O"])


def scheme_of(tags: Counter[str], *, named: str | None = None, task: str | None = None) -> Scheme | str:
    """The scheme that a set of tags (with their counts) follows, or in words why none is certain.

    `named` overrules; for task pos tags without positions belong to their tokens alone.
    """
    outside = outside_of(tags)
    if named is not None:
        return _scheme(named, outside, f"--scheme {named}")
    inside = {tag for tag in tags if tag not in outside}
    if not inside:
        return _scheme("bio", outside, "O alone")
    if all(map(_BARE.fullmatch, inside)):
        return _scheme("bioes", outside, f"bare positions {_listed(inside)}")
    stacked = [tag for tag in inside if len(parts := _STACK.split(tag)) > 1 and all(map(_PREFIXED.fullmatch, parts))]
    if stacked:
        return f"tags such as {stacked[0]} are several in one: write each layer into a column of its own"
    prefixed = {tag: match for tag in inside if (match := _PREFIXED.fullmatch(tag))}
    if any(match[1] in "BI" for match in prefixed.values()) or (prefixed and any(tag in ("B", "I") for tag in inside)):
        return _prefix_scheme(inside, prefixed, outside)
    if all(map(_LOWER.fullmatch, inside)) and any(tag[0] == "b" for tag in inside):
        return _scheme("lower", outside, f"positions in small letters: {_listed(inside)}")
    suffixed = {tag: match for tag in inside if (match := _SUFFIXED.fullmatch(tag))}
    if len(suffixed) == len(inside) and any(match[3] in "BI" for match in suffixed.values()):
        if len({match[1] for match in suffixed.values()}) == len(inside):
            return f"do {_listed(inside)} end in positions (--scheme suffix), or are they whole labels (--scheme io)?"
        return _scheme("suffix", outside, f"every tag but {_listed(outside & set(tags))} ends in its position")
    letters = {match[1] for match in prefixed.values()}
    if len(prefixed) == len(inside) and letters <= {"S", "U", "W"}:  # an end without a beginning is no position
        return (
            f"the tags {_listed(inside)} are whole labels (--scheme io), or positions without any B- (--scheme bioes)"
        )
    if not outside & set(tags):
        if task == "pos":
            return _scheme("each", frozenset(), "a tag a token")
        return f"the tags {_listed(inside)} have neither positions (B-, I-) nor an O among them"
    if task == "pos":
        return _scheme("each", outside, "a tag a token")
    if not outside & {"O", "o"} and (outside & set(SIGNS) or tags.most_common(1)[0][0] not in outside):
        return f"is {_listed(outside & set(tags))} the O of {_listed(inside)}?"
    return _scheme("io", outside, f"tags without positions: {_listed(inside)}")


def _prefix_scheme(inside: set[str], prefixed: dict[str, re.Match], outside: frozenset[str]) -> Scheme | str:
    positions: dict[str, set[str]] = {}  # letter -> labels it stands before
    for match in prefixed.values():
        positions.setdefault(match[1], set()).add(match[3])
    marks = {match[2] for match in prefixed.values()}
    begun = positions.get("B", set()) | positions.get("I", set()) | positions.get("M", set())
    closed = positions.get("E", set()) | positions.get("L", set())
    if closed and closed <= begun:
        begun |= positions.get("S", set()) | positions.get("U", set())  # ends that fit prove that S- is a position
    for letter in positions.keys() - {"B", "I", "M"}:
        alone = positions[letter] - begun
        if alone and not positions[letter] & begun:
            odd = next(f"{letter}{mark}{label}" for mark in sorted(marks) for label in sorted(alone))
            rest = _listed(inside - {odd})
            return (
                f"is {odd} a whole label, or position {letter} of {odd[2:]}, beside {rest}? (--scheme bio, bioes, io)"
            )
    name = "bioes" if positions.keys() - {"B", "I"} else "bio"
    others = [tag for tag in inside if tag not in prefixed]
    spelt = [tag for tag in others if tag in OUTSIDE]
    if len(others) == 1 and spelt:
        outside = outside | {others[0]}
    return _scheme(name, outside, f"positions {' '.join(f'{letter}-' for letter in sorted(positions))}")


def looks_like_tags(values: Counter[str]) -> bool:
    """Whether a column of these values holds tags: mostly positions with labels, or few labels and an O."""
    total = values.total()
    if not total:
        return False
    outside = outside_of(values)
    positioned = sum(
        count for tag, count in values.items() if tag in ("O", "o") or _by_prefix(tag) or _ends_in_position(tag, values)
    )
    if 2 * positioned >= total:
        return True
    inside = [tag for tag in values if tag not in outside]
    outs = sum(values[tag] for tag in outside)
    if not outs or outside & set(SIGNS):
        return bool(inside) and all(_PREFIXED.fullmatch(tag) or _SUFFIXED.fullmatch(tag) for tag in inside) and outs > 0
    common = outs >= max((values[tag] for tag in inside), default=0)
    return common and len(inside) <= max(3, total // 2) and all(map(_LABEL_LIKE.fullmatch, inside))


def _ends_in_position(tag: str, values: Counter[str]) -> bool:
    match = _SUFFIXED.fullmatch(tag)
    return bool(match) and f"{match[1]}{match[2]}B" in values  # type: ignore[index]


def read_tags(scheme: Scheme, tags: Sequence[str], place: Place, told: Told) -> list[Row]:
    """Tags -> spans, each tag checked; what the scheme leaves open is told."""
    for tag in tags:
        if not scheme.fits(tag):
            scheme.check(tag, place)
    spans = scheme.spans(tags)
    if scheme.name == "io" and (joined := next((span for span in spans if span["end"] - span["start"] > 1), None)):
        example = f"{show(joined['label'])} at {place}"
        told.add("spans of neighbours with one tag; touching entities cannot be told apart", example)
    return spans


def need_scheme(found: Scheme | str, place: Place) -> Scheme:
    """Raises InputError where the scheme is a question."""
    if isinstance(found, str):
        mend = f"name it: --scheme {', '.join(SCHEMES)}; or write tags such as B-PER"
        bad_input(place, f"which tag scheme? {found}", allowed=ALLOWED, mend=mend)
    return found


def _listed(tags: Iterable[str]) -> str:
    ordered = sorted(tags)
    return ", ".join(ordered[:6]) + (" …" if len(ordered) > 6 else "")
