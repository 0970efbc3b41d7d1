"""Settings of an augmentation: what a finished run remembers of them."""

import json

import pytest
from click.testing import CliRunner

from augmentation.settings import MAX_TOKENS, change_settings, check_settings, check_state, load_settings, state_of
from knowfree import cli
from modeling_knowfree.data.rows import InputError, write_rows
from tests.conftest import row

OF_THE_FIRST_VERSION = """
    language task kinds unit model window_units encoder p epsilon reference merge_labels singletons explain seed
    type_names annotator guidelines target_examples min_targets
""".split()


def test_a_run_of_an_older_version_goes_on_while_newer_settings_are_at_their_defaults(tmp_path):
    (tmp_path / "gold.jsonl").write_text("{}\n")
    values = {"train_file": "gold.jsonl", "language": "en", "client": "recorded", "answers": ["a.jsonl"]}
    state = state_of(tmp_path, check_settings(values, "t"))
    assert sorted(state["settings"]) == sorted(OF_THE_FIRST_VERSION)
    (tmp_path / "state.json").write_text(json.dumps(state))
    check_state(tmp_path, check_settings(values, "t"))
    by_asking_more = ({"induce_guideline": True}, {"explanations": 2}, {"verify": True}, {"swap_mentions": 1})
    for newer in (*by_asking_more, {"label_descriptions": {"PER": "a person"}}, {"strategy": "melm"}):
        with pytest.raises(InputError, match=next(iter(newer))):
            check_state(tmp_path, check_settings(values | newer, "t"))


def test_limits_of_some_tasks_leave_the_others_and_unknown_ones_are_refused():
    values = {"train_file": "gold.jsonl", "language": "en"}
    assert check_settings(values | {"max_tokens": {"entities": 9}}, "t").max_tokens == MAX_TOKENS | {"entities": 9}
    for wrong in ({"entites": 100}, {"entities": 0}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}.*entities, segmentation"):
            check_settings(values | {"max_tokens": wrong}, "t")


def test_new_values_replace_settings_however_they_were_written(tmp_path):
    path = tmp_path / "augment.yaml"
    path.write_text(
        "# mine\ntrain_file: gold.jsonl\nanswers:\n- a.jsonl\n  # the second\n- b.jsonl\n\n# of the texts\nlanguage: en\n"
        "model:\n  Qwen/x\nguidelines: |\n  ask: nothing\n\n  else\nencoder: 'e\u2028e'  # kept",
        encoding="utf-8",
    )
    change_settings(tmp_path, {"answers": ["c.jsonl"], "model": "m", "guidelines": "none", "ask": 3})
    assert path.read_text(encoding="utf-8") == (
        '# mine\ntrain_file: gold.jsonl\nanswers: ["c.jsonl"]\n\n# of the texts\nlanguage: en\nmodel: "m"\n'
        "guidelines: \"none\"\nencoder: 'e\u2028e'  # kept\nask: 3\n"
    )
    assert load_settings(tmp_path).answers == ("c.jsonl",)


def test_init_says_where_the_options_of_reading_are_and_refuses_nested_gold(tmp_path):
    (tmp_path / "ints.jsonl").write_text('{"tokens": ["a", "b"], "ner_tags": [0, 1]}\n')
    nested = [row("the old axe", (1, 3, "GEAR"), (2, 3, "TOOL"))]
    write_rows(tmp_path / "nested.jsonl", nested)
    write_rows(tmp_path / "set" / "train.jsonl", [row("the old axe", (1, 3, "GEAR"))])

    def init(folder: str, file: str, *more: str):
        line = ["augment", "init", str(tmp_path / folder), "--train_file", str(tmp_path / file), "--language", "en"]
        return CliRunner().invoke(
            cli, [*line, "--client", "recorded", "--answers", str(tmp_path / "ints.jsonl"), *more]
        )

    told = init("a", "ints.jsonl")
    assert told.exit_code == 2 and "--tag_names" in told.output and "knowfree data convert" in told.output
    assert "--task nested_ner" in init("a", "nested.jsonl").output and not (tmp_path / "a").exists()
    assert init("a", "nested.jsonl", "--task", "nested_ner").exit_code == 0
    texts = ("--unlabeled_dataset_name", str(tmp_path / "set"))
    assert init("b", "set/train.jsonl", *texts, "--max_wait_seconds", "nan").exit_code == 2
    assert not (tmp_path / "b").exists()
    assert init("new/folder", "set/train.jsonl", *texts).exit_code == 0
    assert (tmp_path / "new" / "folder" / "augment.yaml").is_file()
