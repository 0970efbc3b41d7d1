"""brat standoff: a folder of .txt and .ann, or one .ann beside its .txt. A row is a line that is not blank."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...files import is_taken, write_whole
from ..lines import read_lines
from ..rows import InputError, Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed
from .conll import refuse_breaks
from .counting import COUNTINGS, USUAL, Borders, Counting, Mention, TextRow, joined_text, rows_of_texts, written_spans

_SPAN = re.compile(r"(T\S*)\t(\S.*?) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*+)(?:\t(.*))?", re.DOTALL)
_OTHER = re.compile(r"[REAMNFSC#*]")
TOKENS = ".tokens.jsonl"  # beside a document that we wrote: the units of its lines, and their ids
_GAP = re.compile(r"\s+")
_LINE_END = re.compile(r"[\n\r]")  # of a text between its units: in a document a row is a line
_SPLITS = ("train", "training", "dev", "devel", "development", "valid", "validation", "eval", "test")
BOM = "\ufeff"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_OLD_MAC_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class Standoff(NamedTuple):
    """A T line: its id, borders in the document, label and stated text."""

    name: str
    place: Place
    mention: Mention


def _documents(path: Path) -> list[Path]:
    return sorted(path.rglob("*.ann")) if path.is_dir() else [path]


def detect(file: File) -> Guess | None:
    if file.is_folder:
        found = _documents(file.path) or _shared_task(file.path)
        return Guess(1.0, "a folder with .ann files") if found else None
    if file.is_table:
        return None
    if file.suffix == ".ann":
        return Guess(1.0, "the suffix .ann")
    if file.suffix == ".txt" and file.path.with_suffix(".ann").exists() and not file.is_binary:
        return Guess(0.99, "a .txt beside its .ann")
    return None


def read(file: File, options: Options) -> Placed:
    if file.suffix == ".txt" and not file.is_folder:
        problem = "is brat's text, its annotation is in the .ann beside it"
        mend = f"name the folder, or {file.path.with_suffix('.ann').name}"
        bad_input(file.place(), problem, allowed="an .ann or a folder of them", mend=mend)
    texts: list[tuple[Place, TextRow | InputError]] = []
    documents = _documents(file.path)
    if file.is_folder:
        _refuse_others(file, documents)
        texts_there = {path.with_suffix("") for path in file.path.rglob("*.txt")}
        alone = sorted(texts_there - {path.with_suffix("") for path in documents})
        if alone:
            first = f"{alone[0].relative_to(file.path)}.txt"
            options.told.add("documents without an .ann left out", first, len(alone))
    for document in documents:
        try:
            texts.extend(_document(document, options))
        except InputError as error:
            texts.append((Place(str(document)), error))
    return rows_of_texts(texts, options)


def _shared_task(folder: Path) -> list[Path]:
    """Annotation as the BioNLP shared tasks split it, of documents whose .ann has none."""
    given = sorted(path for path in folder.rglob("*.a[12]") if path.stat().st_size)
    return [path for path in given if not (ann := path.with_suffix(".ann")).is_file() or not ann.stat().st_size]


def _refuse_others(file: File, documents: Sequence[Path]) -> None:
    if given := _shared_task(file.path):
        name = given[0].stem
        mend = f"put them into one: cat {name}.a1 {name}.a2 > {name}.ann"
        bad_input(str(given[0]), "is the annotation, which is read from .ann alone", allowed="an .ann", mend=mend)
    below = [path.relative_to(file.path).parts for path in documents]
    splits = sorted({parts[0] for parts in below if len(parts) > 1 and parts[0].lower() in _SPLITS})
    if len(splits) > 1:
        mend = f"name the folder of a split, such as {file.path / splits[0]}"
        bad_input(file.place(), f"holds several splits: {', '.join(splits)}", allowed="one data set", mend=mend)


def _document(path: Path, options: Options) -> list[tuple[Place, Any]]:
    source = path.with_suffix(".txt")
    if not source.is_file():
        bad_input(
            str(path), f"has no {source.name} beside it", allowed="a text and its .ann", mend="put both into a folder"
        )
    lines = list(read_lines(source))
    whole = source.read_bytes().decode("utf-8")
    spans = list(_spans(path, options))
    whole, counting = _counting(whole, spans, options)
    text = whole.removeprefix(BOM)
    borders = Borders(whole)
    found: list[tuple[int, int, Standoff]] = []
    errors: list[tuple[Place, Any]] = []
    for span in spans:
        cut = borders.cut(span.mention, counting)
        if cut is None:
            errors.append((span.place, _outside(span, len(whole))))
            continue
        found.append((*cut, span))
    found.sort(key=lambda one: one[:2])
    begins = [begin for begin, _, _ in found]
    sidecar = _sidecar(path, lines, options)
    rows: list[tuple[Place, Any]] = []
    at = len(whole) - len(text)
    is_old_mac = "\r" in text.partition("\n")[0].rstrip("\r")
    pieces = (_OLD_MAC_LINE if is_old_mac else _LINE).findall(text) or [""] * len(lines)  # a byte order mark alone
    for line, piece in zip(lines, pieces, strict=True):
        start, end = at, at + len(line.text)
        at += len(piece)
        inside = found[bisect_left(begins, start) : bisect_left(begins, at)]
        if not line.text.strip() and line.number not in sidecar:
            for begin, stop, span in inside:
                errors.append((span.place, _between(span, whole[begin:stop])))
            continue
        mentions = []
        for begin, stop, span in inside:
            if stop > end:
                errors.append((span.place, _between(span, whole[begin:stop])))
                continue
            label, stated = span.mention.label, span.mention.stated
            mentions.append(Mention(begin - start, stop - start, label, stated))
        row_id, tokens = sidecar.get(line.number, (None, None))
        rows.append((Place(str(source), line.number), TextRow(line.text, mentions, row_id, tokens)))
    return [*rows, *errors]


def _spans(path: Path, options: Options) -> Iterator[Standoff]:
    for line in read_lines(path):
        if not line.text.strip():
            continue
        place = Place(str(path), line.number)
        if not line.text.startswith("T"):
            if not _OTHER.match(line.text):
                mend = "write T1, a tab, LABEL START END, a tab, the text"
                bad_input(
                    place, f"{show(line.text)} is no line of brat", allowed="T, R, E, A, M, N, # and *", mend=mend
                )
            kind = {"#": "notes", "*": "equivalences", "R": "relations", "E": "events", "N": "normalizations"}
            options.told.add(f"{kind.get(line.text[0], 'attributes')} left out", f"{show(line.text)} at {place}")
            continue
        match = _SPAN.fullmatch(line.text)
        if match is None:
            mend = "write T1, a tab, LABEL START END, a tab, the text"
            bad_input(place, f"{show(line.text)} is no span", allowed="T1<tab>LABEL 0 4<tab>text", mend=mend)
        name, label, borders, stated = match.groups()
        if ";" in borders:
            options.told.add("discontinuous spans left out", f"{name} in {path.name} {show(stated)}")
            continue
        start, end = map(int, borders.split(" "))
        yield Standoff(name, place, Mention(start, end, label, stated))


def _counting(whole: str, spans: Sequence[Standoff], options: Options) -> tuple[str, Counting]:
    """The text that the offsets count in, and what they count, as the stated texts show: code points of the document
    without its byte order mark, unless another way fits all of them."""
    text = whole.removeprefix(BOM)
    if not spans or any(span.mention.stated is None for span in spans):
        return text, USUAL
    ways = [(text, "")]
    if whole != text:
        ways.append((whole, " and the byte order mark"))
    if "\r\n" in text:
        ways.append((text.replace("\r\n", "\n"), " and each line end as one"))
    for counted, also in ways:
        borders = Borders(counted)
        for counting in COUNTINGS:
            if all(_fits(borders, span.mention, counting) for span in spans):
                if also or counting != USUAL:
                    what = f"stated texts show that offsets count {counting}{also} here (usual: {USUAL})"
                    options.told.add(what, count=len(spans))
                return counted, counting
    return text, USUAL


def _fits(borders: Borders, mention: Mention, counting: Counting) -> bool:
    cut = borders.cut(mention, counting)
    return cut is not None and _GAP.sub(" ", borders.text[slice(*cut)]) == _GAP.sub(" ", mention.stated)


def _outside(span: Standoff, length: int) -> InputError:
    start, end = span.mention.start, span.mention.end
    problem = f"{span.name} [{start}, {end}) {show(span.mention.label)} is no span of the {length} characters"
    mend = "count code points from the start of the document, line ends too"
    return InputError(f"{span.place}: {problem}; allowed: 0 <= start < end <= {length}; mend: {mend}")


def _between(span: Standoff, covered: str) -> InputError:
    start, end = span.mention.start, span.mention.end
    problem = f"{span.name} [{start}, {end}) {show(span.mention.label)} {show(covered)} goes over the end of a line"
    mend = "move the span into one line, or join the lines"
    return InputError(f"{span.place}: {problem}; allowed: spans within a line; mend: {mend}")


def _sidecar(path: Path, lines: Sequence[Any], options: Options) -> dict[int, tuple[str, list[str]]]:
    """Line -> id and units, of a document that we wrote; nothing where its text was changed since."""
    beside = path.with_suffix(TOKENS)
    if not beside.is_file():
        return {}
    try:
        entries = [json.loads(line.text) for line in read_lines(beside)]
        found = {entry["line"]: (entry["id"], entry["tokens"]) for entry in entries}
        texts = {line.number: line.text for line in lines}
        same = len(found) == len(texts) and all(
            texts[number] == joined_text({"tokens": tokens, "text": texts[number]})[0]
            for number, (_, tokens) in found.items()
        )
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        options.told.add("files of units do not fit their text and are not read", beside.name)
        return {}
    return found


# ------------------------------------------------------------------ writing


def write(rows: Sequence[Row], path: Path) -> None:
    """One document, a row a line, into the folder `path`: rows.txt, rows.ann, annotation.conf, and the units."""
    lines: list[str] = []
    spans: list[str] = []
    units: list[str] = []
    at = 0
    for number, row in enumerate(rows, start=1):
        refuse_breaks(row, path, "\t\n\r")
        text = _LINE_END.sub(" ", joined_text(row)[0])
        if number == 1 and text.startswith(BOM):
            problem = f"row {show(row['id'])} begins with U+FEFF, which at the beginning of a file belongs to no text"
            bad_input(path, problem, allowed="another beginning", mend="take it out, or write jsonl or parquet")
        for start, end, label, covered in written_spans(row):
            stated = _LINE_END.sub(" ", covered).replace("\t", " ")
            spans.append(f"T{len(spans) + 1}\t{label} {at + start} {at + end}\t{stated}\n")
        lines.append(text + "\n")
        units.append(json.dumps({"line": number, "id": row["id"], "tokens": row["tokens"]}, ensure_ascii=False) + "\n")
        at += len(text) + 1
    labels = sorted({span["label"] for row in rows for span in row["entities"]})
    if is_taken(path):
        bad_input(path, "exists and is not empty", allowed="a new folder", mend="name another folder")
    write_whole(path / f"rows{TOKENS}", "".join(units))
    write_whole(
        path / "annotation.conf", "\n".join(["[entities]", *labels, "[relations]", "[events]", "[attributes]", ""])
    )
    write_whole(path / "rows.txt", "".join(lines))
    write_whole(path / "rows.ann", "".join(spans))


FORMAT = Format(
    name="brat",
    tool="brat 1.3 standoff; written as a folder",
    recognised="a folder with .ann files, or an .ann beside its .txt",
    trap="discontinuous spans are left out and told; an empty .ann is a document without entities",
    detect=detect,
    read=read,
    write=write,
)
