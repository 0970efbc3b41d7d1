"""A pool for tests: eight gold sentences of the demo corpus, texts without labels, and answers recorded for both."""

import json
from pathlib import Path
from typing import Any

from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.data.rows import write_rows
from modeling_knowfree.units_knowfree import join_units
from tests.support.tiny_run import DEMO


def pool_files(folder: Path, texts: int = 60) -> dict[str, Any]:
    """Settings of an augmentation with a pool and nothing else: `train_file`, `unlabeled_file`, `answers`, ….

    The recorded teacher makes one mistake on the gold: it overlooks every entity of the first row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gold = read_rows(DEMO / "train.jsonl")[:8]
    write_rows(folder / "gold.jsonl", gold)
    lines = [json.loads(line) for line in (DEMO / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    pool = [line for line in lines if line["task"] == "targets"][:texts]
    for number, row in enumerate(gold):
        spans = row["entities"] if number else []
        items = [
            {"entity": " ".join(row["tokens"][span["start"] : span["end"]]), "type": span["label"]} for span in spans
        ]
        text = join_units(row["tokens"], "word")[0]
        pool.append({"task": "targets", "id": row["id"], "input": text, "completion": json.dumps(items)})
    write_rows(folder / "answers.jsonl", pool)
    (folder / "pool.txt").write_text("".join(line["input"] + "\n" for line in pool[:texts]), encoding="utf-8")
    return {
        "train_file": "gold.jsonl",
        "unlabeled_file": "pool.txt",
        "language": "en",
        "client": "recorded",
        "answers": ["answers.jsonl"],
        "kinds": [],
        "explain": False,
    }
