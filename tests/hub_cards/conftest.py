"""A Hub on loopback, what is pushed to it, and `knowfree push` against it."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi
from knowfree_hub_cards.details import read_details
from knowfree_hub_cards.parcels import pack_model

import knowfree


@pytest.fixture(autouse=True)
def loopback_is_no_network(monkeypatch):
    """`make test` sets HF_HUB_OFFLINE against the network; the Hub of these tests is on loopback."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def run_copy(hub_run, tmp_path) -> Path:
    """A run folder that a test may harm."""
    return Path(shutil.copytree(hub_run, tmp_path / "run"))


@pytest.fixture
def pack_trained(hub_run, tmp_path):
    """`pack_trained(folder)`: the parcel of a trained folder."""
    made = iter(range(100))

    def pack(folder: Path = hub_run / "model", repo_id: str = "org/m", **options):
        work = tmp_path / f"work{next(made)}"
        work.mkdir()
        return pack_model(folder, repo_id, read_details(hub_run / "card.yaml"), work, **options)

    return pack


@pytest.fixture
def command(hub, monkeypatch, tmp_path):
    """`command(…)` -> (exit code, output and errors) of `knowfree push`; a token is at hand."""
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    # Read from HF_ENDPOINT when huggingface_hub is imported.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    def run(*argv: object) -> tuple[int, str]:
        result = CliRunner().invoke(knowfree.cli, ["push", *map(str, argv)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run
