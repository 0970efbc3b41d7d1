"""Every case of the table of bad input: one line with file, line, value, what is allowed and the mend."""

from pathlib import Path

import pytest
from bad_input import CASES, GOOD_ROWS, KNOWN_LABELS, BadInput, Case

from modeling_knowfree.readers_knowfree import InputError, check_rows, read_labels, read_rows


def read(bad: BadInput) -> None:
    if bad.role == "label_file":
        read_labels(bad.path)
    else:
        read_rows(bad.path, flat=True, labels=KNOWN_LABELS if bad.role == "validation_file" else None)


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
    check_rows(GOOD_ROWS, path="good", flat=True, labels=KNOWN_LABELS)


def test_a_path_with_a_line_break_still_makes_one_line(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path / "two\nlines.jsonl")
    assert str(caught.value).count("\n") == 0


def test_rows_in_memory_are_counted_from_1():
    rows = [*GOOD_ROWS, {"id": "x", "tokens": ["a"], "entities": [{"start": 0, "end": 2, "label": "PER"}]}]
    with pytest.raises(InputError, match=r"^memory, row 3 \(id 'x'\): span \[0, 2\) 'PER' leaves"):
        check_rows(rows, path="memory")
    with pytest.raises(InputError, match=r"^memory, line 9 \(id 'x'\)"):
        check_rows(rows, path="memory", lines=[1, 5, 9])
    with pytest.raises(InputError, match=r"^memory: no rows"):
        check_rows([], path="memory")
