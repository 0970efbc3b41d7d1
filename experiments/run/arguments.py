"""What `knowfree train` is told for each variant of a run, checked before anything is asked or trained."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch

from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.encoders import encoder_path
from modeling_knowfree.loading import load_config, told_in_one_line
from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.training.arguments import ModelArguments
from modeling_knowfree.training.command_line import Arguments, parse_arguments
from modeling_knowfree.training.config import build_config, target_labels
from modeling_knowfree.training.train import batches_an_epoch, plan_schedule
from modeling_knowfree.units_knowfree import infer_unit

from ..baselines.lexicon import AUGMENTATION, PACKAGED
from ..baselines.tagger import TAGGERS, tagger_class
from .settings import RunSettings
from .variants import LEXICON_TAGGERS, Variant

SET_BY_RUN = frozenset(
    "train_file validation_file test_file labels task model_name_or_path output_dir seed max_steps "
    "dataset_name dataset_config_name resume_from_checkpoint".split()
)
ALSO_OF_NETWORKS = {"pooling", "head_dropout", "threshold", "decoding", "vocabulary_files"}
"""Model arguments of KnowFREE that the networks of `baselines.tagger` have too."""
ONLY_KNOWFREE = {"join_sentences", "extension_schedule", "lora_rank"}
"""Arguments of training that none but KnowFREE has."""
OF_EXTENSION_LABELS = {
    *("alpha_cap", "extension_budget", "extension_schedule", "extension_tag_weight", "min_extension_count"),
}
"""Arguments that shape no training on targets alone."""


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
    definition = settings.known_variants[variant]
    _check_names(settings, variant, definition)
    if definition.pool and definition.tagger != "span":
        raise InputError(
            f"{variant}: spans of the pool have weights and doubts, which {definition.tagger} cannot learn from; mend: "
            "leave out pool, or tagger"
        )
    if definition.tagger == "llm_lora":
        from ..baselines.llm_lora import check_lora

        check_lora(settings.lora)
    rows = next(iter(subsets.values()))
    encoder = encoder_path(settings.model_name_or_path, infer_unit(rows))
    with told_in_one_line(f"model_name_or_path {settings.model_name_or_path}"):
        load_config(encoder)
        if definition.tagger in LEXICON_TAGGERS:
            _check_lexicon(settings, variant, subsets, encoder)
    updates = {"max_steps": settings.updates} if settings.updates else {}
    try:
        model_args, data_args, args = _parse(settings, definition, **updates)
        plan_schedule(data_args, args, len(rows), batches_an_epoch(rows, model_args, args))
        if model_args.max_span_width == "auto":
            model_args.max_span_width = None
        config = build_config(encoder, rows[:1], labels=settings.labels, **model_args.config_fields(rows[:1]))
        with torch.device("meta"):
            KnowFreeForTokenClassification(config)
    except (ValueError, ArithmeticError) as error:
        raise InputError(f"train of {variant}: {error}") from error


def _check_names(settings: RunSettings, variant: str, definition: Variant) -> None:
    """Refuses arguments that the run sets itself, or that the variant has no use for."""
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
        if name in unused_arguments(definition.tagger):
            what = "a BIO tagger" if definition.tagger in ("bio", "bio_crf") else definition.tagger
            raise InputError(f"{where}: {what} has no {name}; leave it out")
    if settings.train.get("lora_rank") and definition.tagger in ("bio", "bio_crf", *TAGGERS):
        raise InputError(f"{where}: lora_rank is for KnowFREE alone: give it to variants of `define`, not to all")


def _check_lexicon(settings: RunSettings, variant: str, subsets: Mapping[str, list[Row]], encoder: str) -> None:
    """Refuses lexicon methods without words, in another language, or whose words stand in no sentence."""
    if settings.lexicon is None:
        words = "lexicon: FILE (a word a line, or word2vec's text format), lexicon: rjieba or lexicon: augmentation"
        raise InputError(f"{variant} needs words; give the run {words}")
    if settings.language != "zh":
        raise InputError(
            f"{variant}: lexicon methods read Chinese characters, and language is {settings.language!r}; mend: leave "
            "it out, or take a row of any language (bert_bilstm_crf, w2ner, difinet, …)"
        )
    definition = settings.known_variants[variant]
    kinds = (settings.augment | definition.augment).get("kinds")
    if settings.lexicon == AUGMENTATION and kinds is not None and not {"segmentation", "pos"} & set(kinds):
        raise InputError(
            f"{variant}: lexicon: {AUGMENTATION} takes words from segmentation or parts of speech, and augment asks "
            f"the LLM for kinds: {list(kinds)}; mend: add segmentation to kinds, or give lexicon: FILE or {PACKAGED}"
        )
    for subset, gold in subsets.items():
        labels = settings.labels or target_labels(gold)
        try:
            tagger_class(definition.tagger).check(gold, settings.lexicon, encoder, labels)
        except InputError as error:
            raise InputError(f"{variant} on {subset}: {error}") from error


def unused_arguments(tagger: str) -> set[str]:
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
