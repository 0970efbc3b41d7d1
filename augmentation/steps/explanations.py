"""Explanations become sentences (S8): markup off, cut into sentences, tokenised as the source is, repeats off."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from typing import Any

import pysbd

from augmentation.llm.tasks import explained_as
from augmentation.steps.alignment import fold
from augmentation.steps.annotator import SWAPPED
from modeling_knowfree.units_knowfree import join_units, split_text
from modeling_knowfree.windows_knowfree import SENTENCE_MARKS, WIDE_STOP, is_balanced, is_point

Span = tuple[int, int, str]
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$")
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]")
_LIST_MARK = re.compile(
    r"""^[ \t]*(?:>[ \t]*+)*+                        # quotation
    (?:[-*+•·▪●○–][ \t]+                             # bullets
    |\(?\d{1,2}[.)．）][ \t]+(?!\d)|[a-z]\)[ \t]+    # 1. 1) (1) a), but not the 3. of "3. 5"
    |\d{1,2}[.)．）](?=[*“‘「『（《〈【〔\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3])  # 1.张三 1）**张三**
    |\d{1,2}、(?!\d)|[一二三四五六七八九十]{1,3}、(?![一二三四五六七八九十])  # not the 5、 of 5、6月份
    |[①-⑳][ \t]*|[（(][\d一二三四五六七八九十]{1,3}[）)]
    )?""",
    re.VERBOSE,
)
_IMAGE_OR_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^)\s\[]*(?:[ \t]+\"[^\"\n]*\")?\)")
_EMPHASIS = re.compile(
    r"""(?P<times>(?<=\d)\*{1,3}(?=\d))  # 2*3*4
    |(\*{1,3})(?=\S)(?P<stars>[^*\n]+?)(?<=\S)\2(?!(?<=\d\*)\d)
    |(?<!\w)(_{1,3})(?=\S)(?P<lines>[^_\n]+?)(?<=\S)\4(?!\w)  # not in snake_case
    |(?<!`)(`{1,3})(?P<code>[^`\n]+)\6
    |~~(?P<struck>.+?)~~""",
    re.VERBOSE,
)
MAX_NESTING = 8  # of emphasis in emphasis
MAX_PARAGRAPH_CHARACTERS = 20_000  # no sentence is so far from the next that more than this were prose
_BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)


def plain_paragraphs(markdown: str) -> list[str]:
    """The prose of a markdown text, one line a paragraph: fences, rules, headings, tables, list marks are gone."""
    paragraphs = []
    for line in _BREAK.sub("\n", markdown).splitlines():
        if _FENCE.match(line) or _is_rule_or_table(line) or _HEADING.match(line):
            continue
        line = "".join(" " if unicodedata.category(char) == "Cc" else char for char in line)
        line = _IMAGE_OR_LINK.sub(r"\1", _LIST_MARK.sub("", line, count=1))
        for _ in range(MAX_NESTING):
            line = _EMPHASIS.sub(lambda match: match[match.lastgroup or 0], line)
        line = " ".join(line.split())
        if line:
            paragraphs.append(line)
    return paragraphs


def _is_rule_or_table(line: str) -> bool:
    """A line across the page, a row of a table, or the line under its head."""
    marks = "".join(line.split())
    is_rule = len(marks) >= 3 and set(marks) <= set("-*_=")
    return is_rule or marks[:1] == marks[-1:] == "|" or ("---" in line and set(marks) <= set(":|-"))


_OPENING = "“‘「『（《〈【〔(["
_CLOSING = "”’」』）》〉】〕)]"
_BORDERS = re.compile(rf"[{''.join(sorted(SENTENCE_MARKS))}]+|\.(?=\s|$)|[{re.escape(_OPENING + _CLOSING)}]")


def split_sentences(paragraph: str, language: str) -> list[str]:
    """
    Sentences of one paragraph, punctuation kept, nothing lost but white space between them.

    English goes through pysbd, unless that loses some of it. Otherwise a sentence ends at 。！？ and their like (a run
    of them, with the closing quotes and brackets after it), or at a full stop before white space, unless a quote or
    bracket is open: what stands in quotes is not cut. Straight double quotes open and close in turn.
    """
    if language == "en":
        found = [sentence.strip() for sentence in _segmenter().segment(paragraph) if sentence.strip()]
        if "".join("".join(found).split()) == "".join(paragraph.split()):  # ♬ and others stand for marks inside pysbd
            return found
    marked = _with_curly_quotes(paragraph)
    balanced = is_balanced(marked, _OPENING, _CLOSING)
    sentences, start, depth = [], 0, 0
    for match in _BORDERS.finditer(marked):
        mark = match.group()
        if mark in _OPENING:
            depth += balanced
        elif mark in _CLOSING:
            depth -= balanced
        elif depth == 0 and not (mark == WIDE_STOP and is_point(marked, match.start())):
            following = marked[match.end() : match.end() + 1]
            if not (following and following in _CLOSING):
                sentences.append(paragraph[start : match.end()])
                start = match.end()
    sentences.append(paragraph[start:])
    return [sentence.strip() for sentence in sentences if sentence.strip()]


@cache
def _segmenter() -> pysbd.Segmenter:
    return pysbd.Segmenter(language="en", clean=False)


def _with_curly_quotes(text: str) -> str:
    """Straight double quotes as “ and ” in turn, where every one has its other; no offset changes."""
    if text.count('"') % 2:
        return text
    turns = cycle("“”")
    return re.sub('"', lambda _: next(turns), text)


_CLITIC = re.compile(r"(n['’]t|['’](?:s|re|ve|ll|d|m))$", re.IGNORECASE)
_APOSTROPHES = frozenset("'’")


@dataclass(frozen=True)
class TokenStyle:
    """How a data set cuts words, read off its own tokens.

    Attributes:
        unit: `character` or `word`.
        lowercase: it has small letters and no capital one.
        glued: commas and full stops stay on the words before them; then white space alone separates.
        inner_marks: marks that occur inside words, as in `o'brien` or `mid-june`.
        clitics: `'s` and `n't` are words of their own.
        straight: its apostrophes are `'`, none is `’`.
    """

    unit: str
    lowercase: bool = False
    glued: bool = False
    inner_marks: frozenset[str] = frozenset()
    clitics: bool = False
    straight: bool = False

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], unit: str) -> "TokenStyle":
        """The style of the rows' tokens."""
        tokens = Counter(token for row in rows for token in row["tokens"])
        if unit == "character":
            return cls(unit)
        alone = sum(count for token, count in tokens.items() if token in (",", "."))
        glued = sum(count for token, count in tokens.items() if token[-1:] in (",", ".") and token[:-1].isalpha())
        inner = frozenset(mark for token in tokens for mark in re.findall(r"(?<=\w)[^\w\s](?=\w)", token))
        return cls(
            unit,
            lowercase=any(map(str.islower, tokens)) and all(token == token.lower() for token in tokens),
            glued=glued > alone,
            inner_marks=inner | _APOSTROPHES if inner & _APOSTROPHES else inner,
            clitics=any(_CLITIC.fullmatch(token) for token in tokens),
            straight=any("'" in token for token in tokens) and not any("’" in token for token in tokens),
        )

    def tokens(self, sentence: str) -> list[str]:
        """Tokens of a sentence in this style."""
        if self.unit == "character":
            return list(sentence)
        text = sentence.lower() if self.lowercase else sentence
        text = text.replace("’", "'") if self.straight else text
        if self.glued:
            return text.split()
        return [token for chunk in text.split() for token in self._words(chunk)]

    def _words(self, chunk: str) -> list[str]:
        words: list[str] = []
        pieces = [chunk[start:end] for start, end in split_text(chunk, "word")]
        i = 0
        while i < len(pieces):
            word = pieces[i]
            while (
                i + 2 < len(pieces)
                and word[-1].isalnum()
                and (pieces[i + 1] in self.inner_marks or (self.clitics and pieces[i + 1] in _APOSTROPHES))
                and pieces[i + 2][0].isalnum()
            ):
                word += pieces[i + 1] + pieces[i + 2]
                i += 2
            clitic = _CLITIC.search(word) if self.clitics else None
            words += [part for part in ((word[: clitic.start()], clitic[0]) if clitic else (word,)) if part]
            i += 1
        return words


_ALIKE = {
    **dict.fromkeys(map(ord, '"“”„‟«»‹›「」『』〝〞〟＂')),
    **dict.fromkeys(map(ord, "`´‘’‚‛ʼ＇"), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-"),
}


def sentence_key(text: str) -> str:
    """What makes two sentences the same: the folded text without its final marks."""
    return fold(text).rstrip("。.!?…")


def leak_key(text: str) -> str:
    """As `sentence_key`, in which a sentence that is written anew is found again: without double quotes, and with one
    kind of apostrophe and of dash."""
    return sentence_key(text.translate(_ALIKE))


_TELLING = {"character": 6, "word": 12}
"""Characters from which a sentence inside a text is no phrase that many texts have, such as 好的。"""


def sentence_keys(text: str, unit: str) -> set[str]:
    """The keys (`leak_key`) of a text and of every sentence in it: what is written anew may be neither."""
    inside = map(leak_key, split_sentences(text, "any"))
    return {leak_key(text), *(key for key in inside if len(key) >= _TELLING[unit])}


class FreeIds:
    """Gives each row an id of its own: the one it has, or with a number where another row has it.

    Args:
        taken: ids of other rows.
    """

    def __init__(self, taken: Iterable[str] = ()):
        self._taken, self._repeats = set(taken), Counter[str]()

    def __call__(self, row_id: str) -> str:
        free = row_id
        while free in self._taken:
            self._repeats[row_id] += 1
            free = f"{row_id}-{self._repeats[row_id] + 1}"
        self._taken.add(free)
        return free


@dataclass
class Sentences:
    """Turns explanations into synthetic rows, row by row in order; what is left out is counted by reason.

    Args:
        language: of the explanations.
        style: how to cut them into tokens.
        source: keys of the gold sentences.
        held_out: keys of dev and test sentences.
        free_id: gives an id that no other row has.
    """

    language: str
    style: TokenStyle
    source: frozenset[str]
    held_out: frozenset[str]
    free_id: FreeIds = field(default_factory=FreeIds)
    counts: Counter[str] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)

    def rows(
        self, parent_id: str, explanation: str, *, cut: bool = False, lines: bool = False, sample: int = 0
    ) -> list[dict[str, Any]]:
        """
        Synthetic rows `{"id", "tokens", "entities": [], "synthetic": true, "parent_id"}` of one explanation.

        Args:
            parent_id: the explained row; ids are `parent_id#1`, `#2`, … in the order of the kept and dropped sentences
                (`parent_id#e2.1`, … of its second explanation), or free ones beside these.
            explanation: the model's prose, reasoning blocks off.
            cut: the token limit ended it; its last sentence goes.
            lines: each line is one sentence, whatever marks are in it.
            sample: which of the row's explanations it is.
        """
        told = plain_paragraphs(explanation)
        paragraphs = [paragraph for paragraph in told if len(paragraph) <= MAX_PARAGRAPH_CHARACTERS]
        if len(told) > len(paragraphs):
            self.counts["paragraphs_too_long"] += len(told) - len(paragraphs)
        sentences = paragraphs if lines else [s for p in paragraphs for s in split_sentences(p, self.language)]
        self.counts["explanations"] += 1
        self.counts["sentences"] += len(sentences)
        if cut and sentences:
            sentences.pop()
            self.counts["cut"] += 1
        rows = []
        for number, sentence in enumerate(sentences, start=1):
            tokens = self.style.tokens(sentence)
            reason = self._reason(tokens)
            self.counts[reason or "kept"] += 1
            if not reason:
                name = explained_as(parent_id, sample) + (f".{number}" if sample else f"#{number}")
                identity = {"id": self.free_id(name), "tokens": tokens, "entities": []}
                rows.append(identity | {"synthetic": True, "parent_id": parent_id})
        return rows

    def swapped(self, parent_id: str, sentences: Iterable[tuple[list[str], list[Span]]]) -> list[dict[str, Any]]:
        """Synthetic rows of gold sentences with other mentions, tokens and moved spans; ids are `parent_id#m1`, …"""
        rows = []
        for number, (tokens, spans) in enumerate(sentences, start=1):
            reason = self._reason(tokens)
            self.counts["swapped"] += 1
            self.counts[reason or "kept"] += 1
            if not reason:
                entities = [{"start": start, "end": end, "label": label} for start, end, label in spans]
                identity = {"id": self.free_id(f"{parent_id}#m{number}"), "tokens": tokens, "entities": entities}
                rows.append(identity | {"synthetic": True, "parent_id": parent_id, "annotator": SWAPPED})
        return rows

    def _reason(self, tokens: Sequence[str]) -> str | None:
        text = join_units(tokens, self.style.unit)[0]
        key = leak_key(text)
        if not any(char.isalnum() for char in key):
            return "empty"
        if key in self.source:
            return "equal_to_source"
        if key in self.held_out:
            return "in_dev_or_test"
        if text in self._seen:
            return "duplicate"
        self._seen.add(text)
        return None
