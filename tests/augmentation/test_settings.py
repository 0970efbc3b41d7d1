"""Settings of an augmentation: what a finished run remembers of them."""

import json

import pytest

from augmentation.settings import check_settings, check_state, state_of
from modeling_knowfree.data.rows import InputError

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
    for newer in ({"induce_guideline": True}, {"label_descriptions": {"PER": "a person"}}, {"strategy": "melm"}):
        with pytest.raises(InputError, match=next(iter(newer))):
            check_state(tmp_path, check_settings(values | newer, "t"))
