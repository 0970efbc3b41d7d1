"""A run killed with SIGKILL at 20 random moments and resumed each time, beside an undisturbed one.

`python -m benchmarks.augment_kill [--kills 20] [--rows 500] [--seed 0]`

The server of the fault test misbehaves as there. Exit status 1 where a request was sent again whose complete valid
answer had arrived, or where the final files differ. An answer that the server finished writing within the last
`--grace-seconds` before a kill may not have reached the disk of the client; such are counted and shown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.support.augment_kill import kill_experiment
from tests.support.llm_server import Faults


def main() -> None:
    """Run the experiment and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--latency-seconds", type=float, default=0.25)
    parser.add_argument("--grace-seconds", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faults = Faults(
        seed=given.seed,
        rate_limited=0.10,
        internal_error=0.05,
        html_unavailable=0.03,
        dropped=0.03,
        hang=0.02,
        hang_seconds=3.0,
        sticky_malformed=0.05,
        sticky_refusal=0.02,
        sticky_cut=0.02,
    )
    with tempfile.TemporaryDirectory() as name:
        report = kill_experiment(
            Path(name),
            kills=given.kills,
            rows=given.rows,
            faults=faults,
            concurrency=given.concurrency,
            latency_seconds=given.latency_seconds,
            seed=given.seed,
        )
    print(json.dumps(asdict(report), indent=2))
    ok = (
        report.files_equal
        and report.oldest_sent_again_seconds <= given.grace_seconds
        and report.most_sent_again_after_one_kill <= given.concurrency
    )
    raise SystemExit(0 if ok else 1)


if __name__ == "__main__":
    main()
