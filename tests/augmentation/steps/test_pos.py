"""Tag names of four languages become universal tags."""

import pytest

from augmentation.steps.pos import UPOS, _aliases, universal_tag


@pytest.mark.parametrize(
    ("tag", "language", "expected"),
    [
        ("NOUN", "en", "NOUN"),
        (" propn ", "zh", "PROPN"),
        ("Proper Noun", "en", "PROPN"),
        ("Coordinating conjunction", "en", "CCONJ"),
        ("VBZ", "en", "VERB"),
        ("IN", "en", "ADP"),
        ("名词", "zh", "NOUN"),
        ("专有名词", "zh", "PROPN"),
        ("时间词", "zh", "NOUN"),
        ("量词", "zh", "NOUN"),
        ("助词", "zh", "PART"),
        ("标点", "zh", "PUNCT"),
        ("网址", "zh", "SYM"),
        ("vn", "zh", "NOUN"),
        ("v", "zh", "VERB"),
        ("名詞", "ja", "NOUN"),
        ("名詞-固有名詞", "ja", "PROPN"),
        ("助詞（格助詞）", "ja", "ADP"),
        ("終助詞", "ja", "PART"),
        ("고유 명사", "ko", "X"),
        ("고유명사", "ko", "PROPN"),
        ("JKS", "ko", "ADP"),
        ("VCP", "ko", "AUX"),
        ("NNG+JKS", "ko", "NOUN"),
        ("명사(고유명사)+조사", "ko", "PROPN"),
        ("gibberish+VV", "ko", "VERB"),
        ("ｎｏｕｎ", "en", "NOUN"),
        (".", "en", "PUNCT"),
        ("gibberish", "en", "X"),
        ("adj.", "en", "ADJ"),
        ("prep.", "en", "ADP"),
        ("punct.", "en", "PUNCT"),
        ("NN|NNP", "en", "PROPN"),
        ("-LRB-", "en", "PUNCT"),
        ("...", "en", "X"),
        ("M", "zh", "NOUN"),
        ("m", "zh", "NUM"),
        ("NT", "zh", "NOUN"),
        ("nt", "zh", "PROPN"),
        ("AD", "zh", "ADV"),
        ("ad", "zh", "ADJ"),
        ("", "zh", "X"),
    ],
)
def test_tag_names(tag, language, expected):
    assert universal_tag(tag, language) == expected


def test_tables_name_only_universal_tags_and_no_alias_twice():
    for language, table in _aliases().items():
        assert set(table.values()) <= set(UPOS), language


def test_every_universal_tag_is_itself_in_every_language():
    assert all(universal_tag(tag, language) == tag for tag in UPOS for language in ("zh", "en", "ja", "ko"))
