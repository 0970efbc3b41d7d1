"""`knowfree predict --engine ray`: many machines tag one data set (extra `[ray]`)."""

from __future__ import annotations

import logging
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import KnowFreePipeline
from ..data.rows import InputError
from ..loading import load_config, told_in_one_line
from .shards import Plan, Shard, clean_up, everywhere, is_there, make_plan, read_shard, start, write_shard
from .tag import entities_of, load_pipeline, tag

SHARD_ROWS = 10_000

logger = logging.getLogger(__name__)


class Worker:
    """An actor: one model on one CPU or GPU, which tags shard after shard."""

    def __init__(self, plan: Plan, batch_size: int):
        self.plan = plan
        self.batch_size = batch_size

    @cached_property
    def pipe(self) -> KnowFreePipeline:
        """The tagger, loaded for the first shard."""
        return load_pipeline(self.plan.model)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Tag the shard that `item` is, unless another worker has done it; how many rows, and what is wrong with one,
        in words: Ray would wrap an exception in its own."""
        shard = Shard(**item)
        if is_there(self.plan, shard):  # its worker died before it could tell
            return {"rows": 0, "error": ""}
        try:
            rows = read_shard(self.plan, shard)
            tagged = tag(self.pipe, rows, batch_size=self.batch_size, **self.plan.options)
            found = (row | {"entities": entities_of(spans)} for row, spans in tagged)
            return {"rows": write_shard(self.plan, shard, found), "error": ""}
        except InputError as error:
            return {"rows": 0, "error": str(error)}


def predict_with_ray(
    model: str,
    source: str,
    output: str,
    *,
    text: bool,
    output_format: str | None = None,
    ray_address: str | None = None,
    workers: int | None = None,
    shard_rows: int = SHARD_ROWS,
    batch_size: int = 16,
    **options: Any,
) -> int:
    """
    Tag a file or folder into a folder of shards, each whole or absent; a run into the same folder writes what is
    missing.

    Args:
        model: Hub id, or a folder that every machine of the cluster sees.
        source: JSON lines or Parquet, on any fsspec path that every machine sees; a file, or a folder of them.
        output: folder, on such a path; `part-000000.jsonl` and so on get the rows with `order`, see `read_shard`.
        text: lines are running text.
        output_format: `jsonl` or `parquet`; by default as the input.
        ray_address: as `ray.init` takes it; by default RAY_ADDRESS, or this machine.
        workers: actors; by default one for each GPU of the cluster, or if it has none for each CPU.
        shard_rows: rows of a shard.
        options: `threshold`, `decoding`, `spans_per_batch`.

    Returns:
        How many rows were tagged now.

    Raises:
        InputError: a bad model, input or output; nothing has been written then. Or a bad row: the shards before it may
            be written.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    model = everywhere(model) if Path(model).is_dir() else model
    plan = make_plan(
        source, output, text=text, output_format=output_format, rows=shard_rows, model=model, options=options
    )
    with told_in_one_line(f"--model {model}"):
        load_config(model)
    missing = start(plan)
    there = len(plan.shards()) - len(missing)
    logger.info("%d shards, %d of them done already", there + len(missing), there)
    if not missing:
        return 0
    try:
        ray.init(ray_address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
    except (ConnectionError, ValueError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"--ray_address {ray_address}: no cluster to be reached: {told:.200}") from error
    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    there_are = ray.cluster_resources()
    gpus = int(there_are.get("GPU", 0))
    most = min(workers or gpus or int(there_are.get("CPU", 1)), len(missing))
    logger.info("%d workers, one %s each", most, "GPU" if gpus else "CPU")
    items = ray.data.from_items([shard._asdict() for shard in missing], override_num_blocks=len(missing))
    done = items.map(
        Worker,
        fn_constructor_args=(plan, batch_size),
        # Idle ones may go: their CPU is then free for one that a lost machine took down with its shard.
        compute=ActorPoolStrategy(min_size=1, initial_size=most, max_size=most, max_tasks_in_flight_per_actor=1),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    count = 0
    with tqdm(desc="predict", unit="sentence") as bar:
        for row in done.iter_rows():
            if row["error"]:
                raise InputError(row["error"])
            count += row["rows"]
            bar.update(row["rows"])
    clean_up(plan)
    return count
