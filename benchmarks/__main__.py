"""The short form of every benchmark, some minutes altogether: `make bench`. One alone: `python -m benchmarks.NAME`.

Arguments go to all of them: `python -m benchmarks --threads 1 --clock cpu` on a busy machine.
"""

import sys

from benchmarks import bench_forward, bench_memory, bench_predict, bench_startup, bench_training_step
from benchmarks.side_by_side import RESULTS

SHORT = {
    bench_startup: ["--repeats", "2"],
    bench_forward: ["--repeats", "5", "--lengths", "32", "128", "--dense-repeats", "1"],
    bench_memory: ["--lengths", "32", "64", "128", "--dense-up-to", "128"],
    bench_training_step: ["--repeats", "2", "--batch-size", "2"],
    bench_predict: ["--repeats", "2", "--sets", "mit-movie", "--sentences", "64", "--batch-sizes", "8"],
}

for benchmark, arguments in SHORT.items():
    name = benchmark.__name__.rpartition(".")[2]
    print(f"\n{name} {' '.join(arguments)}", flush=True)
    benchmark.main([*arguments, *sys.argv[1:], "--output", str(RESULTS / "short" / f"{name}.json")])
