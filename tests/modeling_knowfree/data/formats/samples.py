"""What the small files of `samples_json` and `samples_text` are made of: a sample, and the sentences that most of them hold."""

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


def tokens_of(words: list[str], tags: str, key: str, **more: str) -> list[dict]:
    """A sentence's tokens as objects: the word under `key`, its tag under `ner`, and more of each."""
    return [{**more, key: word, "ner": tag} for word, tag in zip(words, tags.split(), strict=True)]


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
