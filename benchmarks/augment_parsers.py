"""100,000 mutated answers through the parsers: no exception but the declared one, in under two minutes.

`python -m benchmarks.augment_parsers [--count 100000] [--seed 0]`
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter

from tqdm import tqdm

from augmentation.llm.answers import AnswerError, parse
from tests.support.augment_mutants import mutants


def main() -> None:
    """Parse and count; any exception but AnswerError ends the program with its traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    slowest = 0.0
    begun, cpu = time.perf_counter(), time.process_time()
    for task, text, cut in tqdm(mutants(given.count, given.seed), total=given.count, unit="answer", disable=None):
        started = time.perf_counter()
        try:
            parsed = parse(task, text, cut=cut)
            counts["repaired" if parsed.repaired else "usable"] += 1
            str(parsed.value).encode("utf-8")
        except AnswerError:
            counts["refused"] += 1
        slowest = max(slowest, time.perf_counter() - started)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(
        json.dumps(
            {
                "answers": given.count,
                **counts,
                "seconds": round(seconds, 1),
                "cpu_seconds": round(cpu, 1),
                "slowest_seconds": round(slowest, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
