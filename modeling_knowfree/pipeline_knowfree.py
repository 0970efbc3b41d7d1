"""The `"knowfree"` pipeline: raw text or units in, labelled spans out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from numbers import Real
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline

from .decoding_knowfree import Span, resolve
from .findings_knowfree import Findings, above, finish, keep_hits
from .units_knowfree import (
    Document,
    KnowFreeCollator,
    Window,
    batches_by_cost,
    check_count,
    check_unicode,
    check_units,
    cut,
    encode_units,
    join_units,
    split_text,
    tell_unspaced,
)
from .windows_knowfree import sentence_ends, windows

# What token classification calls by other names here.
_INSTEAD = {
    "stride": ": it counts pieces; windows of long texts overlap by window_overlap, in units",
    "grouped_entities": ": spans are whole already, leave it out",
    "ignore_subwords": ": spans end where units do, leave it out",
    "offset_mapping": ": start and end count characters of the text anyway, leave it out",
    "delimiter": ": units are given as a list with is_split_into_words=True",
    "truncation": ": overflow='truncate' reads the beginning alone",
    "max_length": ": long texts are read in windows; overflow='truncate' reads the beginning alone",
    "top_k": ": threshold says from which score on a span is found",
    "function_to_apply": ": scores are probabilities",
}


class KnowFreePipeline(Pipeline):
    """
    `pipeline("knowfree", model=repo, trust_remote_code=True)("我们一起在嘉鱼")`; the tasks `"token-classification"` and
    `"ner"` of such a repository are this pipeline too.

    Calling it:
        inputs: a string, a list of strings, or with `is_split_into_words=True` the units of one sentence (a list of
            strings) or of several (a list of such lists). Blank inputs give `[]`; output i belongs to input i. A
            generator or dataset (`KeyDataset(data, "text")`) is answered as it streams.
        threshold (`float`): default `model.config.threshold`.
        decoding (`str`): `"flat"`, `"nested"`, `"all"`; default `model.config.decoding`.
        batch_size (`int`): windows run together at most, default 8.
        spans_per_batch (`int`): of these, as many as have so many spans together; default: no limit.
        is_split_into_words (`bool`): the input is units; `start` and `end` of the output then count units.
        overflow (`str`): a text longer than training saw, or than the encoder reads, is cut into windows at sentence
            ends (`"window"`, default). `"error"` refuses what the encoder cannot read at once, `"truncate"` cuts it
            off. A unit longer than that by itself keeps its beginning.
        window_overlap (`int`): units that windows inside one sentence share, default 64.
        cuts (`Counter`): gets added how many `"texts"` were cut, at how many `"sentence_ends"`, and in how many places
            `"inside_sentences"`, where the windows overlap.
        ignore_labels (`list[str]`): labels whose spans are left out of the answer.
        aggregation_strategy (`str`): the habit of token classification; any but `"none"`, since spans are whole.
        num_workers (`int`): accepted, and ignored: texts are read in this process.

    Returns:
        For each input a list of `{"entity_group", "score", "word", "start", "end"}`, sorted by start, then end; offsets
        are characters of the input string, end exclusive.

    Raises:
        ValueError: inputs that are neither text nor units, unknown options, a `batch_size` below 1, text too long with
            `overflow="error"`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.tokenizer is None:
            raise ValueError(
                "this model folder has no tokenizer; load it by itself and hand it over: "
                'pipeline("knowfree", model=…, tokenizer=AutoTokenizer.from_pretrained(…))'
            )
        self._batch_size = 8 if self._batch_size is None else self._batch_size
        check_count("batch_size", self._batch_size, 1)
        self._check_vocabulary(len(self.tokenizer))
        self.collate = KnowFreeCollator(self.tokenizer.pad_token_id or 0)

    def _check_vocabulary(self, pieces: int) -> None:
        config = self.model.config
        trained_with = getattr(config, "tokenizer_size", None) or pieces
        embeddings = getattr(config.encoder_config, "vocab_size", None) or pieces
        if pieces != trained_with or pieces > embeddings:
            raise ValueError(
                f"this tokenizer has {pieces} pieces, the model was trained with "
                f"{trained_with if pieces != trained_with else embeddings}: it belongs to another encoder; put the "
                "model's own there"
            )

    def _sanitize_parameters(
        self,
        threshold: float | None = None,
        decoding: str | None = None,
        is_split_into_words: bool | None = None,
        overflow: str | None = None,
        window_overlap: int | None = None,
        cuts: Counter | None = None,
        ignore_labels: Sequence[str] | None = None,
        aggregation_strategy: Any = None,
        num_workers: int | None = None,
        **unknown: Any,
    ) -> tuple[dict, dict, dict]:
        for name in unknown:
            raise ValueError(f"the knowfree pipeline has no option {name!r}{_INSTEAD.get(name, '')}")
        strategy = getattr(aggregation_strategy, "value", aggregation_strategy)
        if strategy not in (None, "simple", "first", "average", "max"):
            raise ValueError(
                f"aggregation_strategy={strategy!r}: a KnowFREE model finds whole spans, and gives no piece a label of "
                "its own: leave it out, or give 'simple'"
            )
        labels = () if ignore_labels is None else ignore_labels
        if (
            isinstance(labels, str)
            or not isinstance(labels, Collection)
            or not all(isinstance(label, str) for label in labels)
        ):
            raise ValueError(f"ignore_labels={ignore_labels!r}: give a list of labels")
        if threshold is not None and not (isinstance(threshold, Real) and 0 < threshold < 1):
            raise ValueError(f"threshold={threshold!r}: give a probability between 0 and 1")
        if decoding not in (None, "flat", "nested", "all"):
            raise ValueError(f"decoding={decoding!r}: choose 'flat', 'nested' or 'all'")
        if overflow not in (None, "window", "error", "truncate"):
            raise ValueError(f"overflow={overflow!r}: choose 'window', 'error' or 'truncate'")
        if window_overlap is not None:
            check_count("window_overlap", window_overlap, 0)
        before = {
            "is_split_into_words": is_split_into_words,
            "overflow": overflow,
            "window_overlap": window_overlap,
            "cuts": cuts,
        }
        ignored = None if ignore_labels is None else frozenset(ignore_labels)
        after = {"threshold": threshold, "decoding": decoding, "ignore_labels": ignored}
        return _given(before), {}, _given(after)

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        batch_size: int | None = None,
        spans_per_batch: int | None = None,
        **kwargs: Any,
    ) -> Any:
        if args:
            raise ValueError(f"{len(args)} values after the texts: give options by name, such as threshold=0.4")
        before, _, after = self._sanitize_parameters(**kwargs)
        before, after = {**self._preprocess_params, **before}, {**self._postprocess_params, **after}
        limits = self._limits(self._batch_size if batch_size is None else batch_size, spans_per_batch)
        units_given = before.get("is_split_into_words", False)
        if hasattr(inputs, "tolist"):  # an array, or a table's column
            inputs = inputs.tolist()
        is_list = isinstance(inputs, Sequence) and not isinstance(inputs, (str, bytes))
        if isinstance(inputs, str) or (units_given and is_list and inputs and isinstance(inputs[0], str)):
            return self._run(self.preprocess([inputs], **before), limits, after)[0]
        if is_list:
            return self._run(self.preprocess(inputs, **before), limits, after)
        if isinstance(inputs, Dataset) and not isinstance(inputs, Iterable):  # it has lengths and items, no iterator
            inputs = map(inputs.__getitem__, range(len(inputs)))  # type: ignore[arg-type]
        if isinstance(inputs, Iterable) and not isinstance(inputs, (dict, bytes)):
            return self._stream(inputs, limits, before, after)
        raise ValueError(
            f"the knowfree pipeline takes text, not {type(inputs).__name__}: give a string or a list of them"
        )

    @staticmethod
    def _limits(batch_size: int, spans_per_batch: int | None) -> tuple[int, int | None]:
        check_count("batch_size", batch_size, 1)
        if spans_per_batch is not None:
            check_count("spans_per_batch", spans_per_batch, 1)
        return batch_size, spans_per_batch

    def _stream(
        self, inputs: Iterable, limits: tuple[int, int | None], before: dict, after: dict
    ) -> Iterator[list[dict]]:
        # Enough inputs at a time that sorting by length has something to sort.
        for found in self._tag_each(_chunks(inputs, 16 * limits[0]), limits, before, after):
            yield from found

    def tag_each(
        self, lists: Iterable[Sequence], batch_size: int = 8, spans_per_batch: int | None = None, **options: Any
    ) -> Iterator[list[list[dict]]]:
        """Answers of one list after the other, as calls would give them. While the model reads one, another thread
        turns the next into pieces. A closed iterator leaves no thread.

        Args:
            lists: each a list of inputs; one is read ahead.
            options: those of a call.
        """
        before, _, after = self._sanitize_parameters(**options)
        before, after = {**self._preprocess_params, **before}, {**self._postprocess_params, **after}
        return self._tag_each(lists, self._limits(batch_size, spans_per_batch), before, after)

    def _tag_each(
        self, lists: Iterable[Sequence], limits: tuple[int, int | None], before: dict, after: dict
    ) -> Iterator[list[list[dict]]]:
        first, stream = 0, iter(lists)
        with ThreadPoolExecutor(1) as side:

            def begin() -> Future[list[Document]] | None:
                nonlocal first
                chunk = next(stream, None)  # by this thread: the inputs may be bound to it
                if chunk is None:
                    return None
                ahead = side.submit(self.preprocess, chunk, **{**before, "first": first})
                first += len(chunk)
                return ahead

            ahead = begin()
            while ahead is not None:
                documents = ahead.result()
                try:
                    ahead = begin()
                except Exception:  # of the inputs: those before it are answered first
                    yield self._run(documents, limits, after)
                    raise
                yield self._run(documents, limits, after)

    def _run(self, documents: list[Document], limits: tuple[int, int | None], after: dict) -> list[list[dict]]:
        """What `preprocess` made of some inputs to their spans."""
        spans: dict[int, list[dict]] = {}

        def answer(one: Findings) -> None:
            spans[id(one)] = self.postprocess(one, **after)

        found = self._find(documents, limits, after.get("threshold"), done=answer)
        return [spans.get(id(one), []) for one in found]

    def find(
        self,
        documents: Sequence[Document],
        *,
        threshold: float | None = None,
        extensions: bool = False,
        most_hits: int | None = None,
        batch_size: int = 8,
        spans_per_batch: int | None = None,
        progress: Callable[[int, int], Any] | None = None,
    ) -> list[Findings]:
        """
        Every span that the model gives a probability, before spans that may not stand together are left out: one run of
        the encoder serves every higher threshold and every way of decoding (`postprocess`).

        Args:
            documents: what `preprocess` made of the inputs.
            threshold: probability from which on a span is a hit; default `model.config.threshold`.
            extensions: find extension labels too, and give their logits at the hits of target labels; nothing in a
                model without extension columns.
            most_hits: of one document, the best of target and as many of extension labels; default: all.
            batch_size, spans_per_batch: as in a call of the pipeline.
            progress: called after each batch with the windows that are done and the windows in all.

        Returns:
            Findings i belong to document i.

        Raises:
            ValueError: a threshold outside (0, 1), or a limit below 1.
        """
        _, _, after = self._sanitize_parameters(threshold=threshold)
        if most_hits is not None:
            check_count("most_hits", most_hits, 1)
        extensions = extensions and bool(self.model.config.extension_labels)
        limits = self._limits(batch_size, spans_per_batch)
        return self._find(documents, limits, after.get("threshold"), extensions, most_hits, progress)

    def _find(
        self,
        documents: Sequence[Document],
        limits: tuple[int, int | None],
        threshold: float | None,
        extensions: bool = False,
        most_hits: int | None = None,
        progress: Callable[[int, int], Any] | None = None,
        done: Callable[[Findings], None] | None = None,
    ) -> list[Findings]:
        floor = self.model.config.threshold if threshold is None else threshold
        targets = len(self.model.config.target_labels)
        found = [Findings(document, floor, extension_floor=floor) for document in documents]
        jobs = [(one, window) for one in found for window in one.document.windows]
        jobs.sort(key=lambda job: len(job[1].pieces.input_ids), reverse=True)
        lengths = [window.pieces.num_units for _, window in jobs]
        waiting = Counter(id(one) for one, _ in jobs)

        def keep(batch: Sequence[tuple[Findings, Window]], logits: Tensor) -> None:
            keep_hits(batch, logits, targets, floor, most_hits)
            waiting.subtract(id(one) for one, _ in batch)
            for one in {id(one): one for one, _ in batch}.values():
                if waiting[id(one)] == 0:
                    finish(one, most_hits)
                    if done is not None:
                        done(one)

        start, running = 0, None
        for count in batches_by_cost(lengths, limits[0], self.model.config.max_span_width, limits[1]):
            batch, start = jobs[start : start + count], start + count
            features = [vars(window.pieces) for _, window in batch]
            logits = self.forward(self.collate(features), extensions=extensions)["logits"]  # (B, L, W, N)
            # A GPU already has its next batch while the hits of the last are fetched and become spans.
            if running is not None:
                keep(*running)
            running = batch, logits
            if logits.device.type == "cpu":
                keep(*running)
                running = None
            if progress is not None:
                progress(start, len(jobs))
        if running is not None:
            keep(*running)
        return found

    def preprocess(  # type: ignore[override]
        self,
        inputs: Sequence,
        is_split_into_words: bool = False,
        overflow: str = "window",
        window_overlap: int = 64,
        cuts: Counter | None = None,
        first: int = 0,
    ) -> list[Document]:
        """
        Inputs as the encoder reads them; options are those of a call of the pipeline.

        Args:
            first: number of the first input, in errors.
        """
        documents: list[Document] = []
        for at, item in enumerate(inputs, first):
            check_unicode(item, at)
            if is_split_into_words:
                check_units(item, at)
                documents.append(Document(None, list(item)))
            elif isinstance(item, str):
                offsets = split_text(item, self.model.config.unit) if item.strip() else []
                documents.append(Document(item, [item[start:end] for start, end in offsets], offsets))
                tell_unspaced(documents[-1].units, self.model.config.unit)
            else:
                hint = '; of a data set give one column: KeyDataset(data, "text")' if isinstance(item, dict) else ""
                raise ValueError(f"input {at}: takes text, got {type(item).__name__}: {item!r:.80}{hint}")
        filled = [at for at, document in enumerate(documents) if any(unit.strip() for unit in document.units)]
        limit = self.model.config.max_pieces
        units_of = [documents[at].units for at in filled]
        encoded = encode_units(self.tokenizer, units_of, None if overflow == "error" else limit)
        for at, pieces in zip(filled, encoded, strict=True):
            document = documents[at]
            if overflow == "error" and limit is not None and len(pieces.input_ids) > limit:
                raise ValueError(
                    f"input {first + at} has {len(pieces.input_ids)} pieces, the encoder reads {limit}: "
                    'overflow="window" tags it all, overflow="truncate" its beginning'
                )
            lengths = getattr(self.model.config, "train_lengths", None) if overflow == "window" else None
            ends = cache(partial(self._sentence_ends, document))
            ranges = windows(pieces, limit, window_overlap, ends, lengths)
            if overflow == "truncate":
                ranges = ranges[:1]
            if cuts is not None and len(ranges) > 1:
                at_ends = len({start for start, _ in ranges[1:]} & set(ends()))
                cuts.update(texts=1, sentence_ends=at_ends, inside_sentences=len(ranges) - 1 - at_ends)
            whole = len(ranges) == 1 and ranges[0][1] == pieces.num_units
            document.windows = [
                Window(start, end, pieces if whole else cut(pieces, start, end)) for start, end in ranges
            ]
        return documents

    def _sentence_ends(self, document: Document) -> list[int]:
        if document.text is None or document.offsets is None:
            return sentence_ends(*join_units(document.units, self.model.config.unit))
        return sentence_ends(document.text, document.offsets)

    def forward(self, batch: dict[str, Tensor], extensions: bool = False) -> dict[str, Tensor]:  # type: ignore[override]
        """`Pipeline.forward`, whose answer stays on the device: of all logits only the hits' are ever fetched."""
        with self.device_placement(), self.get_inference_context()():
            return self._forward(self._ensure_tensor_on_device(batch, device=self.device), extensions)

    def _forward(self, batch: dict[str, Tensor], extensions: bool = False) -> dict[str, Tensor]:  # type: ignore[override]
        return {"logits": self.model(**batch, output_extension_logits=extensions).logits}

    def postprocess(  # type: ignore[override]
        self,
        found: Findings,
        threshold: float | None = None,
        decoding: str | None = None,
        ignore_labels: frozenset[str] = frozenset(),
    ) -> list[dict[str, Any]]:
        """
        The spans of one document, as a call of the pipeline gives them.

        Args:
            threshold: none lower than `found.floor`, which is the default.
            decoding: default the model's.
        """
        config = self.model.config
        hits = above(found.hits, threshold, found.floor)
        spans = resolve(hits, decoding or config.decoding, config.multi_label)
        return [
            told
            for span in spans
            if (told := self._told(found.document, span, config.target_labels))["entity_group"] not in ignore_labels
        ]

    def extension_spans(
        self, found: Findings, threshold: float | None = None, decoding: str | None = None
    ) -> list[dict[str, Any]]:
        """
        The spans of extension labels in one document that `find(…, extensions=True)` looked at, in the same form and
        order: what the model learnt beside its targets, never part of its answer. Words and their tags never overlap;
        spans of entities do as `decoding` says.
        """
        config = self.model.config
        by_kind: dict[str, list[Span]] = {}
        for hit in above(found.extension_hits, threshold, found.extension_floor):
            by_kind.setdefault(config.extension_labels[hit.label].partition(":")[0], []).append(hit)
        spans = [
            span
            for kind, hits in by_kind.items()
            for span in resolve(hits, (decoding or config.decoding) if kind == "ENT" else "flat", False)
        ]
        spans.sort(key=lambda span: (span.start, span.end, span.label))
        return [self._told(found.document, span, config.extension_labels) for span in spans]

    def _told(self, document: Document, span: Span, labels: Sequence[str]) -> dict[str, Any]:
        if document.text is None or document.offsets is None:
            gap = "" if self.model.config.unit == "character" else " "
            start, end, word = span.start, span.end, gap.join(document.units[span.start : span.end])
        else:
            start, end = document.offsets[span.start][0], document.offsets[span.end - 1][1]
            word = document.text[start:end]
        return {"entity_group": labels[span.label], "score": span.score, "word": word, "start": start, "end": end}


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _chunks(inputs: Iterable, size: int) -> Iterator[list]:
    """So many inputs at a time; where they end in an error, first those before it, and then the error."""
    chunk: list[Any] = []
    try:
        for one in inputs:
            chunk.append(one)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except Exception:  # of the inputs: it goes through
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
