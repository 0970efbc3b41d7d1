"""The Space: its functions against tiny trained models, its API over HTTP, its page in a real browser."""

import csv
import html
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from transformers import pipeline

from tests.space_driver import CHROMIUM, CHROMIUM_ARGUMENTS, ROOT, lay_out, serve

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed: pip install -e '.[space]'")

ENGLISH = "the old bear crossed harrow creek at 5 am ."
NESTED = "今天下午张三去北京大学医院，李四在东北大学地铁站。"
# Spans by what they cover; each is found once in its sentence.
NESTED_ROWS = [
    (NESTED, "张三 PER", "北京 LOC", "北京大学 ORG", "北京大学医院 ORG", "李四 PER", "东北 LOC", "东北大学 ORG",
     "东北大学地铁站 LOC"),
    ("今天下午张三去北京大学医院", "张三 PER", "北京 LOC", "北京大学 ORG", "北京大学医院 ORG"),
    ("李四在东北大学地铁站", "李四 PER", "东北 LOC", "东北大学 ORG", "东北大学地铁站 LOC"),
    ("我们一起在嘉鱼", "嘉鱼 LOC"),
    ("张三在嘉鱼见李四。", "张三 PER", "嘉鱼 LOC", "李四 PER"),
    ("我们去北京的时候了！",  "北京 LOC"),
    ("李四去地铁站", "李四 PER", "地铁站 LOC"),
    ("东北大学在东北，北京大学在北京。", "东北大学 ORG", "北京大学 ORG"),
]  # fmt: skip
EXTENSIONS = {"PER": "ENT:person", "ORG": "ENT:organisation", "LOC": "ENT:<b>place</b>"}


@pytest.fixture(scope="session")
def nested(encoder, tmp_path_factory) -> Path:
    """A model of Chinese characters with nested spans and extension columns, overfitted on eight sentences."""
    from experiments.train import train

    rows = []
    for number, (text, *spans) in enumerate(NESTED_ROWS):
        found = []
        for span in spans:
            word, label = span.split()
            start = text.index(word)
            found.append({"start": start, "end": start + len(word), "label": label})
        extensions = [{**span, "label": EXTENSIONS[span["label"]], "source": "llm"} for span in found]
        rows.append({"id": str(number), "tokens": list(text), "entities": found, "extensions": extensions})
    folder = tmp_path_factory.mktemp("nested")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    train(
        [
            *("--model_name_or_path", str(encoder), "--train_file", str(folder / "train.jsonl"), "--use_cpu"),
            *("--task", "nested_ner", "--output_dir", str(folder / "chinese"), "--max_steps", "150"),
            *("--learning_rate", "1e-3", "--disable_tqdm", "true", "--report_to", "none"),
        ]
    )
    return folder / "chinese"


HOSTILE_LABEL = '<img src=x onerror="window.hit=1">\u202egnp'


@pytest.fixture(scope="session")
def hostile(trained, tmp_path_factory) -> Path:
    """The English model with a target label that is markup with a right-to-left override."""
    folder = tmp_path_factory.mktemp("hostile") / "labels"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {
        column: HOSTILE_LABEL if label == "PLACE" else label for column, label in config["id2label"].items()
    }
    config["label2id"] = {label: int(column) for column, label in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def app() -> Iterator[SimpleNamespace]:
    """The app's own modules, but for the page itself: gradio is imported by the served process only, since from here
    it would take the folder `spaces` for a package of that name."""
    folder = str(ROOT / "spaces" / "knowfree_demo")
    sys.path.insert(0, folder)
    import files
    import panels
    import tagger

    yield SimpleNamespace(files=files, panels=panels, tagger=tagger)
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def english(app, trained):
    return app.tagger.Tagger(str(trained), "english")


@pytest.fixture(scope="session")
def chinese(app, nested):
    return app.tagger.Tagger(str(nested), "chinese")


@pytest.fixture(scope="session")
def pipelines(trained, nested) -> dict:
    return {
        name: pipeline("knowfree", model=str(folder), trust_remote_code=True)
        for name, folder in (("english", trained), ("chinese", nested))
    }


def as_rows(spans: list[dict]) -> list[tuple]:
    return [(span["start"], span["end"], span["entity_group"]) for span in spans]


@pytest.mark.parametrize("decoding", [None, "flat", "nested", "all"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("english", ENGLISH), ("english", "  Left Harrow Creek\n\nat 5 AM.  "), ("chinese", NESTED)],
    ids=["sentence", "spacing", "nested"],
)
def test_every_threshold_gives_what_the_pipeline_gives(english, chinese, pipelines, name, text, decoding):
    tagger = {"english": english, "chinese": chinese}[name]
    for threshold in (0.05, 0.2, 0.5, 0.9, 0.99):
        assert_equal_to_pipeline(tagger, pipelines[name], text, threshold, decoding)


def test_so_it_does_for_texts_in_windows(app, trained, nested, pipelines, monkeypatch):
    monkeypatch.setattr(app.tagger, "MOST_HITS", 10**6)
    for name, folder, text in (("english", trained, " ".join([ENGLISH] * 20)), ("chinese", nested, NESTED * 7)):
        tagger = app.tagger.Tagger(str(folder), name)
        assert_equal_to_pipeline(tagger, pipelines[name], text, 0.5, None)
        assert_equal_to_pipeline(tagger, pipelines[name], text, 0.2, "all")


def assert_equal_to_pipeline(tagger, pipe, text, threshold, decoding):
    expected = pipe(text, threshold=threshold, **({"decoding": decoding} if decoding else {}))
    found = tagger.tag(text, threshold, decoding)
    assert [(span.start, span.end, span.label) for span in found] == as_rows(expected)
    assert [span.score for span in found] == pytest.approx([span["score"] for span in expected], abs=1e-5)


def test_the_nested_example_is_nested(chinese):
    assert [NESTED[span.start : span.end] + " " + span.label for span in chinese.tag(NESTED, 0.5, None)] == [
        "张三 PER", "北京 LOC", "北京大学 ORG", "北京大学医院 ORG", "李四 PER", "东北 LOC", "东北大学 ORG",
        "东北大学地铁站 LOC",
    ]  # fmt: skip


def test_the_encoder_runs_once_a_text(english):
    runs = []
    encoder = english.pipe.model.knowfree.encoder
    handle = encoder.register_forward_hook(lambda *_: runs.append(1))
    text = "a bear crossed the north pass on 4 july"
    for threshold in (0.5, 0.05, 0.95, 0.3):
        for decoding in (None, "flat", "all"):
            english.tag(text, threshold, decoding)
    handle.remove()
    assert len(runs) == 1


def test_old_texts_are_forgotten_and_tagged_again(app, trained, monkeypatch):
    monkeypatch.setattr(app.tagger, "REMEMBERED", 2)
    tagger = app.tagger.Tagger(str(trained), "english")
    first = tagger.tag(ENGLISH, 0.5, None)
    for text in ("deep snow", "old axe", "a bear"):
        tagger.tag(text, 0.5, None)
    assert len(tagger._seen) == 2 and ENGLISH not in tagger._seen
    assert tagger.tag(ENGLISH, 0.5, None) == first


def test_too_many_hits_keep_the_best_and_say_so(app, trained, pipelines, monkeypatch):
    monkeypatch.setattr(app.tagger, "MOST_HITS", 4)
    tagger = app.tagger.Tagger(str(trained), "english")
    text = "axe , axe , axe , axe , axe , axe , axe ."
    assert tagger.floor(text) > 0.5
    above = tagger.floor(text)
    assert [(s.start, s.end, s.label) for s in tagger.tag(text, 0.05, "all")] == as_rows(
        pipelines["english"](text, threshold=above, decoding="all")
    )
    assert f"those under {above:.4f} are left out" in app.panels.draw(text, [(tagger, tagger.tag(text, 0.05, "all"))])


def test_extension_logits_are_those_of_the_predicted_cells(chinese, pipelines):
    pipe = pipelines["chinese"]
    pieces = pipe.preprocess([NESTED])[0]["windows"][0]["pieces"]
    feature = {name: getattr(pieces, name) for name in ("input_ids", "unit_ids", "num_units")}
    logits = pipe.model(**pipe.collate([feature]), output_extension_logits=True).logits[0]
    targets = len(chinese.config.target_labels)
    found = chinese.tag(NESTED, 0.5, None)
    assert len(found) == 8
    for span in found:
        expected = logits[span.start, span.end - span.start - 1, targets:].tolist()
        assert span.extension_logits == pytest.approx(expected, abs=1e-4)
    hospital = next(span for span in found if NESTED[span.start : span.end] == "北京大学医院")
    best = max(range(3), key=hospital.extension_logits.__getitem__)
    assert chinese.config.extension_labels[best] == "ENT:organisation"


def test_every_span_of_a_windowed_text_has_its_extension_logits(chinese):
    found = chinese.tag(NESTED * 9, 0.3, None)
    assert len(found) > 50 and {len(span.extension_logits) for span in found} == {3}


def test_a_model_without_extension_columns_has_none(english):
    assert {tuple(span.extension_logits) for span in english.tag(ENGLISH, 0.5, None)} == {()}


def test_threads_share_a_tagger(english):
    texts = [f"{ENGLISH} {word}" for word in ("deep", "snow", "axe", "bear") * 10]
    alone = {text: english.tag(text, 0.5, None) for text in set(texts)}
    english._seen.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: english.tag(text, 0.5, None), texts)) == [alone[text] for text in texts]


def test_models_come_from_the_variable_and_bad_ones_are_told(app, trained, encoder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    named = [trained, encoder, tmp_path / "empty", tmp_path / "no such"]
    monkeypatch.setenv("KNOWFREE_MODELS", ", ".join(map(str, named)))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    taggers, problems = app.tagger.load_taggers()
    assert [tagger.name for tagger in taggers] == ["/".join(trained.parts[-2:])]
    assert len(problems) == 3 and all("cannot be loaded" in problem for problem in problems)
    assert "not a KnowFREE one" in problems[0]


def test_in_a_checkout_the_demo_run_is_found(app, trained, nested, tmp_path, monkeypatch):
    monkeypatch.delenv("KNOWFREE_MODELS", raising=False)
    monkeypatch.setattr(app.tagger, "__file__", str(tmp_path / "spaces" / "knowfree_demo" / "tagger.py"))
    shutil.copytree(nested, tmp_path / "runs" / "demo" / "fused")
    shutil.copytree(trained, tmp_path / "runs" / "demo" / "gold")
    assert any((tmp_path / "runs/demo/gold").glob("checkpoint-*"))
    taggers, problems = app.tagger.load_taggers()
    assert [tagger.name for tagger in taggers] == ["demo/gold", "demo/fused"] and problems == []


def test_without_any_model_the_page_names_the_command(app, tmp_path, monkeypatch):
    monkeypatch.delenv("KNOWFREE_MODELS", raising=False)
    monkeypatch.setattr(app.tagger, "__file__", str(tmp_path / "spaces" / "knowfree_demo" / "tagger.py"))
    assert app.tagger.load_taggers() == ([], [])
    page = app.panels.no_model(["<b>x</b>: cannot be loaded"])
    assert "make demo" in page and "&lt;b&gt;x&lt;/b&gt;" in page and "<b>" not in page


UPLOADS = [
    ("a.txt", b"\xff\xfe\x00", "not UTF-8 text (byte 0)"),
    ("a.txt", b"", "no text"),
    ("a.txt", b" \n\r\n\t", "no text"),
    ("a.txt", b"x\n" * 1001, "1,001 texts"),
    ("a.txt", b"fine\n" + b"x" * 5001, "Line 2: This text has 5,001 characters"),
    ("a.txt", b"x" * (2 * 1024 * 1024 + 1), "2,097,153 bytes"),
    ("a.pdf", b"%PDF", "takes .txt"),
    ("a", b"x", "takes .txt"),
    ("a.jsonl", b'{"text": "fine"}\n{"text": ', "Line 2 is not JSON"),
    ("a.jsonl", b"[" * 100_000, "Line 1 is not JSON"),
    ("a.jsonl", b'"text"', "Line 1 holds neither"),
    ("a.jsonl", b'{"text": 3}', "Line 1 holds neither"),
    ("a.jsonl", b'{"tokens": ["a", 1]}', "Line 1 holds neither"),
    ("a.jsonl", b'{"tokens": "abc"}', "Line 1 holds neither"),
    ("a.jsonl", b'{"text": "a"}\n{"tokens": ["a"]}', "Line 2 has no 'text'"),
    ("a.jsonl", b'{"tokens": ["a"]}\n\n{"text": "a"}', "Line 3 has no 'tokens'"),
    ("a.jsonl", b'{"text": "a\\ud800"}', "Line 1: Character 1 is half of a surrogate pair (U+D800)"),
]


@pytest.mark.parametrize(("name", "data", "message"), UPLOADS, ids=[str(n) for n in range(len(UPLOADS))])
def test_malformed_uploads_are_refused_with_a_reason(app, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(app.files.Refused) as refusal:
        app.files.read_upload(tmp_path / name)
    assert message in str(refusal.value) and len(str(refusal.value)) < 500


def test_uploads_become_rows(app, tmp_path):
    (tmp_path / "a.TXT").write_bytes("\ufeffdeep snow\r\n\r\n我们\n".encode())
    assert app.files.read_upload(tmp_path / "a.TXT") == [{"id": "1", "text": "deep snow"}, {"id": "3", "text": "我们"}]
    (tmp_path / "a.jsonl").write_text('{"id": 7, "tokens": ["deep", "snow"], "entities": []}\n{"tokens": []}')
    assert app.files.read_upload(tmp_path / "a.jsonl") == [
        {"id": "7", "tokens": ["deep", "snow"]},
        {"id": "2", "tokens": []},
    ]


def test_csv_holds_no_formula(app):
    table = app.files.to_csv(["word", "score"], [["=1+1", 0.5], ["@x", -1.0], ['嘉鱼, "a"\n', 1.0]])
    assert table == '\ufeffword,score\r\n\'=1+1,0.5\r\n\'@x,-1.0\r\n"嘉鱼, ""a""\n",1.0\r\n'.encode()


def test_the_heat_map_by_span_and_by_label(app, chinese):
    found = [(chinese, chinese.tag(NESTED, 0.5, None))]
    spans = app.panels.extension_scores(NESTED, found, by_label=False)
    assert spans.count('scope="col"') == 1 + 8 and spans.count('scope="row"') == 3
    assert "ENT:&lt;b&gt;place&lt;/b&gt;" in spans and "<b>" not in spans
    labels = app.panels.extension_scores(NESTED, found, by_label=True)
    assert labels.count('scope="col"') == 1 + 3 and "mean of 3 spans" in labels
    organisations = [span.extension_logits for _, spans in found for span in spans if span.label == "ORG"]
    person = chinese.config.extension_labels.index("ENT:person")
    mean = sum(logits[person] for logits in organisations) / len(organisations)
    assert len(organisations) == 3 and f">{mean:.1f}</td>" in labels


def test_a_drawing_keeps_the_text_as_it_was_written(app, english):
    text = " Left  Harrow\tCreek\n<b>at 5 AM</b>. "
    drawn = app.panels.draw(text, [(english, english.tag(text, 0.5, None))])
    assert "<b>" not in drawn
    sentence = re.sub('<span class="lane.*?</span></span>|<span class="lane[^>]*></span>', "", drawn)
    sentence = re.sub("<[^>]*>", "", sentence[sentence.index('<div class="spans"') :])
    assert html.unescape(sentence) == text.lstrip()


# Over HTTP


@pytest.fixture(scope="session")
def space(trained, nested, hostile, tmp_path_factory) -> Iterator[str]:
    """Address of a served Space with three models."""
    with serve(lay_out(tmp_path_factory.mktemp("space") / "app"), [trained, nested, hostile]) as url:
        yield url


@pytest.fixture(scope="session")
def names(trained, nested, hostile) -> SimpleNamespace:
    """What the Space calls its models."""
    english, chinese, bad = ("/".join(folder.parts[-2:]) for folder in (trained, nested, hostile))
    return SimpleNamespace(english=english, chinese=chinese, hostile=bad)


@pytest.fixture(scope="session")
def client(space):
    return gradio_client.Client(space, verbose=False)


def test_the_api_tags_and_describes_itself(client, names, pipelines):
    answer = client.predict(ENGLISH, threshold=0.3, decoding="all", models=[names.english], api_name="/tag")
    expected = pipelines["english"](ENGLISH, threshold=0.3, decoding="all")
    assert [(s["start"], s["end"], s["label"], s["word"]) for s in answer[names.english]] == [
        (s["start"], s["end"], s["entity_group"], s["word"]) for s in expected
    ]
    everyone = client.predict(NESTED, api_name="/tag")
    assert list(everyone) == [names.english, names.chinese, names.hostile] and len(everyone[names.chinese]) == 8
    assert client.predict(" \n", models=[names.chinese], api_name="/tag") == {names.chinese: []}
    described = client.predict(api_name="/models")
    assert described[names.chinese]["labels"] == ["LOC", "ORG", "PER"]
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert {"/tag", "/tag_file", "/models"} <= set(endpoints)
    assert not {name for name in endpoints if name not in ("/tag", "/tag_file", "/models", "/load_example")}


BAD_CALLS = [
    ({"text": "x" * 100_000}, "This text has 100,000 characters"),
    ({"text": ENGLISH, "threshold": 0}, "threshold"),
    ({"text": ENGLISH, "threshold": "0.5"}, "threshold"),
    ({"text": ENGLISH, "decoding": "best"}, "decoding"),
    ({"text": ENGLISH, "models": ["<i>x</i>"]}, "No model"),
    ({"text": ENGLISH, "models": []}, "at least one model"),
    ({"text": ENGLISH, "models": "all"}, "list of names"),
    ({"text": 7}, "give a string"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS, ids=[str(n) for n in range(len(BAD_CALLS))])
def test_bad_calls_get_a_message_and_the_space_lives_on(client, names, call, message):
    with pytest.raises(gradio_client.exceptions.AppError, match=message) as refusal:
        client.predict(**call, api_name="/tag")
    assert "<i>" not in str(refusal.value)
    assert client.predict("axe", models=[names.english], api_name="/tag")[names.english] != []


def test_half_a_surrogate_pair_gets_a_message(space):
    body = b'{"data": ["a \\ud800", null, null, null]}'
    sent = httpx.post(f"{space}/gradio_api/call/tag", content=body, headers={"Content-Type": "application/json"})
    answer = httpx.get(f"{space}/gradio_api/call/tag/{sent.json()['event_id']}", timeout=60).text
    assert answer.startswith("event: error") and "Character 2 is half of a surrogate pair (U+D800)" in answer


def test_the_api_tags_a_file(client, names, tmp_path, pipelines):
    texts = [ENGLISH, "<b>axe</b>", *(f"the bear left at {hour} am" for hour in range(1, 40))]
    (tmp_path / "in.txt").write_text("\n".join(texts))
    file = gradio_client.handle_file(tmp_path / "in.txt")
    state, lines, sheet, _ = client.predict(file, 0.5, "model's own", [names.english], api_name="/tag_file")
    rows = [json.loads(line) for line in Path(lines).read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == texts and {row["model"] for row in rows} == {names.english}
    expected = pipelines["english"](texts)
    assert [[(s["start"], s["end"], s["label"]) for s in row["entities"]] for row in rows] == [
        as_rows(spans) for spans in expected
    ]
    with open(sheet, encoding="utf-8-sig", newline="") as handle:
        table = list(csv.DictReader(handle))
    assert len(table) == sum(map(len, expected)) and table[0]["word"] == expected[0][0]["word"]
    assert state.startswith("41 texts")


@pytest.mark.parametrize(("name", "data", "message"), [UPLOADS[0], UPLOADS[8], UPLOADS[14]], ids=["0", "8", "14"])
def test_a_malformed_upload_gets_a_message(client, names, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    file = gradio_client.handle_file(tmp_path / name)
    with pytest.raises(gradio_client.exceptions.AppError) as refusal:
        client.predict(file, 0.5, "flat", [names.english], api_name="/tag_file")
    assert message.replace("'", "&#x27;") in str(refusal.value)


def test_a_space_without_models_says_how_to_make_one(tmp_path):
    with serve(lay_out(tmp_path / "app"), [tmp_path / "<i>gone</i>"]) as url:
        config = gradio_client.Client(url, verbose=False).config
    page = json.dumps(config["components"])
    assert "make demo" in page and "KNOWFREE_MODELS" in page and "<i>" not in page and "&lt;i&gt;" in page


# In a browser


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, space):
    """Opens the Space: `visit(theme="dark", width=390)`; at the end, asserts that nothing came from elsewhere."""
    pages, elsewhere = [], []

    def note(request):
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            elsewhere.append(request.url)

    def make(theme: str = "light", width: int = 1200, url: str = space):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(BROWSER_TIMEOUT)
        page.on("request", note)
        page.goto(f"{url}/?__theme={theme}")
        page.wait_for_selector("#text textarea")
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()
    assert elsewhere == []


BROWSER_TIMEOUT = 60_000  # milliseconds


def choose(page, *names: str) -> None:
    """Leave only these models checked."""
    for box in page.locator("#models input[type=checkbox]").all():
        box.set_checked(box.get_attribute("name") in names)


def tag(page, text: str) -> None:
    page.fill("#text textarea", text)
    page.click("#tag")
    page.wait_for_selector("#drawn .spans")


def drawn_spans(page) -> list[str]:
    """What a screen reader would say of the spans on the page."""
    return [piece.get_attribute("aria-label") for piece in page.locator("#drawn .piece[aria-label]").all()]


def set_threshold(page, value: float) -> None:
    page.fill("#threshold input[type=number]", str(value))
    page.keyboard.press("Tab")


def test_text_slider_and_downloads(visit, names, pipelines):
    page = visit()
    choose(page, names.english)
    tag(page, ENGLISH)
    expected = {at: pipelines["english"](ENGLISH, threshold=at) for at in (0.05, 0.5, 0.95)}

    def is_drawn(at):
        spoken = [f"{s['word']}: {s['entity_group']} {s['score']:.2f}" for s in expected[at]]
        page.wait_for_function(
            "n => document.querySelectorAll('#drawn .piece[aria-label]').length === n", arg=len(spoken)
        )
        assert drawn_spans(page) == spoken

    is_drawn(0.5)
    # The keyboard moves the slider: Home and End are its ends.
    slider = page.locator("#threshold input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    is_drawn(0.95)
    page.keyboard.press("Home")
    is_drawn(0.05)
    with page.expect_download() as download:
        page.click("#json")
    answer = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert answer["text"] == ENGLISH and answer["threshold"] == 0.05
    assert [(s["start"], s["end"], s["label"]) for s in answer["models"][names.english]] == as_rows(expected[0.05])
    with page.expect_download() as download:
        page.click("#csv")
    table = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(table) == 1 + len(expected[0.05]) and table[0] == "model,start,end,label,score,word"


def test_the_chinese_example_is_drawn_nested_and_the_keyboard_reaches_it(visit, names):
    page = visit()
    choose(page, names.chinese)
    page.get_by_text("今天下午张三去北京大学医院").first.click()
    page.wait_for_selector("#drawn .spans")
    assert len(page.locator("#drawn .name").all()) == 8
    beijing = page.locator("#drawn .piece", has_text="北京").first
    assert beijing.locator(".on").count() == 3
    lines = [line.bounding_box()["y"] for line in beijing.locator(".on").all()]
    assert lines == sorted(set(lines))
    page.focus("#tag")
    spoken = []
    for _ in range(30):
        page.keyboard.press("Tab")
        spoken.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert any(s and s.startswith("北京: LOC") and "北京大学医院: ORG" in s for s in spoken)
    page.get_by_text("Extension scores behind the predictions").click()
    page.wait_for_selector("#extensions table")
    assert page.locator("#extensions thead th").count() == 9
    page.get_by_label("mean of each label").check()
    page.wait_for_function("document.querySelectorAll('#extensions thead th').length === 4")


def test_models_stand_side_by_side(visit, names):
    page = visit()
    choose(page, names.english, names.hostile)
    tag(page, ENGLISH)
    boxes = [section.bounding_box() for section in page.locator("#drawn section").all()]
    assert len(boxes) == 2 and boxes[0]["y"] == boxes[1]["y"] and boxes[1]["x"] > boxes[0]["x"] + 200
    narrow = visit(width=390)
    choose(narrow, names.english, names.hostile)
    tag(narrow, ENGLISH)
    boxes = [section.bounding_box() for section in narrow.locator("#drawn section").all()]
    assert boxes[1]["y"] > boxes[0]["y"] and boxes[0]["x"] == boxes[1]["x"]
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390


ATTACK = (
    "<script>window.hit=1</script><img src=x onerror=window.hit=1> {{value}} ${window.hit=1} \u202eharrow creek\u202c ."
)


def test_markup_and_direction_overrides_do_nothing(visit, names, tmp_path):
    page = visit()
    choose(page, names.hostile)
    tag(page, f"{ENGLISH} {ATTACK}")
    page.wait_for_function("document.querySelector('#spans').innerText.includes('⟨RLO⟩')")
    for area in ("#drawn", "#spans"):
        shown = page.locator(area).inner_text()
        assert "<img src=x" in shown and "\u202e" not in shown and "⟨RLO⟩" in shown
        assert page.locator(f"{area} img, {area} script").count() == 0
    assert "{{value}} ${window.hit=1}" in page.locator("#drawn .spans").inner_text().replace("\n", "")
    assert HOSTILE_LABEL.replace("\u202e", "⟨RLO⟩") in page.locator("#drawn .piece[aria-label]").first.get_attribute(
        "title"
    )
    (tmp_path / "<img src=x onerror=window.hit=1>.jsonl").write_text(ATTACK)
    page.get_by_role("tab", name="File").click()
    page.set_input_files("#file input[type=file]", tmp_path / "<img src=x onerror=window.hit=1>.jsonl")
    page.wait_for_timeout(500)
    page.click("#tag-file")
    page.get_by_text("Line 1 is not JSON").wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit") is None


def test_a_file_is_tagged(visit, names, tmp_path):
    page = visit()
    choose(page, names.english)
    page.get_by_role("tab", name="File").click()
    (tmp_path / "in.txt").write_text(f"{ENGLISH}\ndeep snow\n")
    page.set_input_files("#file input[type=file]", tmp_path / "in.txt")
    page.get_by_text("in.txt").first.wait_for()
    page.click("#tag-file")
    page.get_by_text("2 texts, ").wait_for()
    with page.expect_download() as download:
        page.click("#jsonl")
    rows = [json.loads(line) for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == [ENGLISH, "deep snow"] and rows[1]["entities"][0]["label"] == "CONDITION"


def test_a_text_over_the_limit_gets_a_message(visit, names):
    page = visit()
    page.fill("#text textarea", "x" * 100_000)
    page.click("#tag")
    page.get_by_text("This text has 100,000 characters").wait_for()


CONTRAST = """ground => [...document.querySelectorAll('#drawn .on')].map(line => {
    const parse = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = channels => channels.map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    let box = line;
    while (/rgba\\(0, 0, 0, 0\\)/.test(getComputedStyle(box).backgroundColor)) box = box.parentElement;
    const name = line.querySelector('.name') || line;
    const pair = [parse(getComputedStyle(name).color), parse(getComputedStyle(box).backgroundColor)].map(light);
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_labels_are_readable(visit, names, theme):
    page = visit(theme=theme)
    choose(page, names.english, names.chinese)
    tag(page, ENGLISH)
    contrasts = page.evaluate(CONTRAST)
    assert contrasts and min(contrasts) >= 4.5


@pytest.mark.skipif("KNOWFREE_SCREENSHOTS" not in os.environ, reason="KNOWFREE_SCREENSHOTS names no folder")
def test_screenshots(visit, nested, browser, tmp_path):
    """Writes the pictures of docs/images: KNOWFREE_SCREENSHOTS=docs/images pytest tests/test_space.py -k screenshots.
    The Chinese model is the tests' own, overfitted on the sentence it shows; the English ones are of runs/demo."""
    from PIL import Image

    folder = Path(os.environ["KNOWFREE_SCREENSHOTS"])
    demo = sorted(path.parent for path in (ROOT / "runs" / "demo").glob("*/config.json"))
    with serve(lay_out(tmp_path / "app"), [*demo, nested]) as url:
        for theme, width, text in (
            ("light", 1200, "We lost the blazes near Harrow Creek, and my trekking poles snapped on the ice at dusk."),
            ("dark", 1200, NESTED),
            ("phone", 390, NESTED),
        ):
            page = visit(theme=theme if theme != "phone" else "light", width=width, url=url)
            chinese = "/".join(nested.parts[-2:])
            choose(page, *([chinese] if text == NESTED else ["/".join(path.parts[-2:]) for path in demo]))
            tag(page, text)
            page.get_by_text("Extension scores behind the predictions").click()
            page.wait_for_selector("#extensions table")
            page.wait_for_timeout(1000)
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
            picture.quantize(96, dither=Image.Dither.NONE).save(folder / f"space-{theme}.png", optimize=True)
            assert (folder / f"space-{theme}.png").stat().st_size < 200 * 1024
