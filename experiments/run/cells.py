"""A cell of a run: one variant trained on one subset with one seed, then scored on the test set."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from augmentation.settings import Settings as AugmentSettings
from augmentation.settings import check_settings
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.encoders import encoder_path
from modeling_knowfree.files import ends_whole
from modeling_knowfree.loading import load_config, told_in_one_line
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.training.arguments import (
    DataArguments,
    ModelArguments,
    recipe_for,
)
from modeling_knowfree.training.command_line import Arguments, parse_arguments
from modeling_knowfree.training.config import build_config, target_labels
from modeling_knowfree.training.train import batches_an_epoch, plan_schedule
from modeling_knowfree.units_knowfree import infer_unit

from ..baselines.lexicon import AUGMENTATION, PACKAGED
from ..baselines.tagger import TAGGERS, tagger_class
from .fingerprints import encoder_fingerprint, file_hash
from .results import PREDICTIONS_FILE, usable_results
from .settings import CELL_FILE, RunSettings
from .variants import LEXICON_TAGGERS, Variant

SET_BY_RUN = frozenset(
    "train_file validation_file test_file labels task model_name_or_path output_dir seed max_steps "
    "dataset_name dataset_config_name resume_from_checkpoint".split()
)


ALSO_OF_NETWORKS = {"pooling", "head_dropout", "threshold", "decoding", "vocabulary_files"}
"""Model arguments of KnowFREE that the networks of `baselines.tagger` have too."""
TOLD_THE_LLM = {"task", "language", "unit", "window_units", "guidelines", "label_descriptions"}
TOLD_OF_EXAMPLES = {"target_examples", "encoder"}
"""Settings of the augmentation that an LLM which tags the test set depends on; those of its examples."""
ONLY_KNOWFREE = {"join_sentences", "extension_schedule", "lora_rank"}
"""Arguments of training that none but KnowFREE has."""
OF_EXTENSION_LABELS = {
    *("alpha_cap", "extension_budget", "extension_schedule", "extension_tag_weight", "min_extension_count"),
}
"""Arguments that shape no training on targets alone."""


@dataclass(frozen=True)
class Cell:
    """
    What is trained, and where it lies.

    Args:
        train_file: rows of the subset, of the kind that the variant wants.
        folder: of the finished model.
        updates: of the training.
    """

    settings: RunSettings
    subset: str
    variant: str
    seed: int
    train_file: Path
    folder: Path
    updates: int

    @property
    def definition(self) -> Variant:
        """What the variant's name stands for."""
        return self.settings.known_variants[self.variant]

    def arguments(self, output_dir: Path) -> dict[str, Any]:
        """The arguments of `knowfree train` for this cell."""
        return shaping_arguments(self.settings, self.definition) | {
            "train_file": str(self.train_file),
            "validation_file": self.settings.validation_file,
            "seed": self.seed,
            "output_dir": str(output_dir),
            "max_steps": self.updates,
            "model_name_or_path": self.settings.model_name_or_path,
        }

    def key(self) -> str:
        """
        sha256 of everything that shapes the cell: arguments, the recipe behind them, files by content, encoder.

        Raises:
            FileNotFoundError: no training file.
        """
        settings = self.settings
        if self.definition.asks_llm:
            asked = self.llm_settings()
            few = self.definition.tagger == "llm_few"
            told_files = [*asked.answers, settings.test_file, str(self.train_file) if few else None]
            prompts = asked.model_dump(mode="json", include=TOLD_THE_LLM | (TOLD_OF_EXAMPLES if few else set()))
            hashes = [file_hash(Path(path)) for path in told_files if path]
            told = [self.definition.tagger, settings.labels, asked.model_name, prompts, hashes]
            return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        files = [self.train_file, settings.validation_file, settings.test_file]
        arguments = shaping_arguments(settings, self.definition)
        preset = arguments.get("preset", DataArguments.preset)
        recipe = recipe_for(preset, settings.model_name_or_path, settings.task)
        unused = _unused(self.definition.tagger)
        if self.definition.data == "gold":
            unused = unused | OF_EXTENSION_LABELS
        used = {name: value for name, value in recipe.items() if name not in unused}
        shaping: list[Any] = [
            self.definition.tagger,
            used | arguments,
            [self.seed, self.updates, encoder_fingerprint(settings.model_name_or_path)],
            [file_hash(Path(path)) for path in files if path],
        ]
        if self.definition.tagger in LEXICON_TAGGERS:
            words = settings.lexicon
            shaping.append(file_hash(Path(words)) if words and Path(words).is_file() else words)
        if self.definition.tagger == "llm_lora":
            model = settings.lora.get("model")
            shaping += [settings.lora, settings.language, model and encoder_fingerprint(model)]
            labels = self.told_labels()
            shaping += [labels] if any(labels.values()) else []
        if vocabulary := arguments.get("vocabulary_files"):
            shaping.append([file_hash(Path(path)) for path in vocabulary])
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()

    def llm_settings(self) -> AugmentSettings:
        """
        How the LLM is asked where it tags the test set itself; files are named from the current directory.

        Raises:
            InputError: settings that the augmentation refuses.
        """
        settings = self.settings
        files = {"train_file": str(self.train_file), "test_file": settings.test_file}
        task = {"task": settings.task, "language": settings.language, "unit": settings.unit}
        values = settings.augment | self.definition.augment | files | task
        if settings.label_descriptions:
            values["label_descriptions"] = settings.label_descriptions
        return check_settings(values, f"augment of {self.variant}")

    def told_labels(self) -> dict[str, Any]:
        """What `llm_lora` is told of the labels, as `llm_zero` is."""
        told = self.llm_settings()
        return {"guidelines": told.guidelines, "label_descriptions": told.label_descriptions}

    @property
    def asks_server(self) -> bool:
        """Whether a server tags the test set: what it has failed on it may answer another time."""
        return self.definition.asks_llm and self.llm_settings().client != "recorded"

    def result(self) -> dict[str, Any] | None:
        """Its line of results.jsonl, if it is finished, whole, and nothing that shapes it has changed."""
        return next((result for result in self._usable() if result["key"] == self.key()), None)

    def is_damaged(self) -> bool:
        """Whether it lies there and does not say what it is, or what it found in the test file."""
        return (self.folder / CELL_FILE).is_file() and not self._usable()

    def _usable(self) -> list[dict[str, Any]]:
        return usable_results(self.folder / CELL_FILE) if ends_whole(self.folder / PREDICTIONS_FILE) else []


def shaping_arguments(settings: RunSettings, variant: Variant) -> dict[str, Any]:
    """What `knowfree train` is told for a variant, but for encoder, files, seed and updates."""
    arguments = {"task": settings.task, "labels": settings.labels, "report_to": "none"}
    arguments |= {} if "preset" in settings.train else variant.recipe
    return {name: value for name, value in (arguments | settings.train | variant.train).items() if value is not None}


def check_arguments(settings: RunSettings, variant: str, subsets: Mapping[str, list[Row]]) -> None:
    """
    Check the encoder and what a variant's training is told.

    Args:
        subsets: the gold sentences of each.

    Raises:
        InputError: no such encoder, an argument that `knowfree train` does not know, that the run itself sets or that
            the variant has no use for, or a value that it refuses; no word of the lexicon in a subset.
    """
    rows = next(iter(subsets.values()))
    definition = settings.known_variants[variant]
    where = f"train of {variant}"
    for name in settings.train | definition.train:
        if name in SET_BY_RUN:
            raise InputError(f"{where}: no argument {name!r} is to be given here: the run sets it itself")
        if name == "push_to_hub" or name.startswith("hub_"):
            raise InputError(f"{where}: no argument {name!r} is to be given here: `knowfree push` pushes a run")
    for name in definition.train:
        if name in ("num_train_epochs", "min_steps"):
            why = "all variants get the same number of updates; give it in train or updates of the whole run"
            raise InputError(f"{where}: no {name} of its own: {why}")
        if definition.asks_llm:
            raise InputError(f"{where}: nothing is trained, so there is no {name}; leave it out")
        if name in _unused(definition.tagger):
            what = "a BIO tagger" if definition.tagger in ("bio", "bio_crf") else definition.tagger
            raise InputError(f"{where}: {what} has no {name}; leave it out")
    if settings.train.get("lora_rank") and definition.tagger in ("bio", "bio_crf", *TAGGERS):
        raise InputError(f"{where}: lora_rank is for KnowFREE alone: give it to variants of `define`, not to all")
    if definition.pool and definition.tagger != "span":
        raise InputError(
            f"{variant}: spans of the pool have weights and doubts, which {definition.tagger} cannot learn from; mend: "
            "leave out pool, or tagger"
        )
    if definition.tagger == "llm_lora":
        from ..baselines.llm_lora import check_lora

        check_lora(settings.lora)
    if definition.tagger in LEXICON_TAGGERS:
        if settings.lexicon is None:
            words = "lexicon: FILE (a word a line, or word2vec's text format), lexicon: rjieba or lexicon: augmentation"
            raise InputError(f"{variant} needs words; give the run {words}")
        _check_lexicon_fits(settings, variant)
    encoder = encoder_path(settings.model_name_or_path, infer_unit(rows))
    with told_in_one_line(f"model_name_or_path {settings.model_name_or_path}"):
        load_config(encoder)
        if definition.tagger in LEXICON_TAGGERS:
            for subset, gold in subsets.items():
                labels = settings.labels or target_labels(gold)
                try:
                    tagger_class(definition.tagger).check(gold, settings.lexicon, encoder, labels)
                except InputError as error:
                    raise InputError(f"{variant} on {subset}: {error}") from error
    try:
        updates = {"max_steps": settings.updates} if settings.updates else {}
        model_args, data_args, args = _parse(settings, definition, **updates)
        plan_schedule(data_args, args, len(rows), batches_an_epoch(rows, model_args, args))
        if model_args.max_span_width == "auto":
            model_args.max_span_width = None
        config = build_config(encoder, rows[:1], labels=settings.labels, **model_args.config_fields(rows[:1]))
        with torch.device("meta"):
            KnowFreeForTokenClassification(config)
    except (ValueError, ArithmeticError) as error:
        raise InputError(f"{where}: {error}") from error


def _check_lexicon_fits(settings: RunSettings, variant: str) -> None:
    if settings.language != "zh":
        raise InputError(
            f"{variant}: lexicon methods read Chinese characters, and language is {settings.language!r}; mend: leave "
            "it out, or take a row of any language (bert_bilstm_crf, w2ner, difinet, …)"
        )
    kinds = (settings.augment | settings.known_variants[variant].augment).get("kinds")
    if settings.lexicon == AUGMENTATION and kinds is not None and not {"segmentation", "pos"} & set(kinds):
        raise InputError(
            f"{variant}: lexicon: {AUGMENTATION} takes words from segmentation or parts of speech, and augment asks "
            f"the LLM for kinds: {list(kinds)}; mend: add segmentation to kinds, or give lexicon: FILE or {PACKAGED}"
        )


def _unused(tagger: str) -> set[str]:
    """What `knowfree train` can be told and this tagger has no use for."""
    of_model = names_of(ModelArguments)
    if tagger == "span":
        return set()
    if tagger == "llm_lora":
        return of_model | ONLY_KNOWFREE | {"learning_rate", "head_learning_rate"}
    if tagger in TAGGERS:
        return (
            of_model - ALSO_OF_NETWORKS - ({"start_bias"} if tagger in ("difinet", "w2ner") else set()) | ONLY_KNOWFREE
        )
    return of_model - {"head_dropout"} | ONLY_KNOWFREE | {"beta"}


def names_of(*kinds: type) -> set[str]:
    """The fields of dataclasses."""
    return {each.name for kind in kinds for each in fields(kind)}


def updates_of_recipe(settings: RunSettings, variant: Variant, rows: Sequence[Row]) -> int:
    """How many updates the recipe wants for these training sentences."""
    model_args, data_args, args = _parse(settings, variant)
    plan_schedule(data_args, args, len(rows), batches_an_epoch(rows, model_args, args))
    return args.max_steps


def _parse(settings: RunSettings, variant: Variant, **more: int) -> Arguments:
    files = {"train_file": settings.train_file, "validation_file": settings.validation_file, "output_dir": "unused"}
    return parse_arguments(shaping_arguments(settings, variant) | files | {"model_name_or_path": "unused"} | more)
