"""What makes synthetic sentences beside or instead of explanations, as an augmentation's settings say."""

from collections.abc import Iterable
from pathlib import Path

from augmentation.settings import Settings
from augmentation.steps.explanations import TokenStyle
from augmentation.strategies.llm_da import llm_da
from augmentation.strategies.melm import melm
from augmentation.strategies.mentions import Swaps
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
    seeds, asking = list(gold), _asking(settings, unit)
    if settings.strategy == "melm":
        return melm(asking, seeds, settings.melm_model, folder)
    return {"llm_da": llm_da, "progen": progen}[settings.strategy](asking, seeds)


def open_swaps(settings: Settings, gold: Iterable[SeedSentence], style: TokenStyle) -> Swaps | None:
    """What swaps mentions that the LLM offers into gold sentences, None where none are wanted."""
    if not settings.swap_mentions:
        return None
    seeds = {seed.id: seed for seed in gold}
    return Swaps(_asking(settings, style.unit), seeds, style.tokens, settings.swap_mentions)


def _asking(settings: Settings, unit: str) -> Asking:
    return Asking(
        settings.language,
        unit,
        settings.max_tokens,
        settings.seed,
        settings.sentences_per_row,
        settings.type_names,
    )
