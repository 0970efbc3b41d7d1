"""`knowfree export`: a trained model for machines without PyTorch."""

import ast
import json
import logging
import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .. import decoding_knowfree, units_knowfree, windows_knowfree
from ..data.rows import InputError
from ..files import as_os_error
from ..modeling_knowfree import KnowFreeForTokenClassification
from ..units_knowfree import unknown_piece
from .cells import TILE, CellScores
from .onnx_tagger import plan_cells
from .tag import load_pipeline

TAGGER = "onnx_tagger.py"
# What the tagger's file takes from the package: never a line that needs torch.
_LEFT_OUT = {
    units_knowfree: {"KnowFreeCollator", "infer_unit", "Document", "Window"},
    windows_knowfree: set(),
    decoding_knowfree: {"find_hits", "decode", "pad_spans"},
}
# Where the products lie that are worth 8 bits: names of modules.
_QUANTISED = re.compile(r"'(model\.knowfree\.encoder|attention)\.")


def export_onnx(model: str, output: Path, int8: bool = False) -> Path:
    """
    Write `model.onnx`, the tokenizer, `tagger.json` and `onnx_tagger.py` into a new folder.

    Args:
        model: folder or Hub id of a KnowFREE model.
        output: the new folder; it appears whole or not at all.
        int8: weights of the linear layers in 8 bits, activations quantised as they come, a batch at once: scores move
            in the fourth digit with what is beside a text.

    Raises:
        InputError: no such model, a folder that exists, a tokenizer without `tokenizer.json`, or an encoder that the
            exporter cannot follow.
    """
    if output.exists():
        raise InputError(f"{output}: exists; allowed: a new folder; mend: name another one, or remove it")
    pipe = load_pipeline(model)
    assert pipe.tokenizer is not None  # the pipeline refuses to be without
    network = pipe.model.cpu().float().eval()
    config = network.config
    output.parent.mkdir(parents=True, exist_ok=True)
    with as_os_error(output), TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as work:
        folder = Path(work) / "export"
        folder.mkdir()
        pipe.tokenizer.save_pretrained(folder)
        if not (folder / "tokenizer.json").is_file():
            raise InputError(f"{model}: its tokenizer has no tokenizer.json; allowed: a fast tokenizer")
        _export_graph(network, folder / "model.onnx")
        if int8:
            length = min(32, (config.max_pieces or 34) - 2)
            _quantise(folder / "model.onnx", _example(network, [length] * 8))
        about = {
            "labels": config.target_labels,
            "unit": config.unit,
            "threshold": config.threshold,
            "decoding": config.decoding,
            "multi_label": config.multi_label,
            "max_pieces": config.max_pieces,
            "train_lengths": config.train_lengths,
            "max_span_width": config.max_span_width,
            "reach": network.mixer.reach,
            "tile": TILE,
            "pad_token_id": pipe.tokenizer.pad_token_id or 0,
            "unk_token": unknown_piece(pipe.tokenizer),
            "int8": int8,
        }
        (folder / "tagger.json").write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (folder / TAGGER).write_text(tagger_source(), encoding="utf-8")
        try:
            folder.rename(output)
        except OSError as error:  # what has appeared there meanwhile
            raise InputError(f"{output}: exists by now ({error.strerror}); name another one, or remove it") from error
    return output


def _example(network: KnowFreeForTokenClassification, lengths: list[int]) -> dict[str, np.ndarray]:
    """What the graph takes for sentences of so many units, of random pieces."""
    pieces = max(lengths) + 2
    random = np.random.default_rng(0)
    unit_ids = np.full((len(lengths), pieces), -1)
    for own, length in zip(unit_ids, lengths, strict=True):
        own[1 : length + 1] = np.arange(length)
    limit = network.config.max_span_width or max(lengths)
    starts, ends, cells, _ = plan_cells(lengths, pieces, limit, network.mixer.reach, TILE)  # type: ignore[arg-type]
    return {
        "input_ids": random.integers(0, network.config.encoder_config.vocab_size, unit_ids.shape),
        "attention_mask": (np.arange(pieces) < np.array(lengths)[:, None] + 2).astype(np.int64),
        "unit_ids": unit_ids,
        "block_starts": starts,
        "block_ends": ends,
        "cells": cells,
    }


def _export_graph(network: KnowFreeForTokenClassification, path: Path) -> None:
    network.knowfree.encoder.set_attn_implementation("eager")  # the other's export looks for NaN in every weight
    example = {name: torch.from_numpy(value) for name, value in _example(network, [9, 5, 7]).items()}
    dynamic = {name: dict.fromkeys(range(value.ndim), torch.export.Dim.DYNAMIC) for name, value in example.items()}
    dynamic["cells"] = {0: torch.export.Dim.DYNAMIC}
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about its own future
            torch.onnx.export(
                CellScores(network),
                tuple(example.values()),
                str(path),
                input_names=list(example),
                output_names=["logits"],
                dynamic_shapes=dynamic,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        kind, why = network.config.encoder_config.model_type, " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"{kind}: PyTorch's exporter cannot follow this encoder: {why:.200}; serve it with PyTorch"
        ) from error
    finally:
        loud.setLevel(level)


def _quantise(path: Path, examples: dict[str, np.ndarray]) -> None:
    """Products of encoder and local attention in 8 bits, but those that make fewer numbers of more: what a feed-forward
    layer does last loses 1.4 F1 of 63.6 alone (English demo model).

    What a product multiplies is quantised with one scale, and single channels are often 20 times as large as others:
    each is divided by the root of its largest value in `examples`, and the weight is multiplied by it (SmoothQuant,
    Xiao et al. 2023, α = 0.5)."""
    import onnx
    from onnx.helper import make_node, make_tensor_value_info
    from onnx.numpy_helper import from_array, to_array
    from onnxruntime import InferenceSession
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    products = {}  # of a node its weight, (in, out)
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in tensors and _QUANTISED.search(_scopes(node)):
            weight = to_array(tensors[node.input[1]])
            weight = weight.T if any(each.name == "transB" and each.i for each in node.attribute) else weight
            if weight.ndim == 2 and weight.shape[0] <= weight.shape[1]:
                products[node.name] = weight
    inputs = sorted({node.input[0] for node in graph.node if node.name in products})
    kept = len(graph.output)
    graph.output.extend(make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inputs)
    found = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(inputs, examples)
    del graph.output[kept:]
    roots = {
        name: np.sqrt(np.maximum(np.abs(value).reshape(-1, value.shape[-1]).max(0), 1e-3))
        for name, value in zip(inputs, found, strict=True)
    }
    nodes: list[Any] = []
    even: set[str] = set()
    for node in graph.node:
        if node.name not in products:
            nodes.append(node)
            continue
        name, product, evened = node.input[0], f"{node.name}.product", f"{node.name}.weight"
        graph.initializer.append(from_array(products[node.name] * roots[name][:, None], evened))
        if name not in even:
            even.add(name)
            graph.initializer.append(from_array(1 / roots[name], f"{name}.divided"))
            nodes.append(make_node("Mul", [name, f"{name}.divided"], [f"{name}.even"]))
        bias = list(node.input[2:])  # of a Gemm, which is not quantised as such
        nodes.append(make_node("MatMul", [f"{name}.even", evened], [product if bias else node.output[0]], node.name))
        if bias:
            nodes.append(make_node("Add", [product, *bias], node.output))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    # reduce_range: sums of full 8-bit products overflow on processors without VNNI.
    quantize_dynamic(
        model, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, nodes_to_quantize=list(products)
    )


def _scopes(node: Any) -> str:
    """The modules that a node of the graph comes from."""
    return next((entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"), "")


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
