"""What a report finds in a run and in an augmentation, before any of it is drawn."""

import json

from knowfree_experiments.report.augmentations import label_merges, losses
from knowfree_experiments.report.disagreement import disagreement
from knowfree_experiments.report.scores import best_on_dev, challenger, label_scores

from modeling_knowfree.data.readers import write_rows
from tests.support.run_folder import CELLS, make_run


def test_best_on_dev_is_compared_over_shared_seeds(tmp_path):
    dev = {"base": [0.60, 0.62, 0.50], "plain": [0.59, 0.61]}
    by_cell = {("k2", name, seed): f1 for name, values in dev.items() for seed, f1 in enumerate(values)}
    assert best_on_dev(make_run(tmp_path / "a", cells=dict.fromkeys(by_cell, "gold"), dev_f1=by_cell), "k2") == "base"
    by_cell = {("k2", "base", 0): 0.6, ("k2", "plain", 1): 0.5, ("k2", "plain", 2): 0.8}  # none shared
    run = make_run(tmp_path / "b", cells=dict.fromkeys([*by_cell, ("k2", "cnn", 0)], "gold"), dev_f1=by_cell)
    assert best_on_dev(run, "k2") == "plain"


def test_best_on_dev_and_who_is_held_against_base(tmp_path):
    dev = {("k2", "base", 0): 0.9, ("k2", "fs", 0): 0.6, ("k2", "fs_llm", 0): 0.7, ("k2", "cnn", 0): 0.8}
    run = make_run(tmp_path, cells=dict.fromkeys(dev, "gold"), dev_f1=dev)
    assert best_on_dev(run, "k2") == "base"
    assert challenger(run, "k2") == "fs_llm"  # of the -FS variants, though cnn is better


def test_disagreement_is_in_every_seed(tmp_path):
    run = make_run(tmp_path, cells=CELLS)
    found = disagreement(run, "k2", "fs", "base", limit=2)
    assert (found.count, found.sentences, found.seeds) == (4, 8, (0, 1))
    [(gold, right, wrong), _] = found.examples
    assert right["entities"] == gold["entities"] and "PLACE" not in [span["label"] for span in wrong["entities"]]
    assert disagreement(run, "k2", "base", "fs", limit=2).count == 0


def test_label_scores_are_means_over_seeds(tmp_path):
    names, lines = label_scores(make_run(tmp_path, cells=CELLS), "k2")
    assert names == ["base", "f", "fs"]
    assert [(line["label"], line["support"]) for line in lines] == [
        ("GEAR", 4), ("PLACE", 4), ("TIME", 4), ("CONDITION", 2), ("WILDLIFE", 2),
    ]  # fmt: skip
    gear = lines[0]["f1"]
    assert [one.mean for one in gear] == [0.5, 1.0, 1.0] and [one.n for one in gear] == [2, 1, 2]


def test_merges_and_losses_of_an_augmentation(augmented, tmp_path):
    merges = label_merges(augmented)
    label_map = json.loads((augmented / "label_map.json").read_text(encoding="utf-8"))
    types, labels = label_map["types"], label_map["labels"]
    grouped = [one["raw"] for _, members in merges["groups"] for one in members]
    assert merges["types"] == len(types) == len(grouped) + len(merges["alone"])
    assert all(types[one["raw"]]["standard"] == name for name, members in merges["groups"] for one in members)
    assert all(first["raw"] == labels[name]["reference"] for name, [first, *_] in merges["groups"])
    told = {(line["part"], line["what"]): line for line in losses(augmented)["lines"]}
    sentences = told["explanations", "sentences"]
    dropped = sum(n for _, n in sentences["reasons"])
    assert sentences["kept"] + dropped == sentences["total"] > 0
    assert label_merges(tmp_path) is None and losses(tmp_path) is None


def test_losses_are_named(tmp_path):
    counts = {
        "source": {
            "entities": {"pairs": 9, "exact": 4, "normalised": 1, "hallucinated": 3, "off_border": 1, "failed": 2}
        },
        "synthetic": {"targets": {"pairs": 3, "exact": 2, "unknown_label": 2, "out_of_order": 1}},
        "synthesis": {"explanations": 2, "sentences": 5, "swapped": 2, "kept": 4, "in_dev_or_test": 2, "cut": 1},
    }
    (tmp_path / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    found = losses(tmp_path)
    assert [(line["kept"], line["total"], line["reasons"]) for line in found["lines"]] == [
        (5, 9, [("not in the text", 3), ("not on unit borders", 1), ("answers that failed", 2)]),
        (2, 5, [("no label of the task", 2), ("only before the mention before it", 1)]),
        (4, 7, [("in dev or test", 2), ("cut by the token limit", 1)]),
    ]
    assert found["failed"] == []
    failed = {"id": "r\u20281", "task": "pos", "reason": "no JSON:\u2029\u0085"}  # JSON holds them as they are
    write_rows(tmp_path / "failed.jsonl", [failed])
    assert losses(tmp_path)["failed"] == [failed]
