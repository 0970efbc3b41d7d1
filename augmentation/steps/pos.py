"""Parts of speech (S3): one universal tag a word. Names of tags in several languages and tag sets are data."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import Request, pos_request, reask
from augmentation.steps.alignment import UnitText, align_tags
from augmentation.steps.asking import AnnotationSettings, Range, asked
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
            Penn tags; those of the Chinese treebank are in capitals, where PKU's are not.

    Returns:
        One of `UPOS`; `X` for a name that no table has.
    """
    aliases = _aliases()
    if found := aliases.get(f"{language} capitals", {}).get(tag.strip()):
        return found
    name = normal_form(tag)
    if name.upper() in UPOS:
        return name.upper()
    morphemes = [re.split(r"[-/(（:：,，|]", morpheme.rstrip(")）")) for morpheme in name.split("+")]
    for form in (name, *(form for forms in morphemes for form in reversed(forms))):  # the head is the first morpheme
        key = re.sub(r"[\s_-]+", "_", form.strip())
        for spelling in (form.strip(), key, key.rstrip(".")):  # -LRB-; adj.
            for table in (language, "common"):
                if found := aliases.get(table, {}).get(spelling):
                    return found
    return "X"


def tags_of(
    row_id: str,
    tokens: Sequence[str],
    window: Range,
    words: Sequence[Range],
    settings: AnnotationSettings,
    counts: Counter[str],
) -> Work[list[tuple[int, int, str]]]:
    """One tag for each word, the missing ones asked for once more."""

    def ask(text: str, part: Range) -> Request:
        limit = settings.max_tokens["pos"]
        listed = [word_text(word) for word in words if part[0] <= word[0] and word[1] <= part[1]]
        return pos_request(row_id, text, listed, language=settings.language, max_tokens=limit)

    def word_text(word: Range) -> str:
        return UnitText.from_tokens(tokens[slice(*word)], settings.unit).text

    inside_words = {border for start, end in words for border in range(start + 1, end)}
    answers = yield from asked(ask, tokens, window, settings, counts, lambda border: border not in inside_words)
    tags: list[tuple[int, int, str]] = []
    for (start, end), outcome in answers:
        listed = [word for word in words if start <= word[0] and word[1] <= end]
        counts["words"] += len(listed)
        if outcome.parsed is None or outcome.answer is None:
            continue
        text = UnitText.from_tokens(tokens[start:end], settings.unit)
        spans = {(text.offsets[s - start][0], text.offsets[e - start - 1][1]): (s, e) for s, e in listed}
        result = align_tags(text, list(spans), [(item.word, item.pos) for item in outcome.parsed.value])
        counts["resegmented"] += result.resegmented
        for *span, tag in result.tagged:
            units = text.units((span[0], span[1]))
            counts["off_border"] += units is None
            if units:
                tags.append((units[0] + start, units[1] + start, universal_tag(tag, settings.language)))
        missing = [spans[word] for word in result.missing]
        if missing:
            counts["reasked"] += 1
            names = [word_text(word) for word in missing]
            limit = settings.max_tokens["pos"]
            again = pos_request(row_id, text.text, names, language=settings.language, max_tokens=limit)
            if len(missing) == len(listed):  # the same question: the store would give the same answer
                complaint = "no listed word was given a tag"
                again = reask(outcome.request, outcome.answer.text, complaint, model=settings.model)
            [second] = yield [again]
            if second.parsed is not None:
                listed_text = UnitText.from_tokens(names, "word")
                pairs = [(item.word, item.pos) for item in second.parsed.value]
                for *span, tag in align_tags(listed_text, listed_text.offsets, pairs).tagged:
                    units = listed_text.units((span[0], span[1]))
                    if units and units[1] - units[0] == 1:
                        tags.append((*missing[units[0]], universal_tag(tag, settings.language)))
    counts["tagged"] += len(tags)
    counts["unknown_tags"] += sum(tag == "X" for *_, tag in tags)
    return sorted(tags)
