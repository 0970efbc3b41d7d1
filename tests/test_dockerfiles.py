"""The Dockerfiles, read: there is no Docker where these tests run, so whether they build is not what is shown here."""

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from knowfree_hub_cards.parcels import pack_space

from knowfree import cli
from modeling_knowfree.inference.server import make_app
from tests.support import ROOT

FILES = {
    ROOT / "examples" / "docker" / "serve.Dockerfile": ROOT,
    ROOT / "spaces" / "knowfree_demo" / "Dockerfile": ROOT,
}
"""Each with the folder that it is built in."""


def instructions(path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(("path", "context"), FILES.items(), ids=lambda path: path.name)
def test_what_is_copied_and_installed_exists(path, context):
    steps = instructions(path)
    assert steps[0] == ("FROM", "python:3.11-slim")
    for kind, rest in steps:
        assert kind in "FROM ARG ENV WORKDIR COPY RUN USER EXPOSE HEALTHCHECK ENTRYPOINT CMD".split()
        if kind == "COPY":
            *sources, target = shlex.split(rest)
            assert all(list(context.glob(source)) for source in sources), rest
            assert len(sources) == 1 or target.endswith("/")
        for extra in re.findall(r"\.\[([\w,]+)\]", rest):
            assert set(extra.split(",")) <= set(metadata("knowfree").get_all("Provides-Extra"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_runs_as_nobody_special_and_no_secret_lies_in_a_layer(path):
    steps = instructions(path)
    users = [at for at, (kind, _) in enumerate(steps) if kind == "USER"]
    assert steps[users[-1]][1] not in ("root", "0")
    assert {kind for kind, _ in steps[users[-1] :]} <= {"USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert not [rest for kind, rest in steps if kind in ("ARG", "ENV") and re.search("TOKEN|SECRET|PASSWORD|KEY", rest)]


def test_serve_gets_every_package_that_setup_installs():
    copied = {rest.split()[0] for kind, rest in instructions(next(iter(FILES))) if kind == "COPY"}
    packages = {"modeling_knowfree", "augmentation", "experiments", "hub_cards", "spaces", "examples/demo"}
    assert packages <= copied and all(f'"{name}"' in (ROOT / "setup.py").read_text() for name in packages)


def test_serve_has_the_options_and_the_address_that_its_container_asks(trained):
    steps = dict(instructions(next(iter(FILES))))
    assert steps["ENTRYPOINT"] == '["knowfree", "serve"]'
    told = CliRunner().invoke(cli, ["serve", "--help"]).output
    assert all(option in told for option in re.findall(r"--\w+", steps["CMD"]))
    paths = {route.path for route in make_app(str(trained)).routes}
    assert re.search(r":8000(/\w+)", steps["HEALTHCHECK"])[1] in paths


def test_the_pages_container_has_the_gradio_of_its_space():
    folder = ROOT / "spaces" / "knowfree_demo"
    said = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---")[1])["sdk_version"]
    assert f"gradio=={said}\n" in (folder / "Dockerfile").read_text(encoding="utf-8")


def test_the_pages_container_holds_what_a_pushed_space_does():
    sources = [rest for kind, rest in instructions(list(FILES)[1]) if kind == "COPY"]
    copied = set()
    for rest in sources:
        *names, target = shlex.split(rest)
        for found in (path for name in names for path in ROOT.glob(name)):
            inside = found.rglob("*.py") if found.is_dir() else [found]
            copied |= {(Path(target) / (p.relative_to(found) if found.is_dir() else p.name)).as_posix() for p in inside}
    pushed = {name for name in pack_space("me/demo", []).files if name.endswith((".py", ".txt"))}
    assert pushed - copied == {"knowfree_formats/__init__.py"}, "a folder without it is a package too"
