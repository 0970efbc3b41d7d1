"""`knowfree export`: a trained model for machines without PyTorch."""

import ast
import json
import logging
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch
from torch import Tensor, nn

from .. import decoding_knowfree, units_knowfree
from ..data.rows import InputError
from ..modeling_knowfree import KnowFreeForTokenClassification, pool_pieces
from .tag import load_pipeline

TAGGER = "onnx_tagger.py"
# What the tagger's file takes from the package: never a line that needs torch.
_LEFT_OUT = {
    units_knowfree: {"KnowFreeCollator", "infer_unit", "Document", "Window"},
    decoding_knowfree: {"find_hits", "decode", "pad_spans"},
}


class _Traced(nn.Module):
    """The forward with the units' mask `[B, L]` for their number: so L is a shape, and no wider than the units are."""

    def __init__(self, model: KnowFreeForTokenClassification):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, unit_ids: Tensor, unit_mask: Tensor) -> Tensor:
        model = self.model
        pieces = model.knowfree.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        units = pool_pieces(pieces, unit_ids, model.config.pooling)[:, : unit_mask.shape[1]]  # (B, L, D)
        return model.score(units, unit_mask.sum(1), len(model.config.target_labels))


def export_onnx(model: str, output: Path, int8: bool = False) -> Path:
    """
    Write `model.onnx`, the tokenizer, `tagger.json` and `onnx_tagger.py` into a new folder.

    Args:
        model: folder or Hub id of a KnowFREE model.
        output: the new folder; it appears whole or not at all.
        int8: weights of the linear layers in 8 bits, activations quantised as they come.

    Raises:
        InputError: no such model, a folder that exists, or a tokenizer without `tokenizer.json`.
    """
    if output.exists():
        raise InputError(f"{output}: exists; allowed: a new folder; mend: name another one, or remove it")
    pipe = load_pipeline(model)
    assert pipe.tokenizer is not None  # the pipeline refuses to be without
    network = pipe.model.cpu().float().eval()
    config = network.config
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as work:
        folder = Path(work) / "export"
        folder.mkdir()
        pipe.tokenizer.save_pretrained(folder)
        if not (folder / "tokenizer.json").is_file():
            raise InputError(f"{model}: its tokenizer has no tokenizer.json; allowed: a fast tokenizer")
        _export_graph(network, folder / "model.onnx")
        if int8:
            _quantise(folder / "model.onnx")
        about = {
            "labels": config.target_labels,
            "unit": config.unit,
            "threshold": config.threshold,
            "decoding": config.decoding,
            "multi_label": config.multi_label,
            "max_pieces": config.max_pieces,
            "train_lengths": config.train_lengths,
            "pad_token_id": pipe.tokenizer.pad_token_id or 0,
            "unk_token": pipe.tokenizer.unk_token,
            "int8": int8,
        }
        (folder / "tagger.json").write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (folder / TAGGER).write_text(tagger_source(), encoding="utf-8")
        shutil.move(folder, output)
    return output


def _export_graph(network: KnowFreeForTokenClassification, path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    batch, pieces, units = 3, 13, 9
    ids = torch.randint(0, network.config.encoder_config.vocab_size, (batch, pieces), generator=generator)
    unit_ids = torch.full((batch, pieces), -1)
    unit_ids[:, 1 : units + 1] = torch.arange(units)
    example = (ids, torch.ones_like(ids), unit_ids, torch.ones(batch, units, dtype=torch.int64))
    sizes = {"batch": torch.export.Dim.DYNAMIC, "length": torch.export.Dim.DYNAMIC}
    dynamic = {0: sizes["batch"], 1: sizes["length"]}
    names = ("input_ids", "attention_mask", "unit_ids", "unit_mask")
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about its own future
            torch.onnx.export(
                _Traced(network),
                example,
                str(path),
                input_names=list(names),
                output_names=["logits"],
                dynamic_shapes=dict.fromkeys(names, dynamic),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        loud.setLevel(level)


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_name("whole.onnx")
    path.rename(whole)
    # reduce_range: sums of full 8-bit products overflow on processors without VNNI.
    quantize_dynamic(
        whole,
        path,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        op_types_to_quantize=["MatMul", "Gemm"],
    )
    whole.unlink()


def tagger_source() -> str:
    """The text of `onnx_tagger.py` with the package's functions in the place of the lines that import them."""
    own = (Path(__file__).with_name(TAGGER)).read_text(encoding="utf-8")
    tree = ast.parse(own)
    lines = own.splitlines(keepends=True)
    needed = sorted({ast.unparse(node) for each in [tree, *map(_parsed, _LEFT_OUT)] for node in _imports(each)})
    first = next(at for at, node in enumerate(tree.body) if isinstance(node, (ast.Import, ast.ImportFrom)))
    after = next(node for node in tree.body[first:] if not isinstance(node, (ast.Import, ast.ImportFrom)))
    head = "".join(lines[: tree.body[first].lineno - 1])
    body = "".join(lines[after.lineno - 1 :])
    parts = [_definitions(module) for module in _LEFT_OUT]
    return head + "\n".join(needed) + "\n\n" + "\n\n\n".join(parts) + "\n\n\n" + body


def _parsed(module: ModuleType) -> ast.Module:
    return ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> list[ast.stmt]:
    """Imports of other packages than this one and torch."""
    return [
        node
        for node in tree.body
        if (isinstance(node, ast.Import) and all(alias.name != "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and node.module != "torch")
    ]


def _definitions(module: ModuleType) -> str:
    """Every definition and constant of a module but those that need torch, with the text as it stands."""
    lines = Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    parts = []
    for node in _parsed(module).body[1:]:
        if isinstance(node, (ast.Import, ast.ImportFrom)) or getattr(node, "name", "") in _LEFT_OUT[module]:
            continue
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        parts.append("\n".join(lines[start - 1 : node.end_lineno]))
    return "\n\n\n".join(parts)
