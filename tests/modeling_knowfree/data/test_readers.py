"""Files in every layout -> rows, and rows -> a file."""

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_knowfree.data.formats.schemes import spans_of_tags
from modeling_knowfree.data.labels import Labels, namespaced
from modeling_knowfree.data.readers import (
    InputError,
    iterate_rows,
    read_labels,
    read_rows,
    write_rows,
)
from tests.support import SHARED

SUBSETS = ("train_250", "train_500", "train_1000", "k5", "k10", "k15", "k20")


def file(folder: Path, content: str, name: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def spans(row: dict, key: str = "entities") -> list[tuple[int, int, str]]:
    return [(span["start"], span["end"], span["label"]) for span in row[key]]


# ------------------------------------------------------------------ our own layout


def test_rows_keep_the_contract_and_nothing_else(tmp_path: Path):
    row = {
        "id": "s-1",
        "tokens": ["I", "ate", "rye", "bread"],
        "entities": [{"start": 2, "end": 4, "label": "FOOD", "score": 0.5}],
        "extensions": [{"start": 3, "end": 4, "label": "POS:NOUN", "source": "llm", "raw": "noun"}],
        "synthetic": True,
        "parent_id": "s-0",
        "prompt": "dropped",
    }
    [read] = read_rows(file(tmp_path, json.dumps(row), "train.jsonl"))
    assert read == {
        "id": "s-1",
        "tokens": ["I", "ate", "rye", "bread"],
        "entities": [{"start": 2, "end": 4, "label": "FOOD"}],
        "extensions": [{"start": 3, "end": 4, "label": "POS:NOUN", "source": "llm"}],
        "synthetic": True,
        "parent_id": "s-0",
    }


@pytest.mark.parametrize(
    "content",
    [
        '\ufeff{"id": "1", "tokens": ["é"], "entities": []}\n{"id": "2", "tokens": ["b"], "entities": []}\n',
        '{"id": "1", "tokens": ["é"], "entities": []}\r\n{"id": "2", "tokens": ["b"], "entities": []}\r\n',
        '\n{"id": "1", "tokens": ["é"], "entities": []}\n\n \n{"id": "2", "tokens": ["b"], "entities": []}',
        '[{"id": "1", "tokens": ["é"], "entities": []},\n {"id": "2", "tokens": ["b"],\n "entities": []}]',
        '{"id": 1, "tokens": ["é"], "entities": []}\n{"id": 2, "tokens": ["b"], "entities": [], "synthetic": null}\n',
    ],
    ids=["BOM", "CRLF", "blank lines", "array", "integer ids and nulls"],
)
def test_bytes_around_the_rows_do_no_harm(tmp_path: Path, content: str):
    expected = [{"id": "1", "tokens": ["é"], "entities": []}, {"id": "2", "tokens": ["b"], "entities": []}]
    assert read_rows(file(tmp_path, content, "train.jsonl")) == expected
    assert read_rows(file(tmp_path, content, "train")) == expected


def test_a_row_without_an_id_is_named_after_its_line(tmp_path: Path):
    path = file(tmp_path, '{"tokens": ["a"], "entities": []}\n\n{"tokens": ["b"], "entities": []}\n', "dev.jsonl")
    assert [row["id"] for row in read_rows(path)] == ["dev-1", "dev-3"]


def test_flat_refuses_overlap_but_not_two_labels_on_one_span(tmp_path: Path):
    def one(*entities: tuple[int, int, str]) -> Path:
        listed = [{"start": start, "end": end, "label": label} for start, end, label in entities]
        return file(tmp_path, json.dumps({"tokens": list("abcdef"), "entities": listed}), "train.jsonl")

    [row] = read_rows(one((0, 2, "X"), (0, 2, "Y"), (2, 3, "X")), flat=True)
    assert spans(row) == [(0, 2, "X"), (0, 2, "Y"), (2, 3, "X")]
    assert len(read_rows(one((0, 3, "X"), (1, 2, "Y")), flat=False)) == 1
    with pytest.raises(InputError, match=r"\[0, 2\) 'Y' .* and \[1, 3\) 'X' .* overlap"):
        read_rows(one((1, 3, "X"), (0, 2, "X"), (0, 2, "Y")), flat=True)


def test_reading_is_lazy(tmp_path: Path):
    good = "".join(f'{{"tokens": ["{number}"], "entities": []}}\n' for number in range(2000))
    rows = iterate_rows(file(tmp_path, good + "broken\n", "train.jsonl"))
    assert [next(rows)["tokens"] for _ in range(2000)] == [[str(number)] for number in range(2000)]
    with pytest.raises(InputError, match="line 2001"):
        next(rows)


@pytest.mark.parametrize("changed", [{"format": "xml"}, {"unit": "byte"}])
def test_unknown_format_or_unit(tmp_path: Path, changed: dict):
    with pytest.raises(InputError, match=r"format is 'xml'|unit is 'byte'"):
        read_rows(file(tmp_path, '{"tokens": ["a"], "entities": []}', "train.jsonl"), **changed)


# ------------------------------------------------------------------ tags


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-X I-X O", [(1, 3, "X")]),
        ("B-X B-X I-X", [(0, 1, "X"), (1, 3, "X")]),
        ("O I-X I-X", [(1, 3, "X")]),
        ("B-X I-Y I-Y", [(0, 1, "X"), (1, 3, "Y")]),
        ("S-X B-Y E-Y S-X", [(0, 1, "X"), (1, 3, "Y"), (3, 4, "X")]),
        ("B-X M-X E-X E-X", [(0, 3, "X"), (3, 4, "X")]),
        ("B-X E-X I-X", [(0, 2, "X"), (2, 3, "X")]),
        ("S-X I-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B E S B M E", [(0, 2, "WORD"), (2, 3, "WORD"), (3, 6, "WORD")]),
        ("B-GPE.NAM I-GPE.NAM", [(0, 2, "GPE.NAM")]),
        ("B-A-B I-A-B", [(0, 2, "A-B")]),
        ("O O", []),
    ],
)
def test_spans_of_tags(tags: str, expected: list):
    assert spans({"entities": spans_of_tags(tags.split())}) == expected


@st.composite
def flat_spans(draw) -> tuple[int, list[tuple[int, int, str]]]:
    lengths = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from("XY")), max_size=8))
    found, at = [], 0
    for gap, length, label in lengths:
        found.append((at + gap, at + gap + length, label))
        at += gap + length
    return at + draw(st.integers(1, 3)), found


@given(flat_spans(), st.sampled_from(["BIO", "BIOES", "BMES"]))
def test_any_flat_spans_survive_any_scheme(case: tuple[int, list], scheme: str):
    length, expected = case
    tags = ["O"] * length
    middle = "M" if scheme == "BMES" else "I"
    for start, end, label in expected:
        tags[start:end] = [f"{middle}-{label}"] * (end - start)
        tags[start] = f"B-{label}"
        if scheme != "BIO":
            tags[end - 1] = f"E-{label}" if end - start > 1 else f"S-{label}"
    assert spans({"entities": spans_of_tags(tags)}) == expected


def test_json_with_tags(tmp_path: Path):
    path = file(tmp_path, '{"tokens": ["Ada", "Lee", "ran"], "ner_tags": ["B-PER", "I-PER", "O"]}\n', "train.jsonl")
    assert spans(read_rows(path)[0]) == [(0, 2, "PER")]


# ------------------------------------------------------------------ columns


@pytest.mark.parametrize("name", ["train.txt", "train.bio", "weiboNER_2nd_conll.train"])
@pytest.mark.parametrize("gap", [" ", "\t", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_column_file(tmp_path: Path, name: str, gap: str, end: str):
    content = f"我{gap}O\n在{gap}O\n嘉{gap}B-LOC.NAM\n鱼{gap}I-LOC.NAM\n\n\n李{gap}I-PER\n"
    first, second = read_rows(file(tmp_path, content.replace("\n", end), name))
    assert (first["tokens"], spans(first)) == (["我", "在", "嘉", "鱼"], [(2, 4, "LOC.NAM")])
    assert (second["tokens"], spans(second)) == (["李"], [(0, 1, "PER")])
    assert second["id"].endswith("-7")


def test_conll_2003_file(tmp_path: Path):
    content = (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP B-MISC\n\n"
        "Peter NNP B-NP B-PER\nBlackburn NNP I-NP I-PER\n"
    )
    first, second = read_rows(file(tmp_path, content, "eng.train"))
    assert (first["tokens"], spans(first)) == (["EU", "rejects", "German"], [(0, 1, "ORG"), (2, 3, "MISC")])
    assert spans(second) == [(0, 2, "PER")]


def test_column_file_with_the_tag_first(tmp_path: Path):
    content = "O\tmovies\nO\twith\nB-ACTOR\tvin\nI-ACTOR\tdiesel\n\nB-YEAR\t1991\n"
    first, second = read_rows(file(tmp_path, content, "train.txt"))
    assert (first["tokens"], spans(first)) == (["movies", "with", "vin", "diesel"], [(2, 4, "ACTOR")])
    assert (second["tokens"], spans(second)) == (["1991"], [(0, 1, "YEAR")])


def test_column_file_with_remarks_and_tokens_that_look_like_them(tmp_path: Path):
    content = "# id 7\tdomain=en\n#\tO\n5\tO\nRome\tB-LOC\n \tO\n\u3000\tO\n"
    [row] = read_rows(file(tmp_path, content, "train.txt"))
    assert (row["tokens"], spans(row)) == (["#", "5", "Rome", " ", "\u3000"], [(2, 3, "LOC")])


def test_column_file_with_white_space_tokens_between_spaces(tmp_path: Path):
    [row] = read_rows(file(tmp_path, "嘉 B-LOC\n  O\n\u3000 O\n\xa0 O\n", "train.txt"))
    assert row["tokens"] == ["嘉", " ", "\u3000", "\xa0"]


# ------------------------------------------------------------------ released data and label files

RELEASED = {
    "text": ["李", "帆", "在", "嘉", "鱼"],
    "label": ["B-PER", "E-PER", "O", "O", "O"],
    "entities": [
        {"start": 0, "entity": "PER", "end": 2, "text": ["李", "帆"]},
        {"start": 3, "entity": "地点", "end": 5, "text": ["嘉", "鱼"]},
        {"start": 3, "entity": "WORD", "end": 5, "text": ["嘉", "鱼"]},
        {"start": 3, "entity": "WORD", "end": 5, "text": ["嘉", "鱼"]},
    ],
    "synthetic": 1,
}
LABEL_JSON = {
    "O": {"idx": 0, "count": -1, "is_target": True},
    "PER": {"idx": 1, "count": -1, "is_target": True},
    "地点": {"idx": 2, "count": 9, "is_target": False},
    "WORD": {"idx": 3, "count": 9, "is_target": False},
}


def test_released_rows_with_a_label_file(tmp_path: Path):
    label_file = file(tmp_path, json.dumps(LABEL_JSON), "labels.json")
    [row] = read_rows(file(tmp_path, json.dumps(RELEASED), "train.jsonl"), label_file=label_file, flat=True)
    assert row == {
        "id": "train-1",
        "tokens": ["李", "帆", "在", "嘉", "鱼"],
        "entities": [{"start": 0, "end": 2, "label": "PER"}],
        "extensions": [
            {"start": 3, "end": 5, "label": "ENT:地点", "source": "released"},
            {"start": 3, "end": 5, "label": "SEG:WORD", "source": "released"},
        ],
        "synthetic": True,
    }


def test_released_rows_without_a_label_file(tmp_path: Path):
    row = {
        "text": ["the", "mill"],
        "entities": [{"start": 1, "end": 2, "entity": "GENRE"}, {"start": 1, "end": 2, "entity": "POS:NOUN"}],
    }
    [read] = read_rows(file(tmp_path, json.dumps(row), "train.jsonl"))
    assert spans(read) == [(1, 2, "GENRE")]
    assert spans(read, "extensions") == [(1, 2, "POS:NOUN")]


def test_released_row_with_a_label_of_another_file(tmp_path: Path):
    label_file = file(tmp_path, "O\nPER\n", "labels.txt")
    with pytest.raises(InputError, match=r"train.jsonl, line 1: unknown label '地点'; allowed: 'PER'; mend: "):
        read_rows(file(tmp_path, json.dumps(RELEASED), "train.jsonl"), label_file=label_file)


def test_label_files(tmp_path: Path):
    lines = file(tmp_path, "\ufeffO\r\nLOC\r\nPER\r\nENT:place\r\n\r\n", "labels.txt")
    assert read_labels(lines) == Labels(["LOC", "PER", "ENT:place"], [])
    assert read_labels(lines, num_targets=2) == Labels(["LOC", "PER"], ["ENT:place"])
    structured = file(tmp_path, json.dumps(LABEL_JSON), "labels.json")
    assert read_labels(structured) == read_labels(structured, num_targets=1) == Labels(["PER"], ["地点", "WORD"])
    with pytest.raises(InputError, match="1 target labels, the checkpoint has 2"):
        read_labels(structured, num_targets=2)
    with pytest.raises(InputError, match="3 target labels, the checkpoint has 4"):
        read_labels(lines, num_targets=4)


def test_extension_labels_with_one_namespaced_form(tmp_path: Path):
    with pytest.raises(InputError, match="one namespaced form"):
        read_labels(file(tmp_path, "O\nPER\nplace\nENT:place\n", "labels.txt"), num_targets=1)


def test_namespaced():
    assert [namespaced(label) for label in ("WORD", "place", "POS:NOUN")] == ["SEG:WORD", "ENT:place", "POS:NOUN"]


# ------------------------------------------------------------------ running text, words


def test_character_offsets_in_words(tmp_path: Path):
    line = {
        "text": "Did Dr. O'Neil  leave?",
        "entities": [{"start": 4, "end": 14, "label": "PER", "text": "Dr. O'Neil"}],
    }
    [row] = read_rows(file(tmp_path, json.dumps(line), "train.jsonl"))
    assert row["tokens"] == ["Did", "Dr", ".", "O", "'", "Neil", "leave", "?"]
    assert spans(row) == [(1, 6, "PER")]


def test_character_offsets_in_characters(tmp_path: Path):
    line = {
        "text": "我在 HK 等𠮷田",
        "spans": [{"start": 3, "end": 5, "label": "LOC"}, {"start": 7, "end": 9, "label": "PER"}],
    }
    [row] = read_rows(file(tmp_path, json.dumps(line), "train.jsonl"))
    assert row["tokens"] == ["我", "在", " ", "H", "K", " ", "等", "𠮷", "田"]
    assert spans(row) == [(3, 5, "LOC"), (7, 9, "PER")]


def test_unit_asked_for_wins_over_the_script(tmp_path: Path):
    path = file(tmp_path, '{"text": "ab c", "entities": [{"start": 1, "end": 2, "label": "X"}]}', "train.jsonl")
    [row] = read_rows(path, unit="character")
    assert (row["tokens"], spans(row)) == (["a", "b", " ", "c"], [(1, 2, "X")])


@given(st.text(alphabet=string.ascii_letters + " .,嘉鱼の\u0301", min_size=1), st.data())
def test_offsets_cut_out_the_same_text(tmp_path_factory, text: str, data):
    from modeling_knowfree.units_knowfree import split_text

    unit = data.draw(st.sampled_from(["character", "word"]))
    units = split_text(text, unit)
    if not units:
        return
    first = data.draw(st.integers(0, len(units) - 1))
    last = data.draw(st.integers(first, len(units) - 1))
    start, end = units[first][0], units[last][1]
    if text[start].isspace() or text[end - 1].isspace():
        return
    line = {"text": text, "entities": [{"start": start, "end": end, "label": "X", "text": text[start:end]}]}
    path = file(tmp_path_factory.mktemp("offsets"), json.dumps(line), "train.jsonl")
    [row] = read_rows(path, unit=unit)
    assert spans(row) == [(first, last + 1, "X")]
    assert row["tokens"] == [text[start:end] for start, end in units]


def test_segmentation_file(tmp_path: Path):
    path = file(tmp_path, "我们  一起\u3000在  嘉鱼  。\n\n2024  年\n", "pku_training.utf8")
    first, second = read_rows(path, flat=True)
    assert "".join(first["tokens"]) == "我们一起在嘉鱼。"
    assert spans(first) == [(0, 2, "WORD"), (2, 4, "WORD"), (4, 5, "WORD"), (5, 7, "WORD"), (7, 8, "WORD")]
    assert (second["tokens"], spans(second)) == (list("2024年"), [(0, 4, "WORD"), (4, 5, "WORD")])


def test_segmentation_of_words_is_refused(tmp_path: Path):
    path = file(tmp_path, "호소력 있 고\n", "train.txt")
    with pytest.raises(InputError, match="word units"):
        read_rows(path, format="segmentation")
    [row] = read_rows(path, unit="character")
    assert spans(row) == [(0, 3, "WORD"), (3, 4, "WORD"), (4, 5, "WORD")]


@pytest.mark.parametrize("mark", ["/", "_"])
def test_pos_file(tmp_path: Path, mark: str):
    path = file(tmp_path, f"我们{mark}PRON 在{mark}ADP 1/2{mark}NUM a_b{mark}X\n".replace("//", "/"), "train.txt")
    [row] = read_rows(path)
    assert row["tokens"] == list("我们在1/2a_b")
    assert spans(row) == [(0, 2, "PRON"), (2, 3, "ADP"), (3, 6, "NUM"), (6, 9, "X")]
    [words] = read_rows(path, unit="word")
    assert (words["tokens"], spans(words)[0]) == (["我们", "在", "1/2", "a_b"], (0, 1, "PRON"))


def test_pos_file_of_english_words(tmp_path: Path):
    [row] = read_rows(file(tmp_path, "Dogs/NOUN bark/VERB ./PUNCT //SYM\n", "train.txt"))
    assert row["tokens"] == ["Dogs", "bark", ".", "/"]
    assert spans(row) == [(0, 1, "NOUN"), (1, 2, "VERB"), (2, 3, "PUNCT"), (3, 4, "SYM")]


def conllu(*words: tuple[str, str, str]) -> str:
    return "".join(f"{number}\t{form}\t_\t{upos}\t_\t_\t_\t_\t_\t_\n" for number, form, upos in words)


def test_conllu_file(tmp_path: Path):
    content = (
        "# newdoc\n# sent_id = zh-1\n# text = 我们在嘉鱼\n"
        + conllu(("1", "我们", "PRON"), ("2", "在", "ADP"), ("3", "嘉鱼", "PROPN"))
        + "\n# only a remark\n\n"
        + conllu(("1", "好", "ADJ"))
    )
    first, second = read_rows(file(tmp_path, content, "zh.conllu"))
    assert (first["id"], first["tokens"]) == ("zh-1", list("我们在嘉鱼"))
    assert spans(first) == [(0, 2, "PRON"), (2, 3, "ADP"), (3, 5, "PROPN")]
    assert (second["id"], spans(second)) == ("zh-10", [(0, 1, "ADJ")])


def test_conllu_counts_syntactic_words(tmp_path: Path):
    content = conllu(
        ("1-2", "du", "_"), ("1", "de", "ADP"), ("2", "le", "DET"), ("2.1", "x", "_"), ("3", "lac", "NOUN")
    )
    [row] = read_rows(file(tmp_path, content, "train.txt"))
    assert (row["tokens"], spans(row)) == (["de", "le", "lac"], [(0, 1, "ADP"), (1, 2, "DET"), (2, 3, "NOUN")])


# ------------------------------------------------------------------ writing


tokens = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=6)


@given(st.lists(tokens, min_size=1, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, sentences: list[list[str]]):
    rows = [
        {"id": str(at), "tokens": units, "entities": [{"start": 0, "end": len(units), "label": f"X{units[0]}X"}]}
        for at, units in enumerate(sentences)
    ]
    path = tmp_path_factory.mktemp("rows") / "new" / "train.jsonl"
    write_rows(path, rows)
    assert read_rows(path) == rows


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    old = [{"id": "1", "tokens": ["a"], "entities": []}]
    write_rows(path, old)

    def interrupted():
        yield old[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(path, interrupted())
    assert read_rows(path) == old
    assert os.listdir(tmp_path) == ["train.jsonl"]


# ------------------------------------------------------------------ real data


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "sentences", "entities", "num_labels", "longest", "k_shot"),
    [
        ("weibo", (1350, 270, 270), (1895, 389, 418), 8, 175, (15, 30, 38, 51)),
        ("youku", (8001, 1000, 1001), (12754, 1581, 1570), 3, 88, (8, 16, 21, 28)),
        ("mit-movie", (6816, 1000, 1953), (19722, 3308, 5686), 12, 76, (27, 52, 72, 93)),
        ("cmeee", (4000, 1000, 1000), (17229, 4144, 3921), 9, 4870, (15, 26, 38, 52)),
        ("stockmark-ja", (4343, 500, 500), (10651, 1259, 1275), 8, 296, (13, 28, 48, 64)),
        ("ud-zh", (3997, 500, 500), (98608, 12663, 12012), 15, 182, (9, 19, 29, 44)),
    ],
)
def test_development_data(name, sentences, entities, num_labels, longest, k_shot):
    folder = SHARED / "data" / name
    splits = [read_rows(folder / f"{split}.jsonl", flat=name != "cmeee") for split in ("train", "dev", "test")]
    assert tuple(len(rows) for rows in splits) == sentences
    assert tuple(sum(len(row["entities"]) for row in rows) for rows in splits) == entities
    assert max(len(row["tokens"]) for rows in splits for row in rows) == longest
    labels = (folder / "labels.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert sorted({label for rows in splits for row in rows for _, _, label in spans(row)}) == labels
    assert len(labels) == num_labels
    train = {row["id"]: row for row in splits[0]}
    sizes = []
    for subset in SUBSETS:
        rows = read_rows(folder / f"{subset}.jsonl", labels=labels)
        assert all(train[row["id"]] == row for row in rows)
        sizes.append(len(rows))
    assert tuple(sizes) == (250, 500, 1000, *k_shot)
