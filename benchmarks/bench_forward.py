"""What does the span head cost beside the encoder that any tagger needs? Whole forward ÷ encoder forward, batch 1.

    python -m benchmarks.bench_forward

BERT-base with random weights, fp32, 40 labels of which 8 targets. `dense` is the plain L×L reference of the tests.
Memory is the rise of resident memory in a fresh process, less the encoder's own.
"""

import statistics
import sys
from collections.abc import Callable, Sequence

import torch

from benchmarks.side_by_side import (
    TARGETS,
    argument_parser,
    bert_base_model,
    dense_fits,
    extra_peak_mb,
    in_fresh_process,
    interleaved,
    median_ratio,
    one_piece_a_unit,
    report,
)
from tests.support.reference import dense_scores

# (L, width limit) -> ratio and extra MB to reach (issue 6)
AIMS = {
    (32, None): (1.10, None),
    (128, None): (1.25, None),
    (128, 32): (1.15, None),
    (256, None): (1.45, None),
    (256, 32): (1.20, None),
    (510, None): (1.75, 250),
    (510, 32): (1.25, 150),
}


def contenders(length: int, limit: int | None) -> dict[str, Callable[[], object]]:
    model, batch = bert_base_model(limit), one_piece_a_unit(1, length)
    encoder_inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}

    def dense():
        states = model.knowfree(**batch).last_hidden_state[0]
        return dense_scores(model, states)[..., :TARGETS]

    functions = {"encoder": lambda: model.knowfree.encoder(**encoder_inputs), "ours": lambda: model(**batch)}
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
    parser.add_argument("--dense-repeats", type=int, default=3, help="0 leaves the dense reference out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
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


if __name__ == "__main__":
    main(sys.argv[1:])
