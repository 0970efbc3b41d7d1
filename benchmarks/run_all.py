"""Runs the experiments of benchmarks/runs one after the other, resumable; keeps their lines in benchmarks/results/runs.

    nice -n 19 python -m benchmarks.run_all                                # the k-shot sets, -F and -FS first
    nice -n 19 python -m benchmarks.run_all weibo_k20 klue_ko_k20 -- --variants base,fs --seeds 0,1,2
    nice -n 19 python -m benchmarks.run_all weibo_sizes youku_sizes

What follows `--` is given to `knowfree run`. A line that is kept counts as long as nothing that shapes it has changed:
another machine goes on where this one stopped. Models and augmentations lie in runs/NAME; stop it whenever you like.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KEPT = HERE / "results" / "runs"
K_SHOT = "weibo_k20 stockmark_ja_k10 klue_ko_k20 mit_movie_k20 weibo_250 cmeee_k10 youku_k20".split()


def config_of(name: str) -> Path:
    """
    The YAML of an experiment: of benchmarks/runs, or of examples/runs.

    Raises:
        SystemExit: there is none.
    """
    for folder in (HERE, HERE.parent / "examples"):
        if (path := folder / "runs" / f"{name}.yaml").exists():
            return path
    raise SystemExit(f"no {name}.yaml in benchmarks/runs or examples/runs")


def run(name: str, more: list[str]) -> int:
    """One experiment; its lines are kept whether it ends or is stopped."""
    folder, kept = Path("runs") / name, KEPT / f"{name}.jsonl"
    results = folder / "results.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    if kept.exists() and not results.exists():
        shutil.copy(kept, results)
    command = [sys.executable, "-m", "knowfree", "run", "--config", str(config_of(name))]
    try:
        return subprocess.run([*command, "--output_dir", str(folder), *more]).returncode
    finally:
        if results.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            shutil.copy(results, kept)


def main() -> None:
    own, more = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, more = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in (HERE / "runs").glob("*.yaml"))
    parser.add_argument("names", nargs="*", default=K_SHOT, help=f"of: {', '.join(known)}")
    names = parser.parse_args(own).names
    if unknown := set(names) - set(known):
        parser.error(f"no benchmarks/runs/{sorted(unknown)[0]}.yaml; there are {', '.join(known)}")
    codes = {name: run(name, more) for name in names}
    if failed := [name for name, code in codes.items() if code]:
        sys.exit(f"not finished: {', '.join(failed)}")


if __name__ == "__main__":
    main()
