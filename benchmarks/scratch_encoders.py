"""Every task preset end to end on real data, with a small encoder made from scratch.

    python -m benchmarks.scratch_encoders --data ../shared/data

The absolute F1 means little (the encoder knows nothing but the 250 training sentences); that every preset trains,
decodes and scores on real text is the point. Each run is appended to benchmarks/results/scratch_encoders.jsonl; a
rerun continues with what is missing at that `--steps`. `--encoder ROWS FOLDER` makes such an encoder alone, for
benchmarks/runs/weibo.yaml.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.inference.tag import evaluate
from modeling_knowfree.training.train import train

RESULTS = Path(__file__).parent / "results" / "scratch_encoders.jsonl"
# name: data set, task, whether the words' tags are taken away
RUNS = {
    "ud-zh pos": ("ud-zh", "pos", False),
    "ud-zh segmentation": ("ud-zh", "segmentation", True),
    "stockmark-ja": ("stockmark-ja", "ner", False),
    "youku": ("youku", "ner", False),
    "cmeee": ("cmeee", "nested_ner", False),
}


def make_encoder(folder: Path, rows: Iterable[dict]) -> None:
    """A two-layer BERT with random weights whose vocabulary is the tokens of `rows`."""
    folder.mkdir(parents=True)
    tokens = sorted({token for row in rows for token in row["tokens"] if token.strip()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *tokens]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    fields = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)


def without_tags(source: Path, target: Path) -> None:
    """The words of a POS file as a segmentation file: a sentence a line, words parted by spaces."""
    with target.open("w", encoding="utf-8") as file:
        for row in read_rows(source):
            words = ["".join(row["tokens"][span["start"] : span["end"]]) for span in row["entities"]]
            file.write(" ".join(words) + "\n")


def run(data: Path, task: str, segmentation: bool, work: Path, steps: int) -> dict:
    files = {split: data / f"{name}.jsonl" for split, name in (("train", "train_250"), ("test", "test"))}
    make_encoder(work / "encoder", read_rows(files["train"]))
    if segmentation:
        for split, source in files.items():
            files[split] = work / f"{split}.seg.txt"
            without_tags(source, files[split])
    labels = (data / "labels.txt").read_text(encoding="utf-8").split() if task != "segmentation" else ["WORD"]
    started = time.perf_counter()
    in_training = train(
        [
            *("--task", task, "--model_name_or_path", str(work / "encoder"), "--output_dir", str(work / "model")),
            *("--train_file", str(files["train"]), "--test_file", str(files["test"]), "--max_steps", str(steps)),
            *(
                "--labels",
                *labels,
                "--learning_rate",
                "5e-4",
                "--max_span_width",
                "32",
                "--use_cpu",
                "--disable_tqdm",
                "true",
            ),
            *("--per_device_eval_batch_size", "16", "--report_to", "none", "--save_strategy", "no"),
        ]
    )["test"]
    scores = evaluate(str(work / "model"), str(files["test"]))
    assert scores is not None
    return {
        "f1": scores["f1"],
        "macro_f1": scores["macro_f1"],
        "f1_in_training": in_training["test_f1"],
        "unreachable_gold": in_training["test_unreachable_gold"],
        "gold_spans": scores["gold_spans"],
        "predicted_spans": scores["predicted_spans"],
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--encoder", type=Path, nargs=2, metavar=("ROWS", "FOLDER"), help="only make an encoder")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.encoder:
        rows, folder = options.encoder
        return make_encoder(folder, read_rows(rows))
    for folder, _, _ in RUNS.values():
        if options.data is None or not (options.data / folder).is_dir():
            parser.error(f"--data {options.data}: has no folder {folder}; name the folder of the data sets")
    torch.set_num_threads(options.threads)
    RESULTS.parent.mkdir(exist_ok=True)
    lines = map(json.loads, RESULTS.read_text().splitlines() if RESULTS.exists() else [])
    done = {(line["run"], line["steps"]) for line in lines}
    for name, (folder, task, segmentation) in RUNS.items():
        if (name, options.steps) in done:
            continue
        with tempfile.TemporaryDirectory() as work:
            result = run(options.data / folder, task, segmentation, Path(work), options.steps)
        with RESULTS.open("a") as file:
            file.write(json.dumps({"run": name, "task": task, "steps": options.steps, **result}) + "\n")
        print(name, json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
