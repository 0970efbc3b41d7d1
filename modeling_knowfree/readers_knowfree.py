"""Files and Hub data sets -> rows (`rows_knowfree.py`). One reader a layout; each row is checked where it is read, so
an error names the line of the file.

| layout | what it is |
| --- | --- |
| rows | JSON with `tokens` and `entities`: ours |
| tags | JSON with `tokens` and `ner_tags` (strings) |
| released | JSON of the authors' data: `text` a list of tokens, `entities` with `start`, `end`, `entity` |
| offsets | JSON with `text` a string and `entities` (or `spans`) counted in characters, `end` exclusive |
| columns | CoNLL columns, token first and tag last (or tag first): BIO, BIOES, BMES; blank lines between sentences |
| conllu | CoNLL-U; the target labels are the UPOS tags of the words |
| pos | a sentence a line, `word/TAG` or `word_TAG` |
| segmentation | a sentence a line, `word word`; each word becomes a span `WORD` |

JSON is one object a line, or one array. Training only: this file is never pushed to the Hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, dropwhile, groupby, islice
from pathlib import Path
from typing import Any

from .labels_knowfree import WORD_LABEL, Labels, namespaced, read_labels
from .rows_knowfree import (
    A_ROW,
    JSON_SUFFIXES,
    NAMESPACES,
    InputError,
    Line,
    Place,
    Row,
    RowChecker,
    bad_input,
    check_bounds,
    check_keys,
    check_rows,
    no_rows,
    parse_json,
    read_lines,
    show,
    show_span,
    write_rows,
)

__all__ = ["InputError", "check_rows", "iterate_rows", "read_dataset", "read_labels", "read_rows", "write_rows"]

JSON_LAYOUTS = ("rows", "tags", "released", "offsets")
LAYOUTS = (*JSON_LAYOUTS, "columns", "conllu", "pos", "segmentation")
UNITS = ("character", "word")

_PEEK = 1000  # lines (or JSON entries) that recognising the layout and the unit looks at
_COLUMN_SUFFIXES = (".bio", ".bioes", ".bmes", ".conll", ".iob", ".iob2")
_TAG = re.compile(r"O|[BIEMS](-.+)?", re.DOTALL)
_HAN_OR_KANA = re.compile("[々-〇\u3040-ヿㇰ-ㇿ㐀-䶿一-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")


def read_rows(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    unit: str | None = None,
    label_file: str | os.PathLike[str] | None = None,
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> list[Row]:
    """Reads a file in any layout of this module into rows; the layout is recognised by suffix and content.

    `format` names the layout instead, one of `LAYOUTS`. `unit`, `"character"` or `"word"`, says what the tokens shall
    be where the file holds words or running text (offsets, conllu, pos, segmentation); by default character if at
    least half of the letters are Han or Kana, else word. In characters a word becomes a span over its characters.
    `label_file` is a released label file: what is no target in it goes to `extensions` (released layout only).
    `flat` and `labels` as in `check_rows`.

    A byte order mark, CRLF and blank lines do no harm. A row without an id gets `<file stem>-<line>`.

    Raises InputError for a file that cannot be read, is in no known layout, has no rows, or has a bad one.
    """
    return list(iterate_rows(path, format=format, unit=unit, label_file=label_file, flat=flat, labels=labels))


def iterate_rows(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    unit: str | None = None,
    label_file: str | os.PathLike[str] | None = None,
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> Iterator[Row]:
    """`read_rows` one row at a time, in constant memory; an error comes when its row is reached."""
    path = Path(path)
    for name, value, allowed in (("format", format, LAYOUTS), ("unit", unit, UNITS)):
        if value is not None and value not in allowed:
            bad_input(path, f"{name} is {show(value)}", allowed=", ".join(allowed), mend=f"name one of these as {name}")
    lines = dropwhile(lambda line: not line.text.strip(), read_lines(path))
    head = list(islice(lines, _PEEK))
    if not head:
        no_rows(path)
    source = _Source(
        path=path,
        head=[line.text for line in head],
        lines=chain(head, lines),
        unit=unit,
        labels=None if label_file is None else read_labels(label_file),
    )
    layout = format or _recognise(source)
    readers = {"columns": _read_columns, "conllu": _read_conllu, "pos": _read_pos, "segmentation": _read_segmentation}
    placed_rows = readers[layout](source) if layout in readers else _read_json(source, format)
    check = RowChecker(flat=flat, labels=labels)
    found = False
    for place, row in placed_rows:
        yield _checked(row, place, check, default_id=f"{path.stem}-{place.number}")
        found = True
    if not found:
        no_rows(path)


def read_dataset(
    split: Iterable[Mapping[str, Any]],
    *,
    name: str = "data set",
    flat: bool | None = None,
    labels: Iterable[str] | None = None,
) -> list[Row]:
    """Reads one split of a Hub data set (`datasets.Dataset` or `IterableDataset`) into rows.

    The columns are ours (`tokens`, `entities`, ...), or `tokens` and `ner_tags`: BIO, BIOES or BMES tags, either
    strings or a ClassLabel with such names. `name` stands for the split in errors. `flat` and `labels` as in
    `check_rows`.

    Raises InputError at the first bad row, or if there is none at all.
    """
    features = getattr(split, "features", None) or {}
    tag_names = getattr(getattr(features.get("ner_tags"), "feature", None), "names", None)
    check = RowChecker(flat=flat, labels=labels)
    rows = []
    for number, entry in enumerate(split, start=1):
        place = Place(name, number, noun="row")
        if "entities" in entry or "ner_tags" not in entry:
            row = {key: _list_of_structs(value) for key, value in entry.items()}
        else:
            row = _from_tags(entry, place, tag_names)
        rows.append(_checked(row, place, check, default_id=str(number)))
    if not rows:
        no_rows(name)
    return rows


# ------------------------------------------------------------------ layouts and units


@dataclass
class _Source:
    path: Path
    head: list[str]  # the first lines, to look at
    lines: Iterator[Line]  # all lines, to read once
    unit: str | None
    labels: Labels | None

    def place(self, number: int) -> Place:
        return Place(str(self.path), number)


def _recognise(source: _Source) -> str:
    suffix = source.path.suffix.lower()
    first = next((text for text in source.head if not text.startswith("#")), "")
    if suffix in JSON_SUFFIXES:
        return "json"
    if suffix == ".conllu" or re.match(r"1(-\d+)?\t([^\t]*\t){8}[^\t]*$", first):
        return "conllu"
    if suffix in _COLUMN_SUFFIXES or _tag_column(source.head) is not None:
        return "columns"
    if first.lstrip()[:1] in ("{", "["):
        return "json"
    if _pos_separator(source.head) is not None:
        return "pos"
    if (source.unit or _unit_of(source.head)) == "character":
        return "segmentation"
    problem = f"in no known layout, the first line is {show(source.head[0])}"
    bad_input(source.place(1), problem, allowed=", ".join(LAYOUTS), mend=f"write one sentence a line: {A_ROW}")


def _unit_of(texts: Iterable[str]) -> str:
    letters = han_or_kana = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        han_or_kana += len(_HAN_OR_KANA.findall(text))
    return "character" if letters and 2 * han_or_kana >= letters else "word"


def _checked(row: Row, place: Place, check: RowChecker, *, default_id: str) -> Row:
    """`row` with the contract's keys alone, after `check`."""
    if isinstance(row, dict) and type(row.get("id")) is int:
        row["id"] = str(row["id"])
    check(row, place)
    clean: Row = {
        "id": default_id if row.get("id") is None else row["id"],
        "tokens": list(row["tokens"]),
        "entities": [{key: span[key] for key in ("start", "end", "label")} for span in row["entities"]],
    }
    if row.get("extensions") is not None:
        keys = ("start", "end", "label", "source")
        clean["extensions"] = [{key: span.get(key) for key in keys} for span in row["extensions"]]
    clean.update((key, row[key]) for key in ("synthetic", "parent_id") if row.get(key) is not None)
    return clean


# ------------------------------------------------------------------ JSON


def _read_json(source: _Source, layout: str | None) -> Iterator[tuple[Place, Row]]:
    entries = _json_entries(source)
    head = list(islice(entries, _PEEK))
    if not head:
        return
    layout = layout or _json_layout(*head[0])
    unit = source.unit
    if layout == "offsets" and unit is None:
        unit = _unit_of(str(entry.get("text")) for _, entry in head if isinstance(entry, dict))
    for place, entry in chain(head, entries):
        match layout:
            case "rows":
                yield place, entry
            case "tags":
                yield place, _from_tags(entry, place)
            case "released":
                yield place, _from_released(entry, place, source.labels)
            case "offsets":
                yield place, _from_offsets(entry, place, unit or "word")


def _json_entries(source: _Source) -> Iterator[tuple[Place, Any]]:
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


def _from_tags(entry: Any, place: Place, names: Sequence[str] | None = None) -> Row:
    """`names` are the ClassLabel's, where the tags are integers."""
    check_keys(entry, ("tokens", "ner_tags"), place)
    tokens, tags = entry["tokens"], entry["ner_tags"]
    for key, value in (("tokens", tokens), ("ner_tags", tags)):
        if not isinstance(value, list):
            bad_input(place, f"{key} is {show(value)}", allowed="a list", mend="write a list, one item a token")
    if len(tokens) != len(tags):
        problem = (
            f"{len(tags)} ner_tags for {len(tokens)} tokens, {show(tokens[len(tags) :] or tags[len(tokens) :])} is left"
        )
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
            span = {"start": start, "end": end, "label": namespaced(label), "source": "released"}
            extensions[start, end, span["label"]] = span
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
    units = _split_text(text, unit)
    unit_of_start = {start: index for index, (start, _) in enumerate(units)}
    unit_of_end = {end: index for index, (_, end) in enumerate(units)}
    entities = []
    for start, end, label, stated in _stated_spans(entry, key, len(text), place, "character"):
        _check_stated(stated, text[start:end], (start, end, label), place)
        if start not in unit_of_start or end not in unit_of_end:
            problem = (
                f"span {show_span(start, end, label)} {show(text[start:end])} cuts a {unit} or ends in white space"
            )
            near = [show(text[a:b]) + f" [{a}, {b})" for a, b in units if a < end and start < b]
            allowed = f"borders of {unit}s: {', '.join(near) or 'no ' + unit + ' is there'}"
            bad_input(place, problem, allowed=allowed, mend="move the span to such borders, or use character units")
        entities.append({"start": unit_of_start[start], "end": unit_of_end[end] + 1, "label": label})
    return {**entry, "tokens": [text[start:end] for start, end in units], "entities": entities}


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


def _list_of_structs(value: Any) -> Any:
    """Older data sets store a list of structs as a struct of lists."""
    if isinstance(value, Mapping) and all(isinstance(column, list) for column in value.values()):
        return [dict(zip(value, items, strict=True)) for items in zip(*value.values(), strict=True)]
    return value


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


def _read_columns(source: _Source) -> Iterator[tuple[Place, Row]]:
    tag_column = _tag_column(source.head)
    if tag_column is None:
        tag_column = -1
    tokens: list[str] = []
    tags: list[str] = []
    first = 1
    for line in chain(source.lines, [Line(0, "")]):  # a blank line ends the last sentence too
        if not line.text.strip():
            if tokens:
                yield source.place(first), {"tokens": tokens, "entities": spans_of_tags(tags)}
            tokens, tags = [], []
            continue
        columns = _columns(line.text)
        if _is_remark(columns, tag_column):
            continue
        place = source.place(line.number)
        if len(columns) < 2:
            mend = "give each token one tag, and put a blank line between sentences"
            bad_input(place, f"one column, {show(line.text)}", allowed="a token and a tag", mend=mend)
        token, tag = columns[0 if tag_column else 1], columns[tag_column].strip()
        _check_tag(tag, place)
        if not token:
            bad_input(place, "the token is empty, ''", allowed="a token and a tag", mend="take the line out")
        if not tokens:
            first = line.number
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


def _tag_column(head: Iterable[str]) -> int | None:
    """-1 or 0, the column in which at least half of the lines have a tag; None if there is no such column."""
    rows = [_columns(text) for text in head if text.strip()]
    rows = [columns for columns in rows if not _is_remark(columns, -1) or not _is_remark(columns, 0)]
    tags = {
        column: sum(len(columns) > 1 and bool(_TAG.fullmatch(columns[column].strip())) for columns in rows)
        for column in (-1, 0)
    }
    column = max(tags, key=tags.__getitem__)  # the last one if they are even
    return column if rows and 2 * tags[column] >= len(rows) else None


def _read_conllu(source: _Source) -> Iterator[tuple[Place, Row]]:
    import conllu

    sentences = []
    for number, block in _blocks(source.lines):
        place = source.place(number)
        try:
            parsed = conllu.parse(block)
        except conllu.exceptions.ParseException as error:
            bad_input(place, str(error), allowed="ten columns separated by tabs", mend="correct this sentence")
        for sentence in parsed:  # one, or none where the block is comments alone
            words = [token for token in sentence if isinstance(token["id"], int)]  # no 1-2 ranges, no 8.1 empty nodes
            for word in words:
                if not word["form"] or word["upos"] in (None, "", "_"):
                    problem = f"word {word['id']} {show(word['form'])} has UPOS {show(word['upos'])}"
                    bad_input(place, problem, allowed="a form and a UPOS tag", mend="fill in both columns")
            row_id = sentence.metadata.get("sent_id")
            sentences.append((place, row_id, [word["form"] for word in words], [word["upos"] for word in words]))
    unit = source.unit or _unit_of(form for _, _, forms, _ in sentences[:_PEEK] for form in forms)
    for place, row_id, forms, tags in sentences:
        yield place, {"id": row_id, **_row_of_words(forms, tags, unit)}


def _blocks(lines: Iterable[Line]) -> Iterator[tuple[int, str]]:
    """Runs of lines that are not blank, with the number of their first."""
    for blank, block in groupby(lines, key=lambda line: not line.text.strip()):
        if not blank:
            run = list(block)
            yield run[0].number, "\n".join(line.text for line in run) + "\n\n"


def _read_pos(source: _Source) -> Iterator[tuple[Place, Row]]:
    separator = _pos_separator(source.head) or "/"
    words_of_head = (field.rpartition(separator)[0] for text in source.head for field in text.split())
    unit = source.unit or _unit_of(words_of_head)
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


def _pos_separator(head: Iterable[str]) -> str | None:
    fields = [field.rpartition(separator) for text in head for field in text.split() for separator in "/_"]
    tagged = {mark: sum(sep == mark and bool(word and tag) for word, sep, tag in fields) for mark in "/_"}
    mark = max(tagged, key=tagged.__getitem__)
    return mark if fields and 4 * tagged[mark] >= len(fields) else None  # half of the fields; each stands here twice


def _read_segmentation(source: _Source) -> Iterator[tuple[Place, Row]]:
    if (source.unit or _unit_of(source.head)) != "character":
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
