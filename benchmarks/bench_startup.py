"""How long until `knowfree` answers? Beside what Python and torch take by themselves.

python -m benchmarks.bench_startup
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.side_by_side import argument_parser, interleaved, report

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import click'": ["-c", "import click"],
    "knowfree --help": ["-m", "knowfree", "--help"],
    "knowfree predict --help": ["-m", "knowfree", "predict", "--help"],
    "knowfree train --help": ["-m", "knowfree", "train", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
    "python -c 'import transformers.pipelines'": ["-c", "import transformers.pipelines"],
}


def main(arguments: Sequence[str]) -> None:
    options = argument_parser(__doc__).parse_args(arguments)

    def runner(words: list[str]):
        return lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    seconds = interleaved({name: runner(words) for name, words in COMMANDS.items()}, options.repeats, options.clock)
    bare = statistics.median(seconds["python -c pass"])
    rows = [(name, statistics.median(times), statistics.median(times) - bare) for name, times in seconds.items()]
    report("startup", ["command", "seconds", "above bare Python"], rows, options)


if __name__ == "__main__":
    main(sys.argv[1:])
