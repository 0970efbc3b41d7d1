"""A finished run that several files of tests look at."""

from pathlib import Path

import pytest

from tests.support.tiny_run import FINISHED, call, tiny_settings


@pytest.fixture(scope="session")
def data(tmp_path_factory, encoder) -> dict:
    return tiny_settings(tmp_path_factory.mktemp("data"), encoder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, data) -> Path:
    """A finished run of five variants: each whose rows are made in a way of their own."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    call(folder, data | {"variants": FINISHED, "seeds": [0, 1]})
    return folder
