"""A cell of a run: one variant trained on one subset with one seed, then scored on the test set."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augmentation.settings import Settings as AugmentSettings
from augmentation.settings import check_settings
from modeling_knowfree.files import ends_whole
from modeling_knowfree.training.arguments import DataArguments, recipe_for

from .arguments import OF_EXTENSION_LABELS, shaping_arguments, unused_arguments
from .fingerprints import encoder_fingerprint, file_hash
from .results import PREDICTIONS_FILE, usable_results
from .settings import CELL_FILE, RunSettings
from .variants import LEXICON_TAGGERS, Variant

TOLD_THE_LLM = {"task", "language", "unit", "window_units", "guidelines", "label_descriptions", "max_tokens"}
TOLD_OF_EXAMPLES = {"target_examples", "encoder"}
"""Settings of the augmentation that an LLM which tags the test set depends on; those of its examples."""


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
        unused = unused_arguments(self.definition.tagger)
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
