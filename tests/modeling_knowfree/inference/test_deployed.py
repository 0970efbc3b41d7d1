"""A trained tagger where people deploy taggers: spaCy, an Inference Endpoint, an HTTP server."""

import asyncio
import importlib.util
import shutil
import signal
import socket
import time
from functools import partial
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from knowfree import cli
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.inference import server
from modeling_knowfree.inference.commands import serve
from modeling_knowfree.inference.server import Batcher, Question, make_app
from modeling_knowfree.inference.tag import load_pipeline
from tests.support.forked import Forked, knowfree_forked

TEXT = "left harrow creek trailhead at 5 am ."
FOUND = [("harrow creek trailhead", "PLACE"), ("5 am", "TIME")]


def brief(spans: list[dict]) -> list[tuple[str, str]]:
    return [(span["word"], span["entity_group"]) for span in spans]


def test_spacy_assembles_runs_saves_and_loads_the_component(trained, tmp_path):
    spacy = pytest.importorskip("spacy")
    folder = shutil.copytree(trained, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoint-*"))
    nlp = spacy.blank("en")
    component = nlp.add_pipe("knowfree", config={"model": str(folder)})
    assert set(component.labels) >= {"PLACE", "TIME"}
    docs = list(nlp.pipe([TEXT, "", TEXT], batch_size=2))
    assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == [FOUND, [], FOUND]
    group = docs[0].spans["knowfree"]
    assert [(span.text, span.label_) for span in group] == FOUND
    assert all(0.5 < score <= 1 for score in group.attrs["scores"])
    nlp.to_disk(tmp_path / "saved")
    shutil.rmtree(folder)
    again = spacy.load(tmp_path / "saved")
    assert again.config["components"]["knowfree"]["factory"] == "knowfree"
    assert [(ent.text, ent.label_) for ent in again(TEXT).ents] == FOUND


def test_spans_that_whole_tokens_make_one_are_one_of_the_better_score():
    spacy = pytest.importorskip("spacy")
    from modeling_knowfree.inference.spacy_component import KnowFreeComponent

    nlp = spacy.blank("en")
    doc = spacy.tokens.Doc(nlp.vocab, words=["NewYork", "left"])
    found = [
        {"start": 0, "end": 3, "entity_group": "LOC", "score": 0.6},
        {"start": 3, "end": 7, "entity_group": "LOC", "score": 0.8},
        {"start": 3, "end": 7, "entity_group": "ORG", "score": 0.7},
    ]
    group = KnowFreeComponent(nlp, "knowfree")._set(doc, found).spans["knowfree"]
    assert [(span.text, span.label_) for span in group] == [("NewYork", "LOC"), ("NewYork", "ORG")]
    assert group.attrs["scores"] == [0.8, 0.7]


def test_spacy_keeps_nested_spans_and_flat_entities(nested):
    spacy = pytest.importorskip("spacy")
    from tests.support.space_rows import NESTED_ROWS

    text = "".join(NESTED_ROWS[0][0])
    nlp = spacy.blank("zh")
    nlp.add_pipe("knowfree", config={"model": str(nested)})
    doc = nlp(text)
    expected = load_pipeline(str(nested))(text)
    assert {(span.text, span.label_) for span in doc.spans["knowfree"]} == set(brief(expected))
    covered = [token for ent in doc.ents for token in range(ent.start, ent.end)]
    assert len(covered) == len(set(covered)) > 0


def test_a_component_without_a_model_says_how_to_name_one():
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("knowfree")
    with pytest.raises(ValueError, match="has no model; name one"):
        nlp("a text")


@pytest.fixture(scope="module")
def handler(trained):
    path = Path(importlib.util.find_spec("modeling_knowfree.inference.handler").origin)
    spec = importlib.util.spec_from_file_location("handler", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(trained))


def test_an_endpoint_answers_texts_and_refuses_what_is_none(handler):
    assert brief(handler({"inputs": TEXT})) == FOUND
    assert [brief(spans) for spans in handler({"inputs": [TEXT, ""], "parameters": {"threshold": 0.4}})] == [FOUND, []]
    for bad in (
        {},
        [TEXT],
        None,
        {"inputs": []},
        {"inputs": 3},
        {"inputs": [3]},
        {"inputs": "a", "parameters": {"model": "x"}},
    ):
        assert set(handler(bad)) == {"error"}
    assert "characters a request" in handler({"inputs": "a" * 200_001})["error"]
    assert "threshold='0.5'" in handler({"inputs": "a", "parameters": {"threshold": "0.5"}})["error"]
    assert "threshold=2" in handler({"inputs": "a", "parameters": {"threshold": 2}})["error"]
    assert "the lowest is 0.01" in handler({"inputs": "a", "parameters": {"threshold": 1e-9}})["error"]


def test_an_endpoint_takes_the_units_of_one_sentence_and_of_many(handler):
    units, parameters = TEXT.split(), {"is_split_into_words": True}
    one = handler({"inputs": units, "parameters": parameters})
    assert [handler({"inputs": [units, units], "parameters": parameters})] == [[one, one]]
    for split in (True, 1):
        assert isinstance(handler({"inputs": ["a"] * 300, "parameters": {"is_split_into_words": split}}), list)
    assert "at most 256 texts" in handler({"inputs": ["a"] * 300})["error"]
    assert "characters" in handler({"inputs": [["a" * 100_001] * 2], "parameters": parameters})["error"]


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = CliRunner().invoke(cli, ["serve", str(tmp_path / "none"), "--port", str(port)])
    assert answer.exit_code == 2
    assert f"--port {port}: Address already in use; name another --port" in answer.stderr


@pytest.fixture(scope="module")
def client(trained):
    with TestClient(make_app(str(trained), queue_size=4)) as client:
        yield client


def test_a_server_tags_describes_and_counts(client):
    answer = client.post("/tag", json={"texts": [TEXT, ""]})
    assert answer.status_code == 200
    assert [brief(spans) for spans in answer.json()["spans"]] == [FOUND, []]
    assert client.get("/health").json()["status"] == "ok"
    assert "knowfree_texts 2" in client.get("/metrics").text
    assert "/tag" in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"texts": []}, 422),
        ({"texts": ["a"] * 257}, 422),
        ({"texts": ["a"], "threshold": 1}, 422),
        ({"texts": ["a"], "threshold": 1e-9}, 422),
        ({"texts": ["a"], "model": "evil/repo"}, 422),
        ({"texts": ["a" * 200_001]}, 413),
    ],
)
def test_a_server_refuses_what_is_no_question(client, body, status):
    assert client.post("/tag", json=body).status_code == status


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        (
            rb'{"texts": ["a", "the \ud83d"]}',
            "texts",
            "input 1: character 4 (U+D83D) is half of a surrogate pair, no Unicode text: write the whole character",
        ),
        (b'{"texts": ["a"], "threshold": NaN}', "threshold", "less than 1"),
    ],
)
def test_a_server_tells_what_json_cannot_repeat(client, body, place, message):
    answer = client.post("/tag", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    (told,) = answer.json()["detail"]
    assert told == {"loc": ["body", place], "msg": told["msg"]}
    assert message in told["msg"]


@pytest.mark.parametrize(
    ("body", "told", "last"),
    [
        (
            {"texts": ["a"], "k" * 200_000: 1},
            1,
            f"Value error, '{'k' * 59}...{'k' * 19}': no such key; give texts, threshold, decoding",
        ),
        (
            {"texts": ["a"]} | {str(number): 1 for number in range(100_000)},
            1,
            "Value error, '0' and 99999 more: no such key; give texts, threshold, decoding",
        ),
        ({"texts": [7] * 256}, 11, "… and 246 more"),
        ({"texts": [7] * 100_000}, 1, "List should have at most 256 items after validation, not 100000"),
    ],
)
def test_a_server_answers_shortly_however_much_is_wrong(client, body, told, last):
    answer = client.post("/tag", json=body)
    assert answer.status_code == 422 and len(answer.content) < 2000
    detail = answer.json()["detail"]
    assert (len(detail), detail[-1]["msg"]) == (told, last)


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_a_server_answers_who_asks_for_the_head_alone(client, path):
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == whole.headers


def test_a_server_holds_no_endless_body(client):
    asked = 0

    def endless():
        nonlocal asked
        yield b'{"texts": ["'
        while asked < 1000:
            asked += 1
            yield b"a" * 100_000

    answer = client.post("/tag", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413 and "bytes a request" in answer.text
    assert client.post("/tag", json={"texts": [TEXT]}).status_code == 200


def test_a_question_that_cannot_be_answered_fails_alone(trained):
    pipe = load_pipeline(str(trained))

    def fails(texts, **options):
        if "bad" in texts:
            raise RuntimeError("this one")
        return pipe(texts, **options)

    async def ask() -> list:
        batcher = Batcher(fails)
        worker = asyncio.create_task(batcher.run())
        asked = [batcher.ask(Question(texts=[text])) for text in (TEXT, "bad", TEXT)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        worker.cancel()
        return answers

    first, bad, last = asyncio.run(ask())
    assert brief(first[0]) == brief(last[0]) == FOUND
    assert str(bad) == "this one"


def test_questions_that_wait_together_are_tagged_together_and_too_many_are_refused(trained):
    pipe = load_pipeline(str(trained))
    calls = []

    def counted(texts, **options):
        calls.append(len(texts))
        return pipe(texts, **options)

    async def ask() -> tuple[list, int]:
        batcher = Batcher(counted, queue_size=8)
        worker = asyncio.create_task(batcher.run())
        asked = [batcher.ask(Question(texts=[TEXT])) for _ in range(6)]
        asked += [batcher.ask(Question(texts=[TEXT, ""], decoding="nested"))]
        answers = await asyncio.gather(*asked)
        crowd = await asyncio.gather(*(batcher.ask(Question(texts=["a"])) for _ in range(20)), return_exceptions=True)
        worker.cancel()
        return answers, sum(isinstance(answer, asyncio.QueueFull) for answer in crowd)

    answers, refused = asyncio.run(ask())
    assert all(brief(spans) == FOUND for answer in answers for spans in answer[:1])
    assert calls[:2] == [6, 2]
    assert refused >= 10


def test_what_a_client_asked_that_has_left_is_not_tagged(trained):
    pipe = load_pipeline(str(trained))
    tagged: list[str] = []

    def slow(texts, **options):
        tagged.extend(texts)
        time.sleep(0.3)
        return pipe(texts, **options)

    async def ask() -> list:
        batcher = Batcher(slow, batch_size=1)
        worker = asyncio.create_task(batcher.run())
        first = asyncio.create_task(batcher.ask(Question(texts=[TEXT] * 4)))
        await asyncio.sleep(0.1)  # it is under way
        leaves = asyncio.create_task(batcher.ask(Question(texts=["gone"])))
        stays = asyncio.create_task(batcher.ask(Question(texts=[TEXT])))
        await asyncio.sleep(0)
        leaves.cancel()
        await first
        answer = await stays
        worker.cancel()
        return answer

    assert brief(asyncio.run(ask())[0]) == FOUND and "gone" not in tagged


def test_a_server_notices_who_leaves_and_goes_at_once_when_told_twice(trained):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = knowfree_forked("serve", trained, "--port", port)
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None and b"listening" not in process.errors():
        time.sleep(0.05)
    long = {"texts": ["the bear left at 4 am . " * 8000]}
    with httpx.Client(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{url}/tag", json=long)
    with httpx.Client(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{url}/tag", json=long | {"threshold": 0.4})
    with httpx.Client(timeout=300) as client:
        assert brief(client.post(f"{url}/tag", json={"texts": [TEXT]}).json()["spans"][0]) == FOUND
    with httpx.Client(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{url}/tag", json=long)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) in (0, 128 + signal.SIGINT) and "Traceback" not in process.errors().decode()


def test_a_body_that_does_not_arrive_is_given_up(trained, monkeypatch):
    monkeypatch.setattr(server, "BODY_SECONDS", 0.3)
    asked = b"POST /tag HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = Forked(partial(serve_on, listener, trained))
        with socket.create_connection(listener.getsockname()) as stalled:
            stalled.settimeout(60)
            stalled.sendall(asked)
            answer = b"".join(iter(partial(stalled.recv, 4096), b""))  # until it is closed
            assert answer.startswith(b"HTTP/1.1 408 ") and b"did not arrive within 0.3 seconds" in answer
        with socket.create_connection(listener.getsockname()) as stalled:
            stalled.sendall(asked)
            time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == -signal.SIGTERM


def serve_on(listener, model):
    application = server.make_app(str(model))
    server.Server(server.uvicorn.Config(application, log_level="warning")).run(sockets=[listener])


def test_a_missing_header_is_told(client):
    answer = client.post(
        "/tag", content=b'{"texts": ["a"]}', headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 422 and "send the header content-type: application/json" in answer.text


def test_serving_no_model_is_one_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        CliRunner().invoke(serve, [str(tmp_path / "none")], catch_exceptions=False)
