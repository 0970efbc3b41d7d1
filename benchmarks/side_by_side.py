"""What all benchmarks share: interleaved timing, peak memory, one table, one JSON file."""

import argparse
import ctypes
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from modeling_knowfree.configuration_knowfree import KnowFreeConfig
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification

RESULTS = Path(__file__).parent / "results"
TARGETS, EXTENSIONS = 8, 32


def processor_seconds() -> float:
    """What this process and its finished children have used."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# Wall time is what a user waits for. Processor time leaves out what others took of a busy machine; with one thread it
# stands for the wall time of a machine of one's own.
CLOCKS = {"wall": time.perf_counter, "cpu": processor_seconds}


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def precision(options: argparse.Namespace) -> torch.autocast:
    """What `--device` and `--dtype` ask for: autocast, or nothing for fp32."""
    dtype = DTYPES[options.dtype]
    return torch.autocast(torch.device(options.device).type, dtype, enabled=dtype != torch.float32)


def device_name(options: argparse.Namespace) -> str:
    return torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else "cpu"


def argument_parser(description: str | None, repeats: int = 20) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; on a GPU the clock is the wall's, synchronised")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="bfloat16: under autocast")
    parser.add_argument("--compile", action="store_true", help="ours under torch.compile(dynamic=True)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine, with --threads 1")
    parser.add_argument("--repeats", type=int, default=repeats, help="interleaved rounds; the median counts")
    parser.add_argument("--output", type=Path, help="JSON file; default benchmarks/results/<benchmark>.json")
    return parser


def interleaved(functions: dict[str, Callable[[], Any]], repeats: int, clock: str = "wall") -> dict[str, list[float]]:
    """Seconds of each function, all of them once a round, so that what else the machine does hits all alike; one
    round more, at the start, is not counted. What was sent to a GPU is waited for."""
    clock_now = CLOCKS[clock]

    def now() -> float:
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return clock_now()

    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(repeats + 1):
        for name, function in functions.items():
            start = now()
            function()
            if round_:
                seconds[name].append(now() - start)
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def in_fresh_process(function: Callable, *args: Any) -> Any:
    """`function(*args)` in a new interpreter, whose memory nothing before has touched."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def free_gb() -> float:
    """GB of memory that new processes may take (Linux)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) / 1e6


def dense_fits(length: int, sentences: int = 1) -> bool:
    """Whether the dense reference's attention matrices, which grow with L³, fit in memory now; tells where not."""
    needed = sentences * 11 * (length / 510) ** 3 + 1.5
    if needed > (free := free_gb()):
        print(f"dense at L={length} left out: needs {needed:.0f} GB, {free:.0f} GB are free", file=sys.stderr)
    return needed <= free


def extra_peak_mb(function: Callable[[], Any]) -> float:
    """MB that the process's resident memory rises above where it was while `function` runs (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    function()
    return max(0.0, _resident("VmHWM") - before)


def extra_device_mb(function: Callable[[], Any]) -> float:
    """MB that `function` allocates on the GPU above what lay there."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def bert_base_model(max_span_width: int | None = None) -> KnowFreeForTokenClassification:
    """BERT-base with random weights and the small recipe's span head: published sizes, votes of units; 8 targets and 32
    extension labels."""
    torch.manual_seed(0)
    names = [f"T{column}" for column in range(TARGETS)]
    config = KnowFreeConfig(
        id2label=dict(enumerate(names)),
        label2id={name: column for column, name in enumerate(names)},
        extension_labels=[f"ENT:{column}" for column in range(EXTENSIONS)],
        max_span_width=max_span_width,
        unit_votes=True,
    )
    return KnowFreeForTokenClassification(config).eval()


def one_piece_a_unit(batch: int, length: int) -> dict[str, torch.Tensor]:
    """`batch` random sentences of `length` units, one piece each, and two special pieces."""
    ids = torch.randint(1, 20_000, (batch, length + 2), generator=torch.Generator().manual_seed(length))
    unit_ids = torch.full_like(ids, -1)
    unit_ids[:, 1:-1] = torch.arange(length)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "unit_ids": unit_ids,
        "num_units": torch.full((batch,), length),
    }


def report(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], options: argparse.Namespace) -> None:
    """Print one table; write it with machine, versions, date and load to JSON."""
    texts = [[_text(value) for value in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(columns), *texts]) for at in range(len(columns))]
    for line in [list(columns), ["-" * width for width in widths], *texts]:
        print("  ".join(value.rjust(width) for value, width in zip(line, widths, strict=True)))
    result = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "device": device_name(options),
        "dtype": options.dtype,
        "compiled": options.compile,
        "load_average": os.getloadavg(),
        "threads": options.threads,
        "clock": options.clock,
        "repeats": options.repeats,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "rows": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    path = options.output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{result['machine']}; {options.threads} threads, {options.clock} time; load {load}; written to {path}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
