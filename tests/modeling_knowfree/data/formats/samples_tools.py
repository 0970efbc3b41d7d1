"""A small JSON file of each tool's and corpus's own format, invented here, and how it reads."""

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
    tokens_of,
)

SAMPLES = [
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
        "token-json",
        "spacy.json",
        array(
            {
                "id": 0,
                "paragraphs": [
                    {
                        "raw": f"{TEXT} {RAIN}",
                        "sentences": [
                            {"tokens": tokens_of(RIO[0][0], "B-PER L-PER O O B-LOC L-LOC O", "orth"), "brackets": []},
                            {"tokens": tokens_of(RIO[1][0], "O O O", "orth"), "brackets": []},
                            {"tokens": tokens_of(["Port", "Rio"], "- -", "orth"), "brackets": []},
                        ],
                        "cats": [],
                    }
                ],
            }
        ),
        RIO,
        told=("1 sentences with tokens that nobody tagged",),
    ),
    Sample(
        "token-json",
        "corenlp.json",
        json.dumps(
            {
                "sentences": [
                    {
                        "index": 0,
                        "tokens": tokens_of(["Mina", "Rio", "it", "("], "PER PER O O", "originalText", word="-LRB-"),
                        "entitymentions": [
                            {"tokenBegin": 0, "tokenEnd": 1, "text": "Mina", "ner": "PER"},
                            {"tokenBegin": 1, "tokenEnd": 2, "text": "Rio", "ner": "PER"},
                            {"tokenBegin": 2, "tokenEnd": 3, "text": "it", "ner": "PER"},
                        ],
                    }
                ]
            },
            indent=1,
        ),
        [(["Mina", "Rio", "it", "("], [(0, 1, "PER"), (1, 2, "PER")])],
        told=("1 mentions whose tokens have another tag (pronouns) left out: 'it'",),
    ),
    Sample(
        "token-json",
        "stanza.json",
        json.dumps(
            [
                [
                    {"id": 1, "text": "Mina", "ner": "S-PER"},
                    {"id": [2, 3], "text": "du", "ner": "O"},
                    {"id": 2, "text": "de"},
                    {"id": 3, "text": "le"},
                    {"id": 4, "text": "Port", "ner": "B-LOC"},
                    {"id": 5, "text": "Rio", "ner": "E-LOC"},
                ]
            ],
            indent=1,
        ),
        [(["Mina", "du", "Port", "Rio"], [(0, 1, "PER"), (2, 4, "LOC")])],
    ),
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
        "doccano",
        "blank.jsonl",
        lines({"text": "", "label": []}, {"text": TEXT, "label": TRIPLES[:2]}),
        RIO[:1],
        told=("1 empty texts left out: ",),
    ),
    Sample("cas-json", "layer.json", cas().replace("NamedEntity", "Actor"), NESTED, told=("1 spans without a label",)),
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
