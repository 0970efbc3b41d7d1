"""The table of faults: what a server sends, and what must become of it.

`once`: the fault comes once, then good answers; the row must be answered. `always`: it comes to every attempt of one row;
`kind` and `reason` say how that row must fail, or, for `stop`, how the run must. `fine`: it is no fault to the user: the
answer counts as it is.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.fault_server import Reply, bomb, chat, completion, endless, http, packed, silence

TOKEN = "hf_" + "Qx7" * 10 + "Zz"
GOOD = '{"items": [{"entity": "Paris", "type": "City"}]}'
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in TOKEN)
BASE64 = base64.b64encode(f"user:{TOKEN}".encode()).decode()


@dataclass(frozen=True)
class Fault:
    """One line of the table."""

    name: str
    reply: Callable[[], Reply]
    must: str
    reason: str = ""
    kind: str = "server"

    def __str__(self) -> str:
        return f"{self.name} ({self.must})"


def body(text: str | bytes, **headers: str) -> Callable[[], Reply]:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return lambda: http(200, data, **headers)


def raw(data: bytes, *, abort: bool = False, after=None) -> Callable[[], Reply]:
    return lambda: Reply(data, after, abort=abort, paid=data.startswith(b"HTTP/1.1 200"))


def status(code: int, text: str = "no", **headers: str) -> Callable[[], Reply]:
    return lambda: http(code, text.encode(), paid=code in (502, 504, 524), **headers)


def said(text, *, good: bool = False, **changes) -> Callable[[], Reply]:
    return lambda: chat(text, good=good, **changes)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HALF = json.dumps(completion(GOOD)).encode()[:60]

WIRE = [
    Fault("closed without a word", raw(b"", abort=True), "once"),
    Fault("closed without a word", raw(b"", abort=True), "always", "ServerDisconnectedError"),
    Fault("closed in the status line", raw(b"HTTP/1.1 2", abort=True), "once"),
    Fault("closed in the headers", raw(OK + b"Content-Le", abort=True), "once"),
    Fault("no HTTP at all", raw(b"SSH-2.0-OpenSSH_9\r\n", abort=True), "once"),
    Fault("no HTTP at all", raw(b"\x16\x03\x01\x02\x00\x01" * 9, abort=True), "always", "Error"),
    Fault("shorter than Content-Length", raw(OK + b"Content-Length: 999\r\n\r\n" + HALF, abort=True), "once"),
    Fault("cut between chunks", raw(CHUNKED + b"5\r\n{\"cho\r\n", abort=True), "once"),
    Fault("a chunk size that is no number", raw(CHUNKED + b"zz\r\n{}\r\n", abort=True), "once"),
    Fault("two lengths", raw(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}  ", abort=True), "once"),
    Fault("a negative length", raw(OK + b"Content-Length: -1\r\n\r\n", abort=True), "once"),
    Fault("a header of a megabyte", raw(OK + b"X: " + b"a" * (1 << 20), abort=True), "once"),
    Fault("headers for ever", raw(OK, after=endless(b"X-More: 1\r\n" * 2000)), "once"),
    Fault("nothing for ever", raw(b"", after=silence()), "once"),
    Fault("nothing for ever", raw(b"", after=silence()), "always", "no answer within"),
    Fault("headers, then nothing", raw(OK + b"Content-Length: 99\r\n\r\n", after=silence()), "once"),
    Fault("one byte at a time", raw(CHUNKED, after=endless(b"1\r\n \r\n", 0.02)), "once"),
    Fault("a body for ever", raw(CHUNKED, after=endless(b"10000\r\n" + b" " * 65536 + b"\r\n")), "once"),
    Fault("a body for ever", raw(CHUNKED, after=endless(b"10000\r\n" + b" " * 65536 + b"\r\n")), "always", "longer than|no answer within"),
    Fault("a gzip bomb", lambda: http(200, bomb(), Content_Encoding="gzip"), "once"),
    Fault("a gzip bomb", lambda: http(200, bomb(), Content_Encoding="gzip"), "always", "longer than 8388608 bytes"),
    Fault("nine megabytes of answer", body(b" " * (9 << 20) + b"{}"), "always", "longer than 8388608 bytes"),
    Fault("gzip cut in the middle", body(gzip.compress(json.dumps(completion(GOOD)).encode())[:-20], Content_Encoding="gzip"), "once"),
    Fault("gzip that is none", body(b"{}", Content_Encoding="gzip"), "once"),
    Fault("gzip twice", body(gzip.compress(gzip.compress(b"{}")), Content_Encoding="gzip, gzip"), "always", "not asked for"),
    Fault("a compression nobody asked for", body(b"\x0b\x02\x80{}\x03", Content_Encoding="br"), "always", "'br' was not asked for"),
    Fault("gzip", lambda: packed(GOOD, Content_Encoding="gzip"), "fine"),
    Fault("early hints first", lambda: Reply(b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n" + chat(GOOD).data, good=True), "fine"),
]  # fmt: skip

STATUS = [
    *(Fault(f"HTTP {code}", status(code), "once") for code in (408, 409, 425, 429, 500, 502, 503, 504, 520, 524, 529)),
    Fault("HTTP 503 for ever", status(503, "<html><h1>Sorry</h1></html>"), "always", "HTTP 503: <html>"),
    *(Fault(f"HTTP {code}", status(code), "always", f"HTTP {code}: no", "request") for code in (400, 413, 418, 422, 451)),
    *(Fault(f"HTTP {code}", status(code), "stop", f"HTTP {code}") for code in (401, 402, 403, 404, 405, 407, 410)),
    Fault("HTTP 204", lambda: http(204), "once"),
    Fault("HTTP 304", lambda: http(304), "always", "HTTP 304", "request"),
    Fault("a redirect", status(307, Location="http://u:p4ssw0rd@10.0.0.1/x?key=p4ssw0rd"), "stop", "redirects to http://10.0.0.1/x"),
    Fault("a redirect that quotes the token", status(301, Location=f"http://h/{TOKEN}"), "stop", "redirects to"),
    Fault("Retry-After: 0", status(429, Retry_After="0"), "once"),
    Fault("Retry-After: 10^9", status(429, Retry_After="1000000000"), "once"),
    Fault("Retry-After of 5,000 digits", status(503, Retry_After="9" * 5000), "once"),
    Fault("Retry-After in 9999", status(429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"), "once"),
    Fault("Retry-After in the past", status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), "once"),
    Fault("Retry-After by a clock set back", status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT", Date="Wed, 21 Oct 2015 07:27:59 GMT"), "once"),
    Fault("Retry-After: -5", status(429, Retry_After="-5"), "once"),
    Fault("Retry-After: soon", status(429, Retry_After="soon"), "once"),
    Fault("Retry-After of a date that is none", status(429, Retry_After="Mon, 99 Foo 20x6 99:99:99 GMT"), "once"),
    Fault("an error page that quotes the token", status(400, f"bad Bearer {TOKEN}"), "always", r"bad Bearer \[secret\]", "request"),
    Fault("an error page with the token escaped", status(400, f"bad {ESCAPED}"), "always", r"bad \[secret\]", "request"),
    Fault("an error page with the token in base64", status(422, f"Basic {BASE64}"), "always", r"\[secret\]", "request"),
    Fault("an error page of 9 MB", status(500, "x" * (9 << 20)), "once"),
    Fault("an error page that is a gzip bomb", lambda: http(500, bomb(), Content_Encoding="gzip"), "once"),
]  # fmt: skip

BODY = [
    *(
        Fault(f"the body is {text[:20]!r}", body(text), "once")
        for text in ("", "null", "[]", "{}", "123", '"text"', "<html>welcome</html>", "{}{}", "data: {}\n\n", "\xff\xfe")
    ),
    Fault("the body is never JSON", body("welcome"), "always", "bad body: JSONDecodeError"),
    Fault("bytes that are no UTF-8", body(b'{"choices": "\xe9\xff"}'), "once"),
    Fault("an integer of 5,000 digits", body('{"choices": ' + "9" * 5000 + "}"), "once"),
    Fault("100,000 brackets", body("[" * 100_000), "once"),
    Fault("an error with HTTP 200", body('{"error": "overloaded"}'), "always", "it said: overloaded"),
    Fault("an error with HTTP 200 that quotes the token", body(json.dumps({"error": {"Bearer": TOKEN}})), "always", r"\[secret\]"),
    Fault("choices is empty", said("", choices=[]), "always", "`choices` is empty"),
    *(
        Fault(f"choices is {choices!r}", said("", choices=choices), "once")
        for choices in (None, 7, {"a": 1}, [None], [[]], [{"message": None}], [{"message": "text"}], [{}])
    ),
    Fault("a byte order mark", lambda: http(200, b"\xef\xbb\xbf" + json.dumps(completion(GOOD)).encode(), good=True), "fine"),
    Fault("UTF-16", lambda: http(200, json.dumps(completion(GOOD)).encode("utf-16"), good=True), "fine"),
]  # fmt: skip

CONTENT = [
    Fault("content is a list of parts", said([{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}], good=True), "fine"),
    Fault("content has other parts too", said([{"type": "thinking", "text": "[1]"}, {"text": GOOD}, 7, None], good=True), "fine"),
    Fault("a tool call instead of content", said(None, message={"tool_calls": [{"function": {"arguments": json.loads(GOOD)}}]}, good=True), "fine"),
    *(
        Fault(f"content is {content!r}", said(content), "always", "the answer is empty", "answer")
        for content in (None, 7, {"a": 1}, [], "", " \n")
    ),
    Fault("a lone surrogate in content", said(GOOD + " \ud800", good=True), "fine"),
    Fault("a lone surrogate in model", said(GOOD, model="m\ud800", good=True), "fine"),
    Fault("a lone surrogate in finish_reason", said(GOOD, finish_reason="stop\udfff", good=True), "fine"),
    Fault("NUL and controls in model", said(GOOD, model="m\x00\x1b[31m\n", good=True), "fine"),
    Fault("model is a megabyte", said(GOOD, model="m" * (1 << 20), good=True), "fine"),
    Fault("model is an object", said(GOOD, model={"a": 1}, good=True), "fine"),
    Fault("finish_reason is a number", said(GOOD, finish_reason=10**30, good=True), "fine"),
    *(
        Fault(f"usage is {str(usage)[:30]}", said(GOOD, usage=usage, good=True), "fine")
        for usage in (
            None,
            [],
            "much",
            {},
            {"prompt_tokens": -5, "completion_tokens": -(10**9)},
            {"prompt_tokens": 10**30, "completion_tokens": 10**30},
            {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
            {"prompt_tokens": "12", "completion_tokens": True},
            {"prompt_tokens": 0, "completion_tokens": 0},
        )
    ),
    Fault("the token in model", said(GOOD, model=f"m {TOKEN}", good=True), "fine"),
    Fault("the token in finish_reason", said(GOOD, finish_reason=TOKEN, good=True), "fine"),
    Fault("the token in content", said(f"{GOOD} {TOKEN}", good=True), "fine"),
    Fault("the token escaped in content", said(f'{GOOD[:-2]}, {{"entity": "{ESCAPED}", "type": "x"}}]}}', good=True), "fine"),
    Fault("the token in base64 in content", said(f"{GOOD} {BASE64}", good=True), "fine"),
    Fault("somebody's key in content", said(f"{GOOD} sk-{'a1B2' * 9} AKIA{'ABCD1234' * 2}", good=True), "fine"),
    Fault("a URL with a password in content", said(f"{GOOD} https://me:p4ssw0rd@host/", good=True), "fine"),
    Fault("a refusal", said("", message={"content": None, "refusal": "I cannot"}), "always", "the model refused: I cannot", "refusal"),
    Fault("a refusal that quotes the token", said("", message={"content": None, "refusal": TOKEN}), "always", r"\[secret\]", "refusal"),
    Fault("the content filter", said("", finish_reason="content_filter"), "always", "content filter", "refusal"),
    Fault("cut before the first item", said('{"items": [{"ent', finish_reason="length"), "always", "raise max_tokens", "cut"),
    Fault("prose for ever", said("Sure! Paris is a city."), "always", "unusable after 2 re-asks: no JSON", "answer"),
    Fault("the wrong shape for ever", said('{"items": [{"city": "Paris"}]}'), "always", "unusable after 2 re-asks", "answer"),
    Fault("prose once", said("Sure! Paris is a city."), "once"),
    Fault("200,000 characters of prose, quoted back cut", said("word " * 40_000), "once"),
    Fault("half a megabyte of answer", said("[" + "1," * 250_000), "always", "characters, more than", "answer"),
    Fault("32,000 quotes that never close", said("[" + '\\"' * 16_000), "once"),
    Fault("what json_repair takes minutes over", said("[" + '"a' * 6000), "once"),
    Fault("5,000 open brackets", said("[" * 5000), "always", "nested deeper", "answer"),
    Fault("an integer of 5,000 digits in the answer", said('{"items": [' + "9" * 5000 + "]}"), "once"),
]  # fmt: skip

FAULTS = [*WIRE, *STATUS, *BODY, *CONTENT]
