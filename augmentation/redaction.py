"""The one redactor: secrets in texts, found and taken out. Every boundary uses it: logs, store, cards, error texts.

It knows two things: the tokens that this process was given (`remember`), in whatever way a server or a library may
spell them, and what the common kinds of tokens look like. Every pattern is linear in the text.
"""

from __future__ import annotations

import base64
import logging
import re
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

MASK = "[secret]"
SHORTEST = 6  # characters of a token in use that is a secret; a shorter one ("EMPTY", "none") is a placeholder
LONGEST_WORD = 15  # letters; a token that is one word ("ollama", "Secret") is a placeholder too, and stands in any text

KINDS = {
    "a Hugging Face token": r"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{16,200}",
    "an API key (sk-…)": r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,400}",
    "a GitHub token": r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30,250}|github_pat_[A-Za-z0-9_]{40,250})",
    "a GitLab token": r"(?<![A-Za-z0-9])gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{18,250}",
    "an npm token": r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{30,250}",
    "an AWS key": r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",
    "a Google key": r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"(?<![A-Za-z0-9])xox[abeprs]-[0-9A-Za-z-]{10,250}",
    "a JSON web token": r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{4,8000}\.[A-Za-z0-9_-]{8,2000}",
    "an authorization header": (
        r"(?i:authorization)[\"']?[:=\s]{1,4}[\"']?(?i:bearer|basic)\s{1,4}[A-Za-z0-9._~+/=-]{8,4000}"
    ),
    "a private key": r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
    "a password in a URL": r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^/\s:@\"'<>]{0,256}:[^/\s@\"'<>]{1,256}@",
}
HINTS = {
    "a Hugging Face token": ("hf_", "api_org_"),
    "an API key (sk-…)": ("sk-",),
    "a GitHub token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "a GitLab token": ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glsoat-"),
    "an npm token": ("npm_",),
    "an AWS key": ("AKIA", "ASIA"),
    "a Google key": ("AIza",),
    "a Slack token": ("xox",),
    "a JSON web token": ("eyJ",),
    "an authorization header": ("uthorization", "UTHORIZATION"),
    "a private key": ("PRIVATE KEY-----",),
    "a password in a URL": ("://",),
}
"""What a text must hold for a kind to be in it: a look that costs a hundredth of the pattern."""

_KINDS = {name: (HINTS[name], re.compile(pattern)) for name, pattern in KINDS.items()}
_ALL_HINTS = [hint for hints in HINTS.values() for hint in hints]
_ESCAPED = re.compile(r"\\u00([2-7][0-9A-Fa-f])|%([2-7][0-9A-Fa-f])|&#(\d{2,3});")

_guarded = False
_remembered: dict[str, re.Pattern[str]] = {}


def remember(secret: str | None) -> None:
    """Take `secret` out of every text that leaves this process from now on; None and placeholders are ignored."""
    if secret and not _is_placeholder(secret) and secret not in _remembered:
        _remembered[secret] = _spellings(secret)
        _guard()


def _is_placeholder(token: str) -> bool:
    is_word = token.isalpha() and (token.islower() or token.isupper() or token.istitle())
    return len(token) < SHORTEST or (is_word and len(token) <= LONGEST_WORD) or token in MASK


def _spellings(secret: str) -> re.Pattern[str]:
    """The secret as it is, with characters escaped (`\\u0041`, `\\x41`, `%41`, `&#65;`), in base64, and in hex."""
    escaped = "".join(_character(char) for char in secret)
    data = secret.encode("utf-8", "surrogatepass")
    encoded = {data.hex()}
    for before in range(3):  # where the secret begins within the groups of three bytes; only whole groups are its own
        text = base64.b64encode(b"\0" * before + data + b"\0" * (-(before + len(data)) % 3)).decode()
        own = text[4 if before else 0 : -4 if (before + len(data)) % 3 else None]
        if len(own) >= SHORTEST:
            encoded |= {own, own.replace("+", "-").replace("/", "_")}
    return re.compile("|".join([escaped, *map(re.escape, sorted(encoded)), f"(?i:{data.hex()})"]))


def _character(char: str) -> str:
    if ord(char) >= 128:
        return re.escape(char)
    code = f"(?i:{ord(char):02x})"
    forms = (rf"\\{{1,8}}(?:u00|x){code}", f"%(?:25)?{code}", f"&#0{{0,5}}{ord(char)};", f"&#[xX]0{{0,5}}{code};")
    return f"(?:{'|'.join((re.escape(char), *forms))})"


def _plain(text: str) -> str:
    """`text` with escaped ASCII characters unescaped."""
    return _ESCAPED.sub(lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else chr(int(m[3]) % 128), text)


def redact(text: str) -> str:
    """`text` without any secret; the same object where there is none."""
    for pattern in _remembered.values():
        text = pattern.sub(MASK, text)
    if not _hinted(text) and not _ESCAPED.search(text):  # nearly every text, and each answer has twenty of them
        return text
    if _kind(text) is None and _ESCAPED.search(text) and _kind(plain := _plain(text)) is not None:
        text = plain
    for hints, kind in _KINDS.values():
        if any(hint in text for hint in hints):
            text = kind.sub(MASK, text)
    return text


def find(text: str) -> str | None:
    """What kind of secret is in `text`, never the secret itself; None where there is none."""
    if any(pattern.search(text) for pattern in _remembered.values()):
        return "the token in use"
    return _kind(text) or (_kind(_plain(text)) if _ESCAPED.search(text) else None)


def _hinted(text: str) -> bool:
    for hint in _ALL_HINTS:  # noqa: SIM110 - a generator would cost more than the looks
        if hint in text:
            return True
    return False


def _kind(text: str) -> str | None:
    for name, (hints, kind) in _KINDS.items():
        if any(hint in text for hint in hints) and kind.search(text):
            return name
    return None


def _shown(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> str:
    return redact("".join(traceback.format_exception(kind, error, trace)))


def _guard() -> None:
    """From now on the tracebacks (of threads too) and log records of this process carry no secret."""
    global _guarded
    if _guarded:
        return
    _guarded = True
    make_record = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make_record(*args, **kwargs)
        made.msg, made.args = redact(made.getMessage()), ()
        if made.exc_info:
            made.exc_text = _shown(*made.exc_info)
        return made

    def of_thread(hook: threading.ExceptHookArgs) -> None:
        name = hook.thread.name if hook.thread else "?"
        sys.stderr.write(f"in thread {name}:\n{_shown(hook.exc_type, hook.exc_value, hook.exc_traceback)}")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(_shown(kind, error, trace))

    logging.setLogRecordFactory(record)
    threading.excepthook = of_thread
    sys.excepthook = of_process
