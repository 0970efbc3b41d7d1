"""The Space's functions against tiny trained models."""

import asyncio
import html
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from tests.support import ROOT
from tests.support.space_rows import ENGLISH, NESTED, UPLOADS, as_rows


@pytest.fixture(scope="session")
def app() -> Iterator[SimpleNamespace]:
    """The app's own modules, but for the page itself: gradio is imported by the served process only, since from here
    it would take the folder `spaces` for a package of that name."""
    folder = str(ROOT / "spaces" / "knowfree_demo")
    sys.path.insert(0, folder)
    import files
    import formats
    import limits
    import panels
    import tagger

    yield SimpleNamespace(files=files, formats=formats, limits=limits, panels=panels, tagger=tagger)
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def english(app, trained):
    return app.tagger.Tagger(str(trained), "english")


@pytest.fixture(scope="session")
def chinese(app, nested):
    return app.tagger.Tagger(str(nested), "chinese")


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
    [document] = pipe.preprocess([NESTED])
    batch = pipe.collate([vars(document.windows[0].pieces)])
    logits = pipe.model(**batch, output_extension_logits=True).logits[0]
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


def test_extension_labels_are_drawn_beside_the_targets_on_request(app, chinese, english):
    found, beside = chinese.tag(NESTED, 0.5, None), chinese.extensions(NESTED, 0.5, None)
    # Trained to stand where the targets do, under labels of their own.
    assert [(span.start, span.end) for span in beside] == [(span.start, span.end) for span in found]
    assert {span.label for span in beside} == {"ENT:person", "ENT:organisation", "ENT:<b>place</b>"}
    drawn = app.panels.draw(NESTED, [(chinese, found)], [beside])
    assert "8 spans, 8 extension spans (dashed)" in drawn
    names = re.findall('<span class="lane on extension[^>]*><span class="name">([^<]*)', drawn)
    assert sorted(names) == sorted(html.escape(span.label) for span in beside)
    assert "extension" not in app.panels.draw(NESTED, [(chinese, found)])
    assert english.extensions(ENGLISH, 0.05, None) == []


def test_a_long_text_tells_how_far_it_is_and_is_drawn_in_part(app, chinese):
    text = "今天下午张三去北京大学医院。" * 500
    told = []
    found = chinese.tag(text, 0.5, None, lambda done, parts: told.append((done, parts)))
    assert len(told) > 10 and told[-1][0] == told[-1][1] > 50 and told == sorted(told)
    assert len(found) > 500 and found[-1].end > len(text) - 20
    drawn = app.panels.draw(text, [(chinese, found)])
    assert "drawn: the first 5,000 characters, the downloads have all" in drawn
    sentence = re.sub('<span class="lane.*?</span></span>|<span class="lane[^>]*></span>', "", drawn)
    assert len(re.sub("<[^>]*>", "", sentence[sentence.index('<div class="spans"') :])) == 5000


def test_one_word_that_is_too_long_to_draw_is_told(app, english):
    text = "w" * 6000
    drawn = app.panels.draw(text, [(english, [])])
    assert "not drawn, for its first word is longer: the first 5,000 characters, the downloads have all" in drawn


def test_memory_of_texts_is_bounded_by_what_they_hold(app, trained, monkeypatch):
    monkeypatch.setattr(app.tagger, "MOST_REMEMBERED", 150)
    tagger = app.tagger.Tagger(str(trained), "english")
    for word in ("deep", "old", "axe", "bear"):
        tagger.tag(f"{ENGLISH} {word}", 0.5, None)
    assert 1 <= len(tagger._seen) < 4
    assert sum(map(app.tagger._weight, tagger._seen.values())) <= 150


def test_a_model_with_code_of_an_older_version_is_told(app, trained, tmp_path, monkeypatch):
    folder = tmp_path / "old"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    for path in (ROOT / "tests" / "fixtures" / "version_e458a42").glob("*.py"):
        shutil.copy(path, folder)
    monkeypatch.setenv("KNOWFREE_MODELS", str(folder))
    monkeypatch.setattr(app.tagger, "load_pipeline", None)
    taggers, problems = app.tagger.load_taggers()
    assert taggers == [] and len(problems) == 1 and "older version" in problems[0]


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


def test_models_of_the_same_name_are_told_apart(app, trained, nested, tmp_path, monkeypatch):
    folders = [str(tmp_path / subset / "base" / "seed-0") for subset in ("k5", "k10")]
    for source, folder in zip((trained, nested), folders, strict=True):
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    monkeypatch.setenv("KNOWFREE_MODELS", ",".join([*folders, str(trained), folders[0]]))
    taggers, _ = app.tagger.load_taggers()
    assert [tagger.name for tagger in taggers] == ["k5/base/seed-0", "k10/base/seed-0", "/".join(trained.parts[-2:])]


def test_in_a_checkout_the_demo_runs_are_found(app, trained, nested, tmp_path, monkeypatch):
    monkeypatch.delenv("KNOWFREE_MODELS", raising=False)
    monkeypatch.setattr(app.tagger, "__file__", str(tmp_path / "spaces" / "knowfree_demo" / "tagger.py"))
    shutil.copytree(nested, tmp_path / "runs" / "demo-en" / "fused")
    shutil.copytree(trained, tmp_path / "runs" / "demo-en" / "gold")
    assert any((tmp_path / "runs/demo-en/gold").glob("checkpoint-*"))
    shutil.copytree(nested, tmp_path / "runs" / "demo-zh" / "model")
    taggers, problems = app.tagger.load_taggers()
    assert [tagger.name for tagger in taggers] == ["demo-zh/model", "demo-en/gold", "demo-en/fused"] and problems == []
    # As `knowfree run` leaves it: the cells, one of them unfinished, and a copy of the best.
    shutil.copytree(nested, tmp_path / "runs" / "demo-en" / "all" / "f" / "seed-0")
    shutil.copytree(trained, tmp_path / "runs" / "demo-en" / "all" / "base" / "seed-0")
    shutil.copytree(nested, tmp_path / "runs" / "demo-en" / "all" / "fs" / ".seed-0.unfinished")
    taggers, problems = app.tagger.load_taggers()
    assert [tagger.name for tagger in taggers] == [
        "demo-zh/model",
        "demo-en/all/base/seed-0",
        "demo-en/all/f/seed-0",
    ] and problems == []


def test_without_any_model_the_page_names_the_command(app, tmp_path, monkeypatch):
    monkeypatch.delenv("KNOWFREE_MODELS", raising=False)
    monkeypatch.setattr(app.tagger, "__file__", str(tmp_path / "spaces" / "knowfree_demo" / "tagger.py"))
    assert app.tagger.load_taggers() == ([], [])
    page = app.panels.no_model(["<b>x</b>: cannot be loaded"])
    assert "make demo" in page and "&lt;b&gt;x&lt;/b&gt;" in page and "<b>" not in page


@pytest.mark.parametrize(("name", "data", "message"), UPLOADS, ids=[str(n) for n in range(len(UPLOADS))])
def test_malformed_uploads_are_refused_with_a_reason(app, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(app.files.Refused) as refusal:
        app.files.read_upload(tmp_path / name)
    assert message in str(refusal.value) and len(str(refusal.value)) < 500


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.md", "deep snow\non the pass\n"),
        ("tags.json", '[{"tokens": ["a", "b"], "tags": [0, 1]}]'),
        ("tasks.json", '[{"data": {"text": "deep snow"}, "annotations": []}]'),
        ("bad.conll", "a B-X\nb\n\n"),
    ],
)
def test_what_visitors_read_names_no_option_of_a_command_line(app, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(app.files.Refused, match="'a text on each line' for texts that nobody annotated") as refusal:
        app.files.read_upload(tmp_path / name)
    assert "--" not in str(refusal.value) and "mend:" not in str(refusal.value)
    assert app.files.read_upload(tmp_path / name, "a text on each line")


@pytest.mark.parametrize("table", ["text\nhello you\n", "id,text\n1,hello\n", "text,label\nhello world,O\n"])
def test_a_table_of_plain_texts_is_told_what_to_do(app, tmp_path, table):
    (tmp_path / "a.csv").write_text(table, encoding="utf-8")
    with pytest.raises(app.files.Refused, match=r"save the column of the texts as \.txt for texts that nobody"):
        app.files.read_upload(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", '{"text": "hello", "id": null}\n{"text": "you", "id": "u"}\n'),
        ("a.json", '[{"text": "hello"}, {"text": "you", "id": "u"}]'),
        ("a.json", '{"text": "hello"}\n{"text": "you", "id": "u"}'),
        ("a.jsonl", '[{"text": "hello"},\n {"text": "you", "id": "u"}]'),
        ("a.txt", '[{"text": "hello"}, {"text": "you", "id": "u"}]'),
        ("a.md", '{"text": "hello"}\n{"text": "you", "id": "u"}'),
        ("a.jsonl", '{"text": "hello", "id": null}\n{"text": "you", "id": "u"}\n'),
    ],
)
def test_json_of_texts_is_read_under_any_name(app, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert app.files.read_upload(tmp_path / name) == [{"id": "1", "text": "hello"}, {"id": "u", "text": "you"}]


def test_the_released_layout_is_read_from_json_lines(app, tmp_path):
    released = '{"text": ["deep", "snow"], "entities": [{"start": 0, "end": 2, "entity": "CONDITION"}]}\n'
    (tmp_path / "a.jsonl").write_text(released, encoding="utf-8")
    assert [row["tokens"] for row in app.files.read_upload(tmp_path / "a.jsonl")] == [["deep", "snow"]]


def test_uploads_become_rows(app, tmp_path):
    (tmp_path / "a.TXT").write_bytes("\ufeffdeep snow\r\n\r\n我们\n".encode())
    assert app.files.read_upload(tmp_path / "a.TXT") == [{"id": "1", "text": "deep snow"}, {"id": "3", "text": "我们"}]
    (tmp_path / "a.jsonl").write_text('{"id": 7, "tokens": ["deep", "snow"], "entities": []}\n{"tokens": []}')
    assert app.files.read_upload(tmp_path / "a.jsonl") == [
        {"id": "7", "tokens": ["deep", "snow"]},
        {"id": "2", "tokens": []},
    ]


def test_annotated_files_become_rows_of_the_model_s_unit(app, tmp_path):
    (tmp_path / "a.conll").write_text("deep B-CONDITION\nsnow I-CONDITION\n\n我们 O\n")
    read = app.files.read_upload
    assert [row["tokens"] for row in read(tmp_path / "a.conll")] == [["deep", "snow"], ["我们"]]
    (tmp_path / "a.json").write_text('[{"text": "我们", "entities": [{"start": 0, "end": 2, "label": "PER"}]}]')
    assert [row["tokens"] for row in read(tmp_path / "a.json", unit="word")] == [["我们"]]
    assert [row["tokens"] for row in read(tmp_path / "a.json", unit="character")] == [["我", "们"]]
    (tmp_path / "b.txt").write_text((tmp_path / "a.conll").read_text())
    with pytest.raises(app.files.Refused, match="looks like conll"):
        read(tmp_path / "b.txt")
    assert [row["tokens"] for row in read(tmp_path / "b.txt", "conll")] == [["deep", "snow"], ["我们"]]
    assert read(tmp_path / "b.txt", app.files.TEXT_LINES)[0] == {"id": "1", "text": "deep B-CONDITION"}
    with pytest.raises(app.files.Refused, match="choose one of automatic"):
        read(tmp_path / "b.txt", "--help")


def test_a_file_that_would_fill_the_machine_fills_a_process_of_its_own(app, tmp_path):
    """A table of two kilobytes whose million rows share one string of a megabyte."""
    import pyarrow
    import pyarrow.parquet

    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1_000_000, pyarrow.int8()), ["x" * 10**6])
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000
    with pytest.raises(app.files.Refused, match=r"bomb\.parquet: cannot be read within 2 GB"):
        app.files.read_upload(tmp_path / "bomb.parquet")


def test_csv_holds_no_formula(app):
    table = app.files.to_csv(["word", "score"], [["=1+1", 0.5], ["@x", -1.0], ['嘉鱼, "a"\n', 1.0]])
    assert table == '\ufeffword,score\r\n\'=1+1,0.5\r\n\'@x,-1.0\r\n"嘉鱼, ""a""\n",1.0\r\n'.encode()


FORMULAS = [
    *(
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "\rx",
        "\n=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        " =1",
        "\xa0=1",
        "\u3000=1",
        "\u200b=1",
    ),
    *("\ufeff=1", "'=1", "\u2028@x", "\0=1", "  \xa0+cmd|' /C calc'!A0", "\u202f-1", "﹣1", "−1"),
]


def test_no_cell_can_start_a_formula(app):
    assert [cell for cell in FORMULAS if app.files.guarded(cell) != f"'{cell}"] == []
    plain = ["", " ", "嘉鱼", "a=b", "5 - 3", "x@y", "(=1)", '"quoted"', "\N{EN DASH} a dash"]
    assert [app.files.guarded(cell) for cell in plain] == plain


@pytest.mark.parametrize("broken", ["weights", "config", "tokenizer", "code"])
def test_a_model_that_is_broken_is_told_without_a_path_and_the_others_are_shown(
    app, broken, trained, tmp_path, monkeypatch
):
    """Loaded by this project's classes, and by the model's own code as in a Space."""
    folder = tmp_path / "models" / "bad"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    if broken == "weights":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])
    elif broken == "config":
        (folder / "config.json").write_text('{"model_type": "knowfree", "span_size": {}}')
    elif broken == "tokenizer":
        (folder / "tokenizer.json").write_text('{"model": 7}')
    else:
        (folder / "pipeline_knowfree.py").write_text("1 / 0\n")
    monkeypatch.setenv("KNOWFREE_MODELS", f"{folder},{trained}")
    for loader in (app.tagger.load_pipeline, None):
        monkeypatch.setattr(app.tagger, "load_pipeline", loader)
        taggers, problems = app.tagger.load_taggers()
        if broken == "code" and loader:
            assert len(taggers) == 2, "our classes need none of the folder's code"
            continue
        assert [tagger.name for tagger in taggers] == ["/".join(trained.parts[-2:])]
        assert len(problems) == 1 and problems[0].startswith("models/bad: cannot be loaded: ")
        assert str(tmp_path) not in problems[0] and "/tmp/" not in problems[0], problems


def test_what_visitors_read_of_an_error_names_no_folder(app):
    told = {
        "cannot open /srv/models/secret/model.safetensors": "cannot open …/model.safetensors",
        "/a/b: bad, see https://hf.co/docs/x and 1/2": "bad name: bad, see https://hf.co/docs/x and 1/2",
        "'/home/u/.cache/x y.json' is no JSON": "'…/x y.json' is no JSON",
    }
    for message, public in told.items():
        assert app.tagger._public(ValueError(message), "/a/b", "bad name") == public


def answered(app, body, **limits) -> tuple[int, str]:
    """What the limits around an app that echoes sizes answer to a body: chunks, or seconds to wait before one."""
    sent: list[dict] = []
    chunks = iter(body)

    async def receive():
        chunk = next(chunks)
        if isinstance(chunk, float):
            await asyncio.sleep(chunk)
            chunk = next(chunks)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(message):
        sent.append(message)

    async def inner(scope, receive, send):
        size = 0
        while (message := await receive())["body"]:
            size += len(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})

    asyncio.run(app.limits.Limits(inner, **limits)({"type": "http"}, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


def test_slow_large_and_too_many_requests_are_sent_away(app):
    assert answered(app, [b"xx", b"y", b""], largest=3) == (200, "3")
    assert answered(app, [b"xx", b"yy", b""], largest=3)[0] == 413
    assert answered(app, [b"x", 5.0, b""], largest=3, seconds=0.05)[0] == 408
    assert answered(app, [b""], largest=3, most=0)[0] == 503


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
