"""Mutated answers for the parsers: what servers, models and networks do to JSON, and worse."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from augmentation.llm.tasks import TASKS, Task

ENTITIES = [
    {"entity": "嘉鱼", "type": "地名"},
    {"entity": 'the "old" mill', "type": "Place"},
    {"entity": "a\\b", "type": "x"},
]
SEEDS: dict[Task, str] = {
    "entities": json.dumps({"items": ENTITIES}, ensure_ascii=False),
    "targets": "```json\n" + json.dumps(ENTITIES) + "\n```\nDone.",
    "segmentation": json.dumps(["我们", "一起", "在", "嘉鱼", "。"], ensure_ascii=False),
    "pos": "<think>[1] words? {no}</think>" + json.dumps([{"word": w, "pos": "NOUN"} for w in "abcdefgh"]),
    "merge": json.dumps({"groups": [{"standard": "Film", "synonyms": ["Film", "Movie"]}]}),
    "merge_standard": json.dumps({"Film": ["Film", "Movie"], "Place": ["Place"]}),
    "explanation": "1. **嘉鱼** is a county ( pop. 3.5 ) .\n- It lies on the river .",
    "guideline": 'PLACE: the name without "near"; {towns} [rivers].',
    "rewrite": 'Yesterday we went to 嘉鱼, past the "old" mill.',
    "terms": json.dumps({"items": ["嘉鱼", "武汉", 'the "old" mill', "a\\b"]}, ensure_ascii=False),
    "attributes": "```json\n" + json.dumps([{"attribute": "mood", "values": ["calm", "angry"]}]) + "\n```",
    "compose": "<think>shorter?</think>The mill of 嘉鱼 burnt down [1].",
    "verify": json.dumps(ENTITIES[:2], ensure_ascii=False),
    "verify_targets": json.dumps({"items": [{"number": 1, "right": True}, {"number": 2, "right": False}]}),
}
VALUES = [
    "null",
    "true",
    "-0",
    "1e999",
    "9" * 5000,
    "NaN",
    "{}",
    "[]",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    "[[[[1]]]]",
    "3.7",
]
INSERTS = [
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\u2028",
    "\\",
    '"',
    "'",
    "```",
    "</think>",
    "<think>",
    "{{",
    "]]",
    "\r",
]


def mutants(count: int, seed: int) -> Iterator[tuple[Task, str, bool]]:
    """(task, mutated completion, whether it was cut)."""
    draw = random.Random(seed)
    for _ in range(count):
        task = draw.choice(TASKS)
        text = SEEDS[draw.choice(TASKS)] if draw.random() < 0.1 else SEEDS[task]
        for _ in range(draw.randint(1, 4)):
            text = _mutate(text, draw)
        yield task, text, draw.random() < 0.2


def _mutate(text: str, draw: random.Random) -> str:
    kind = draw.randrange(10)
    place = draw.randrange(len(text) + 1)
    if kind == 0:  # bytes flipped
        data = bytearray(text.encode("utf-8", "surrogatepass"))
        for _ in range(draw.randint(1, 6)):
            if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return data.decode("utf-8", draw.choice(["replace", "surrogateescape", "ignore"]))
    if kind == 1:  # brackets and quotes dropped
        mark = draw.choice('[]{}",:')
        return text.replace(mark, "", draw.randint(1, 3))
    if kind == 2:  # types changed
        string = draw.choice(['"嘉鱼"', '"Film"', '"NOUN"', '"a"', '"items"', '"Place"', '"在"'])
        return text.replace(string, draw.choice(VALUES), draw.randint(1, 3))
    if kind == 3:  # deep nesting
        depth = draw.choice([5, 40, 2000, 50_000]) if draw.random() < 0.2 else 5
        opening = draw.choice(["[", '{"a":', "[{", '{"items":['])
        return text[:place] + opening * depth + text[place:]
    if kind == 4:  # huge numbers and odd values
        return text[:place] + draw.choice(VALUES) + text[place:]
    if kind == 5:  # NUL, lone surrogates, fences, quotes
        return text[:place] + draw.choice(INSERTS) * draw.randint(1, 3) + text[place:]
    if kind == 6:  # cut
        return text[:place]
    if kind == 7:  # doubled
        return text + draw.choice(["", "\n", ", ", " and "]) + text[place:]
    if kind == 8:  # keys renamed
        return text.replace(
            draw.choice(["entity", "type", "word", "pos", "standard", "synonyms", "attribute", "values"]),
            draw.choice(["", "Entity", "x"]),
        )
    return "".join(draw.sample(text, len(text))) if draw.random() < 0.1 else text[place:] + text[:place]
