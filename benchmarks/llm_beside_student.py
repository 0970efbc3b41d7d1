"""The LLM and the students that it taught, on the same test texts.

    OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 python -m benchmarks.llm_beside_student ../shared/llm/tagging

The LLM's rows are `llm_zero` and `llm_few` with the recorded answers of `SET.zero.jsonl` and `SET.few.jsonl`; a student
is any finished model of `runs/SET_pool`, scored by the predictions that its run kept. One line each in
benchmarks/results/llm_beside_student.jsonl: a line of a student stays when its run is gone. The LLM knows these public
sets in general, see the README beside the answers.
"""

import argparse
import json
import tempfile
from pathlib import Path

from knowfree_experiments.report.results import PREDICTIONS_FILE
from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import check_run

from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.settings import read_settings

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "llm_beside_student.jsonl"


def scores(set_name: str, tagger: str, gold: list[dict], predicted: dict[str, list[dict]]) -> dict:
    """A line; `predicted`: the spans by the id of their text."""
    spans = [
        [[(span["start"], span["end"], span["label"]) for span in found] for found in part]
        for part in ([row["entities"] for row in gold], [predicted[row["id"]] for row in gold])
    ]
    found = span_scores(*spans)
    ratios = {name: round(found[name] * 100, 1) for name in ("f1", "precision", "recall")}
    return {"set": set_name, "tagger": tagger, "texts": len(gold), **ratios}


def of_llm(name: str, answers: Path, sample: Path) -> list[dict]:
    """The LLM's own lines."""
    values = read_settings(HERE / "runs" / f"{name}_pool.yaml")
    kinds = ("zero", "few")
    values |= {
        "test_file": str(sample),
        "variants": list(kinds),
        "define": {
            kind: {
                "tagger": f"llm_{kind}",
                "augment": {"answers": [str(answers / f"{sample.name.split('.')[0]}.{kind}.jsonl")]},
            }
            for kind in kinds
        },
    }
    for unused in ("unlabeled_file", "updates"):
        values.pop(unused, None)
    values["augment"] = {"client": "recorded"}
    with tempfile.TemporaryDirectory() as folder:
        run = Run(check_run(values, name), Path(folder))
        lines = []
        for result in run.go():
            path = Path(folder) / result["subset"] / result["variant"] / f"seed-{result['seed']}" / PREDICTIONS_FILE
            lines.append(scores(name, f"llm_{result['variant']}", read_rows(sample), by_id(path)))
        return lines


def of_students(name: str, sample: Path) -> list[dict]:
    """The lines of the finished students that lie in `runs`."""
    gold = read_rows(sample)
    return [
        scores(name, f"{path.parts[-3]}, {path.parts[-4]}, {path.parts[-2]}", gold, by_id(path))
        for path in sorted(Path("runs").glob(f"{name}_pool/*/*/seed-*/{PREDICTIONS_FILE}"))
    ]


def by_id(path: Path) -> dict[str, list[dict]]:
    """The spans of a file of predictions."""
    return {row["id"]: row["entities"] for row in map(json.loads, path.open(encoding="utf-8"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, help="folder of SET.zero.jsonl, SET.few.jsonl and SET.sample.jsonl")
    answers = parser.parse_args().answers
    kept = [json.loads(line) for line in RESULTS.open(encoding="utf-8")] if RESULTS.exists() else []
    lines = {(line["set"], line["tagger"]): line for line in kept}
    for sample in sorted(answers.glob("*.sample.jsonl")):
        name = sample.name.split(".")[0].replace("-", "_")
        for line in of_llm(name, answers, sample) + of_students(name, sample):
            lines[line["set"], line["tagger"]] = line
    found = [lines[key] for key in sorted(lines)]
    RESULTS.write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")
    print("| set | tagger | texts | F1 | precision | recall |\n| --- | --- | --- | --- | --- | --- |")
    for line in found:
        print("|", " | ".join(str(value) for value in line.values()), "|")


if __name__ == "__main__":
    main()
