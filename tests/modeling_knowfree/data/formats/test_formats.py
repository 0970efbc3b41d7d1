"""Every format: a small file of each is recognised and read right, by itself and by name, and broken ones are refused."""

import bz2
import copy
import gzip
import json
import lzma
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import datasets
import pytest

from modeling_knowfree.data.formats import FORMATS, WRITERS, write_rows_as
from modeling_knowfree.data.readers import InputError, check_rows, read_dataset, read_file, read_rows
from tests.modeling_knowfree.data.formats import refused_json, refused_text, samples_json, samples_text, samples_tools
from tests.modeling_knowfree.data.formats.samples import NESTED, RIO, Sample, lines, span
from tests.support import ROOT, SHARED

REFUSED = refused_json.REFUSED | refused_text.REFUSED
SAMPLES = [*samples_json.SAMPLES, *samples_tools.SAMPLES, *samples_text.SAMPLES]
IDS = [f"{sample.format}-{sample.name}" for sample in SAMPLES]
ELSEWHERE = {"spacy", "parquet", "saved"}  # binary: made by their writers below


def reading(rows: list[dict]) -> list:
    return [(row["tokens"], sorted((s["start"], s["end"], s["label"]) for s in row["entities"])) for row in rows]


def expected(sample: Sample) -> list:
    return [(tokens, sorted(spans)) for tokens, spans in sample.reads]


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_a_file_is_recognised_and_read_right(tmp_path: Path, sample: Sample):
    path = sample.write(tmp_path)
    found = read_file(path, quiet=True, **sample.options)
    assert (found.format.name, reading(found.rows)) == (sample.format, expected(sample))
    missing = [words for words in sample.told if not any(words in line for line in found.told)]
    assert not missing, found.told
    named = read_file(path, quiet=True, **{**sample.options, "format": sample.format})
    assert named.rows == found.rows


@pytest.mark.parametrize("sample", [s for s in SAMPLES if "/" not in s.name], ids=lambda s: f"{s.format}-{s.name}")
def test_bytes_around_a_file_do_no_harm(tmp_path: Path, sample: Sample):
    path = sample.write(tmp_path)
    rows = read_rows(path, **sample.options)
    packed = tmp_path / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert reading(read_rows(packed, **sample.options)) == reading(rows)
    for end in ("\r\n", "\r"):
        path.write_bytes(("\ufeff" + sample.content.replace("\n", end)).encode())
        assert reading(read_rows(path, **sample.options)) == reading(rows)


def test_every_format_has_a_sample_and_a_row_in_the_docs():
    assert {sample.format for sample in SAMPLES} | ELSEWHERE == set(FORMATS)
    table = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([a-z0-9][a-z0-9-]*)` \|.*$", table, re.MULTILINE)}
    assert rows.keys() == FORMATS.keys()
    for name, format in FORMATS.items():
        assert format.tool in rows[name] and ("yes" in rows[name].split("|")[5]) == (name in WRITERS), rows[name]
    tests = [*IDS, *(name for name in globals() if name.startswith("test_"))]
    assert all(any(name in test for test in tests) for name in rows)  # what `-k NAME` selects, as the table says


def test_saved_data_sets_and_parquet(tmp_path: Path):
    tags = datasets.List(datasets.ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": tags})
    rows = {"tokens": [tokens for tokens, _ in RIO], "ner_tags": [[1, 2, 0, 0, 3, 4, 0], [0, 0, 0]]}
    split = datasets.Dataset.from_dict(rows, features=features)
    split.save_to_disk(tmp_path / "saved")
    split.to_parquet(tmp_path / "data.parquet")
    for name, format in (("saved", "saved"), ("data.parquet", "parquet")):
        found = read_file(tmp_path / name, quiet=True)
        assert (found.format.name, reading(found.rows)) == (format, RIO)
    assert reading(read_dataset(split)) == RIO
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(InputError, match=r"bare.parquet, row 1: ner_tags holds integers \(1\)"):
        read_rows(tmp_path / "bare.parquet")
    datasets.DatasetDict(train=split).save_to_disk(tmp_path / "dict")
    with pytest.raises(InputError, match=r"several splits: train; .*name the folder of a split, such as .*train"):
        read_rows(tmp_path / "dict")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "data.parquet").read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut.parquet: no Parquet") as caught:
        read_rows(tmp_path / "cut.parquet")
    assert "JSON" not in str(caught.value)


def test_span_groups_of_spacy(tmp_path: Path):
    spacy = pytest.importorskip("spacy")
    doc = spacy.tokens.Doc(spacy.blank("xx").vocab, words=RIO[0][0])
    doc.ents = [spacy.tokens.Span(doc, 0, 2, label="PER")]
    doc.spans["other"] = [spacy.tokens.Span(doc, *span) for span in ((0, 2, "PER"), (4, 6, "LOC"), (5, 6, "NAME"))]
    spacy.tokens.DocBin(docs=[doc]).to_disk(tmp_path / "train.spacy")
    assert reading(read_rows(tmp_path / "train.spacy")) == [NESTED[0]]
    (tmp_path / "bad.spacy").write_bytes(b"x\x9cno")
    with pytest.raises(InputError, match="no DocBin"):
        read_rows(tmp_path / "bad.spacy")


def test_white_space_is_no_unit_of_a_spacy_document(tmp_path: Path):
    spacy = pytest.importorskip("spacy")
    doc = spacy.tokens.Doc(spacy.blank("xx").vocab, words=["Mina", " ", "Bo", "\n", "left"])
    doc.ents = [spacy.tokens.Span(doc, 0, 3, label="PER")]
    doc.spans["sc"] = [spacy.tokens.Span(doc, 1, 2, label="GAP")]
    spacy.tokens.DocBin(docs=[doc]).to_disk(tmp_path / "train.spacy")
    found = read_file(tmp_path / "train.spacy", quiet=True)
    assert reading(found.rows) == [(["Mina", "Bo", "left"], [(0, 2, "PER")])]
    assert any("2 tokens of white space left out" in line for line in found.told)


def test_a_thousand_blank_lines_hide_no_row(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text("\n" * 2000 + lines({"tokens": ["a"], "entities": []}))
    assert reading(read_rows(path)) == [(["a"], [])]


# ------------------------------------------------------------------ refused, or asked about


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_sure_is_asked_about(tmp_path: Path, case: str):
    name, content, beside, fragments = REFUSED[case]
    path = Sample("", name, content, [], beside=beside).write(tmp_path)
    with pytest.raises(InputError) as caught:
        read_rows(path)
    missing = [fragment for fragment in fragments if fragment not in str(caught.value)]
    assert not missing, str(caught.value)


def answered(tmp_path: Path, case: str, **options) -> list:
    name, content, beside, _ = REFUSED[case]
    for other, text in {name: content, **beside}.items():
        (tmp_path / other).write_text(text, encoding="utf-8")
    return reading(read_rows(tmp_path / name, **options))


def test_the_options_that_errors_name_settle_them(tmp_path: Path):
    assert answered(tmp_path, "tokens or characters", format="offsets") == [
        (["I", "saw", "Bo"], [(0, 1, "X")]),
        (["Al", "is", "in", "Ur"], [(0, 1, "X")]),
    ]
    assert answered(tmp_path, "one name in the first column", tag_column=3) == [
        (["x", "y"], [(0, 1, "L")]),
        (["z"], [(0, 1, "L")]),
    ]
    assert answered(tmp_path, "two columns of tags beside others", tag_column=4) == [(list("abc"), [(0, 1, "X")])]
    assert answered(tmp_path, "two columns of tags beside others", tag_column="3,-1")[0][1] == [
        (0, 1, "X"),
        (1, 2, "Y"),
    ]
    assert answered(tmp_path, "gold and prediction", tag_column=2) == [(list("abc"), [(0, 1, "X"), (2, 3, "Y")])]
    assert answered(tmp_path, "singles alone", scheme="io")[0][1] == [(0, 1, "S-X"), (2, 3, "S-X")]
    assert answered(tmp_path, "singles alone", scheme="bioes")[0][1] == [(0, 1, "X"), (2, 3, "X")]
    two = [(["a", "b"], [(0, 1, "L")]), (["c", "d"], [(0, 1, "L")])]
    assert answered(tmp_path, "sentences named in the first column", tag_column=3) == two
    assert answered(tmp_path, "sentences and tokens by number", tag_column=4) == two
    assert answered(tmp_path, "names of columns without tags of entities", tag_column=3, scheme="io") == [
        (["a", "b"], [(0, 1, "*"), (1, 2, "1:VID")])
    ]
    assert answered(tmp_path, "a column named as predictions", tag_column=2) == [(["a", "b"], [(0, 1, "X")])]
    contrary = answered(tmp_path, "columns that contradict one another", tag_column="2,3")
    assert contrary == [(["a", "b"], [(0, 1, "X"), (0, 1, "Y")]), (["c", "d"], [(0, 1, "Y"), (1, 2, "X")])]
    assert answered(tmp_path, "a header that may be a label", scheme="io")[0][1][0] == (0, 1, "标签")
    assert answered(tmp_path, "ends of tags that may be labels", scheme="io")[0][1][0] == (1, 2, "vitamin-B")
    assert answered(tmp_path, "two keys of tags", tag_column="gold") == [(["a"], [(0, 1, "Y")])]
    assert answered(tmp_path, "two annotators", annotator=6) == [(["Mina"], [(0, 1, "LOC")])]
    assert answered(tmp_path, "two keys of spans", tag_column="spans")[0] == (["Mina", "saw", "Rio"], [(2, 3, "NP")])
    assert answered(tmp_path, "two keys of triples", tag_column="labels") == [(["Rio"], [(0, 1, "Y")])]
    assert answered(tmp_path, "a group of spans beside entities", tag_column="spans.b") == [
        (["in", "Rio"], [(0, 1, "Y")])
    ]
    for case in ("one word for all spans beside labels", "numbers of spans beside labels"):
        column = "type" if "numbers" in case else "category"
        assert answered(tmp_path, case, tag_column=column)[0][1] == [(0, 1, "PER"), (2, 3, "LOC")]
    for case in ("annotators of spans", "annotators of doccano's spans", "annotators in a CSV"):
        assert answered(tmp_path, case, annotator=2) == [(["Mina"], [(0, 1, "LOC")])]
    assert answered(tmp_path, "two layers of a CAS", tag_column="NamedEntity") == [(["Mina", "left"], [(0, 1, "a")])]
    assert answered(tmp_path, "two layers of a CAS", tag_column="Entity|kind") == [(["Mina", "left"], [(0, 1, "y")])]
    assert answered(tmp_path, "annotators of spans in tokens", annotator="LOC") == [(["Mina"], [(0, 1, "LOC")])]
    assert answered(tmp_path, "white space at an edge", trim=True) == [(["米", "娜", " ", "走"], [(0, 2, "人")])]


def test_parts_of_speech_are_no_entities(tmp_path: Path):
    (tmp_path / "ud.conllu").write_text("1\ta\ta\tNOUN\t_\t_\t0\troot\t_\t_\n", encoding="utf-8")
    assert reading(read_rows(tmp_path / "ud.conllu", task="pos")) == [(["a"], [(0, 1, "NOUN")])]
    for said in ({"task": "ner"}, {"task": "nested_ner"}, {"tag_column": "name"}):
        with pytest.raises(InputError, match=r"ud.conllu: no word has its entity in (MISC|name)"):
            read_rows(tmp_path / "ud.conllu", **said)


def test_more_than_ten_columns_are_read_by_their_names(tmp_path: Path):
    names = "# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC NER\n"
    row = "1\tRio\tRio\tPROPN\t_\t_\t0\troot\t_\t_\tB-LOC\n2\tfell\tfall\tVERB\t_\t_\t1\tdep\t_\t_\tO\n"
    (tmp_path / "plus.conllu").write_text(names + row, encoding="utf-8")
    assert reading(read_rows(tmp_path / "plus.conllu", task="ner")) == [(["Rio", "fell"], [(0, 1, "LOC")])]


@pytest.mark.parametrize("name", ["text_id", "doc_id", "sentence_id", "document_id"])
def test_ids_of_texts_keep_equal_texts_apart(tmp_path: Path, name: str):
    content = f"{name},text,start,end,label\n1,a b,0,1,X\n2,a b,0,1,Y\n"
    (tmp_path / "texts.csv").write_text(content, encoding="utf-8")
    assert reading(read_rows(tmp_path / "texts.csv")) == [(["a", "b"], [(0, 1, "X")]), (["a", "b"], [(0, 1, "Y")])]


def test_labels_lose_what_nobody_sees_at_their_edges(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        lines({"tokens": ["a", "b"], "entities": [span(0, 1, "X "), span(1, 2, "\u200bX")]}), encoding="utf-8"
    )
    found = read_file(path, quiet=True)
    assert reading(found.rows) == [(["a", "b"], [(0, 1, "X"), (1, 2, "X")])]
    assert found.told == [f"2 labels lost white space or invisible characters at an edge: 'X ' at {path}, line 1"]
    for label in ("X ", "X\u00a0", " X", "X\u200b"):
        with pytest.raises(InputError, match="white space or an invisible character at an edge; allowed: 'X'"):
            write_rows_as([{"id": "1", "tokens": ["a"], "entities": [span(0, 1, label)]}], "conll", tmp_path / "out")


@pytest.mark.parametrize("packer", ["xz", "bzip2"])
def test_what_is_packed_otherwise_says_how_to_unpack_it(tmp_path: Path, packer: str):
    pack = {"xz": lzma.compress, "bzip2": bz2.compress}[packer]
    (tmp_path / "rows.jsonl").write_bytes(pack(b'{"tokens": ["a"], "entities": []}\n'))
    with pytest.raises(InputError, match=rf"rows.jsonl: is packed by {packer}.*: {packer} -d "):
        read_rows(tmp_path / "rows.jsonl")


def test_names_of_integers_by_their_numbers(tmp_path: Path):
    (tmp_path / "data.jsonl").write_text(lines({"tokens": ["in", "Rio"], "ner_tags": [0, 1]}), encoding="utf-8")
    (tmp_path / "ids.json").write_text('{"B-LOC": 1, "O": 0}', encoding="utf-8")
    found = read_rows(tmp_path / "data.jsonl", tag_names=tmp_path / "ids.json")
    assert reading(found) == [(["in", "Rio"], [(1, 2, "LOC")])]


def test_one_control_of_label_studio_counts_where_it_is_named(tmp_path: Path):
    sample = next(sample for sample in SAMPLES if sample.name == "controls.json")
    found = read_file(sample.write(tmp_path), quiet=True, tag_column="role")
    assert reading(found.rows) == [(RIO[0][0], [(0, 2, "AGENT")])]
    assert [line.partition(":")[0] for line in found.told] == ["1 spans of other controls than role left out"]


def test_a_file_without_any_entity_is_told(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text(lines({"tokens": ["a"], "entities": []}), encoding="utf-8")
    told = read_file(tmp_path / "rows.jsonl", quiet=True).told
    assert told == ["1 sentences, none of which has an entity: is the annotation elsewhere?"]


def test_counting_of_a_foreign_file_is_decided_once(tmp_path: Path):
    text = "🚲🚲 Mina saw Rio"
    for name, measure in (("utf-16-le", 2), ("utf-8", 1)):
        at = [len(text[:k].encode(name)) // measure for k in range(len(text) + 1)]
        spans = [{"begin": at[3], "stop": at[7], "kind": "x", "type": "PER", "mention": "Mina"}]
        spans.append({"begin": at[12], "stop": at[15], "kind": "x", "type": "LOC", "mention": "Rio"})
        path = tmp_path / f"{name}.jsonl"
        path.write_text(lines({"text": text, "entities": spans}), encoding="utf-8")
        found = read_file(path, quiet=True)
        assert reading(found.rows) == [(["🚲", "🚲", "Mina", "saw", "Rio"], [(2, 3, "PER"), (4, 5, "LOC")])]
        assert any("offsets count" in line for line in found.told)


def test_bad_rows_are_listed_at_once_and_can_be_left_out(tmp_path: Path):
    path = tmp_path / "many.jsonl"
    bad = [{"tokens": ["a"], "entities": [{"start": 0, "end": 9, "label": "X"}]}] * 24
    path.write_text(lines(*bad, {"tokens": ["b"], "entities": []}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_rows(path)
    first, *listed = str(caught.value).splitlines()
    assert "24 bad rows" in first and "--skip_bad_rows" in first
    assert len(listed) == 21 and "line 20: span [0, 9)" in listed[19] and listed[20].strip() == "and 4 more"
    found = read_file(path, skip_bad_rows=True, quiet=True)
    assert (len(found.rows), found.skipped) == (1, 24) and "24 bad rows left out" in found.told[0]


def test_sentences_as_one_token_and_flipping_units_are_told(tmp_path: Path):
    path = tmp_path / "odd.jsonl"
    path.write_text(lines(*[{"tokens": ["米娜昨天离开了里约港口"], "entities": []}] * 3), encoding="utf-8")
    assert "3 rows have a Chinese or Japanese token as long as a sentence" in read_file(path, quiet=True).told[0]
    path.write_text(
        lines({"tokens": list("米娜走"), "entities": []}, {"tokens": ["米娜", "走"], "entities": []}), encoding="utf-8"
    )
    assert "rows count in" in read_file(path, quiet=True).told[0]


def test_what_a_format_cannot_hold_or_is_only_read_is_refused(tmp_path: Path):
    row = {"id": "1", "tokens": ["a\nb"], "entities": [{"start": 0, "end": 1, "label": "X"}]}
    for name in ("conll", "conll-bioes", "brat"):
        with pytest.raises(InputError, match="write jsonl or parquet"):
            write_rows_as([row], name, tmp_path / name)
    for name in ("prodigy", "xml"):
        with pytest.raises(InputError, match="--to"):
            write_rows_as([row], name, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_label_studio_gets_scores_as_predictions(tmp_path: Path):
    row = {"id": "1", "tokens": ["Mina", "Bo"], "entities": [{"start": 0, "end": 2, "label": "PER", "score": 0.75}]}
    write_rows_as([row], "label-studio", tmp_path / "tasks.json")
    [task] = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    [result] = task["predictions"][0]["result"]
    assert "annotations" not in task and (task["predictions"][0]["score"], result["score"]) == (0.75, 0.75)
    assert result["value"] == {"start": 0, "end": 7, "text": "Mina Bo", "labels": ["PER"]}


STRANGE = (True, 7, 1.5, "ab")
WEIRD = (
    {"text": "a b", "tokens": ["a", "b"], "entities": [{"start": [0], "end": {"x": 1}, "label": "X"}]},
    {
        "data": {"text": "a"},
        "annotations": [{"result": [{"to_name": [1], "from_name": {}, "value": span(0, 1, "X") | {"labels": [{}]}}]}],
    },
    {
        "text": "a",
        "_input_hash": [1],
        "_task_hash": {},
        "answer": "accept",
        "spans": [span(0, 1, "X") | {"label": ["X", "Y"]}],
    },
    {"sentences": [["a"], [1]], "ner": [[["q", 0, "X"]], [[1, 1, None]]], "relations": 3, "doc_key": []},
    {"text": "a", "entities": [{"points": [], "label": "X"}]},
)


@pytest.mark.parametrize("at", range(len(WEIRD)))
def test_values_of_strange_kinds_are_errors_of_the_file(tmp_path: Path, at: int):
    (tmp_path / "weird.jsonl").write_text(lines(WEIRD[at]), encoding="utf-8")
    with pytest.raises(InputError, match=r"weird\.jsonl"):
        read_rows(tmp_path / "weird.jsonl")


RAIN = {"text": "It rained.", "entities": [{"id": 0, "label": "X", "start_offset": 0, "end_offset": 2}]}
TASK = {"data": {"text": "It rained."}, "annotations": [{"result": []}], "predictions": []}
KINDS = [
    *(
        ("tasks.json", json.dumps([TASK, TASK | {key: value}]))
        for key in ("annotations", "predictions")
        for value in STRANGE
    ),
    *(("doccano.jsonl", lines(RAIN | {"relations": []}, RAIN | {"relations": value})) for value in STRANGE),
    *(
        ("gliner.json", json.dumps([{"tokenized_text": ["a"], "ner": ner} for ner in ([[0, 1, "X"]], other)]))
        for other in (7, [[]], [[1]])
    ),
    ("printed.csv", 'text,labels\n"[01 02]",O O\na b,B-X O\n'),
    ("object.csv", 'text,labels\n"{""a"": 1}",B-X O\na b,B-X O\n'),
]


@pytest.mark.parametrize(("name", "content"), KINDS)
def test_a_list_of_another_kind_is_an_error_of_its_row(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name}.* (row|line) \d: .*; allowed: .*; mend: "):
        read_rows(tmp_path / name)


def below(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The places of what stands in a JSON value; of lists the first and the last item."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if isinstance(value, dict) or key in (0, len(value) - 1):
            yield (*path, key)
            yield from below(one, (*path, key))


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.content.startswith(("[", "{"))], ids=lambda s: s.name)
def test_whatever_stands_in_place_of_a_value_is_read_or_refused(tmp_path: Path, sample: Sample):
    path = sample.write(tmp_path)
    try:
        entries, text = json.loads(sample.content), json.dumps
    except ValueError:
        entries, text = [json.loads(line) for line in sample.content.splitlines()], lambda given: lines(*given)
    for *above, key in below(entries):
        for strange in (True, 10**30):
            changed = copy.deepcopy(entries)
            reduce(getitem, above, changed)[key] = strange
            path.write_text(text(changed), encoding="utf-8")
            with suppress(InputError):
                read_rows(path, **{**sample.options, "format": sample.format})


@pytest.mark.parametrize("header, good", [("text,spans", '"[[0, 1, ""X""]]"'), ("text,start,end,label", "0,1,X")])
def test_bad_lines_of_a_csv_can_be_left_out(tmp_path: Path, header: str, good: str):
    (tmp_path / "bad.csv").write_text(f"{header}\na b,{good}\nshort\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.csv, line 3: 1 cells where the header has"):
        read_rows(tmp_path / "bad.csv")
    assert reading(read_rows(tmp_path / "bad.csv", skip_bad_rows=True)) == [(["a", "b"], [(0, 1, "X")])]


@pytest.mark.shared
def test_the_formats_that_people_have(monkeypatch):
    monkeypatch.syspath_prepend(SHARED / "tools")
    from check_formats import difference, rows_of

    for folder in sorted(path for path in (SHARED / "formats").iterdir() if path.is_dir()):
        source = next(p for p in sorted(folder.iterdir()) if p.name == "input" or p.name.startswith("input."))
        task = "pos" if folder.name == "pku-brackets" else None
        if (folder / "expected.jsonl").exists():
            rows = read_rows(source, task=task)
            assert difference(rows, rows_of(folder / "expected.jsonl")) is None, folder.name
            check_rows(rows, path=folder.name)
            continue
        place = re.findall(r"\b(?:lines?|task) (\d+)", (folder / "expected_error.txt").read_text(encoding="utf-8"))[0]
        with pytest.raises(InputError) as caught:
            read_rows(source, task=task)
        assert source.name in str(caught.value) and place in str(caught.value), folder.name


def test_documents_of_brat_are_named_after_their_folders(tmp_path: Path):
    path = next(sample for sample in SAMPLES if sample.name == "deep/a.ann").write(tmp_path)
    assert [row["id"] for row in read_rows(path)] == ["a-1", "b/a-1"]


@pytest.mark.parametrize("blank", ["\n" * 3, " \n" * 5000, "\t\n\n"])
def test_a_file_of_blank_lines_has_no_rows(tmp_path: Path, blank: str):
    path = tmp_path / "blank.txt"
    path.write_text(blank, encoding="utf-8")
    with pytest.raises(InputError, match=r"blank\.txt.*; mend: "):
        read_rows(path)
