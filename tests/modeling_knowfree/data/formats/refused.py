"""Files that are refused or asked about: name, content, files beside it, and what the error says."""

import json

from tests.modeling_knowfree.data.formats.samples import lines, span


def layers(*kinds: str) -> str:
    """A CAS whose layers have one span each, of which a string says the kind."""
    structures = [{"%TYPE": kind, "begin": 0, "end": 4, "kind": kind[-1], "value": kind[0]} for kind in kinds]
    structures += [{"%TYPE": "uima.tcas.DocumentAnnotation", "begin": 0, "end": 9, "language": "en"}]
    structures += [{"%TYPE": "de.x.dkpro.core.api.segmentation.type.Lemma", "begin": 0, "end": 4, "value": "mina"}]
    return json.dumps({"%FEATURE_STRUCTURES": [{"sofaString": "Mina left"}, *structures]})


PEOPLE = [{"start": 0, "end": 7, "label": "PER"}]
ONE = [{"start": 0, "end": 1, "label": "PER"}]
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
    "an empty list before the filled one": (
        *(
            "m.jsonl",
            lines({"tokens": ["Mina"], "entities": []}, {"tokens": ["Bo"], "entities": [], "mentions": ONE}),
            {},
        ),
        ["m.jsonl, line 2", "no entity is read, and mentions lists spans", "--tag_column mentions"],
    ),
    "doccano's empty list before another": (
        *(
            "d.jsonl",
            lines({"text": "Mina Bo", "label": [[0, 4, "PER"]]}, {"text": "Mina Bo", "label": [], "spans": PEOPLE}),
            {},
        ),
        ["d.jsonl"],
    ),
    "an empty list beside triples": (
        *("n.jsonl", lines({"tokens": ["Mina", "left"], "entities": [], "ner": [[0, 0, "PER"]]}), {}),
        ["n.jsonl, line 1", "ner lists spans"],
    ),
    "Prodigy's empty spans": (
        *("p.jsonl", lines({"text": "Mina Bo", "answer": "accept", "spans": [], "entities": PEOPLE}), {}),
        ["p.jsonl, line 1", "entities lists spans"],
    ),
    "GLiNER's empty list": (
        *("g.jsonl", lines({"tokenized_text": ["Mina"], "ner": [], "entities": ONE}), {}),
        ["g.jsonl, line 1", "entities lists spans"],
    ),
    "spaCy 2 with a group": (
        *("s.json", json.dumps([["Mina Bo", {"entities": [], "spans": {"sc": [[0, 4, "PER"]]}}]]), {}),
        ["s.json, row 1", "spans lists spans"],
    ),
    "lists of tags of other kinds": (
        *("t.jsonl", lines({"tokens": ["a", "b"], "labels": ["O", "B-PER"]}, {"tokens": ["a"], "labels": [["x"]]}), {}),
        ["t.jsonl, line 2", "['x']"],
    ),
    "no tag": (
        *("t.jsonl", lines({"tokens": ["a"], "labels": ["B-X"]}, {"tokens": ["a", "b"], "labels": ["O", None]}), {}),
        ["t.jsonl, line 2", "labels holds None"],
    ),
    "a number for the spans": (
        *("e.jsonl", lines({"tokens": ["Mina"], "entities": ONE}, {"tokens": ["a"], "entities": 5}), {}),
        ["e.jsonl, line 2", "entities is 5"],
    ),
    "a word cut where characters fit": (
        *("k.jsonl", lines({"text": "나는 서울에서 산다", "entities": [span(3, 5, "LOC")]}), {}),
        ["k.jsonl, line 1", "cuts a word", "knowfree data convert IN OUT --unit character"],
    ),
}
