"""The review page in a real browser: filter, reject, save the decisions, export without what was rejected."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import load_dataset

import knowfree
from augmentation.finished import record_state
from augmentation.llm.recorded import RecordedClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.pipeline import Augmentation
from augmentation.settings import check_settings, load_settings, settings_text, state_of
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.training.features import loss_weight
from tests.support.augment_call import call
from tests.support.browser import chromium, playwright_api

CHROMIUM_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]

BEAR = "we met <script>alert(1)</script> the bear near harrow creek ."
WOLF = "the wolf & its cubs slept ."
TENT = "the bear ran past our tent at night ."
GOLD = {
    "r1": (BEAR, [(4, 5, "WILDLIFE"), (6, 8, "PLACE")]),
    "r2": (WOLF, [(1, 2, "WILDLIFE")]),
}
ENTITIES = {
    BEAR: [("harrow creek", "Water"), ("creek", "Stream"), ("<img src=x onerror=alert(2)>", "<i>Ghost</i>")],
    WOLF: [("wolf", "Animal"), ("cubs", "Animal")],
    TENT: [("bear", "Animal"), ("tent", "<u>Shelter</u>")],
}


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def recorded():
    for text, pairs in ENTITIES.items():
        yield "entities", text, json.dumps([{"entity": entity, "type": type_} for entity, type_ in pairs])
        yield "pos", text, json.dumps([{"word": word, "pos": "NOUN"} for word in text.split()])
    yield "targets", TENT, json.dumps([{"entity": "bear", "type": "WILDLIFE"}])
    yield "explanation", BEAR, TENT
    yield "explanation", WOLF, "..."
    types = dict.fromkeys(type_ for pairs in ENTITIES.values() for _, type_ in pairs)
    groups = [{"standard": type_, "synonyms": [type_]} for type_ in types]
    yield "merge", "all", json.dumps({"groups": groups})


@pytest.fixture
def run_folder(tmp_path):
    """A finished run of two gold rows and a synthetic one, with text that would be markup if it were not escaped."""
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [
        {"id": name, "tokens": text.split(), "entities": [{"start": s, "end": e, "label": x} for s, e, x in spans]}
        for name, (text, spans) in GOLD.items()
    ]
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = [{"task": task, "id": "x", "input": text, "completion": said} for task, text, said in recorded()]
    (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers), encoding="utf-8")
    values = {"train_file": "gold.jsonl", "language": "en", "client": "recorded", "answers": ["answers.jsonl"]}
    settings = check_settings(values, "test")
    (folder / "augment.yaml").write_text(settings_text(settings), encoding="utf-8")

    def one_direction_a_text(texts):
        return np.eye(len(texts))

    with Store(folder / "answers.sqlite") as store:
        runner = Runner(RecordedClient([folder / "answers.jsonl"]), store)
        augmentation = Augmentation(folder, settings, runner, one_direction_a_text)
        augmentation.ask()
        counts = augmentation.write()
    assert counts["failed"] == {} and counts["synthetic"]["rows"] == 1
    return folder


def test_page_escapes_all_text(run_folder):
    call("review", run_folder)
    page = (run_folder / "review.html").read_text(encoding="utf-8")
    assert "alert(1)" in page and "<script>alert" not in page
    assert "<img" not in page and "<i>" not in page and "<u>" not in page
    assert "&lt;u&gt;Shelter&lt;/u&gt;" in page


def test_page_shows_the_samples_asked_for(run_folder, tmp_path):
    call("review", run_folder, "--start", "1", "--limit", "1", "--output", tmp_path / "one.html")
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert page.count("<article") == 1 and 'data-id="r2"' in page


@pytest.fixture
def browser():
    """A headless Chromium. Ask for it after `run_folder`: Playwright keeps an event loop running in this thread."""
    executable = chromium()
    with playwright_api().sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def opened(browser, path):
    """The page, and what went wrong on it: dialogs and messages of the console."""
    page = browser.new_page()
    troubles = []
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(path.as_uri())
    return page, troubles


def test_filter_reject_save_and_export(run_folder, browser, tmp_path):
    call("review", run_folder)
    page, troubles = opened(browser, run_folder / "review.html")
    article = {name: page.locator(f'article[data-id="{name}"]') for name in ("r1", "r2", "r1#1")}

    def visible():
        return {name for name, found in article.items() if found.is_visible()}

    assert visible() == {"r1", "r2", "r1#1"}
    page.select_option("#label", "ENT:Animal")
    assert visible() == {"r2", "r1#1"}
    page.select_option("#kind", "synthetic")
    assert visible() == {"r1#1"}
    page.select_option("#label", "PLACE")
    assert visible() == set() and page.locator("#none").is_visible()
    page.select_option("#label", "")
    page.select_option("#kind", "")
    page.check("#dropped")
    assert visible() == {"r1"}
    page.uncheck("#dropped")
    page.fill("#text", "<SCRIPT>alert")
    assert visible() == {"r1"}
    page.fill("#text", "")

    article["r1"].get_by_text("1 dropped").click()
    assert article["r1"].locator("tbody tr").first.inner_text().split("\t") == [
        *("<img src=x onerror=alert(2)>", "<i>Ghost</i>", "not in the text"),
    ]
    article["r1"].locator("details.list summary").click()
    article["r1"].get_by_role("button", name="reject ENT:Stream: creek", exact=True).click()
    article["r1"].get_by_role("button", name="reject PLACE: harrow creek", exact=True).click()
    assert article["r1"].locator(".on.rejected").count() == 3  # a piece for creek, two for harrow and creek
    article["r2"].get_by_role("button", name="Reject sample").click()
    article["r1#1"].get_by_role("button", name="Accept sample").click()
    page.check("#undecided")
    assert visible() == set()
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "decisions.json"
    download.value.save_as(run_folder / "decisions.json")
    assert json.loads((run_folder / "decisions.json").read_text(encoding="utf-8")) == {
        "rows": {
            "r1": {"spans": {"7-8-ENT:Stream": "rejected", "6-8-PLACE": "rejected"}, "text": BEAR},
            "r2": {"spans": {}, "sample": "rejected", "text": WOLF},
            "r1#1": {"spans": {}, "sample": "accepted", "text": TENT},
        }
    }
    assert troubles == []

    told = call("export", run_folder, "--format", "jsonl", "--output", tmp_path / "jsonl")
    assert "fusion: left out 1 samples, 1 targets, 1 extensions" in told and "synthetic: all rows" in told
    [row] = lines_of(tmp_path / "jsonl" / "fusion.jsonl")
    assert row["entities"] == [{"start": 4, "end": 5, "label": "WILDLIFE"}]
    labels = {extension["label"] for extension in row["extensions"]}
    assert "ENT:Water" in labels and "ENT:Stream" not in labels
    assert [row["id"] for row in lines_of(tmp_path / "jsonl" / "train.jsonl")] == ["r1", "r1#1"]

    call("export", run_folder, "--format", "conll", "--output", tmp_path / "conll")
    bear, tent = (tmp_path / "conll" / "train.conll").read_text(encoding="utf-8").strip().split("\n\n")
    assert bear.splitlines()[0] == "# id = r1"
    assert bear.splitlines()[3:8] == [
        "<script>alert(1)</script>\tO",
        "the\tO",
        "bear\tB-WILDLIFE",
        "near\tO",
        "harrow\tO",
    ]
    assert tent.splitlines()[1:3] == ["the\tO", "bear\tB-WILDLIFE"]

    call("export", run_folder, "--format", "datasets", "--output", tmp_path / "datasets")
    fusion = load_dataset(str(tmp_path / "datasets"), "fusion", split="train", cache_dir=str(tmp_path / "cache"))
    assert fusion["id"] == ["r1"]
    assert fusion[0]["entities"] == [{"start": 4, "end": 5, "label": "WILDLIFE", "score": None, "weight": None}]

    call("review", run_folder)  # the page made anew knows the decisions
    page, _ = opened(browser, run_folder / "review.html")
    assert page.locator('article[data-id="r2"] button.reject').get_attribute("aria-pressed") == "true"
    assert page.locator('article[data-id="r1"] .on.rejected').count() == 3


def test_decision_can_be_taken_back(run_folder, browser):
    call("review", run_folder)
    page, _ = opened(browser, run_folder / "review.html")
    button = page.locator('article[data-id="r2"] button.reject')
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    with page.expect_download() as download:
        page.click("#save")
    assert json.loads(download.value.path().read_text(encoding="utf-8")) == {"rows": {}}


def test_ids_that_every_javascript_object_knows_are_samples_like_others(run_folder, browser):
    call("review", run_folder)
    path = run_folder / "review.html"
    page = path.read_text(encoding="utf-8").replace('data-id="r1"', 'data-id="constructor"')
    path.write_text(page.replace('data-id="r2"', 'data-id="__proto__"'), encoding="utf-8")
    page, troubles = opened(browser, path)
    page.locator('article[data-id="__proto__"] button.reject').click()
    assert page.locator('article[data-id="constructor"].rejected').count() == 0
    with page.expect_download() as download:
        page.click("#save")
    assert json.loads(download.value.path().read_text(encoding="utf-8")) == {
        "rows": {"__proto__": {"spans": {}, "sample": "rejected", "text": WOLF}}
    }
    assert troubles == []


def test_a_page_takes_the_place_of_a_page_alone(run_folder):
    before = (run_folder / "gold.jsonl").read_bytes()
    assert f"--output {run_folder / 'gold.jsonl'}: exists already" in failing(
        "review", run_folder, "--output", run_folder / "gold.jsonl"
    )
    assert (run_folder / "gold.jsonl").read_bytes() == before
    call("review", run_folder)
    call("review", run_folder)


def test_words_and_tags_can_be_left_undrawn_and_take_no_room_then(run_folder, browser):
    call("review", run_folder)
    page, _ = opened(browser, run_folder / "review.html")
    drawn = page.locator('article[data-id="r1"] .spans')
    tall = drawn.bounding_box()["height"]
    assert drawn.get_by_text("NOUN").first.is_visible()
    page.uncheck("#extensions")
    assert not drawn.get_by_text("NOUN").first.is_visible()
    assert drawn.get_by_text("ENT:Stream").is_visible()
    assert tall - drawn.bounding_box()["height"] >= 16  # a line of labels


def test_decisions_that_match_nothing_are_told(run_folder, tmp_path):
    rows = {
        "r1": {"spans": {"6-8-PLACE": "rejected"}},
        "r2": {"spans": {"1-2-ANIMAL": "rejected"}},
        "r1#1": {"sample": "accepted"},
        "r1#7": {"sample": "rejected"},
    }
    other = {"r1": {"sample": "rejected", "text": "the id of another sentence then"}}
    (run_folder / "decisions.json").write_text(json.dumps({"rows": other}), encoding="utf-8")
    told = call("export", run_folder, "--format", "jsonl", "--output", tmp_path / "other")
    assert "decisions unmatched: 1 rows have changed since, look at them again: r1\n" in told
    assert "fusion: all rows and spans" in told
    (run_folder / "decisions.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    told = call("export", run_folder, "--format", "jsonl", "--output", tmp_path / "one")
    assert "decisions unmatched: 2 rows have changed since, look at them again: r2, r1#7\n" in told
    del rows["r2"], rows["r1#7"]
    (run_folder / "decisions.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert "unmatched" not in call("export", run_folder, "--format", "jsonl", "--output", tmp_path / "two")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ('{"rows": {"r1": {"sample": "maybe"}}}', "rows.r1.sample is 'maybe'"),
        ('{"lines": {}}', "lines"),
    ],
)
def test_broken_decisions_file_is_an_error_and_writes_nothing(run_folder, tmp_path, text, told):
    (run_folder / "decisions.json").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(knowfree.cli, ["augment", "export", str(run_folder), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and told in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format_", ["datasets", "jsonl", "conll"])
def test_export_touches_nothing_that_is_there(run_folder, tmp_path, format_):
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("mine")
    for output in (run_folder, other):
        before = {path: path.read_bytes() for path in output.iterdir()}
        told = failing("export", run_folder, "--format", format_, "--output", output)
        assert f"--output {output}: exists and is not empty" in told
        assert {path: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.parametrize("format_", ["datasets", "jsonl", "conll"])
def test_a_damaged_result_is_named_before_anything_is_exported(run_folder, tmp_path, format_):
    path = run_folder / "synthetic.jsonl"
    whole = path.read_text(encoding="utf-8")
    damages = {
        whole[:30]: f"{path}: 0 lines, where 1 were written",
        whole[:30] + "\n": f"{path}, line 1: not JSON",
        whole + whole: f"{path}: 2 lines, where 1 were written",
        "{}\n": f"{path}: has no 'id'",
    }
    for left, why in damages.items():
        path.write_text(left, encoding="utf-8")
        told = failing("export", run_folder, "--format", format_, "--output", tmp_path / "out")
        assert why in told and not (tmp_path / "out").exists()
        assert why in failing("review", run_folder) or "line 1" in why
    path.unlink()
    for command in (["review"], ["export", "--format", format_, "--output", tmp_path / "out"]):
        assert f"{path}: 0 lines, where 1 were written" in failing(command[0], run_folder, *command[1:])


def test_results_of_before_are_told_and_those_of_a_run_that_did_not_end_are_refused(run_folder, tmp_path):
    gold = run_folder / "gold.jsonl"
    gold.write_text(gold.read_text(encoding="utf-8").replace("PLACE", "WATER"), encoding="utf-8")
    told = call("export", run_folder, "--format", "jsonl", "--output", tmp_path / "one")
    assert "these results are from before: train_file" in told
    record_state(run_folder, state_of(run_folder, load_settings(run_folder)))  # as a run does before it asks
    assert "a run with other input or settings has begun since" in failing(
        "export", run_folder, "--format", "jsonl", "--output", tmp_path / "two"
    )


@pytest.mark.parametrize("left", ["{}", '{"input": [], "settings": {}}', '{"input": {}, "settings": 3}'])
def test_a_state_that_holds_something_else_is_named(run_folder, left):
    (run_folder / "state.json").write_text(left, encoding="utf-8")
    assert f"{run_folder / 'state.json'}" in failing("review", run_folder)


def failing(*arguments):
    """What a command says that ends with code 2."""
    result = CliRunner().invoke(knowfree.cli, ["augment", *map(str, arguments)])
    assert result.exit_code == 2
    return result.output


def test_synthetic_rows_weigh_the_same_however_they_are_exported(run_folder, tmp_path):
    for format_ in ("datasets", "jsonl"):
        call("export", run_folder, "--format", format_, "--output", tmp_path / format_)
    rows = read_rows(tmp_path / "jsonl" / "train.jsonl")
    assert [loss_weight(row, 0.4) for row in rows] == [1, 1, 0.4]
    assert [loss_weight(row, 0.4) for row in read_rows(tmp_path / "datasets" / "train" / "train.parquet")] == [
        1,
        1,
        0.4,
    ]
