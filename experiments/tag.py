"""`knowfree evaluate` and `knowfree predict`: a finished model over a file, by one process or several."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import AutoConfig, AutoTokenizer

from modeling_knowfree import KnowFreeConfig, KnowFreeForTokenClassification, KnowFreePipeline
from modeling_knowfree.metrics_knowfree import span_scores
from modeling_knowfree.readers_knowfree import InputError, Row, read_rows

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
    try:
        config = AutoConfig.from_pretrained(model)
        if not isinstance(config, KnowFreeConfig):
            raise InputError(
                f"--model {model}: holds a {config.model_type} model, not a KnowFREE one; train one on it: "
                f"knowfree train --model_name_or_path {model} …"
            )
        network = KnowFreeForTokenClassification.from_pretrained(model, config=config)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"--model {model}: cannot be loaded: {' '.join(str(error).split()):.300}") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"--model {model}: has no tokenizer; copy the encoder's there: "
            'AutoTokenizer.from_pretrained("<encoder>").save_pretrained("<folder>")'
        ) from error
    return KnowFreePipeline(model=network, tokenizer=tokenizer, task="knowfree", device=processes().device)


def tag(pipe: KnowFreePipeline, rows: Iterable[Row], *, batch_size: int, **options: Any) -> Iterator[tuple[Row, list]]:
    """
    Rows with their spans, in input order; every process reads all rows and tags its share, the main process yields.
    Memory does not grow with the number of rows.

    Args:
        rows: all with `tokens`, or all with `text`.
        options: `threshold`, `decoding`.

    Raises:
        InputError: a row unlike the first.
    """
    state = processes()
    stream = iter(rows)
    share = BATCHES_AT_ONCE * batch_size
    key = None
    while chunk := list(islice(stream, share * state.num_processes)):
        key = key or ("tokens" if "tokens" in chunk[0] else "text")
        for row in chunk:
            if key not in row:
                raise InputError(f"row {row.get('id', row)!r:.80} has no {key!r}, the first row has: give one kind")
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
        data: file in any layout of `readers_knowfree`.
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
    model: str, lines: Iterable[str], *, name: str, text: bool, batch_size: int = 8, **options: Any
) -> Iterator[str]:
    """
    JSON lines for JSON lines, or for lines of raw text, in input order.

    Args:
        model: folder or Hub id.
        lines: each a JSON object with `tokens` or `text`; with `text=True` each a text.
        name: what errors call the input.
        options: `threshold`, `decoding`.

    Yields:
        `{"id", "tokens" | "text", "entities": [{"start", "end", "label", "score", "word"}]}`, offsets in units for
        tokens, in characters for text.

    Raises:
        InputError: a bad model folder or line.
    """
    pipe = load_pipeline(model)
    rows = ({"text": line.rstrip("\r\n")} for line in lines) if text else _parse(lines, name)
    tagged = tag(pipe, rows, batch_size=batch_size, **options)
    for row, spans in tqdm(tagged, desc="predict", unit="sentence", disable=not processes().is_main_process):
        row["entities"] = [
            {"start": s["start"], "end": s["end"], "label": s["entity_group"], "score": s["score"], "word": s["word"]}
            for s in spans
        ]
        yield json.dumps(row, ensure_ascii=False)


def _parse(lines: Iterable[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line.lstrip("\ufeff"))
        except ValueError as error:
            raise InputError(f"{where}: not JSON ({error}): {line.strip()!r:.60}; for raw text add --text") from error
        if not isinstance(row, dict) or not (isinstance(row.get("text"), str) or _are_units(row.get("tokens"))):
            raise InputError(
                f'{where}: {line.strip()!r:.60}; write {{"tokens": ["…", "…"]}} or {{"text": "…"}}, or add --text'
            )
        yield {key: row[key] for key in ("id", "tokens" if "tokens" in row else "text") if key in row}


def _are_units(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(unit, str) for unit in value)
