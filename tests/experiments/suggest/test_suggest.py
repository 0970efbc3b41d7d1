"""`knowfree suggest`: the texts to label next, as labelling tools and training read them."""

import json

import pytest
from click.testing import CliRunner

import knowfree
from modeling_knowfree.data.formats import WRITERS
from modeling_knowfree.data.readers import read_rows, write_rows

TEXTS = [
    "left harrow creek at 5 am .",
    "deep snow in the north pass",
    "a bear crossed the old creek",
    "old axe on the ridge",
    "Old  axe on the ridge .",  # the same once more
    "the bear left at 4 am",  # labelled already
    "in the  snow, a bear",
]


@pytest.fixture
def pool(tmp_path, english_rows):
    (tmp_path / "pool.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    write_rows(tmp_path / "train.jsonl", english_rows)
    return tmp_path / "pool.txt"


def call(pool, trained, *arguments, code=0):
    line = ["suggest", str(pool), "--model", str(trained), "--labelled", str(pool.parent / "train.jsonl"), *arguments]
    result = CliRunner().invoke(knowfree.cli, [str(argument) for argument in line])
    assert (result.exit_code == 0) == (code == 0), result.output + repr(result.exception)
    return result.output + str(result.exception or "")


@pytest.mark.parametrize("pick", ["random", "uncertain"])
def test_new_texts_come_tagged_each_once(pool, trained, pick):
    first, again = pool.parent / "next.jsonl", pool.parent / "again.jsonl"
    out = call(pool, trained, "--number", 50, "--output", first, "--pick", pick)
    assert "5 texts (50 were asked for" in out
    call(pool, trained, "--number", 50, "--output", again, "--pick", pick)
    assert first.read_bytes() == again.read_bytes()
    rows = [json.loads(line) for line in first.read_text(encoding="utf-8").splitlines()]
    assert {row["text"] for row in rows} == {*TEXTS[:4], TEXTS[6]}
    assert any(row["entities"] for row in rows)
    for row in rows:
        assert "".join(row["text"].split()) == "".join(row["tokens"])
        assert all(0 < span["score"] <= 1 for span in row["entities"])


@pytest.mark.parametrize("name", sorted({"jsonl", "doccano", "label_studio", "conll"} & {"jsonl", *WRITERS}))
def test_what_is_written_is_read_back(pool, trained, name):
    ours, other = pool.parent / "ours.jsonl", pool.parent / f"other.{'conll' if name == 'conll' else 'jsonl'}"
    call(pool, trained, "--number", 3, "--output", ours)
    call(pool, trained, "--number", 3, "--to", name, "--output", other)
    plain = [(row["tokens"], row["entities"]) for row in read_rows(ours)]
    read = [(row["tokens"], row["entities"]) for row in read_rows(other, unit="word")]
    assert read == plain and len(read) == 3
    if name == "doccano":
        texts = [json.loads(line)["text"] for line in other.read_text(encoding="utf-8").splitlines()]
        assert set(texts) <= set(TEXTS)


def test_texts_of_one_document_keep_their_id_with_a_number(pool, trained):
    pool.with_suffix(".jsonl").write_text("".join(json.dumps({"id": "doc", "text": text}) + "\n" for text in TEXTS[:3]))
    call(pool.with_suffix(".jsonl"), trained, "--number", 3, "--output", pool.parent / "next.jsonl")
    assert sorted(row["id"] for row in read_rows(pool.parent / "next.jsonl")) == ["doc", "doc-2", "doc-3"]


def test_bad_input_is_refused_and_nothing_is_written(pool, trained):
    output = pool.parent / "next.jsonl"
    assert "nonsense" in call(pool, trained, "--number", 3, "--to", "nonsense", "--output", output, code=2)
    pool.write_text("the bear left at 4 am\n", encoding="utf-8")
    assert "no text to suggest: 1 read" in call(pool, trained, "--number", 3, "--output", output, code=2)
    assert "exists already" in call(pool, trained, "--number", 3, "--output", pool, code=2)
    assert not output.exists()
