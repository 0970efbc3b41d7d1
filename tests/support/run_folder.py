"""Run folders as `knowfree run` leaves them, their predictions made by rule from eight sentences."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from knowfree_experiments.run.results import FinishedRun, read_run

from modeling_knowfree.data.readers import write_rows
from modeling_knowfree.metrics import span_scores
from tests.conftest import ENGLISH_ROWS as TEST_ROWS

RULES = {
    "gold": lambda span: True,
    "without PLACE": lambda span: span["label"] != "PLACE",
    "PLACE": lambda span: span["label"] == "PLACE",
    "nothing": lambda span: False,
}

CELLS = {
    ("k2", "base", 0): "without PLACE",
    ("k2", "base", 1): "nothing",
    ("k2", "f", 0): "without PLACE",
    ("k2", "fs", 0): "gold",
    ("k2", "fs", 1): "gold",
    ("k5", "base", 0): "gold",
    ("k5", "fs", 0): "PLACE",
}
"""A run of two subsets: by (subset, variant, seed) the rule that makes its predictions."""


def make_run(
    folder: Path,
    *,
    cells: Mapping[tuple[str, str, int], str],
    rows: list[dict] = TEST_ROWS,
    dev_f1: Mapping[tuple[str, str, int], float] | None = None,
) -> FinishedRun:
    """
    A run folder that tags `rows`.

    Args:
        cells: by (subset, variant, seed) the rule that makes its predictions from the gold.
        dev_f1: of the cells that have one; these have a learning curve too.
    """
    write_rows(folder / "test.jsonl", rows)
    lines = []
    for (subset, variant, seed), rule in cells.items():
        tagged = [one | {"entities": [span for span in one["entities"] if RULES[rule](span)]} for one in rows]
        home = folder / subset / variant / f"seed-{seed}"
        home.mkdir(parents=True, exist_ok=True)
        write_rows(home / "test_predictions.jsonl", tagged)
        gold, found = ([[tuple(span.values()) for span in one["entities"]] for one in side] for side in (rows, tagged))
        scores = span_scores(gold, found)
        dev = (dev_f1 or {}).get((subset, variant, seed))
        lines.append(
            {
                **{"dataset": "trail", "subset": subset, "variant": variant, "seed": seed},
                **{name: scores[name] for name in ("f1", "precision", "recall", "macro_f1", "per_label")},
                **{"dev_f1": dev, "curve": [] if dev is None else [[10, dev / 2], [20, dev]]},
                **{"train_rows": 6, "gold_rows": 6, "synthetic_rows": 0, "updates": 20, "seconds": 1.5},
                **{"versions": {"knowfree": "0.1.0", "torch": "2.13.0"}, "key": "0" * 64},
            }
        )
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    axes = {name: list(dict.fromkeys(cell[at] for cell in cells)) for at, name in enumerate(["subsets", "variants"])}
    settings = {
        **{"dataset": "trail", "test_file": str(folder / "test.jsonl"), "validation_file": None, "unit": "word"},
        **{"language": "en", "model_name_or_path": "org/tiny-bert", "seeds": sorted({cell[2] for cell in cells})},
        **axes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return read_run(folder)
