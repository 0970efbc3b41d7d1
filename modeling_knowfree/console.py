"""What a command says on the way, and which of several processes says it."""

import logging
import os

from transformers.utils.logging import disable_progress_bar, set_verbosity_error


def is_first() -> bool:
    """Whether this is the first of several processes, as torchrun and accelerate number them, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def be_quiet() -> None:
    """Of a command: a line a stage, ours, from the first of several processes; of other libraries warnings alone, and
    no bars for what takes a second."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in ("knowfree", "knowfree_experiments", "push_to_hub", "modeling_knowfree", "augmentation"):
        logging.getLogger(name).setLevel(logging.INFO if is_first() else logging.WARNING)
    logging.getLogger().addFilter(_is_news)
    set_verbosity_error()  # its report of weights, and notes on options that we set
    disable_progress_bar()


def _is_news(record: logging.LogRecord) -> bool:
    """Not what onnxruntime advises of every model that it quantizes."""
    return "pre-processing before quantization" not in record.getMessage()
