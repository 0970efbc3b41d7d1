"""Models of strangers: every load of a configuration, tokenizer or weights goes through here, and runs no code that
came with them, asks nobody, and unpickles nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig

from .data.rows import InputError
from .data.stored import stored_object

ORIGIN_FILE = "data_args.json"
"""In a folder that training wrote: what the model is made of."""
_PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "tokenizer.model.v3")
_POOLS_PADDING = ("funnel",)
_WITHOUT_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
NAME_ANOTHER = "name an encoder (BERT, RoBERTa, XLM-R, DeBERTa, ELECTRA, ModernBERT, …)"
# What training replaces or leaves out anyway: a checkpoint without it is whole.
_NOT_NEEDED = ("pooler.",)


@contextmanager
def told_in_one_line(where: str) -> Iterator[None]:
    """
    Whatever the libraries raise about files that are bad becomes one line that begins with `where`.

    Raises:
        InputError: instead of it.
    """
    try:
        yield
    except InputError as error:
        place, _, problem = str(error).partition(": ")
        if not where.endswith(f" {place}"):
            raise
        raise InputError(f"{where}: {problem}") from error  # the option is named, too
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise InputError(f"{where}: {error.filename}: {error.strerror}") from error
        message = " ".join(str(error).split()) or type(error).__name__
        if "trust_remote_code" in message:
            message = (
                "wants to run code that came with it, which this command does not do; it takes models whose class "
                "transformers has, and KnowFREE's"
            )
        if "above report" in message:  # which is not printed
            message = "its weights have other shapes than its configuration says: they are of two models"
        raise InputError(f"{where}: cannot be loaded: {message:.300}") from error
    except (SafetensorError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: cannot be loaded: {' '.join(str(error).split()):.300}") from error


def load_config(name: str, **fields: Any) -> PretrainedConfig:
    """The configuration in a folder or Hub repository; `fields` replace its own."""
    return AutoConfig.from_pretrained(name, trust_remote_code=False, **fields)


def load_encoder_config(name: str) -> PretrainedConfig:
    """
    The configuration of an encoder in a folder or Hub repository.

    Raises:
        InputError: it is half of an encoder-decoder, whose last states are those of the decoder, or lets padding count.
    """
    config = load_config(name)
    if config.is_encoder_decoder or getattr(type(config), "is_encoder_decoder", False):
        raise InputError(f"{name}: {config.model_type} is an encoder-decoder; {NAME_ANOTHER}")
    if config.model_type in _POOLS_PADDING:
        raise InputError(
            f"{name}: {config.model_type} pools padding with the text, so that scores would depend on the batch; "
            f"{NAME_ANOTHER}"
        )
    return config


def has_vocabulary(folder: Path) -> bool:
    """Whether a tokenizer's vocabulary lies in a folder; `tokenizer_config.json` alone makes an empty tokenizer."""
    return any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern))


def load_tokenizer(name: str, **options: Any):
    """
    The tokenizer in a folder or Hub repository.

    Raises:
        InputError: a folder without one: transformers would make an empty one up.
    """
    folder = Path(name)
    if folder.is_dir() and not has_vocabulary(folder):
        told = folder / "tokenizer_config.json"
        if told.is_file() and stored_object(told).get("tokenizer_class") in _WITHOUT_VOCABULARY:
            raise InputError(f"{name}: its tokenizer, of characters or bytes, has no fast form; {NAME_ANOTHER}")
        raise InputError(
            f"{name}: has no tokenizer; copy the encoder's there: "
            'AutoTokenizer.from_pretrained("<encoder>").save_pretrained("<folder>")'
        )
    return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)


def load_encoder(name: str, config: PretrainedConfig, auto: Any = AutoModel, *, new_head: bool = False) -> Any:
    """
    The weights in a folder or Hub repository, in fp32, as the model that `auto` makes of `config`.

    Args:
        new_head: weights of `auto`'s head may be missing, as they will be trained.

    Raises:
        InputError: weights only as a pickle, or some weights missing.
    """
    refuse_pickles(name)
    model, told = auto.from_pretrained(
        name,
        config=config,
        dtype=torch.float32,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    base = f"{model.base_model_prefix}."
    missing = sorted(key for key in told["missing_keys"] if not new_head or key.startswith(base))
    if missing := [key for key in missing if not key.removeprefix(base).startswith(_NOT_NEEDED)]:
        raise InputError(
            f"{name}: {len(missing)} weights are missing, such as {missing[0]}; name a folder or Hub id "
            f"that holds a whole {config.model_type} model"
        )
    if getattr(model, "pooler", None) is not None:  # of a bare encoder; nothing here reads it, but some call it
        model.pooler = torch.nn.Identity()
    return model


def refuse_pickles(name: str) -> None:
    """Raises InputError for a folder whose weights are a pickle alone, which could run code."""
    folder = Path(name)
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    for pickle in (path for pattern in _PICKLES for path in folder.glob(pattern)):
        raise InputError(
            f"{name}: has its weights in {pickle.name}, a pickle, which could run code; mend: turn a file that you "
            "trust into model.safetensors (safetensors.torch.save_file), or name a model that has one"
        )


def check_vocabulary(tokenizer: Any, config: PretrainedConfig, where: str) -> None:
    """
    Raises:
        InputError: the tokenizer has more pieces than the encoder has embeddings.
    """
    embeddings = getattr(config, "vocab_size", None)
    if isinstance(embeddings, int) and len(tokenizer) > embeddings:
        raise InputError(
            f"{where}: its tokenizer has {len(tokenizer)} pieces, its encoder {embeddings} embeddings; put the "
            "tokenizer there that belongs to the encoder"
        )
