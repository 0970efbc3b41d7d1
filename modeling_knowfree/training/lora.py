"""LoRA on the encoder (Hu et al. 2022; extra `[lora]`): few weights learn, and the saved model has them merged in."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..data.rows import InputError
from ..modeling_knowfree import KnowFreeForTokenClassification

ADAPTER = "adapter"  # in every checkpoint and in the finished model: what peft loads onto the encoder
_ENCODER = "knowfree.encoder."
_OF_PEFT = "base_model.model."
_BASE = ".base_layer."


def add_lora(model: KnowFreeForTokenClassification, rank: int, encoder_name: str) -> None:
    """
    Freeze the encoder and give each of its linear layers W a trainable addition 2·B·A, A `[rank, in]`, B `[out, rank]`
    (alpha = 2·rank). The head trains as ever.

    Raises:
        InputError: a rank below 1.
        ModuleNotFoundError: peft is not installed.
    """
    if rank < 1:
        raise InputError(f"--lora_rank {rank}: give 1 or more, or leave it out")
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", base_model_name_or_path=encoder_name)
    inject_adapter_in_model(config, model.knowfree.encoder)


def has_lora(model: torch.nn.Module) -> bool:
    """Whether `add_lora` has been there."""
    return any(".lora_A." in name for name, _ in model.named_parameters())


def merged_state(model: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the same model without LoRA: W + 2·B·A, under the names that they had before."""
    scaling = _config(model).lora_alpha / _config(model).r
    merged = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        layer, base, kind = name.rpartition(_BASE)
        if base and kind == "weight":
            down, up = state[f"{layer}.lora_A.default.weight"], state[f"{layer}.lora_B.default.weight"]
            tensor = tensor + (scaling * up.float() @ down.float()).to(tensor.dtype)
        merged[name.replace(_BASE, ".")] = tensor
    return merged


def save_adapter(model: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the encoder's adapter as peft writes one: `PeftModel.from_pretrained(encoder, folder)` takes it."""
    folder.mkdir(exist_ok=True)
    parts = {_peft_name(name): tensor.contiguous() for name, tensor in state.items() if ".lora_" in name}
    save_file(parts, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    _config(model).save_pretrained(str(folder))


def load_checkpoint(model: Any, folder: Path) -> None:
    """The weights that train, out of a checkpoint: the head's, and A and B; the others never changed."""
    state = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    adapter = load_file(folder / ADAPTER / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(adapter[_peft_name(name)] if ".lora_" in name else state[name])


def check_lora_fits(checkpoint: str, rank: int) -> None:
    """
    Raises:
        InputError: the checkpoint was trained with another `--lora_rank`, or one of the two without.
    """
    about = Path(checkpoint) / ADAPTER / "adapter_config.json"
    was = json.loads(about.read_text(encoding="utf-8"))["r"] if about.exists() else 0
    if was != rank:
        raise InputError(
            f"--resume_from_checkpoint {checkpoint}: was trained with --lora_rank {was}, this run has {rank}; give the "
            "same, or start anew in another --output_dir"
        )


def _config(model: Any) -> Any:
    return model.knowfree.encoder.peft_config["default"]


def _peft_name(name: str) -> str:
    return _OF_PEFT + name.removeprefix(_ENCODER).replace(".default.", ".")
