"""Sentences a second and F1 of the exported model, fp32 and int8, beside our PyTorch pipeline on the same sentences.

    python -m benchmarks.bench_export --model runs/demo-zh/model --data examples/demo/zh/test.jsonl

Each tags the file's texts in batches of `--batch-size`, windows and decoding included, as `knowfree predict` does. To
reach: ONNX 1.3 times the pipeline, int8 2.5 times; the same spans in fp32, int8 within 0.5 F1.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch

from benchmarks.side_by_side import argument_parser, interleaved, median_ratio, report
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.inference.export import export_onnx
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.metrics import span_scores

AIMS = {"onnx": 1.3, "int8": 2.5}


def exported_tagger(folder: Path, threads: int) -> Callable:
    """The tagger out of the file that was written beside the model."""
    spec = spec_from_file_location(folder.name, folder / "onnx_tagger.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OnnxTagger(folder, threads=threads)


def measure(model: str, data: str, options: argparse.Namespace) -> list[tuple]:
    """One row a tagger: name, F1, sentences with other spans than the pipeline's, sentences a second, ratio, aim."""
    pipe = load_pipeline(model, "cpu")
    rows = read_rows(data, unit=pipe.model.config.unit)[: options.sentences]
    units = [row["tokens"] for row in rows]
    gold = [[(span["start"], span["end"], span["label"]) for span in row["entities"]] for row in rows]
    taggers: dict[str, Any] = {"pipeline": pipe}
    with tempfile.TemporaryDirectory() as work:
        for name in AIMS:
            folder = export_onnx(model, Path(work) / name, int8=name == "int8")
            taggers[name] = exported_tagger(folder, options.threads)
        call = {"batch_size": options.batch_size, "is_split_into_words": True}
        found = {name: [_plain(spans) for spans in tagger(units, **call)] for name, tagger in taggers.items()}
        seconds = interleaved(
            {name: (lambda tagger=tagger: tagger(units, **call)) for name, tagger in taggers.items()},
            options.repeats,
            options.clock,
        )
    return [
        (
            *(Path(data).parent.name, name, 100 * span_scores(gold, found[name])["f1"]),
            sum(mine != theirs for mine, theirs in zip(found[name], found["pipeline"], strict=True)),
            len(units) / statistics.median(seconds[name]),
            median_ratio(seconds["pipeline"], seconds[name]),
            AIMS.get(name),
        )
        for name in taggers
    ]


def _plain(spans: Sequence[dict[str, Any]]) -> list[tuple[int, int, str]]:
    return [(span["start"], span["end"], span["entity_group"]) for span in spans]


def main(arguments: Sequence[str]) -> None:
    """Print and write one table; exit status 1 where spans differ in fp32 or int8 loses more than 0.5 F1."""
    parser = argument_parser(__doc__, repeats=5)
    parser.add_argument("--model", action="append", required=True, help="folder or Hub id; repeatable")
    parser.add_argument("--data", action="append", required=True, help="its annotated sentences; one for each --model")
    parser.add_argument("--batch-size", type=int, default=16, help="that of `knowfree predict`")
    parser.add_argument("--sentences", type=int, default=500, help="at most so many")
    options = parser.parse_args(arguments)
    if len(options.model) != len(options.data):
        parser.error("--data: give one for each --model")
    torch.set_num_threads(options.threads)
    rows = [
        row for model, data in zip(options.model, options.data, strict=True) for row in measure(model, data, options)
    ]
    columns = ["data", "tagger", "F1", "sentences with other spans", "sentences/s", "ratio", "aim"]
    report("export", columns, rows, options)
    f1 = {row[:2]: row[2] for row in rows}
    lost = [data for data, name in f1 if name == "int8" and f1[data, "pipeline"] - f1[data, name] > 0.5]
    sys.exit(int(bool(lost) or any(row[3] for row in rows if row[1] == "onnx")))


if __name__ == "__main__":
    main(sys.argv[1:])
