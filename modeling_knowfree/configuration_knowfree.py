"""Configuration of KnowFREE models."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

TRAVELLING_FILES = tuple(
    f"{part}_knowfree.py" for part in ("configuration", "modeling", "decoding", "units", "pipeline")
)
"""The code that every saved model carries, and all of it: these import torch, transformers and each other alone."""

_CHOICES = {
    "unit": ("character", "word"),
    "pooling": ("max", "first", "mean"),
    "span_mixer": ("local_attention", "cnn", "none"),
    "formulation": ("paper", "released"),
    "decoding": ("flat", "nested", "all"),
    "loss_reduction": ("sum", "mean"),
}
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
        formulation (`"paper"` or `"released"`): `W_O(H_B + LN(H_B + attn))` or `W_O(H_B + LN(attn))`.
        head_dropout (`float`): on unit states and on the inputs of the linear term.
        max_span_width (`int`, *optional*): widest span scored, in units; `None`: every span.
        id2label (`dict[int, str]`): the target labels, columns 0 … N_tgt-1.
        extension_labels (`list[str]`): names of columns N_tgt …; seen by training only.
        extension_weights (`list[float]`): α_i (eq 15), one for each extension label.
        loss_reduction (`"sum"` or `"mean"`): over the cells of a sentence.
        threshold (`float`): a span is a hit where a target's probability exceeds it.
        decoding (`"flat"`, `"nested"`, `"all"`): which hits may stand together.
        multi_label (`bool`): whether one span may carry several target labels.

    Raises:
        ValueError: for a value outside the choices above, or sizes that do not divide.
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
        formulation: str = "paper",
        head_dropout: float = 0.4,
        max_span_width: int | None = None,
        extension_labels: list[str] | None = None,
        extension_weights: list[float] | None = None,
        loss_reduction: str = "sum",
        threshold: float = 0.5,
        decoding: str = "flat",
        multi_label: bool = False,
        **kwargs: Any,
    ):
        if encoder_config is None:
            encoder_config = {"model_type": "bert"}
        if isinstance(encoder_config, PretrainedConfig):
            encoder_config = encoder_config.to_dict()
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
        self.formulation = formulation
        self.head_dropout = head_dropout
        self.max_span_width = max_span_width
        self.extension_labels = list(extension_labels or [])
        self.extension_weights = list(extension_weights or [1.0] * len(self.extension_labels))
        self.loss_reduction = loss_reduction
        self.threshold = threshold
        self.decoding = decoding
        self.multi_label = multi_label
        super().__init__(**kwargs)
        if isinstance(getattr(self, "custom_pipelines", None), dict):
            self.custom_pipelines = TaskNames(self.custom_pipelines)
        self._check()

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(map(repr, allowed))}")
        for size, heads in (("head_size", "biaffine_heads"), ("span_size", "biaffine_heads")):
            if getattr(self, size) % getattr(self, heads):
                raise ValueError(f"{size}={getattr(self, size)} must be a multiple of {heads}={getattr(self, heads)}")
        if self.span_mixer == "local_attention" and self.span_size % self.attention_heads:
            raise ValueError(f"span_size={self.span_size} must be a multiple of attention_heads={self.attention_heads}")
        if len(self.extension_weights) != len(self.extension_labels):
            raise ValueError(
                f"extension_weights has {len(self.extension_weights)} values for "
                f"{len(self.extension_labels)} extension_labels: give one each"
            )
        if self.max_span_width is not None and self.max_span_width < 1:
            raise ValueError(f"max_span_width={self.max_span_width}: give at least 1, or null for no limit")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold={self.threshold}: give a probability between 0 and 1")

    @property
    def target_labels(self) -> list[str]:
        """Names of columns 0 … N_tgt-1, in column order."""
        names = self.id2label or {}
        return [names[column] for column in sorted(names)]  # type: ignore[index]

    @property
    def max_pieces(self) -> int | None:
        """Longest input of the encoder in pieces, special ones included; `None` where its positions have no end."""
        limit = getattr(self.encoder_config, "max_position_embeddings", None)
        if limit is None or limit <= 0:
            return None
        if self.encoder_config.model_type in _POSITIONS_AFTER_PADDING:
            limit -= self.encoder_config.pad_token_id + 1
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
