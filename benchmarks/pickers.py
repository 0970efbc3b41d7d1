"""Which texts should the LLM be asked for? `knowfree run --pick` of each kind beside chance, on several pools.

    OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python -m benchmarks.pickers mit_movie_pool demo_pool:60 --updates 300

A pool is a YAML of benchmarks/runs or examples/runs, `:60` that 60 texts are asked for, 200 else. All students of a
pool have the same gold, updates and first weights. Every finished one is appended to benchmarks/results/pickers.jsonl;
a rerun goes on with what is missing. Prints dev and test F1, and mean differences from chance over pools and seeds.
"""

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean

from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import check_run
from knowfree_experiments.run.variants import BASELINE

from benchmarks.run_all import config_of
from modeling_knowfree.settings import read_settings

RESULTS = Path(__file__).parent / "results" / "pickers.jsonl"
PICKS = ["random", "uncertain", "both", "diverse"]


def student(name: str, pick: str, ask: int, seed: int, updates: int) -> dict:
    """The line of one student; the gold model that picks by doubt is trained once a pool and seed."""
    config = config_of(name)
    values = read_settings(config) | {"ask": ask, "pick": pick, "seeds": [seed], "updates": updates, "variants": ["u"]}
    values["augment"]["seed"] = seed  # chance is drawn anew, too
    folder = Path("runs") / "pickers" / f"{name}-{ask}-{updates}-{seed}" / pick
    run = Run(check_run(values, str(config)), folder)
    [subset] = run.subsets
    doubting = run.cell(subset, BASELINE, seed, updates).folder
    for trained in folder.parent.glob(f"*/{doubting.relative_to(folder)}"):
        if not doubting.exists():
            shutil.copytree(trained, doubting)
    [line] = [each for each in run.go() if each["variant"] == "u"]
    return {"set": name, "pick": pick, "ask": ask} | line


def finished() -> list[dict]:
    """The lines of `pickers.jsonl`."""
    return [json.loads(line) for line in RESULTS.open(encoding="utf-8")] if RESULTS.exists() else []


def table(lines: list[dict]) -> str:
    """A row a pool and seed, dev and test F1 of each pick; last the mean differences from chance."""
    rows = [f"| pool, texts asked, updates, seed | {' | '.join(PICKS)} |", "| --- |" + " --- |" * len(PICKS)]
    apart: dict[str, list[tuple[float, float]]] = {pick: [] for pick in PICKS}
    for key in dict.fromkeys((each["set"], each["ask"], each["updates"], each["seed"]) for each in lines):
        found = {
            each["pick"]: (each["dev_f1"] * 100, each["f1"] * 100)
            for each in lines
            if (each["set"], each["ask"], each["updates"], each["seed"]) == key
        }
        cells = [f"{found[pick][0]:.1f}, {found[pick][1]:.1f}" if pick in found else "–" for pick in PICKS]
        rows.append(f"| {', '.join(map(str, key))} | {' | '.join(cells)} |")
        for pick, scores in found.items():
            if "random" in found:
                apart[pick].append((scores[0] - found["random"][0], scores[1] - found["random"][1]))
    means = [", ".join(f"{mean(part):+.1f}" for part in zip(*apart[pick], strict=True)) or "–" for pick in PICKS]
    return "\n".join([*rows, f"| mean difference from random | {' | '.join(means)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="*", default=["mit_movie_pool", "stockmark_ja_pool", "demo_pool:60"])
    parser.add_argument("--picks", nargs="+", choices=PICKS, default=PICKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--updates", type=int, default=300)
    options = parser.parse_args()
    for seed in options.seeds:
        for pool in options.pools:
            name, _, ask = pool.partition(":")
            for pick in options.picks:
                known = {"set": name, "pick": pick, "ask": int(ask or 200), "seed": seed, "updates": options.updates}
                if not any(known.items() <= line.items() for line in finished()):
                    line = student(name, pick, known["ask"], seed, options.updates)
                    with RESULTS.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(table(finished()))


if __name__ == "__main__":
    main()
