"""One run over simple rows, to be forked and killed: answers to the store, then the final files."""

import json
from pathlib import Path

from augmentation.llm.clients import HubClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from modeling_knowfree.files import write_whole
from tests.support.augment_rows import requests, write_failed


def drive(url: str, rows: int, folder: Path, concurrency: int) -> None:
    """Run, write `rows.jsonl` and `failed.jsonl`, and print how it ended."""
    with Store(folder / "answers.sqlite") as store:
        client = HubClient("loopback-llm", base_url=url)
        runner = Runner(client, store, concurrency=concurrency, timeout_seconds=2, max_backoff_seconds=0.2)
        progress = runner.run(requests(rows))
        lines = []
        for request in requests(rows):
            outcome = runner.outcome(request)
            if outcome is not None and outcome.parsed is not None:
                items = [[item.entity, item.type] for item in outcome.parsed.value]
                lines.append(json.dumps({"id": request.row_id, "entities": items}) + "\n")
        write_whole(folder / "rows.jsonl", "".join(lines))
        write_failed(store, folder / "failed.jsonl")
        print(f"{progress.outcome}: {progress.done} done, {progress.failed} failed, {progress.requests} requests")
