"""Data sets of the `datasets` library -> rows."""

from pathlib import Path

import datasets
import pytest

from modeling_knowfree.data.readers import InputError, read_dataset, write_rows


def test_dataset_with_class_labels():
    tags = datasets.ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(tags),
        }
    )
    columns = {"id": ["0", "1"], "tokens": [["Ada", "Lee", "ran"], ["Rome"]], "ner_tags": [[1, 2, 0], [3]]}
    split = datasets.Dataset.from_dict(columns, features=features)
    expected = [
        {"id": "0", "tokens": ["Ada", "Lee", "ran"], "entities": [{"start": 0, "end": 2, "label": "PER"}]},
        {"id": "1", "tokens": ["Rome"], "entities": [{"start": 0, "end": 1, "label": "LOC"}]},
    ]
    assert read_dataset(split) == expected
    assert read_dataset(split.to_iterable_dataset()) == expected
    with pytest.raises(InputError, match=r"^org/set, row 2 \(id '1'\): unknown label 'LOC'; allowed: 'PER'; mend: "):
        read_dataset(split, name="org/set", labels=["PER"])


def test_dataset_with_string_tags():
    split = datasets.Dataset.from_dict({"tokens": [["Ada", "ran"]], "ner_tags": [["I-PER", "O"]]})
    assert read_dataset(split) == [
        {"id": "1", "tokens": ["Ada", "ran"], "entities": [{"start": 0, "end": 1, "label": "PER"}]}
    ]


def test_dataset_with_numbers_that_have_no_names():
    split = datasets.Dataset.from_dict({"tokens": [["Ada", "ran"]], "ner_tags": [[1, 0]]})
    with pytest.raises(InputError, match=r"^data set, row 1: ner_tags holds integers \(1\), .*--tag_names FILE"):
        read_dataset(split)


def test_dataset_with_our_columns(tmp_path: Path):
    rows = [
        {
            "id": "a",
            "tokens": ["rye", "bread"],
            "entities": [{"start": 0, "end": 2, "label": "FOOD"}],
            "extensions": [{"start": 1, "end": 2, "label": "POS:NOUN", "source": "llm"}],
            "synthetic": False,
        },
        {"id": "b", "tokens": ["no"], "entities": [], "extensions": [], "synthetic": True, "parent_id": "a"},
    ]
    assert read_dataset(datasets.Dataset.from_list([{"parent_id": None, **row} for row in rows])) == rows
    write_rows(tmp_path / "train.jsonl", rows)
    loaded = datasets.load_dataset("json", data_files=str(tmp_path / "train.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert read_dataset(loaded["train"]) == rows


def test_dataset_with_a_struct_of_lists():
    split = datasets.Dataset.from_list(
        [{"tokens": ["a", "b"], "entities": {"start": [0, 1], "end": [1, 2], "label": ["X", "Y"]}}]
    )
    assert read_dataset(split)[0]["entities"] == [
        {"start": 0, "end": 1, "label": "X"},
        {"start": 1, "end": 2, "label": "Y"},
    ]


def test_dataset_without_rows_or_without_a_column():
    with pytest.raises(InputError, match="no rows"):
        read_dataset(datasets.Dataset.from_dict({"tokens": [], "ner_tags": []}))
    with pytest.raises(InputError, match="row 1: key 'tokens' is missing, the keys are 'words'"):
        read_dataset(datasets.Dataset.from_dict({"words": [["a"]]}))
