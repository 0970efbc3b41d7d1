import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from modeling_knowfree import KnowFreePipeline, units_knowfree
from modeling_knowfree.data.readers import InputError, read_rows
from modeling_knowfree.decoding_knowfree import best_first
from modeling_knowfree.inference import tag as tagging
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.units_knowfree import join_units
from tests.conftest import TINY_BERT
from tests.support import SHARED


@pytest.fixture(scope="module")
def tagger(trained):
    return load_pipeline(str(trained))


def brief(spans):
    return [(span["word"], span["entity_group"]) for span in spans]


def test_raw_text_comes_back_as_character_offsets(tagger):
    text = "Left  harrow creek trailhead at 5 am."
    spans = tagger(text)
    assert brief(spans) == [("harrow creek trailhead", "PLACE"), ("5 am", "TIME")]
    assert all(text[span["start"] : span["end"]] == span["word"] for span in spans)
    assert all(type(span["score"]) is float and 0.5 < span["score"] <= 1 for span in spans)
    assert all(type(span[key]) is int for span in spans for key in ("start", "end"))


def test_units_come_back_as_unit_offsets(tagger):
    units = ["left", "harrow", "creek", "trailhead", "at", "5", "am", "."]
    expected = [(1, 4, "harrow creek trailhead"), (5, 7, "5 am")]
    for given, pick in ((units, lambda out: out), ([units], lambda out: out[0])):
        spans = pick(tagger(given, is_split_into_words=True))
        assert [(span["start"], span["end"], span["word"]) for span in spans] == expected


def test_blank_inputs_give_nothing_and_order_is_kept(tagger, english_rows):
    texts = [" ".join(row["tokens"]) for row in english_rows]
    inputs = ["", *texts, "   ", texts[0], "\t\n"]
    together = tagger(inputs, batch_size=3)
    assert [together[0], together[-1], together[-3]] == [[], [], []]
    alone = [tagger(text) for text in inputs]
    assert [brief(spans) for spans in together] == [brief(spans) for spans in alone]
    assert brief(together[1]) == brief(together[-2]) != []
    assert tagger([]) == []
    assert tagger([[], ["axe"]], is_split_into_words=True)[0] == []


def test_a_generator_is_answered_as_it_streams(tagger):
    read = []

    def texts():
        for at in range(500):
            read.append(at)
            yield "the bear left at 4 am"

    stream = tagger(texts(), batch_size=2)
    assert brief(next(stream)) == [("bear", "WILDLIFE"), ("4 am", "TIME")]
    assert len(read) < 100
    assert len(list(stream)) == 499


def test_a_generator_of_units_streams_too(tagger):
    sentences = [["the", "bear", "left"], [], ["at", "5", "am"]]
    streamed = list(tagger((units for units in sentences), is_split_into_words=True))
    assert streamed == tagger(sentences, is_split_into_words=True)
    assert [len(spans) for spans in streamed] == [1, 0, 1]


def test_what_came_before_an_error_of_the_generator_is_answered(tagger):
    def texts(before=3):
        yield from ["the bear left"] * before
        raise OSError("the disk fails")

    stream = tagger(texts(), batch_size=2)
    assert [len(next(stream)) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(OSError, match="the disk fails"):
        next(stream)
    with pytest.raises(OSError, match="the disk fails"):
        next(tagger(texts(0), batch_size=2))


def test_an_error_counts_the_inputs_of_the_whole_stream(tagger):
    texts = [*["the bear left"] * 40, "left " * 200]
    with pytest.raises(ValueError, match="input 40 has 202 pieces"):
        list(tagger(iter(texts), batch_size=2, overflow="error"))
    with pytest.raises(ValueError, match="input 40: takes text, got int"):
        list(tagger(iter([*texts[:40], 3]), batch_size=2))


def test_threshold_and_decoding_are_options_of_a_call(tagger):
    text = "left harrow creek trailhead at 5 am ."
    many = tagger(text, threshold=1e-6, decoding="all")
    assert len(many) > len(tagger(text, threshold=1e-6)) > 0
    assert tagger(text, threshold=1 - 1e-12) == []
    for span in many:
        assert text[span["start"] : span["end"]] == span["word"]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (3, {}, "takes text, not int: give a string"),
        (["a", 3], {}, "input 1: takes text, got int"),
        ([["a", 3]], {"is_split_into_words": True}, "input 0: is_split_into_words=True takes a list of strings"),
        ([7], {"is_split_into_words": True}, "input 0: is_split_into_words=True takes a list of strings, got 7"),
        ("a", {"threshold": 2}, "threshold=2"),
        ("a", {"threshold": "0.5"}, "threshold='0.5': give a probability"),
        ("a", {"threshold": True}, "threshold=True"),
        ("a", {"window_overlap": 1.5}, "window_overlap=1.5: give a whole number, 0 or more"),
        ("a", {"batch_size": "8"}, "batch_size='8': give a whole number, 1 or more"),
        ("a", {"ignore_labels": 3}, "ignore_labels=3: give a list of labels"),
        ("a", {"decoding": "best"}, "decoding='best'"),
        ("a", {"overflow": "cut"}, "overflow='cut'"),
        ("a", {"window_overlap": -1}, "window_overlap=-1"),
        ("a", {"batch_size": 0}, "batch_size=0"),
        ("a", {"batch_size": -1}, "batch_size=-1"),
        ("a", {"stride": 4}, "no option 'stride'"),
    ],
)
def test_bad_input_is_told(tagger, given, options, message):
    with pytest.raises(ValueError, match=message):
        tagger(given, **options)


def test_options_have_names(tagger):
    with pytest.raises(ValueError, match="2 values after the texts: give options by name"):
        tagger("a", 0.99, "flat")


def long_units(count: int) -> list[str]:
    words = ["left", "harrow", "creek", "trailhead", "at", "5", "am", ".", "the", "bear", "crossed", "deep", "snow"]
    generator = random.Random(0)
    return [generator.choice(words) for _ in range(count)]


def test_long_text_is_read_whole_in_windows(tagger):
    limit = tagger.model.config.max_pieces
    text, _ = join_units(long_units(3 * limit), "word")
    spans = tagger(text)
    extents = [(span["start"], span["end"]) for span in spans]
    assert extents == sorted(set(extents))
    assert all(a[1] <= b[0] for a, b in pairwise(extents))
    assert max(start for start, _ in extents) > len(text) * 0.9


def test_a_long_text_is_tagged_like_its_sentences(tagger, english_rows, monkeypatch):
    lengths = {"median": 8, "p95": 10, "max": 12, "sentences": 1}
    monkeypatch.setattr(tagger.model.config, "train_lengths", lengths, raising=False)
    sentences = [" ".join(row["tokens"]) for row in english_rows] * 20
    alone = [span for spans in tagger(sentences) for span in brief(spans)]
    assert brief(tagger("\n".join(sentences))) == alone
    assert len(alone) > 100


def test_overflow_error_and_truncate(tagger):
    limit = tagger.model.config.max_pieces
    text = " ".join(["."] * (2 * limit) + ["left harrow creek trailhead"])
    with pytest.raises(ValueError, match=rf"input 1 has {2 * limit + 6} pieces, the encoder reads {limit}"):
        tagger(["a", text], overflow="error")
    cut = tagger(text, overflow="truncate", threshold=1e-6, decoding="all")
    assert max(span["end"] for span in cut) < len(text) - 10


def test_a_unit_longer_than_the_encoder_reads_does_not_end_the_rest(tagger, caplog):
    limit = tagger.model.config.max_pieces
    text = "left harrow creek trailhead at 5 am . " + "我" * (limit + 9) + " the bear left"
    assert [word for word, _ in brief(tagger(text)) if "我" not in word] == ["harrow creek trailhead", "5 am", "bear"]
    assert f"{limit + 9} pieces" in caplog.text
    with pytest.raises(ValueError, match="input 0 has"):
        tagger("我" * (limit + 9), overflow="error")


def test_text_without_spaces_is_told_of_where_words_are_counted(tagger, caplog):
    units_knowfree._tell_unspaced.cache_clear()
    tagger(["left harrow creek", "王小明昨天在上海市場買了三斤豆腐"])
    assert "text without spaces between words" in caplog.text


def test_windows_prefer_the_same_spans_as_one_window(tagger, monkeypatch):
    """Probabilities of logits 40 and 45 are both 1; the better span must win all the same."""

    def forward(batch, extensions):
        logits = torch.full((len(batch["num_units"]), int(batch["num_units"].max()), 2, 1), -1e4)
        if logits.shape[1] > 3:
            logits[:, 1, 1], logits[:, 2, 1] = 40.0, 45.0
        return {"logits": logits}

    monkeypatch.setattr(tagger, "forward", forward)
    [found] = tagger.find(tagger.preprocess([long_units(200)], is_split_into_words=True))
    assert len({hit.start for hit in found.hits}) > 3 and {hit.score for hit in found.hits} == {1.0}
    logits = [hit.logit for hit in found.hits]
    assert logits == sorted(logits, reverse=True) and set(logits) == {40.0, 45.0}


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("decoding", ["flat", "nested", "all"])
def test_one_look_serves_every_threshold_and_decoding(tagger, threshold, decoding):
    texts = [" ".join(long_units(90)), "left harrow creek trailhead at 5 am .", "", "old axe"]
    [*found] = tagger.find(tagger.preprocess(texts), threshold=0.05)
    assert [tagger.postprocess(one, threshold, decoding) for one in found] == [
        [{**span, "score": pytest.approx(span["score"], abs=1e-6)} for span in spans]
        for spans in tagger(texts, threshold=threshold, decoding=decoding)
    ]


def test_the_best_hits_are_kept_and_the_floor_says_from_where(tagger):
    documents = tagger.preprocess([" ".join(long_units(150)), "old axe"])
    assert len(documents[0].windows) > 1
    every, _ = tagger.find(documents, threshold=1e-9)
    few, little = tagger.find(documents, threshold=1e-9, most_hits=5)
    assert len(few.hits) == 5 < len(every.hits) and few.floor > 1e-9
    assert [hit[:3] for hit in few.hits] == [hit[:3] for hit in sorted(every.hits, key=best_first)[:5]]
    assert all(hit.score >= few.floor for hit in few.hits)
    assert sum(hit.score > few.floor for hit in every.hits) <= 5
    assert len(little.hits) == 5
    told = []
    tagger.find(documents, batch_size=2, progress=lambda *windows: told.append(windows))
    assert told[-1] == (len(documents[0].windows) + 1,) * 2 and [done for done, _ in told[:2]] == [2, 4]
    with pytest.raises(ValueError, match="most_hits=0: give a whole number, 1 or more"):
        tagger.find(documents, most_hits=0)


def test_extension_spans_are_what_the_extension_columns_say(pipelines):
    from tests.support.space_rows import EXTENSIONS, NESTED

    chinese = pipelines["chinese"]
    [found] = chinese.find(chinese.preprocess([NESTED]), extensions=True)
    spans, beside = chinese.postprocess(found), chinese.extension_spans(found)
    assert brief(spans) == brief(chinese(NESTED))
    # Trained to stand where the targets do.
    assert [(s["start"], s["end"], s["entity_group"]) for s in beside] == [
        (s["start"], s["end"], EXTENSIONS[s["entity_group"]]) for s in spans
    ]
    assert set(found.extension_logits) == {(s["start"], s["end"]) for s in spans}
    [few] = chinese.find(chinese.preprocess([NESTED]), threshold=0.01, extensions=True, most_hits=3)
    assert len(few.hits) == len(few.extension_hits) == 3 and few.floor > 0.01 < few.extension_floor
    assert set(few.extension_logits) == {(hit.start, hit.end) for hit in few.hits}
    english = pipelines["english"]
    [none] = english.find(english.preprocess(["old axe"]), extensions=True)
    assert none.extension_hits == [] and none.extension_logits == {} and none.hits


def test_batches_do_not_change_scores(tagger, english_rows):
    texts = [" ".join(row["tokens"]) for row in english_rows]
    one, many = tagger(texts, batch_size=1), tagger(texts, batch_size=8)
    for left, right in zip(one, many, strict=True):
        assert brief(left) == brief(right)
        for a, b in zip(left, right, strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["weibo", "stockmark-ja"])
def test_offsets_of_real_text_cut_out_their_words(name, encoder, tiny_model):
    from transformers import AutoTokenizer

    from modeling_knowfree import KnowFreePipeline

    rows = read_rows(SHARED / f"data/{name}/test.jsonl")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    limits = {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    model = tiny_model(encoder_config={**TINY_BERT, **limits}, unit="character")
    pipe = KnowFreePipeline(model=model, tokenizer=tokenizer, task="knowfree")
    texts = ["".join(row["tokens"]) for row in rows[:120]]
    found = 0
    for text, spans in zip(texts, pipe(texts, batch_size=16, threshold=0.6), strict=True):
        for span in spans:
            assert text[span["start"] : span["end"]] == span["word"]
            found += 1
    assert found >= 120
    with torch.no_grad():
        for row in rows:
            text, offsets = join_units(row["tokens"], "character")
            for span in row["entities"]:
                start, end = offsets[span["start"]][0], offsets[span["end"] - 1][1]
                assert text[start:end] == "".join(row["tokens"][span["start"] : span["end"]])


def test_a_folder_that_is_replaced_while_it_is_read_is_read_again(trained, nested, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(trained, tmp_path / "model"))
    load = tagging._load

    def slowly(model: str, *arguments: object) -> KnowFreePipeline:
        pipe = load(model, *arguments)
        if pipe.model.config.unit == "word":
            folder.rename(tmp_path / "old")
            shutil.copytree(nested, folder)
        return pipe

    monkeypatch.setattr(tagging, "_load", slowly)
    assert load_pipeline(str(folder)).model.config.unit == "character"


def test_weights_of_another_model_are_told(trained, nested, tmp_path):
    folder = Path(shutil.copytree(trained, tmp_path / "model"))
    shutil.copy(nested / "config.json", folder)
    with pytest.raises(InputError, match="they are of two models"):
        load_pipeline(str(folder))
