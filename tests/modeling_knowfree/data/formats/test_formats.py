"""Every format: a small file of each is recognised and read right, by itself and by name, and broken ones are refused."""

import bz2
import gzip
import json
import lzma
import re
from pathlib import Path

import datasets
import pytest

from modeling_knowfree.data.formats import FORMATS, WRITERS, write_rows_as
from modeling_knowfree.data.readers import InputError, check_rows, read_dataset, read_file, read_rows
from tests.modeling_knowfree.data.formats import samples_json, samples_text
from tests.modeling_knowfree.data.formats.samples import NESTED, RIO, Sample, lines, span
from tests.support import ROOT, SHARED

SAMPLES = [*samples_json.SAMPLES, *samples_text.SAMPLES]
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


# ------------------------------------------------------------------ refused, or asked about


def layers(*kinds: str) -> str:
    """A CAS whose layers have one span each, of which a string says the kind."""
    structures = [{"%TYPE": kind, "begin": 0, "end": 4, "kind": kind[-1], "value": kind[0]} for kind in kinds]
    structures += [{"%TYPE": "uima.tcas.DocumentAnnotation", "begin": 0, "end": 9, "language": "en"}]
    structures += [{"%TYPE": "de.x.dkpro.core.api.segmentation.type.Lemma", "begin": 0, "end": 4, "value": "mina"}]
    return json.dumps({"%FEATURE_STRUCTURES": [{"sofaString": "Mina left"}, *structures]})


PEOPLE = [{"start": 0, "end": 7, "label": "PER"}]
REFUSED = {
    "raw Chinese": ("raw.txt", "米娜离开了里约港。\n下雨了。\n", {}, ["raw.txt, line 1", "plain text", "2 lines"]),
    "brat's text": ("doc.txt", "Mina left.\n", {"doc.ann": ""}, ["doc.txt", "brat", "doc.ann"]),
    "an index that is no index": ("i.txt", "5 a O\n5 b B-X\n6 c O\n", {}, ["i.txt", "numbers alone", "--tag_column"]),
    "two columns of tags beside others": (
        *("two.txt", "a NN O B-X\nb NN B-Y O\nc VB O O\n", {}),
        ["two.txt", "columns 3, 4", "--tag_column"],
    ),
    "gold and prediction": (
        *("pred.txt", "a B-X B-X\nb O O\nc B-Y O\n", {}),
        ["pred.txt", "both hold [0, 1) 'X'", "--tag_column 2"],
    ),
    "a short line of a span": (
        *("spans.csv", "text,start,end,label,id\nMina left,0,4,PER,1\nMina\n", {}),
        ["spans.csv, line 3", "1 cells where the header has 5"],
    ),
    "two cells that are no lists": (
        *("cells.csv", "text,labels\n\"['a', 'b']\",\"['O', 'B-X']\"\n\"['a'\",\"['O']\"\n\"['b'\",\"['O']\"\n", {}),
        ["cells.csv, line 3", "cells.csv, line 4", "write it as JSON"],
    ),
    "a short line": ("r.conll", "a NN B-X\nb NN O\nc NN\nd NN O\n", {}, ["r.conll, line 3", "'c NN'", "3"]),
    "a space in a token": ("s.txt", "a B-X\nnew york B-Y\nb O\n", {}, ["s.txt, line 2", "'new york B-Y'"]),
    "singles alone": ("s.txt", "a S-X\nb O\nc S-X\n", {}, ["s.txt, line 1", "--scheme"]),
    "stacked tags": ("s.txt", "a B-X|B-Y\nb O\nc B-X\n", {}, ["s.txt, line 1", "B-X|B-Y", "several in one"]),
    "a position or a label": ("s.txt", "a B-X\nb I-X\nc S-BAHN\nd O\n", {}, ["S-BAHN", "--scheme"]),
    "stated texts contradict": (
        *(
            "own.jsonl",
            lines({"tokens": ["a", "b"], "entities": [{"start": 0, "end": 1, "label": "X", "text": "a b"}]}),
            {},
        ),
        ["own.jsonl, line 1", "'a b'", "end + 1"],
    ),
    "tags beside no entities": (
        *("both.jsonl", lines({"tokens": ["a", "b"], "entities": [], "ner_tags": ["B-X", "O"]}), {}),
        ["both.jsonl, line 1", "ner_tags", "entities is empty"],
    ),
    "spans one short": (
        "short.jsonl",
        lines(
            {"text": "Mina Bo left", "spans": [{"start": 0, "end": 6, "label": "PER"}]},
            {"text": "Rio", "spans": [{"start": 0, "end": 2, "label": "X"}]},
        ),
        {},
        ["short.jsonl, line 1", "'Mina B' cuts a word", "all 2 spans of the file would fit end + 1"],
    ),
    "the mention as label": (
        "m.json",
        json.dumps(
            [
                {
                    "text": "Mina saw Rio",
                    "entities": [{"start": 0, "end": 4, "label": "Mina"}, {"start": 9, "end": 12, "label": "Rio"}],
                }
            ]
        ),
        {},
        ["m.json", "'label'", "the text that its span covers"],
    ),
    "two annotators": (
        "ls.json",
        json.dumps(
            [
                {
                    "id": 77,
                    "data": {"text": "Mina"},
                    "annotations": [
                        {"completed_by": who, "result": [{"value": {"start": 0, "end": 4, "labels": [label]}}]}
                        for who, label in ((5, "PER"), (6, "LOC"))
                    ],
                }
            ]
        ),
        {},
        ["ls.json", "task 77", "5, 6", "--annotator"],
    ),
    "pieces of a pipeline": (
        "p.jsonl",
        lines(
            {
                "text": "Mina",
                "entities": [{"entity": "B-PER", "score": 0.9, "index": 1, "word": "Mi", "start": 0, "end": 2}],
            }
        ),
        {},
        ["p.jsonl, line 1", "aggregation_strategy"],
    ),
    "a quote that swallows lines": (
        *("q.csv", 'Sentence #,Word,Tag\n1,a,O\n,",O\n,b,O\n,",O\n', {}),
        ["q.csv, line 3", "a quote opens"],
    ),
    "a bracket left open": ("b.txt", "里约/ns  [港/n  口/n\n下雨/v\n", {}, ["b.txt, line 1", "never closed"]),
    "a span over a line": (
        *("d.ann", "T1\tX 0 9\tMina\nBo le\n".replace("\nBo le", " Bo l"), {"d.txt": "Mina\nBo left\n"}),
        ["d.ann, line 1", "over the end of a line"],
    ),
    "answers about whole texts": (
        "cats.jsonl",
        lines({"text": "Mina left", "label": "TRAVEL", "answer": "accept", "_input_hash": 1, "_task_hash": 2}),
        {},
        ["cats.jsonl", "about whole texts", "'label'"],
    ),
    "spans in marked-up text": (
        "html.json",
        json.dumps(
            [
                {
                    "id": 4,
                    "data": {"text": "<b>Mina</b>"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "type": "hypertextlabels",
                                    "value": {"start": "/b[1]", "end": "/b[1]", "startOffset": 0, "endOffset": 4},
                                }
                            ]
                        }
                    ],
                }
            ]
        ),
        {},
        ["html.json, row 1", "task 4", "hypertextlabels"],
    ),
    "spans in several texts": (
        "texts.json",
        json.dumps(
            [
                {
                    "id": 5,
                    "data": {"text": "Mina"},
                    "annotations": [
                        {
                            "result": [
                                {"to_name": name, "value": {"start": 0, "end": 4, "labels": ["PER"]}}
                                for name in ("a", "b")
                            ]
                        }
                    ],
                }
            ]
        ),
        {},
        ["texts.json, row 1", "task 5 has spans in several texts: a, b"],
    ),
    "tokens or characters": (
        "t.jsonl",
        lines({"text": "I saw Bo", "tokens": ["I", "saw", "Bo"], "entities": [{"start": 2, "end": 5, "label": "X"}]})
        .replace("2", "0")
        .replace('"end": 5', '"end": 1')
        + lines(
            {"text": "Al is in Ur", "tokens": "Al is in Ur".split(), "entities": [{"start": 0, "end": 2, "label": "X"}]}
        ),
        {},
        ["t.jsonl", "counted in tokens", "counted in characters", "--format offsets"],
    ),
    "one name in the first column": ("o.txt", "a/b x B-L\na/b y O\n\na/b z B-L\n", {}, ["o.txt", "'a/b' alone"]),
    "gold and prediction agree far below": (
        *("pred.txt", "a B-X O\nb O O\n\nc B-Y B-Y\n", {}),
        ["pred.txt, line 4", "both hold [0, 1) 'Y'", "--tag_column 2"],
    ),
    "sentences named in the first column": (
        *("s.tsv", "s1\ta\tB-L\ns1\tb\tO\ns2\tc\tB-L\ns2\td\tO\n", {}),
        ["s.tsv", "the first column holds 's1' and 's2' on line after line", "--tag_column"],
    ),
    "sentences and tokens by number": (
        *("s.tsv", "0\t0\ta\tB-L\n0\t1\tb\tO\n1\t0\tc\tB-L\n1\t1\td\tO\n", {}),
        ["s.tsv", "numbers alone", "--tag_column"],
    ),
    "a number missing among those of the tokens": (
        *("n.tsv", "1\ta\tB-L\n2\tb\tO\n2-3\tcd\tO\n4\td\tO\n", {}),
        ["n.tsv", "the first column holds numbers alone, such as '1'"],
    ),
    "names of columns without tags of entities": (
        *("n.conllup", "# global.columns = ID FORM PARSEME:MWE\n1\ta\t*\n2\tb\t1:VID\n", {}),
        ["n.conllup", "none of the columns ID, FORM, PARSEME:MWE", "--tag_column"],
    ),
    "more names than columns": (
        *("m.txt", "# global.columns = ID FORM NER X\n1\ta\tB-X\n2\tb\tO\n", {}),
        ["m.txt", "4 columns are named, and lines have 3"],
    ),
    "scores in front of the tokens": (
        *("s.txt", "0.9 a B-X\n0.8 b O\n1 c O\n", {}),
        ["s.txt", "the first column holds numbers alone, such as '0.9'"],
    ),
    "a column named as predictions": (
        *("p.txt", "# global.columns = FORM NER NER_PRED\na\tB-X\tO\nb\tO\tB-X\n", {}),
        ["p.txt", "NER_PRED looks like predictions", "--tag_column"],
    ),
    "columns that contradict one another": (
        *("c.txt", "a B-X B-Y\nb O O\n\nc B-Y O\nd O B-X\n", {}),
        ["c.txt, line 1", "[0, 1) 'X' and [0, 1) 'Y'", "--tag_column 2", "2,3"],
    ),
    "a header that may be a label": (
        *("h.tsv", "字\t标签\n米\tPER\n娜\tPER\n在\tO\n里\tLOC\n约\tLOC\n。\tO\n", {}),
        ["h.tsv, line 1", "'标签' is the tag of '字' alone", "take the header out", "--scheme io"],
    ),
    "columns whose O is unknown": (
        *("c.txt", "米 人\n娜 人\n在 无\n里 地\n约 地\n。 无\n", {}),
        ["c.txt, line 1", "without any annotation", "--format"],
    ),
    "tabs that part no words": (
        *("c.txt", "里约\t名词,固有名词\n在\t助词,格助词\n下雨\t动词,自立\nEOS\n", {}),
        ["c.txt, line 1", "without any annotation"],
    ),
    "ends of tags that may be labels": (
        *("s.txt", "take O\nvitamin vitamin-B\nor O\nhepatitis hepatitis-B\n", {}),
        ["s.txt, line 2", "--scheme suffix", "--scheme io"],
    ),
    "a skeleton of OntoNotes": (
        *("o.conll", "#begin document (a)\na 0 0 [WORD] NN (S* - - - - (LOC) -\n", {}),
        ["o.conll, line 2", "skeleton", "[WORD]"],
    ),
    "two keys of tags": (
        *("k.conllu", "1\ta\ta\tNOUN\t_\t_\t0\troot\t_\tname=B-X|gold=B-Y\n", {}),
        ["k.conllu", "several keys hold tags: name, gold", "--tag_column name"],
    ),
    "one text of two ids": (
        *("t.csv", "id,text,start,end,label\n1,Ada came.,0,3,PER\n2,Ada came.,0,3,ORG\n", {}),
        ["t.csv, line 3", "'Ada came.' has a span from 0 to 3 under two ids", "text_id"],
    ),
    "seven bits of Japanese": (
        *("j.tsv", "\x1b$BEl\x1b(B\tB-X\na\tO\n", {}),
        ["j.tsv, line 1", "iconv -f ISO-2022-JP -t UTF-8"],
    ),
    "seven bits of Chinese": (*("h.tsv", "a\tO\n~{11~}\tB-X\n", {}), ["h.tsv, line 2", "iconv -f HZ -t UTF-8"]),
    "several lists of rows": (
        "splits.json",
        json.dumps({"train": [{"text": "a", "entities": []}], "test": [{"text": "b", "entities": []}]}),
        {},
        ["splits.json", "several lists of rows: 'train', 'test'"],
    ),
    "marks inside the text": ("m.txt", "<PER>Mina</PER> left.\nNo one.\n", {}, ["m.txt, line 1", "'<PER>Mina</PER>'"]),
    "marks that hold an underscore": (
        *("b.txt", "今天{{person_name:米娜}}走了。\n{{person_name:米娜}}来了。\n", {}),
        ["b.txt, line 1", "{{person_name:米娜}}"],
    ),
    "Python that is no list": ("t.py", "DATA = [\n    (text, {}),\n]\n", {}, ["t.py, line 1", "Python", "json.dump"]),
    "a workbook": ("s.xlsx", "PK\x03\x04\0\0", {}, ["s.xlsx", "Excel", "CSV"]),
    "a bracket of OntoNotes that is never closed": (
        *("o.conll", "#begin document (a)\na 0 0 Rio NN (S* - - - - (LOC* -\n", {}),
        ["o.conll, line 2", "(LOC* is never closed"],
    ),
    "a span beyond its sentence": (
        *("d.jsonl", lines({"sentences": [["a", "b"], ["c"]], "ner": [[[1, 2, "X"]], []]}), {}),
        ["d.jsonl, line 1", "[1, 3) 'X'", "leaves the sentence of 2 tokens"],
    ),
    "white space at an edge": (
        *("e.jsonl", lines({"text": "米娜 走", "spans": [{"start": 0, "end": 3, "label": "人"}]}), {}),
        ["e.jsonl, line 1", "ends with white space", "--trim"],
    ),
    "two keys of spans": (
        "two.jsonl",
        lines(
            {"text": "Mina saw Rio", "entities": [span(0, 4, "PER")], "spans": [span(9, 12, "NP")]},
            {"text": "It rained", "entities": [], "spans": [span(0, 2, "NP")]},
        ),
        {},
        ["two.jsonl", "several keys: entities, spans", "--tag_column entities"],
    ),
    "two keys of spans in tokens": (
        "two.jsonl",
        lines({"tokens": ["Rio"], "entities": [], "spans": []}) * 1000
        + lines({"tokens": ["Rio"], "entities": [], "spans": [span(0, 1, "NP")]}),
        {},
        ["two.jsonl, line 1001", "spans holds other spans than entities", "--tag_column entities"],
    ),
    "two keys of triples": (
        *("two.jsonl", lines({"text": "Rio", "label": [[0, 3, "X"]], "labels": [[0, 3, "Y"]]}), {}),
        ["two.jsonl", "several keys: label, labels", "--tag_column label"],
    ),
    "a group of spans beside entities": (
        *(
            "spacy.jsonl",
            lines({"text": "in Rio", "ents": [], "spans": {"a": [span(3, 6, "X")], "b": [span(0, 2, "Y")]}}),
            {},
        ),
        ["spacy.jsonl", "several keys: spans.a, spans.b", "--tag_column spans.a"],
    ),
    "characters without a text": (
        "chars.jsonl",
        lines({"tokens": ["Mina", "left"], "spans": [{"start_char": 0, "end_char": 1, "label": "PER"}]}),
        {},
        ["chars.jsonl, line 1", "start_char", "counts characters", "add the text"],
    ),
    "one word for all spans beside labels": (
        "kinds.jsonl",
        lines(
            {
                "text": "Mina saw Rio",
                "entities": [
                    {"start": 0, "end": 4, "type": "entity", "category": "PER"},
                    {"start": 9, "end": 12, "type": "entity", "category": "LOC"},
                ],
            }
        ),
        {},
        ["kinds.jsonl", "type ('entity'), category ('PER', 'LOC')", "--tag_column category"],
    ),
    "numbers of spans beside labels": (
        "numbers.jsonl",
        lines(
            {
                "tokens": ["Mina", "saw", "Rio"],
                "entities": [
                    {"start": 0, "end": 1, "label": "T1", "type": "PER"},
                    {"start": 2, "end": 3, "label": "T2", "type": "LOC"},
                ],
            }
        ),
        {},
        ["numbers.jsonl", "label ('T1', 'T2'), type ('PER', 'LOC')", "--tag_column type"],
    ),
    "annotators of spans": (
        "users.jsonl",
        lines(
            {
                "text": "Mina",
                "annotations": [
                    {"label": label, "start_offset": 0, "end_offset": 4, "user": user}
                    for user, label in ((1, "PER"), (2, "LOC"))
                ],
            }
        ),
        {},
        ["users.jsonl, line 1", "'Mina' has 2 differing annotations, by 1, 2", "--annotator"],
    ),
    "annotators of doccano's spans": (
        "users.jsonl",
        lines(
            {
                "text": "Mina",
                "entities": [
                    {"label": label, "start_offset": 0, "end_offset": 4, "user": user}
                    for user, label in ((1, "PER"), (2, "LOC"))
                ],
            }
        ),
        {},
        ["users.jsonl, line 1", "'Mina' has 2 differing annotations, by 1, 2", "--annotator"],
    ),
    "annotators in a CSV": (
        "ls.csv",
        "annotator,id,label,text\n"
        + "".join(
            f'{who},5,"[{{""start"":0,""end"":4,""labels"":[""{label}""]}}]",Mina\n'
            for who, label in ((1, "PER"), (2, "LOC"))
        ),
        {},
        ["ls.csv, row 1", "task 5 has 2 differing annotations, by 1, 2", "--annotator"],
    ),
    "nothing validated": (
        "open.jsonl",
        lines({"text": "Mina", "annotation": [span(0, 4, "PER")], "status": "Default"}),
        {},
        ["open.jsonl", "'Default'", "take the status out"],
    ),
    "an annotation over sentences": (
        "over.tsv",
        "#FORMAT=WebAnno TSV 3.3\n#T_SP=x.NamedEntity|value\n\n1-1\t0-4\tBank\tORG[1]\n1-2\t5-7\tof\tORG[1]\n\n"
        "2-1\t8-11\tRio\tORG[1]\n2-2\t12-16\tfell\t_\n",
        {},
        ["over.tsv, line 7", "annotation [1] 'ORG' goes over the end of a sentence", "join the sentences"],
    ),
    "annotation of a shared task": (
        *("task/a.ann", "", {"task/a.a1": "T1\tX 0 3\tRio\n", "task/a.txt": "Rio\n"}),
        ["a.a1", "cat a.a1 a.a2 > a.ann"],
    ),
    "folders of splits": (
        "brat/train/a.ann",
        "",
        {"brat/train/a.txt": "Rio\n", "brat/test/b.ann": "", "brat/test/b.txt": "Rio\n"},
        ["brat", "holds several splits: test, train", "name the folder of a split"],
    ),
    "two layers of a CAS": (
        *("doc.json", layers("a.NamedEntity", "my.Entity"), {}),
        ["doc.json", "several span layers: a.NamedEntity, my.Entity", "--tag_column a.NamedEntity"],
    ),
    "two features of a CAS": (
        *("doc.json", layers("my.Entity"), {}),
        ["doc.json", "the features of my.Entity are kind, value", "--tag_column 'my.Entity|FEATURE'"],
    ),
    "labels beside no entities": (
        *("both.jsonl", lines({"tokens": ["a", "b"], "entities": [], "labels": ["B-X", "O"]}), {}),
        ["both.jsonl, line 1", "labels has tags ([0, 1) 'X'), entities is empty"],
    ),
    "tags beside other entities": (
        *("both.jsonl", lines({"tokens": ["a", "b"], "entities": [span(0, 1, "X")], "ner_tags": ["B-X", "B-Y"]}), {}),
        ["both.jsonl, line 1", "ner_tags has tags ([1, 2) 'Y'), entities has it not"],
    ),
    "lists written as texts": (
        *("t.jsonl", lines({"tokens": "['a', 'b']", "ner_tags": "['B-X', 'O']"}), {}),
        ["t.jsonl, line 1", "tokens is \"['a', 'b']\"", "write lists"],
    ),
    "a key twice": (
        *("keys.jsonl", '{"text": "Mina", "entities": [{"start": 0, "end": 4, "label": "X"}], "entities": []}\n', {}),
        ["keys.jsonl, line 1", "key 'entities' stands twice", "take one of the two out"],
    ),
    "a key twice in an object over lines": (
        *("keys.json", '{"text": "Mina",\n "entities": [],\n "entities": [[0, 4, "X"]]}\n', {}),
        ["keys.json, line 1", "key 'entities' stands twice"],
    ),
    "a key twice in a cell": (
        *("keys.csv", 'text,entities\nMina,"[{""start"": 0, ""start"": 1, ""end"": 4, ""label"": ""X""}]"\n', {}),
        ["keys.csv, line 2", "key 'start' stands twice"],
    ),
    "XML": (
        "gate.xml",
        "<GateDocument>\n<Node id='0'/>Mina\n</GateDocument>\n",
        {},
        ["gate.xml, line 1", "XML is not read"],
    ),
    "marks of Rasa": (
        *("nlu.yml", 'nlu:\n  - go to [Rio]{"entity": "city"}\n', {}),
        ["nlu.yml, line 2", "marks inside the text", "[Rio]"],
    ),
    "phrases of CaboCha": (
        *("c.txt", "* 0 1D 0/1 0.0\n東京\t名詞\tB-LOC\nEOS\n", {}),
        ["c.txt, line 1", "CaboCha's lines of phrases", "EOS"],
    ),
    "spans that have no known shape": (
        *("a.jsonl", lines({"text": "Mina", "tokens": ["Mina"], "annotation": [["PER", 0, 4]]}), {}),
        ["a.jsonl, line 1", "key 'entities' is missing, the keys are 'text', 'tokens', 'annotation'"],
    ),
    "annotators of spans in tokens": (
        *(
            "users.jsonl",
            lines({"tokens": ["Mina"], "entities": [span(0, 1, x, annotator=x) for x in ("PER", "LOC")]}),
            {},
        ),
        ["users.jsonl, line 1", "['Mina'] has 2 differing annotations, by PER, LOC", "--annotator"],
    ),
    "mentions that are no spans": (
        *("m.jsonl", lines({"tokens": ["Mina"], "entities": ["PER: Mina"]}), {}),
        ["m.jsonl, line 1", "entities is ['PER: Mina'], no list of spans"],
    ),
}


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
