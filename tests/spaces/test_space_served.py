"""The Space served by a process of its own: its API over HTTP, its page in a real browser."""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.support import ROOT
from tests.support.browser import CHROMIUM, no_browser, playwright_api
from tests.support.space_driver import CHROMIUM_ARGUMENTS, lay_out, serve
from tests.support.space_rows import ENGLISH, NESTED, UPLOADS, as_rows

BROWSER_TIMEOUT = 180_000  # milliseconds; on a machine with nothing else to do every wait is under two seconds
gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed: pip install -e '.[space]'")

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
    ours = {"/tag", "/tag_file", "/models", "/extensions"}
    assert ours <= set(endpoints) <= ours | {"/load_example"}
    learnt = client.predict(NESTED, api_name="/extensions")
    assert {s["label"] for s in learnt[names.chinese]} == set(described[names.chinese]["extension_labels"])
    assert learnt[names.english] == []


BAD_CALLS = [
    ({"text": "x" * 100_000}, "This text has 100,000 characters"),
    ({"text": ENGLISH, "threshold": 0}, "threshold"),
    ({"text": ENGLISH, "threshold": "0.5"}, "threshold"),
    ({"text": ENGLISH, "decoding": "best"}, "decoding"),
    ({"text": ENGLISH, "models": ["<i>x</i>"]}, "No model"),
    ({"text": ENGLISH, "models": []}, "at least one model"),
    ({"text": ENGLISH, "models": "all"}, "list of names"),
    ({"text": ENGLISH, "models": [{}]}, "list of names"),
    ({"text": 7}, "give a string"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS, ids=[str(n) for n in range(len(BAD_CALLS))])
def test_bad_calls_get_a_message_and_the_space_lives_on(client, names, call, message):
    with pytest.raises(gradio_client.exceptions.AppError, match=message) as refusal:
        client.predict(**call, api_name="/tag")
    assert "<i>" not in str(refusal.value)
    assert client.predict("axe", models=[names.english], api_name="/tag")[names.english] != []


@pytest.mark.parametrize("settings", [(0.01, "flat"), (0.5, "best")])
def test_a_file_is_tagged_with_what_a_text_may_be(client, names, tmp_path, settings):
    (tmp_path / "in.txt").write_text(ENGLISH)
    file = gradio_client.handle_file(tmp_path / "in.txt")
    with pytest.raises(gradio_client.exceptions.AppError) as refusal:
        client.predict(file, *settings, [names.english], api_name="/tag_file")
    assert re.search("threshold|minimum|choices|decoding", str(refusal.value))


def test_half_a_surrogate_pair_gets_a_message(space):
    body = b'{"data": ["a \\ud800", null, null, null]}'
    headers = {"Content-Type": "application/json"}
    sent = httpx.post(f"{space}/gradio_api/call/tag", content=body, headers=headers, timeout=60)
    assert sent.status_code == 200, sent.text
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


@pytest.mark.parametrize(("name", "data", "message"), [UPLOADS[at] for at in (0, 8, 13)], ids=["0", "8", "13"])
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


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium. Playwright's event loop counts as running in this thread until it is stopped, so it must not
    outlive the module: `asyncio.run` of later tests would fail."""
    with playwright_api().sync_playwright() as session:
        executable = CHROMIUM or session.chromium.executable_path
        if not Path(executable).exists():
            no_browser("no Chromium on the PATH, and none that `playwright install chromium` put in its place")
        chromium = session.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS, timeout=BROWSER_TIMEOUT)
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


def upload(page, path: Path) -> None:
    """Choose a file in the tab File, and wait until the Space has it: only then is it a link."""
    page.get_by_role("tab", name="File").click()
    page.set_input_files("#file input[type=file]", path)
    page.wait_for_selector("#file td.download a")


SPOKEN = """spoken => JSON.stringify(spoken) === JSON.stringify(
    [...document.querySelectorAll('#drawn .piece[aria-label]')].map(piece => piece.getAttribute('aria-label')))"""
TWO_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
WITHOUT_LABELS = """() => {
    const sentence = document.querySelector('#drawn .spans').cloneNode(true);
    sentence.querySelectorAll('.lane').forEach(lane => lane.remove());
    return sentence.textContent;
}"""
# Notes that the progress bar of a long text was there, however shortly.
WATCH = """() => new MutationObserver(() => {
    if (document.body.innerText.match(/Reading the text/)) window.reads = true;
}).observe(document.body, {subtree: true, childList: true, characterData: true})"""
# Whatever image was to be loaded before this one has failed too when it fails.
FAILING_IMAGE = """new Promise(done => {
    const image = new Image();
    image.onerror = () => done();
    image.src = 'no such image';
})"""


def test_text_slider_and_downloads(visit, names, pipelines):
    page = visit()
    choose(page, names.english)
    tag(page, ENGLISH)
    expected = {at: pipelines["english"](ENGLISH, threshold=at) for at in (0.05, 0.5, 0.95)}

    def is_drawn(at):
        spoken = [f"{s['word']}: {s['entity_group']} {s['score']:.2f}" for s in expected[at]]
        page.wait_for_function(SPOKEN, arg=spoken)
        assert drawn_spans(page) == spoken

    is_drawn(0.5)
    # The keyboard moves the slider: Home and End are its ends.
    slider = page.locator("#threshold input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    is_drawn(0.95)
    page.keyboard.press("Home")
    is_drawn(0.05)

    def downloaded():
        with page.expect_download() as download:
            page.click("#json")
        return json.loads(Path(download.value.path()).read_text(encoding="utf-8"))

    # The buttons change with the drawing, on a busy machine some frames later.
    answers = (page.evaluate(TWO_FRAMES) or downloaded() for _ in range(50))
    answer = next((each for each in answers if each["threshold"] == 0.05), {})
    assert answer["text"] == ENGLISH
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
    page.locator("#beside input").check()
    page.wait_for_function("document.querySelectorAll('#drawn .name').length === 16")
    assert page.locator("#drawn .on.extension .name").count() == 8
    page.locator("#beside input").uncheck()
    page.wait_for_function("document.querySelectorAll('#drawn .name').length === 8")
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
    written = f"{ENGLISH} {ATTACK}".replace("\u202e", "⟨RLO⟩").replace("\u202c", "⟨PDF⟩")
    assert page.evaluate(WITHOUT_LABELS) == written
    titles = page.locator("#drawn .piece[aria-label]").evaluate_all("pieces => pieces.map(piece => piece.title)")
    assert any(HOSTILE_LABEL.replace("\u202e", "⟨RLO⟩") in title for title in titles), titles
    (tmp_path / "<img src=x onerror=window.hit=1>.jsonl").write_text(ATTACK)
    upload(page, tmp_path / "<img src=x onerror=window.hit=1>.jsonl")
    page.click("#tag-file")
    page.get_by_text("Line 1 is not JSON").wait_for()
    page.evaluate(FAILING_IMAGE)
    assert page.evaluate("window.hit") is None


def test_what_is_refused_leaves_no_results_of_before(visit):
    page = visit()
    for refuse in (lambda: (page.fill("#text textarea", "x" * 50_001), page.click("#tag")), lambda: choose(page)):
        tag(page, ENGLISH)
        page.wait_for_selector("#json:not([disabled])")
        refuse()
        page.wait_for_selector("#drawn .spans", state="detached")
        page.wait_for_selector("#json[disabled]")


def tagged_rows(page, texts):
    """Have the uploaded file tagged, and download what was found."""
    page.click("#tag-file")
    page.get_by_text(f"{texts} texts, ").wait_for()
    with page.expect_download() as download:
        page.click("#jsonl")
    return [json.loads(line) for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]


def test_a_file_is_tagged(visit, names, tmp_path):
    page = visit()
    choose(page, names.english)
    (tmp_path / "in.txt").write_text(f"{ENGLISH}\ndeep snow\n")
    upload(page, tmp_path / "in.txt")
    rows = tagged_rows(page, 2)
    assert [row["text"] for row in rows] == [ENGLISH, "deep snow"] and rows[1]["entities"][0]["label"] == "CONDITION"


def test_an_annotated_file_is_tagged_anew(visit, names, tmp_path):
    page = visit()
    choose(page, names.english, names.chinese)
    spans = [{"start": 0, "end": 9, "label": "X"}]
    rows = [{"text": text, "entities": spans[:at]} for at, text in enumerate(["old axe", "deep snow"])]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    upload(page, tmp_path / "in.json")
    rows = tagged_rows(page, 2)
    assert [(row["model"], row["tokens"]) for row in rows] == [
        (names.english, ["old", "axe"]), (names.english, ["deep", "snow"]),
        (names.chinese, list("old axe")), (names.chinese, list("deep snow")),
    ]  # fmt: skip
    assert [span["label"] for row in rows[:2] for span in row["entities"]] == ["GEAR", "CONDITION"]


def test_a_long_text_shows_how_far_it_is(visit, names):
    page = visit()
    choose(page, names.chinese)
    page.evaluate(WATCH)
    page.fill("#text textarea", NESTED * 700)
    page.click("#tag")
    page.get_by_text("drawn: the first 5,000 characters").wait_for()
    assert page.evaluate("window.reads") is True


@pytest.mark.parametrize("by", ["button", "keyboard"])
def test_what_was_asked_first_does_not_come_last(visit, client, names, by):
    page = visit()
    first = f"{by}。" + NESTED * 1500  # a text that was tagged before is remembered, and needs no time
    choose(page, names.chinese)
    page.evaluate(WATCH)
    page.fill("#text textarea", first)
    page.click("#tag")
    page.wait_for_function("window.reads")
    page.fill("#text textarea", NESTED)
    page.click("#tag") if by == "button" else page.press("#text textarea", "Shift+Enter")
    page.wait_for_selector("#drawn .spans")
    client.predict(first[1:], None, None, [names.chinese], api_name="/tag")  # until then the first would be there
    assert page.evaluate(WITHOUT_LABELS) == NESTED


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
    """Writes the pictures of docs/images: KNOWFREE_SCREENSHOTS=docs/images pytest -k screenshots, after `make demo`.
    The Chinese model is the tests' own, overfitted on the sentence it shows; the English ones are of runs/demo-en."""
    from PIL import Image

    folder = Path(os.environ["KNOWFREE_SCREENSHOTS"])
    demo = sorted(path.parent for path in (ROOT / "runs" / "demo-en").glob("all/*/seed-0/config.json"))
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
            if text == NESTED:
                page.locator("#beside input").check()
                page.wait_for_selector("#drawn .on.extension")
            page.get_by_text("Extension scores behind the predictions").click()
            page.wait_for_selector("#extensions table")
            page.wait_for_timeout(1000)
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
            picture.quantize(96, dither=Image.Dither.NONE).save(folder / f"space-{theme}.png", optimize=True)
            assert (folder / f"space-{theme}.png").stat().st_size < 200 * 1024
