"""The strategy that an augmentation's settings name."""

from collections.abc import Iterable
from pathlib import Path

from augmentation.settings import Settings
from augmentation.strategies.llm_da import llm_da
from augmentation.strategies.melm import melm
from augmentation.strategies.progen import progen
from augmentation.strategies.seeds import Asking, SeedSentence, Strategy


def open_strategy(settings: Settings, folder: Path, gold: Iterable[SeedSentence], unit: str) -> Strategy | None:
    """
    What makes the synthetic sentences, None for the paper's explanations.

    Raises:
        InputError: melm without a model.
    """
    if settings.strategy == "explanation" or not settings.explain:
        return None
    seeds = list(gold)
    asking = Asking(
        settings.language,
        unit,
        settings.max_tokens,
        settings.seed,
        settings.sentences_per_row,
        settings.type_names,
    )
    if settings.strategy == "melm":
        return melm(asking, seeds, settings.melm_model, folder)
    return {"llm_da": llm_da, "progen": progen}[settings.strategy](asking, seeds)
