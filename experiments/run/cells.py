"""A cell of a run: one variant trained on one subset with one seed, then scored on the test set."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import torch
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from augmentation.pipeline import STORE_FILE
from augmentation.settings import Settings as AugmentSettings
from augmentation.settings import check_settings
from modeling_knowfree.data.readers import iterate_rows
from modeling_knowfree.data.rows import InputError, Row, span_sets, stored_rows, write_rows
from modeling_knowfree.encoders import encoder_path
from modeling_knowfree.inference.tag import entities_of, load_pipeline, tag
from modeling_knowfree.loading import load_config, told_in_one_line
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.training.arguments import (
    DataArguments,
    KnowFreeTrainingArguments,
    ModelArguments,
    recipe_for,
)
from modeling_knowfree.training.command_line import Arguments, parse_arguments
from modeling_knowfree.training.config import build_config, target_labels
from modeling_knowfree.training.train import plan_schedule, train
from modeling_knowfree.units_knowfree import infer_unit, join_units

from ..baselines.bio_tagging import predict_bio, train_bio
from ..baselines.lexicon import AUGMENTATION, PACKAGED
from ..baselines.tagger import TAGGERS, predict_tagger, tagger_class, train_tagger
from ..report.results import PREDICTIONS_FILE, usable_results
from .fingerprints import encoder_fingerprint, file_hash
from .settings import CELL_FILE, RunSettings
from .variants import LEXICON_TAGGERS, Variant

BATCH_SIZE = 32
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
        """Its line of results.jsonl, if it is finished and nothing that shapes it has changed."""
        known = [] if self.is_damaged() else usable_results(self.folder / CELL_FILE)
        return next((result for result in known if result["key"] == self.key()), None)

    def is_damaged(self) -> bool:
        """Whether it lies there and does not say what it is, or what it found in the test file."""
        path, predictions = self.folder / CELL_FILE, self.folder / PREDICTIONS_FILE
        if not path.is_file():
            return False
        return not usable_results(path) or not (predictions.is_file() and predictions.read_bytes().endswith(b"\n"))


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
        model_args, data_args, args = _parse(settings, definition)
        plan_schedule(data_args, args, 1)
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
    of_model = _names(ModelArguments)
    if tagger == "span":
        return set()
    if tagger == "llm_lora":
        return of_model | ONLY_KNOWFREE | {"learning_rate", "head_learning_rate"}
    if tagger in TAGGERS:
        return (
            of_model - ALSO_OF_NETWORKS - ({"start_bias"} if tagger in ("difinet", "w2ner") else set()) | ONLY_KNOWFREE
        )
    return of_model - {"head_dropout"} | ONLY_KNOWFREE | {"beta"}


def _names(*kinds: type) -> set[str]:
    return {each.name for kind in kinds for each in fields(kind)}


def updates_of_recipe(settings: RunSettings, variant: Variant, rows: int) -> int:
    """How many updates the recipe wants for so many training sentences."""
    _, data_args, args = _parse(settings, variant)
    plan_schedule(data_args, args, rows)
    return args.max_steps


def _parse(settings: RunSettings, variant: Variant) -> Arguments:
    unused = {"train_file": settings.train_file, "output_dir": "unused", "model_name_or_path": "unused"}
    return parse_arguments(shaping_arguments(settings, variant) | unused)


def finish(cell: Cell, test: list[Row], budget: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Train a cell, tag the test set, and put the finished folder in its place in one step: a cell that was killed starts
    anew and ends in the same result.

    Args:
        budget: `max_requests`, `max_total_tokens`, `max_usd`, where the LLM tags the test set; what it spends is noted
            in it.

    Returns:
        Its line of results.jsonl.
    """
    work = cell.folder.with_name(f".{cell.folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    key = cell.key()  # before: what is edited while it trains must not pass for what it learnt from
    started = time.perf_counter()
    asked: dict[str, Any] = {}
    tag_seconds: float | None = None
    if cell.definition.asks_llm:
        predicted, asked = _tag_by_llm(cell, work, test, budget)
        dev_f1 = None
        curve: list[Any] = []
    elif cell.definition.tagger == "span":
        dev_f1, curve, predicted, tag_seconds = _finish_span(cell, work, test)
    else:
        finishers = {"bio": _finish_bio, "bio_crf": _finish_bio, "llm_lora": _finish_lora}
        dev_f1, curve, predicted = finishers.get(cell.definition.tagger, _finish_network)(cell, work, test)
    seconds = time.perf_counter() - started
    found = [
        {"id": row["id"], "tokens": row["tokens"], "entities": spans}
        for row, spans in zip(test, predicted, strict=True)
    ]
    write_rows(work / PREDICTIONS_FILE, found)
    rows = list(stored_rows(cell.train_file))
    scores = span_scores(span_sets(test), span_sets(found))
    synthetic = sum(bool(row.get("synthetic")) for row in rows)
    pool = sum(row.get("source") == "pool" for row in rows)
    result = {
        "dataset": cell.settings.dataset,
        "subset": cell.subset,
        "variant": cell.variant,
        "seed": cell.seed,
        **{name: scores[name] for name in ("f1", "precision", "recall", "macro_f1")},
        "dev_f1": dev_f1,
        "curve": curve,
        "train_rows": len(rows),
        "gold_rows": len(rows) - synthetic - pool,
        "synthetic_rows": synthetic,
        "pool_rows": pool,
        "updates": 0 if asked else cell.updates,
        **({"llm": asked} if asked else {}),
        "seconds": round(seconds, 1),
        "tag_seconds": tag_seconds,
        "threads": torch.get_num_threads(),
        "per_label": scores["per_label"],
        "versions": {name: version(name) for name in ("knowfree", "torch", "transformers")}
        | {"python": python_version()},
        "key": key,
    }
    (work / CELL_FILE).write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(cell.folder, ignore_errors=True)
    os.replace(work, cell.folder)
    return result


def fit(cell: Cell, rows: Sequence[Row], folder: Path) -> float | None:
    """
    Train what `cell` would be on other rows, for use on the way to it; the test file is not looked at.

    Args:
        folder: of the model; what lies there is replaced.

    Returns:
        Its dev F1, where there is a validation file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    train_file = folder.with_name(f"{folder.name}.jsonl")
    write_rows(train_file, rows)
    with redirect_stdout(sys.stderr):
        results = train(cell.arguments(folder) | {"train_file": str(train_file)})
    train_file.unlink()
    _remove_checkpoints(folder)
    return results.get("validation", {}).get("validation_f1")


Finished = tuple[float | None, list[list[float]], list[list[dict[str, Any]]]]
"""Dev F1, curve, predictions of the test rows."""


def _finish_span(
    cell: Cell, work: Path, test: list[Row]
) -> tuple[float | None, list[list[float]], list[list[dict[str, Any]]], float]:
    """As `Finished`, and the seconds that tagging the test rows took, loading included."""
    with redirect_stdout(sys.stderr):  # what the Trainer logs
        results = train(cell.arguments(work))
    state = json.loads((work / "trainer_state.json").read_text(encoding="utf-8"))
    curve = [[entry["step"], entry["eval_f1"]] for entry in state["log_history"] if "eval_f1" in entry]
    _remove_checkpoints(work)
    started = time.perf_counter()
    predicted = list(tag_rows(work, test))
    seconds = round(time.perf_counter() - started, 2)
    return results.get("validation", {}).get("validation_f1"), curve, predicted, seconds


def tag_rows(model: Path, rows: Sequence[Row], **options: Any) -> Iterator[list[dict[str, Any]]]:
    """The spans that a finished model finds in each row: `start`, `end`, `label`, `score`, `word`; `options`: see
    `tag`."""
    tokens = ({"tokens": row["tokens"]} for row in rows)
    for _, spans in tag(load_pipeline(str(model)), tokens, batch_size=BATCH_SIZE, **options):
        yield entities_of(spans)


def _finish_bio(cell: Cell, work: Path, test: list[Row]) -> Finished:
    model_args, data_args, args = parse_arguments(cell.arguments(work))
    assert data_args.train_file is not None
    told = {"learning_rate", "head_learning_rate", "per_device_train_batch_size", "weight_decay"}
    given = shaping_arguments(cell.settings, cell.definition).keys() & _names(KnowFreeTrainingArguments) - told
    with redirect_stdout(sys.stderr):
        results = train_bio(
            data_args.train_file,
            validation_file=data_args.validation_file,
            output_dir=str(work),
            model_name_or_path=model_args.encoder_folder(cell.settings.unit),
            labels=data_args.labels,
            crf=cell.definition.tagger == "bio_crf",
            max_steps=cell.updates,
            seed=cell.seed,
            learning_rate=args.learning_rate,
            head_learning_rate=args.head_learning_rate,
            batch_size=args.per_device_train_batch_size,
            dropout=model_args.head_dropout,
            weight_decay=args.weight_decay,
            overlapping=True,
            **{name: getattr(args, name) for name in given},
        )
    _remove_checkpoints(work)
    return (
        results["validation"].get("validation_f1"),
        results["curve"],
        _spelt(test, predict_bio(work, test, BATCH_SIZE)),
    )


def _finish_network(cell: Cell, work: Path, test: list[Row]) -> Finished:
    with redirect_stdout(sys.stderr):
        results = train_tagger(cell.definition.tagger, cell.arguments(work), lexicon=cell.settings.lexicon)
    _remove_checkpoints(work)
    found = predict_tagger(work, test, BATCH_SIZE)
    return results["validation"].get("validation_f1"), results["curve"], _spelt(test, found)


def _finish_lora(cell: Cell, work: Path, test: list[Row]) -> Finished:
    from ..baselines.llm_lora import predict_llm_lora, train_llm_lora

    settings = cell.settings
    with redirect_stdout(sys.stderr):
        results = train_llm_lora(
            cell.arguments(work),
            language=settings.language,
            flat=settings.task != "nested_ner",
            **cell.told_labels(),
            **settings.lora,
        )
    return results["validation"].get("validation_f1"), results["curve"], _spelt(test, predict_llm_lora(work, test))


def _tag_by_llm(
    cell: Cell, work: Path, test: list[Row], budget: dict[str, Any] | None
) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """The LLM's spans in the test set, and what they took. The rows of a run share answers, unless these are recorded:
    they cost nothing, and a row may have its own files."""
    from ..baselines.llm_tagging import tag_with_llm

    settings, labels = cell.llm_settings(), cell.settings.labels
    assert labels is not None  # `Run` filled them in
    store = (work if settings.client == "recorded" else cell.folder.parents[2]) / STORE_FILE
    examples = settings.target_examples if cell.definition.tagger == "llm_few" else 0
    gold = list(iterate_rows(cell.train_file)) if examples else []
    tagging = tag_with_llm(test, gold, labels, settings, store, examples=examples, budget=budget)
    work.mkdir(parents=True, exist_ok=True)
    return _spelt(test, [[(*span, 1.0) for span in spans] for spans in tagging.spans]), tagging.numbers


def _spelt(rows: list[Row], found: list[list[tuple[int, int, str, float]]]) -> list[list[dict[str, Any]]]:
    """Spans `(start, end, label, score)` of each row as predictions are written, the words they cover beside them."""
    unit = infer_unit(rows)
    return [
        [
            {"start": start, "end": end, "label": label, "score": score, "word": join_units(tokens[start:end], unit)[0]}
            for start, end, label, score in spans
        ]
        for tokens, spans in zip((row["tokens"] for row in rows), found, strict=True)
    ]


def _remove_checkpoints(folder: Path) -> None:
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        shutil.rmtree(checkpoint)
