"""`card.yaml`: what a card must say and no file of a run knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from modeling_knowfree.data.rows import InputError, show
from modeling_knowfree.settings import read_settings, unknown_setting

CARD_FILE = "card.yaml"
LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")
LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Source:
    """
    The annotated text that everything comes from.

    Args:
        name: as people call it.
        url: where it is described.
        license: in words; what its licence asks of derived data.
        dataset_id: its id, where it is on the Hub.
    """

    name: str | None = None
    url: str | None = None
    license: str | None = None
    dataset_id: str | None = None


@dataclass(frozen=True)
class Details:
    """
    What people say about a run.

    Args:
        license: of the model, a licence identifier of the Hub (`apache-2.0`, `cc-by-sa-4.0`, `other`, …).
        dataset_license: of the augmented data set; bound by the source's licence.
        language: ISO 639 codes.
        base_model: Hub id of the encoder that was fine-tuned.
        variant: `KnowFREE`, `KnowFREE-F` or `KnowFREE-FS`.
        source: the annotated text.
        label_meanings: by target label, what it marks.
    """

    license: str | None = None
    dataset_license: str | None = None
    language: tuple[str, ...] = ()
    base_model: str | None = None
    variant: str | None = None
    source: Source = Source()
    label_meanings: Mapping[str, str] = field(default_factory=dict)


def read_details(path: Path | None, **given: Any) -> Details:
    """
    The details of a card file, `given` ones (of the command line, None for not given) on top.

    Raises:
        InputError: not YAML, an unknown key, or a value of another kind; names the file, the key and the mend.
    """
    where = str(path) if path else "the command line"
    values = read_settings(path, {k: v for k, v in given.items() if v}, like="license: apache-2.0")
    _known_keys(values, Details, where)
    language = values.get("language", ())
    values["language"] = tuple(language) if isinstance(language, (list, tuple)) else (language,)
    source = values.get("source") or {}
    if not isinstance(source, dict):
        raise InputError(f"{where}: source is {show(source)}; write its name, url, license, dataset_id below it")
    _known_keys(source, Source, f"{where}: source")
    meanings = values.get("label_meanings") or {}
    if not isinstance(meanings, dict):
        raise InputError(f"{where}: label_meanings is {show(meanings)}; write `LABEL: what it marks` lines below it")
    values["label_meanings"] = {str(label): _text(meaning, label, where) for label, meaning in meanings.items()}
    values["source"] = Source(**{name: _text(value, f"source.{name}", where) for name, value in source.items()})
    for name in ("license", "dataset_license", "base_model", "variant"):
        values[name] = _text(values.get(name), name, where)
    for name in ("license", "dataset_license"):
        if values[name] and not LICENSE.fullmatch(values[name]):
            raise InputError(f"{where}: {name} is {show(values[name])}; use the Hub's identifier, such as apache-2.0")
    for code in values["language"]:
        # YAML reads `no`, Norwegian, as false.
        if not isinstance(code, str) or not LANGUAGE.fullmatch(code):
            raise InputError(f'{where}: language {show(code)} is no ISO 639 code; write "zh", "en", "no", … in quotes')
    return Details(**values)


def _known_keys(values: Mapping[Any, Any], kind: type, where: str) -> None:
    names = [each.name for each in fields(kind)]
    for name in values:
        if name not in names:
            raise unknown_setting(str(name), names, where)


def _text(value: Any, name: Any, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{where}: {name} is {show(value)}; write text, in quotes where it has a colon or is a number")
