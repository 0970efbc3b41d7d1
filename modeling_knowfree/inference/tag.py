"""`knowfree evaluate` and `knowfree predict`: a finished model over a file, by one process or several."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from .. import KnowFreeConfig, KnowFreeForTokenClassification, KnowFreePipeline
from ..data.readers import InputError, Row, read_rows
from ..data.rows import Line, Place, bad_input, check_encodable, decode_lines, show
from ..loading import load_config, load_tokenizer, refuse_pickles, told_in_one_line
from ..metrics import span_scores

LONGEST = 1_000_000  # characters or tokens of one input: more would fill the memory of a small machine
BATCHES_AT_ONCE = 16  # sentences are sorted by length within this many batches


def processes() -> PartialState:
    """The processes that this command runs in: their number, this one's index and device."""
    # Unless told that it is on a CPU, each of several processes there believes itself alone.
    return PartialState(cpu=not torch.accelerator.is_available())


def load_pipeline(model: str) -> KnowFreePipeline:
    """
    The tagger in a folder or Hub repository, on this process's device.

    Raises:
        InputError: nothing there, not a KnowFREE model, no tokenizer, or weights that cannot be read.
    """
    if not Path(model).is_dir() and (Path(model).exists() or model.count("/") != 1 or model.startswith(("/", "."))):
        raise InputError(f"--model {model}: no such folder; name one that `knowfree train` wrote, or a Hub id")
    with told_in_one_line(f"--model {model}"):
        config = load_config(model)
        if not isinstance(config, KnowFreeConfig):
            raise InputError(
                f"--model {model}: holds a {config.model_type} model, not a KnowFREE one; train one on it: "
                f"knowfree train --model_name_or_path {model} …"
            )
        refuse_pickles(model)
        network = KnowFreeForTokenClassification.from_pretrained(model, config=config, trust_remote_code=False)
        tokenizer = load_tokenizer(model)
        return KnowFreePipeline(model=network, tokenizer=tokenizer, task="knowfree", device=processes().device)


def tag(
    pipe: KnowFreePipeline,
    rows: Iterable[Row],
    *,
    batch_size: int,
    batches_at_once: int = BATCHES_AT_ONCE,
    **options: Any,
) -> Iterator[tuple[Row, list]]:
    """
    Rows with their spans, in input order; every process reads all rows and tags its share, the main process yields.
    Memory does not grow with the number of rows.

    Args:
        rows: all with `tokens`, or all with `text`.
        batches_at_once: how many batches of rows each process reads before it tags any.
        options: `threshold`, `decoding`.
    """
    state = processes()
    stream = iter(rows)
    share = batches_at_once * batch_size
    while chunk := list(islice(stream, share * state.num_processes)):
        key = "tokens" if "tokens" in chunk[0] else "text"
        mine = [row[key] for row in chunk[state.process_index * share : (state.process_index + 1) * share]]
        found = pipe(mine, batch_size=batch_size, is_split_into_words=key == "tokens", **options) if mine else []
        # One object a process: gather_object joins lists, and keeps the order of processes.
        everyone = gather_object([found]) if state.num_processes > 1 else [found]
        if state.is_main_process:
            yield from zip(chunk, (spans for part in everyone for spans in part), strict=True)


def evaluate(model: str, data: str, *, batch_size: int = 8, **options: Any) -> dict[str, Any] | None:
    """
    Score a model on a file, through the pipeline, windows included.

    Args:
        model: folder or Hub id.
        data: file in any layout of `data.readers`.
        options: `threshold`, `decoding`.

    Returns:
        `span_scores` of the file; `None` in all but the main process.

    Raises:
        InputError: for a bad model folder or file, or gold labels that the model does not know.
    """
    pipe = load_pipeline(model)
    rows = read_rows(data, unit=pipe.model.config.unit, labels=pipe.model.config.target_labels)
    main = processes().is_main_process
    tagged = tag(pipe, rows, batch_size=batch_size, **options)
    predicted = [
        [(span["start"], span["end"], span["entity_group"]) for span in spans]
        for _, spans in tqdm(tagged, total=len(rows), desc="evaluate", unit="sentence", disable=not main)
    ]
    if not main:
        return None
    gold = [[(span["start"], span["end"], span["label"]) for span in row["entities"]] for row in rows]
    return span_scores(gold, predicted)


def predict(
    model: str, lines: Iterable[bytes], *, name: str, text: bool, batch_size: int = 8, **options: Any
) -> Iterator[str]:
    """
    JSON lines for JSON lines, or for lines of raw text, in input order.

    Args:
        model: folder or Hub id.
        lines: in UTF-8, each a JSON object with `tokens` or `text`; with `text=True` each a text.
        name: what errors call the input; `-` for standard input, which is answered batch by batch.
        options: `threshold`, `decoding`.

    Yields:
        `{"id", "tokens" | "text", "entities": [{"start", "end", "label", "score", "word"}]}`, offsets in units for
        tokens, in characters for text.

    Raises:
        InputError: a bad model folder or line, a line unlike the first, standard input for several processes.
    """
    piped = name == "-"
    if piped and processes().num_processes > 1:
        raise InputError("--input -: only one process can read standard input; name a file, or start one process")
    pipe = load_pipeline(model)
    numbered = decode_lines(lines, name)
    rows = (_raw(line, name) for line in numbered) if text else _parse(numbered, name)
    # Whoever writes to a pipe may wait for the answer.
    at_once = 1 if piped else BATCHES_AT_ONCE
    tagged = tag(pipe, rows, batch_size=batch_size, batches_at_once=at_once, **options)
    for row, spans in tqdm(tagged, desc="predict", unit="sentence", disable=not processes().is_main_process):
        row["entities"] = [
            {"start": s["start"], "end": s["end"], "label": s["entity_group"], "score": s["score"], "word": s["word"]}
            for s in spans
        ]
        yield json.dumps(row, ensure_ascii=False)


def _raw(line: Line, name: str) -> Row:
    _check_length(len(line.text), "characters", Place(name, line.number))
    return {"text": line.text}


def _check_length(length: int, what: str, place: Place) -> None:
    if length > LONGEST:
        bad_input(
            place,
            f"too long: {length:,} {what}",
            allowed=f"up to {LONGEST:,}",
            mend="split it into lines: each is read in windows anyway",
        )


def _parse(lines: Iterable[Line], name: str) -> Iterator[Row]:
    key = None
    for number, line in lines:
        if not line.strip():
            continue
        place = Place(name, number)
        allowed = '{"tokens": ["…", "…"]} or {"text": "…"}'
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad_input(place, f"not JSON ({error}): {show(line)}", allowed=allowed, mend="for raw text add --text")
        given = _kinds(row)
        if not given:
            bad_input(place, show(line), allowed=allowed, mend="write it as one of these; for raw text add --text")
        key = key or given[0]
        if key not in given:
            bad_input(
                place, f"has {given[0]!r}, the first line has {key!r}", allowed="one of the two", mend="tag two files"
            )
        _check_length(len(row[key]), "characters" if key == "text" else "tokens", place)
        row = {kept: row[kept] for kept in ("id", key) if kept in row}
        check_encodable(json.dumps(row, ensure_ascii=False), "the row", place)
        yield row


def _kinds(row: Any) -> list[str]:
    """Which of `tokens` and `text` a parsed line has, in a form that can be tagged."""
    if not isinstance(row, dict):
        return []
    tokens = row.get("tokens")
    are_units = isinstance(tokens, list) and all(isinstance(unit, str) for unit in tokens)
    return ["tokens"] * are_units + ["text"] * isinstance(row.get("text"), str)
