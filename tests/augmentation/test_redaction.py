"""The one redactor: spellings of the token in use, kinds of secrets, plain text, names and URLs that are none."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import time
from urllib.parse import quote

import pytest

from augmentation import redaction
from augmentation.llm.http_errors import check_base_url, check_token_env
from augmentation.settings import check_settings
from modeling_knowfree.data.rows import InputError
from tests.support import ROOT

TOKEN = "my-own/Token+42="


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(redaction, "_remembered", {})
    redaction.remember(TOKEN)


@pytest.mark.parametrize(
    "spelling",
    [
        TOKEN,
        json.dumps(json.dumps(TOKEN)),
        "".join(f"\\u{ord(char):04X}" for char in TOKEN),
        "".join(f"\\\\u{ord(char):04x}" if n % 2 else char for n, char in enumerate(TOKEN)),
        "".join(f"\\x{ord(char):02x}" for char in TOKEN),
        quote(TOKEN, safe=""),
        "".join(f"%{ord(char):02x}" for char in TOKEN),
        "".join(f"&#{ord(char)};" for char in TOKEN),
        "".join(f"&#x{ord(char):x};" for char in TOKEN),
        TOKEN.encode().hex(),
        TOKEN.encode().hex().upper(),
        *(base64.b64encode(before + TOKEN.encode() + b" after").decode() for before in (b"", b"u", b"u:", b"us:")),
        *(base64.urlsafe_b64encode(before + TOKEN.encode()).decode() for before in (b"", b"u", b"u:")),
    ],
)
def test_every_spelling_of_the_token_in_use_goes(known, spelling):
    assert redaction.find(f"x{spelling}y")
    left = redaction.redact(f"before {spelling} after")
    assert redaction.MASK in left and redaction.find(left) is None
    assert left.startswith("before ") and left.endswith(" after")


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("a Hugging Face token", "hf_" + "aB3" * 11),
        ("a GitLab token", "glpat-" + "aB3_" * 5),
        ("an npm token", "npm_" + "aB3" * 12),
        ("an AWS key", "ASIA" + "ABCD1234" * 2),
        ("a JSON web token", "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + "c2lnbmF0dXJl"),
        ("an authorization header", "Authorization: Bearer " + "abcdef123456"),
        ("a password in a URL", "postgresql://me:" + "pw@db.example"),
    ],
)
def test_common_kinds_go_escaped_or_not(kind, secret):
    assert redaction.find(f"see {secret} there") == kind
    assert secret not in redaction.redact(f"see {secret} there")
    escaped = "".join(f"\\u{ord(char):04x}" for char in secret)
    assert redaction.find(escaped) == kind
    assert redaction.find(redaction.redact(escaped)) is None


def test_plain_text_stays_the_same_object():
    plain = (
        "hf_hub_download, task-specific, AKIA, basic authorization, http://host:80/a@b, 100%41, mail@host, 嘉鱼\\u0041"
    )
    assert redaction.redact(plain) is plain


@pytest.mark.parametrize("placeholder", ["EMPTY", "none", "secret", "ollama", "Password", "NOTNEEDED", "secret]"])
def test_placeholders_are_no_secrets(known, placeholder):
    redaction.remember(placeholder)
    assert redaction.redact(f"the {placeholder} life of pets") == f"the {placeholder} life of pets"
    assert redaction.redact(TOKEN) == redaction.MASK


@pytest.mark.parametrize("token", ["abc123", "sEcReT", "no-key", "abcdefghijklmnop", "correct horse"])
def test_what_is_no_single_word_is_a_secret(known, token):
    redaction.remember(token)
    assert redaction.redact(f"a {token} b") == f"a {redaction.MASK} b"


def test_tracebacks_of_threads_and_log_records_hold_none(tmp_path):
    program = f"""
import logging, threading
from augmentation import redaction
redaction.remember({TOKEN!r})
def fail(): raise ValueError("bad Bearer {TOKEN}")
thread = threading.Thread(target=fail); thread.start(); thread.join()
logging.basicConfig()
logging.getLogger("x").warning("token %s", {TOKEN!r})
try: fail()
except ValueError: logging.getLogger("x").exception("what")
fail()
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert TOKEN not in "".join(line for line in ended.stderr.splitlines() if "raise" not in line)
    assert ended.stderr.count("ValueError: bad Bearer [secret]") == 3
    assert "WARNING:x:token [secret]" in ended.stderr


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cretpw@host/v1",
        "https://s3cretpw@host/v1",
        "https://host/v1?api_key=s3cretpw",
        "https://h/?sig=s3cretpw",
    ],
)
def test_a_url_with_credentials_is_refused_without_being_repeated(url):
    with pytest.raises(ValueError, match="--token_env") as refused:
        check_base_url(url)
    assert "s3cretpw" not in str(refused.value)
    with pytest.raises(InputError) as told:
        check_settings({"train_file": "x", "language": "en", "base_url": url}, "augment.yaml")
    assert "s3cretpw" not in str(told.value) and "base_url" in str(told.value)


@pytest.mark.parametrize("name", ["hf_" + "aB3" * 11, "sk-proj-abc", "MY TOKEN", "", "A" * 100])
def test_a_token_given_as_a_name_is_refused_without_being_repeated(name):
    with pytest.raises(ValueError, match="never the token itself") as refused:
        check_token_env(name)
    assert not name or name not in str(refused.value)


def test_a_megabyte_takes_no_time(known):
    begun = time.process_time()
    for text in ("a" * 10**6, "://" * 333_333, "hf_" * 333_333, "eyJ" * 333_333, "%41" * 333_333, "\\" * 10**6):
        redaction.redact(text)
    assert time.process_time() - begun < 6
    assert logging.getLogger("augmentation") is not None
