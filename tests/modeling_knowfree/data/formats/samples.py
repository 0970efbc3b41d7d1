"""A small file of each format, invented here, and how it reads: what the tests of the formats share."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Spans = list[tuple[int, int, str]]
Expected = list[tuple[list[str], Spans]]


@dataclass
class Sample:
    """`content` of a file called `name`; `reads` as tokens and spans; `told` are words that the reader must say."""

    format: str
    name: str
    content: str
    reads: Expected
    told: tuple[str, ...] = ()
    beside: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        for name, content in {self.name: self.content, **self.beside}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode())
        return folder / self.name.partition("/")[0] if "/" in self.name else folder / self.name


def lines(*entries: Any) -> str:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def array(*entries: Any) -> str:
    return json.dumps(entries, ensure_ascii=False, indent=1)


RIO: Expected = [
    (["Mina", "Bo", "left", "🚲", "Port", "Rio", "."], [(0, 2, "PER"), (4, 6, "LOC")]),
    (["It", "rained", "."], []),
]
TEXT = "Mina Bo left 🚲 Port Rio."
RAIN = "It rained."
NESTED: Expected = [
    (["Mina", "Bo", "left", "🚲", "Port", "Rio", "."], [(0, 2, "PER"), (4, 6, "LOC"), (5, 6, "NAME")]),
    (["It", "rained", "."], []),
]
CHINESE: Expected = [(list("米娜离开🚲里约港。"), [(0, 2, "人"), (5, 8, "地"), (5, 7, "城")]), (list("下雨了。"), [])]
ZH, ZH_RAIN = "米娜离开🚲里约港。", "下雨了。"


def columns(gap: str, tags: str, *, end: str = "\n") -> str:
    sentences = [tokens for tokens, _ in RIO]
    given = iter(tags.split())
    return end.join(
        [
            *(
                f"{token}{gap}{next(given)}{end * (at + 1 == len(tokens))}"
                for tokens in sentences
                for at, token in enumerate(tokens)
            )
        ]
    )


def span(start: int, end: int, label: str, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, **more}


TRIPLES = [[0, 7, "PER"], [15, 23, "LOC"], [20, 23, "NAME"]]
ZH_SPANS = [(0, 2, "人"), (5, 8, "地"), (5, 7, "城")]


def label_studio(**changed: Any) -> list[dict[str, Any]]:
    def result(start: int, end: int, label: str) -> dict[str, Any]:
        return {"type": "labels", "value": {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}}

    results = [result(*triple) for triple in TRIPLES]
    choice = {"type": "choices", "value": {"choices": ["news"]}}
    first = {"completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": [*results, choice]}
    cancelled = {"completed_by": 2, "was_cancelled": True, "result": []}
    return [
        {"id": 1, "data": {"text": TEXT}, "annotations": [{**first, **changed}, cancelled], "predictions": []},
        {
            "id": 2,
            "data": {"text": RAIN},
            "annotations": [{**first, "result": []}],
            "predictions": [{"result": results}],
        },
        {"id": 3, "data": {"text": "never opened"}, "annotations": [], "predictions": []},
    ]


def cas() -> str:
    text = f"{TEXT}\n{RAIN}"
    wide = [len(text[:at].encode("utf-16-le")) // 2 for at in range(len(text) + 1)]
    structures: list[dict[str, Any]] = [{"%ID": 1, "%TYPE": "uima.cas.Sofa", "sofaString": text}]

    def add(kind: str, start: int, end: int, **more: Any) -> None:
        structures.append({"%TYPE": f"x.type.{kind}", "begin": wide[start], "end": wide[end], **more})

    for start, end, label in TRIPLES:
        add("NamedEntity", start, end, value=label)
    add("NamedEntity", 25, 27)
    at = 0
    for tokens, _ in RIO:
        for token in tokens:
            at = text.index(token, at)
            add("Token", at, at + len(token))
            at += len(token)
    add("Sentence", 25, len(text))
    add("Sentence", 0, 24)
    return json.dumps({"%TYPES": {}, "%FEATURE_STRUCTURES": structures}, ensure_ascii=False, indent=1)


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
    Sample("conll", "train.txt", columns(" ", "B-PER I-PER O O B-LOC I-LOC O O O O"), RIO),
    Sample("conll", "bilou.txt", columns("\t", "B-PER L-PER O O B-LOC L-LOC O O O O"), RIO),
    Sample("conll", "suffix.txt", columns("\t", "PER_B PER_I - - LOC_B LOC_I - - - -"), RIO),
    Sample(
        "conll",
        "io.txt",
        columns(" ", "S-BAHN S-BAHN O O ORT ORT O O O O"),
        [(RIO[0][0], [(0, 2, "S-BAHN"), (4, 6, "ORT")]), RIO[1]],
        told=("touching entities",),
    ),
    Sample(
        "conll",
        "german.tsv",
        "#\thttp://example.invalid\n1\tMina\tB-PER\tO\n2\tBo\tI-PER\tO\n3\tin\tO\tO\n4\tPort\tB-LOC\tO\n5\tRio\tI-LOC\tB-NAME\n\n"
        "1\t#\tO\tO\n2\t1998\tO\tO\n",
        [(["Mina", "Bo", "in", "Port", "Rio"], [(0, 2, "PER"), (3, 5, "LOC"), (4, 5, "NAME")]), (["#", "1998"], [])],
        told=("remarks",),
    ),
    Sample(
        "conll-bioes",
        "single.txt",
        "Mina S-PER\nslept O\n",
        [(["Mina", "slept"], [(0, 1, "PER")])],
        options={"format": "conll-bioes"},
    ),
    Sample(
        "conllu",
        "ud.conllu",
        "# sent_id = s1\n1-2\tzum\t_\t_\t_\t_\t_\t_\t_\t_\n1\tzu\tzu\tADP\t_\t_\t0\troot\t_\tNER=O\n"
        "2\tdem\tder\tDET\t_\t_\t1\tdet\t_\tNER=O\n3\tRio\tRio\tPROPN\t_\t_\t1\tobl\t_\tSpaceAfter=No|NER=B-LOC\n"
        "4\t🚲\t🚲\tSYM\t_\t_\t1\tdep\t_\tNER=O\n",
        [(["zu", "dem", "Rio", "🚲"], [(2, 3, "LOC")])],
    ),
    Sample(
        "pos",
        "pku.txt",
        "20260101-01-001-001/m  [里约/ns  港/n]ns  1/2/m  🚲/w  。/w\n20260101-01-001-002/m  下雨/v  了/u\n",
        [
            (list("里约港1/2🚲。"), [(0, 2, "ns"), (2, 3, "n"), (3, 6, "m"), (6, 7, "w"), (7, 8, "w")]),
            (list("下雨了"), [(0, 2, "v"), (2, 3, "u")]),
        ],
        told=("1 compounds",),
    ),
    Sample(
        "slashed-bio",
        "slashed.txt",
        "Mina/B-PER Bo/I-PER left/O 🚲/O and/or/O Port/B-LOC Rio/I-LOC ./O\nIt/O rained/O ./O\n",
        [(["Mina", "Bo", "left", "🚲", "and/or", "Port", "Rio", "."], [(0, 2, "PER"), (5, 7, "LOC")]), RIO[1]],
    ),
    Sample(
        "slashed-bio",
        "msra.txt",
        "米娜/nr 离开/o 🚲/o 里约港/ns 上海/ns 。/o\n下雨/o 了/o 。/o\n",
        [(list("米娜离开🚲里约港上海。"), [(0, 2, "nr"), (5, 8, "ns"), (8, 10, "ns")]), (list("下雨了。"), [])],
    ),
    Sample(
        "slashed-bio",
        "characters.txt",
        "米/PER 娜/PER 离/O 开/O 🚲/O 里/LOC 约/LOC 。/O\n下/O 雨/O 了/O 。/O\n",
        [(list("米娜离开🚲里约。"), [(0, 2, "PER"), (5, 7, "LOC")]), (list("下雨了。"), [])],
    ),
    Sample(
        "slashed-bio",
        "stanford.txt",
        "Mina/PERSON Bo/PERSON left/O 🚲/O Port/LOCATION Rio/LOCATION ./O\nIt/O rained/O ./O\n",
        [(RIO[0][0], [(0, 2, "PERSON"), (4, 6, "LOCATION")]), RIO[1]],
    ),
    Sample(
        "slashed-bio",
        "words.txt",
        "米娜/B-PER 离开/O 里约/B-LOC 港/I-LOC 。/O\n下雨/O 了/O 。/O\n",
        [(list("米娜离开里约港。"), [(0, 2, "PER"), (4, 7, "LOC")]), (list("下雨了。"), [])],
    ),
    Sample(
        "line-tags",
        "pairs.txt",
        "Mina Bo left 🚲 Port Rio .\tB-PER I-PER O O B-LOC I-LOC O\nIt rained .\tO O O\n",
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
        "segmentation",
        "pku_training.utf8",
        "米娜  离开  里约  。\n下雨  了  。\n",
        [
            (list("米娜离开里约。"), [(0, 2, "WORD"), (2, 4, "WORD"), (4, 6, "WORD"), (6, 7, "WORD")]),
            (list("下雨了。"), [(0, 2, "WORD"), (2, 3, "WORD"), (3, 4, "WORD")]),
        ],
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
    Sample(
        "brat",
        "corpus/doc.ann",
        "T1\tPER 0 7\tMina Bo\nT2\tLOC 15 23\tPort Rio\nT3\tNAME 20 23\tRio\nT4\tX 0 4;8 12\tMina left\nR1\tat Arg1:T1 Arg2:T2\n",
        NESTED,
        beside={"corpus/doc.txt": f"{TEXT}\n\n{RAIN}\n"},
        told=("1 discontinuous spans left out: T4", "1 relations"),
    ),
    Sample(
        "webanno",
        "doc.tsv",
        "#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.NamedEntity|identifier|value\n\n\n#Text=x\n"
        "1-1\t0-4\tMina\t*[1]\tPER[1]\t\n1-2\t5-7\tBo\t*[1]\tPER[1]\t\n1-3\t8-12\tleft\t_\t_\t\n1-4\t13-15\t🚲\t_\t_\t\n"
        "1-5\t16-20\tPort\t*[2]\tLOC[2]\t\n1-6\t21-24\tRio\t*[2]|*\tLOC[2]|NA\\_ME\t\n1-7\t24-25\t\\]\t_\t_\t\n\n"
        "#Text=y\n2-1\t26-28\tIt\t*\t*\t\n2-2\t29-35\trained\t_\t_\t\n",
        [
            (["Mina", "Bo", "left", "🚲", "Port", "Rio", "]"], [(0, 2, "PER"), (4, 6, "LOC"), (5, 6, "NA_ME")]),
            (["It", "rained"], []),
        ],
        told=("1 spans without a label",),
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
    Sample("cmeee-txt", "v1.txt", f"{ZH}|||0    1    人|||5    7    地|||5 6 城|||\n{ZH_RAIN}|||\n", CHINESE),
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
        "csv",
        "kaggle.csv",
        "Sentence #,Word,POS,Tag\nSentence: 1,Mina,NNP,B-PER\n,Bo,NNP,I-PER\n,left,VBD,O\n,🚲,NN,O\n,Port,NNP,B-LOC\n,Rio,NNP,I-LOC\n,.,.,O\n"
        'Sentence: 2,It,PRP,O\n,rained,VBD,O\n,"""",",",O\n',
        [RIO[0], (["It", "rained", '"'], [])],
        told=("POS",),
    ),
    Sample("csv", "sheet.tsv", "token\tlabel\n" + columns("\t", "B-PER I-PER O O B-LOC I-LOC O O O O"), RIO),
    Sample(
        "conll",
        "small.txt",
        columns(" ", "b-per i-per o o b-loc i-loc o o o o").replace("PER", "per"),
        [(RIO[0][0], [(0, 2, "per"), (4, 6, "loc")]), RIO[1]],
    ),
    Sample(
        "conll",
        "whole.txt",
        columns(" ", "S-BAHN S-BAHN O O E-MAIL O O O O O"),
        [(RIO[0][0], [(0, 2, "S-BAHN"), (4, 5, "E-MAIL")]), RIO[1]],
        told=("touching entities",),
    ),
    Sample(
        "csv", "spans.csv", "text,spans\n" + TEXT + ',"[[0, 7, ""PER""], [15, 23, ""LOC""]]"\n' + RAIN + ",[]\n", RIO
    ),
    Sample(
        "csv",
        "sentences.csv",
        "Sentence #,Sentence,POS,Tag\n"
        "Sentence: 1,Mina Bo left 🚲 Port Rio .,\"['NNP']\",\"['B-PER', 'I-PER', 'O', 'O', 'B-LOC', 'I-LOC', 'O']\"\n"
        "Sentence: 2,It rained .,\"['PRP']\",\"['O', 'O', 'O']\"\n",
        RIO,
    ),
    # other shapes of the same kinds
    Sample(
        "conll2012",
        "onto.gold_conll",
        "#begin document (a/b); part 000\n"
        + "".join(
            f"a/b 0 {at} {word} NN {parse} - - - who {tag} (0)\n"
            for at, (word, parse, tag) in enumerate(
                zip(
                    RIO[0][0],
                    ["(TOP(S(NP*", *["*"] * 6],
                    ["(PER*", "*)", "*", "*", "(LOC*", "(NAME))", "*"],
                    strict=True,
                )
            )
        )
        + "\na/b 0 0 It PRP (TOP(S(NP*) - - - who * -\na/b 0 1 rained VBD (VP*) - - - who * -\n"
        + "a/b 0 2 . . *)) - - - who * -\n\n#end document\n",
        NESTED,
    ),
    Sample(
        "conll2012",
        "bare.txt",
        "a/b 0 0 Rio NNP (TOP(NP* - - - - (LOC) -\na/b 0 1 Port NNP *)) - - - - * -\n",
        [(["Rio", "Port"], [(0, 1, "LOC")])],
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
        "brat",
        "mixed/a.ann",
        "T1\tPER 0 7\tMina Bo\nT2\tLOC 15 23\tPort Rio\n",
        RIO,
        beside={"mixed/a.txt": TEXT + "\r\n" + RAIN + "\n", "mixed/b.txt": RAIN},
        told=("1 documents without an .ann left out: b.txt",),
    ),
    Sample(
        "brat",
        "ends/a.ann",
        "T1\tPER 11 18\tMina Bo\nT2\tLOC 26 34\tPort Rio\n",
        [RIO[1], RIO[0]],
        beside={"ends/a.txt": RAIN + "\r\n" + TEXT + "\r\n"},
        told=("and each line end as one here",),
    ),
    Sample(
        "brat",
        "mark/a.ann",
        "T1\tPER 1 8\tMina Bo\nT2\tLOC 16 24\tPort Rio\n",
        RIO,
        beside={"mark/a.txt": "\ufeff" + TEXT + "\n" + RAIN + "\n"},
        told=("and the byte order mark here",),
    ),
    Sample(
        "spacy-v2",
        "data.py",
        f'DATA = [\n    ("{TEXT}", {{"entities": [(0, 7, "PER"), (15, 23, "LOC")]}}),\n'
        f"    ('{RAIN}', {{'entities': []}}),\n]\n",
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
        "clinic.txt",
        lines(
            {
                "originalText": "发热三天。",
                "entities": [{"label_type": "症状", "start_pos": 0, "end_pos": 2, "overlap": 0}],
            }
        ),
        [(list("发热三天。"), [(0, 2, "症状")])],
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
        "csv",
        "a_span_a_line.csv",
        f"id,text,entity,start,end,label\n1,{TEXT},Mina Bo,0.0,7.0,PER\n2,{RAIN},,,,\n1,{TEXT},Port Rio,15.0,23.0,LOC\n",
        RIO,
    ),
    Sample(
        "csv",
        "numpy.csv",
        "tokens,ner_tags\n\"['Mina' 'Bo' 'left' '🚲' 'Port'\n 'Rio' '.']\",\"['B-PER' 'I-PER' 'O' 'O' 'B-LOC' 'I-LOC' 'O']\"\n"
        "\"['It' 'rained' '.']\",\"['O' 'O' 'O']\"\n",
        RIO,
    ),
    Sample(
        "csv",
        "documents.csv",
        "split,doc_id,sent_id,word,tag\ntrain,a,1,Rio,B-L\ntrain,a,1,x,O\ntrain,b,1,Rio,B-L\ntest,b,1,Port,B-L\n",
        [(["Rio", "x"], [(0, 1, "L")]), (["Rio"], [(0, 1, "L")]), (["Port"], [(0, 1, "L")])],
        told=("2 ids were repeated",),
    ),
    Sample(
        "csv",
        "numbers.csv",
        "id,word,tag\n1,Rio,B-L\n2,x,O\n3,y,O\n1,Port,B-L\n2,z,O\n",
        [(["Rio", "x", "y"], [(0, 1, "L")]), (["Port", "z"], [(0, 1, "L")])],
    ),
    Sample(
        "conll",
        "sentences.txt",
        "1\t1\tRio\tB-L\n1\t2\tx\tO\n\n2\t1\tPort\tB-L\n2\t2\tz\tO\n",
        [(["Rio", "x"], [(0, 1, "L")]), (["Port", "z"], [(0, 1, "L")])],
        options={"tag_column": 4},
    ),
    Sample(
        "conllu",
        "entity.conllu",
        "1\tRio\tRio\tPROPN\t_\t_\t0\troot\t_\tEntity=(1-place)\n\n",
        [(["Rio"], [(0, 1, "PROPN")])],
        told=("1 words have no NER= in MISC: the labels are their parts of speech: MISC has Entity",),
    ),
]
