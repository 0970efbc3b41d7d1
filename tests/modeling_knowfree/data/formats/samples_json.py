"""A small JSON file of each shape of rows that no one tool owns, invented here, and how it reads."""

import json

from tests.modeling_knowfree.data.formats.samples import (
    NESTED,
    RAIN,
    RIO,
    TEXT,
    TRIPLES,
    Sample,
    array,
    lines,
    span,
)

SAMPLES = [
    Sample(
        "jsonl",
        "train.jsonl",
        lines(
            {"id": "a", "tokens": RIO[0][0], "entities": [span(0, 2, "PER", text="Mina Bo"), span(4, 6, "LOC")]},
            {"id": "a", "tokens": RIO[1][0], "entities": []},
        ),
        RIO,
        told=("1 ids were repeated",),
    ),
    Sample(
        "tags",
        "train.jsonl",
        lines(
            {"words": RIO[0][0], "labels": [1, 2, 0, 0, 3, 4, 0]},
            {"words": RIO[1][0], "labels": [0, 0, 0]},
        ),
        RIO,
        beside={
            "dataset_info.json": json.dumps(
                {
                    "features": {
                        "labels": {
                            "feature": {"names": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], "_type": "ClassLabel"},
                            "_type": "List",
                        }
                    }
                }
            )
        },
        told=("dataset_info.json",),
    ),
    Sample(
        "offsets",
        "made.json",
        array(
            {
                "text": TEXT,
                "entities": [{"start": s, "end": e, "type": label, "entity": TEXT[s:e]} for s, e, label in TRIPLES],
            },
            {"text": RAIN, "entities": []},
        ),
        NESTED,
    ),
    Sample(
        "tags",
        "texts.jsonl",
        lines(
            {"tokens": "Mina Bo left 🚲 Port Rio .", "tags": "B-PER I-PER O O B-LOC I-LOC O"},
            {"tokens": "It rained .", "tags": "O O O"},
        ),
        RIO,
    ),
    Sample(
        "tags",
        "characters.jsonl",
        lines(
            {"text": "米娜离开🚲里约。", "labels": "B-人 I-人 O O O B-地 I-地 O".split()},
            {"text": "下雨了。", "labels": ["O"] * 4},
        ),
        [(list("米娜离开🚲里约。"), [(0, 2, "人"), (5, 7, "地")]), (list("下雨了。"), [])],
    ),
    Sample(
        "jsonl",
        "mentions.jsonl",
        lines(
            {
                "tokens": RIO[0][0],
                "entity_mentions": [
                    {"id": "m1", "text": "Mina Bo", "entity_type": "PER", "start": 0, "end": 2},
                    {"id": "m2", "text": "Port Rio", "entity_type": "LOC", "start": 4, "end": 6},
                ],
            },
            {"tokens": RIO[1][0], "entity_mentions": []},
        ),
        RIO,
    ),
    Sample(
        "offsets",
        "wrapped.json",
        json.dumps(
            {"version": 1, "data": [{"content": TEXT, "annotations": [span(0, 7, "PER"), span(15, 23, "LOC")]}]}
        ),
        RIO[:1],
    ),
    Sample(
        "offsets",
        "keyed.json",
        json.dumps(
            {"a": {"text": TEXT, "ents": [span(0, 7, "PER"), span(15, 23, "LOC")]}, "b": {"text": RAIN, "ents": []}}
        ),
        RIO,
    ),
    Sample(
        "offsets",
        "pairs.jsonl",
        lines(
            {"text": TEXT, "entities": [{"name": "Mina Bo", "span": [0, 7], "type": "PER"}]},
            {"text": TEXT, "entities": [{"name": "Port Rio", "span": [15, 23], "type": "LOC"}]},
        ),
        [(RIO[0][0], [(0, 2, "PER")]), (RIO[0][0], [(4, 6, "LOC")])],
    ),
    Sample(
        "offsets",
        "lengths.jsonl",
        lines({"text": TEXT, "entities": [{"text": "Mina Bo", "offset": 0, "length": 7, "category": "PER"}]}),
        [(RIO[0][0], [(0, 2, "PER")])],
    ),
    Sample(
        "offsets",
        "points.json",
        lines(
            {
                "content": TEXT,
                "annotation": [{"label": ["PER"], "points": [{"start": 0, "end": 6, "text": "Mina Bo"}]}],
                "extras": None,
            }
        ),
        [(RIO[0][0], [(0, 2, "PER")])],
        told=("end inclusive here",),
    ),
    Sample(
        "offsets",
        "tokens_too.jsonl",
        lines({"text": TEXT, "tokens": TEXT.split(), "entities": [span(0, 7, "PER"), span(15, 24, "LOC")]}),
        [(TEXT.split(), [(0, 2, "PER"), (4, 6, "LOC")])],
    ),
    Sample(
        "jsonl",
        "text_too.jsonl",
        lines({"text": "米娜走", "tokens": list("米娜走"), "entities": [span(0, 2, "人")]}),
        [(list("米娜走"), [(0, 2, "人")])],
    ),
    Sample(
        "tags",
        "columns.json",
        json.dumps({"tokens": [tokens for tokens, _ in RIO], "ner_tags": ["B-P I-P O O B-L I-L O".split(), ["O"] * 3]}),
        [(RIO[0][0], [(0, 2, "P"), (4, 6, "L")]), RIO[1]],
    ),
    Sample(
        "tags",
        "pandas.json",
        json.dumps({"tokens": {"0": ["Rio"], "5": ["a", "b"]}, "ner_tags": {"0": ["B-L"], "5": ["O", "O"]}}),
        [(["Rio"], [(0, 1, "L")]), (["a", "b"], [])],
    ),
    Sample(
        "tags",
        "raw.jsonl",
        lines({"raw_words": ["in", "Rio"], "target": ["O", "B-LOC"]}),
        [(["in", "Rio"], [(1, 2, "LOC")])],
    ),
    Sample(
        "offsets",
        "groups.jsonl",
        lines(
            {
                "text": TEXT,
                "tokens": [{"id": 0, "start": 0, "end": 4}],
                "ents": [span(0, 7, "PER"), span(15, 23, "LOC")],
                "spans": {"sc": [span(*triple, kb_id="") for triple in TRIPLES]},
            },
            {"text": RAIN, "tokens": [], "ents": [], "spans": {"sc": []}},
        ),
        NESTED,
    ),
    Sample(
        "offsets",
        "either.jsonl",
        lines({"text": TEXT, "labels": ["trip"], "entities": []}, {"text": TEXT, "entities": [span(0, 7, "PER")]})
        + lines({"text": TEXT, "spans": [span(15, 23, "LOC")]}),
        [(RIO[0][0], []), (RIO[0][0], [(0, 2, "PER")]), (RIO[0][0], [(4, 6, "LOC")])],
    ),
    Sample(
        "jsonl",
        "spans_alone.jsonl",
        lines({"tokens": RIO[1][0], "entities": [], "spans": []})
        + lines({"tokens": RIO[0][0], "entities": [], "spans": [span(0, 2, "PER"), span(4, 6, "LOC")]}),
        RIO[::-1],
    ),
    Sample(
        "offsets",
        "characters_too.jsonl",
        lines(
            {
                "text": "abc d e",
                "tokens": ["abc", "d", "e"],
                "spans": [
                    {"start_char": 0, "end_char": 3, "label": "X"},
                    {"start_char": 4, "end_char": 5, "label": "Y"},
                ],
            }
        ),
        [(["abc", "d", "e"], [(0, 1, "X"), (1, 2, "Y")])],
    ),
    Sample(
        "tags",
        "wikiann.jsonl",
        lines({"tokens": ["in", "Port", "Rio"], "ner_tags": ["O", "B-LOC", "I-LOC"], "spans": ["LOC: Port Rio"]}),
        [(["in", "Port", "Rio"], [(1, 3, "LOC")])],
    ),
    Sample(
        "offsets",
        "finer.jsonl",
        lines(
            {
                "text": TEXT,
                "entities": [
                    span(0, 7, "PER", type="NAM", name="Bo, Mina"),
                    span(15, 23, "LOC", type="NAM", name="Port of Rio"),
                ],
            }
        ),
        RIO[:1],
        told=("label counts; --tag_column NAME takes another: label ('PER', 'LOC'), type ('NAM')",),
    ),
    Sample(
        "offsets",
        "alike.json",
        json.dumps(
            {
                "examples": [
                    {
                        "content": TEXT,
                        "annotations": [
                            {
                                "start": s,
                                "end": e,
                                "tag": label,
                                "annotated_by": [{"annotator": "a"}, {"annotator": "b"}],
                            }
                            for s, e, label in TRIPLES
                        ],
                    }
                ]
            }
        ),
        NESTED[:1],
        told=("1 tasks were annotated alike",),
    ),
    Sample(
        "offsets",
        "argilla.jsonl",
        lines(
            {"text": TEXT, "annotation": [span(0, 7, "PER"), span(15, 23, "LOC")], "status": "Validated"},
            {"text": TEXT, "annotation": [span(0, 4, "LOC")], "status": "Discarded"},
            {"text": TEXT, "annotation": None, "status": "Default"},
            {"text": RAIN, "annotation": [], "status": "odd"},
        ),
        RIO,
        told=("1 rows of status Discarded left out", "1 rows of status Default left out", "not known, and they count"),
    ),
    Sample(
        "offsets",
        "flair.json",
        array(
            {
                "text": TEXT,
                "entities": [
                    {"text": TEXT[s:e], "start_pos": s, "end_pos": e, "labels": [{"value": label, "confidence": 0.9}]}
                    for s, e, label in TRIPLES
                ],
            }
        ),
        NESTED[:1],
    ),
    Sample(
        "offsets",
        "vertex.jsonl",
        lines(
            {
                "textContent": TEXT,
                "textSegmentAnnotations": [
                    {"endOffset": 7, "displayName": "PER"},
                    {"startOffset": 15, "endOffset": 23, "displayName": "LOC"},
                ],
            }
        ),
        RIO[:1],
    ),
    Sample(
        "jsonl",
        "nested_and_tagged.jsonl",
        lines(
            {
                "tokens": NESTED[0][0],
                "entities": [span(0, 2, "PER"), span(4, 6, "LOC"), span(5, 6, "NAME")],
                "ner_tags": "B-PER I-PER O O B-LOC I-LOC O".split(),
                "tags": ["NNP", "NNP", "VBD", "SYM", "NNP", "NNP", "."],
            }
        ),
        NESTED[:1],
    ),
]
