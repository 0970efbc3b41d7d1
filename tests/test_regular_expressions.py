"""Every regular expression of the project on a megabyte of what it likes least: none is worse than linear.

The patterns are collected from the source: whatever is given to a function of `re`, a literal of which is needed to see
it. What each likes least is made from the pattern itself: every part of it, repeated, with an ending that fits nothing.
"""

from __future__ import annotations

import ast
import itertools
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT

CHARACTERS = 1_000_000
LIMIT_SECONDS = 0.5
FOLDERS = ("augmentation", "experiments", "hub_cards", "modeling_knowfree", "spaces", "examples")
FUNCTIONS = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
FLAGS = {"DOTALL", "IGNORECASE", "MULTILINE", "VERBOSE", "ASCII", "S", "I", "M", "X", "A"}


def sources() -> Iterator[Path]:
    yield from (ROOT / name for name in ("knowfree.py", "push_to_hub.py"))
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def used_as(tree: ast.Module, call: ast.Call, function: str) -> bool:
    """Whether a pattern is only ever matched from the beginning of a text."""
    if function != "compile":
        return function in ("match", "fullmatch")
    names = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign) and node.value is call]
    uses = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }
    return bool(uses) and uses <= {"match", "fullmatch"}


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern and whether it is used from the beginning of a text only."""

    compiled: re.Pattern[str]
    anchored: bool = False


def collected() -> dict[str, Pattern]:
    """Patterns by where they stand."""
    found: dict[str, Pattern] = {}
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            call = node if isinstance(node, ast.Call) else None
            if call is None or not isinstance(call.func, ast.Attribute) or call.func.attr not in FUNCTIONS:
                continue
            if not isinstance(call.func.value, ast.Name) or call.func.value.id != "re" or not call.args:
                continue
            flags = 0
            for name in ast.walk(
                ast.Module([ast.Expr(part) for part in [*call.args[1:], *(k.value for k in call.keywords)]], [])
            ):
                if isinstance(name, ast.Attribute) and name.attr in FLAGS:
                    flags |= getattr(re, name.attr)
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            try:
                literal = ast.literal_eval(call.args[0])
                compiled = re.compile(literal.decode("latin-1") if isinstance(literal, bytes) else literal, flags)
            except ValueError:
                compiled = made_at_run_time(path.relative_to(ROOT).as_posix(), ast.unparse(call.args[0]))
            found[where] = Pattern(compiled, used_as(tree, call, call.func.attr))
    return found


def made_at_run_time(path: str, expression: str) -> re.Pattern[str]:
    """The patterns that no literal shows, as their modules make them."""
    from augmentation import redaction
    from augmentation.steps import explanations

    if path == "augmentation/steps/explanations.py" and "SENTENCE_MARKS" in expression:
        return explanations._BORDERS
    if (path, expression) == ("augmentation/redaction.py", "pattern"):  # of KINDS, each measured below
        return re.compile("")
    if path == "augmentation/redaction.py":
        return redaction._spellings("hf_" + "Qx7" * 11)
    pytest.fail(f"{path}: re… of {expression}: give a literal, so that it can be measured, or name it here")


def parts(pattern: re.Pattern[str]) -> list[str]:
    """What a pattern speaks of: a text for each part of it, and for each pair of neighbours."""
    alone = list(dict.fromkeys(_samples(re._parser.parse(pattern.pattern, pattern.flags))))  # type: ignore[attr-defined]
    general = ["a", " ", "\n", "1", "-", "[", "(", '"', "\\", "a ", "a.", "ab-"]
    short = [text for text in alone if len(text) < 12][:14]
    pairs = ["".join(pair) for pair in itertools.product(short, repeat=2)] if len(short) < 9 else []
    return list(
        dict.fromkeys([*alone, *general, *pairs, *(text + "a" for text in short), *("\n" + text for text in short)])
    )


def _samples(tree) -> Iterator[str]:
    whole = ""
    for kind, value in tree:
        name = str(kind)
        if name == "LITERAL":
            text = chr(value)
        elif name == "NOT_LITERAL":
            text = "a" if value != ord("a") else "b"
        elif name == "ANY":
            text = "a"
        elif name == "IN":
            text = _of_set(value)
        elif name == "BRANCH":
            text = ""
            for branch in value[1]:
                inner = list(_samples(branch))
                yield from inner
                text = text or (inner[-1] if inner else "")
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            inner = list(_samples(value[-1] if name == "SUBPATTERN" else value))
            yield from inner
            text = inner[-1] if inner else ""
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            inner = list(_samples(value[2]))
            yield from inner
            text = (inner[-1] if inner else "") * min(max(value[0], 1), 50)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from _samples(value[1])
            text = ""
        else:
            text = ""
        if text:
            yield text
        whole += text
    if whole:
        yield whole


def _of_set(items) -> str:
    if str(items[0][0]) == "NEGATE":
        return next(char for char in "a1 .(" if not re.fullmatch("[" + "".join(map(_written, items[1:])) + "]", char))
    kind, value = items[0]
    if str(kind) == "LITERAL":
        return chr(value)
    if str(kind) == "RANGE":
        return chr(value[0])
    return {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}.get(str(value), "!")


def _written(item) -> str:
    kind, value = item
    if str(kind) == "LITERAL":
        return re.escape(chr(value))
    if str(kind) == "RANGE":
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    return {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}.get(str(value), r"\W")


class TooSlowError(Exception):
    """The alarm rang."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """After so many CPU seconds of this process: a busy machine rings no earlier."""

    def ring(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def seconds_of(pattern: Pattern, part: str, size: int, ending: str) -> float:
    """CPU seconds to find all there is in `part`, repeated."""
    text = (part * (size // len(part) + 1))[:size] + ending
    begun = time.process_time()
    with alarm(5):
        if not pattern.anchored:
            for _ in pattern.compiled.finditer(text):
                pass
        pattern.compiled.match(text)
        pattern.compiled.fullmatch(text)
    return time.process_time() - begun


def suspects(pattern: Pattern) -> list[tuple[float, str, str]]:
    """What a pattern takes longest over, at a hundredth of the size: CPU seconds, part, ending; longest first."""
    tried = [(seconds_of(pattern, part, CHARACTERS // 100, "\x00"), part, "\x00") for part in parts(pattern.compiled)]
    longest = [part for _, part, _ in sorted(tried, reverse=True)[:4]]
    tried += [
        (seconds_of(pattern, part, CHARACTERS // 100, end), part, end) for part in longest for end in ("", "\n\x00")
    ]
    return sorted(tried, reverse=True)


def too_slow(pattern: Pattern) -> str | None:
    """What a pattern is far worse than linear on; None where there is nothing."""
    try:
        seconds, part, _ = suspects(pattern)[0]
    except (TooSlowError, RecursionError):
        return "does not end"
    return f"{seconds:.2f} s on 10,000 characters of {part!r}" if seconds > LIMIT_SECONDS / 5 else None


def slow_on_a_megabyte(pattern: Pattern) -> str | None:
    """What a pattern takes half a second or more over, at full size; None where there is nothing."""
    for _, part, ending in suspects(pattern)[:4]:
        try:
            tries = (seconds_of(pattern, part, CHARACTERS, ending) for _ in range(3))
            slow = list(
                itertools.takewhile(lambda seconds: seconds >= LIMIT_SECONDS, tries)
            )  # the first quick one ends
        except TooSlowError:
            return f"does not end on {part!r}"
        if len(slow) == 3:
            return f"{min(slow):.2f} s on a megabyte of {part!r}"
    return None


def with_kinds() -> dict[str, Pattern]:
    from augmentation.redaction import KINDS

    return collected() | {f"a secret: {name}": Pattern(re.compile(pattern)) for name, pattern in KINDS.items()}


def complaints(judge) -> str:
    patterns = with_kinds()
    assert len(patterns) > 40
    told = {where: judge(pattern) for where, pattern in patterns.items()}
    return "\n".join(f"{where}: {why}: {patterns[where].compiled.pattern[:80]}" for where, why in told.items() if why)


def test_no_regular_expression_is_far_worse_than_linear():
    assert not (slow := complaints(too_slow)), slow


@pytest.mark.soak
def test_every_regular_expression_is_quick_on_a_megabyte():
    assert not (slow := complaints(slow_on_a_megabyte)), slow


def test_the_measurement_knows_a_bad_one():
    assert too_slow(Pattern(re.compile(r'"(?:[^"\\]|\\.)*"')))
    assert too_slow(Pattern(re.compile(r"^[ \t|-]*-{3,}[ \t|-]*$")))
    assert not too_slow(Pattern(re.compile(r"(?<!\w)\w+(?!\w)")))
