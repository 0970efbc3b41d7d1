"""The exported model without PyTorch: `OnnxTagger(folder)(texts)` gives the spans of the `"knowfree"` pipeline.

`knowfree export` writes this file beside `model.onnx`, with what it imports from the package put in its place: it needs
onnxruntime, tokenizers and numpy alone.
"""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from ..decoding_knowfree import Span, best_first, resolve
from ..units_knowfree import (
    check_count,
    check_unicode,
    check_units,
    cut,
    encode_units,
    join_units,
    split_text,
    tell_unspaced,
)
from ..windows_knowfree import owner, sentence_ends, windows

CELLS_AT_ONCE = 8_000  # span cells of one batch: what is computed of them stays in a cache


class OnnxTagger:
    """
    A KnowFREE model in ONNX.

    Args:
        folder: what `knowfree export` wrote.
        threads: of onnxruntime; by default its own choice.

    Raises:
        ValueError: a file of the folder is missing or damaged.
    """

    def __init__(self, folder: str | Path, threads: int = 0):
        folder = Path(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        providers = onnxruntime.get_available_providers()
        file = folder / "tagger.json"
        try:
            self.config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            unknown = self.config["unk_token"]
            file = folder / "tokenizer.json"
            self._tokenizer = _Words(file, unknown)
            file = folder / "model.onnx"
            self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:  # tokenizers raises no other class
            told = " ".join(str(error).split())
            raise ValueError(f"{file}: missing or damaged ({told:.200}); export the model again") from error

    def __call__(
        self,
        texts: str | Iterable[Any],
        *,
        threshold: float | None = None,
        decoding: str | None = None,
        batch_size: int = 32,
        is_split_into_words: bool = False,
        window_overlap: int = 64,
    ) -> list[Any]:
        """
        Args:
            texts: a string, or several; with `is_split_into_words` a list of units, or several.
            threshold: in (0, 1); default the model's.
            decoding: `flat`, `nested` or `all`; default the model's.
            batch_size: windows run together at most.
            window_overlap: units that windows inside one sentence share.

        Returns:
            For each text a list of `{"entity_group", "score", "word", "start", "end"}`; offsets are characters of the
            text, of units their indices. For a single text its list.

        Raises:
            ValueError: inputs of another kind or no Unicode, or an option without meaning.
        """
        check_count("batch_size", batch_size, 1)
        check_count("window_overlap", window_overlap, 0)
        if decoding not in (None, "flat", "nested", "all"):
            raise ValueError(f"decoding={decoding!r}: choose 'flat', 'nested' or 'all'")
        if isinstance(texts, dict | bytes) or not isinstance(texts, Iterable):
            raise ValueError(f"takes text, not {type(texts).__name__}: give a string or a list of them")
        given: list[Any] = [texts] if isinstance(texts, str) else list(texts)
        is_one = isinstance(texts, str)
        if is_split_into_words and not is_one and given and isinstance(given[0], str):
            given, is_one = [given], True
        floor: Any = self.config["threshold"] if threshold is None else threshold
        if not isinstance(floor, Real) or not 0 < float(floor) < 1:
            raise ValueError(f"threshold={floor!r}: give a probability between 0 and 1")
        documents = [self._document(text, at, is_split_into_words) for at, text in enumerate(given)]
        filled = [document for document in documents if any(unit.strip() for unit in document["units"])]
        limit = self.config["max_pieces"]
        jobs = []
        for document, pieces in zip(
            filled, encode_units(self._tokenizer, [document["units"] for document in filled], limit), strict=True
        ):
            document["ranges"] = windows(
                pieces,
                limit,
                window_overlap,
                partial(sentence_ends, document["text"], document["offsets"]),
                self.config["train_lengths"],
            )
            whole = len(document["ranges"]) == 1
            jobs += [
                (pieces if whole else cut(pieces, *extent), document, at)
                for at, extent in enumerate(document["ranges"])
            ]
        jobs.sort(key=lambda job: len(job[0].input_ids), reverse=True)
        while jobs:
            longest = jobs[0][0].num_units
            cells = longest * min(longest, self.config["max_span_width"] or longest)
            count = max(1, min(batch_size, CELLS_AT_ONCE // cells))
            self._run(jobs[:count], float(floor))
            jobs = jobs[count:]
        found = [self._spans(document, decoding or self.config["decoding"]) for document in documents]
        return found[0] if is_one else found

    def _document(self, text: Any, at: int, split: bool) -> dict[str, Any]:
        check_unicode(text, at)
        unit = self.config["unit"]
        if split:
            check_units(text, at)
            units = list(text)
            joined, offsets = join_units(units, unit)
            return {"text": joined, "offsets": offsets, "units": units, "split": True, "hits": [], "ranges": []}
        if not isinstance(text, str):
            raise ValueError(f"input {at}: takes text, got {type(text).__name__}: {text!r:.80}")
        offsets = split_text(text, unit) if text.strip() else []
        units = [text[start:end] for start, end in offsets]
        tell_unspaced(units, unit)
        return {"text": text, "offsets": offsets, "units": units, "split": False, "hits": [], "ranges": []}

    def _run(self, jobs: Sequence[tuple], threshold: float) -> None:
        """Run one batch of windows, and give each document its hits."""
        config, longest = self.config, max(len(pieces.input_ids) for pieces, _, _ in jobs)
        input_ids = np.full((len(jobs), longest), config["pad_token_id"], dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        unit_ids = np.full_like(input_ids, -1)
        for at, (pieces, _, _) in enumerate(jobs):
            size = len(pieces.input_ids)
            input_ids[at, :size], attention_mask[at, :size], unit_ids[at, :size] = pieces.input_ids, 1, pieces.unit_ids
        lengths = [pieces.num_units for pieces, _, _ in jobs]
        limit = config["max_span_width"] or max(lengths)
        block_starts, block_ends, cells, wanted = plan_cells(lengths, longest, limit, config["reach"], config["tile"])
        feed = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "unit_ids": unit_ids,
            "block_starts": block_starts,
            "block_ends": block_ends,
            "cells": cells,
        }
        (logits,) = self._session.run(["logits"], feed)  # (M - 2ω, n)
        logits, units = logits[wanted], cells[config["reach"] or 0 :][: len(wanted), 3:][wanted].tolist()
        for cell, label in np.argwhere(logits > math.log(threshold / (1 - threshold))).tolist():
            logit = float(logits[cell, label])
            (at, start), (_, end) = (divmod(unit, longest) for unit in units[cell])
            _, document, window = jobs[at]
            ranges = document["ranges"]
            left = ranges[window][0]
            first, last = start + left, end + left + 1
            if len(ranges) == 1 or owner(first, last, ranges) == window:
                document["hits"].append(Span(first, last, label, 1 / (1 + math.exp(-logit)), logit))

    def _spans(self, document: dict[str, Any], decoding: str) -> list[dict[str, Any]]:
        hits = sorted(document["hits"], key=best_first)
        answers = []
        for span in resolve(hits, decoding, self.config["multi_label"]):
            start, end = document["offsets"][span.start][0], document["offsets"][span.end - 1][1]
            answers.append(
                {
                    "entity_group": self.config["labels"][span.label],
                    "score": span.score,
                    "word": document["text"][start:end],
                    "start": span.start if document["split"] else start,
                    "end": span.end if document["split"] else end,
                }
            )
        return answers


def plan_cells(
    lengths: Sequence[int], stride: int, limit: int, reach: int | None, tile: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    The span cells of a batch that a model scores.

    Args:
        lengths: units of each sentence; unit u of sentence b has the number b·stride + u.
        limit: widest span that is wanted.
        reach: how many neighbours at both edges of a row of spans are needed too; `None`: the whole plane, no blocks.
        tile: of this is the number of cells between the first and last `reach` a multiple.

    Returns:
        Units that start spans `[N, R]` and that end them `[N, C]` of the N blocks, and `[M, 5]`: of each cell its
        block, row and column there, and the units of both. Cells that fill up, 0 throughout, stand at the end, and
        `reach` of them at the beginning. Last `[M - 2·reach]`: which of all but the first and last `reach` are wanted.
    """
    longest, near = max(lengths), reach or 0
    across = limit + 2 * near
    # Of long sentences a block is about as high as the band is wide, so that at most half of it is beside the band.
    rows = longest if reach is None else math.ceil(longest / math.ceil(longest / across))
    columns = longest if reach is None else min(longest, rows + across)
    starts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    found = [np.zeros((near, 5), np.int64)]
    for sentence, length in enumerate(lengths):
        unit, tops = np.arange(length), np.arange(0, length, rows)
        lefts = np.clip(tops - near, 0, longest - columns)
        low, high = np.maximum(unit - near, 0), np.minimum(unit + limit + near, length)
        if reach is None:
            low = unit
        width = high - low
        start = np.repeat(unit, width)
        end = np.arange(len(start)) + np.repeat(low - np.cumsum(width) + width, width)
        block, units = start // rows, sentence * stride
        placed = (len(starts) + block, start - tops[block], end - lefts[block], units + start, units + end)
        found.append(np.stack(placed, 1))
        for top, left in zip(tops, lefts, strict=True):
            starts.append(units + np.minimum(top + np.arange(rows), stride - 1))
            ends.append(units + left + np.arange(columns))
    count = sum(map(len, found)) - near
    found.append(np.zeros((near + -count % tile, 5), np.int64))
    cells = np.concatenate(found)
    width = (cells[:, 4] - cells[:, 3])[near : len(cells) - near]
    wanted = (width >= 0) & (width < limit) & (np.arange(len(width)) < count)
    return np.stack(starts), np.stack(ends), cells, wanted


class _Words:
    """`tokenizers.Tokenizer` as `encode_units` asks it."""

    is_fast = True

    def __init__(self, file: Path, unk_token: str | None):
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.unk_token = unk_token

    def __call__(self, sentences: Sequence[Sequence[str]], **_: Any) -> "_Encoded":
        return _Encoded(self._tokenizer.encode_batch([list(units) for units in sentences], is_pretokenized=True))


class _Encoded(dict):
    def __init__(self, encodings: Sequence[Any]):
        super().__init__(input_ids=[encoding.ids for encoding in encodings])
        self._encodings = encodings

    def word_ids(self, at: int) -> list[int | None]:
        return self._encodings[at].word_ids


if __name__ == "__main__":
    tagger = OnnxTagger(Path(__file__).parent)
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            sys.exit(f"line {number}: not UTF-8; mend: iconv -f ITS_ENCODING -t UTF-8")
        print(json.dumps(tagger(line.rstrip("\n")), ensure_ascii=False), flush=True)
