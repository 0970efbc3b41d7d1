"""`knowfree predict` over a long file: memory, speed, and the same bytes from several processes.

    python -m benchmarks.bench_stream

A model with a small BERT of random weights tags short random sentences, so that reading, batching and writing weigh as
much as they ever will. Peak memory is the resident set of a process; of several, the largest. Seconds are wall or
processor time, as `--clock` says, start-up included; the speed printed at the end leaves it out (the longest file less
the shortest), beside that of the pipeline called in this process.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertTokenizerFast

from benchmarks.bench_predict import LABELS, SETS, join, random_sentences
from benchmarks.side_by_side import CLOCKS, argument_parser, report
from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification

ENCODER = {
    "model_type": "bert",
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}
# Runs the command given and prints the peak resident KB of the largest process.
WATCHED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def make_model(folder: Path, units: list[list[str]], unit: str) -> None:
    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    config = KnowFreeConfig(
        ENCODER,
        unit=unit,
        id2label=names,
        label2id={label: column for column, label in names.items()},
        head_size=32,
        span_size=40,
        max_span_width=16,
    )
    model = KnowFreeForTokenClassification(config).eval()
    torch.nn.init.constant_(model.classifier.bias, -1.5)  # some spans a sentence, not all
    model.save_pretrained(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({token for row in units for token in row})]
    (folder / "vocab.txt").write_text("\n".join(vocabulary[:1000]), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=512).save_pretrained(folder)


def command(folder: Path, source: Path, processes: int, options: Namespace) -> tuple[str, float, float]:
    """SHA-256 of what `knowfree predict` writes, its peak resident MB, and its seconds."""
    words = ["-m", "knowfree", "predict", "--model", str(folder), "--input", str(source), "--text"]
    words += ["--batch_size", str(options.batch_size)]
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *words]
    output, told = folder / "output.jsonl", folder / "progress.txt"
    now = CLOCKS[options.clock]
    start = now()
    with output.open("wb") as written, told.open("wb") as progress:
        subprocess.run(
            [sys.executable, "-c", WATCHED, sys.executable, *words],
            stdout=written,
            stderr=progress,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
        )
    seconds = now() - start
    *shown, peak_kb = told.read_text(encoding="utf-8").splitlines()
    if not any("predict" in line and "sentence/s" in line for line in shown):
        raise RuntimeError(f"no progress bar in what the command told: {shown[-3:]}")
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    return digest, int(peak_kb) / 1024, seconds


def pipeline_rate(folder: Path, lines: list[str], options: Namespace) -> float:
    """Sentences a second of the command's function in this process, model loaded."""
    now = CLOCKS[options.clock]
    pipe = load_pipeline(str(folder))
    pipe(lines[:200], batch_size=options.batch_size)
    start = now()
    pipe(lines, batch_size=options.batch_size)
    return len(lines) / (now() - start)


def main(arguments: Sequence[str]) -> None:
    parser = argument_parser(__doc__, repeats=1)
    parser.set_defaults(threads=1)  # of each process: rounding differs between numbers of threads, and so would bytes
    parser.add_argument("--sentences", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--lengths-of", choices=list(SETS), default="mit-movie", help="data set whose lengths the sentences have"
    )
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    few = random_sentences(options.lengths_of, 2000)
    lines = [join(options.lengths_of, units) for units in few]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        make_model(folder, few, SETS[options.lengths_of][0])
        rate = pipeline_rate(folder, lines, options)
        source = folder / "input.txt"
        for count in options.sentences:
            source.write_text("".join(lines[at % len(lines)] + "\n" for at in range(count)), encoding="utf-8")
            alone, peak, seconds = command(folder, source, 1, options)
            rows.append((count, 1, seconds, peak, None))
            together, peak, seconds = command(folder, source, options.processes, options)
            rows.append((count, options.processes, seconds, peak, together == alone))
            print(f"{count} sentences: {rows[-2:]}", file=sys.stderr, flush=True)
    first, last = rows[0], rows[-2]
    report("stream", ["sentences", "processes", "seconds", "peak MB", "same bytes"], rows, options)
    if last[0] > first[0]:
        streamed = (last[0] - first[0]) / (last[2] - first[2])
        print(f"{streamed:.0f} sentences/s, start-up left out; the pipeline alone {rate:.0f}/s: {streamed / rate:.3f}")
    if not all(same for *_, same in rows if same is not None):
        sys.exit("processes together wrote other bytes than one alone")


if __name__ == "__main__":
    main(sys.argv[1:])
