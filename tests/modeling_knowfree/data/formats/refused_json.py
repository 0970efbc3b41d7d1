"""Files in JSON that are refused or asked about: name, content, files beside it, what the error says."""

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
    "a token without its tag": (
        *("one.json", json.dumps([[{"text": "Mina", "ner": "S-PER"}, {"text": "left"}]]), {}),
        ["one.json, sentence 1", "token 'left' has no ner", "write O"],
    ),
    "a token without a word": (
        *("one.json", json.dumps([[{"text": "Mina", "ner": "S-PER"}, {"word": 3, "ner": "O"}]]), {}),
        ["one.json, sentence 1", "a token has no word: {'word': 3, 'ner': 'O'}", "give each token its word"],
    ),
    "a mention beyond its sentence": (
        "corenlp.json",
        json.dumps(
            {
                "sentences": [
                    {
                        "tokens": [{"word": "Mina", "ner": "PER"}],
                        "entitymentions": [{"tokenBegin": 0, "tokenEnd": 2, "ner": "PER"}],
                    }
                ]
            }
        ),
        {},
        ["corenlp.json, sentence 1", "leaves the sentence of 1 tokens"],
    ),
    "mentions of another shape": (
        "corenlp.json",
        json.dumps(
            {"sentences": [{"tokens": [{"word": "Mina", "ner": "PER"}], "entitymentions": [{"begin": 0, "end": 1}]}]}
        ),
        {},
        ["corenlp.json", "entitymentions holds {'begin': 0, 'end': 1}", "tokenBegin, tokenEnd, ner"],
    ),
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
    "several lists of rows": (
        "splits.json",
        json.dumps({"train": [{"text": "a", "entities": []}], "test": [{"text": "b", "entities": []}]}),
        {},
        ["splits.json", "several lists of rows: 'train', 'test'"],
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
    "nothing validated": (
        "open.jsonl",
        lines({"text": "Mina", "annotation": [span(0, 4, "PER")], "status": "Default"}),
        {},
        ["open.jsonl", "'Default'", "take the status out"],
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
