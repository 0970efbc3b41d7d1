"""CoNLL-U, by the `conllu` library: named entities in MISC (`NER=B-PER`) where it has them, else the UPOS tags.

Entities are also what a key of another name holds (`name=B-PER` in NorNE and DaNE), in MISC or FEATS.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ..lines import Line
from ..rows import InputError, Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each, unit_of
from .columns import GLOBAL_COLUMNS, is_chunks
from .schemes import Scheme, looks_like_tags, need_scheme, read_tags, scheme_of
from .words import row_of_words

_FIRST = re.compile(r"1(-\d+)?\t([^\t]*\t){8}[^\t]*")
_KEYS = ("NER", "ner", "NE", "Ner")


class Sentence(NamedTuple):
    row_id: str | None
    words: list[Any]


def detect(file: File) -> Guess | None:
    first = next((text for text in file.first_lines if not text.startswith("#")), "")
    named = next((text for text in file.first_lines if text.startswith(GLOBAL_COLUMNS)), "")
    if len(named.split()) - len(GLOBAL_COLUMNS.split()) > 10:
        return None  # CoNLL-U Plus
    if _FIRST.fullmatch(first):
        return Guess(0.95, "ten columns by tabs, words numbered")
    return Guess(0.9, "the suffix .conllu") if file.suffix == ".conllu" else None


def read(file: File, options: Options) -> Placed:
    sentences = list(_sentences(file))
    good = [sentence for _, sentence in sentences if isinstance(sentence, Sentence)]
    keys = _keys(good, file, options)
    tags = Counter(tag for sentence in good for word in sentence.words if (tag := _entity_tag(word, keys)))
    if tags and options.task != "pos":
        if keys[0] not in _KEYS:
            options.told.add(f"words have their entities in {keys[0]}", count=tags.total())
        scheme = need_scheme(scheme_of(tags, named=options.scheme), file.place())

        def with_entities(sentence: Sentence, place: Place) -> Row:
            tags = [_entity_tag(word, keys) or "O" for word in sentence.words]
            entities = read_tags(scheme, tags, place, options.told)
            tokens = [word["form"] for word in sentence.words]
            return {"id": sentence.row_id, "tokens": tokens, "entities": entities}

        return each(sentences, with_entities)
    if options.task in ("ner", "nested_ner") or options.tag_column is not None:
        problem = f"no word has its entity in {options.tag_column or 'MISC, as in NER=B-PER'}"
        mend = "name the key that holds the tags: --tag_column name; or train with --task pos"
        bad_input(file.place(), problem, allowed="sentences with entities", mend=mend)
    if options.task != "pos":
        found = sorted({key for sentence in good for word in sentence.words for key in word.get("misc") or ()})
        options.told.add(
            "words have no NER= in MISC: the labels are their parts of speech",
            f"MISC has {', '.join(found)}" if found else "",
            sum(len(sentence.words) for sentence in good),
        )
    unit = options.unit or unit_of(str(word["form"]) for sentence in good for word in sentence.words)

    def with_parts_of_speech(sentence: Sentence, place: Place) -> Row:
        for word in sentence.words:
            if word["upos"] in (None, "", "_"):
                problem = f"word {word['id']} {show(word['form'])} has UPOS {show(word['upos'])}"
                bad_input(place, problem, allowed="a form and a UPOS tag", mend="fill in both columns")
        forms = [word["form"] for word in sentence.words]
        return {"id": sentence.row_id, **row_of_words(forms, [word["upos"] for word in sentence.words], unit)}

    return each(sentences, with_parts_of_speech)


def _entity_tag(word: Any, keys: Sequence[str]) -> str | None:
    said = _said(word)
    return next((said[key] for key in keys if said.get(key)), None)


def _said(word: Any) -> dict[str, str | None]:
    return {**(word.get("feats") or {}), **(word.get("misc") or {})}


def _keys(sentences: Sequence[Sentence], file: File, options: Options) -> Sequence[str]:
    """The keys that hold entities: the one asked for, or the usual ones, or the one whose values are tags."""
    if options.tag_column is not None:
        return (options.tag_column,)
    values: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for word in sentence.words:
            for key, value in _said(word).items():
                if value:
                    values[key][value] += 1
    if options.task == "pos" or not values.keys().isdisjoint(_KEYS):
        return _KEYS
    found = [key for key, tags in values.items() if tags.keys() == {"O"} or _have_positions(tags)]
    if len(found) > 1:
        mend = f"name the one that counts: --tag_column {found[0]}"
        bad_input(file.place(), f"several keys hold tags: {', '.join(found)}", allowed="one", mend=mend)
    return found or _KEYS


def _have_positions(tags: Counter[str]) -> bool:
    scheme = scheme_of(tags)
    positioned = isinstance(scheme, Scheme) and scheme.name in ("bio", "bioes", "suffix")
    return positioned and looks_like_tags(tags) and any(len(tag) > 2 for tag in tags) and not is_chunks(tags)


def _sentences(file: File) -> Iterator[tuple[Place, Sentence | InputError]]:
    import conllu

    for number, block in _blocks(file.lines()):
        place = file.place(number)
        try:
            parsed = conllu.parse(block)
        except conllu.exceptions.ParseException as error:
            allowed = "ten columns separated by tabs"
            yield place, InputError(f"{place}: {error}; allowed: {allowed}; mend: correct this sentence")
            continue
        for sentence in parsed:
            words = [token for token in sentence if isinstance(token["id"], int)]  # no 1-2 ranges, no 8.1 empty nodes
            if words:  # a block may be remarks alone
                yield place, _checked(Sentence(sentence.metadata.get("sent_id"), words), place)


def _checked(sentence: Sentence, place: Place) -> Sentence | InputError:
    for at, word in enumerate(sentence.words, start=1):
        if word["id"] != at or not word["form"] or len(word) < 10:
            problem = f"word {word['id']} {show(word['form'])} is number {at}, with {len(word)} columns"
            allowed = "words numbered from 1 and ten columns separated by tabs"
            return InputError(f"{place}: {problem}; allowed: {allowed}; mend: correct this sentence")
    return sentence


def _blocks(lines: Iterable[Line]) -> Iterator[tuple[int, str]]:
    """Runs of lines that are not blank, with the number of their first."""
    for blank, block in groupby(lines, key=lambda line: not line.text.strip()):
        if not blank:
            run = list(block)
            yield run[0].number, "\n".join(line.text for line in run) + "\n\n"


FORMAT = Format(
    name="conllu",
    tool="Universal Dependencies, sets built on them",
    recognised="ten columns by tabs, words numbered from 1",
    trap="ranges (4-5) are no words; NER= in MISC counts, or another key with tags, except for task pos",
    detect=detect,
    read=read,
    aliases=("conllu-ner",),
)
