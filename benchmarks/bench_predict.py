"""Sentences a second through the pipeline and the command line, beside transformers' token-classification pipeline.

    python -m benchmarks.bench_predict

Both have the same BERT-base encoder with the same random weights, and output biases set so that each finds about as
many entities as the data have; both run at their best batch size of those given. `--data` names the folder of the data
sets, of whose test sentences a sample is tagged. Without it sentences are random characters or words, as long as those
of the data sets: lengths are drawn from the deciles of their test splits.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertForTokenClassification, BertModel, BertTokenizerFast, pipeline

from benchmarks.side_by_side import CLOCKS, argument_parser, interleaved, median_ratio, precision, report
from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.pipeline_knowfree import KnowFreePipeline

LONGEST = 500  # units: what both pipelines tag without cutting the sentence
# unit; deciles of units a sentence, shortest and longest included; mean entities a sentence: the test splits'
SETS = {
    "weibo": ("character", (10, 15, 20, 25, 35, 45, 54, 70, 86, 117, 146), 1.5),
    "mit-movie": ("word", (3, 15, 16, 17, 18, 19, 20, 21, 23, 27, 76), 2.9),
    "cmeee": ("character", (7, 19, 25, 30, 35, 42, 49, 58, 70, 89, LONGEST), 3.9),  # the longest: 1,804
}
LABELS = [f"T{column}" for column in range(8)]


def real_sentences(data: Path, name: str, count: int) -> list[list[str]]:
    """Units of `count` random test sentences of `data/name/test.jsonl`."""
    with (data / name / "test.jsonl").open(encoding="utf-8") as lines:
        rows = [tokens for line in lines if len(tokens := json.loads(line)["tokens"]) <= LONGEST]
    return random.Random(0).sample(rows, min(count, len(rows)))


def random_sentences(name: str, count: int) -> list[list[str]]:
    """Units of `count` random sentences, Chinese characters or short words; lengths as in the data set `name`."""
    unit, deciles, _ = SETS[name]
    drawn = random.Random(0)
    lengths = []
    for at in range(count):
        low, high = deciles[at % 10 : at % 10 + 2]  # each tenth of the distribution as often as the others
        # Within the last tenth most sentences are far from the longest.
        lengths.append(round(low + (high - low) * drawn.random() ** (4 if at % 10 == 9 else 1)))
    drawn.shuffle(lengths)
    symbols, size = (range(0x4E00, 0x5000), 1) if unit == "character" else (range(ord("a"), ord("z") + 1), 2)
    letters = [chr(symbol) for symbol in symbols]
    return [["".join(drawn.choices(letters, k=size)) for _ in range(length)] for length in lengths]


def make_models(
    folder: Path, name: str, rows: list[list[str]], layers: int, device: str = "cpu"
) -> tuple[KnowFreePipeline, Callable]:
    """Our pipeline and transformers', on one encoder."""
    unit, _, entities = SETS[name]
    torch.manual_seed(0)
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *sorted({token for row in rows for token in row if token.strip()}),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=512)
    encoder_config = BertConfig(vocab_size=21_128, num_hidden_layers=layers)
    encoder = BertModel(encoder_config, add_pooling_layer=False)

    names = dict(enumerate(LABELS))
    labels = {"id2label": names, "label2id": {label: column for column, label in names.items()}}
    config = KnowFreeConfig(encoder_config, unit=unit, unit_votes=True, **labels)
    span_model = KnowFreeForTokenClassification(config).eval()
    span_model.knowfree.encoder.load_state_dict(encoder.state_dict())
    ours = KnowFreePipeline(model=span_model, tokenizer=tokenizer, task="knowfree", device=device)

    tags = {
        0: "O",
        **{2 * at + 1 + inside: f"{'BI'[inside]}-{label}" for at, label in names.items() for inside in (0, 1)},
    }
    tagger = BertForTokenClassification(
        BertConfig(vocab_size=21_128, num_hidden_layers=layers, id2label=tags, label2id={v: k for k, v in tags.items()})
    ).eval()
    tagger.bert.load_state_dict(encoder.state_dict())
    theirs = pipeline(
        "token-classification",
        model=tagger,
        tokenizer=tokenizer,
        aggregation_strategy="simple",
        device=device,
        trust_remote_code=False,
    )

    texts = [join(name, row) for row in rows[:40]]
    wanted = entities * len(texts)
    _calibrate(span_model.classifier.bias, slice(None), -1, lambda: sum(map(len, ours(texts))), wanted)
    _calibrate(tagger.classifier.bias, slice(0, 1), 1, lambda: sum(map(len, theirs(texts))), wanted)
    return ours, theirs


def _calibrate(bias: torch.Tensor, part: slice, sign: int, count: Callable[[], int], wanted: float) -> None:
    """Bisect the output bias until about the wanted number of entities is found."""
    low, high = 0.0, 12.0
    for _ in range(9):
        middle = (low + high) / 2
        with torch.no_grad():
            bias[part] = sign * middle
        low, high = (middle, high) if count() > wanted else (low, middle)


def join(name: str, row: list[str]) -> str:
    return ("" if SETS[name][0] == "character" else " ").join(row)


def best_batch_size(run: Callable[[int], object], sizes: Sequence[int], clock: str) -> int:
    seconds = interleaved({str(size): (lambda size=size: run(size)) for size in sizes}, 2, clock)
    return min(sizes, key=lambda size: min(seconds[str(size)]))


def command_line(folder: Path, texts: list[str], batch_size: int, options: argparse.Namespace) -> float:
    """Sentences a second of `knowfree predict`, start-up not counted: three times the file less the file once."""
    now, seconds = CLOCKS[options.clock], []
    for times in (1, 3):
        (folder / "input.txt").write_text("\n".join(texts * times) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "knowfree", "predict", "--model", str(folder), "--input"]
        command += [str(folder / "input.txt"), "--text", "--batch_size", str(batch_size)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        start = now()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        seconds.append(now() - start)
    return 2 * len(texts) / (seconds[1] - seconds[0])


def main(arguments: Sequence[str]) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--data", type=Path, help="folder of real data sets: its weibo/test.jsonl and so on are tagged")
    parser.add_argument("--sentences", type=int, default=128)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--layers", type=int, default=12, help="of the encoder")
    parser.add_argument("--no-command-line", action="store_true")
    options = parser.parse_args(arguments)
    for name in options.sets if options.data else ():
        if not (options.data / name / "test.jsonl").is_file():
            parser.error(f"--data {options.data}: has no {name}/test.jsonl; name the folder of the data sets")
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        if options.data:
            units = real_sentences(options.data, name, options.sentences)
        else:
            units = random_sentences(name, options.sentences)
        texts = [join(name, row) for row in units]
        with tempfile.TemporaryDirectory() as directory, precision(options):
            folder = Path(directory)
            ours, theirs = make_models(folder, name, units, options.layers, options.device)
            our_size, their_size = (
                best_batch_size(lambda size: tagger(texts, batch_size=size), options.batch_sizes, options.clock)  # noqa: B023
                for tagger in (ours, theirs)
            )
            found = sum(map(len, ours(texts))) / len(texts), sum(map(len, theirs(texts))) / len(texts)
            seconds = interleaved(
                {
                    "ours": lambda: ours(texts, batch_size=our_size),  # noqa: B023
                    "theirs": lambda: theirs(texts, batch_size=their_size),  # noqa: B023
                },
                options.repeats,
                options.clock,
            )
            rate = {who: len(texts) / statistics.median(times) for who, times in seconds.items()}
            shell = None
            if not options.no_command_line:
                ours.save_pretrained(folder)
                shell = command_line(folder, texts, our_size, options)
        length = statistics.mean(map(len, units))
        rows.append(
            (
                *(name, length, our_size, their_size, *found, rate["ours"], rate["theirs"]),
                *(median_ratio(seconds["theirs"], seconds["ours"]), shell, shell and shell / rate["ours"]),
            )
        )
        print(f"{name}: {rows[-1][8]:.3f}", file=sys.stderr, flush=True)
    columns = ["data", "mean units", "batch", "their batch", "entities", "theirs", "sentences/s", "their sentences/s"]
    columns += ["ratio (aim 0.85)", "command line/s", "÷ pipeline"]
    report("predict", columns, rows, options)


if __name__ == "__main__":
    main(sys.argv[1:])
