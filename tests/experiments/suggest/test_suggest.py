"""`knowfree suggest`: the texts to label next, as labelling tools and training read them."""

import json

import pytest
from click.testing import CliRunner
from datasets import Dataset
from knowfree_experiments.suggest import suggest

import knowfree
from modeling_knowfree import units_knowfree
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


def test_text_without_spaces_is_told_of_where_words_are_counted(pool, trained, caplog):
    units_knowfree._tell_unspaced.cache_clear()
    pool.write_text("王小明昨天在上海市場買了三斤豆腐\n", encoding="utf-8")
    call(pool, trained, "--number", 1, "--output", pool.parent / "next.jsonl", "--pick", "random")
    assert "text without spaces between words" in caplog.text


def test_texts_of_one_document_keep_their_id_with_a_number(pool, trained):
    pool.with_suffix(".jsonl").write_text("".join(json.dumps({"id": "doc", "text": text}) + "\n" for text in TEXTS[:3]))
    call(pool.with_suffix(".jsonl"), trained, "--number", 3, "--output", pool.parent / "next.jsonl")
    assert sorted(row["id"] for row in read_rows(pool.parent / "next.jsonl")) == ["doc", "doc-2", "doc-3"]


def test_a_folder_s_texts_are_all_read_and_others_told(pool, trained, caplog):
    folder = pool.parent / "texts"
    (folder / "deep").mkdir(parents=True)
    for at, text in enumerate(TEXTS[:4]):
        (folder / ("deep" if at == 3 else "") / f"{at % 3}.txt").write_text(text, encoding="utf-8")
    (folder / "0.ann").write_text("T1\tPLACE 5 17\tharrow creek\n", encoding="utf-8")
    (folder / "more.jsonl").write_text("{}", encoding="utf-8")
    (folder / "._0.txt").write_bytes(b"\0\1")
    (folder / "folder.txt").mkdir()
    call(folder, trained, "--number", 9, "--output", pool.parent / "next.jsonl")
    rows = [json.loads(line) for line in (pool.parent / "next.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["text"] for row in rows} == set(TEXTS[:4])
    assert {row["id"] for row in rows} == {"0-1", "1-1", "2-1", "0-1-2"}
    assert "1 files that are no .txt are left out, such as more.jsonl" in caplog.text


def test_a_folder_in_a_format_of_its_own_is_read_as_that(pool, trained):
    folder = pool.parent / "set"
    Dataset.from_list([{"id": "a", "tokens": TEXTS[0].split(), "ner_tags": ["O"] * 7}]).save_to_disk(folder)
    (folder / "LICENSE.txt").write_text("all rights reserved", encoding="utf-8")
    call(folder, trained, "--number", 9, "--output", pool.parent / "next.jsonl")
    assert [row["tokens"] for row in read_rows(pool.parent / "next.jsonl")] == [TEXTS[0].split()]


def test_a_table_s_column_of_texts_is_read(pool, trained):
    table = pool.with_suffix(".csv")
    table.write_text('id,Text\na,"snow, deep\nand old"\n,the old axe\n', encoding="utf-8")
    call(table, trained, "--number", 9, "--output", pool.parent / "next.jsonl")
    rows = read_rows(pool.parent / "next.jsonl")
    assert {row["id"]: " ".join(row["tokens"]) for row in rows} == {"a": "snow , deep and old", "pool-4": "the old axe"}
    for text, problem in (
        ("id,note\na,snow\n", "line 1: no column is named text: 'id', 'note'"),
        ("text\nthe bear, deep in the den\n", "line 2: 2 cells where the header has 1"),
        ('text,id\n"never closed,1\nthe axe,2\n', "line 2: no CSV: unexpected end of data"),
    ):
        table.write_text(text, encoding="utf-8")
        assert f"pool.csv, {problem}" in call(table, trained, "--number", 9, "--output", pool.parent / "no", code=2)
    table = pool.with_suffix(".tsv")
    table.write_text('id\ttext\n1\t"Snow," he said\n2\t"old axe\n3\tthe den\n', encoding="utf-8")
    call(table, trained, "--number", 9, "--output", pool.parent / "rows.jsonl")
    rows = [json.loads(line) for line in (pool.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["id"]: row["text"] for row in rows} == {"1": '"Snow," he said', "2": '"old axe', "3": "the den"}


def test_what_brat_annotated_is_known_line_by_line(pool, trained):
    folder = pool.parent / "labelled"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join([*TEXTS[:2], "", *TEXTS[2:4]]) + "\n", encoding="utf-8")
    (folder / "a.ann").write_text("", encoding="utf-8")
    output = pool.parent / "next.jsonl"
    call(pool, trained, "--number", 9, "--output", output, "--labelled", folder)
    assert [row["text"] for row in map(json.loads, output.read_text(encoding="utf-8").splitlines())] == [TEXTS[6]]


def test_texts_that_are_labelled_may_be_plain_and_the_name_decides_the_format(pool, trained):
    (pool.parent / "done.txt").write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    output = pool.parent / "next.parquet"
    out = call(pool, trained, "--number", 50, "--output", output, "--labelled", pool.parent / "done.txt")
    assert "2 texts (50 were asked for" in out
    assert len(read_rows(output)) == 2 and output.read_bytes()[:4] == b"PAR1"


def test_what_someone_has_put_there_meanwhile_is_kept(pool, trained, monkeypatch):
    output, load = pool.parent / "next.jsonl", suggest.load_pipeline

    def load_slowly(model):
        output.write_text("labels of a person")
        return load(model)

    monkeypatch.setattr(suggest, "load_pipeline", load_slowly)
    assert "exists already" in call(pool, trained, "--number", 3, "--output", output, code=2)
    assert output.read_text() == "labels of a person"


def test_bad_input_is_refused_and_nothing_is_written(pool, trained):
    output = pool.parent / "next.jsonl"
    assert "nonsense" in call(pool, trained, "--number", 3, "--to", "nonsense", "--output", output, code=2)
    pool.write_text("the bear left at 4 am\n", encoding="utf-8")
    assert "no text to suggest: 1 read" in call(pool, trained, "--number", 3, "--output", output, code=2)
    assert "exists already" in call(pool, trained, "--number", 3, "--output", pool, code=2)
    assert not output.exists()
