"""`knowfree predict --engine ray` with 1, 2 and 4 workers on this machine: what Ray adds, and what more workers bring.

    python -m benchmarks.bench_ray --model runs/demo-en/model --data examples/demo/test.jsonl

The file's sentences are repeated to `--rows`. Counted is from the moment when every worker has finished a shard, so
that starting and loading are not in it, to the last shard. "Per processor second" divides by what all processes of Ray
and the driver used: it leaves out what other work took of the machine, and stays the same where more workers cost
nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import psutil

from benchmarks.side_by_side import argument_parser, in_fresh_process, report
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.inference.tag import load_pipeline


def processor_seconds(process: psutil.Process) -> float:
    """What a process and all below it have used, as far as they still run."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def tag(model: str, source: str, workers: int, shard_rows: int) -> tuple[int, float, float]:
    """Rows counted, seconds and processor seconds."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    import ray

    from modeling_knowfree.inference.ray_engine import predict_with_ray

    ray.init(num_cpus=workers, log_to_driver=False, include_dashboard=False)
    seen: list[tuple[int, float, float]] = []
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "out"

        def watch() -> None:
            while not ended.wait(0.2):
                count = len(list(output.glob("part-*")))
                if count and (not seen or seen[-1][0] != count):
                    seen.append((count, time.perf_counter(), processor_seconds(psutil.Process())))

        watcher = threading.Thread(target=watch)
        watcher.start()
        rows = predict_with_ray(
            model, source, str(output), text=False, workers=workers, shard_rows=shard_rows, batch_size=16
        )
        time.sleep(0.5)
        ended.set()
        watcher.join()
        shards = len(list(output.glob("part-*")))
    ray.shutdown()
    first = next(each for each in seen if each[0] >= workers)
    last = seen[-1]
    assert last[0] == shards
    counted = round(rows * (last[0] - first[0]) / shards)
    return counted, last[1] - first[1], last[2] - first[2]


def alone(model: str, rows: list[list[str]]) -> float:
    """Rows a processor second of the pipeline in a process of its own, without Ray."""
    import torch

    torch.set_num_threads(1)
    pipe = load_pipeline(model, "cpu")
    pipe(rows[:64], is_split_into_words=True, batch_size=16)
    begun = time.process_time()
    for at in range(0, len(rows), 256):
        pipe(rows[at : at + 256], is_split_into_words=True, batch_size=16)
    return len(rows) / (time.process_time() - begun)


def main(arguments: Sequence[str]) -> None:
    """Print and write one table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="annotated sentences")
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--shard-rows", type=int, default=250)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options: argparse.Namespace = parser.parse_args(arguments)
    tokens = [row["tokens"] for row in islice(cycle(read_rows(options.data)), options.rows)]
    table: list[tuple] = [("no Ray", None, None, in_fresh_process(alone, options.model, tokens[:1000]))]
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "in.jsonl"
        lines = (json.dumps({"id": str(at), "tokens": row}, ensure_ascii=False) for at, row in enumerate(tokens))
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for workers in options.workers:
            counted, seconds, used = in_fresh_process(tag, options.model, str(source), workers, options.shard_rows)
            table.append((workers, counted, counted / seconds, counted / used))
            print(f"{workers} workers: {counted / seconds:.1f} a second", file=sys.stderr, flush=True)
    columns = ["workers", "rows counted", "sentences/s", "sentences per processor second"]
    report("ray", columns, table, options)


if __name__ == "__main__":
    main(sys.argv[1:])
