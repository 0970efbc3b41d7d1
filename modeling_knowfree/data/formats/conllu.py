"""CoNLL-U, by the `conllu` library: named entities in MISC (`NER=B-PER`) where it has them, else the UPOS tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from ..rows import InputError, Line, Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each, unit_of
from .schemes import need_scheme, read_tags, scheme_of
from .words import row_of_words

_FIRST = re.compile(r"1(-\d+)?\t([^\t]*\t){8}[^\t]*")
_KEYS = ("NER", "ner", "NE", "Ner")


class Sentence(NamedTuple):
    row_id: str | None
    words: list[Any]


def detect(file: File) -> Guess | None:
    first = next((text for text in file.first_lines if not text.startswith("#")), "")
    if _FIRST.fullmatch(first):
        return Guess(0.95, "ten columns by tabs, words numbered")
    return Guess(0.9, "the suffix .conllu") if file.suffix == ".conllu" else None


def read(file: File, options: Options) -> Placed:
    sentences = list(_sentences(file))
    good = [sentence for _, sentence in sentences if isinstance(sentence, Sentence)]
    tags = Counter(tag for sentence in good for word in sentence.words if (tag := _entity_tag(word)))
    if tags and options.task != "pos":
        scheme = need_scheme(scheme_of(tags, named=options.scheme), file.place())

        def with_entities(sentence: Sentence, place: Place) -> Row:
            tags = [_entity_tag(word) or "O" for word in sentence.words]
            entities = read_tags(scheme, tags, place, options.told)
            tokens = [word["form"] for word in sentence.words]
            return {"id": sentence.row_id, "tokens": tokens, "entities": entities}

        return each(sentences, with_entities)
    if options.task != "pos":
        keys = sorted({key for sentence in good for word in sentence.words for key in word.get("misc") or ()})
        options.told.add(
            "words have no NER= in MISC: the labels are their parts of speech",
            f"MISC has {', '.join(keys)}" if keys else "",
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


def _entity_tag(word: Any) -> str | None:
    misc = word.get("misc") or {}
    return next((misc[key] for key in _KEYS if misc.get(key)), None)


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
    trap="ranges (4-5) are no words; NER= in MISC counts, except for task pos",
    detect=detect,
    read=read,
    aliases=("conllu-ner",),
)
