"""The Space under load: users at once on its API, then a text far over the limit. Prints a table and writes JSON.

python -m benchmarks.space_load --models runs/demo-en --output benchmarks/results/space_load.json
"""

import json
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import click
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.support import ROOT
from tests.support.space_driver import lay_out, serve


def sentences() -> list[str]:
    lines = (ROOT / "examples" / "demo" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    return [" ".join(json.loads(line)["tokens"]) for line in lines]


def one_user(url: str, texts: list[str]) -> list[float]:
    """Seconds of each call of a user who waits for every answer before sending the next text."""
    client = Client(url, verbose=False)
    seconds = []
    for text in texts:
        start = time.perf_counter()
        client.predict(text, api_name="/tag")
        seconds.append(time.perf_counter() - start)
    return seconds


@click.command()
@click.option("--models", type=click.Path(exists=True, path_type=Path), required=True, help="A model folder, or a run.")
@click.option("--users", default=20, show_default=True)
@click.option("--calls", default=10, show_default=True, help="Calls of each user, every one a text of its own.")
@click.option("--output", type=click.Path(path_type=Path), help="JSON file.")
def main(models: Path, users: int, calls: int, output: Path | None) -> None:
    models = models.resolve()  # the Space runs in a folder of its own
    folders = [models] if (models / "config.json").exists() else sorted(p.parent for p in models.glob("*/config.json"))
    # Different texts, so that no answer comes from memory.
    pool = sentences()
    texts = [[f"{pool[(user * calls + call) % len(pool)]} {user}" for call in range(calls)] for user in range(users)]
    with tempfile.TemporaryDirectory() as folder, serve(lay_out(Path(folder) / "app"), folders) as url:
        one_user(url, pool[:3])
        start = time.perf_counter()
        with ThreadPoolExecutor(users) as threads:
            running = [threads.submit(one_user, url, mine) for mine in texts]
        wall = time.perf_counter() - start
        errors = [repr(call.exception()) for call in running if call.exception()]
        seconds = sorted(second for call in running if not call.exception() for second in call.result())
        client, long = Client(url, verbose=False), "x" * 100_000
        start = time.perf_counter()
        try:
            client.predict(long, api_name="/tag")
            refusal = "none"
        except AppError as error:
            refusal = str(error)
        refused_in = time.perf_counter() - start
    found = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "models": len(folders),
        "users": users,
        "calls": len(seconds),
        "errors": errors,
        "p50_seconds": round(statistics.median(seconds), 3),
        "p95_seconds": round(seconds[int(0.95 * len(seconds))], 3),
        "longest_seconds": round(seconds[-1], 3),
        "calls_per_second": round(len(seconds) / wall, 2),
        "text_of_100000_characters": refusal,
        "refused_in_seconds": round(refused_in, 3),
    }
    for name, value in found.items():
        click.echo(f"{name:>28}  {value}")
    if output:
        output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
