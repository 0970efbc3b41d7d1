"""Part-of-speech tag names of several languages and tag sets -> the 17 universal tags (S3); the names are data."""

import json
import re
from functools import cache
from importlib.resources import files

from augmentation.steps.label_merging import normal_form

UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip


@cache
def _aliases() -> dict[str, dict[str, str]]:
    tables = json.loads(files("augmentation.steps").joinpath("pos_tags.json").read_text(encoding="utf-8"))
    return {
        language: {alias: tag for tag, names in table.items() for alias in names.split()}
        for language, table in tables.items()
    }


def universal_tag(tag: str, language: str) -> str:
    """
    The universal part-of-speech tag that a tag name stands for.

    Args:
        tag: as a model wrote it: `NOUN`, `Proper noun`, `专有名词`, `NN`, `名詞-固有名詞`, ….
        language: `zh`, `en`, `ja` or `ko`; its names come before the common ones, which hold the universal and the
            Penn tags.

    Returns:
        One of `UPOS`; `X` for a name that no table has.
    """
    name = normal_form(tag)
    if name.upper() in UPOS:
        return name.upper()
    for form in (name, *reversed(re.split(r"[-/(（:：,，+]", name.rstrip(")）")))):
        key = re.sub(r"[\s_-]+", "_", form.strip())
        for table in (language, "common"):
            found = _aliases().get(table, {}).get(key)
            if found:
                return found
    return "X"
