"""Low-resource subsets: sizes, nesting, order, shots, parents, files."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_knowfree.data.readers import InputError, read_rows, write_rows
from modeling_knowfree.training.sampling import k_shot_subsets, random_subsets, write_subsets
from tests.support import SHARED

DATA_SETS = ("weibo", "youku", "mit-movie", "cmeee", "stockmark-ja", "ud-zh")


def gold(number: int, labels: str = "") -> dict:
    """A row with one entity for each letter of `labels`."""
    entities = [{"start": at, "end": at + 1, "label": label} for at, label in enumerate(labels)]
    return {"id": str(number), "tokens": list(labels) or ["-"], "entities": entities}


def synthetic(number: int, parent: int, labels: str = "") -> dict:
    return {**gold(number, labels), "synthetic": True, "parent_id": str(parent)}


def ids(rows: list[dict]) -> list[int]:
    return [int(row["id"]) for row in rows]


def count(rows: list[dict]) -> Counter:
    return Counter(span["label"] for row in rows for span in row["entities"])


def test_random_subsets_are_nested_and_in_order():
    rows = [gold(number) for number in range(100)]
    subsets = random_subsets(rows, (20, 5, 60), seed=7)
    assert {size: len(subset) for size, subset in subsets.items()} == {5: 5, 20: 20, 60: 60}
    assert set(ids(subsets[5])) < set(ids(subsets[20])) < set(ids(subsets[60]))
    assert all(ids(subset) == sorted(ids(subset)) for subset in subsets.values())


def test_seed_decides():
    rows = [gold(number, "ab") for number in range(200)]
    for sample in (random_subsets, k_shot_subsets):
        assert sample(rows, (20,), seed=1) == sample(rows, (20,), seed=1)
        assert sample(rows, (20,), seed=1) != sample(rows, (20,), seed=2)


def test_random_subsets_are_uniform():
    rows = [gold(number) for number in range(4)]
    drawn = Counter(tuple(ids(random_subsets(rows, (2,), seed=seed)[2])) for seed in range(1200))
    assert len(drawn) == 6
    assert all(130 <= number <= 270 for number in drawn.values())  # 200 expected, deviation 13


def test_synthetic_rows_follow_their_parents():
    rows = [gold(0, "a"), synthetic(10, 0, "aaaaaaaaa"), gold(1, "a"), synthetic(11, 1), synthetic(12, 1), gold(2, "b")]
    for subset in (*random_subsets(rows, (1, 2, 3), seed=3).values(), *k_shot_subsets(rows, (1,), seed=3).values()):
        chosen = {number for number in ids(subset) if number < 10}
        expected = [n for n in ids(rows) if n in chosen or {10: 0, 11: 1, 12: 1}.get(n) in chosen]
        assert ids(subset) == expected
    only_two = k_shot_subsets(rows, (2,), seed=3)[2]
    assert count(row for row in only_two if not row.get("synthetic")) == {"a": 2, "b": 1}


def test_texts_of_a_pool_are_not_drawn(caplog):
    rows = [gold(at, "A") for at in range(3)] + [gold(at, "AB") | {"source": "pool"} for at in range(3, 99)]
    rows[0]["source"] = "gold"
    assert (
        set(ids(k_shot_subsets(rows, [5], seed=1)[5])) == set(ids(random_subsets(rows, [50], seed=1)[50])) == {0, 1, 2}
    )
    assert "96 texts of a pool, which no person annotated, are not drawn" in caplog.text


def test_a_synthetic_row_without_its_parent():
    rows = [gold(0, "a"), synthetic(10, 5)]
    for sample in (random_subsets, k_shot_subsets):
        with pytest.raises(
            InputError, match=r"^train.jsonl, synthetic row '10': parent_id '5' .*; allowed: .*; mend: "
        ):
            sample(rows, (1,), seed=0, name="train.jsonl")


def test_k_shot_by_hand():
    rows = [gold(0, "a"), gold(1, "ab"), gold(2), gold(3, "aaa"), gold(4, "b"), gold(5, "c")]
    assert ids(k_shot_subsets(rows, (3,), seed=0)[3])[-1] == 5  # c has one entity in all: the row that has it is in
    for seed in range(20):
        subsets = k_shot_subsets(rows, (1, 2, 3), seed=seed)
        assert all(2 not in ids(subset) for subset in subsets.values())  # nothing to learn a label from
        assert [count(subsets[k])["c"] for k in (1, 2, 3)] == [1, 1, 1]
        assert {1, 4, 5} < set(ids(subsets[2]))  # b has two entities in all; a second a is still to be found
        assert count(subsets[3])["a"] >= 3


labelled_rows = st.lists(st.text("abcd", max_size=5), min_size=1, max_size=30).map(
    lambda texts: [gold(number, labels) for number, labels in enumerate(texts)]
)


@given(labelled_rows.filter(count), st.integers(0, 99))
def test_k_shot_holds_for_any_rows(rows: list[dict], seed: int):
    total = count(rows)
    smaller: set[int] = set()
    for k, subset in k_shot_subsets(rows, (1, 2, 4, 8), seed=seed).items():
        assert all(count(subset)[label] >= min(k, total[label]) for label in total)
        assert ids(subset) == sorted(ids(subset))
        assert smaller <= set(ids(subset))
        assert len(subset) <= sum(min(k, total[label]) for label in total)  # each row was taken for a label in need
        smaller = set(ids(subset))


def test_files_and_counts(tmp_path: Path):
    rows = [gold(number, "ab"[number % 2]) for number in range(40)] + [synthetic(100 + n, n, "a") for n in range(40)]
    summary = write_subsets(rows, tmp_path / "subsets", sizes=(10, 20), ks=(3,), seed=1)
    assert summary == {
        "train_10.jsonl": {"sentences": 10, "entities": 10, "synthetic": 10},
        "train_20.jsonl": {"sentences": 20, "entities": 20, "synthetic": 20},
        "k3.jsonl": {"sentences": 6, "entities": 6, "synthetic": 6},
    }
    assert sorted(path.name for path in (tmp_path / "subsets").iterdir()) == sorted(summary)
    subset = read_rows(tmp_path / "subsets" / "train_10.jsonl")
    assert subset == random_subsets(rows, (10,), seed=1)[10]
    before = {path: path.read_bytes() for path in (tmp_path / "subsets").iterdir()}
    write_subsets(rows, tmp_path / "subsets", sizes=(10, 20), ks=(3,), seed=1)
    assert {path: path.read_bytes() for path in (tmp_path / "subsets").iterdir()} == before


def test_files_that_hold_something_else_are_left_alone(tmp_path: Path):
    rows = [gold(number, "ab"[number % 2]) for number in range(40)]
    write_rows(tmp_path / "train_20.jsonl", rows)  # the file that is drawn from
    (tmp_path / "k3.jsonl").write_text("my own notes")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"train_20.jsonl, k3.jsonl exists already and holds something else"):
        write_subsets(rows, tmp_path, sizes=(10, 20), ks=(3,))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("sizes", "ks", "message"),
    [
        ((0,), (), r"^train: size 0 asked for; allowed: 1 and more; mend: drop 0$"),
        ((10,), (-1, 5), r"^train: k -1 asked for; "),
        ((10,), (5,), r"^train: no row has an entity; "),
    ],
)
def test_impossible_wishes_write_nothing(tmp_path: Path, sizes, ks, message: str):
    with pytest.raises(InputError, match=message):
        write_subsets([gold(n) for n in range(40)], tmp_path / "subsets", sizes=sizes, ks=ks, name="train")
    assert list(tmp_path.iterdir()) == []


def test_a_size_above_what_there_is_takes_all_and_says_so(tmp_path: Path, caplog):
    counts = write_subsets([gold(n) for n in range(40)], tmp_path, sizes=(10, 41), ks=(), name="train")
    assert [count["sentences"] for count in counts.values()] == [10, 40]
    assert "train: 41 rows asked for, there are 40 gold rows: all of them are taken" in caplog.text


@pytest.mark.shared
@pytest.mark.parametrize("data_set", DATA_SETS)
def test_development_data(data_set: str, tmp_path: Path):
    train = read_rows(SHARED / "data" / data_set / "train.jsonl")
    total = count(train)
    summary = write_subsets(train, tmp_path, seed=42)
    assert [summary[f"train_{size}.jsonl"]["sentences"] for size in (250, 500, 1000)] == [250, 500, 1000]
    smaller: set[str] = set()
    for k in (5, 10, 15, 20):
        subset = read_rows(tmp_path / f"k{k}.jsonl")
        assert all(count(subset)[label] >= min(k, total[label]) for label in total)
        assert smaller <= {row["id"] for row in subset}
        smaller = {row["id"] for row in subset}
    given = read_rows(SHARED / "data" / data_set / "k20.jsonl")
    assert 0.7 < len(smaller) / len(given) < 1.4  # as small as the sampler's that made the development data
