"""Files of settings: plain YAML alone, every refusal one line that names the file and the mend."""

from typing import Annotated, Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from modeling_knowfree.data.rows import InputError
from modeling_knowfree.settings import LARGEST_FILE, check_settings, read_settings

BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)), "task: ner"]
)


class Colours(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(description="how big")
    colour: str = "red"
    share: Annotated[float, Field(ge=0)] | None = Field(None, description="0 to 1")
    deep: bool | None = None
    more: dict[str, Any] = {}


def write(tmp_path, text: str | bytes):
    path = tmp_path / "settings.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "alias"),
        ("a: &x [1]\nb: *x", "line 2"),
        ("task: ner\ntask: pos", "'task' is there twice"),
        ("train: {beta: 1, beta: 2}", "'beta' is there twice"),
        ("task: !!python/object/apply:os.system [echo]", "tag"),
        ("task: !mine ner", "tag"),
        ("data: !!binary aGk=", "tag"),
        ("base: &b {x: 1}\nother: {<<: *b}", "alias"),
        ("task: [", "not YAML"),
        ("- a\n- b", "holds .'a', 'b'"),
        ("1: a", "no name of a setting"),
        ("yes: a", "no name of a setting"),
        (b"task: \xff\xfe", "not YAML"),
        ("size: " + "9" * 6000, "not YAML"),
        ("[" * 3000, "setting: value"),
        ("x: " + "y" * LARGEST_FILE, "larger than 1 MB"),
    ],
)
def test_what_is_no_file_of_settings_is_refused_in_one_line(tmp_path, text, told):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=told) as refused:
        read_settings(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_missing_and_unreadable_files_are_told(tmp_path):
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_settings(path)


def test_options_win_over_the_file_and_what_is_not_given_does_not(tmp_path):
    path = write(tmp_path, "﻿size: 3\ncolour: 2020-01-01\nlist: [1, a]\n")
    assert read_settings(path, {"size": 4, "colour": None, "list": ()}) == {
        "size": 4,
        "colour": "2020-01-01",
        "list": [1, "a"],
    }
    assert read_settings(write(tmp_path, "")) == read_settings(None) == {}


def test_what_yaml_dumps_is_read_back(tmp_path):
    values = {"text": "a: b # c", "none": None, "on": True, "number": 1e-3, "nested": {"x": [1, {"y": "是"}]}}
    assert read_settings(write(tmp_path, yaml.safe_dump(values, allow_unicode=True))) == values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": 1, "color": "red"}, "no setting 'color'; did you mean colour?"),
        ({}, "setting size is missing"),
        ({"size": "big"}, "size is 'big': Input should be a valid integer"),
        ({"size": True}, "size is true, which is no value of it: how big"),
        ({"size": 1, "share": False}, "share is false, which is no value of it: 0 to 1"),
    ],
)
def test_settings_are_checked_by_name(values, told):
    with pytest.raises(InputError, match=r"^here: ") as refused:
        check_settings(Colours, values, "here")
    assert told in str(refused.value)


def test_true_and_false_are_values_of_what_is_true_or_false():
    read = check_settings(Colours, {"size": 1, "deep": False, "more": {"on": True}}, "here")
    assert (read.deep, read.more) == (False, {"on": True})
