"""The `evaluate` module: loaded offline from a folder, as strangers load it, and held against seqeval."""

import json
import os
import shutil
import subprocess
import sys

from tests.support import ROOT

SCRIPT = """
import json, random, sys
import evaluate
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

span_f1 = evaluate.load(sys.argv[1])

def spans(*found):
    return [{"start": start, "end": end, "label": label} for start, end, label in found]

def tagged(random, length):
    tags = ["O"] * length
    found, at = [], 0
    while at < length:
        width = random.randint(1, 3)
        if random.random() < 0.5 and at + width <= length:
            label = random.choice(["PER", "LOC", "ORG"])
            tags[at : at + width] = ["B-" + label] + ["I-" + label] * (width - 1)
            found.append((at, at + width, label))
            at += width
        else:
            at += 1
    return tags, spans(*found)

draw = random.Random(0)
gaps = []
for _ in range(40):
    lengths = [draw.randint(1, 9) for _ in range(draw.randint(1, 6))]
    gold, found = ([tagged(draw, length) for length in lengths] for _ in range(2))
    # Most sentences half right: else random tags hardly ever agree.
    found = [g if draw.random() < 0.5 else f for g, f in zip(gold, found)]
    ours = span_f1.compute(predictions=[s for _, s in found], references=[s for _, s in gold])
    tags = [t for t, _ in gold], [t for t, _ in found]
    for name, theirs in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        gaps.append(abs(ours[name] - theirs(*tags, mode="strict", scheme=IOB2, zero_division=0)))
nested = span_f1.compute(
    references=[spans((0, 4, "ORG"), (0, 2, "LOC"), (0, 2, "PER")), spans()],
    predictions=[spans((0, 4, "ORG"), (0, 2, "PER"), (1, 3, "LOC"), (0, 4, "ORG")), spans()],
)
with_scores = [[{**span, "score": 0.9, "word": "x"} for span in sentence] for sentence in [spans((0, 2, "LOC")), spans()]]
assert span_f1.compute(predictions=with_scores, references=[spans((0, 2, "LOC")), spans()])["f1"] == 1.0
for sentence in with_scores:
    span_f1.add(prediction=sentence, reference=sentence)
assert span_f1.compute()["correct_spans"] == 1
empty = span_f1.compute(predictions=[[]], references=[[]])
print(json.dumps({"worst_gap": max(gaps), "agreeing": min(gaps), "nested": nested, "empty": empty["f1"]}))
"""


def test_span_f1_loads_offline_and_agrees_with_seqeval(tmp_path):
    folder = tmp_path / "span_f1"
    shutil.copytree(ROOT / "spaces" / "span_f1", folder)
    shutil.copy(ROOT / "modeling_knowfree" / "metrics.py", folder)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_EVALUATE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["worst_gap"] < 1e-12
    assert answer["empty"] == 0.0
    nested = answer["nested"]
    assert (nested["gold_spans"], nested["predicted_spans"], nested["correct_spans"]) == (3, 3, 2)
    assert nested["precision"] == nested["recall"] == nested["f1"] == 2 / 3
    assert {label: scores["f1"] for label, scores in nested["per_label"].items()} == {
        "LOC": 0.0,
        "ORG": 1.0,
        "PER": 1.0,
    }
