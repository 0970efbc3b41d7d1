"""Released checkpoints: made here in their layout, converted, and held against a dense computation of their formula."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, BertModel

from modeling_knowfree import KnowFreeForTokenClassification
from modeling_knowfree.convert import convert
from modeling_knowfree.data.readers import InputError, read_rows
from modeling_knowfree.units_knowfree import KnowFreeCollator, encode_units
from tests.support import SHARED

LABELS = ["O", "LOC", "PER", "ENT:place"]
FIELDS = {"size_embed_dim": 5, "cnn_dim": 20, "biaffine_size": 12, "kernel_size": 2, "n_head": 4, "cnn_depth": 1}


def released_state(bert: BertModel, depth: int) -> dict[str, torch.Tensor]:
    """A state dict with the released names and shapes, and the leftovers that released files carry."""
    size, span, heads, hidden = FIELDS["biaffine_size"], FIELDS["cnn_dim"], FIELDS["n_head"], bert.config.hidden_size
    shapes = {
        "head_mlp.1.weight": (size, hidden), "head_mlp.1.bias": (size,),
        "tail_mlp.1.weight": (size, hidden), "tail_mlp.1.bias": (size,),
        "multi_head_biaffine.W": (heads, span // heads, size // heads, size // heads),
        "W": (span, 2 * (size + 1) + FIELDS["size_embed_dim"]), "size_embedding.weight": (30, FIELDS["size_embed_dim"]),
        "down_fc.weight": (3, span), "down_fc.bias": (3,), "cnn.0.weight": (2, 2), "span_size_ids": (4, 4),
    }  # fmt: skip
    if depth:
        shapes |= {
            "attn.local_attention.attn.in_proj_weight": (3 * span, span),
            "attn.local_attention.attn.in_proj_bias": (3 * span,),
            "attn.local_attention.attn.out_proj.weight": (span, span),
            "attn.local_attention.attn.out_proj.bias": (span,),
            "attn.norm.weight": (span,),
            "attn.norm.bias": (span,),
        }
    generator = torch.Generator().manual_seed(1)
    state = {name: torch.randn(shape, generator=generator) * 0.5 for name, shape in shapes.items()}
    return state | {f"bert.{name}": value for name, value in bert.state_dict().items()}


def released_logits(state: dict[str, torch.Tensor], units: torch.Tensor, depth: int) -> torch.Tensor:
    """`[L, D]` -> `[L, L, N]`, one sentence, dense, with PyTorch's own multi-head attention."""
    length, span, heads = len(units), FIELDS["cnn_dim"], FIELDS["n_head"]
    start = F.leaky_relu(F.linear(units, state["head_mlp.1.weight"], state["head_mlp.1.bias"]))
    end = F.leaky_relu(F.linear(units, state["tail_mlp.1.weight"], state["tail_mlp.1.bias"]))
    by_head = [x.view(length, heads, -1) for x in (start, end)]
    biaffine = torch.einsum("lhx,hdxy,khy->lkhd", by_head[0], state["multi_head_biaffine.W"], by_head[1]).flatten(2)
    position = torch.arange(length)
    width = (position[None, :] - position[:, None]).clamp(-15, 14) + 15
    ones = torch.ones(length, 1)
    parts = [torch.cat([start, ones], 1)[:, None].expand(-1, length, -1)]
    parts += [torch.cat([end, ones], 1)[None].expand(length, -1, -1), state["size_embedding.weight"][width]]
    grid = biaffine + torch.cat(parts, -1) @ state["W"].T
    if depth:
        attention = nn.MultiheadAttention(span, 10, batch_first=True)
        attention.load_state_dict(
            {
                name.removeprefix("attn.local_attention.attn."): value
                for name, value in state.items()
                if ".attn." in name
            }
        )
        far = (position[None, :] - position[:, None]).abs() > FIELDS["kernel_size"]
        mixed = attention.eval()(grid, grid, grid, attn_mask=far, need_weights=False)[0]
        grid = grid + F.layer_norm(mixed, (span,), state["attn.norm.weight"], state["attn.norm.bias"])
    return F.linear(grid, state["down_fc.weight"], state["down_fc.bias"])


def released_folder(folder: Path, encoder: Path, **changes) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    bert = BertModel.from_pretrained(encoder).eval()
    fields = {**bert.config.to_dict(), **FIELDS, "span_threshold": 0.4, "num_target_labels": 2, **changes}
    state = released_state(bert, fields["cnn_depth"])
    (folder / "config.json").write_text(json.dumps(fields))
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_bytes((encoder / "vocab.txt").read_bytes())
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return state


@pytest.mark.parametrize("depth", [1, 0])
def test_converted_checkpoint_computes_what_the_released_one_did(depth, encoder, tmp_path):
    state = released_folder(tmp_path / "released", encoder, cnn_depth=depth)
    convert(tmp_path / "released", tmp_path / "released" / "labels.txt", tmp_path / "ours")
    model = KnowFreeForTokenClassification.from_pretrained(tmp_path / "ours").eval()
    assert model.config.span_mixer == ("local_attention" if depth else "none")
    assert (model.config.threshold, model.config.target_labels) == (0.4, ["LOC", "PER"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ours")
    for sentence in ("我们一起在嘉鱼", "李四，张三", "嘉"):
        pieces = encode_units(tokenizer, [list(sentence)])[0]
        batch = KnowFreeCollator(0)([vars(pieces)])
        with torch.no_grad():
            logits = model(**batch, output_extension_logits=True).logits[0]
            states = model.knowfree(**batch).last_hidden_state[0, : len(sentence)]
            expected = released_logits(state, states, depth)
        for start in range(len(sentence)):
            for end in range(start + 1, len(sentence) + 1):
                torch.testing.assert_close(logits[start, end - start - 1], expected[start, end - 1], rtol=0, atol=1e-4)


def test_encoder_weights_come_along(encoder, tmp_path):
    released_folder(tmp_path / "released", encoder)
    convert(tmp_path / "released", tmp_path / "released" / "labels.txt", tmp_path / "ours")
    ours = KnowFreeForTokenClassification.from_pretrained(tmp_path / "ours").knowfree.encoder.state_dict()
    theirs = BertModel.from_pretrained(encoder).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_json_labels_say_which_are_targets(encoder, tmp_path):
    released_folder(tmp_path / "released", encoder)
    labels = {name: {"idx": at, "count": 1, "is_target": at < 3} for at, name in enumerate(LABELS)}
    (tmp_path / "released" / "labels.json").write_text(json.dumps(labels))
    for name in ("labels.txt", "labels.json"):
        convert(tmp_path / "released", tmp_path / "released" / name, tmp_path / name)
        config = KnowFreeForTokenClassification.from_pretrained(tmp_path / name).config
        assert (config.target_labels, config.extension_labels) == (["LOC", "PER"], ["ENT:place"])


def harmful(folder: Path) -> None:
    class Harm:
        def __reduce__(self):
            return (Path.touch, (folder / "harmed",))

    torch.save({"x": Harm()}, folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:1000])


def incomplete(folder: Path) -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({name: value for name, value in state.items() if name != "down_fc.bias"}, folder / "pytorch_model.bin")


def without(*names: str):
    def change(folder: Path) -> None:
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        torch.save({name: value for name, value in state.items() if name not in names}, folder / "pytorch_model.bin")

    return change


def reshaped(name: str):
    def change(folder: Path) -> None:
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        torch.save({**state, name: torch.zeros(20, 10)}, folder / "pytorch_model.bin")

    return change


def configured(**changes):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def no_safetensors(folder: Path) -> None:
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.safetensors").write_bytes(b"12345")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("W"), r"--input \S+: .*lacks W;"),
        (without("multi_head_biaffine.W"), "lacks multi_head_biaffine.W;"),
        (without("attn.local_attention.attn.in_proj_bias"), "lacks attn.local_attention.attn.in_proj_bias;"),
        (reshaped("W"), r"--input \S+: cannot be loaded: .*split"),
        (reshaped("down_fc.weight"), r"--input \S+: cannot be loaded: .*size mismatch"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json: holds \[\], no object"),
        (configured(biaffine_size="x"), r"--input \S+: cannot be loaded"),
        (configured(span_threshold=0), r"--input \S+: cannot be loaded: threshold=0"),
        (configured(model_type="foo"), r"--input \S+: cannot be loaded"),
        (no_safetensors, r"--input \S+: cannot be loaded"),
        (harmful, "no state dict that can be read safely"),
        (cut, "no state dict that can be read safely"),
        (incomplete, "lacks .*classifier.bias"),
        (lambda folder: (folder / "pytorch_model.bin").unlink(), "no state dict"),
        (lambda folder: (folder / "labels.txt").write_text("O\nLOC\n"), "labels.txt"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
    ],
)
def test_bad_checkpoints_are_told_and_leave_nothing(change, message, encoder, tmp_path):
    released_folder(tmp_path / "released", encoder)
    change(tmp_path / "released")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "released", tmp_path / "released" / "labels.txt", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    assert not (tmp_path / "released" / "harmed").exists()


def test_what_a_trainer_leaves_beside_the_weights_is_not_taken_for_them(encoder, tmp_path):
    released_folder(tmp_path / "released", encoder)
    for name in ("optimizer.pt", "scheduler.pt", "a.pt"):
        torch.save({"state": 1}, tmp_path / "released" / name)
    convert(tmp_path / "released", tmp_path / "released" / "labels.txt", tmp_path / "ours")
    (tmp_path / "released" / "pytorch_model.bin").rename(tmp_path / "released" / "best.bin")
    with pytest.raises(InputError, match=r"several files may be the weights: a\.pt, best\.bin"):
        convert(tmp_path / "released", tmp_path / "released" / "labels.txt", tmp_path / "again")


def test_a_biaffine_without_heads_is_refused(encoder, tmp_path):
    released_folder(tmp_path / "released", encoder)
    config = json.loads((tmp_path / "released" / "config.json").read_text())
    (tmp_path / "released" / "config.json").write_text(json.dumps({**config, "n_head": 0}))
    with pytest.raises(InputError, match="n_head 0 is another biaffine"):
        convert(tmp_path / "released", tmp_path / "released" / "labels.txt", tmp_path / "ours")


def test_a_released_data_folder_becomes_rows(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "labels.txt").write_text("\n".join(LABELS))
    labels = {name: {"idx": at, "count": 1, "is_target": at < 3} for at, name in enumerate(LABELS)}
    (folder / "labels.json").write_text(json.dumps(labels))
    entity = {"start": 0, "end": 2, "entity": "LOC", "text": ["嘉", "鱼"]}
    place = {"start": 0, "end": 2, "entity": "ENT:place", "text": ["嘉", "鱼"]}
    (folder / "train.json").write_text(json.dumps({"text": ["嘉", "鱼", "在"], "entities": [entity, place]}) + "\n")
    (folder / "labels.json").rename(folder / "types.json")  # no name by which it is known
    convert(folder, tmp_path / "data" / ".." / "data" / "types.json", tmp_path / "ours")
    (found,) = read_rows(tmp_path / "ours" / "train.jsonl")
    assert found["entities"] == [{"start": 0, "end": 2, "label": "LOC"}]
    assert [span["label"] for span in found["extensions"]] == ["ENT:place"]


@pytest.mark.shared
def test_vectors_of_the_released_code(tmp_path):
    folder = SHARED / "released"
    convert(folder, folder / "labels.txt", tmp_path / "ours")
    model = KnowFreeForTokenClassification.from_pretrained(tmp_path / "ours").eval()
    for case in json.loads((folder / "cases.json").read_text())["cases"]:
        ids = torch.tensor([case["input_ids"]])
        units = torch.tensor([[unit - 1 for unit in case["unit_of_piece"]]])
        number = torch.tensor([len(case["units"])])
        with torch.no_grad():
            logits = model(ids, torch.ones_like(ids), units, number, output_extension_logits=True).logits[0]
        for start, end, expected in case["logits"]:
            torch.testing.assert_close(logits[start, end - start - 1], torch.tensor(expected), rtol=0, atol=1e-4)
