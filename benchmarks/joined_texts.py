"""Does a tagger trained on sentences find in a long text what it finds in its sentences? F1 on both, gold the same.

    python -m benchmarks.joined_texts --model runs/demo-zh/model --test examples/demo/zh/test.jsonl

`--joined 16` joins the test sentences by sixteens, in file order, and moves their gold along; nothing marks where one
ends but what stands in the text. `÷ alone` is F1 over that of the sentences each by itself (`joined` 1). With `--whole`
also F1 with no windows but those that the encoder's limit forces. One line a case is appended to
benchmarks/results/joined_texts.jsonl.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.side_by_side import RESULTS
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.data.rows import Row
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.metrics import LabelledSpan, span_scores


def join(rows: Sequence[Row], number: int) -> Iterator[tuple[list[str], list[LabelledSpan]]]:
    """Units and gold of so many rows after one another; the last text has what is left."""
    for first in range(0, len(rows), number):
        units: list[str] = []
        gold: list[LabelledSpan] = []
        for row in rows[first : first + number]:
            gold += [(len(units) + s["start"], len(units) + s["end"], s["label"]) for s in row["entities"]]
            units += row["tokens"]
        yield units, gold


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--name", help="what the lines call it; default: the model's folder")
    parser.add_argument("--joined", type=lambda text: [int(n) for n in text.split(",")], default=[1, 5, 16, 25])
    parser.add_argument("--sentences", type=int, help="so many of the test file's first; default: all")
    parser.add_argument("--whole", action="store_true", help="also without windows, which takes long")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--output", type=Path, default=RESULTS / "joined_texts.jsonl")
    options = parser.parse_args(arguments)
    tagger = load_pipeline(options.model, "cpu")
    rows = read_rows(options.test, unit=tagger.model.config.unit)[: options.sentences]
    lengths = tagger.model.config.train_lengths

    def f1(texts: list[list[str]], gold: list[list[LabelledSpan]], windows: bool) -> float:
        tagger.model.config.train_lengths = lengths if windows else None
        stream = tagger(iter(texts), is_split_into_words=True, batch_size=options.batch_size)
        found = [
            [(span["start"], span["end"], span["entity_group"]) for span in spans]
            for spans in tqdm(stream, total=len(texts), leave=False)
        ]
        return 100 * span_scores(gold, found)["f1"]

    alone = 0.0
    for number in sorted({1, *options.joined}):
        texts, gold = map(list, zip(*join(rows, number), strict=True))
        score = f1(texts, gold, windows=True)
        alone = alone or score
        line = {
            "model": options.name or Path(options.model).resolve().name,
            "test": f"{Path(options.test).resolve().parent.name}/{Path(options.test).name}",
            "sentences": len(rows),
            "joined": number,
            "texts": len(texts),
            "f1": round(score, 2),
            "÷ alone": round(score / alone, 4) if alone else None,
            "train_lengths": lengths,
        }
        if options.whole:
            line["f1 whole"] = round(f1(texts, gold, windows=False), 2)
        print(json.dumps(line, ensure_ascii=False), flush=True)
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
