"""What does the span head cost beside the encoder that any tagger needs? Whole forward ÷ encoder forward, batch 1.

    python -m benchmarks.bench_forward
    python -m benchmarks.bench_forward --device cuda --dtype bfloat16 [--compile]

BERT-base with random weights, fp32 unless told, 40 labels of which 8 targets. `dense` is the plain L×L reference of the
tests. Memory is the rise of resident memory in a fresh process, less the encoder's own. On a GPU the cases are batches
too, with aims of their own, and memory is what the caching allocator gave out at once.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

import torch

from benchmarks.side_by_side import (
    TARGETS,
    argument_parser,
    bert_base_model,
    dense_fits,
    extra_device_mb,
    extra_peak_mb,
    in_fresh_process,
    interleaved,
    median_ratio,
    one_piece_a_unit,
    precision,
    report,
)
from tests.support.reference import dense_scores

# (L, width limit) -> ratio and extra MB to reach
AIMS = {
    (32, None): (1.10, None),
    (128, None): (1.25, None),
    (128, 32): (1.15, None),
    (256, None): (1.45, None),
    (256, 32): (1.20, None),
    (510, None): (1.75, 250),
    (510, 32): (1.25, 150),
}


# (sentences, L, width limit) -> ratio to reach in bf16, eager and compiled
GPU_AIMS = {
    (1, 32, None): (1.5, 1.5),
    (1, 128, None): (1.5, 1.5),
    (1, 510, None): (1.5, 1.5),
    (32, 32, None): (None, None),
    (32, 128, None): (1.6, 1.35),
    (8, 510, None): (2.0, 1.6),
    (32, 128, 32): (1.4, 1.4),
    (8, 510, 32): (1.4, 1.4),
}


def contenders(
    length: int, limit: int | None, size: int = 1, device: str = "cpu", compiled: bool = False
) -> dict[str, Callable[[], object]]:
    model = bert_base_model(limit).to(device)
    batch = {name: tensor.to(device) for name, tensor in one_piece_a_unit(size, length).items()}
    ours = torch.compile(model, dynamic=True) if compiled else model
    encoder_inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}

    def dense():
        states = model.knowfree(**batch).last_hidden_state[0, :length]
        return dense_scores(model, states)[..., :TARGETS]

    functions = {"encoder": lambda: model.knowfree.encoder(**encoder_inputs), "ours": lambda: ours(**batch)}
    return functions if limit else {**functions, "dense": dense}


def memory(length: int, limit: int | None, name: str, threads: int) -> float:
    torch.set_num_threads(threads)
    function = contenders(length, limit)[name]
    with torch.no_grad():
        contenders(8, limit)[name]()  # what the first call ever allocates is not of this length
        return extra_peak_mb(function)


def main(arguments: Sequence[str]) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128, 256, 510])
    parser.add_argument("--large", action="store_true", help="large batches on a CPU too")
    parser.add_argument("--dense-repeats", type=int, default=3, help="0 leaves the dense reference out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.device != "cpu" or options.dtype != "float32" or options.compile:
        return on_device(options)
    rows = []
    for (length, limit), (aim, aim_mb) in AIMS.items():
        if length not in options.lengths:
            continue
        functions = contenders(length, limit)
        dense = functions.pop("dense", None)
        with torch.no_grad():
            seconds = interleaved(functions, options.repeats, options.clock)
            ratio, dense_ratio = median_ratio(seconds["ours"], seconds["encoder"]), None
            if dense and options.dense_repeats and dense_fits(length):
                beside = {"encoder": functions["encoder"], "dense": dense}
                beside = interleaved(beside, options.dense_repeats, options.clock)
                dense_ratio = median_ratio(beside["dense"], beside["encoder"])
        names = ["encoder", "ours", *(["dense"] if dense_ratio else [])]
        peak = {name: in_fresh_process(memory, length, limit, name, options.threads) for name in names}
        extra = {name: peak[name] - peak["encoder"] for name in names}
        milliseconds = [1000 * statistics.median(seconds[name]) for name in ("encoder", "ours")]
        rows.append((length, limit, *milliseconds, ratio, aim, extra["ours"], aim_mb, dense_ratio, extra.get("dense")))
        print(f"L={length} width<={limit or 'all'}: {ratio:.3f}", file=sys.stderr, flush=True)
    columns = ["L", "width", "encoder ms", "ours ms", "ratio", "aim", "extra MB", "aim MB", "dense ratio", "dense MB"]
    report("forward", columns, rows, options)


def on_device(options: argparse.Namespace) -> None:
    """Every case whose length is asked for, on any device and in any precision."""
    rows = []
    for (size, length, limit), aims in GPU_AIMS.items():
        if length not in options.lengths or (size > 1 and options.device == "cpu" and not options.large):
            continue
        functions = contenders(length, limit, size, options.device, options.compile)
        functions.pop("dense", None)
        with torch.no_grad(), precision(options):
            seconds, extra = interleaved(functions, options.repeats, options.clock), None
            if options.device != "cpu":
                extra = extra_device_mb(functions["ours"]) - extra_device_mb(functions["encoder"])
        milliseconds = [1000 * statistics.median(seconds[name]) for name in ("encoder", "ours")]
        ratio = median_ratio(seconds["ours"], seconds["encoder"])
        rows.append((size, length, limit, *milliseconds, ratio, aims[options.compile], extra))
    columns = ["B", "L", "width", "encoder ms", "ours ms", "ratio", "aim", "extra MB"]
    report("forward_device", columns, rows, options)


if __name__ == "__main__":
    main(sys.argv[1:])
