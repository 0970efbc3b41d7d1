"""Every case of the table of bad input: one line with file, line, value, what is allowed and the mend."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_knowfree.data.formats import FORMATS
from modeling_knowfree.data.readers import InputError, check_rows, read_labels, read_rows
from tests.support.bad_input import CASES, GOOD_ROWS, BadInput, Case


def read(bad: BadInput) -> None:
    if bad.role == "label_file":
        read_labels(bad.path)
    else:
        read_rows(bad.path, flat=True)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_error_names_file_row_value_and_mend(case: Case, tmp_path: Path):
    bad = case(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        read(bad)
    message = str(caught.value)
    missing = [fragment for fragment in bad.fragments if fragment not in message]
    assert not missing, message
    assert "; allowed: " in message and "; mend: " in message
    assert message.splitlines() == [message] and message.isprintable() and len(message) < 600
    assert contents(tmp_path) == before


def test_the_rows_around_the_bad_ones_are_good():
    check_rows(GOOD_ROWS, path="good", flat=True, labels=["LOC", "PER"])


def test_a_path_with_a_line_break_still_makes_one_line(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path / "two\nlines.jsonl")
    assert str(caught.value).count("\n") == 0


def test_rows_in_memory_are_counted_from_1():
    rows = [*GOOD_ROWS, {"id": "x", "tokens": ["a"], "entities": [{"start": 0, "end": 2, "label": "PER"}]}]
    with pytest.raises(InputError, match=r"^memory, row 3 \(id 'x'\): span \[0, 2\) 'PER' leaves"):
        check_rows(rows, path="memory")
    with pytest.raises(InputError, match=r"^memory: no rows"):
        check_rows([], path="memory")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "tokens", "entities", "extensions", "start", "end", "label", "entity", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
changes = st.dictionaries(
    st.sampled_from(["id", "tokens", "entities", "extensions", "ner_tags", "text", "spans", "synthetic", "parent_id"]),
    values,
    max_size=4,
)
formats = st.sampled_from([None, *FORMATS])


@settings(max_examples=300)
@given(values | changes.map(lambda changed: {**GOOD_ROWS[0], **changed}) | changes, formats)
def test_any_json_is_read_or_refused(tmp_path_factory, value, layout):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps(value) + "\n")
    read_or_refused(path, layout)


@pytest.mark.parametrize("layout", [None, *FORMATS])
def test_what_is_no_object_is_read_or_refused(layout, tmp_path):
    for text in (
        "null",
        "true",
        "0",
        "-1.5",
        '""',
        '"text"',
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[0]",
        '["a"]',
        "[{}]",
        "[[1]]",
    ):
        for name in ("any.jsonl", "any.json", "any.txt"):
            for content in (text + "\n", f"{text}\n{text}\n"):
                (tmp_path / name).write_text(content)
                read_or_refused(tmp_path / name, layout)


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text("我们aB-OI/_\t \r\n#1{}[\"'", max_size=60).map(str.encode), formats)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content: bytes, layout):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    read_or_refused(path, layout)


def read_or_refused(path: Path, layout: str | None) -> None:
    try:
        rows = read_rows(path, format=layout)
    except InputError as error:
        first, *listed = str(error).splitlines()
        assert "; mend: " in first
        assert len(listed) <= 21 and all(line.startswith("  ") for line in listed)
    else:
        check_rows(rows, path="read")
