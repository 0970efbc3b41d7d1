"""Whether an encoder reads a sentence as it does alone, whatever is beside it in the batch."""

from collections.abc import Sequence
from typing import Any

import torch

from ..data.rows import InputError, Row
from ..loading import NAME_ANOTHER
from ..modeling_knowfree import KnowFreeForTokenClassification
from ..units_knowfree import KnowFreeCollator, cut, encode_units
from ..windows_knowfree import windows

SHORT, LONG = 16, 64  # units of the two sentences read, at most
TOLERANCE = 1e-3
"""Of the largest number of a state: what padding may change, by rounding."""


def check_padding(model: KnowFreeForTokenClassification, tokenizer: Any, rows: Sequence[Row], where: str) -> None:
    """
    Reads the shortest sentence alone and beside the longest one; no random number is drawn.

    Args:
        rows: with `tokens`.
        where: what errors begin with.

    Raises:
        InputError: the encoder cannot read them, or padding counts in it, so that scores would depend on the batch.
    """
    kind = model.config.encoder_config.model_type
    by_length = sorted((row["tokens"] for row in rows if row["tokens"]), key=len)
    short = by_length[0][:SHORT]
    sentences = [short, max(by_length[-1], 3 * short, key=len)[:LONG]]
    most = model.config.max_pieces
    encoded = [cut(each, *windows(each, most, 0)[0]) for each in encode_units(tokenizer, sentences, most)]
    collate, training = KnowFreeCollator(tokenizer.pad_token_id or 0), model.training
    with torch.no_grad(), torch.random.fork_rng():
        model.eval()
        try:
            alone, beside = (
                model.knowfree(**collate([vars(pieces) for pieces in some])).last_hidden_state[
                    0, : encoded[0].num_units
                ]
                for some in (encoded[:1], encoded)
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            told = " ".join(str(error).split())
            raise InputError(f"{where}: {kind} cannot read these sentences: {told:.200}; {NAME_ANOTHER}") from error
        finally:
            model.train(training)
    if (alone - beside).abs().max() > TOLERANCE * alone.abs().max():
        raise InputError(f"{where}: padding counts in {kind}, so that scores would depend on the batch; {NAME_ANOTHER}")
