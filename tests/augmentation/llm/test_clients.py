"""Clients and probe against the loopback server; recorded answers; what a status, a header, a URL mean."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from augmentation.llm.answers import parse
from augmentation.llm.clients import HubClient, open_client
from augmentation.llm.http_errors import Token, error_for_status, retry_after_seconds, shown_url
from augmentation.llm.protocol import Completion, RetryableError, RowError, StopRunError
from augmentation.llm.recorded import RecordedAnswersError, RecordedClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.llm.tasks import entities_request, explanation_request, merge_request, segmentation_request
from modeling_knowfree.data.rows import InputError
from tests.support import ROOT, SHARED
from tests.support.augment_rows import requests, write_recorded
from tests.support.llm_server import Faults, LLMServer

HUB_MODES = ("json_schema", "tgi_value", "tools", "json_object")


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedClient:
    return RecordedClient([write_recorded(tmp_path / "recorded.jsonl", 50)])


def ask(client, request, mode) -> Completion:
    async def once() -> Completion:
        try:
            return await client.send(request, mode)
        finally:
            await client.close()

    return asyncio.run(once())


@pytest.mark.parametrize("enforced", HUB_MODES)
def test_the_probe_finds_what_the_server_enforces_and_the_answer_keeps_it(recorded, tmp_path, enforced):
    with LLMServer(recorded, enforces=(enforced,)) as server, Store(tmp_path / "a.sqlite") as store:
        runner = Runner(HubClient("m", base_url=server.url), store)
        progress = runner.run(requests(3))
        assert progress.mode == enforced
        assert [entry["mode"] for entry in server.log[-3:]] == [enforced] * 3
        assert [entry["mode"] for entry in server.log[:-3]] == list(HUB_MODES[: HUB_MODES.index(enforced) + 1])
        outcome = runner.outcome(next(requests(1)))
    assert outcome is not None and outcome.answer is not None
    assert outcome.answer.mode == enforced
    assert json.loads(outcome.answer.text)["items"][0]["entity"] == "visitor 0"


@pytest.mark.parametrize("enforced", HUB_MODES)
def test_the_probe_waits_for_a_model_that_thinks_first(recorded, tmp_path, enforced):
    with (
        LLMServer(recorded, enforces=(enforced,), thinking_tokens=1000) as server,
        Store(tmp_path / "a.sqlite") as store,
    ):
        progress = Runner(HubClient("m", base_url=server.url), store).run(requests(1))
        assert progress.mode == enforced
        tried = len(HUB_MODES[: HUB_MODES.index(enforced) + 1])
        assert [entry["max_tokens"] for entry in server.log[: tried + 1]] == [128] + [4096] * tried


def test_a_server_that_refuses_formats_is_asked_in_plain_words(recorded, tmp_path):
    with LLMServer(recorded, refuses=HUB_MODES) as server, Store(tmp_path / "a.sqlite") as store:
        progress = Runner(HubClient("m", base_url=server.url), store).run(requests(3))
        assert (progress.mode, progress.done) == ("none", 3)


def test_prose_is_asked_for_without_a_format(recorded, tmp_path):
    with LLMServer(recorded, enforces=HUB_MODES) as server, Store(tmp_path / "a.sqlite") as store:
        runner = Runner(HubClient("m", base_url=server.url), store, mode="json_schema")
        request = explanation_request("r", "some text", [("text", "Thing")], language="en")
        runner.run([request])
        assert server.log[-1]["mode"] == "none"
        outcome = runner.outcome(request)
    assert outcome is not None and outcome.answer is not None
    assert outcome.answer.mode == "none"


def test_a_proxy_of_the_environment_is_used_and_netrc_is_not(recorded, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login nobody password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with LLMServer(recorded) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ask(HubClient("m", base_url="http://llm.example"), next(requests(1)), "none").text
        monkeypatch.setenv("no_proxy", "llm.example")
        with pytest.raises(RetryableError, match=r"cannot connect to http://llm\.example"):
            ask(HubClient("m", base_url="http://llm.example"), next(requests(1)), "none")
        assert [entry["authorization"] for entry in proxy.log] == [None]


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_without_a_scheme_is_an_http_proxy(recorded, monkeypatch, variable):
    with LLMServer(recorded) as proxy:
        monkeypatch.setenv(variable, proxy.url.removeprefix("http://"))
        assert ask(HubClient("m", base_url="http://llm.example"), next(requests(1)), "none").text


@pytest.mark.parametrize("proxy", ["socks5://user:hunter2@127.0.0.1:9", "http://[bad", "http://", "http://host:x"])
def test_a_proxy_that_is_none_stops_the_run_and_is_not_shown(monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(StopRunError, match=r"http_proxy .*is no http:// or https:// proxy: mend it") as stopped:
        ask(HubClient("m", base_url="http://llm.example"), next(requests(1)), "none")
    assert "hunter2" not in str(stopped.value)


def test_openai_json_schema_reaches_the_server_as_openai_defines_it(recorded):
    """With a URL huggingface_hub alone would send TGI's form."""
    seen = []

    class Listening(LLMServer):
        async def _chat(self, http):
            seen.append(await http.json())
            return await super()._chat(http)

    request = next(requests(1))
    with Listening(recorded) as server:
        ask(HubClient("org/model", base_url=server.url), request, "json_schema")
        ask(HubClient("org/model", base_url=server.url + "/v1"), request, "tgi_value")
    assert seen[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": request.schema, "strict": True},
    }
    assert seen[1]["response_format"] == {"type": "json_object", "value": request.schema}
    assert [body["model"] for body in seen] == ["org/model"] * 2
    assert {key: seen[0][key] for key in ("max_tokens", "temperature")} == {"max_tokens": 256, "temperature": 0.0}
    assert request.schema is not None and request.schema["type"] == "object" and request.schema["properties"]


def test_tgi_native_generate_with_its_grammar(recorded, tmp_path):
    pytest.importorskip("text_generation")
    with LLMServer(recorded, enforces=("tgi_grammar",)) as server, Store(tmp_path / "a.sqlite") as store:
        client = open_client("tgi", base_url=server.url)
        progress = Runner(client, store).run(requests(5))
        assert (progress.mode, progress.done, progress.requests) == ("tgi_grammar", 5, 6)
        outcome = Runner(client, store).outcome(next(requests(1)))
    assert outcome is not None and outcome.answer is not None
    assert (outcome.answer.finish_reason, outcome.answer.model) == ("eos_token", "tgi")


def test_tgi_faults_are_told_apart(recorded, tmp_path, monkeypatch):
    pytest.importorskip("text_generation")
    faults = Faults(seed=4, rate_limited=0.15, html_unavailable=0.1, dropped=0.1, sticky_cut=0.2)
    with LLMServer(recorded, faults=faults) as server, Store(tmp_path / "a.sqlite") as store:
        progress = Runner(open_client("tgi", base_url=server.url), store, max_backoff_seconds=0.1).run(requests(40))
        assert (progress.mode, progress.done + progress.failed) == ("none", 40)
        assert {failure.kind for failure in store.failures()} == {"cut"}
    monkeypatch.setenv("TGI_TOKEN", "a-secret-token")
    with LLMServer(recorded, token="another") as server, Store(tmp_path / "b.sqlite") as store:
        client = open_client("tgi", base_url=server.url, token_env="TGI_TOKEN")
        with pytest.raises(StopRunError, match="TGI_TOKEN") as caught:
            Runner(client, store).run(requests(5))
        assert server.log[0]["authorization"] == "Bearer a-secret-token"
    assert "a-secret-token" not in str(caught.value)


def test_a_server_that_is_not_there_stops_the_run(tmp_path):
    with Store(tmp_path / "a.sqlite") as store:
        runner = Runner(HubClient("m", base_url="http://127.0.0.1:9"), store, max_backoff_seconds=0.01)
        with pytest.raises(StopRunError, match="did not answer"):
            runner.run(requests(3))


def test_redirects_are_not_followed(recorded, tmp_path):
    from aiohttp import web

    class Moved(LLMServer):
        async def _chat(self, http):
            self.log.append({"outcome": "moved"})
            raise web.HTTPTemporaryRedirect("http://user:secret@127.0.0.1:9/elsewhere?key=secret")

    with Moved(recorded) as server, Store(tmp_path / "a.sqlite") as store:
        with pytest.raises(StopRunError, match=r"redirects to http://127\.0\.0\.1:9/elsewhere") as caught:
            Runner(HubClient("m", base_url=server.url), store).run(requests(3))
        assert server.requests == 1
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>welcome</html>", "text/html"),
        ("", "application/json"),
        ("[]", "application/json"),
        ("null", "application/json"),
        ('{"choices": []}', "application/json"),
        ('{"choices": [{"message": "text"}]}', "application/json"),
        ('{"choices": [[]]}', "application/json"),
        ('{"choices": {"a": 1}, "usage": []}', "application/json"),
        ("[" * 100_000, "application/json"),
        ('{"error": "overloaded"}', "application/json"),
    ],
)
@pytest.mark.parametrize("kind", ["hub", "tgi"])
def test_bad_bodies_are_retried(recorded, kind, body, content_type):
    from aiohttp import web

    class Odd(LLMServer):
        async def _chat(self, http):
            return web.Response(text=body, content_type=content_type)

        _generate = _chat

    if kind == "tgi":
        pytest.importorskip("text_generation")
    with Odd(recorded) as server, pytest.raises(RetryableError, match="bad body"):
        ask(open_client(kind, base_url=server.url, model="m"), next(requests(1)), "none")


@pytest.mark.parametrize(
    ("status", "error"),
    [(status, RetryableError) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)]
    + [(status, StopRunError) for status in (401, 402, 403, 404)]
    + [(status, RowError) for status in (400, 413, 422)],
)
def test_what_a_status_means(status, error, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-token")
    token = Token.from_environment("MY_TOKEN")
    found = error_for_status(status, {"Retry-After": "7"}, "no: Bearer s3cr3t-token", endpoint="http://x", token=token)
    assert type(found) is error
    assert str(status) in str(found)
    assert "s3cr3t-token" not in str(found) + repr(token)
    if isinstance(found, RetryableError):
        assert found.retry_after_seconds == 7


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "StopRunError provider:together: HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "RetryableError the Hub cannot be asked who provides the model: Conn"),
    ],
)
def test_a_hub_that_cannot_be_asked_for_a_provider_is_told_as_such(environment, told):
    """In a process of its own: the hub client reads its environment once."""
    program = """
import asyncio
from augmentation.llm.clients import HubClient
from augmentation.llm.tasks import entities_request
client = HubClient("Qwen/Qwen2.5-14B-Instruct", provider="together")
try:
    asyncio.run(client.send(entities_request("r", "a", language="en"), "none"))
except Exception as error:
    print(type(error).__name__, error)
"""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own |= {"HF_TOKEN": "hf_" + "a" * 34} | environment
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=own, capture_output=True, text=True, timeout=90
    )
    assert ended.stdout.startswith(told), ended


def test_retry_after_in_both_forms():
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert (retry_after_seconds("12"), retry_after_seconds("6.0"), retry_after_seconds("0.5")) == (12, 6, 0.5)
    assert retry_after_seconds(email.utils.format_datetime(soon, usegmt=True)) == pytest.approx(30, abs=2)
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nothing in (None, "", "soon", "-5", "1e9999", "٣", "Wed, 99 Oct 2015 07:28:00 GMT"):
        assert retry_after_seconds(nothing) is None


def test_urls_are_shown_without_secrets():
    assert shown_url("https://user:pw@host:8080/v1?key=abc#x") == "https://host:8080/v1"


@pytest.mark.parametrize(
    ("settings", "mend"),
    [
        ({"kind": "hub"}, "--model"),
        ({"kind": "hub", "model": "m", "base_url": "localhost:8080"}, "http://"),
        ({"kind": "hub", "model": "m", "token_env": "NOT_SET_HERE"}, "export NOT_SET_HERE="),
        ({"kind": "tgi"}, "--base_url"),
        ({"kind": "recorded"}, "--answers"),
    ],
)
def test_settings_that_lack_something_say_what(settings, mend):
    with pytest.raises(StopRunError, match=mend):
        open_client(**settings)


def recorded_file(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def test_recorded_answers_are_found_without_white_space_and_final_stop(tmp_path):
    line = {"task": "segmentation", "id": "x#1", "input": "嘉鱼 是 县城。", "completion": '["嘉鱼"]'}
    client = RecordedClient([recorded_file(tmp_path / "a.jsonl", line)])
    completion = ask(client, segmentation_request("other", "嘉鱼是县城", language="zh"), "recorded")
    assert (completion.text, completion.finish_reason, completion.completion_tokens) == ('["嘉鱼"]', None, None)
    with pytest.raises(RowError, match="no recorded answer for task 'entities'"):
        ask(client, entities_request("other", "嘉鱼是县城", language="zh"), "recorded")


def test_two_files_that_answer_one_question_differently_are_refused_by_name(tmp_path):
    def answers(name, text, *entities):
        line = {"task": "targets", "id": name, "input": text, "completion": json.dumps([*entities], indent=1)}
        (tmp_path / name).write_text(json.dumps(line) + "\n", encoding="utf-8")
        return tmp_path / name

    oslo = {"entity": "Oslo", "type": "CITY"}
    few, zero = answers("few.jsonl", "to Oslo .", oslo), answers("zero.jsonl", "to  Oslo")
    with pytest.raises(RecordedAnswersError, match=r"zero\.jsonl, line 1.*'targets'.*'to  Oslo'.*few\.jsonl.*answers"):
        RecordedClient([few, zero])
    same = tmp_path / "same.jsonl"
    same.write_text(few.read_text().replace("\\n", ""), encoding="utf-8")  # the same answer, written otherwise
    assert same.read_text() != few.read_text()
    RecordedClient([few, same, few])


def test_recorded_groups_are_restricted_and_a_second_pass_lets_each_name_stand_alone(tmp_path):
    groups = [
        {"standard": "Film", "synonyms": ["Film", "Movie", "ｍｏｖｉｅ  title"]},
        {"standard": "Place", "synonyms": ["City"]},
    ]
    line = {"task": "merge", "id": "all", "input": "[]", "completion": json.dumps({"groups": groups})}
    client = RecordedClient([recorded_file(tmp_path / "a.jsonl", line)])

    def answer(types: list[str], second_pass: bool = False) -> list[tuple[str, list[str]]]:
        request = merge_request("merge", types, {}, language="en", second_pass=second_pass)
        parsed = parse(request.task, ask(client, request, "recorded").text)
        return [(group.standard, group.synonyms) for group in parsed.value]

    assert answer(["movie", "MOVIE", "Movie Title", "unheard of"]) == [("Film", ["movie", "MOVIE", "Movie Title"])]
    assert answer(["City"]) == [("Place", ["City"])]
    assert answer(["Film", "Movie"], second_pass=True) == [("Film", ["Film"]), ("Movie", ["Movie"])]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not json\n", "line 1: not JSON"),
        ('{"task": "pos"}\n', "line 1: a recorded answer is an object with the strings task, id, input, completion"),
        ('\n{"task": "merge", "id": "all", "input": "", "completion": "[]"}\n', "line 2: the completion of a merge"),
    ],
)
def test_files_that_hold_no_recorded_answers_say_where(tmp_path, content, complaint):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(RecordedAnswersError, match=complaint):
        RecordedClient([tmp_path / "a.jsonl"])
    with pytest.raises(RecordedAnswersError, match="no such file"):
        RecordedClient([tmp_path / "missing.jsonl"])
    (tmp_path / "gbk.jsonl").write_bytes("\n{嘉鱼".encode("gbk"))
    with pytest.raises(InputError, match=r"gbk\.jsonl, line 2: .*not UTF-8"):
        RecordedClient([tmp_path / "gbk.jsonl"])


@pytest.mark.shared
@pytest.mark.parametrize(("name", "language"), [("demo", "en"), ("mit-movie", "en"), ("weibo", "zh")])
def test_every_recorded_answer_of_the_development_files_is_found_and_parses(name, language):
    path = SHARED / "llm" / f"{name}.jsonl"
    client = RecordedClient([path])
    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line)
        if record["task"] in ("entities", "segmentation"):
            make = entities_request if record["task"] == "entities" else segmentation_request
            request = make(record["id"], record["input"], language=language)
            assert client.completion_text(request) == record["completion"]
        parsed = parse(record["task"], record["completion"])
        assert not parsed.repaired


@pytest.mark.parametrize("token", ["sk-\u00fcnicode", "sk-a\nb", "sk-a\x07b"])
def test_a_token_that_no_header_may_hold_is_told_and_never_shown(token, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", token)
    with pytest.raises(StopRunError, match=r"^MY_TOKEN holds a character that no token has; copy it again$"):
        open_client("tgi", model="m", base_url="http://127.0.0.1:9", token_env="MY_TOKEN")
