"""The spaCy component `knowfree` (extra `[spacy]`): `nlp.add_pipe("knowfree", config={"model": "runs/mine"})`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import filter_spans, minibatch

from ..pipeline_knowfree import KnowFreePipeline
from .tag import load_pipeline

MODEL_FOLDER = "model"


@Language.factory(
    "knowfree",
    assigns=["doc.ents", "doc.spans"],
    default_config={"model": None, "threshold": None, "decoding": None, "batch_size": 32, "spans_key": "knowfree"},
)
def make_knowfree(
    nlp: Language,
    name: str,
    model: str | None,
    threshold: float | None,
    decoding: str | None,
    batch_size: int,
    spans_key: str,
) -> "KnowFreeComponent":
    """The factory that `config.cfg` names."""
    return KnowFreeComponent(name, model, threshold, decoding, batch_size, spans_key)


class KnowFreeComponent:
    """
    Tags documents with a KnowFREE model, whatever tokenizer the pipeline has: a span is widened to whole tokens.

    Args:
        name: of the component.
        model: folder or Hub id, loaded when first asked for; a saved pipeline brings its own copy along.
        threshold, decoding: default the model's.
        batch_size: documents tagged together by `nlp.pipe`, unless it says otherwise.
        spans_key: `doc.spans[spans_key]` gets every span, nested ones too, with `attrs["scores"]`; `doc.ents` the
            longest ones that do not overlap, as spaCy wants it.
    """

    def __init__(
        self,
        name: str,
        model: str | None,
        threshold: float | None = None,
        decoding: str | None = None,
        batch_size: int = 32,
        spans_key: str = "knowfree",
    ):
        self.name = name
        self.spans_key = spans_key
        self.batch_size = batch_size
        given = {"threshold": threshold, "decoding": decoding}
        self._options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        self._model = model
        self._pipe: KnowFreePipeline | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The target labels; none before the model is here (spaCy asks before it reads a saved pipeline's files)."""
        is_here = self._pipe is not None or (self._model is not None and Path(self._model).is_dir())
        return tuple(self._tagger.model.config.target_labels) if is_here else ()

    @property
    def _tagger(self) -> KnowFreePipeline:
        if self._pipe is None and self._model is not None:
            self._pipe = load_pipeline(self._model)
        if self._pipe is None:
            raise ValueError(
                f"[{self.name}] has no model; name one: "
                'nlp.add_pipe("knowfree", config={"model": "a folder that knowfree train wrote, or a Hub id"})'
            )
        return self._pipe

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int | None = None) -> Iterator[Doc]:
        """Documents in the order they come, tagged in batches."""
        for docs in minibatch(stream, size=batch_size or self.batch_size):
            batch = list(docs)
            answers = self._tagger([doc.text for doc in batch], batch_size=len(batch), **self._options)
            for doc, found in zip(batch, answers, strict=True):
                yield self._set(doc, found)

    def _set(self, doc: Doc, found: list[dict[str, Any]]) -> Doc:
        best: dict[Span, float] = {}  # widened to whole tokens, two may be one
        for answer in found:
            span = doc.char_span(answer["start"], answer["end"], answer["entity_group"], alignment_mode="expand")
            if span is not None:
                best[span] = max(answer["score"], best.get(span, 0.0))
        spans, scores = list(best), list(best.values())
        doc.spans[self.spans_key] = SpanGroup(doc, name=self.spans_key, spans=spans, attrs={"scores": scores})
        doc.ents = filter_spans(spans)
        return doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the model beside the pipeline's other components."""
        if MODEL_FOLDER not in exclude:
            folder = Path(path) / MODEL_FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            pipe = self._tagger
            assert pipe.tokenizer is not None  # the pipeline refuses to be without
            pipe.model.save_pretrained(folder)
            pipe.tokenizer.save_pretrained(folder)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "KnowFreeComponent":
        """Load the model that `to_disk` saved."""
        folder = Path(path) / MODEL_FOLDER
        if MODEL_FOLDER not in exclude and folder.is_dir():
            self._model, self._pipe = str(folder), None
        return self
