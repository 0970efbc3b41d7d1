"""`knowfree augment` from recorded answers on mit-movie k20, weibo k20 and the demo corpus, and once more.

    python -m benchmarks.augment_recorded --data ../shared/data --answers ../shared/llm

The second run has its result files deleted and may send nothing; every file must come back byte for byte. The answers
were written by a large language model from a brief derived from the prompts, not from their rendered text, and stored
normalised: no failures, no hallucinated entities, words and tags that always agree. So this measures what the pipeline
makes of good answers. Exit status 1 where a second run differs or sends. Writes results/augment_recorded.json.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from augmentation.commands import augment
from augmentation.llm.store import Store
from augmentation.pipeline import STORE_FILE

OUTPUT = Path(__file__).parent / "results" / "augment_recorded.json"
DEMO = Path(__file__).parent.parent / "examples" / "demo"
FILES = (
    *("fusion.jsonl", "synthetic.jsonl", "train.jsonl", "label_map.json", "counts.json", "failed.jsonl"),
    "provenance.jsonl",
)
VOLATILE = ("time", "attempts", "endpoint", "served_model")  # of provenance: what a rerun may change


def corpora(data: Path, answers: Path) -> dict[str, dict[str, Any]]:
    """Options of `knowfree augment init` by corpus."""
    return {
        "mit-movie k20": _corpus(data / "mit-movie", "k20", "en", answers / "mit-movie.jsonl"),
        "weibo k20": _corpus(data / "weibo", "k20", "zh", answers / "weibo.jsonl"),
        "demo": _corpus(DEMO, "train", "en", DEMO / "answers.jsonl"),
    }


def _corpus(folder: Path, train: str, language: str, answers: Path) -> dict[str, Any]:
    files = {f"{name}_file": folder / f"{name}.jsonl" for name in ("dev", "test")}
    return {"train_file": folder / f"{train}.jsonl", **files, "language": language, "answers": answers}


def command(*arguments: object) -> None:
    """`knowfree augment …` in this process; its exit code, where it is not 0, ends the benchmark."""
    augment.main([str(argument) for argument in arguments], standalone_mode=False)


def requests_sent(folder: Path) -> int:
    with Store(folder / STORE_FILE) as store:
        return store.spent().requests


def results(folder: Path) -> dict[str, bytes]:
    """Bytes of every result file; of provenance without what a rerun may change."""
    read = {name: (folder / name).read_bytes() for name in FILES}
    lines = [json.loads(line) for line in read["provenance.jsonl"].decode().splitlines()]
    kept = [{key: value for key, value in line.items() if key not in VOLATILE} for line in lines]
    return read | {"provenance.jsonl": json.dumps(kept).encode()}


def run(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Both runs of one corpus."""
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    command("init", folder, "--client", "recorded", *given)
    started = time.process_time()
    command("run", folder)
    seconds = time.process_time() - started
    first, sent = results(folder), requests_sent(folder)
    for name in FILES:
        (folder / name).unlink()
    command("run", folder, "--max-requests", "0")
    second = results(folder)
    with Store(folder / STORE_FILE) as store:
        answers = store.counts()
    counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
    label_map = json.loads((folder / "label_map.json").read_text(encoding="utf-8"))
    proposed = {entry["proposed"] for entry in label_map["types"].values()}
    counts["types"]["with_synthetic"]["proposed"] = len(proposed)
    return {
        "samples": counts["samples"],
        "answers": answers,
        "counts": counts,
        "encoder": label_map["encoder"],
        "first_run": {"requests": sent, "cpu_seconds": round(seconds, 1)},
        "second_run": {
            "requests": requests_sent(folder) - sent,
            "files_that_differ": [name for name in FILES if first[name] != second[name]],
        },
    }


def aligned(counts: dict[str, int]) -> dict[str, int]:
    return {
        "answers": counts["answers"],
        "pairs": counts["pairs"],
        "aligned": counts.get("exact", 0) + counts.get("normalised", 0),
        "hallucinated": counts.get("hallucinated", 0),
        "off border": counts.get("off_border", 0),
        "ambiguous": counts.get("ambiguous", 0),
        "spans": counts["spans"],
    }


def table(measured: dict[str, dict[str, Any]]) -> str:
    """What was measured, as Markdown."""
    tasks = sorted({task for entry in measured.values() for task in entry["answers"]})
    lines = [_row("answers", "samples", *tasks, "failed")]
    for name, entry in measured.items():
        failed = sum(entry["counts"]["failed"].values())
        lines.append(_row(name, entry["samples"], *(entry["answers"].get(task, 0) for task in tasks), failed))
    parts = (("source", "entities"), ("synthetic", "entities"), ("synthetic", "targets"))
    rows = {
        f"{name}, {task} of {part} sentences": aligned(entry["counts"][part][task])
        for name, entry in measured.items()
        for part, task in parts
    }
    lines += ["", _row("alignment, in (entity, type) pairs", *next(iter(rows.values())))]
    lines += [_row(name, *numbers.values()) for name, numbers in rows.items()]
    shares = ("rule", "llm", "cluster", "unverified")
    lines += ["", _row("entity types", "raw", "classes", "LLM's groups", "standard labels", *shares)]
    for name, entry in measured.items():
        for part, types in entry["counts"]["types"].items():
            decided = [f"{n} ({n / types['raw']:.0%})" for n in (types["decided_by"][share] for share in shares)]
            numbers = (types["raw"], types["classes"], types.get("proposed", ""), types["standard"])
            lines.append(_row(f"{name}, {part.replace('_', ' ')}", *numbers, *decided))
    lines += ["", _row("second run", "requests", "files that differ")]
    for name, entry in measured.items():
        again = entry["second_run"]
        lines.append(_row(name, again["requests"], ", ".join(again["files_that_differ"]) or "none"))
    for block in [i for i, line in enumerate(lines) if i == 0 or lines[i - 1] == ""][::-1]:
        lines.insert(block + 1, _row(*["---"] * (lines[block].count("|") - 1)))
    notes = [f"{name}: {entry['note']}." for name, entry in measured.items() if "note" in entry]
    return "\n".join([*lines, "", *notes])


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Run what is asked for and print the table of everything measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--answers", type=Path, default=Path("../shared/llm"))
    parser.add_argument("--corpora", nargs="+", metavar="NAME", help='some of "mit-movie k20", "weibo k20", "demo"')
    given = parser.parse_args()
    known = corpora(given.data.resolve(), given.answers.resolve())
    wrong = [name for name in given.corpora or () if name not in known]
    if wrong:
        parser.error(f"no corpus {wrong[0]!r}; there are {', '.join(known)}")
    measured = json.loads(OUTPUT.read_text(encoding="utf-8")) if OUTPUT.exists() else {}
    for name in given.corpora or known:
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = run(Path(folder) / "run", known[name])
        OUTPUT.write_text(json.dumps(measured, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(table(measured))
    sys.exit(
        any(entry["second_run"]["requests"] or entry["second_run"]["files_that_differ"] for entry in measured.values())
    )


if __name__ == "__main__":
    main()
