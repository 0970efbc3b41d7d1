"""Configuration of KnowFREE models."""

import math
from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PretrainedConfig

_PARTS = "configuration bands mixers votes tags modeling decoding units windows findings pipeline"
TRAVELLING_FILES = tuple(f"{part}_knowfree.py" for part in _PARTS.split())
"""The code that every saved model carries, and all of it: these import torch, transformers and each other alone."""

_CHOICES = {
    "unit": ("character", "word"),
    "pooling": ("max", "first", "mean"),
    "span_mixer": ("local_attention", "cnn", "none"),
    "formulation": ("paper", "released"),
    "decoding": ("flat", "nested", "all"),
    "loss_reduction": ("sum", "mean"),
}
# Whole numbers and their bounds: far above what anybody trains, far below what stops a machine.
_WHOLE = {
    "head_size": (1, 16_384),
    "span_size": (1, 16_384),
    "biaffine_heads": (1, 16_384),
    "width_embedding_size": (0, 16_384),
    "attention_heads": (1, 16_384),
    "attention_window": (0, 1_024),
    "cnn_depth": (1, 256),
}
_WHOLE_OF_THE_ENCODER = {
    "hidden_size": (1, 65_536),
    "embedding_size": (1, 65_536),
    "intermediate_size": (1, 1_048_576),
    "num_hidden_layers": (1, 1_024),
    "num_attention_heads": (1, 65_536),
    "vocab_size": (1, 16_777_216),
    "type_vocab_size": (0, 65_536),
    "max_position_embeddings": (-1, 16_777_216),
}
_WIDEST_SPAN = 1_048_576
_MOST_LABELS = 20_000
_MOST_PARAMETERS = 20_000_000_000  # 80 GB in fp32
_ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
# Loading must ask nothing of the encoder's own repository, and run no code that its config names.
_NOT_OF_THE_ENCODER = ("trust_remote_code", "auto_map", "_name_or_path", "transformers_version")


class TaskNames(dict):
    """
    `custom_pipelines` of one entry, `knowfree`, under which the tasks that users type by habit are found too. Two more
    entries would do, but for `pipeline(model=repo)`, which takes the only one there is.
    """

    def _known(self, task: Any) -> Any:
        return "knowfree" if task in ("token-classification", "ner") and dict.__contains__(self, "knowfree") else task

    def __contains__(self, task: object) -> bool:
        return super().__contains__(self._known(task))

    def __getitem__(self, task: str) -> Any:
        return super().__getitem__(self._known(task))


class KnowFreeConfig(PretrainedConfig):
    """
    Everything a KnowFREE model needs to be built and used, the encoder's own configuration included.

    Args:
        encoder_config (`dict` or `PretrainedConfig`): full configuration of the encoder; default a BERT-base one.
        unit (`"character"` or `"word"`): what annotation counts in; how the pipeline cuts raw text.
        pooling (`"max"`, `"first"`, `"mean"`): from pieces to units.
        head_size (`int`): D', size of the start and end representations (eq 7).
        span_size (`int`): D̃, size of a span's representation (eq 8).
        biaffine_heads (`int`): heads of the biaffine; must divide `head_size` and `span_size`.
        width_embedding_size (`int`): size of the width embedding of the linear term; 0 switches it off.
        span_mixer (`str`): what lets neighbouring spans see each other: `"local_attention"` (eqs 9-11), `"cnn"`
            (masked CNN, the ablation), `"none"` (plain biaffine).
        attention_heads (`int`): K of eq 10; must divide `span_size`.
        attention_window (`int`): ω of eq 9, neighbours on each side along the end index.
        cnn_depth (`int`): blocks of the `"cnn"` mixer.
        unit_votes (`bool`): whether the units in a span and those beside it have a say in its targets' logits too; not
            in the paper, see `votes_knowfree`.
        formulation (`"paper"` or `"released"`): `W_O(H_B + LN(H_B + attn))` or `W_O(H_B + LN(attn))`.
        head_dropout (`float`): on unit states and on the inputs of the linear term.
        max_span_width (`int`, *optional*): widest span scored, in units; `None`: every span.
        id2label (`dict[int, str]`): the target labels, columns 0 … N_tgt-1.
        extension_labels (`list[str]`): names of columns N_tgt …; seen by training only.
        extension_weights (`list[float]`): α_i (eq 15), one for each extension label, by default 1.
        extension_limit (`float`, *optional*): most that the loss of all extension labels may be in a batch, in
            multiples of the targets'; where it is more it is scaled down. By default it may be anything, as in the
            paper.
        tag_weight (`float`): weight of the loss of BIO tags beside that of the spans; not in the paper, see
            `tags_knowfree`. 0: the model has no tags.
        extension_tag_weight (`float`): the same of BIO tags of the extension labels that are words (segmentation, parts
            of speech).
        loss_reduction (`"sum"` or `"mean"`): over the cells of a sentence, and the tags of its units.
        threshold (`float`): a span is a hit where a target's probability exceeds it.
        decoding (`"flat"`, `"nested"`, `"all"`): which hits may stand together.
        multi_label (`bool`): whether one span may carry several target labels.
        train_lengths (`dict[str, int]`, *optional*): `median`, `p95` and `max` of the lengths of the sentences trained
            on, in units, and `sentences` of a training row at most; the pipeline cuts long texts by them. `None`: not
            known.

    Raises:
        ValueError: for a value of another type or outside the choices above, sizes that do not divide, or that no
            machine could allocate; before anything is allocated, with the field's name. So are kernels from a
            repository, which would be code that a config brings along.
    """

    model_type = "knowfree"
    sub_configs = {"encoder_config": AutoConfig}  # noqa: RUF012

    def __init__(
        self,
        encoder_config: dict[str, Any] | PretrainedConfig | None = None,
        unit: str = "word",
        pooling: str = "max",
        head_size: int = 200,
        span_size: int = 200,
        biaffine_heads: int = 4,
        width_embedding_size: int = 25,
        span_mixer: str = "local_attention",
        attention_heads: int = 10,
        attention_window: int = 3,
        cnn_depth: int = 3,
        unit_votes: bool = False,
        formulation: str = "paper",
        head_dropout: float = 0.4,
        max_span_width: int | None = None,
        extension_labels: list[str] | None = None,
        extension_weights: list[float] | None = None,
        extension_limit: float | None = None,
        tag_weight: float = 0.0,
        extension_tag_weight: float = 0.0,
        loss_reduction: str = "sum",
        threshold: float = 0.5,
        decoding: str = "flat",
        multi_label: bool = False,
        train_lengths: dict[str, int] | None = None,
        **kwargs: Any,
    ):
        if encoder_config is None:
            encoder_config = {"model_type": "bert"}
        if isinstance(encoder_config, PretrainedConfig):
            encoder_config = encoder_config.to_dict()
        _check_encoder(encoder_config)
        _check_inherited(kwargs)
        fields = {key: value for key, value in encoder_config.items() if key not in _NOT_OF_THE_ENCODER}
        self.encoder_config = AutoConfig.for_model(**fields)
        self.unit = unit
        self.pooling = pooling
        self.head_size = head_size
        self.span_size = span_size
        self.biaffine_heads = biaffine_heads
        self.width_embedding_size = width_embedding_size
        self.span_mixer = span_mixer
        self.attention_heads = attention_heads
        self.attention_window = attention_window
        self.cnn_depth = cnn_depth
        self.unit_votes = unit_votes
        self.formulation = formulation
        self.head_dropout = head_dropout
        self.max_span_width = max_span_width
        self.extension_labels = _extension_labels(extension_labels or [])
        self.extension_weights = [1.0] * len(self.extension_labels) if extension_weights is None else extension_weights
        self.extension_limit = extension_limit
        self.tag_weight = tag_weight
        self.extension_tag_weight = extension_tag_weight
        self.loss_reduction = loss_reduction
        self.threshold = threshold
        self.decoding = decoding
        self.multi_label = multi_label
        self.train_lengths = train_lengths
        self._check()
        super().__init__(**kwargs)
        if isinstance(getattr(self, "custom_pipelines", None), dict):
            self.custom_pipelines = TaskNames(self.custom_pipelines)  # type: ignore[has-type]

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r:.80}: choose one of {', '.join(map(repr, allowed))}")
        for name, bounds in _WHOLE.items():
            _check_whole(name, getattr(self, name), *bounds)
        for name in ("head_size", "span_size"):
            if getattr(self, name) % self.biaffine_heads:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be a multiple of biaffine_heads={self.biaffine_heads}"
                )
        if self.span_mixer == "local_attention" and self.span_size % self.attention_heads:
            raise ValueError(f"span_size={self.span_size} must be a multiple of attention_heads={self.attention_heads}")
        heads, size = self.biaffine_heads, self.head_size // self.biaffine_heads
        if size * size * self.span_size > _MOST_PARAMETERS // 4:
            raise ValueError(
                f"head_size={self.head_size}, span_size={self.span_size}, biaffine_heads={heads}: the biaffine would "
                f"have {size * size * self.span_size:,} weights; make the sizes smaller or the heads more"
            )
        if not isinstance(self.extension_weights, (list, tuple)) or not all(map(_is_weight, self.extension_weights)):
            raise ValueError("extension_weights: give a list of numbers, 0 or more")
        self.extension_weights = [float(weight) for weight in self.extension_weights]
        if len(self.extension_weights) != len(self.extension_labels):
            raise ValueError(
                f"extension_weights has {len(self.extension_weights)} values for "
                f"{len(self.extension_labels)} extension_labels: give one each"
            )
        if self.extension_limit is not None and not _is_weight(self.extension_limit):
            raise ValueError(f"extension_limit={self.extension_limit!r:.80}: give a number, 0 or more, or null")
        for name in ("tag_weight", "extension_tag_weight"):
            if not _is_weight(value := getattr(self, name)):
                raise ValueError(f"{name}={value!r:.80}: give a number, 0 or more")
        if self.max_span_width is not None:
            _check_whole("max_span_width", self.max_span_width, 1, _WIDEST_SPAN, "; null for no limit")
        for name in ("threshold", "head_dropout"):
            value = getattr(self, name)
            if not _is_weight(value) or not value < 1 or (name == "threshold" and value == 0):
                raise ValueError(f"{name}={value!r:.80}: give a probability between 0 and 1")
        for name in ("multi_label", "unit_votes"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r:.80}: give true or false")
        if self.train_lengths is not None:
            if not isinstance(self.train_lengths, Mapping) or not {"median", "p95", "max"} <= set(self.train_lengths):
                raise ValueError(
                    f"train_lengths={self.train_lengths!r:.80}: give median, p95 and max in units, or null"
                )
            for name, value in self.train_lengths.items():
                _check_whole(f"train_lengths.{name}", value, 0, _WIDEST_SPAN)

    @property
    def target_labels(self) -> list[str]:
        """Names of columns 0 … N_tgt-1, in column order."""
        names = self.id2label or {}
        return [names[column] for column in sorted(names)]  # type: ignore[index]

    @property
    def max_pieces(self) -> int | None:
        """What the encoder reads at once, in pieces: see the function of this name."""
        return max_pieces(self.encoder_config)


def max_pieces(encoder: PretrainedConfig) -> int | None:
    """Longest input of an encoder in pieces, special ones included; `None` where its positions have no end."""
    limit = getattr(encoder, "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    if encoder.model_type in _POSITIONS_AFTER_PADDING:
        limit -= encoder.pad_token_id + 1
    return limit


# Encoders of the RoBERTa family number positions from pad_token_id + 1.
_POSITIONS_AFTER_PADDING = frozenset(
    (
        "camembert",
        "data2vec-text",
        "ibert",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    )
)


def _is_weight(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _check_whole(name: str, value: Any, lowest: int, highest: int, more: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ValueError(f"{name}={value!r:.80}: give a whole number from {lowest} to {highest}{more}")


def _extension_labels(labels: Any) -> list[str]:
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"extension_labels={labels!r:.80}: give a list of names")
    if len(labels) > _MOST_LABELS:
        raise ValueError(f"extension_labels has {len(labels):,} names: at most {_MOST_LABELS:,} labels can be scored")
    return list(labels)


def _check_kernels(fields: Mapping[str, Any], where: str) -> None:
    """Attention is one of transformers' own: the name of a repository would have its code fetched and run."""
    for name, given in fields.items():
        if not name.endswith("attn_implementation"):
            continue
        for value in given.values() if isinstance(given, Mapping) else [given]:
            if value is not None and value not in _ATTENTIONS:
                raise ValueError(f"{where}{name}={value!r:.80}: choose one of {', '.join(map(repr, _ATTENTIONS))}")


def _check_encoder(fields: Any) -> None:
    if not isinstance(fields, Mapping) or not isinstance(fields.get("model_type"), str):
        raise ValueError(f"encoder_config={fields!r:.80}: give the encoder's configuration, with its model_type")
    _check_kernels(fields, "encoder_config.")
    for name, bounds in _WHOLE_OF_THE_ENCODER.items():
        if fields.get(name) is not None:
            _check_whole(f"encoder_config.{name}", fields[name], *bounds)
    hidden, layers = fields.get("hidden_size") or 768, fields.get("num_hidden_layers") or 12
    inner = fields.get("intermediate_size") or 4 * hidden
    tables = (fields.get("vocab_size") or 0) + max(0, fields.get("max_position_embeddings") or 0)
    if layers * hidden * (4 * hidden + 2 * inner) + tables * hidden > _MOST_PARAMETERS:
        raise ValueError(
            f"encoder_config: hidden_size={hidden}, num_hidden_layers={layers}, intermediate_size={inner} and "
            f"vocab_size, max_position_embeddings ask for more than {_MOST_PARAMETERS:,} weights"
        )


def _check_inherited(fields: Mapping[str, Any]) -> None:
    """What `PretrainedConfig` takes, and a stranger's file may hold."""
    _check_kernels(fields, "")
    if fields.get("num_labels") is not None:
        _check_whole("num_labels", fields["num_labels"], 0, _MOST_LABELS)
    names = fields.get("id2label")
    if names is None:
        return
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"id2label={names!r:.80}: give a name for each column")
    if len(names) > _MOST_LABELS:
        raise ValueError(f"id2label has {len(names):,} names: at most {_MOST_LABELS:,} labels can be scored")
    if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        raise ValueError(f"id2label={names!r:.80}: number the columns from 0 on")
