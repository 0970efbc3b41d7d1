"""spaCy's DocBin (.spacy), by spaCy itself, an optional extra: entities and span groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ...files import whole_file
from ..lines import open_binary
from ..rows import Place, Row, bad_input, show
from .base import File, Format, Guess, Options, Placed, each

GROUP = "sc"  # the group that spaCy's own span categorizer reads


def detect(file: File) -> Guess | None:
    if file.suffix == ".spacy" and not file.is_folder and not file.is_table:
        return Guess(1.0, "the suffix .spacy")
    if file.start.startswith((b"\x78\x9c", b"\x78\xda", b"\x78\x01")):
        return Guess(0.7, "compressed as DocBin is")
    return None


def _spacy(where: object) -> Any:
    try:
        import spacy
    except ImportError:
        mend = 'pip install "knowfree[spacy]", or write JSON with spaCy'
        bad_input(str(where), "DocBin is read and written by spaCy, which is not installed", allowed="spaCy", mend=mend)
    return spacy


def read(file: File, options: Options) -> Placed:
    spacy = _spacy(file.name)
    with open_binary(file.path) as stream:
        data = stream.read()
    try:
        docs = list(spacy.tokens.DocBin().from_bytes(data).get_docs(spacy.vocab.Vocab()))
    except Exception as error:  # noqa: BLE001 - spaCy, zlib, msgpack and numpy each raise their own
        message = " ".join(str(error).split())
        bad_input(
            file.place(), f"no DocBin: {message:.100}", allowed="what DocBin.to_disk wrote", mend="write it again"
        )

    def row(doc: Any, place: Place) -> Row | None:
        spans = [*doc.ents, *(span for key in doc.spans for span in doc.spans[key])]
        # Entities stand in a group of their own too.
        row_id = doc.user_data.get("id")
        is_ours = isinstance(row_id, str)  # `write` keeps units of white space, which spaCy's tokens are not
        units = [is_ours or not token.text.isspace() for token in doc]
        before = list(accumulate(units, initial=0))
        found = dict.fromkeys((before[span.start], before[span.end], span.label_) for span in spans)
        entities = [{"start": start, "end": end, "label": label} for start, end, label in found if start < end]
        if len(doc) and not before[-1]:
            options.told.add("documents of white space alone left out", str(place))
            return None
        if blank := len(doc) - before[-1]:
            options.told.add("tokens of white space left out, they are no units", str(place), blank)
        if doc.has_annotation("SENT_START") and len(list(doc.sents)) > 1:
            options.told.add("documents of several sentences are one row each (sentence borders not used)", str(place))
        return {
            "id": row_id if is_ours else None,
            "tokens": [token.text for token, is_unit in zip(doc, units, strict=True) if is_unit],
            "entities": entities,
        }

    return each(((file.place(number, "row"), doc) for number, doc in enumerate(docs, start=1)), row)


def write(rows: Sequence[Row], path: Path) -> None:
    """All spans into the group `sc`, those that do not overlap also into `ents`, which hold no nesting."""
    spacy = _spacy("--to spacy")
    from spacy.util import filter_spans

    vocab = spacy.vocab.Vocab()
    packed = spacy.tokens.DocBin(store_user_data=True)
    for row in rows:
        tokens = row["tokens"]
        gap = any(len(token) > 1 for token in tokens)
        doc = spacy.tokens.Doc(vocab, words=tokens, spaces=[gap] * len(tokens))
        if [token.text for token in doc] != list(tokens):
            problem = f"row {show(row['id'])}: spaCy cannot hold its tokens"
            bad_input(path, problem, allowed="tokens that spaCy keeps", mend="write jsonl or parquet")
        spans = [spacy.tokens.Span(doc, s["start"], s["end"], label=s["label"]) for s in row["entities"]]
        doc.spans[GROUP] = spans
        doc.ents = filter_spans(spans)
        doc.user_data["id"] = row["id"]
        packed.add(doc)
    with whole_file(path) as temporary:
        temporary.write_bytes(packed.to_bytes())


FORMAT = Format(
    name="spacy",
    tool="spaCy 3 DocBin (needs the extra [spacy])",
    recognised="the suffix .spacy",
    trap="`ents` hold no nesting: span groups count too",
    detect=detect,
    read=read,
    write=write,
    suffix=".spacy",
    ready=_spacy,
    aliases=("docbin", "spacy-docbin"),
)
