"""Text without labels: what a text is, what is left out, and which language it is in (S11)."""

import gzip
import json

import pytest

from augmentation.steps.explanations import sentence_keys
from augmentation.steps.pool import read_pool, windowed
from modeling_knowfree.data.rows import InputError
from tests.conftest import row

GOLD = [
    row("the bear left the creek in the snow", (1, 2, "WILDLIFE"), id="g1"),
    row("the old axe is in the creek", (1, 3, "GEAR"), id="pool-1"),
]
CHINESE = [row("我们在嘉鱼", (3, 5, "LOC")), row("他说北京大学很大", (2, 6, "ORG"))]


def pool_of(path, gold=GOLD, unit="word", language="en", **held_out):
    return read_pool(path, gold=gold, held_out=held_out, unit=unit, language=language)


def test_a_line_is_a_text_and_what_is_known_is_left_out_and_counted(tmp_path):
    file = tmp_path / "pool.txt"
    file.write_text(
        "The bear sleeps in the snow. He snores.\nthe old axe is in the creek .\nthe axe\nThe  Axe.\n...\n"
        "dev text of the day\nthe test text\n",
        encoding="utf-8",
    )
    found = pool_of(file, dev=["devtextoftheday"], test=["thetesttext"])
    assert [(r["id"], " ".join(r["tokens"])) for r in found.rows] == [
        ("pool-1-2", "the bear sleeps in the snow . he snores ."),  # one text, cut and cased as the gold is
        ("pool-3", "the axe"),
    ]
    assert found.counts == {
        **{"read": 7, "empty": 1, "duplicates": 1, "in_gold": 1, "in_dev": 1, "in_test": 1, "kept": 2}
    }


def test_blank_lines_part_paragraphs_unless_the_blocks_are_long_lists(tmp_path, caplog):
    file = tmp_path / "pool.txt"
    file.write_text("我们一起\n在嘉鱼。\n\n今天下午\n去北京。\n", encoding="utf-8")
    rows = pool_of(file, CHINESE, "character", "zh").rows
    assert ["".join(r["tokens"]) for r in rows] == ["我们一起在嘉鱼。", "今天下午去北京。"]
    assert "2 blocks between blank lines, of 2.0 lines on average: read as a text a block" in caplog.text
    lines = [f"the creek at {number} in the snow\n" for number in range(40)]
    file.write_text("".join(lines[:20]) + "\n" + "".join(lines[20:]), encoding="utf-8")
    assert len(pool_of(file).rows) == 40
    assert "read as a text a line" in caplog.text


def test_a_stray_blank_line_lets_no_test_sentence_in(tmp_path):
    file = tmp_path / "pool.txt"
    file.write_text(
        "the snow\nthe axe\n\nthe bear\nthe den\nin the creek\n\nthe old creek\nin the bear\n", encoding="utf-8"
    )
    found = pool_of(file, test=["thesnow", "theaxe", "theden"])
    assert [" ".join(r["tokens"]) for r in found.rows] == ["the old creek in the bear"]
    assert (found.counts["read"], found.counts["in_test"]) == (3, 2)


@pytest.mark.parametrize(
    "name, text",
    [
        ("p.jsonl", '{"id": 7, "tokens": ["the", "creek"]}\n{"text": "the snow"}\n'),
        ("p.jsonl", '{"id": "7", "tokens": ["the", "creek"], "entities": [{"x": 1}]}\n{"text": ["the", "snow"]}\n'),
        ("p.json", '[{"id": 7, "text": "the creek"}, {"text": "the snow"}]'),
        ("p.json", '[{"id": 7, "data": {"text": "the creek"}, "annotations": []}, {"data": {"text": "the snow"}}]'),
        (
            "p.jsonl",
            '{"id": 7, "text": "the creek", "tokens": [{"text": "the"}], "spans": []}\n{"text": "the snow"}\n',
        ),
        ("p.txt", "the O\ncreek B-PLACE\n\nthe O\nsnow O\n"),
        ("p.txt", "the O\ncreek O\n\nthe O\nsnow O\n"),
        ("p.conll", "the O\ncreek B-PLACE\n\nthe O\nsnow O\n"),
    ],
)
def test_any_format_is_read_and_its_labels_are_not_looked_at(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows = pool_of(tmp_path / name).rows
    assert [r["tokens"] for r in rows] == [["the", "creek"], ["the", "snow"]]
    assert all(r["entities"] == [] for r in rows)
    assert "json" not in name or rows[0]["id"] == "7"


def test_compressed_text_is_text(tmp_path):
    with gzip.open(tmp_path / "p.txt.gz", "wt", encoding="utf-8") as file:
        file.write("the creek\nthe snow\n")
    rows = pool_of(tmp_path / "p.txt.gz").rows
    assert [(r["id"], r["tokens"]) for r in rows] == [("p-1", ["the", "creek"]), ("p-2", ["the", "snow"])]


def test_words_become_characters_where_the_gold_has_characters(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"tokens": ["我们", "在", "北京"]}\n', encoding="utf-8")
    assert pool_of(tmp_path / "p.jsonl", CHINESE, "character", "zh").rows[0]["tokens"] == list("我们在北京")


FRENCH = "le chien dort dans la neige près du vieux pont et les autres chiens le regardent de loin\n"


def test_json_of_which_no_line_is_json_is_refused_at_its_line(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"text": \n{"text" "the snow"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        pool_of(tmp_path / "p.jsonl")


def test_spaces_in_chinese_are_no_words(tmp_path):
    (tmp_path / "p.txt").write_text("转发微博 @小明 今天 开心\n哈哈 好 的 呀\n去 北京 玩 了\n", encoding="utf-8")
    rows = pool_of(tmp_path / "p.txt", CHINESE, "character", "zh").rows
    assert rows[0]["tokens"] == list("转发微博 @小明 今天 开心")


def test_a_sentence_of_a_known_text_is_known(tmp_path):
    (tmp_path / "p.txt").write_text("他在上海工作。\n好的。\n小明住在南京市。\n天气很好啊今天。\n", encoding="utf-8")
    gold = [*CHINESE, row("我去北京。他在上海工作。好的。", (2, 4, "LOC"))]
    dev = sentence_keys("小明住在南京市。小红在苏州。", "character")
    found = pool_of(tmp_path / "p.txt", gold, "character", "zh", dev=dev)
    assert ["".join(r["tokens"]) for r in found.rows] == ["好的。", "天气很好啊今天。"]


def test_a_broken_annotated_file_is_no_prose(tmp_path):
    (tmp_path / "pool.txt").write_text("the O\ncreek B-PLACE\n\nbad\nsnow O\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 4"):
        pool_of(tmp_path / "pool.txt")


def test_words_of_korean_that_never_recur_are_korean(tmp_path):
    gold = [row("서울역에서 친구를 만났다", (0, 1, "LOC"))]
    (tmp_path / "pool.txt").write_text("부산항은 비가 많이 왔다\n제주도까지 배로 갔다\n", encoding="utf-8")
    assert len(pool_of(tmp_path / "pool.txt", gold, "word", "ko").rows) == 2


@pytest.mark.parametrize(
    "text, gold, unit, language, complaint",
    [
        ("", GOLD, "word", "en", "no text in it"),
        ("\n \n", GOLD, "word", "en", "no text in it"),
        (
            "The bear left the creek in the snow.\n",
            GOLD,
            "word",
            "en",
            "no text of the pool is left: 1 read, 1 in gold",
        ),
        ("我们一起在嘉鱼\n", GOLD, "word", "en", "another language.*100% of the letters of the pool are Han"),
        ("we left the creek\n", CHINESE, "character", "zh", "another language"),
        ("わたしたちは北京にいます\n", CHINESE, "character", "zh", "another language.*Kana"),
        (FRENCH, GOLD, "word", "en", "another language.*most frequent words"),
        ('{"words": "x"}\n', GOLD, "word", "en", "line 1: .*text"),
    ],
)
def test_pools_that_cannot_be_used_are_refused(tmp_path, text, gold, unit, language, complaint):
    (tmp_path / "pool.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        pool_of(tmp_path / "pool.txt", gold, unit, language)


def test_the_test_file_as_a_pool_is_refused_with_the_count(tmp_path):
    (tmp_path / "pool.txt").write_text("the snow\nthe axe\n", encoding="utf-8")
    with pytest.raises(InputError, match="2 read, 2 in test"):
        pool_of(tmp_path / "pool.txt", test=["thesnow", "theaxe"])


def test_what_exceeds_a_window_is_cut_at_sentence_ends_with_its_spans():
    text = "我们去嘉鱼。他们去北京。"
    spans = [{"start": 3, "end": 5, "label": "LOC"}, {"start": 9, "end": 11, "label": "LOC", "weight": 0.9}]
    long = {"id": "p", "tokens": list(text), "entities": spans, "extensions": [], "parent_id": None}
    assert windowed(long, 400) == [long]
    first, second = windowed(long, 8)
    assert [(r["id"], r["parent_id"], "".join(r["tokens"])) for r in (first, second)] == [
        ("p@1", "p", "我们去嘉鱼。"),
        ("p@2", "p", "他们去北京。"),
    ]
    assert first["entities"] == spans[:1]
    assert second["entities"] == [{"start": 3, "end": 5, "label": "LOC", "weight": 0.9}]
    assert json.dumps(long, ensure_ascii=False).count("北京") == 0  # the row itself is as it was


def test_a_table_of_texts_is_a_pool(tmp_path):
    file = tmp_path / "pool.csv"
    file.write_text('id,text\nx,"the bear, deep\nin the den"\n,the snow is old\n', encoding="utf-8")
    rows = pool_of(file).rows
    assert [(r["id"], " ".join(r["tokens"])) for r in rows] == [
        ("x", "the bear , deep in the den"),
        ("pool-4", "the snow is old"),
    ]
