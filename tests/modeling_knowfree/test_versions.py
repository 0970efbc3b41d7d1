"""Folders of the version of commit e458a42 load with this one, and folders of this one with that version's code."""

import json
import shutil

import pytest
from knowfree_hub_cards.details import Details
from knowfree_hub_cards.parcels import pack_model

from modeling_knowfree.configuration_knowfree import TRAVELLING_FILES
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification
from tests.support import ROOT
from tests.support.stranger import stranger

OLD_CODE = ROOT / "tests" / "fixtures" / "version_e458a42"
TEXTS = ["left harrow creek trailhead at 5 am .", "the bear left at 4 am", "old axe in the snow"]
OLD_VERSION = """
import json, sys
for name in ("modeling_knowfree", "augmentation", "experiments", "knowfree"):
    sys.modules[name] = None  # as if not installed
from transformers import pipeline
tagger = pipeline("knowfree", model=sys.argv[1], trust_remote_code=True)
tagger.save_pretrained("old")
print(json.dumps([tagger(text) for text in json.load(open("texts.json"))]))
"""


@pytest.fixture(params=["trained", "nested"])
def folder(request):
    return request.getfixturevalue(request.param)


def without_what_the_old_version_lacks(folder):
    """Votes and tags are weights that its code does not know."""
    model = KnowFreeForTokenClassification.from_pretrained(folder)
    model.votes = model.tags = None
    model.config.unit_votes, model.config.tag_weight = False, 0.0
    model.save_pretrained(folder)


def test_both_versions_load_each_others_folders_and_find_the_same(folder, tmp_path):
    texts = TEXTS if folder.parent.name.startswith("trained") else ["我们一起在嘉鱼", "嘉鱼"]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    shutil.copytree(folder, tmp_path / "new", ignore=shutil.ignore_patterns("checkpoint-*"))
    without_what_the_old_version_lacks(tmp_path / "new")
    new = load_pipeline(str(tmp_path / "new"))(texts)
    assert any(new)
    for name in TRAVELLING_FILES:
        (tmp_path / "new" / name).unlink()
    for path in OLD_CODE.glob("*.py"):
        shutil.copy(path, tmp_path / "new")
    pushed = pack_model(tmp_path / "new", "org/old", Details(license="mit"), tmp_path).files
    assert {name for name in pushed if name.endswith("_knowfree.py")} == {path.name for path in OLD_CODE.glob("*.py")}
    by_old_code = json.loads(stranger(OLD_VERSION, tmp_path, tmp_path / "new"))
    saved_by_old_code = load_pipeline(str(tmp_path / "old"))(texts)
    assert (tmp_path / "old" / "units_knowfree.py").read_bytes() == (OLD_CODE / "units_knowfree.py").read_bytes()
    for found in (by_old_code, saved_by_old_code):
        assert [[{**span, "score": pytest.approx(span["score"], abs=1e-4)} for span in spans] for spans in new] == found
