"""A small JSON file of each format that is JSON, invented here, and how it reads."""

import json

from tests.modeling_knowfree.data.formats.samples import (
    CHINESE,
    NESTED,
    RAIN,
    RIO,
    TEXT,
    TRIPLES,
    ZH,
    ZH_RAIN,
    ZH_SPANS,
    Sample,
    array,
    cas,
    label_studio,
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
        "released",
        "train.json",
        lines(
            {
                "text": RIO[0][0],
                "entities": [{"start": 0, "end": 2, "entity": "PER"}, {"start": 4, "end": 6, "entity": "LOC"}],
            },
            {"text": RIO[1][0], "entities": []},
        ),
        RIO,
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
        "w2ner",
        "w2ner.json",
        array(
            {
                "sentence": RIO[0][0],
                "ner": [
                    {"index": [0, 1], "type": "PER"},
                    {"index": [4, 5], "type": "LOC"},
                    {"index": [5], "type": "NAME"},
                    {"index": [0, 4], "type": "TRIP"},
                ],
            },
            {"sentence": RIO[1][0], "ner": []},
        ),
        NESTED,
        told=("discontinuous spans left out",),
    ),
    Sample(
        "doccano",
        "all.jsonl",
        lines({"id": 7, "text": TEXT, "label": TRIPLES, "Comments": []}, {"id": 8, "text": RAIN, "label": []}),
        NESTED,
    ),
    Sample(
        "doccano",
        "relations.jsonl",
        lines(
            {
                "id": 1,
                "text": TEXT,
                "entities": [
                    {"id": n, "label": label, "start_offset": s, "end_offset": e}
                    for n, (s, e, label) in enumerate(TRIPLES)
                ],
                "relations": [{"id": 1, "from_id": 0, "to_id": 1, "type": "x"}],
            },
            {"id": 2, "text": RAIN, "entities": [], "relations": []},
        ),
        NESTED,
        told=("1 relations",),
    ),
    Sample(
        "label-studio",
        "project.json",
        array(*label_studio()),
        NESTED,
        told=("1 cancelled", "1 results of type choices", "1 predictions", "1 tasks without"),
    ),
    Sample(
        "label-studio-min",
        "min.json",
        array(
            {
                "id": 1,
                "text": ZH,
                "mood": "dry",
                "annotator": 1,
                "zone": [{**span(s, e, ""), "labels": [x]} for s, e, x in ZH_SPANS],
            },
            {"id": 2, "text": ZH_RAIN, "mood": "wet", "annotator": 1},
        ),
        CHINESE,
        told=("mood",),
    ),
    Sample(
        "prodigy",
        "out.jsonl",
        lines(
            {"text": TEXT, "spans": [span(*triple) for triple in TRIPLES], "answer": "accept", "_task_hash": 1},
            {"text": TEXT, "spans": [span(0, 4, "LOC")], "answer": "reject", "_task_hash": 2},
            {"text": RAIN, "answer": "accept", "_task_hash": 3},
            {"text": "?", "spans": [], "answer": "ignore", "_task_hash": 4},
        ),
        NESTED,
        told=("1 rejected", "1 ignored"),
    ),
    Sample("cas-json", "doc.json", cas(), NESTED, told=("1 spans without a label",)),
    Sample("spacy-v2", "train.json", array([TEXT, {"entities": TRIPLES}], [RAIN, {"entities": []}]), NESTED),
    Sample("spacy-v2", "train.jsonl", lines([TEXT, {"entities": TRIPLES}], [RAIN, {"entities": []}]), NESTED),
    Sample(
        "gliner",
        "gliner.json",
        array(
            {"tokenized_text": RIO[0][0], "ner": [[0, 1, "PER"], [4, 5, "LOC"], [5, 5, "NAME"]]},
            {"tokenized_text": RIO[1][0], "ner": []},
        ),
        NESTED,
    ),
    Sample(
        "cmeee",
        "v1.json",
        array(
            {
                "text": ZH,
                "entities": [{"start_idx": s, "end_idx": e - 1, "type": x, "entity": ZH[s:e]} for s, e, x in ZH_SPANS],
            },
            {"text": ZH_RAIN, "entities": []},
        ),
        CHINESE,
        told=("end inclusive",),
    ),
    Sample(
        "cluener",
        "train.json",
        lines(
            {"text": ZH, "label": {"人": {"米娜": [[0, 1]]}, "地": {"里约港": [[5, 7]]}, "城": {"里约": [[5, 6]]}}},
            {"text": ZH_RAIN, "label": {}},
        ),
        CHINESE,
    ),
    Sample(
        "universalner",
        "pile.json",
        array(
            *(
                {
                    "id": f"n{number}",
                    "conversations": [
                        {"from": "human", "value": f"Text: {text}"},
                        {"from": "gpt", "value": "I've read this text."},
                        *(
                            {"from": who, "value": value}
                            for label, mentions in answers.items()
                            for who, value in (
                                ("human", f"What describes {label} in the text?"),
                                ("gpt", json.dumps(mentions)),
                            )
                        ),
                    ],
                }
                for number, (text, answers) in enumerate(
                    [(TEXT, {"PER": ["Mina Bo"], "LOC": ["Port Rio", "Por"], "NAME": ["Rio"]}), (RAIN, {"PER": []})]
                )
            )
        ),
        NESTED,
        told=("1 mentions",),
    ),
    Sample(
        "dygie",
        "documents.jsonl",
        lines(
            {
                "doc_key": "d1",
                "sentences": [RIO[1][0], RIO[0][0]],
                "ner": [[], [[3, 4, "PER"], [7, 8, "LOC"], [8, 8, "NAME"]]],
                "relations": [[], [[3, 4, 7, 8, "IN"]]],
            }
        ),
        [NESTED[1], NESTED[0]],
        told=("1 relations left out",),
    ),
    Sample(
        "doccano", "data.jsonl", lines({"id": 1, "data": TEXT, "label": TRIPLES}, {"data": RAIN, "label": []}), NESTED
    ),
    Sample(
        "doccano",
        "emoji.jsonl",
        lines(
            {"text": "去🚲里约港。", "label": [[3, 6, "地"], [4, 6, "城"]]},
            {"text": "米娜走。", "label": [[0, 2, "人"]]},
        ),
        [(list("去🚲里约港。"), [(3, 6, "地"), (4, 6, "城")]), (list("米娜走。"), [(0, 2, "人")])],
        told=(
            "2 spans have punctuation at an edge, and all 3 would fit UTF-16, end exclusive: is that meant?: '约港。' '地'",
        ),
    ),
    Sample(
        "doccano",
        "certain.jsonl",
        lines({"text": "去🚲里约港很远。", "label": [[3, 5, "地"]]}),
        [(list("去🚲里约港很远。"), [(3, 5, "地")])],
        told=("1 spans behind an emoji were counted in code points",),
    ),
    Sample(
        "label-studio",
        "several.json",
        array(
            {
                "id": 1,
                "data": {"title": "Mina Bo", "text": TEXT},
                "annotations": [
                    {
                        "completed_by": {"id": 7, "email": "who@example.org"},
                        "result": [
                            {"to_name": "title", "from_name": "ner", "value": span(0, 7, "PER") | {"labels": ["PER"]}},
                            {
                                "to_name": "text",
                                "from_name": "ner",
                                "value": {"start": "15", "end": "23", "labels": ["LOC"]},
                            },
                        ],
                    },
                    {"completed_by": {"id": 8, "email": "x@example.org"}, "result": []},
                ],
            }
        ),
        [(RIO[0][0], [(4, 6, "LOC")])],
        told=("1 spans in other texts than text left out",),
        options={"annotator": 7},
    ),
    Sample(
        "label-studio",
        "controls.json",
        array(
            {
                "data": {"text": TEXT},
                "annotations": [
                    {
                        "result": [
                            {"to_name": "text", "from_name": name, "value": {"start": 0, "end": 7, "labels": [label]}}
                            for name, label in (("ner", "PER"), ("role", "AGENT"))
                        ]
                    }
                ],
            }
        ),
        [(RIO[0][0], [(0, 2, "PER"), (0, 2, "AGENT")])],
        told=("1 tasks have spans of several controls, and all count; --tag_column NAME takes one: ner, role",),
    ),
    Sample(
        "label-studio-min",
        "strings.json",
        array(
            {"text": TEXT, "id": 1, "label": json.dumps([{"start": 0, "end": 7, "labels": ["PER"]}]), "annotator": 1},
            {"text": RAIN, "id": 2, "annotator": 1, "sentiment": "calm"},
        ),
        [(RIO[0][0], [(0, 2, "PER")]), RIO[1]],
        told=("1 fields are no spans and left out: sentiment",),
    ),
    Sample(
        "prodigy",
        "teach.jsonl",
        lines(
            *(
                {"text": TEXT, "_input_hash": 5, "_task_hash": at, "spans": [span(*one)], "answer": answer}
                for at, (answer, one) in enumerate(
                    [("accept", TRIPLES[0]), ("reject", [9, 13, "LOC"]), ("accept", TRIPLES[1]), ("accept", TRIPLES[0])]
                )
            ),
            {"text": RAIN, "_input_hash": 6, "_task_hash": 9, "spans": [], "answer": "accept"},
        ),
        RIO,
        told=("2 answers about a text that came before were put together with it", "1 rejected answers left out"),
    ),
    Sample(
        "prodigy",
        "unasked.jsonl",
        lines(
            {
                "text": RAIN,
                "tokens": [
                    {"text": "It", "start": 0, "end": 2, "id": 0},
                    {"text": "rained.", "start": 3, "end": 10, "id": 1},
                ],
                "spans": [{"start": 3, "end": 10, "token_start": 1, "token_end": 1, "label": "X"}],
            }
        ),
        [(["It", "rained."], [(1, 2, "X")])],
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
        "doccano",
        "blank.jsonl",
        lines({"text": "", "label": []}, {"text": TEXT, "label": TRIPLES[:2]}),
        RIO[:1],
        told=("1 empty texts left out: ",),
    ),
    Sample("cas-json", "layer.json", cas().replace("NamedEntity", "Actor"), NESTED, told=("1 spans without a label",)),
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
    Sample(
        "cmeee",
        "bare.jsonl",
        lines(
            {"id": 1, "text": ZH, "entities": [{"start_idx": s, "end_idx": e, "type": x} for s, e, x in ZH_SPANS]}
        ).replace('"id": 1', '"id": 1, "id": 1'),
        CHINESE[:1],
        told=("3 spans state no text (entity) and end_idx is read as in V2, behind the span",),
    ),
]
