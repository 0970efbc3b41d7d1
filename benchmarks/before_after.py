"""Two checkouts side by side in one run: whole forward ÷ encoder, step ÷ encoder step, and extra memory, of each.

    git worktree add /tmp/before e458a42
    python -m benchmarks.before_after --before /tmp/before
    python -m benchmarks.before_after --before /tmp/before --only forward-510 step-128 --rounds 1

The checkouts take turns, each time in a process of its own, so that what else the machine does hits both alike; each
cell is the median of the rounds. Both run their own benchmarks' contenders, under this Python. Processor time. Rows of
the output that are not measured again stay.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.side_by_side import RESULTS

FORWARD = [(32, None), (128, None), (128, 32), (256, None), (510, None), (510, 32)]
STEPS = [(64, 8), (128, 2)]
ALL = [("forward", case) for case in FORWARD] + [("step", case) for case in STEPS]
ONE_ROUND = """
import json, sys, torch
torch.set_num_threads(1)
from benchmarks import bench_forward, bench_training_step as steps
from benchmarks.side_by_side import extra_peak_mb, interleaved, median_ratio
kind, first, second = json.loads(sys.argv[1])
if kind == "forward":
    functions = bench_forward.contenders(first, second)
    functions.pop("dense", None)
    with torch.no_grad():
        seconds = interleaved(functions, 3, "cpu")
        peak = {name: extra_peak_mb(function) for name, function in functions.items()}
else:
    functions = steps.contenders(first, second)[1]
    functions.pop("dense", None)
    seconds = interleaved(functions, 2, "cpu")
    peak = {name: extra_peak_mb(function) for name, function in functions.items()}
print(json.dumps([median_ratio(seconds["ours"], seconds["encoder"]), peak["ours"] - peak["encoder"]]))
"""


def one_round(checkout: Path, case: tuple) -> list[float]:
    run = subprocess.run(
        [sys.executable, "-c", ONE_ROUND, json.dumps(case)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=3)
    cases: dict[str, list[tuple]] = {f"{kind}-{case[0]}": [] for kind, case in ALL}
    for kind, case in ALL:
        cases[f"{kind}-{case[0]}"].append((kind, *case))
    parser.add_argument("--only", nargs="+", choices=cases, default=list(cases), help="kind and length")
    parser.add_argument("--output", type=Path, default=RESULTS / "before_after.json")
    options = parser.parse_args(arguments)
    checkouts = {"before": options.before.resolve(), "after": Path(__file__).parents[1]}
    rows = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    for case in (case for name in options.only for case in cases[name]):
        found: dict[str, list[list[float]]] = {name: [] for name in checkouts}
        for _ in range(options.rounds):
            for name, checkout in checkouts.items():
                found[name].append(one_round(checkout, case))
        row = {"case": list(case), "rounds": options.rounds, "load": os.getloadavg()}
        for name, rounds in found.items():
            row[f"ratio {name}"], row[f"extra MB {name}"] = (
                statistics.median(column) for column in zip(*rounds, strict=True)
            )
        rows = [*(old for old in rows if old["case"] != row["case"]), row]
        print(json.dumps(row), flush=True)
        options.output.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
