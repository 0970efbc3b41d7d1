"""One reader a layout: what stands in a file -> rows, each with the place it stands at.

The readers check what they touch and leave the rest to `RowChecker`. Training only: never pushed to the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby, islice
from pathlib import Path
from typing import Any

from ..units_knowfree import split_text
from .labels import Labels, namespaced
from .rows import (
    NAMESPACES,
    WORD_LABEL,
    Line,
    Place,
    Row,
    bad_input,
    check_bounds,
    check_keys,
    parse_json,
    show,
    show_span,
)

JSON_LAYOUTS = ("rows", "tags", "released", "offsets")
PEEK = 1000  # lines or sentences that recognising the layout and the unit looks at

_TAG = re.compile(r"O|[BIEMS](-.+)?", re.DOTALL)
_HAN_OR_KANA = re.compile("[々-〇\u3040-ヿㇰ-ㇿ㐀-䶿一-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")


@dataclass
class Source:
    """A file being read."""

    path: Path
    head: list[str]  # the first lines, to look at
    lines: Iterator[Line]  # all lines, to read once
    unit: str | None
    labels: Labels | None

    def place(self, number: int) -> Place:
        return Place(str(self.path), number)


def unit_of(texts: Iterable[str]) -> str:
    """`"character"` if at least half of the letters are Han or Kana, `"word"` otherwise, Korean included."""
    letters = han_or_kana = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        han_or_kana += len(_HAN_OR_KANA.findall(text))
    return "character" if letters and 2 * han_or_kana >= letters else "word"


# ------------------------------------------------------------------ JSON


def read_json(source: Source, layout: str | None = None) -> Iterator[tuple[Place, Row]]:
    """JSON rows; `layout` is one of `JSON_LAYOUTS`, by default the one that the first entry's keys tell."""
    entries = _json_entries(source)
    head = list(islice(entries, PEEK))
    if not head:
        return
    layout = layout or _json_layout(*head[0])
    unit = source.unit
    if layout == "offsets" and unit is None:
        unit = unit_of(str(entry.get("text")) for _, entry in head if isinstance(entry, dict))
    for place, entry in chain(head, entries):
        match layout:
            case "rows":
                yield place, entry
            case "tags":
                yield place, from_tags(entry, place)
            case "released":
                yield place, _from_released(entry, place, source.labels)
            case "offsets":
                yield place, _from_offsets(entry, place, unit or "word")


def _json_entries(source: Source) -> Iterator[tuple[Place, Any]]:
    first = next(source.lines)
    if first.text.lstrip().startswith("["):
        text = "\n".join([first.text, *(line.text for line in source.lines)])
        for number, entry in enumerate(parse_json(text, source.place(first.number)), start=1):
            yield Place(str(source.path), number, noun="row"), entry
        return
    for line in chain([first], source.lines):
        if line.text.strip():
            place = source.place(line.number)
            yield place, parse_json(line.text, place)


def _json_layout(place: Place, entry: Any) -> str:
    check_keys(entry, (), place)
    if "tokens" in entry:
        return "tags" if "ner_tags" in entry and "entities" not in entry else "rows"
    if "text" in entry:
        return "released" if isinstance(entry["text"], list) else "offsets"
    return "rows"


def from_tags(entry: Any, place: Place, names: Sequence[str] | None = None) -> Row:
    """`tokens` and `ner_tags` -> a row; `names` are the ClassLabel's, where the tags are integers."""
    check_keys(entry, ("tokens", "ner_tags"), place)
    tokens, tags = entry["tokens"], entry["ner_tags"]
    for key, value in (("tokens", tokens), ("ner_tags", tags)):
        if not isinstance(value, list):
            bad_input(place, f"{key} is {show(value)}", allowed="a list", mend="write a list, one item a token")
    if len(tokens) != len(tags):
        left = show(tokens[len(tags) :] or tags[len(tokens) :])
        problem = f"{len(tags)} ner_tags for {len(tokens)} tokens, {left} is left over"
        bad_input(place, problem, allowed=f"{len(tokens)} ner_tags", mend="give each token one tag")
    if names is not None:
        for tag in tags:
            if type(tag) is not int or not 0 <= tag < len(names):
                mend = "use the ids of the ClassLabel's names"
                bad_input(place, f"tag {show(tag)}", allowed=f"an integer from 0 to {len(names) - 1}", mend=mend)
        tags = [names[tag] for tag in tags]
    for tag in tags:
        _check_tag(tag, place)
    return {**entry, "entities": spans_of_tags(tags)}


def _from_released(entry: Any, place: Place, labels: Labels | None) -> Row:
    check_keys(entry, ("text", "entities"), place)
    tokens = list(entry["text"]) if isinstance(entry["text"], str | list) else entry["text"]
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        bad_input(place, f"text is {show(tokens)}", allowed="a list of strings", mend="write text as a list of tokens")
    entities: list[Row] = []
    extensions: dict[tuple[int, int, str], Row] = {}  # the released files repeat some of them
    for start, end, label, stated in _stated_spans(entry, "entities", len(tokens), place, "token"):
        _check_stated(stated, "".join(tokens[start:end]), (start, end, label), place)
        if labels is not None and label not in labels.targets and label not in labels.extensions:
            allowed = ", ".join(map(show, [*labels.targets, *labels.extensions]))
            mend = "give the label file that belongs to this file"
            bad_input(place, f"unknown label {show(label)}", allowed=allowed, mend=mend)
        if label in labels.extensions if labels else str(label).startswith(NAMESPACES):
            label = namespaced(label)
            extensions[start, end, label] = {"start": start, "end": end, "label": label, "source": "released"}
        else:
            entities.append({"start": start, "end": end, "label": label})
    row = {**entry, "tokens": tokens, "entities": entities, "extensions": list(extensions.values()) or None}
    if row.get("synthetic") in (0, 1):
        row["synthetic"] = bool(row["synthetic"])
    return row


def _from_offsets(entry: Any, place: Place, unit: str) -> Row:
    key = "spans" if isinstance(entry, dict) and "spans" in entry and "entities" not in entry else "entities"
    check_keys(entry, ("text", key), place)
    text = entry["text"]
    if not isinstance(text, str):
        bad_input(place, f"text is {show(text)}", allowed="a string", mend="write the sentence as one string")
    units = split_text(text, unit)
    unit_of_start = {start: index for index, (start, _) in enumerate(units)}
    unit_of_end = {end: index for index, (_, end) in enumerate(units)}
    entities = []
    for start, end, label, stated in _stated_spans(entry, key, len(text), place, "character"):
        _check_stated(stated, text[start:end], (start, end, label), place)
        if start not in unit_of_start or end not in unit_of_end:
            cut = f"{show_span(start, end, label)} {show(text[start:end])}"
            problem = f"span {cut} cuts a {unit} or has white space at its edge"
            near = [show(text[a:b]) + f" [{a}, {b})" for a, b in units if a < end and start < b]
            allowed = f"borders of {unit}s: {', '.join(near) or 'no ' + unit + ' is there'}"
            bad_input(place, problem, allowed=allowed, mend="move the span to such borders, or use character units")
        entities.append({"start": unit_of_start[start], "end": unit_of_end[end] + 1, "label": label})
    tokens = [text[start:end] for start, end in units]
    return {"id": entry.get("id"), "tokens": tokens, "entities": entities}


def _stated_spans(entry: Row, key: str, length: int, place: Place, unit: str) -> Iterator[tuple[int, int, Any, Any]]:
    """Start, end, label and stated text of each span, the borders checked."""
    if not isinstance(entry[key], list):
        mend = f'write "{key}": [] for a sentence without any'
        bad_input(place, f"{key} is {show(entry[key])}", allowed="a list of spans", mend=mend)
    for span in entry[key]:
        label_key = "label" if isinstance(span, dict) and "label" in span else "entity"
        if not isinstance(span, dict) or not {"start", "end", label_key} <= span.keys():
            allowed = '{"start": int, "end": int, "label": str}'
            bad_input(place, f"{key} holds {show(span)}", allowed=allowed, mend="give each span these three keys")
        check_bounds(span["start"], span["end"], span[label_key], length, place, unit)
        yield span["start"], span["end"], span[label_key], span.get("text")


def _check_stated(stated: Any, found: str, span: tuple[int, int, Any], place: Place) -> None:
    if stated is None:
        return
    text = "".join(map(str, stated)) if isinstance(stated, list) else str(stated)
    if "".join(text.split()) != "".join(found.split()):
        problem = f"span {show_span(*span)} cuts out {show(found)}, its text is {show(text)}"
        bad_input(place, problem, allowed="a span that cuts out its text", mend="count from 0, end exclusive")


# ------------------------------------------------------------------ text


def spans_of_tags(tags: Sequence[str]) -> list[Row]:
    """BIO, BIOES or BMES tags -> spans. B and S open a span, E and S close it; I, M and E continue an open span of
    their own type and open one otherwise (after O, or after another type). A tag without a type is `WORD`."""
    spans: list[Row] = []
    is_open = False
    for index, tag in enumerate(tags):
        prefix, label = tag[0], tag[2:] or WORD_LABEL
        if prefix == "O":
            is_open = False
            continue
        if prefix in "IME" and is_open and spans[-1]["label"] == label:
            spans[-1]["end"] = index + 1
        else:
            spans.append({"start": index, "end": index + 1, "label": label})
        is_open = prefix in "BIM"
    return spans


def _check_tag(tag: Any, place: Place) -> None:
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        allowed = "O, or B-, I-, E-, M- or S- and a label"
        bad_input(place, f"tag {show(tag)}", allowed=allowed, mend="write the tag as one of these, such as B-PER")


def read_columns(source: Source) -> Iterator[tuple[Place, Row]]:
    """CoNLL columns -> rows; -DOCSTART- lines and remarks (`# id 7`) are left out."""
    tag_column = 0 if tag_column_of(source.head) == 0 else -1
    token_column = 0 if tag_column else 1
    tokens: list[str] = []
    tags: list[str] = []
    first = 0
    known: set[str] = set()  # tags found good: most lines of a file need no second look
    for number, text in chain(source.lines, [Line(0, "")]):  # a blank line ends the last sentence too
        columns = _columns(text)
        tag = columns[tag_column].strip() if len(columns) > 1 else ""
        if tag not in known or columns[0] == "-DOCSTART-":
            if not text.strip():
                if tokens:
                    yield source.place(first), {"tokens": tokens, "entities": spans_of_tags(tags)}
                tokens, tags = [], []
                continue
            if _is_remark(columns, tag_column):
                continue
            if not tag:
                mend = "give each token one tag, and put a blank line between sentences"
                bad_input(source.place(number), f"no tag in {show(text)}", allowed="a token and a tag", mend=mend)
            _check_tag(tag, source.place(number))
            known.add(tag)
        token = columns[token_column]
        if not token:
            mend = "take the line out"
            bad_input(source.place(number), "the token is empty, ''", allowed="a token and a tag", mend=mend)
        if not tokens:
            first = number
        tokens.append(token)
        tags.append(tag)


def _columns(text: str) -> list[str]:
    if "\t" in text:
        return text.split("\t")
    columns = [column for column in text.split(" ") if column]
    return [" ", *columns] if text.startswith(" ") and len(columns) == 1 else columns  # the token is a space


def _is_remark(columns: Sequence[str], tag_column: int) -> bool:
    is_tag = len(columns) > 1 and _TAG.fullmatch(columns[tag_column].strip())
    return columns[0] == "-DOCSTART-" or (columns[0].startswith("#") and not is_tag)


def tag_column_of(head: Iterable[str]) -> int | None:
    """Which column, -1 or 0, has a tag in at least half of the lines; None if neither has."""
    rows = [_columns(text) for text in head if text.strip()]
    rows = [columns for columns in rows if not _is_remark(columns, -1) or not _is_remark(columns, 0)]
    tags = {
        column: sum(len(columns) > 1 and bool(_TAG.fullmatch(columns[column].strip())) for columns in rows)
        for column in (-1, 0)
    }
    column = max(tags, key=tags.__getitem__)  # the last one if they are even
    return column if rows and 2 * tags[column] >= len(rows) else None


def read_conllu(source: Source) -> Iterator[tuple[Place, Row]]:
    """CoNLL-U -> rows, by the `conllu` library: syntactic words with their UPOS tags."""
    sentences = _conllu_sentences(source)
    head = list(islice(sentences, PEEK))
    unit = source.unit or unit_of(form for _, _, forms, _ in head for form in forms)
    for place, row_id, forms, tags in chain(head, sentences):
        yield place, {"id": row_id, **_row_of_words(forms, tags, unit)}


def _conllu_sentences(source: Source) -> Iterator[tuple[Place, str | None, list[str], list[str]]]:
    import conllu

    for number, block in _blocks(source.lines):
        place = source.place(number)
        try:
            parsed = conllu.parse(block)
        except conllu.exceptions.ParseException as error:
            bad_input(place, str(error), allowed="ten columns separated by tabs", mend="correct this sentence")
        for sentence in parsed:
            words = [token for token in sentence if isinstance(token["id"], int)]  # no 1-2 ranges, no 8.1 empty nodes
            for word in words:
                if not word["form"] or word["upos"] in (None, "", "_"):
                    problem = f"word {word['id']} {show(word['form'])} has UPOS {show(word['upos'])}"
                    bad_input(place, problem, allowed="a form and a UPOS tag", mend="fill in both columns")
            row_id = sentence.metadata.get("sent_id")
            if words:  # a block may be remarks alone
                yield place, row_id, [word["form"] for word in words], [word["upos"] for word in words]


def _blocks(lines: Iterable[Line]) -> Iterator[tuple[int, str]]:
    """Runs of lines that are not blank, with the number of their first."""
    for blank, block in groupby(lines, key=lambda line: not line.text.strip()):
        if not blank:
            run = list(block)
            yield run[0].number, "\n".join(line.text for line in run) + "\n\n"


def read_pos(source: Source) -> Iterator[tuple[Place, Row]]:
    """`word/TAG` or `word_TAG`, separated by white space, a sentence a line -> rows."""
    separator = pos_separator_of(source.head) or "/"
    words_of_head = (field.rpartition(separator)[0] for text in source.head for field in text.split())
    unit = source.unit or unit_of(words_of_head)
    for line in source.lines:
        words, tags = [], []
        for field in line.text.split():
            word, _, tag = field.rpartition(separator)
            if not word or not tag:
                place = source.place(line.number)
                allowed = f"word{separator}TAG"
                bad_input(place, f"{show(field)} has no tag", allowed=allowed, mend=f"write it as {allowed}")
            words.append(word)
            tags.append(tag)
        if words:
            yield source.place(line.number), _row_of_words(words, tags, unit)


def pos_separator_of(head: Iterable[str]) -> str | None:
    """`/` or `_`, whichever separates a word from a tag in more fields, at least half of them; None if neither does."""
    fields = [field for text in head for field in text.split()]
    tagged = {mark: sum(all(field.rpartition(mark)) for field in fields) for mark in "/_"}
    mark = max(tagged, key=tagged.__getitem__)
    return mark if fields and 2 * tagged[mark] >= len(fields) else None


def read_segmentation(source: Source) -> Iterator[tuple[Place, Row]]:
    """Words separated by white space, a sentence a line -> rows of characters, each word a span `WORD`."""
    if (source.unit or unit_of(source.head)) != "character":
        problem = f"word units, and the first line is {show(source.head[0])}"
        mend = "ask for unit character, or for another format"
        bad_input(source.path, problem, allowed="segmentation of text that is counted in characters", mend=mend)
    for line in source.lines:
        words = line.text.split()
        if words:
            yield source.place(line.number), _row_of_words(words, [WORD_LABEL] * len(words), "character")


def _row_of_words(words: Sequence[str], labels: Sequence[str], unit: str) -> Row:
    lengths = [len(word) if unit == "character" else 1 for word in words]
    ends = list(accumulate(lengths))
    entities = [
        {"start": end - length, "end": end, "label": label}
        for end, length, label in zip(ends, lengths, labels, strict=True)
    ]
    return {"tokens": list("".join(words)) if unit == "character" else list(words), "entities": entities}
