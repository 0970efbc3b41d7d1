"""Sentences of tokens that are objects, each with its word and its tag: spaCy's JSON, CoreNLP's output, Stanza's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from ..rows import InputError, Place, Row, bad_input, check_bounds, show
from .base import File, Format, Guess, Options, Placed, attempt, each
from .schemes import need_scheme, read_tags, scheme_of

WORDS = ("orth", "originalText", "word", "text", "form")  # CoreNLP's `word` writes a bracket as -LRB-
TAGS = ("ner", "upos", "tag", "pos")
HOLDERS = frozenset(("paragraphs", "sentences", "tokens"))
MOST_DEPTH = 6
UNKNOWN = "-"  # spaCy's: nobody looked at this token
_ALLOWED = 'tokens such as {"orth": "Rome", "ner": "U-LOC"}'


class Sentence(NamedTuple):
    """A sentence's tokens and, where it is CoreNLP's, its entities."""

    tokens: list[dict]
    mentions: list[Any] | None


def _sentences(entry: Any, depth: int = 0) -> list[Sentence]:
    """The sentences of an entry; none where it is no such document."""
    if depth == MOST_DEPTH:
        return []
    if isinstance(entry, list):
        if _are_tokens(entry):
            return [Sentence(entry, None)]
        return [one for below in entry for one in _sentences(below, depth + 1)]
    if not isinstance(entry, dict):
        return []
    for key in ("paragraphs", "sentences"):
        if isinstance(entry.get(key), list):
            return [sentence for below in entry[key] for sentence in _sentences(below, depth + 1)]
    tokens: Any = entry.get("tokens")
    mentions = entry.get("entitymentions")
    return [Sentence(tokens, mentions if isinstance(mentions, list) else None)] if _are_tokens(tokens) else []


def _needed(entry: Any, place: Place, options: Options) -> list[Sentence]:
    found = _sentences(entry)
    if not found:
        held = entry if isinstance(entry, dict) else {}
        lists = [entry] if isinstance(entry, list) else [held[key] for key in sorted(HOLDERS) if key in held]
        if lists and not any(lists):
            options.told.add("documents without sentences left out", str(place))
            return []
        mend = "give each token its word"
        bad_input(place, f"no tokens with words in {show(entry)}", allowed=_ALLOWED, mend=mend)
    return found


def _words_of(tokens: list[dict], key: str) -> list[dict]:
    """Tokens that each are one word: of Stanza's ranges (`"id": [4, 5]`) and the words that these are made of, the
    ranges for `ner`, which stands on them alone, else the words."""
    if key != "ner":
        return [token for token in tokens if not _is_range(token)]
    ranges = [token["id"] for token in tokens if _is_range(token)]
    return [token for token in tokens if _is_range(token) or not _is_part(token.get("id"), ranges)]


def _is_range(token: dict) -> bool:
    ids = token.get("id")
    return isinstance(ids, list) and len(ids) == 2 and all(type(one) is int for one in ids) and ids[0] < ids[1]


def _is_part(number: Any, ranges: Sequence[list[int]]) -> bool:
    return type(number) is int and any(first <= number <= last for first, last in ranges)


def _are_tokens(value: Any) -> bool:
    """Whether a list is a sentence: of objects that hold no others, one with a word at least."""
    if not isinstance(value, list) or not all(isinstance(one, dict) and HOLDERS.isdisjoint(one) for one in value):
        return False
    return any(map(_word_key, value))


def _word_key(token: dict) -> str | None:
    return next((key for key in WORDS if isinstance(token.get(key), str) and token[key]), None)


def detect(file: File) -> Guess | None:
    sentences = [sentence for entry in file.sample for sentence in _sentences(entry)]
    if not any("ner" in token for sentence in sentences for token in sentence.tokens):
        return None
    return Guess(0.9, "sentences whose tokens are objects with a word and ner")


def read(file: File, options: Options) -> Placed:
    placed: list[tuple[Place, Sentence | InputError]] = []
    for place, entry in file.entries:
        found = entry if isinstance(entry, InputError) else attempt(_needed, entry, place, options)
        if isinstance(found, InputError):
            placed.append((place, found))
        else:
            placed += [(file.place(len(placed) + at, "sentence"), one) for at, one in enumerate(found, start=1)]
    sentences = [sentence for _, sentence in placed if isinstance(sentence, Sentence)]
    key = _tag_key(sentences, options, file)
    told = (token.get(key) for sentence in sentences for token in _words_of(sentence.tokens, key))
    counts = Counter(tag for tag in told if isinstance(tag, str))
    counts.pop(UNKNOWN, None)
    scheme = scheme_of(counts, named=options.scheme, task=options.task)

    def row(sentence: Sentence, place: Place) -> Row | None:
        words = _words_of(sentence.tokens, key)
        tags: list[Any] = [word.get(key) for word in words]
        if (bare := next((token for token in words if _word_key(token) is None), None)) is not None:
            bad_input(place, f"a token has no word: {show(bare)}", allowed=_ALLOWED, mend="give each token its word")
        tokens = [token[_word_key(token)] for token in words]
        if key == "ner" and UNKNOWN in tags:
            options.told.add(f"sentences with tokens that nobody tagged ({UNKNOWN}) left out", show(" ".join(tokens)))
            return None
        if None in tags:
            problem = f"token {show(tokens[tags.index(None)])} has no {key}"
            bad_input(place, problem, allowed=_ALLOWED, mend="write O where there is none")
        if sentence.mentions is None or key != "ner":
            return {"tokens": tokens, "entities": read_tags(need_scheme(scheme, place), tags, place, options.told)}
        return {"tokens": tokens, "entities": list(_mentioned(sentence.mentions, tags, place, options))}

    return each(placed, row)


def _tag_key(sentences: Sequence[Sentence], options: Options, file: File) -> str:
    present = set(chain.from_iterable(token for sentence in sentences for token in sentence.tokens))
    wanted = options.tag_column or next((key for key in TAGS[options.task == "pos" :] if key in present), TAGS[0])
    if options.tag_column is not None and wanted not in present:
        allowed = ", ".join(sorted(present))
        bad_input(file.place(), f"--tag_column {wanted}", allowed=allowed, mend="name one of these keys")
    return wanted


def _mentioned(mentions: list[Any], tags: Sequence[str], place: Place, options: Options) -> Iterator[Row]:
    """CoreNLP's entities: unlike its tags they part neighbours. Pronouns are among them, whose tokens have no tag."""
    for mention in mentions:
        keys = ("tokenBegin", "tokenEnd", "ner")
        if not isinstance(mention, dict) or any(key not in mention for key in keys):
            allowed = ", ".join(keys)
            bad_input(place, f"entitymentions holds {show(mention)}", allowed=allowed, mend="export it with CoreNLP")
        start, end, label = (mention[key] for key in keys)
        check_bounds(start, end, label, len(tags), place)
        if any(tag != label for tag in tags[start:end]):
            options.told.add("mentions whose tokens have another tag (pronouns) left out", show(mention.get("text")))
            continue
        yield {"start": start, "end": end, "label": label}


FORMAT = Format(
    name="token-json",
    tool="spaCy 2 and 3 (JSON of `spacy convert`), CoreNLP, Stanza",
    recognised="sentences whose `tokens` are objects with `ner` and `orth`, `word` or `text`",
    trap="CoreNLP's mentions part neighbours as its tags do not, and hold pronouns; spaCy's - is no O",
    detect=detect,
    read=read,
    aliases=("spacy-json", "corenlp", "stanza"),
)
