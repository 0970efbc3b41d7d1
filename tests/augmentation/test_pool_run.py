"""`knowfree augment` with text without labels: probe first, exactly what is asked, nothing twice, and what stops it."""

import json
import re
import time

import pytest
import yaml

from augmentation.llm.recorded import RecordedClient
from augmentation.llm.store_file import hold
from augmentation.steps.windows import windows
from modeling_knowfree.data.readers import read_rows
from tests.conftest import ROOT
from tests.support.augment_call import call
from tests.support.forked import knowfree_forked
from tests.support.llm_server import LLMServer
from tests.support.pool_files import pool_files
from tests.support.tiny_run import lines_of


def make(folder, **changes):
    settings = pool_files(folder) | changes
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def spent(folder):
    return json.loads(call("status", folder, "--json"))["answers"]


def teacher(folder):
    return json.loads((folder / "teacher.json").read_text(encoding="utf-8"))


def test_ask_40_asks_exactly_40_and_a_second_run_none(tmp_path):
    folder = make(tmp_path / "run", usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=4.0)
    out = call("run", folder, "--ask", 40)
    assert "label" in out and "interval" in out  # the table
    assert spent(folder) == {"targets": 48}  # 8 of the gold, 40 of the pool
    report = teacher(folder)
    keys = {"f1", "precision", "recall", "macro_f1", "per_label", "intervals", "folds", "pool_texts", "asked"}
    assert keys | {"requests", "tokens", "usd", "plan"} <= report.keys()
    assert (report["pool_texts"], report["asked"], report["requests"]) == (60, 40, 40)
    assert report["precision"] == 1 and 0.5 < report["recall"] < 1  # it overlooks one row of eight
    results = {name: (folder / name).read_bytes() for name in ("pool.jsonl", "train.jsonl", "teacher.json")}
    call("run", folder)
    assert spent(folder) == {"targets": 48}
    assert "cost: $0.0000 to $0.0000\n" in call("plan", folder)
    assert results == {name: (folder / name).read_bytes() for name in results}
    first = [row["id"] for row in lines_of(folder / "pool.jsonl")]
    assert len(first) == 40 == len(set(first))
    call("run", folder, "--ask", 50)
    assert spent(folder) == {"targets": 58}
    assert [row["id"] for row in lines_of(folder / "pool.jsonl")][:40] == first


def test_pool_rows_say_who_tagged_them_and_nothing_of_extension_labels(tmp_path):
    folder = make(tmp_path / "run")
    call("run", folder, "--ask", 20)
    pool = lines_of(folder / "pool.jsonl")
    for row in pool:
        assert (row["source"], row["annotator"], row["has_extensions"], row["synthetic"]) == (
            "pool",
            "llm",
            False,
            False,
        )
        assert row["extensions"] == [] and row["weight"] == 1.0
        assert all(0.5 < span["weight"] <= 1 for span in row["entities"])
    gold = lines_of(folder / "fusion.jsonl")
    assert lines_of(folder / "train.jsonl") == gold + pool
    read = read_rows(folder / "train.jsonl")[8:]  # as training reads them
    assert [row["has_extensions"] for row in read] == [False] * 20
    assert [row["entities"] for row in read] == [row["entities"] for row in pool]
    call("export", folder, "--format", "datasets", "--output", tmp_path / "out")
    assert (tmp_path / "out" / "pool" / "train.parquet").is_file()


def test_texts_of_the_pool_are_reviewed_window_by_window(tmp_path):
    folder = make(tmp_path / "run", window_units=60)
    long = ("deep snow fell on the bear . " * 12).split()
    texts = [" ".join(long[slice(*window)]) for window in windows(long, 60)]
    bears = [{"entity": "bear", "type": "WILDLIFE"}] * 8
    with (folder / "answers.jsonl").open("a", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"task": "targets", "id": "", "input": text, "completion": json.dumps(bears)}) + "\n")
    pool = (folder / "pool.txt").read_text(encoding="utf-8")
    (folder / "pool.txt").write_text(" ".join(long) + "\n" + pool, encoding="utf-8")
    call("run", folder)
    call("review", folder)
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert page.count('data-kind="pool"') == 62 and page.count('data-kind="gold"') == 8
    first, second = re.findall(r'data-id="(.*@.)"', page)
    decided = {first: {"sample": "rejected"}, second: {"spans": {"5-6-WILDLIFE": "rejected"}}}
    (folder / "decisions.json").write_text(json.dumps({"rows": decided}), encoding="utf-8")
    call("export", folder, "--format", "jsonl", "--output", tmp_path / "out")
    for name in ("pool", "train"):
        left = {row["id"]: row for row in lines_of(tmp_path / "out" / f"{name}.jsonl")}
        assert first not in left and left[second]["entities"][0]["start"] == 12


def test_a_bad_teacher_stops_before_the_pool_and_can_be_resumed(tmp_path):
    folder = make(tmp_path / "run")
    out = call("run", folder, "--min_teacher_f1", 0.99, code=3)
    assert "min_teacher_f1" in out and spent(folder) == {"targets": 8}
    assert teacher(folder)["asked"] == 0 and not (folder / "pool.jsonl").exists()
    call("run", folder, "--min_teacher_f1", 0.5)
    assert spent(folder) == {"targets": 68} and teacher(folder)["asked"] == 60


def test_a_teacher_that_answers_nothing_stops_after_the_probe(tmp_path):
    folder = make(tmp_path / "run")
    answers = folder / "answers.jsonl"
    lines = [json.loads(line) | {"completion": "[]"} for line in answers.read_text(encoding="utf-8").splitlines()]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert "found no span" in call("run", folder, code=3)
    assert spent(folder) == {"targets": 8} and teacher(folder)["f1"] == 0


def test_plan_counts_probe_and_pool_without_asking(tmp_path):
    folder = make(tmp_path / "run", ask=30)
    plan = json.loads(call("plan", folder, "--json"))
    assert plan["tasks"]["targets"]["missing"] == 38
    call("run", folder)
    plan = json.loads(call("plan", make(folder, ask=50), "--json"))
    assert (plan["tasks"]["targets"]["missing"], plan["tasks"]["targets"]["cached"]) == (20, 38)


def test_what_was_never_asked_is_exported_empty(tmp_path):
    folder = make(tmp_path / "run", annotator="gold", unlabeled_file=None)
    call("run", folder)
    call("export", folder, "--format", "datasets", "--output", tmp_path / "out")
    assert read_rows(tmp_path / "out" / "fusion" / "train.parquet")


def test_a_folder_is_a_pool(tmp_path):
    one, many = make(tmp_path / "one"), make(tmp_path / "many", unlabeled_file="../texts")
    texts = (one / "pool.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "texts" / "deeper").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("".join(texts[:20]), encoding="utf-8")
    (tmp_path / "texts" / "deeper" / "b.txt").write_text("".join(texts[20:]), encoding="utf-8")
    for folder in (one, many):
        call("run", folder)
    assert [row["tokens"] for row in lines_of(one / "pool.jsonl")] == [
        row["tokens"] for row in lines_of(many / "pool.jsonl")
    ]
    (tmp_path / "texts" / "notes.pdf").write_bytes(b"%PDF")  # which is not read
    call("run", many)
    (tmp_path / "texts" / "deeper" / "b.txt").unlink()
    assert "unlabeled_file" in call("run", many, code=2)
    assert "in which this run writes" in call("run", make(many, unlabeled_file=".."), code=2)


@pytest.mark.parametrize(
    "text, complaint",
    [("", "no text in it"), ("我们一起在嘉鱼\n", "another language"), (None, "no text of the pool is left")],
)
def test_pools_of_no_use_are_refused_before_anything_is_written(tmp_path, text, complaint):
    folder = make(tmp_path / "run", test_file="pool.txt.rows.jsonl")
    pool = (folder / "pool.txt").read_text(encoding="utf-8")
    rows = [{"id": str(n), "tokens": line.split(), "entities": []} for n, line in enumerate(pool.splitlines())]
    (folder / "pool.txt.rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if text is not None:
        (folder / "pool.txt").write_text(text, encoding="utf-8")
    before = sorted(path.name for path in folder.iterdir())
    assert complaint in call("run", folder, code=2)
    left = {path.name for path in folder.iterdir()} - set(before)
    assert not {name for name in left if not name.startswith("answers.sqlite")}


@pytest.mark.soak
def test_a_kill_in_the_middle_of_the_pool_pays_nothing_twice(tmp_path):
    folder = make(tmp_path / "run")
    with LLMServer(RecordedClient([folder / "answers.jsonl"]), latency_seconds=0.05) as server:
        settings = yaml.safe_load((folder / "augment.yaml").read_text(encoding="utf-8"))
        settings |= {"client": "hub", "model": "m", "base_url": server.url, "concurrency": 2, "answers": []}
        (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

        def answered():
            return [entry for entry in server.log if entry["task"] == "targets" and entry["outcome"] == "ok"]

        process = knowfree_forked("augment", "run", folder)
        while len(answered()) < 25 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        time.sleep(0.2)
        sent = len(answered())
        assert 25 <= sent < 68
        assert knowfree_forked("augment", "run", folder).wait(200) == 0
        assert 68 <= len(answered()) <= 68 + 2 * 2  # in flight at the kill, or arrived and not yet committed
    assert teacher(folder)["asked"] == 60 and len(lines_of(folder / "pool.jsonl")) == 60


def test_two_runs_on_one_pool_folder_the_second_changes_nothing(tmp_path):
    folder = make(tmp_path / "run", ask=30)
    call("run", folder, "--max_requests", 10, code=3)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("answers.sqlite")}
    with hold(folder / "answers.sqlite"):
        told = call("run", folder, "--ask", 40, code=2)
    assert "another run is at work" in told
    after = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("answers.sqlite")}
    assert after == before


def test_texts_that_were_picked_stay_picked_where_lines_move(tmp_path):
    folder = make(tmp_path / "run", ask=20)
    call("run", folder)
    asked = spent(folder)
    texts = (folder / "pool.txt").read_text(encoding="utf-8")
    (folder / "pool.txt").write_text("a bear at the creek of the pass\n" + texts, encoding="utf-8")
    call("run", folder, "--accept_changes")
    assert spent(folder) == asked and len(lines_of(folder / "pool.jsonl")) == 20


def test_answers_of_the_probe_that_cannot_be_used_are_told(tmp_path):
    folder = make(tmp_path / "run")
    answers = folder / "answers.jsonl"
    gold = {row["id"] for row in read_rows(folder / "gold.jsonl")[:3]}
    lines = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    broken = [line | ({"completion": "no idea"} if line["id"] in gold else {}) for line in lines]
    answers.write_text("".join(json.dumps(line) + "\n" for line in broken), encoding="utf-8")
    assert "3 of its answers cannot be used" in call("run", folder, "--min_teacher_f1", 0.99, code=3)
    assert "3 answers failed" in call("run", folder, "--min_teacher_f1", 0.1)
    assert {line["id"] for line in lines_of(folder / "failed.jsonl")} == gold


def test_the_price_counts_pos_behind_segmentation(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    demo = ROOT / "examples" / "demo" / "zh"
    answers = [str(demo / name) for name in ("answers.jsonl", "pool_answers.jsonl", "probe.jsonl")]
    settings = {"train_file": str(demo / "train.jsonl"), "unlabeled_file": str(demo / "pool.txt"), "language": "zh"}
    settings |= {"task": "nested_ner", "client": "recorded", "answers": answers, "explain": False, "ask": 6}
    settings |= {"pool_extensions": True}
    (folder / "augment.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    call("run", folder)
    report = teacher(folder)
    assert report["plan"]["tasks"] == {"targets": 6, "entities": 6, "segmentation": 6, "pos": 6}
    assert (report["texts"], report["requests"]) == (6, 24)


def test_a_refused_hub_data_set_leaves_the_texts_that_are_there(tmp_path):
    folder = make(tmp_path / "run", unlabeled_file="unlabeled.jsonl")
    for name, text in (("one", "a bear at the creek of the pass"), ("other", "deep snow on the ridge in may")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    call("run", folder, "--unlabeled_dataset_name", tmp_path / "one", "--max_requests", 2, code=3)
    before = (folder / "unlabeled.jsonl").read_bytes()
    told = call("run", folder, "--unlabeled_dataset_name", tmp_path / "other", code=2)
    assert "holds other texts" in told and (folder / "unlabeled.jsonl").read_bytes() == before
    with hold(folder / "answers.sqlite"):  # another process is at work with them
        told = call("run", folder, "--unlabeled_dataset_name", tmp_path / "other", "--accept_changes", code=2)
    assert "nothing was changed" in told and (folder / "unlabeled.jsonl").read_bytes() == before


@pytest.mark.parametrize("model", [None, "nowhere"])
def test_a_picker_without_a_model_is_refused_before_the_probe(tmp_path, model):
    folder = make(tmp_path / "run", ask=10, pick="uncertain", pick_model=model)
    assert "needs a model that doubts" in call("run", folder, code=2)
    assert spent(folder) == {}


def test_plan_shows_prompts_of_the_pool(tmp_path):
    assert "--- targets ---" in call("plan", make(tmp_path / "run", ask=10))
