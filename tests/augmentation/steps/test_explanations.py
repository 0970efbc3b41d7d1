"""Explanations become sentences: markup off, sentences whole, tokens as in the source, repeats off."""

import pytest

from augmentation.steps.explanations import (
    FreeIds,
    Sentences,
    TokenStyle,
    leak_key,
    plain_paragraphs,
    sentence_key,
    split_sentences,
)


def rows_of(*texts):
    return [{"tokens": text.split()} for text in texts]


def test_markdown_and_list_marks_go_and_text_stays():
    text = """# Explanation

**harrow creek** is the *start* of the walk; see [the map](http://x.org/a "A map").
- first item
* second `item`
1. third, from 1986
2) fourth
> quoted
---
```python
print("code")
```
<br>5 * 3 * 2 is 30, snake_case_name stays, and **a b** too
3. 5 km further
一、第一点。
（2）第二点。
① 第三点。
1.张三是教师。
１．「北京」是首都。
2）李四。
3．**王五**：学生。
3.5元
5、6月份是旅游旺季。
三、四人で
2、第二。
| Name | Type |
|---|---|
| Alice | a person |
2*3*4 and 2**3 and **1*2**
"""
    assert plain_paragraphs(text) == [
        "harrow creek is the start of the walk; see the map.",
        "first item",
        "second item",
        "third, from 1986",
        "fourth",
        "quoted",
        'print("code")',
        "5 * 3 * 2 is 30, snake_case_name stays, and a b too",
        "3. 5 km further",
        "第一点。",
        "第二点。",
        "第三点。",
        "张三是教师。",
        "「北京」是首都。",
        "李四。",
        "王五：学生。",
        "3.5元",
        "5、6月份是旅游旺季。",
        "三、四人で",
        "第二。",
        "2*3*4 and 2**3 and **1*2**",
    ]


def test_control_characters_become_spaces():
    assert plain_paragraphs("a\x00b\tc\x07d") == ["a b c d"]


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("en", "Dr. Smith paid $3.50 in the U.S. last Jan. 5th. He left.", 2),
        ("en", 'He said "Stop. Now." and left. I stayed.', 2),
        ("en", "the path leaves the forest road . at 5 am they set out .", 2),
        ("en", "See e.g. fig. 3 for version 2.5.1 of it. Done!", 2),
        ("en", 'The song "♬ La la" is sung. He left.', 2),
        ("en", "Is it true !? I think so . He left !?", 3),
        ("zh", "价格是3.5元。他说：“好的。我来！”然后走了。真的吗？！是的……好吧。", 4),
        ("zh", "“走吧。”他说。（见图1。）他走了。", 2),
        ("zh", "引号“没有关。第二句。", 2),
        ("zh", '他说:"好！"走了。第二句。', 2),
        ("zh", '"走吧。"他说。他又说："去！去哪？"', 2),
        ("zh", '屏幕是6"的。很好。', 2),
        ("zh", "没有句号", 1),
        ("ja", "彼は「行く。」と言った。価格は3.5円です。そうですか？", 3),
        ("ja", "価格は３．５円です．ｗｗｗ．ａｂｃ．ｊｐを見る｡そうですか？", 3),
        ("ko", '그는 "안녕. 잘 가."라고 말했다. 끝.', 2),
        ("ko", "서울은 수도이다. 인구는 9.4백만 명이다. 정말? 네!", 4),
    ],
)
def test_sentences(language, text, sentences):
    found = split_sentences(text, language)
    assert len(found) == sentences
    assert "".join("".join(found).split()) == "".join(text.split())


def test_style_of_lower_case_words_with_separate_marks():
    assert not TokenStyle.of(rows_of("서울 에서 5 명 이 만났다 ."), "word").lowercase  # letters that know no capitals
    style = TokenStyle.of(rows_of("left the creek , at 5 am ."), "word")
    assert style.tokens("The Creek, 3 km on: Don't go!") == [
        *("the", "creek", ",", "3", "km", "on", ":"),
        *("don", "'", "t", "go", "!"),
    ]


def test_style_keeps_capitals_inner_marks_and_clitics_where_the_source_does():
    style = TokenStyle.of(rows_of("He did n't see O'Brien 's mid-June show , 3.5 stars ."), "word")
    assert style.tokens("Don't miss O'Hara's well-known 4.5 stars.") == [
        *("Do", "n't", "miss", "O'Hara", "'s", "well-known", "4.5", "stars", "."),
    ]


@pytest.mark.parametrize("mark", ["'", "’"])
def test_apostrophes_of_either_kind_are_cut_and_written_as_the_source_has_them(mark):
    said = f"It{mark}s O{mark}Brien{mark}s house and he didn{mark}t go."
    straight = TokenStyle.of(rows_of("it 's o'brien 's and he did n't"), "word").tokens(said)
    curly = TokenStyle.of(rows_of("it ’s o’brien ’s and he did n’t"), "word").tokens(said)
    assert straight == ["it", "'s", "o'brien", "'s", "house", "and", "he", "did", "n't", "go", "."]
    assert curly == [token.replace("'", mark) for token in straight]


def test_style_of_marks_on_words():
    style = TokenStyle.of(rows_of("Left the creek, at 5 am. We went on, and on."), "word")
    assert style.tokens("So, it ends. Here.") == ["So,", "it", "ends.", "Here."]


def test_characters():
    assert TokenStyle.of([{"tokens": ["我"]}], "character").tokens("去 NBA。") == ["去", " ", "N", "B", "A", "。"]


def test_what_goes_is_counted_and_ids_count_every_sentence():
    sentences = Sentences(
        "en",
        TokenStyle.of(rows_of("the lake is cold ."), "word"),
        source=frozenset([sentence_key("the lake is cold .")]),
        held_out=frozenset([sentence_key("we saw a bear .")]),
    )
    text = "The lake is cold. A new one. We saw a bear. A new one. ... Another one. And a cut"
    rows = sentences.rows("r1", text, cut=True)
    assert [(row["id"], " ".join(row["tokens"])) for row in rows] == [
        ("r1#2", "a new one ."),
        ("r1#6", "another one ."),
    ]
    assert rows[0]["entities"] == [] and rows[0]["synthetic"] is True and rows[0]["parent_id"] == "r1"
    assert dict(sentences.counts) == {
        "explanations": 1,
        "sentences": 7,
        "cut": 1,
        "equal_to_source": 1,
        "kept": 2,
        "in_dev_or_test": 1,
        "duplicate": 1,
        "empty": 1,
    }
    assert sentences.rows("r2", "Another one.") == []  # a repeat from another row


def test_ids_are_free_beside_those_of_other_rows():
    sentences = Sentences("en", TokenStyle("word"), frozenset(), frozenset(), FreeIds({"1", "1#1", "1#1-2"}))
    rows = sentences.rows("1", "A bear left. It snowed.") + sentences.rows("1#1", "Deer ate.")
    assert [row["id"] for row in rows] == ["1#1-3", "1#2", "1#1#1"]
    assert [row["parent_id"] for row in rows] == ["1", "1", "1#1"]


def test_sentence_key_ignores_case_width_space_and_the_final_mark():
    assert (
        sentence_key("The Lake is cold .") == sentence_key("the  lake is cold") == sentence_key("ｔｈｅ lake is cold。")
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("what 's the best movie by o'brien ?", "What’s the best movie by O’Brien?"),
        ('he said " we love Rome " again .', "He said “we love Rome” again."),
        ("Tom Hanks is in it - he is great .", "Tom Hanks is in it – he is great."),
        ("他说：“我爱北京天安门。”", "他说：「我爱北京天安门。」"),
        ("他说：“我爱北京天安门。”", '他说:"我爱北京天安门。"'),
    ],
)
def test_a_sentence_in_other_quotes_or_dashes_is_the_same_sentence(one, other):
    assert leak_key(one) == leak_key(other)


def test_long_marks_and_apostrophes_inside_words_stay_what_they_are():
    assert leak_key("ｺｰﾋｰを飲む") == leak_key("コーヒーを飲む")
    assert leak_key("we're here") != leak_key("were here")


def test_paragraphs_without_an_end_are_left_out_and_counted():
    sentences = Sentences("en", TokenStyle("word"), frozenset(), frozenset())
    [row] = sentences.rows("r", "A bear left .\n" + "snow " * 5000)
    assert row["tokens"][:2] == ["A", "bear"]
    assert sentences.counts == {"explanations": 1, "paragraphs_too_long": 1, "sentences": 1, "kept": 1}
