"""A whole run: subsets, augmentation, every variant trained and scored, the best one laid out for pushing."""

import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from augmentation.finished import asked_otherwise, is_finished, number_of_lines
from augmentation.llm.store import Store
from augmentation.pipeline import STORE_FILE
from augmentation.review.decisions import DECISIONS_FILE
from augmentation.session import ProgressLine, limits_of, open_run
from augmentation.settings import (
    COUNTS_FILE,
    SETTINGS_FILE,
    STATE_FILE,
    check_files,
    check_settings,
    check_state,
    settings_text,
)
from augmentation.settings import Settings as AugmentSettings
from augmentation.steps.guideline import GUIDELINE_FILES
from augmentation.steps.languages import script_doubt
from augmentation.steps.pool import UNLABELED_FILE, keep_texts
from augmentation.strategies.melm import RESULT as MELM_FILE
from augmentation.strategies.melm import open_masked_model
from modeling_knowfree.data.readers import iterate_rows, read_rows
from modeling_knowfree.data.rows import InputError, Row, span_sets, write_rows
from modeling_knowfree.data.stored import stored_object, stored_rows
from modeling_knowfree.files import path_from, write_whole
from modeling_knowfree.training.config import target_labels
from modeling_knowfree.training.sampling import k_shot_subsets, random_subsets
from modeling_knowfree.training.train import tell_unknown
from modeling_knowfree.units_knowfree import infer_unit

from .arguments import check_arguments, updates_of_recipe
from .cells import Cell
from .finishing import finish
from .own_folder import check_own, write_settings
from .results import RESULTS_FILE, best_over_seeds, usable_results
from .settings import (
    AUGMENTED,
    CELL_FILE,
    GOLD_FILE,
    MODEL,
    REPORT_FILE,
    RUN_FILE,
    RunSettings,
    augmented_folder,
)
from .teaching import ask_teacher, hub_texts, open_pool
from .training_rows import make_rows, synthetic_file
from .variants import Variant

logger = logging.getLogger(__name__)
RECORDED_FILE = "recorded.jsonl"
"""In a run folder, results whose model is gone: results.jsonl may leave such a line out, and nothing else holds it."""
NAMES_IN_RUN = (MODEL, AUGMENTED, RUN_FILE, RESULTS_FILE, RECORDED_FILE, REPORT_FILE, DECISIONS_FILE)


class Run:
    """
    A run folder. Every stage leaves its result there, and is skipped while what it is made from stays the same.

    Args:
        settings: of the run; `labels` and `unit` are filled in.
        folder: made when it is not there.

    Raises:
        InputError: anything wrong with settings, data or folder; nothing has been written then.
    """

    def __init__(self, settings: RunSettings, folder: Path) -> None:
        self.folder = folder
        check_own(folder)
        flat = settings.task != "nested_ner"
        read = partial(read_rows, task=settings.task, flat=flat)
        self.train_rows = read(settings.train_file, unit=settings.unit, labels=settings.labels)
        labels = settings.labels or target_labels(self.train_rows)
        if not labels:
            raise InputError(f"{settings.train_file}: no row has an entity: there is nothing to learn")
        if unknown := sorted(settings.label_descriptions.keys() - set(labels)):
            raise InputError(f"label_descriptions: {unknown[0]!r} is no label here; there are {', '.join(labels)}")
        unit = self.unit = infer_unit(self.train_rows)
        if settings.unit not in (None, unit):
            raise InputError(f"unit is {settings.unit!r}, but {settings.train_file} has {unit} tokens; leave unit out")
        self.test = read(settings.test_file, unit=unit)
        dev = {settings.validation_file: read(settings.validation_file, unit=unit)} if settings.validation_file else {}
        self.settings = settings.model_copy(update={"labels": labels, "unit": unit})
        self._tell_doubts({settings.train_file: self.train_rows, **dev})
        self.subsets = self._subsets(read)
        pooled = any(map(settings.pool_annotator, settings.variants))
        self.pools = {subset: open_pool(self, rows) for subset, rows in self.subsets.items()} if pooled else {}
        if not pooled and (settings.unlabeled_file or settings.unlabeled_dataset_name):
            logger.warning("none of these variants learns from text without labels, so it is not looked at: u does")
        self.updates: dict[str, int] = {}
        self._told: set[tuple[str, str, int]] = set()
        asked = [
            check_settings(self.augment_values(subset, variant), f"augment of {variant}")
            for subset in self.subsets
            for variant in self._augmented_variants()
        ]
        for model in {one.melm_model for one in asked if one.strategy == "melm" and one.melm_model}:
            open_masked_model(model, unit)
        for variant in filter(self.settings.shared, self.settings.all_variants):
            for subset, rows in self.subsets.items() if self.settings.share == "cross_fitted" else ():
                if len({tuple(row["tokens"]) for row in rows}) < 2:
                    raise InputError(
                        f"{variant} on {subset}: share: cross_fitted tags each half of the gold by the other, and "
                        "there is one sentence; mend: give more, or a share from 0 to 1"
                    )
        for variant in self.settings.all_variants:
            check_arguments(self.settings, variant, self.subsets)
            if self.settings.known_variants[variant].asks_llm:
                self._check_llm(variant)
        for variant in self._augmented_variants():
            self._check_answers(variant)

    def _tell_doubts(self, seen: Mapping[str, list[Row]]) -> None:
        """What may be wrong with the data; `seen` in training, by file."""
        test_file, tested = self.settings.test_file, {tuple(row["tokens"]) for row in self.test}
        for name, rows in seen.items():
            if known := len(tested.intersection(tuple(row["tokens"]) for row in rows)):
                told = "%s: %d of its sentences are in %s too: a score on what was seen says little of new text"
                logger.warning(told, test_file, known, name)
        tell_unknown(self.test, self.settings.labels or (), test_file)
        if doubt := script_doubt(self.train_rows, self.settings.language, self.settings.train_file):
            logger.warning(doubt)

    def _check_answers(self, variant: str) -> None:
        for path in (self.settings.augment | self.settings.known_variants[variant].augment).get("answers", ()):
            if not Path(path).is_file():
                raise InputError(f"augment of {variant}: answers {path}: no such file; name a file of recorded answers")

    def _check_llm(self, variant: str) -> None:
        """Whether somebody answers where the LLM tags the test set."""
        told = self._llm_settings(variant)
        self._check_answers(variant)
        if told.client == "recorded" and not told.answers:
            raise InputError(f"augment of {variant}: client recorded needs answers: [FILE]")
        if told.client == "hub" and not told.model:
            raise InputError(f"augment of {variant}: name the LLM that tags: model: ID, or recorded answers")

    def _check_budget(self, budget: Mapping[str, Any]) -> None:
        """Whether dollars can be counted, for whoever asks an LLM; prices may be those of a variant."""
        subset = next(iter(self.subsets))
        for variant in self._augmented_variants():
            values = self.augment_values(subset, variant)
            limits_of(check_settings(values, f"augment of {variant}"), budget, f"augment of {variant}")
        for variant in self.settings.all_variants:
            if self.settings.known_variants[variant].asks_llm:
                limits_of(self._llm_settings(variant), budget, f"augment of {variant}")

    def _llm_settings(self, variant: str) -> AugmentSettings:
        """How the LLM is asked that tags the test set as `variant`."""
        return Cell(self.settings, "", variant, 0, Path(self.settings.train_file), self.folder, 0).llm_settings()

    def _subsets(self, read: Callable[..., list[Row]]) -> dict[str, list[Row]]:
        subsets: dict[str, list[Row]] = {}
        seed, name = self.settings.sampling_seed, self.settings.train_file
        for subset in self.settings.subsets:
            folder = Path(subset).stem
            if folder in subsets:
                raise InputError(f"subsets: two are called {folder}; rename the file")
            if folder in NAMES_IN_RUN or folder.startswith("."):
                raise InputError(
                    f"subsets: {subset!r} would lie in the folder {folder!r}, which the run keeps for itself (as it "
                    f"does {', '.join(NAMES_IN_RUN)}); rename the file"
                )
            if subset == "all":
                subsets[subset] = self.train_rows
            elif re.fullmatch(r"k\d{1,9}", subset):
                subsets[subset] = k_shot_subsets(self.train_rows, [int(subset[1:])], seed=seed, name=name)[
                    int(subset[1:])
                ]
            elif re.fullmatch(r"\d{1,9}", subset):
                subsets[subset] = random_subsets(self.train_rows, [int(subset)], seed=seed, name=name)[int(subset)]
            elif os.path.isfile(subset):
                subsets[folder] = read(subset, unit=self.unit, labels=self.settings.labels)
            else:
                raise InputError(f"subsets: {subset!r} is none; write k5, a number of sentences, all, or name a file")
        return subsets

    # where things lie

    def gold(self, subset: str) -> Path:
        """The gold sentences of a subset."""
        return self.folder / subset / GOLD_FILE

    def augmented(self, subset: str, variant: str) -> Path:
        """The augmentation that a variant learns from; one with settings of its own has a folder of its own."""
        return augmented_folder(self.folder, subset, self.settings.augmentation_of(variant))

    def cell(self, subset: str, variant: str, seed: int, updates: int) -> Cell:
        """One cell; its training file need not be there yet."""
        folder = self.folder / subset / variant / f"seed-{seed}"
        data = self.settings.known_variants[variant].data
        if data == "gold":
            train_file = self.gold(subset)
        elif data == "fusion":
            train_file = self.augmented(subset, variant) / "fusion.jsonl"
        else:
            train_file = self.augmented(subset, variant) / "train.jsonl"
        pooled = self.settings.pool_annotator(variant)
        reviewed = data != "gold" and (self.augmented(subset, variant) / DECISIONS_FILE).exists()
        if reviewed or pooled or self.settings.annotator_of(variant) or self.settings.shared(variant):
            train_file = folder.parent / f"train-{seed}.jsonl"
        return Cell(self.settings, subset, variant, seed, train_file, folder, updates)

    # the stages

    def go(self, *, budget: Mapping[str, Any] | None = None, accept_changes: bool = False) -> Iterator[dict[str, Any]]:
        """
        Do what is not done yet.

        Args:
            budget: `max_requests`, `max_total_tokens`, `max_usd` of all that this call asks.
            accept_changes: ask the LLM anew where input or settings of an augmentation changed.

        Yields:
            the results of each cell as it finishes, or at once where it was finished before.

        Raises:
            InputError: the folder was made from other rows, or with other settings of the augmentation.
            StoppedError: budget or Ctrl-C; call again to go on.
        """
        shared = dict(budget or {})
        self._check_budget(shared)
        if not accept_changes:
            self._check_unchanged()
        if self.pools and self.settings.unlabeled_dataset_name:
            keep_texts(self.folder / UNLABELED_FILE, hub_texts(self), accept_changes=accept_changes)
        self.folder.mkdir(parents=True, exist_ok=True)
        models = {_name(result) for result in self._on_disk()}
        if alone := [line for name, line in self._recorded.items() if name not in models]:
            write_rows(self.folder / RECORDED_FILE, alone)
        write_settings(self.folder, self.settings)
        for subset, rows in self.subsets.items():
            write_rows(self.gold(subset), rows)
            for variant in {self.augmented(subset, v): v for v in self._augmented_variants()}.values():
                if self.settings.pool_annotator(variant) in ("llm", "agree"):
                    ask_teacher(self, subset, variant, shared, accept_changes)
                else:
                    self.augment(subset, variant, shared, accept_changes)
            updates = self.settings.updates or updates_of_recipe(self.settings, Variant(), self._most_rows(subset))
            self.updates[subset] = updates
            for variant in self.settings.all_variants:
                for seed in self._seeds(variant):
                    cell = self.cell(subset, variant, seed, updates)
                    make_rows(self, cell)
                    recorded = None if cell.is_damaged() else self._recorded.get((subset, variant, seed, cell.key()))
                    result = cell.result() or recorded
                    if result is None or (cell.asks_server and result["llm"]["failed"]):
                        logger.info("%s %s seed %d: %d updates", subset, variant, seed, updates)
                        result = finish(cell, self.test, shared)
                    write_rows(self.folder / RESULTS_FILE, self.results())
                    yield result

    def _seeds(self, variant: str) -> list[int]:
        """Of a variant's cells; what is not trained has none of its own."""
        return [0] if self.settings.known_variants[variant].asks_llm else self.settings.seeds

    def _check_unchanged(self) -> None:
        for subset, rows in self.subsets.items():
            if not (gold := self.gold(subset)).is_file():
                continue
            try:
                before = list(iterate_rows(gold))
            except InputError as error:
                raise InputError(f"{gold}: was changed or cut off; delete it, and it is made again") from error
            if before != rows:
                raise InputError(f"{gold}: holds other rows; name another --output_dir, or give --accept_changes")
            for variant in self._augmented_variants():
                folder = self.augmented(subset, variant)
                if (folder / STATE_FILE).is_file():
                    check_state(folder, check_settings(self.augment_values(subset, variant), f"augment of {variant}"))

    def _augmented_variants(self) -> list[str]:
        known = self.settings.known_variants
        return [v for v in self.settings.all_variants if known[v].data != "gold" or known[v].pool]

    def augment_values(self, subset: str, variant: str) -> dict[str, Any]:
        """The settings of an augmentation; paths from its folder."""
        folder = self.augmented(subset, variant)
        settings = self.settings
        values = settings.augment | settings.known_variants[variant].augment
        files = {"train_file": self.gold(subset), "dev_file": settings.validation_file, "test_file": settings.test_file}
        values |= {name: path_from(folder, path) for name, path in files.items() if path}
        if values.get("strategy") == "melm":
            values.setdefault("melm_model", settings.model_name_or_path)
        values["answers"] = [path_from(folder, path) for path in values.get("answers", ())]
        if settings.label_descriptions:
            values["label_descriptions"] = settings.label_descriptions
        if annotator := settings.pool_annotator(variant):
            pool = settings.unlabeled_file or self.folder / UNLABELED_FILE
            values |= {"unlabeled_file": path_from(folder, pool), "pick": settings.picking}
            values |= {"pool_annotator": "gold" if annotator == "gold" else "llm"}
            values |= {} if annotator == "gold" else {"ask": settings.ask, "min_teacher_f1": settings.min_teacher_f1}
            if settings.known_variants[variant].data == "gold":
                values |= {"kinds": [], "pool_extensions": False}
            else:
                values.setdefault("pool_extensions", annotator != "gold")
        if not self._explains(subset, folder):
            values |= {"explain": False, "swap_mentions": 0}
        return values | {"task": settings.task, "language": settings.language, "unit": self.unit}

    def _explains(self, subset: str, folder: Path) -> bool:
        """Whether a variant that learns from this augmentation needs explanations, or an earlier call had them."""
        known = self.settings.known_variants
        if any(known[v].data == "train" and self.augmented(subset, v) == folder for v in self._augmented_variants()):
            return True
        state = folder / STATE_FILE
        told = stored_object(state)["settings"] if state.is_file() else {}
        return bool(told.get("explain") or told.get("swap_mentions"))

    def augment(
        self,
        subset: str,
        variant: str,
        budget: dict[str, Any],
        accept_changes: bool,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """The augmentation that a variant learns from, unless it is there; `changes` to its settings."""
        folder = self.augmented(subset, variant)
        values = self.augment_values(subset, variant) | dict(changes or {})
        settings = check_settings(values, f"augment of {variant}")
        check_files(folder, settings)
        if is_finished(folder, settings):
            return
        folder.mkdir(parents=True, exist_ok=True)
        if settings.client != "recorded":  # recorded answers cost nothing, and each variant may have its own files
            self._share_answers(folder)
        self._share_files(subset, folder, GUIDELINE_FILES.values() if settings.induce_guideline else ())
        self._share_files(subset, folder, [MELM_FILE] if settings.strategy == "melm" else ())
        silent = not (settings.extension_kinds or settings.synthesises or settings.pool_annotator == "llm")
        others = settings.client == "recorded" and "answers" in asked_otherwise(folder, settings)
        with open_run(folder, settings, offline=silent, budget=budget, accept_changes=accept_changes) as augmentation:
            if others:
                logger.info("%s: its recorded answers changed, and are read anew", variant)
                augmentation.runner.store.set_aside(augmentation.runner.client.model)
            (folder / COUNTS_FILE).unlink(missing_ok=True)
            write_whole(folder / SETTINGS_FILE, settings_text(settings))
            line = ProgressLine()
            try:
                augmentation.ask(line)
            finally:
                line.close()
            failed = sum(augmentation.write()["failed"].values())
        if settings.synthesises and not number_of_lines(synthetic_file(folder)):
            logger.warning("%s: not one synthetic sentence is left, it learns from gold alone; see %s", variant, folder)
        if failed:
            logger.warning("%s: %d answers failed; mend: knowfree augment retry-failed %s", variant, failed, folder)

    def _share_answers(self, folder: Path) -> None:
        """Answers that another augmentation of this run has paid for need no second question."""
        for paid in sorted(self.folder.glob(f"*/{AUGMENTED}*/{STORE_FILE}")):
            if paid.parent != folder:
                with Store(folder / STORE_FILE) as store:
                    store.take_from(paid)

    def _share_files(self, subset: str, folder: Path, names: Iterable[str]) -> None:
        """What another augmentation of this subset has: guidelines, as people mended them; melm's sentences."""
        for name in names:
            others = sorted((self.folder / subset).glob(f"{AUGMENTED}*/{name}"))
            if others and not (folder / name).exists():
                shutil.copyfile(others[0], folder / name)

    def _most_rows(self, subset: str) -> list[Row]:
        """The largest training set of a subset."""
        most = self.subsets[subset]
        for variant in self.settings.all_variants:
            folder = self.augmented(subset, variant)
            files = [synthetic_file(folder)] * (self.settings.known_variants[variant].data == "train")
            files += [folder / "pool.jsonl"] * bool(self.settings.pool_annotator(variant))
            rows = [*self.subsets[subset], *(row for path in files for row in stored_rows(path))]
            most = max(most, rows, key=len)
        return most

    # the results

    def results(self) -> list[dict[str, Any]]:
        """
        The lines of all finished cells: those of the settings first, in their order. A line of results.jsonl whose
        model is gone, or was never here, counts: results can be carried on without the models.

        Cells of other subsets, variants and seeds count too, as several calls fill one folder, but only while the
        settings of this call would give the same cell (its key) from the rows that lie in the folder; one that they
        would not is told of and left out, and its folder stays. Of a variant that the settings do not define, or a
        line whose training rows are not here, only the number of gold rows and the test spans are compared. `updates`
        of a subset that this call does not train are taken for unchanged where the settings name none.
        """
        order: list[tuple[str, list[Any]]] = [
            ("subset", list(self.subsets)),
            ("variant", self.settings.all_variants),
            ("seed", self.settings.seeds),
        ]

        def place(result: dict[str, Any]) -> list[int]:
            return [names.index(result[key]) if result[key] in names else len(names) for key, names in order]

        fresh, stale = {}, set()
        for result in [*self._recorded.values(), *self._on_disk()]:
            name = result["subset"], result["variant"], result["seed"]
            if not self._has_changed(result):
                fresh[name] = result | {"dataset": self.settings.dataset}
            elif any(result[key] not in names for key, names in order):  # the others are trained anew
                stale.add(name)
        for name in sorted(stale - fresh.keys() - self._told):
            logger.warning("%s %s seed %d: left out, settings or data have changed since it was trained", *name)
            self._told.add(name)
        return sorted(fresh.values(), key=place)

    def _has_changed(self, result: dict[str, Any]) -> bool:
        subset, variant = result["subset"], result["variant"]
        updates = self.settings.updates or self.updates.get(subset, result["updates"])
        if variant in self.settings.known_variants:
            with suppress(FileNotFoundError):
                return self.cell(subset, variant, result["seed"], updates).key() != result["key"]
        support = {label: scores["support"] for label, scores in result["per_label"].items() if scores["support"]}
        gold = self.subsets.get(subset)
        return (bool(support) and support != self._support) or (gold is not None and len(gold) != result["gold_rows"])

    @cached_property
    def _support(self) -> dict[str, int]:
        """How many test spans each label has."""
        return dict(Counter(label for spans in span_sets(self.test) for _, _, label in spans))

    @cached_property
    def _recorded(self) -> dict[tuple[str, str, int, str], dict[str, Any]]:
        """The lines of `RECORDED_FILE` and of results.jsonl as the call found them; what it adds lies in cells."""
        files = self.folder / RECORDED_FILE, self.folder / RESULTS_FILE
        return {_name(line): line for path in files for line in usable_results(path)}

    def _on_disk(self) -> list[dict[str, Any]]:
        paths = sorted(self.folder.glob(f"*/*/seed-*/{CELL_FILE}"))
        return [result for path in paths for result in usable_results(path)]

    def best(self) -> tuple[dict[str, Any], float | None] | None:
        """
        The cell to push, and the mean dev F1 of its subset and variant: of the subsets and variants of this call the
        best by `best_over_seeds`, of it the seed that is best. Without a validation file, the first seed of the last
        subset and variant, and None. None altogether where no model is here.
        """
        groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        models = {result["key"] for result in self._on_disk()}
        for result in self.results():
            subset, variant = result["subset"], result["variant"]
            asked = subset in self.subsets and variant in self.settings.all_variants
            scored = result["dev_f1"] is not None or not self.settings.validation_file
            if asked and scored and self.settings.known_variants[variant].tagger == "span" and result["key"] in models:
                groups.setdefault((subset, variant), {})[result["seed"]] = result
        if not groups:
            return None
        if not self.settings.validation_file:
            return next(iter(list(groups.values())[-1].values())), None
        on_dev = {name: {seed: cell["dev_f1"] for seed, cell in cells.items()} for name, cells in groups.items()}
        best = best_over_seeds(on_dev)
        assert best is not None
        name, score = best
        return max(groups[name].values(), key=lambda cell: cell["dev_f1"]), score


def _name(result: Mapping[str, Any]) -> tuple[str, str, int, str]:
    return result["subset"], result["variant"], result["seed"], result["key"]
