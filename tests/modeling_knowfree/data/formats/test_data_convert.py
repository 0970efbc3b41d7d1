"""`knowfree data convert`, `formats` and `get`, and the options by which `train`, `evaluate` and `sample` read."""

import json
import sys
from pathlib import Path

import datasets
import pytest
from click.testing import CliRunner

import knowfree
from modeling_knowfree.data.commands import data, reading_params
from modeling_knowfree.data.formats import FORMATS, writer_named
from modeling_knowfree.data.readers import InputError, read_rows
from modeling_knowfree.training.arguments import DataArguments
from tests.modeling_knowfree.data.formats.samples import lines


def said(*arguments: object) -> str:
    result = CliRunner().invoke(data, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_convert_says_what_it_took_the_file_for_and_what_it_left_out(tmp_path: Path):
    source = tmp_path / "out.jsonl"
    accepted = {"text": "Mina left", "spans": [{"start": 0, "end": 5, "label": "PER"}], "answer": "accept"}
    source.write_text(lines(accepted, {**accepted, "answer": "reject"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"ends with white space.*--trim"):
        said("convert", source, tmp_path / "rows.jsonl")
    assert not (tmp_path / "rows.jsonl").exists()
    told = said("convert", source, tmp_path / "rows.jsonl", "--trim")
    assert "prodigy (answer beside text)" in told and "1 rejected answers left out" in told
    assert "1 spans trimmed" in told and "1 sentences, 1 entities, jsonl" in told
    [row] = read_rows(tmp_path / "rows.jsonl")
    assert (row["tokens"], row["entities"]) == (["Mina", "left"], [{"start": 0, "end": 1, "label": "PER"}])
    said("convert", tmp_path / "rows.jsonl", tmp_path / "rows.conll", "--to", "conll")
    assert (tmp_path / "rows.conll").read_text(encoding="utf-8") == f"# id = {row['id']}\nMina\tB-PER\nleft\tO\n\n"
    with pytest.raises(InputError, match="--to prodigy: is read, not written"):
        said("convert", source, tmp_path / "x", "--to", "prodigy")
    with pytest.raises(InputError, match="is IN itself"):
        said("convert", source, source)
    before = (tmp_path / "rows.conll").read_bytes()
    with pytest.raises(InputError, match=r"rows\.conll: exists already"):
        said("convert", source, tmp_path / "rows.conll", "--trim")
    said("convert", source, tmp_path / "brat", "--to", "brat", "--trim")
    with pytest.raises(InputError, match="brat: exists already"):
        said("convert", source, tmp_path / "brat", "--to", "brat", "--trim")
    assert (tmp_path / "rows.conll").read_bytes() == before


def test_convert_says_what_the_new_format_does_not_hold(tmp_path: Path):
    source = tmp_path / "rows.jsonl"
    source.write_text(lines({"tokens": ["Mina"], "entities": [], "synthetic": True}), encoding="utf-8")
    told = said("convert", source, tmp_path / "rows.conll", "--to", "conll")
    assert f"{tmp_path / 'rows.conll'}: 1 synthetic left out, which conll does not hold" in told


EVIL = "\x1b[31mRED\x1b]0;title\x07"
ENTITY = {"start": 0, "end": 5, "label": "PER"}


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        (
            "ids.jsonl",
            lines(*({"id": EVIL, "tokens": ["Mina"], "entities": []} for _ in range(2))),
            "is \ufffd[31mRED\ufffd]0;title\ufffd~2",
        ),
        ("header.csv", f"Word,Tag,{EVIL}\nMina,B-PER,x\nleft,O,x\n", "Word, Tag, \ufffd[31mRED"),
        (
            "annotators.jsonl",
            lines({"text": "Mina left", "entities": [ENTITY | {"annotator": who} for who in (EVIL, "Bo")]}).replace(
                "PER", "LOC", 1
            ),
            "differing annotations, by \ufffd[31mRED\ufffd]0;title\ufffd, Bo",
        ),
        (
            "cas.json",
            json.dumps(
                {
                    "%FEATURE_STRUCTURES": [
                        {"sofaString": "Mina"},
                        {"%TYPE": "custom.Span", "end": 4, EVIL: "a", "other": "b"},
                    ]
                }
            ),
            "features of custom.Span are \ufffd[31mRED",
        ),
    ],
)
def test_no_control_character_of_a_file_reaches_the_terminal(tmp_path: Path, name: str, content: str, shown: str):
    (tmp_path / name).write_text(content, encoding="utf-8")
    result = CliRunner().invoke(knowfree.cli, ["data", "convert", str(tmp_path / name), str(tmp_path / "new.jsonl")])
    assert shown in result.output
    assert result.output.replace("\n", "").isprintable()


def test_formats_lists_every_format():
    listed = json.loads(said("formats", "--json"))
    assert [entry["name"] for entry in listed] == list(FORMATS)
    table = said("formats")
    assert all(f"{name} " in table for name in FORMATS)


def test_get_writes_a_file_a_split(tmp_path: Path):
    (tmp_path / "set").mkdir()
    row = {"tokens": ["Mina"], "ner_tags": ["B-PER"]}
    for split in ("train", "test"):
        (tmp_path / "set" / f"{split}.jsonl").write_text(lines(row, row), encoding="utf-8")
    said("get", tmp_path / "set", tmp_path / "got", "--to", "gliner")
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["test.json", "train.json"]
    assert read_rows(tmp_path / "got" / "train.json")[0]["entities"] == [{"start": 0, "end": 1, "label": "PER"}]
    assert datasets.load_dataset(str(tmp_path / "set"), split="train").num_rows == 2


def test_get_writes_all_splits_or_none(tmp_path: Path):
    (tmp_path / "set").mkdir()
    for split, token in (("train", "Mina"), ("test", "Mina\tBo")):
        (tmp_path / "set" / f"{split}.jsonl").write_text(lines({"tokens": [token], "ner_tags": ["B-PER"]}))
    with pytest.raises(InputError, match=r"Mina\\tBo") as error:
        said("get", tmp_path / "set", tmp_path / "got", "--to", "conll")
    assert ".knowfree-" not in str(error.value) and sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_a_format_whose_package_is_missing_is_refused_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(InputError, match=r"--to spacy: .*not installed.*knowfree\[spacy\]"):
        writer_named("spacy")


def test_trimming_takes_marks_of_direction_and_leaves_each_span_once(tmp_path: Path):
    arabic = {"text": "هو \u200fمحمد\u200f هنا", "entities": [{"start": 3, "end": 9, "label": "PER"}]}
    twice = {"text": "John here", "entities": [{"start": 0, "end": end, "label": "PER"} for end in (4, 5)]}
    (tmp_path / "a.jsonl").write_text(lines(arabic, twice), encoding="utf-8")
    first, second = (row["entities"] for row in read_rows(tmp_path / "a.jsonl", trim=True))
    assert first == [{"start": 1, "end": 2, "label": "PER"}] and second == [{"start": 0, "end": 1, "label": "PER"}]


def test_a_label_of_two_words_makes_no_sentence_of_a_token(tmp_path: Path):
    (tmp_path / "a.txt").write_text("John\tB-First Name\nSmith\tB-Last Name\nran\tO\n\nAnn\tB-First Name\nran\tO\n")
    assert [[span["label"] for span in row["entities"]] for row in read_rows(tmp_path / "a.txt")] == [
        ["First Name", "Last Name"],
        ["First Name"],
    ]


def test_what_stands_beside_an_empty_list_is_read(tmp_path: Path):
    flair = {"text": "Ann", "start_pos": 0, "end_pos": 3, "labels": [{"value": "PER", "confidence": 0.9}]}
    for entry in (
        {"text": "Ann met", "labels": [], "entities": [flair]},
        {"text": "Ann met", "label": [], "spans": [{"start": 0, "end": 3, "label": "PER"}]},
        {"text": "Ann met", "label": [], "entities": [{"start": 0, "end": 3, "label": "PER"}]},
    ):
        (tmp_path / "a.jsonl").write_text(lines(entry))
        assert read_rows(tmp_path / "a.jsonl")[0]["entities"] == [{"start": 0, "end": 1, "label": "PER"}]


def test_get_knows_the_papers_data_sets_by_name(tmp_path: Path, monkeypatch):
    asked = []

    def load(*given, **named):
        asked.append((*given, named.get("split"), named["revision"]))
        if named.get("split") is None:
            return ["train", "validation"]
        features = datasets.Features({"tokens": datasets.List(datasets.Value("string")),
                                      "tags": datasets.List(datasets.Value("int32"))})  # fmt: skip
        return datasets.Dataset.from_dict({"tokens": [["a", "mina"]], "tags": [[0, 2]]}, features=features)

    (tmp_path / "label.json").write_text('{"O": 0, "I-Actor": 1, "B-Actor": 2}')
    monkeypatch.setattr(datasets, "get_dataset_split_names", load)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *given, **named: str(tmp_path / "label.json"))
    said("get", "mit-movie", tmp_path / "got")
    assert set(asked[1:]) == {("tner/mit_movie_trivia", None, split, "refs/convert/parquet")
                              for split in ("train", "validation")}  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["dev.jsonl", "train.jsonl"]
    assert read_rows(tmp_path / "got" / "dev.jsonl")[0]["entities"] == [{"start": 1, "end": 2, "label": "Actor"}]
    with pytest.raises(InputError, match=r"Youku NER cannot be fetched \(licence: not stated\); mend: github"):
        said("get", "youku", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_every_command_that_reads_takes_the_same_options():
    names = {option.name for option in reading_params()}
    assert names == DataArguments().reading().keys()
    for command in ("sample", "evaluate"):
        shown = CliRunner().invoke(knowfree.cli, [command, "--help"]).output
        assert all(f"--{name}" in shown for name in names)


def test_sample_reads_as_it_is_told(tmp_path: Path):
    (tmp_path / "t.txt").write_text("a S-X\nb O\n\nc S-X\n", encoding="utf-8")
    arguments = [
        "sample",
        "--train_file",
        str(tmp_path / "t.txt"),
        "--output_dir",
        str(tmp_path / "low"),
        "--sizes",
        "9",
    ]
    result = CliRunner().invoke(knowfree.cli, [*arguments, "--scheme", "io"], catch_exceptions=False)
    assert result.exit_code == 0 and "2 sentences" in result.output
    assert read_rows(tmp_path / "low" / "train_9.jsonl")[0]["entities"] == [{"start": 0, "end": 1, "label": "S-X"}]
