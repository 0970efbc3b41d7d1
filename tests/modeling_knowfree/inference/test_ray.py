"""`knowfree predict --engine ray` on a local cluster of two machines (node processes), one killed on the way."""

import json
import subprocess
import sys
import time
from collections import Counter

import pytest
from click.testing import CliRunner

from knowfree import cli
from modeling_knowfree.data.readers import write_rows

pytestmark = pytest.mark.soak  # a minute: each worker imports torch, and a lost node is noticed after seconds
ray = pytest.importorskip("ray", reason='the extra is absent: pip install "knowfree[ray]"')

TEXTS = ["left harrow creek trailhead at 5 am .", "the bear left at 4 am", "old axe in the snow", "crossed at 5 ."]
ROWS, SHARD_ROWS = 1_200, 150


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")  # a busy machine would let nice workers wait
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 2000, "health_check_failure_threshold": 5}
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20, "_system_config": quick},
    )
    yield nodes
    nodes.shutdown()


def test_a_node_is_killed_and_nothing_is_lost_and_nothing_twice(cluster, trained, tmp_path):
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    rows = [{"id": str(at), "tokens": TEXTS[at % 4].split()} for at in range(ROWS)]
    write_rows(source, rows)
    argv = ["predict", "--engine", "ray", "--ray_address", cluster.address, "--model", trained, "--input", source]
    argv += ["--output", output, "--shard_rows", SHARD_ROWS]
    with subprocess.Popen(
        [sys.executable, "-m", "knowfree", *map(str, argv)], stderr=subprocess.PIPE, text=True
    ) as process:
        begun = time.monotonic()
        while len(list(output.glob("part-*"))) < 3:  # both nodes work by then, or will
            assert process.poll() is None and time.monotonic() < begun + 600, process.communicate()[1][-3000:]
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)
        done_then = len(list(output.glob("part-*")))
        _, told = process.communicate(timeout=600)
    assert process.returncode == 0, told[-3000:]
    shards = len(list(output.glob("part-*")))
    assert done_then < shards and "2 workers, one CPU each" in told
    check(output, rows)
    expected = CliRunner().invoke(cli, ["predict", "--model", str(trained), "--input", str(source)]).stdout
    rows_here = [json.loads(line) for line in expected.splitlines()]
    assert spans(read(output)) == spans(rows_here) and any(spans(rows_here))

    # What is missing is made again, the rest is left as it is.
    (output / "part-000004.jsonl").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    again = subprocess.run([sys.executable, "-m", "knowfree", *map(str, argv)], capture_output=True, text=True)
    assert again.returncode == 0 and f"{shards} shards, {shards - 1} of them done already" in again.stderr, (
        again.stderr[-3000:]
    )
    check(output, rows)
    assert {name: (output / name).stat().st_mtime_ns for name in before} == before


def read(output) -> list[dict]:
    return [json.loads(line) for path in sorted(output.glob("part-*")) for line in path.open(encoding="utf-8")]


def spans(rows: list[dict]) -> list[list[tuple]]:
    return [[(span["start"], span["end"], span["label"]) for span in row["entities"]] for row in rows]


def check(output, rows) -> None:
    found = read(output)
    assert Counter(row["id"] for row in found) == Counter(row["id"] for row in rows)
    assert [row["id"] for row in found] == [row["id"] for row in sorted(found, key=lambda row: row["order"])]
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    names = sorted(path.name for path in output.iterdir())
    assert names == [*(f"part-{at:06d}.jsonl" for at in range(len(names) - 1)), "plan.json"]
