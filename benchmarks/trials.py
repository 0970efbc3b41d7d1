"""Which recipe is best on average? One change at a time, several languages, scored on dev, never on test.

    nice -n 19 python -m benchmarks.trials '{}' '{"extension_budget": 0.2}' --variants f fs --seeds 0 1 --updates 400

A change is a JSON object of `knowfree train` arguments on top of the set's YAML, of benchmarks/runs or examples/runs
(`demo_zh`, `demo_en`). A variant is one of KnowFREE's or a baseline network (`w2ner`, `difinet`, …). Every finished
training is appended to benchmarks/results/trials.jsonl with its settings; a rerun goes on with what is missing. Prints
each change's mean over sets and seeds, a column a variant.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from statistics import mean

from knowfree_experiments.baselines.tagger import TAGGERS, train_tagger
from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.variants import VARIANTS

from benchmarks.run_all import config_of
from modeling_knowfree.data.rows import write_rows
from modeling_knowfree.settings import read_settings
from modeling_knowfree.training.train import train

RESULTS = Path(__file__).parent / "results" / "trials.jsonl"


def finished() -> list[dict]:
    """The lines of `trials.jsonl` that this code and its recipe wrote: a `note` says what was otherwise in others."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return [line for line in map(json.loads, lines) if "note" not in line]


def updates_of(name: str) -> int:
    """How long a set trains by its YAML."""
    return read_settings(config_of(name)).get("updates") or 600


def trial(name: str, change: dict, variant: str, seed: int, updates: int) -> dict:
    """One training on the first subset of a set's YAML."""
    path = config_of(name)
    values = read_settings(path)
    values["train"] = values.get("train", {}) | {"eval_steps": None} | change
    values |= {"variants": [variant], "updates": updates}
    run = Run(check_run(values, str(path)), Path("runs") / "trials" / name)
    subset, rows = next(iter(run.subsets.items()))
    write_rows(run.gold(subset), rows)
    if run.settings.known_variants[variant].data != "gold":
        run.augment(subset, variant, {}, False)
    work = run.folder / "training"
    shutil.rmtree(work, ignore_errors=True)
    cell = run.cell(subset, variant, seed, updates)
    started = time.perf_counter()
    tagger, arguments = cell.definition.tagger, cell.arguments(work)
    if tagger == "span":
        scores = train(arguments)["validation"]
    else:
        scores = train_tagger(tagger, arguments, lexicon=run.settings.lexicon)["validation"]
    state = json.loads((work / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    shutil.rmtree(work)
    return {
        "set": name,
        "change": change,
        "variant": variant,
        "seed": seed,
        "updates": cell.updates,
        "dev_f1": scores["validation_f1"],
        "precision": scores["validation_precision"],
        "recall": scores["validation_recall"],
        "curve": {entry["step"]: round(entry["eval_f1"], 4) for entry in state if "eval_f1" in entry},
        "losses": [round(entry["loss"], 2) for entry in state if "loss" in entry],
        "seconds": round(time.perf_counter() - started),
    }


def table(lines: list[dict], variants: list[str]) -> str:
    """Mean dev F1 of each change, a column a variant; only sets and seeds that all changes have are comparable."""
    rows = [f"| change | {' | '.join(variants)} |", "| --- |" + " --- |" * len(variants)]
    for change in dict.fromkeys(json.dumps(line["change"]) for line in lines):
        cells = []
        for variant in variants:
            found = [each for each in lines if json.dumps(each["change"]) == change and each["variant"] == variant]
            cells.append(f"{mean(each['dev_f1'] for each in found) * 100:.1f} ({len(found)})" if found else "–")
        rows.append(f"| `{change}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="+", type=json.loads, help="JSON objects; {} is the recipe as it is")
    parser.add_argument("--sets", nargs="+", default=["weibo_k20", "stockmark_ja_k10", "mit_movie_k20"])
    parser.add_argument("--variants", nargs="+", default=["base", "f", "fs"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--updates", type=int, help="default: the set's")
    options = parser.parse_args()
    for variant in options.variants:
        if variant in VARIANTS and VARIANTS[variant].tagger not in ("span", *TAGGERS):
            parser.error(f"--variants {variant}: no span model and none of {', '.join(TAGGERS)}")
    asked = []
    for seed in options.seeds:
        for name in options.sets:
            for variant in options.variants:
                for change in options.changes:
                    updates = options.updates or updates_of(name)
                    known = {"set": name, "change": change, "variant": variant, "seed": seed, "updates": updates}
                    line = next((each for each in finished() if known.items() <= each.items()), None)
                    if line is None:
                        line = trial(name, change, variant, seed, updates)
                        RESULTS.parent.mkdir(exist_ok=True)
                        with RESULTS.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(line, ensure_ascii=False) + "\n")
                        print(json.dumps(line, ensure_ascii=False), flush=True)
                    asked.append(line)
    print(table(asked, options.variants))


if __name__ == "__main__":
    main()
