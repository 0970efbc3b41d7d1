"""Running text beside spans in characters, as objects: our own layout, hand-made JSON, the output of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..rows import Place, bad_input, check_keys, show
from .annotators import annotators_of, decided_by_span
from .base import File, Format, Guess, Options, Placed, identity, is_list_of_strings, need_list, need_text
from .counting import Mention, TextRow, placed_texts, rows_of_texts
from .span_keys import SpanKeys, has_borders, is_triple, key_of_spans, span_keys, spelled

KEYS = (
    *("entities", "spans", "mentions", "annotations", "annotation", "ents", "entity", "ner", "labels", "label"),
    *("entity_list", "textSegmentAnnotations"),
)

_OPEN = ("discarded", "default", "draft", "pending", "rejected")
_DONE = ("validated", "submitted", "completed", "accepted", "approved", "annotated", "reviewed", "finished", "done")


def spans_key(entry: dict) -> str | None:
    """The key under which an entry lists its spans."""
    lists = [key for key in _keys(entry) if isinstance(entry.get(key), list)]
    return next((key for key in lists if entry[key]), lists[0] if lists else None)


def _keys(entry: dict) -> list[str]:
    """The keys of an entry that may list spans, those of spaCy's groups too."""
    return [*(key for key in KEYS if key in entry), *(key for key in entry if key.startswith("spans."))]


def with_groups(entry: Any) -> Any:
    """An entry with its groups of spans, as spaCy's Doc.to_json has them, each under a key of its own: `spans.sc`."""
    groups = entry.get("spans") if isinstance(entry, dict) else None
    if not isinstance(groups, dict) or not all(isinstance(group, list) for group in groups.values()):
        return entry
    rest = {key: value for key, value in entry.items() if key != "spans"}
    return rest | {f"spans.{name}": group for name, group in groups.items()}


def detect(file: File) -> Guess | None:
    def with_objects(entry: dict) -> bool:
        entry = with_groups(entry)
        key = spans_key(entry)
        if not isinstance(entry.get("text"), str) or key is None:
            return False
        return all(_is_span(one) for span in entry[key] for one in spelled(span))

    share = file.share(with_objects)
    if share:
        return Guess(0.5 + 0.2 * share, "text beside spans counted in characters")
    if file.any(lambda entry: "text" in entry and "tokens" not in entry and not isinstance(entry["text"], list)):
        return Guess(0.3, "text without tokens")
    return None


def _rank(key: str) -> int:
    return KEYS.index(key) if key in KEYS else len(KEYS)


def _is_span(span: Any) -> bool:
    return has_borders(span) or is_triple(span)


def covered(text: str) -> Any:
    """For `span_keys`: which texts two borders of `text` may cover."""

    astral = bool(text) and max(text) > "\uffff"
    wide = text.encode("utf-16-le", "surrogatepass") if astral else None

    def texts(start: Any, end: Any) -> set[str]:
        if type(start) is not int or type(end) is not int or start < 0:
            return set()
        found = {text[start:last] for last in (end, end + 1)}
        if wide is None:
            return found
        return found | {wide[2 * start : 2 * last].decode("utf-16-le", "replace") for last in (end, end + 1)}

    return texts


def keys_of(file: File, listed: Sequence[tuple[Any, list]], options: Options) -> SpanKeys:
    """The keys of the span objects of a file's entries, beside each of which its spans are `listed`."""
    spans = [
        (span, covered(entry["text"]))
        for entry, spans in listed
        if isinstance(entry, dict) and isinstance(entry.get("text"), str)
        for written in spans
        for span in spelled(written)
        if has_borders(span)
    ]
    return span_keys(spans, file.place(), options)


def read(file: File, options: Options) -> Placed:
    entries = [(place, with_groups(entry)) for place, entry in file.entries]
    objects = [entry for _, entry in entries if isinstance(entry, dict)]
    every = list(dict.fromkeys(key for entry in objects for key in _keys(entry)))
    chosen = key_of_spans(objects, sorted(every, key=_rank), options, file.place())

    def key_in(entry: dict) -> str | None:
        if chosen is not None and (chosen == options.tag_column or isinstance(entry.get(chosen), list)):
            return chosen
        return spans_key(entry)

    listed = [(entry, spans) for entry in objects if isinstance(spans := entry.get(key_in(entry)), list)]
    keys = keys_of(file, listed, options)

    def text_row(entry: Any, place: Place) -> TextRow | None:
        check_keys(entry, ("text",), place)
        if isinstance(status := entry.get("status"), str) and not _is_done(status, place, options):
            return None
        key = key_in(entry) or ("spans" if "spans" in entry and "entities" not in entry else "entities")
        check_keys(entry, ("text", key), place)
        text = need_text(entry, place)
        said = []
        for span in [one for written in need_list(entry, key, place) for one in spelled(written)]:
            _refuse_pieces(span, place)
            mention = Mention(*span) if is_triple(span) else keys.mention(span, key, place)
            said.append((annotators_of(span), mention))
        mentions = decided_by_span(said, options, place, f"the text {show(text)}")
        tokens = entry["tokens"] if is_list_of_strings(entry.get("tokens")) else None
        return TextRow(text, mentions, identity(entry), tokens)

    ours = all(not isinstance(span, dict) or has_borders(span) for _, spans in listed for span in spans)
    ours = ours and (keys.start, keys.end, keys.label, keys.stated) == ("start", "end", "label", "text")
    texts = placed_texts(entries, text_row)
    if entries and not texts:
        problem = f"no row is done: the status of the first is {show(objects[0]['status'])}"
        mend = "export what was validated, or take the status out"
        bad_input(file.place(), problem, allowed="rows that somebody has validated", mend=mend)
    yield from rows_of_texts(texts, options, by_definition=ours)


def _is_done(status: str, place: Place, options: Options) -> bool:
    """Whether a row's annotation counts by its status, as Argilla writes it; what is not known counts and is told."""
    if status.lower() in _OPEN:
        options.told.add(f"rows of status {status} left out", str(place))
        return False
    if status.lower() not in _DONE:
        options.told.add("rows of a status that is not known, and they count", f"{show(status)} at {place}")
    return True


def _refuse_pieces(span: Any, place: Place) -> None:
    """A pipeline without aggregation gives a tag a piece, not a span."""
    if isinstance(span, dict) and "index" in span and "score" in span and "entity" in span:
        problem = f"{show(span)} is a tag of one piece, not a span"
        mend = 'run the pipeline with aggregation_strategy="simple"'
        bad_input(place, problem, allowed="spans with entity_group, start and end", mend=mend)


FORMAT = Format(
    name="offsets",
    tool="this tool's `predict --text`; hand-made JSON, output of LLMs, of a transformers pipeline",
    recognised="`text` beside `entities` or `spans` with borders in characters",
    trap="a value that equals the text it spans is no label; the pipeline's `word` is decoded and not compared",
    detect=detect,
    read=read,
    aliases=("type-and-mention", "hf-pipeline", "edge-spaces"),
)
