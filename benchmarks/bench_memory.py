"""How does memory grow with the sentence? Peak of one forward, batch 1, in fresh processes, and growth exponents.

    python -m benchmarks.bench_memory

An exponent of 2 means four times the memory for twice the length. `head` is the model less its encoder.
"""

import math
import sys
from collections.abc import Sequence

import torch

from benchmarks.bench_forward import contenders
from benchmarks.side_by_side import argument_parser, dense_fits, extra_peak_mb, in_fresh_process, report

VARIANTS = {
    "encoder": (None, "encoder"),
    "all widths": (None, "ours"),
    "width <= 32": (32, "ours"),
    "dense": (None, "dense"),
}


def peaks(limit: int | None, name: str, lengths: Sequence[int], threads: int) -> list[float]:
    torch.set_num_threads(threads)
    with torch.no_grad():
        contenders(8, limit)[name]()
        return [extra_peak_mb(contenders(length, limit)[name]) for length in lengths]


def main(arguments: Sequence[str]) -> None:
    parser = argument_parser(__doc__, repeats=1)
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 32, 64, 128, 256, 510])
    parser.add_argument("--dense-up-to", type=int, default=256, help="the dense reference needs 11 GB at 510")
    options = parser.parse_args(arguments)
    measured: dict[str, dict[int, float]] = {}
    for variant, (limit, name) in VARIANTS.items():
        lengths = [n for n in options.lengths if variant != "dense" or (n <= options.dense_up_to and dense_fits(n))]
        measured[variant] = dict(
            zip(lengths, in_fresh_process(peaks, limit, name, lengths, options.threads), strict=True)
        )
    heads = {
        variant: {length: max(0.1, mb - measured["encoder"][length]) for length, mb in by_length.items()}
        for variant, by_length in measured.items()
        if variant != "encoder"
    }
    rows = []
    for at, length in enumerate(options.lengths):
        row: list = [length, measured["encoder"][length]]
        for by_length in heads.values():
            row.append(by_length.get(length))
            before = options.lengths[at - 1] if at else None
            if before in by_length and length in by_length:
                row.append(math.log(by_length[length] / by_length[before]) / math.log(length / before))
            else:
                row.append(None)
        rows.append(row)
    columns = ["L", "encoder MB"]
    for variant in heads:
        columns += [f"head, {variant} MB", "exponent" + " " * len([c for c in columns if c.startswith("exponent")])]
    report("memory", columns, rows, options)


if __name__ == "__main__":
    main(sys.argv[1:])
