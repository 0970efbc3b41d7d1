"""`knowfree convert`: a released KnowFREE checkpoint or data folder becomes ours."""

import json
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from . import KnowFreeConfig, KnowFreeForTokenClassification
from .data.labels import namespaced
from .data.readers import InputError, read_labels, read_rows, write_rows
from .data.rows import show
from .files import as_os_error, is_taken
from .loading import check_vocabulary, load_tokenizer, told_in_one_line

# Fields of a released config.json that are the span head's; the others are the encoder's.
_HEAD_FIELDS = (
    "size_embed_dim", "cnn_dim", "biaffine_size", "kernel_size", "n_head", "cnn_depth", "span_threshold", "logit_drop",
    "num_target_labels", "num_labels", "architectures", "id2label", "label2id",
)  # fmt: skip
_OF_TRAINER = ("optimizer", "scheduler", "rng_state", "training_args", "scaler")
_UNUSED = ("cnn.", "span_size_ids", "bert.pooler.", "bert.embeddings.position_ids")


def convert(source: Path, labels: Path, output: Path) -> str:
    """
    Convert a released folder; a folder with a config.json is a checkpoint, any other holds data files.

    Args:
        source: the released folder.
        labels: its label file, txt or json; label id k is column k-1, since "O" is 0.
        output: new folder.

    Returns:
        One line on what was done.

    Raises:
        InputError: missing or unreadable files, a head that this project does not compute, shapes that do not fit.
    """
    if not source.is_dir():
        raise InputError(f"--input {source}: no such folder")
    if is_taken(output):
        raise InputError(f"--output {output}: exists and is not empty; name a new folder")
    if (source / "config.json").exists():
        return convert_checkpoint(source, labels, output)
    return convert_data(source, labels, output)


def convert_data(source: Path, labels: Path, output: Path) -> str:
    """Every JSON file of a released data folder becomes JSON lines of our rows; labels that are no targets become
    extensions."""
    files = [
        path
        for path in sorted(source.iterdir())
        if path.suffix in (".json", ".jsonl")
        and not path.stem.startswith("labels")
        and not (labels.exists() and path.samefile(labels))
    ]
    if not files:
        raise InputError(f"--input {source}: neither a config.json nor data files (.json, .jsonl) in it")
    stems = [path.stem for path in files]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise InputError(
            f"--input {source}: {twice}.json and {twice}.jsonl would both become {twice}.jsonl; rename one"
        )
    converted = {path.stem: read_rows(path, label_file=labels) for path in files}
    for stem, rows in converted.items():
        write_rows(output / f"{stem}.jsonl", rows)
    return f"{output}: {', '.join(f'{stem}.jsonl ({len(rows)} rows)' for stem, rows in converted.items())}"


def convert_checkpoint(source: Path, labels: Path, output: Path) -> str:
    """The released state dict's tensors under our names; `formulation="released"` computes what they were trained
    with."""
    released = _read_config(source / "config.json")
    names = read_labels(labels, num_targets=released.get("num_target_labels"))
    with told_in_one_line(f"--input {source}"):
        state = _read_state(source)
        config = _config(released, names.targets, names.extensions)
        model = KnowFreeForTokenClassification(config)
        missing, unexpected = model.load_state_dict(_rename(state, config), strict=False)
        if missing or unexpected:
            raise InputError(f"--input {source}: lacks {sorted(missing)[:5]}, has unknown {sorted(unexpected)[:5]}")
        tokenizer = load_tokenizer(str(source))
    check_vocabulary(tokenizer, config.encoder_config, f"--input {source}")
    config.tokenizer_size = len(tokenizer)
    output.parent.mkdir(parents=True, exist_ok=True)
    with as_os_error(output), TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as work:
        folder = Path(work) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folder.replace(output)
    return f"{output}: {len(config.target_labels)} target and {len(config.extension_labels)} extension labels"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds {show(config)}, no object; copy the config.json of the release there")
    return config


def _read_state(source: Path) -> dict[str, Tensor]:
    """The weights file of the folder, read without running anything in it."""
    if (source / "model.safetensors").exists():
        from safetensors.torch import load_file

        return load_file(source / "model.safetensors")
    found = sorted(path for kind in ("*.bin", "*.pth", "*.pt") for path in source.glob(kind))
    files = [path for path in found if not path.stem.startswith(_OF_TRAINER)]
    files = [path for path in files if path.name == "pytorch_model.bin"] or files
    if not files:
        raise InputError(f"--input {source}: no state dict (pytorch_model.bin) in it")
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise InputError(f"--input {source}: several files may be the weights: {names}; keep one there")
    try:
        state = torch.load(files[0], map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"{files[0]}: no state dict that can be read safely: {message:.200}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{files[0]}: holds no state dict; save it with torch.save(model.state_dict(), …)")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _config(released: dict[str, Any], targets: list[str], extensions: list[str]) -> KnowFreeConfig:
    encoder = {name: value for name, value in released.items() if name not in _HEAD_FIELDS}
    encoder.setdefault("model_type", "bert")
    if released.get("n_head", 4) == 0:
        raise InputError("config.json: n_head 0 is another biaffine (no heads), which this project does not compute")
    depth = released.get("cnn_depth", 1)
    return KnowFreeConfig(
        encoder_config=encoder,
        unit="character",
        pooling="max",
        head_size=released.get("biaffine_size", 200),
        span_size=released.get("cnn_dim", 200),
        biaffine_heads=released.get("n_head", 4),
        width_embedding_size=released.get("size_embed_dim", 25),
        span_mixer="local_attention" if depth else "none",
        attention_window=released.get("kernel_size", 3),
        formulation="released",
        threshold=released.get("span_threshold", 0.5),
        id2label=dict(enumerate(targets)),
        label2id={name: column for column, name in enumerate(targets)},
        extension_labels=[namespaced(name) for name in extensions],
    )


def _rename(state: dict[str, Tensor], config: KnowFreeConfig) -> dict[str, Tensor]:
    needed = ["W", "multi_head_biaffine.W"]
    if config.span_mixer == "local_attention":
        needed += [f"attn.local_attention.attn.in_proj_{kind}" for kind in ("weight", "bias")]
    if lacking := [name for name in needed if name not in state]:
        raise ValueError(f"its state dict lacks {', '.join(lacking)}; name a folder with a whole released checkpoint")
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith(_UNUSED) or name == "multi_head_biaffine.W" or name == "W":
            continue
        if config.span_mixer == "none" and name.startswith("attn."):
            continue
        ours[_our_name(name)] = value
    ours["biaffine.weight"] = state["multi_head_biaffine.W"]
    # W multiplies [H_s; 1; H_e; 1; width embedding]: its columns are our linear terms and their biases.
    size = config.head_size
    cuts = [size, 1, size, 1, config.width_embedding_size]
    start, start_bias, end, end_bias, width = state["W"].split(cuts, dim=1)
    ours["biaffine.start.weight"], ours["biaffine.start.bias"] = start, start_bias.squeeze(1)
    ours["biaffine.end.weight"], ours["biaffine.end.bias"] = end, end_bias.squeeze(1)
    if config.width_embedding_size:
        ours["biaffine.width.weight"] = width
    if config.span_mixer == "local_attention":
        for kind in ("weight", "bias"):
            projections = ours.pop(f"in_proj_{kind}").chunk(3)
            for part, projection in zip(("query", "key", "value"), projections, strict=True):
                if (part, kind) != ("key", "bias"):  # softmax cancels it; our key has none
                    ours[f"attention.{part}.{kind}"] = projection
    return ours


def _our_name(name: str) -> str:
    for theirs, our in (
        ("bert.", "knowfree.encoder."),
        ("head_mlp.1.", "start_mlp."),
        ("tail_mlp.1.", "end_mlp."),
        ("size_embedding.", "biaffine.width_embedding."),
        ("attn.local_attention.attn.out_proj.", "attention.output."),
        ("attn.local_attention.attn.", ""),
        ("attn.norm.", "norm."),
        ("down_fc.", "classifier."),
    ):
        if name.startswith(theirs):
            return our + name.removeprefix(theirs)
    return name
