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
from typing import Any

from knowfree_experiments.run.results import PREDICTIONS_FILE
from knowfree_experiments.run.run import Run
from knowfree_experiments.run.settings import check_run

from benchmarks.run_all import config_of
from modeling_knowfree.data.readers import Row, read_rows
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.settings import read_settings

RESULTS = Path(__file__).parent / "results" / "llm_beside_student.jsonl"


def line(set_name: str, tagger: str, texts: int, scores: dict[str, Any]) -> dict[str, Any]:
    """A line of the results; `scores` has fractions, the line percent."""
    ratios = {name: round(scores[name] * 100, 1) for name in ("f1", "precision", "recall")}
    return {"set": set_name, "tagger": tagger, "texts": texts, **ratios}


def of_llm(name: str, answers: Path, sample: Path, gold: list[Row]) -> list[dict[str, Any]]:
    """The LLM's own lines."""
    answered = {f"llm_{kind}": answers / sample.name.replace("sample", kind) for kind in ("zero", "few")}
    values = read_settings(config_of(f"{name}_pool"))
    del values["unlabeled_file"], values["updates"]
    values["test_file"] = str(sample)
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for variant, path in answered.items():
            own = {"variants": [variant], "augment": {"client": "recorded", "answers": [str(path)]}}
            [result] = Run(check_run(values | own, name), Path(folder) / variant).go()
            lines.append(line(name, variant, len(gold), result))
        return lines


def of_students(name: str, gold: list[Row]) -> list[dict[str, Any]]:
    """The lines of the finished students that lie in `runs`."""
    lines = []
    for path in sorted(Path("runs").glob(f"{name}_pool/*/*/seed-*/{PREDICTIONS_FILE}")):
        predicted = {row["id"]: triples(row) for row in map(json.loads, path.open(encoding="utf-8"))}
        found = span_scores([triples(row) for row in gold], [predicted[row["id"]] for row in gold])
        subset, variant, seed = path.parts[-4:-1]
        lines.append(line(name, f"{variant}, {subset}, {seed}", len(gold), found))
    return lines


def triples(row: Row) -> list[tuple[int, int, str]]:
    """Start, end (exclusive) and label of a row's entities."""
    return [(span["start"], span["end"], span["label"]) for span in row["entities"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, help="folder of SET.zero.jsonl, SET.few.jsonl and SET.sample.jsonl")
    answers = parser.parse_args().answers
    kept = map(json.loads, RESULTS.open(encoding="utf-8")) if RESULTS.exists() else ()
    found = {(each["set"], each["tagger"]): each for each in kept}
    for sample in sorted(answers.glob("*.sample.jsonl")):
        name, gold = sample.name.split(".")[0].replace("-", "_"), read_rows(sample)
        for each in of_llm(name, answers, sample, gold) + of_students(name, gold):
            found[each["set"], each["tagger"]] = each
    lines = [found[key] for key in sorted(found)]
    RESULTS.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    print("| set | tagger | texts | F1 | precision | recall |\n| --- | --- | --- | --- | --- | --- |")
    for each in lines:
        print("|", " | ".join(str(value) for value in each.values()), "|")


if __name__ == "__main__":
    main()
