"""Texts, rows and files with which the tests of the Space work."""

ENGLISH = "the old bear crossed harrow creek at 5 am ."
NESTED = "今天下午张三去北京大学医院，李四在东北大学地铁站。"
# Spans by what they cover; each is found once in its sentence.
NESTED_ROWS = [
    (NESTED, "张三 PER", "北京 LOC", "北京大学 ORG", "北京大学医院 ORG", "李四 PER", "东北 LOC", "东北大学 ORG",
     "东北大学地铁站 LOC"),
    ("今天下午张三去北京大学医院", "张三 PER", "北京 LOC", "北京大学 ORG", "北京大学医院 ORG"),
    ("李四在东北大学地铁站", "李四 PER", "东北 LOC", "东北大学 ORG", "东北大学地铁站 LOC"),
    ("我们一起在嘉鱼", "嘉鱼 LOC"),
    ("张三在嘉鱼见李四。", "张三 PER", "嘉鱼 LOC", "李四 PER"),
    ("我们去北京的时候了！",  "北京 LOC"),
    ("李四去地铁站", "李四 PER", "地铁站 LOC"),
    ("东北大学在东北，北京大学在北京。", "东北大学 ORG", "北京大学 ORG"),
]  # fmt: skip
EXTENSIONS = {"PER": "ENT:person", "ORG": "ENT:organisation", "LOC": "ENT:<b>place</b>"}

UPLOADS = [
    ("a.txt", b"\xff\xfe\x00", "not UTF-8 text (byte 0)"),
    ("a.txt", b"", "no text"),
    ("a.txt", b" \n\r\n\t", "no text"),
    ("a.txt", b"x\n" * 1001, "1,001 texts"),
    ("a.txt", b"fine\n" + b"x" * 5001, "Line 2: This text has 5,001 characters"),
    ("a.txt", b"x" * (2 * 1024 * 1024 + 1), "2,097,153 bytes"),
    ("a.pdf", b"%PDF", "a.pdf, line 1: plain text without any annotation"),
    ("a", b"x", "a, line 1: plain text without any annotation"),
    ("a.zip", b"PK\x03\x04\0\0", "a.zip: an Excel workbook or a .zip"),
    ("a.jsonl", b'{"sentence": "no tokens"}', "key 'tokens' is missing"),
    ("a.jsonl", b'{"id": "\\ud800", "text": "snow"}', "Line 1, id: Character 0 is half"),
    ("a.conll", b"axe B-GEAR\nin\n\n", "a.conll"),
    ("a.conll", b"axe B-GEAR\n\n" * 1001, "more than 1,000 texts"),
    ("a.txt", b"axe B-GEAR\nin O\nthe O\nsnow O\n\n" * 9, "looks like conll, annotated text: choose"),
    ("a.jsonl", b'{"text": "fine"}\n{"text": ', "Line 2 is not JSON"),
    ("a.jsonl", b"[" * 100_000, "Line 1 is not JSON"),
    ("a.jsonl", b'"text"', "Line 1 holds neither"),
    ("a.jsonl", b'{"text": 3}', "Line 1 holds neither"),
    ("a.jsonl", b'{"tokens": ["a", 1]}', "Line 1 holds neither"),
    ("a.jsonl", b'{"tokens": "abc"}', "Line 1 holds neither"),
    ("a.jsonl", b'{"text": "a"}\n{"tokens": ["a"]}', "Line 2 has no 'text'"),
    ("a.jsonl", b'{"tokens": ["a"]}\n\n{"text": "a"}', "Line 3 has no 'tokens'"),
    ("a.jsonl", b'{"text": "a\\ud800"}', "Line 1: Character 1 is half of a surrogate pair (U+D800)"),
    ("a.jsonl", b'{"tokens": ["snow", ""]}', "Line 1: token 1 is empty"),
    ("a.txt", b"h\0e\0l\0l\0o\0", "zero bytes, as UTF-16 has"),
    ("a.json", b'[{"text": "fine"}, 3]', "Text 2 holds neither"),
    (
        "a.json",
        b'[{"text": "a", "meta": 1}, {"text": "b", "meta": 1}]',
        ", the first: a.json, row 1: key 'entities' is missing",
    ),
]


def as_rows(spans: list[dict]) -> list[tuple]:
    return [(span["start"], span["end"], span["entity_group"]) for span in spans]
