"""One run over simple rows in a process of its own, to be killed: answers to the store, then the final files.

`python -m tests.support.augment_driver --url URL --rows N --folder DIR`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from augmentation.llm.clients import HubClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store, write_atomically, write_failed
from tests.support.augment_rows import requests


def main() -> None:
    """Run, then write `rows.jsonl` and `failed.jsonl`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=8)
    given = parser.parse_args()
    with Store(given.folder / "answers.sqlite") as store:
        client = HubClient("loopback-llm", base_url=given.url)
        runner = Runner(client, store, concurrency=given.concurrency, timeout_seconds=2, max_backoff_seconds=0.2)
        progress = runner.run(requests(given.rows))
        lines = []
        for request in requests(given.rows):
            outcome = runner.outcome(request)
            if outcome is not None and outcome.parsed is not None:
                items = [[item.entity, item.type] for item in outcome.parsed.value]
                lines.append(json.dumps({"id": request.row_id, "entities": items}) + "\n")
        write_atomically(given.folder / "rows.jsonl", "".join(lines))
        write_failed(store, given.folder / "failed.jsonl")
        print(f"{progress.outcome}: {progress.done} done, {progress.failed} failed, {progress.requests} requests")


if __name__ == "__main__":
    main()
