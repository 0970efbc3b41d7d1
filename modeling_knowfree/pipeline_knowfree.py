"""The `"knowfree"` pipeline: raw text or units in, labelled spans out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import Pipeline

from .decoding_knowfree import best_first, find_hits, resolve
from .units_knowfree import (
    KnowFreeCollator,
    Pieces,
    batches_by_cost,
    cut,
    encode_units,
    join_units,
    owner,
    sentence_ends,
    split_text,
    windows,
)

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
        num_workers (`int`): the same; texts are read in this process.

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
        if isinstance(ignore_labels, str) or not all(isinstance(label, str) for label in ignore_labels or ()):
            raise ValueError(f"ignore_labels={ignore_labels!r}: give a list of labels")
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(f"threshold={threshold}: give a probability between 0 and 1")
        if decoding not in (None, "flat", "nested", "all"):
            raise ValueError(f"decoding={decoding!r}: choose 'flat', 'nested' or 'all'")
        if overflow not in (None, "window", "error", "truncate"):
            raise ValueError(f"overflow={overflow!r}: choose 'window', 'error' or 'truncate'")
        if window_overlap is not None and window_overlap < 0:
            raise ValueError(f"window_overlap={window_overlap}: give 0 or more units")
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
        before, _, after = self._sanitize_parameters(**kwargs)
        before, after = {**self._preprocess_params, **before}, {**self._postprocess_params, **after}
        limits = self._limits((self._batch_size or 8) if batch_size is None else batch_size, spans_per_batch)
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
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: give 1 or more")
        if spans_per_batch is not None and spans_per_batch < 1:
            raise ValueError(f"spans_per_batch={spans_per_batch}: give 1 or more")
        return batch_size, spans_per_batch

    def _stream(
        self, inputs: Iterable, limits: tuple[int, int | None], before: dict, after: dict
    ) -> Iterator[list[dict]]:
        # Enough inputs at a time that sorting by length has something to sort.
        stream = iter(inputs)
        chunks = iter(lambda: list(islice(stream, 16 * limits[0])), [])
        for found in self._tag_each(chunks, limits, before, after):
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

            def begin() -> Future[list[dict]] | None:
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

    def _run(self, documents: list[dict], limits: tuple[int, int | None], after: dict) -> list[list[dict]]:
        """What `preprocess` made of some inputs to their spans."""
        jobs = [(document, window) for document in documents for window in document["windows"]]
        jobs.sort(key=lambda job: len(job[1]["pieces"].input_ids), reverse=True)
        lengths = [window["pieces"].num_units for _, window in jobs]
        start, running = 0, None
        for count in batches_by_cost(lengths, limits[0], self.model.config.max_span_width, limits[1]):
            batch, start = jobs[start : start + count], start + count
            logits = self.forward(self.collate([_feature(window["pieces"]) for _, window in batch]))["logits"]
            # A GPU already has its next batch while the hits of the last are fetched and become spans.
            if running is not None:
                self._keep_hits(*running, after)
            running = batch, logits
            if logits.device.type == "cpu":
                self._keep_hits(*running, after)
                running = None
        if running is not None:
            self._keep_hits(*running, after)
        return [document.get("found", []) for document in documents]

    def _keep_hits(self, batch: list, logits: torch.Tensor, after: dict) -> None:
        threshold = after.get("threshold", self.model.config.threshold)
        for (document, window), hits in zip(batch, find_hits(logits, threshold), strict=True):
            window["hits"] = hits
            if all("hits" in each for each in document["windows"]):
                document["found"] = self.postprocess(document, **after)

    def preprocess(  # type: ignore[override]
        self,
        inputs: Sequence,
        is_split_into_words: bool = False,
        overflow: str = "window",
        window_overlap: int = 64,
        cuts: Counter | None = None,
        first: int = 0,
    ) -> list[dict[str, Any]]:
        """Each input's units, their offsets, and its windows as pieces; errors count inputs from `first`."""
        documents: list[dict[str, Any]] = []
        for at, item in enumerate(inputs, first):
            _check_unicode(item, at)
            if is_split_into_words:
                if isinstance(item, str) or not all(isinstance(unit, str) for unit in item):
                    raise ValueError(f"input {at}: is_split_into_words=True takes a list of strings, got {item!r:.80}")
                documents.append({"input": at, "units": list(item), "offsets": None, "text": None})
            elif isinstance(item, str):
                offsets = split_text(item, self.model.config.unit) if item.strip() else []
                units = [item[start:end] for start, end in offsets]
                documents.append({"input": at, "units": units, "offsets": offsets, "text": item})
            else:
                hint = '; of a data set give one column: KeyDataset(data, "text")' if isinstance(item, dict) else ""
                raise ValueError(f"input {at}: takes text, got {type(item).__name__}: {item!r:.80}{hint}")
        filled = [document for document in documents if any(unit.strip() for unit in document["units"])]
        limit = self.model.config.max_pieces
        units_of = [document["units"] for document in filled]
        encoded = encode_units(self.tokenizer, units_of, None if overflow == "error" else limit)
        for document in documents:
            document["ranges"], document["windows"] = [], []
        for document, pieces in zip(filled, encoded, strict=True):
            if overflow == "error" and limit is not None and len(pieces.input_ids) > limit:
                raise ValueError(
                    f"input {document['input']} has {len(pieces.input_ids)} pieces, the encoder reads {limit}: "
                    'overflow="window" tags it all, overflow="truncate" its beginning'
                )
            lengths = getattr(self.model.config, "train_lengths", None) if overflow == "window" else None
            ranges = windows(pieces, limit, window_overlap, partial(self._sentence_ends, document), lengths)
            if overflow == "truncate":
                ranges = ranges[:1]
            document["ranges"] = ranges
            if cuts is not None and len(ranges) > 1:
                at_ends = sum(start in document["ends"] for start, _ in ranges[1:])
                cuts.update(texts=1, sentence_ends=at_ends, inside_sentences=len(ranges) - 1 - at_ends)
            whole = len(ranges) == 1 and ranges[0][1] == pieces.num_units
            document["windows"] = [{"pieces": pieces if whole else cut(pieces, *span)} for span in ranges]
        return documents

    def _sentence_ends(self, document: dict[str, Any]) -> list[int]:
        if document["text"] is None:
            document["ends"] = sentence_ends(*join_units(document["units"], self.model.config.unit))
        else:
            document["ends"] = sentence_ends(document["text"], document["offsets"])
        return document["ends"]

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """`Pipeline.forward`, whose answer stays on the device: of all logits only the hits' are ever fetched."""
        with self.device_placement(), self.get_inference_context()():
            return self._forward(self._ensure_tensor_on_device(batch, device=self.device))

    def _forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"logits": self.model(**batch).logits}

    def postprocess(  # type: ignore[override]
        self,
        document: dict[str, Any],
        threshold: float | None = None,
        decoding: str | None = None,
        ignore_labels: frozenset[str] = frozenset(),
    ) -> list[dict[str, Any]]:
        """Hits of all windows of one document to its spans."""
        config = self.model.config
        labels = config.target_labels
        ranges = document["ranges"]
        hits = [
            hit._replace(start=hit.start + left, end=hit.end + left)
            for at, ((left, _), window) in enumerate(zip(ranges, document["windows"], strict=True))
            for hit in window["hits"]
            if len(ranges) == 1 or owner(hit.start + left, hit.end + left, ranges) == at
        ]
        if len(ranges) > 1:
            hits.sort(key=best_first)
        gap = "" if config.unit == "character" else " "
        found = []
        for span in resolve(hits, decoding or config.decoding, config.multi_label):
            if labels[span.label] in ignore_labels:
                continue
            if document["text"] is None:
                start, end, word = span.start, span.end, gap.join(document["units"][span.start : span.end])
            else:
                start, end = document["offsets"][span.start][0], document["offsets"][span.end - 1][1]
                word = document["text"][start:end]
            found.append(
                {"entity_group": labels[span.label], "score": span.score, "word": word, "start": start, "end": end}
            )
        return found


def _check_unicode(item: Any, at: int) -> None:
    for text in [item] if isinstance(item, str) else item if isinstance(item, (list, tuple)) else ():
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"input {at}: character {error.start} (U+{ord(text[error.start]):04X}) is half of a surrogate pair, no "
                "Unicode text: write the whole character"
            ) from error


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _feature(pieces: Pieces) -> dict[str, Any]:
    return {"input_ids": pieces.input_ids, "unit_ids": pieces.unit_ids, "num_units": pieces.num_units}
