"""Completions -> typed results. The only exception that leaves `parse` is `AnswerError`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from augmentation.llm.repair import RepairError, repair
from augmentation.llm.tasks import Task
from modeling_knowfree.data.rows import bare

MAX_ANSWER_CHARACTERS = 400_000
MAX_DEPTH = 32
MAX_REPAIRS = 1000
MAX_NAME_CHARACTERS = 100

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
TypeName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_NAME_CHARACTERS),
    BeforeValidator(lambda value: bare(value) if isinstance(value, str) else value),
]
Tag = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class AnswerError(Exception):
    """The completion cannot be used as it is; the message says why in words that can be quoted to the model.

    `usable` are its items without those that do not fit, for when no better answer comes.
    """

    def __init__(self, message: str, usable: Parsed | None = None) -> None:
        super().__init__(message)
        self.usable = usable


class EntityItem(BaseModel):
    """An entity and its type, as the model wrote them, stripped."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)
    entity: Name
    type: TypeName


class PosItem(BaseModel):
    """A word and its tag as the model wrote it; the tag is empty where the model gave none."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)
    word: str
    pos: Tag = ""


class MergeGroup(BaseModel):
    """A standard name and the types it stands for."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)
    standard: Name
    synonyms: list[str]


class AttributeItem(BaseModel):
    """An attribute that tells sentences of a domain apart, and values that it takes."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)
    attribute: Name
    values: list[str]


class VerdictItem(BaseModel):
    """Whether the span of a number is right."""

    model_config = ConfigDict(frozen=True)
    number: int
    right: bool


PROSE = ("explanation", "guideline", "rewrite", "compose")
"""Tasks whose answers are no JSON."""
_SENTENCES = ("rewrite", "compose")
_PAGE = re.compile(r"<(?:!doctype|html|head|body|script|div|p)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The typed result of one answer.

    `value` is a list of `EntityItem` (entities, targets, verify), `str` (segmentation, terms), `PosItem` (pos),
    `MergeGroup` (merge, merge_standard), `AttributeItem` (attributes) or `VerdictItem` (verify_targets), or one `str`
    (`PROSE`). `repaired`: the JSON was not valid as it stood. `cut`: the token limit ended the answer; of a list the
    last item was dropped. `misfits`: items that were left out, of an answer that was asked for again in vain.
    """

    value: Any
    repaired: bool = False
    cut: bool = False
    misfits: int = 0


def _is_json(text: str) -> bool:
    """Whether all of it is a JSON list or object."""
    try:
        return isinstance(json.loads(_FENCE.sub("", text)), (list, dict))
    except (ValueError, RecursionError):
        return False


_ITEMS: dict[str, type[BaseModel] | type[str]] = {
    "entities": EntityItem,
    "targets": EntityItem,
    "segmentation": str,
    "pos": PosItem,
    "merge": MergeGroup,
    "merge_standard": MergeGroup,
    "terms": str,
    "attributes": AttributeItem,
    "verify": EntityItem,
    "verify_targets": VerdictItem,
}
_ITEM_KEYS = {task: set(getattr(item, "model_fields", ())) for task, item in _ITEMS.items()}
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    task: TypeAdapter(list[item], config=ConfigDict(coerce_numbers_to_str=True) if item is str else None)  # type: ignore[valid-type]
    for task, item in _ITEMS.items()
}
_PAIRS = ("entities", "targets", "pos")
_WRAPPERS = (["items"], ["groups"], ["result"])  # what models name a list that holds everything

_REASONING = re.compile(
    r"<(think|thinking|thought|reasoning|reflection|seed:think)>.*?(?:</\1>|\Z)"
    r"|\[THINK\].*?(?:\[/THINK\]|\Z)|◁think▷.*?(?:◁/think▷|\Z)"
    r"|<\|channel\|>analysis.*?(?:<\|channel\|>final<\|message\|>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_REASONING_TAIL = re.compile(
    r"\A.*(?:</(?:think|thinking|thought|reasoning|reflection|seed:think)>|\[/THINK\]|◁/think▷)",
    re.DOTALL | re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`{\[]*", re.MULTILINE)
_MARK = re.compile(r'["\[\]{}]')
_STRING_MARK = re.compile(r'["\\]')
_OPENING = re.compile(r"[\[{]")
_QUOTE = re.compile("[\"'“”‘’]")
_UNESCAPED_QUOTE = re.compile(r'\\.|(")', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_STRING_OR_NUMBER = re.compile(
    r"""("(?:[^"\\]|\\.)*+(?:"|\\?\Z))|(?<=[:\[,])(\s*+)(-?\d[\d.eE+-]*+)(?=\s*[,}\]])""", re.DOTALL
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """`text` with every lone surrogate, which no UTF-8 file can hold, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def strip_reasoning(text: str) -> str:
    """`text` without the blocks in which reasoning models think aloud, closed or not."""
    return _REASONING_TAIL.sub("", _REASONING.sub("", text))


def parse(task: Task, text: str, *, cut: bool = False) -> Parsed:
    """The typed result of a completion; see `Parsed`.

    JSON tasks: reasoning blocks and code fences go, every balanced top-level value is taken, lists are joined, what is
    no valid JSON is repaired, and a cut answer loses its last item.

    Raises:
        AnswerError: no usable result; never anything else, whatever `text` holds.
    """
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise AnswerError(f"the answer has {len(text)} characters, more than {MAX_ANSWER_CHARACTERS}")
    body = strip_reasoning(replace_surrogates(text)).strip()
    if not body:
        raise AnswerError("the answer is empty")
    if task in PROSE:
        if task in _SENTENCES and (_PAGE.search(body) or _is_json(body)):
            raise AnswerError("the answer is JSON or a page of HTML; write one plain sentence")
        return Parsed(body, cut=cut)
    found = _json_values(_FENCE.sub("", body))
    if not found.values:
        raise AnswerError(f"no JSON in the answer: {body[:80]!r}")
    cut = cut or found.broken_off  # whatever the server says
    items, sound, misfits, error = _fitting_items(task, found.values, drop_last=cut and found.unbalanced)
    if error is not None:
        raise AnswerError(error, Parsed(sound, found.repaired, cut, misfits) if sound else None)
    if cut and found.unbalanced and not items:
        raise AnswerError("the answer was cut by the token limit before its first complete item")
    return Parsed(items, repaired=found.repaired, cut=cut)


class _Several(list):
    """An object with repeated keys, cut before each repetition."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Several:
    objects: list[dict[str, Any]] = [{}]
    for key, value in pairs:
        if key in objects[-1]:
            objects.append({})
        objects[-1][key] = value
    return objects[0] if len(objects) == 1 else _Several(objects)


_LOADED = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_once_each)


class _Found(NamedTuple):
    """The top-level JSON values of an answer.

    Attributes:
        values: numbers in them are strings, spelt as they stand.
        repaired: one at least was not valid.
        unbalanced: the last one never closes.
        broken_off: it ends inside a string.
    """

    values: list[Any]
    repaired: bool
    unbalanced: bool
    broken_off: bool


def _json_values(text: str) -> _Found:
    found: list[tuple[Any, bool]] = []  # with whether it is a guess: JSON without any quote, or a word in brackets
    repairs = 0
    unbalanced = broken_off = is_certain = False
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        start = opening.start()
        end = _balanced_end(text, start)
        unbalanced = end is None
        piece = text[start:end]
        try:
            value = _LOADED.decode(piece)
            found.append((value, False))
            is_certain = is_certain or '"' in piece or not value
        except (ValueError, RecursionError):
            repairs += 1
            if repairs > MAX_REPAIRS:
                raise AnswerError(f"more than {MAX_REPAIRS} broken JSON values: {text[:80]!r}") from None
            value = _repair(piece)
            if isinstance(value, dict | list):
                found.append((value, not _QUOTE.search(piece)))
        if end is None:
            broken_off = _UNESCAPED_QUOTE.findall(piece).count('"') % 2 == 1
            break
        position = end
    values = [value for value, is_guess in found if not (is_guess and is_certain)]
    return _Found(values, repairs > 0, unbalanced, broken_off)


def _balanced_end(text: str, start: int) -> int | None:
    """Where the value that opens at `start` closes, None where it never does. Brackets in strings do not count."""
    closing: list[str] = []
    position, in_order = start, True
    while (found := (_MARK if in_order else _BRACKET).search(text, position)) is not None:
        mark, position = found.group(), found.end()
        if mark == '"':
            end = _string_end(text, position)
            in_order = end is not None  # after a string that never ends, quotes say nothing
            position = end or position
        elif mark in "[{":
            closing.append("]" if mark == "[" else "}")
            if len(closing) > MAX_DEPTH:
                raise AnswerError(f"the JSON is nested deeper than {MAX_DEPTH} levels")
        elif mark != closing.pop():
            return None
        elif not closing:
            return position
    return None


def _string_end(text: str, position: int) -> int | None:
    """Behind the quote that ends the string whose content begins at `position`; None where none does."""
    while (found := _STRING_MARK.search(text, position)) is not None:
        if found.group() == '"':
            return found.end()
        position = found.end() + 1  # whatever is escaped
    return None


def _repair(piece: str) -> Any:
    if _raw_depth(piece) > MAX_DEPTH:
        raise AnswerError(f"the JSON is nested deeper than {MAX_DEPTH} levels")
    piece = _STRING_OR_NUMBER.sub(lambda found: found[1] or f'{found[2]}"{found[3]}"', piece)  # 007 stays 007
    try:
        return repair(piece)
    except RepairError as error:
        raise AnswerError(f"the JSON is broken beyond repair ({error}): {piece[:80]!r}") from error


def _raw_depth(piece: str) -> int:
    """How many brackets are open at once at most, those in strings (which may be broken) included."""
    depth = deepest = 0
    for mark in _BRACKET.findall(piece):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


class _Fitting(NamedTuple):
    """Items that fit the task: of the values all of whose items do (`items`), and of all values (`sound`), which
    leaves `misfits` out. `error` complains about the first of these, of the values that were meant as items, or where
    no value fits."""

    items: list[Any]
    sound: list[Any]
    misfits: int
    error: str | None


def _fitting_items(task: Task, values: list[Any], *, drop_last: bool) -> _Fitting:
    fitting: list[Any] = []
    sound: list[Any] = []
    misfits = 0
    fits = False
    complaint: str | None = None
    complaint_about_items: str | None = None
    for number, given in enumerate(values):
        value = _settled(task, given)
        items = list(_each(task, value))
        if drop_last and number == len(values) - 1:
            items = items[:-1]
        try:
            found = _ADAPTERS[task].validate_python(_clean(items))
            fitting += found
            sound += found
            fits = True
        except ValidationError as error:
            complaint = complaint or _complaint(error)
            if any(isinstance(item, dict) and (item is not value or item.keys() & _ITEM_KEYS[task]) for item in items):
                complaint_about_items = complaint_about_items or _complaint(error)
            wrong = {int(told["loc"][0]) for told in error.errors(include_url=False, include_context=False)}
            misfits += len(wrong)
            sound += _ADAPTERS[task].validate_python([_clean(x) for at, x in enumerate(items) if at not in wrong])
    return _Fitting(fitting, sound, misfits, complaint_about_items or (None if fits else complaint))


def _settled(task: Task, value: Any) -> Any:
    """The items that an object with repeated keys stands for, if each has all that an item needs; the values of its
    lists together, if it holds lists; else the object in which the last of equal keys counts."""
    if not isinstance(value, _Several):
        return value
    item = _ITEMS[task]
    needed = {name for name, one in getattr(item, "model_fields", {}).items() if one.is_required()}
    if needed and all(needed <= each.keys() for each in value):
        return list(value)
    held = [inner for each in value for inner in each.values()]
    if len(held) == len(value) and all(isinstance(inner, list) for inner in held):
        return [one for inner in held for one in inner]
    return {key: inner for each in value for key, inner in each.items()}


def _each(task: Task, value: Any) -> Iterator[Any]:
    """The items of a value; in a bare list, or one that a wrapper holds, a pair of strings is an item, its values in
    their order."""
    names = list(getattr(_ITEMS[task], "model_fields", ()))
    may_be_pairs = task in _PAIRS and (isinstance(value, list) or list(value) in _WRAPPERS)
    for item in _items(task, value):
        settled = _settled(task, item)
        if isinstance(settled, list) and isinstance(item, _Several):
            yield from settled
        elif may_be_pairs and _is_pair(settled):
            yield dict(zip(names, settled, strict=True))
        else:
            yield settled


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], str | None)


def _items(task: Task, value: Any) -> list[Any]:
    """The list a value stands for: itself, the one list an object holds, or the object as the only item."""
    if isinstance(value, list):
        return value
    if value.keys() & _ITEM_KEYS[task]:
        return [value]
    if not value:
        return []
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    if task in ("merge", "merge_standard") and list(value) not in _WRAPPERS and _is_name_map(value):
        return [{"standard": name, "synonyms": synonyms} for name, synonyms in value.items()]
    if len(lists) > 1:  # what was asked for beside what was not: the one that holds anything, or items
        lists = [inner for inner in lists if inner] or [[]]
        keyed = [inner for inner in lists if all(isinstance(e, dict) and e.keys() & _ITEM_KEYS[task] for e in inner)]
        lists = keyed if len(keyed) == 1 else lists
    return lists[0] if len(lists) == 1 else [value]


def _is_name_map(value: dict[str, Any]) -> bool:
    """Whether an object is groups in the form of equation 3: standard name -> synonyms."""
    may_be_empty = not value.keys() & {key for [key] in _WRAPPERS}
    return any(value.values()) and all(
        isinstance(inner, list) and (inner or may_be_empty) and all(isinstance(name, str) for name in inner)
        for inner in value.values()
    )


def _clean(value: Any) -> Any:
    """The value without lone surrogates, which `\\ud800` in JSON brings in."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    return value


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = first["loc"]
    item = f"item {int(place[0]) + 1}" if place and isinstance(place[0], int) else "the answer"
    field = "".join(f", {part!r}" for part in place[1:])
    return f"{item}{field}: {first['msg']}; got {repr(first['input'])[:80]}"
