"""Prompts: one file per prompt and language in `prompts/`, with id and version in its head, rendered by jinja2."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modeling_knowfree.settings import parse_settings

LANGUAGES = ("zh", "en", "ja", "ko")


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
    )
    environment.filters["json"] = _as_json
    return environment


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file. `sha256` is that of the whole file, head included, and goes into provenance."""

    id: str
    language: str
    version: str
    sha256: str
    template: jinja2.Template

    def render(self, **variables: Any) -> str:
        """The prompt with `variables` put in; they are data and never read as a template.

        Raises:
            jinja2.UndefinedError: a variable of the template is missing.
        """
        return self.template.render(**variables)


def parse_prompt(source: str) -> Prompt:
    """Read a prompt file: a YAML head between `---` lines (id, language, version), then the template.

    Raises:
        ValueError: the head is missing or lacks a field.
    """
    parts = source.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise ValueError("a prompt file begins with '---', its head (id, language, version) and '---' again")
    head = parse_settings(parts[1].encode("utf-8"), "the head of this prompt file", like="id: targets")
    missing = {"id", "language", "version"} - set(head)
    if missing:
        raise ValueError(f"the head of this prompt file lacks {', '.join(sorted(missing))}")
    return Prompt(
        id=f"{head['id']}.{head['language']}",
        language=head["language"],
        version=str(head["version"]),
        sha256=hashlib.sha256(source.encode("utf-8")).hexdigest(),
        template=_environment().from_string(parts[2].strip()),
    )


@cache
def load_prompt(name: str, language: str) -> Prompt:
    """The prompt `name` in `language`.

    Raises:
        ValueError: there is no such prompt, or not in this language.
    """
    folder = files("augmentation").joinpath("prompts")
    file = folder.joinpath(f"{name}.{language}.jinja")
    if not file.is_file():
        there = sorted(path.name.removesuffix(".jinja") for path in folder.iterdir() if path.name.endswith(".jinja"))
        raise ValueError(f"no prompt {name!r} in language {language!r}; there are: {', '.join(there)}")
    return parse_prompt(file.read_bytes().decode("utf-8"))
