"""A cell trained, the test set tagged, and its folder put in its place."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import torch
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from augmentation.pipeline import STORE_FILE
from modeling_knowfree.data.readers import iterate_rows
from modeling_knowfree.data.rows import Row, span_sets, write_rows
from modeling_knowfree.data.stored import stored_rows
from modeling_knowfree.files import write_whole
from modeling_knowfree.inference.tag import entities_of, load_pipeline, tag
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.pipeline_knowfree import KnowFreePipeline
from modeling_knowfree.training.arguments import KnowFreeTrainingArguments
from modeling_knowfree.training.checkpoints import whole_checkpoints
from modeling_knowfree.training.command_line import parse_arguments
from modeling_knowfree.training.train import train
from modeling_knowfree.units_knowfree import infer_unit, join_units

from ..baselines.bio_tagging import predict_bio, train_bio
from ..baselines.tagger import predict_tagger, train_tagger
from .arguments import names_of, shaping_arguments
from .cells import Cell
from .results import PREDICTIONS_FILE
from .settings import CELL_FILE

BATCH_SIZE = 32


def finish(cell: Cell, test: list[Row], budget: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Train a cell, tag the test set, and put the finished folder in its place in one step. A training that was stopped or
    killed goes on from its last checkpoint, where it was made from the same, and ends in the same result.

    Args:
        budget: `max_requests`, `max_total_tokens`, `max_usd`, where the LLM tags the test set; what it spends is noted
            in it.

    Returns:
        Its line of results.jsonl.
    """
    work = cell.folder.with_name(f".{cell.folder.name}.unfinished")
    key = cell.key()  # before: what is edited while it trains must not pass for what it learnt from
    begun = work.with_suffix(".key")
    goes_on = begun.is_file() and begun.read_text(encoding="utf-8") == key and bool(whole_checkpoints(work))
    if not goes_on or cell.definition.tagger == "llm_lora":  # which cannot
        shutil.rmtree(work, ignore_errors=True)
        write_whole(begun, key)
    started = time.perf_counter()
    asked: dict[str, Any] = {}
    tag_seconds: float | None = None
    if cell.definition.asks_llm:
        predicted, asked = _tag_by_llm(cell, work, test, budget)
        dev_f1 = None
        curve: list[Any] = []
    elif cell.definition.tagger == "span":
        dev_f1, curve, predicted, tag_seconds = _finish_span(cell, work, test)
    else:
        finishers = {"bio": _finish_bio, "bio_crf": _finish_bio, "llm_lora": _finish_lora}
        dev_f1, curve, predicted = finishers.get(cell.definition.tagger, _finish_network)(cell, work, test)
    seconds = time.perf_counter() - started
    found = [
        {"id": row["id"], "tokens": row["tokens"], "entities": spans}
        for row, spans in zip(test, predicted, strict=True)
    ]
    write_rows(work / PREDICTIONS_FILE, found)
    rows = list(stored_rows(cell.train_file))
    scores = span_scores(span_sets(test), span_sets(found))
    synthetic = sum(bool(row.get("synthetic")) for row in rows)
    pool = sum(row.get("source") == "pool" for row in rows)
    result = {
        "dataset": cell.settings.dataset,
        "subset": cell.subset,
        "variant": cell.variant,
        "seed": cell.seed,
        **{name: scores[name] for name in ("f1", "precision", "recall", "macro_f1")},
        "dev_f1": dev_f1,
        "curve": curve,
        "train_rows": len(rows),
        "gold_rows": len(rows) - synthetic - pool,
        "synthetic_rows": synthetic,
        "pool_rows": pool,
        "updates": 0 if asked else cell.updates,
        **({"llm": asked} if asked else {}),
        "seconds": round(seconds, 1),
        "tag_seconds": tag_seconds,
        "threads": torch.get_num_threads(),
        "per_label": scores["per_label"],
        "versions": {name: version(name) for name in ("knowfree", "torch", "transformers")}
        | {"python": python_version()},
        "key": key,
    }
    (work / CELL_FILE).write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(cell.folder, ignore_errors=True)
    os.replace(work, cell.folder)
    begun.unlink()
    return result


def fit(cell: Cell, rows: Sequence[Row], folder: Path) -> float | None:
    """
    Train what `cell` would be on other rows, for use on the way to it; the test file is not looked at.

    Args:
        folder: of the model; what lies there is replaced.

    Returns:
        Its dev F1, where there is a validation file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    train_file = folder.with_name(f"{folder.name}.jsonl")
    write_rows(train_file, rows)
    with redirect_stdout(sys.stderr):
        results = train(cell.arguments(folder) | {"train_file": str(train_file)})
    train_file.unlink()
    _remove_checkpoints(folder)
    return results.get("validation", {}).get("validation_f1")


def _arguments(cell: Cell, work: Path) -> dict[str, Any]:
    """Of `knowfree train`, which goes on where checkpoints lie."""
    return cell.arguments(work) | ({"resume_from_checkpoint": "True"} if whole_checkpoints(work) else {})


Finished = tuple[float | None, list[list[float]], list[list[dict[str, Any]]]]
"""Dev F1, curve, predictions of the test rows."""


def _finish_span(
    cell: Cell, work: Path, test: list[Row]
) -> tuple[float | None, list[list[float]], list[list[dict[str, Any]]], float]:
    """As `Finished`, and the seconds that tagging the test rows took."""
    with redirect_stdout(sys.stderr):  # what the Trainer logs
        results = train(_arguments(cell, work))
    state = json.loads((work / "trainer_state.json").read_text(encoding="utf-8"))
    curve = [[entry["step"], entry["eval_f1"]] for entry in state["log_history"] if "eval_f1" in entry]
    _remove_checkpoints(work)
    pipe = load_pipeline(str(work))  # takes as long for one sentence as for a thousand
    started = time.perf_counter()
    predicted = list(_spans(pipe, test))
    seconds = round(time.perf_counter() - started, 2)
    return results.get("validation", {}).get("validation_f1"), curve, predicted, seconds


def tag_rows(model: Path, rows: Sequence[Row], **options: Any) -> Iterator[list[dict[str, Any]]]:
    """The spans that a finished model finds in each row: `start`, `end`, `label`, `score`, `word`; `options`: see
    `tag`."""
    return _spans(load_pipeline(str(model)), rows, **options)


def _spans(pipe: KnowFreePipeline, rows: Sequence[Row], **options: Any) -> Iterator[list[dict[str, Any]]]:
    tokens = ({"tokens": row["tokens"]} for row in rows)
    for _, spans in tag(pipe, tokens, batch_size=BATCH_SIZE, **options):
        yield entities_of(spans)


def _finish_bio(cell: Cell, work: Path, test: list[Row]) -> Finished:
    model_args, data_args, args = parse_arguments(cell.arguments(work))
    assert data_args.train_file is not None
    told = {"learning_rate", "head_learning_rate", "per_device_train_batch_size", "weight_decay"}
    given = shaping_arguments(cell.settings, cell.definition).keys() & names_of(KnowFreeTrainingArguments) - told
    with redirect_stdout(sys.stderr):
        results = train_bio(
            data_args.train_file,
            validation_file=data_args.validation_file,
            output_dir=str(work),
            model_name_or_path=model_args.encoder_folder(cell.settings.unit),
            labels=data_args.labels,
            crf=cell.definition.tagger == "bio_crf",
            max_steps=cell.updates,
            seed=cell.seed,
            learning_rate=args.learning_rate,
            head_learning_rate=args.head_learning_rate,
            batch_size=args.per_device_train_batch_size,
            dropout=model_args.head_dropout,
            weight_decay=args.weight_decay,
            overlapping=True,
            resume_from_checkpoint="last" if whole_checkpoints(work) else None,
            **{name: getattr(args, name) for name in given},
        )
    _remove_checkpoints(work)
    return (
        results["validation"].get("validation_f1"),
        results["curve"],
        _spelt(test, predict_bio(work, test, BATCH_SIZE)),
    )


def _finish_network(cell: Cell, work: Path, test: list[Row]) -> Finished:
    with redirect_stdout(sys.stderr):
        results = train_tagger(cell.definition.tagger, _arguments(cell, work), lexicon=cell.settings.lexicon)
    _remove_checkpoints(work)
    found = predict_tagger(work, test, BATCH_SIZE)
    return results["validation"].get("validation_f1"), results["curve"], _spelt(test, found)


def _finish_lora(cell: Cell, work: Path, test: list[Row]) -> Finished:
    from ..baselines.llm_lora import predict_llm_lora, train_llm_lora

    settings = cell.settings
    with redirect_stdout(sys.stderr):
        results = train_llm_lora(
            cell.arguments(work),
            language=settings.language,
            flat=settings.task != "nested_ner",
            **cell.told_labels(),
            **settings.lora,
        )
    return results["validation"].get("validation_f1"), results["curve"], _spelt(test, predict_llm_lora(work, test))


def _tag_by_llm(
    cell: Cell, work: Path, test: list[Row], budget: dict[str, Any] | None
) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """The LLM's spans in the test set, and what they took. The rows of a run share answers, unless these are recorded:
    they cost nothing, and a row may have its own files."""
    from ..baselines.llm_tagging import tag_with_llm

    settings, labels = cell.llm_settings(), cell.settings.labels
    assert labels is not None  # `Run` filled them in
    store = (work if settings.client == "recorded" else cell.folder.parents[2]) / STORE_FILE
    examples = settings.target_examples if cell.definition.tagger == "llm_few" else 0
    gold = list(iterate_rows(cell.train_file)) if examples else []
    tagging = tag_with_llm(test, gold, labels, settings, store, examples=examples, budget=budget)
    work.mkdir(parents=True, exist_ok=True)
    return _spelt(test, [[(*span, 1.0) for span in spans] for spans in tagging.spans]), tagging.numbers


def _spelt(rows: list[Row], found: list[list[tuple[int, int, str, float]]]) -> list[list[dict[str, Any]]]:
    """Spans `(start, end, label, score)` of each row as predictions are written, the words they cover beside them."""
    unit = infer_unit(rows)
    return [
        [
            {"start": start, "end": end, "label": label, "score": score, "word": join_units(tokens[start:end], unit)[0]}
            for start, end, label, score in spans
        ]
        for tokens, spans in zip((row["tokens"] for row in rows), found, strict=True)
    ]


def _remove_checkpoints(folder: Path) -> None:
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        shutil.rmtree(checkpoint)
