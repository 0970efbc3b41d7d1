"""Which language text is in, by its scripts."""

import pytest

from augmentation.steps.languages import script_doubt
from tests.conftest import row


@pytest.mark.parametrize(
    ("language", "text", "foreign"),
    [
        ("zh", "我们在嘉鱼", None),
        ("zh", "我们用 Python 和 Java", None),
        ("zh", "the old creek", "Latin"),
        ("zh", "私たちは東京へ行きます", "Kana"),
        ("ja", "私たちは東京へ行きます", None),
        ("ja", "東京都知事選挙", None),
        ("ko", "우리는 서울에 간다", None),
        ("ko", "我们在嘉鱼", "Han"),
        ("en", "the old creek", None),
        ("en", "Мы едем в Москву", "Cyrillic"),
        ("en", "12:30", None),
    ],
)
def test_letters_of_another_script_are_told(language, text, foreign):
    told = script_doubt([row(text)], language, "train.jsonl")
    assert (told is None) == (foreign is None)
    if told:
        assert (
            told.startswith(f"train.jsonl: language is {language!r}, and ") and f"of the letters are {foreign}" in told
        )
