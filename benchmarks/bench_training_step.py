"""The span head's part of a training step, beside the plain dense L×L reference's: forward and backward, no optimizer.

    python -m benchmarks.bench_training_step
    python -m benchmarks.bench_training_step --device cuda --dtype bfloat16 [--compile]    # 8x64, 8x128, 32x128

BERT-base with random weights, fp32 unless told, 40 labels. The head's part is the step less the bare encoder's step of
the same round. Memory is the rise of resident memory in a fresh process, less the bare encoder's.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

import torch

from benchmarks.side_by_side import (
    EXTENSIONS,
    TARGETS,
    argument_parser,
    bert_base_model,
    extra_peak_mb,
    in_fresh_process,
    interleaved,
    median_ratio,
    one_piece_a_unit,
    precision,
    report,
)
from tests.support.reference import dense_loss, dense_scores


def contenders(
    length: int, size: int, device: str = "cpu", compiled: bool = False
) -> tuple[torch.nn.Module, dict[str, Callable[[], object]]]:
    model = bert_base_model().train().to(device)
    batch = {name: tensor.to(device) for name, tensor in one_piece_a_unit(size, length).items()}
    ours = torch.compile(model, dynamic=True) if compiled else model
    starts = torch.arange(0, length - 3, 8)
    gold = torch.stack([starts, starts + 3, starts % (TARGETS + EXTENSIONS)], 1).expand(size, -1, -1).to(device)
    encoder_inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}

    def dense_step():
        states = model.knowfree(**batch).last_hidden_state[:, :length]
        losses = [dense_loss(model.config, dense_scores(model, s), g) for s, g in zip(states, gold, strict=True)]
        torch.stack(losses).mean().backward()

    return model, {
        "encoder": lambda: (
            model.knowfree.encoder(**encoder_inputs).last_hidden_state.float().square().mean().backward()
        ),
        "ours": lambda: ours(**batch, span_labels=gold).loss.backward(),
        "dense": dense_step,
    }


def memory(length: int, size: int, name: str, threads: int) -> float:
    torch.set_num_threads(threads)
    model, functions = contenders(length, size)
    for parameter in model.parameters():  # a training loop's gradients are there already
        parameter.grad = torch.zeros_like(parameter)
    return extra_peak_mb(functions[name])


def largest_gradient_difference(length: int, size: int) -> float:
    """Largest difference of ours and the reference's gradients, relative to each parameter's largest."""
    model, functions = contenders(length, size)
    model.eval()  # no dropout
    gradients = {}
    for name in ("ours", "dense"):
        model.zero_grad()
        functions[name]()
        gradients[name] = {n: p.grad for n, p in model.named_parameters()}
    return max(
        float((gradients["ours"][n] - g).abs().max() / g.abs().max())
        for n, g in gradients["dense"].items()
        if not n.endswith("key.bias")  # softmax cancels the encoder's: rounding alone
    )


def main(arguments: Sequence[str]) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.device != "cpu" or options.dtype != "float32" or options.compile:
        return on_device(options)
    case = options.length, options.batch_size
    seconds = interleaved(contenders(*case)[1], options.repeats, options.clock)
    peak = {name: in_fresh_process(memory, *case, name, options.threads) for name in seconds}
    difference = largest_gradient_difference(*case)

    def head(name: str) -> list[float]:
        return [whole - encoder for whole, encoder in zip(seconds[name], seconds["encoder"], strict=True)]

    rows = [
        (
            *(name, statistics.median(seconds[name]), median_ratio(seconds[name], seconds["encoder"])),
            *(statistics.median(head(name)), statistics.median(head(name)) / statistics.median(head("dense"))),
            *(extra := peak[name] - peak["encoder"], extra / (peak["dense"] - peak["encoder"])),
        )
        for name in ("ours", "dense")
    ]
    columns = ["", "step s", "÷ encoder", "head s", "÷ dense head", "head extra MB", "÷ dense extra"]
    report("training_step", columns, rows, options)
    print(f"largest gradient difference, relative: {difference:.1e} (aim 1e-4); aim 0.25 ÷ dense head, ÷ dense extra")


# (L, sentences) -> step ÷ encoder step to reach in bf16
GPU_AIMS = {(64, 8): None, (128, 8): None, (128, 32): 1.7}


def on_device(options: argparse.Namespace) -> None:
    """Issue 18's training steps, on any device and in any precision; on a CPU the case of the options alone."""
    rows = []
    cases = GPU_AIMS if options.device != "cpu" else {(options.length, options.batch_size): None}
    for (length, size), aim in cases.items():
        functions = contenders(length, size, options.device, options.compile)[1]
        functions.pop("dense")
        with precision(options):
            seconds = interleaved(functions, options.repeats, options.clock)
        milliseconds = [1000 * statistics.median(seconds[name]) for name in ("encoder", "ours")]
        rows.append((size, length, *milliseconds, median_ratio(seconds["ours"], seconds["encoder"]), aim))
    report("training_step_device", ["B", "L", "encoder ms", "ours ms", "ratio", "aim"], rows, options)


if __name__ == "__main__":
    main(sys.argv[1:])
