"""`card.yaml`: what a card must say and no file of a run knows."""

import re
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import BaseModel, ConfigDict, field_validator

from modeling_knowfree.data.rows import show
from modeling_knowfree.settings import check_settings, read_settings

from .hub_lists import LANGUAGES, LICENSES, Creator

CARD_FILE = "card.yaml"
THREE_LETTERS = re.compile("[a-z]{3}")


def _hub_id(name: str | None) -> str | None:
    if name is not None:
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise ValueError(f"{show(name)} is no id of the Hub; write OWNER/NAME, or leave it out") from None
    return name


class Source(BaseModel):
    """
    The annotated text that everything comes from.

    Args:
        name: as people call it.
        url: where it is described.
        license: in words; what its licence asks of derived data.
        dataset_id: its id, where it is on the Hub.
        splits: what that data set calls the splits that scores were measured on: `{validation: dev, test: test}`.
        annotated_by: who annotated it, as the Hub says it: `expert-generated`, `crowdsourced`, …
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    url: str | None = None
    license: str | None = None
    dataset_id: str | None = None
    splits: dict[Literal["validation", "test"], str] = {}
    annotated_by: Creator | None = None

    _dataset_id = field_validator("dataset_id")(_hub_id)


class Details(BaseModel):
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

    model_config = ConfigDict(extra="forbid", frozen=True)

    license: str | None = None
    dataset_license: str | None = None
    language: tuple[str, ...] = ()
    base_model: str | None = None
    variant: str | None = None
    source: Source = Source()
    label_meanings: dict[str, str] = {}

    _base_model = field_validator("base_model")(_hub_id)

    @field_validator("license", "dataset_license")
    @classmethod
    def _known_license(cls, name: str | None) -> str | None:
        if name is not None and name not in LICENSES:
            raise ValueError(
                f"{show(name)} is no licence of the Hub; use its identifier, such as apache-2.0, or other "
                "(https://huggingface.co/docs/hub/repositories-licenses lists them)"
            )
        return name

    @field_validator("language", mode="before")
    @classmethod
    def _languages(cls, language: Any) -> Any:
        """One or several, or none."""
        language = () if language is None else language if isinstance(language, (list, tuple)) else (language,)
        for code in language:
            # YAML reads `no`, Norwegian, as false.
            if not isinstance(code, str) or not (code in LANGUAGES or THREE_LETTERS.fullmatch(code)):
                raise ValueError(f'{show(code)} is no ISO 639 code; write "zh", "en", "no", … in quotes')
        return language

    @field_validator("source", mode="before")
    @classmethod
    def _parts(cls, source: Any) -> Any:
        if source is not None and not isinstance(source, (dict, Source)):
            raise ValueError(f"{show(source)}; write its name, url, license, dataset_id below it")
        return source or Source()

    @field_validator("label_meanings", mode="before")
    @classmethod
    def _by_label(cls, meanings: Any) -> Any:
        if meanings is not None and not isinstance(meanings, dict):
            raise ValueError(f"{show(meanings)}; write `LABEL: what it marks` lines below it")
        for label in meanings or {}:  # YAML reads `NO` and `ON` as false and true
            if not isinstance(label, str):
                raise ValueError(f"{show(label)} is no label as YAML reads it; write it in quotes")
        return meanings or {}


def read_details(path: Path | None, **given: Any) -> Details:
    """
    The details of a card file, `given` ones (of the command line, None for not given) on top.

    Raises:
        InputError: not YAML, an unknown key, a value of another kind, or one that the Hub does not know; names the
            file, the key and the mend.
    """
    values = read_settings(path, {k: v for k, v in given.items() if v}, like="license: apache-2.0")
    return check_settings(Details, values, str(path) if path else "the command line")
