"""Any AutoModel encoder will do: tiny ones of each family, made here."""

from contextlib import nullcontext

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from modeling_knowfree import KnowFreeConfig, KnowFreeForTokenClassification
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.training.config import build_config, build_model
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.padding import check_padding
from modeling_knowfree.units_knowfree import KnowFreeCollator, encode_units
from tests.conftest import WORDS, row

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 90}
FAMILIES = {
    "bert": SIZES,
    "roberta": {**SIZES, "max_position_embeddings": 66, "pad_token_id": 1},
    "xlm-roberta": {**SIZES, "max_position_embeddings": 66, "pad_token_id": 1},
    "electra": {**SIZES, "embedding_size": 16},
    "deberta-v2": {**SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {**SIZES, "global_attn_every_n_layers": 2, "pad_token_id": 0},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 90},
}


REFORMER = {
    **{"axial_pos_shape": [2, 4], "axial_pos_embds_dim": [16, 16], "attn_layers": ["local", "local"]},
    **{"local_attn_chunk_length": 4, "attention_head_size": 8, "feed_forward_size": 48},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_scores_saves_and_loads(family, tmp_path):
    torch.manual_seed(0)
    encoder = AutoConfig.for_model(family, **FAMILIES[family])
    config = KnowFreeConfig(encoder_config=encoder, head_size=8, span_size=20, id2label={0: "A", 1: "B"})
    model = KnowFreeForTokenClassification(config).eval()
    ids = torch.randint(5, 90, (2, 8))
    mask = torch.tensor([[1] * 8, [1] * 6 + [0] * 2])
    units = torch.tensor([[-1, 0, 0, 1, 2, 3, 4, -1], [-1, 0, 1, 1, 2, -1, -1, -1]])
    batch = {"input_ids": ids, "attention_mask": mask, "unit_ids": units, "num_units": torch.tensor([5, 3])}
    with torch.no_grad():
        logits = model(**batch).logits
        alone = model(
            **{name: tensor[1:, :6] if tensor.ndim == 2 else tensor[1:] for name, tensor in batch.items()}
        ).logits
    assert logits.shape == (2, 8, 8, 2)
    assert ((logits > torch.finfo(logits.dtype).min).sum((1, 2, 3)) == torch.tensor([2 * 15, 2 * 6])).all()
    inside = alone > torch.finfo(alone.dtype).min
    torch.testing.assert_close(logits[1:, :6, :6][inside], alone[inside], rtol=1e-4, atol=1e-4)
    assert not any("pooler" in name for name in model.state_dict())
    model.save_pretrained(tmp_path)
    again = KnowFreeForTokenClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, logits)


def test_positions_after_padding_are_not_counted_as_room():
    assert KnowFreeConfig(encoder_config={"model_type": "bert", "max_position_embeddings": 512}).max_pieces == 512
    assert KnowFreeConfig(encoder_config={"model_type": "roberta", "max_position_embeddings": 514}).max_pieces == 512


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("bert", {}),
        ("ibert", {}),
        ("lilt", {"hidden_size": 48}),
        ("luke", {"entity_vocab_size": 10, "entity_emb_size": 8}),
        ("markuplm", {}),
        ("mpnet", {}),
        ("roberta", {}),
        ("xlm-roberta-xl", {}),
    ],
)
def test_an_encoder_reads_max_pieces_and_not_one_more(family, more):
    encoder = AutoConfig.for_model(family, **{**SIZES, "max_position_embeddings": 20, "pad_token_id": 1, **more})
    config = KnowFreeConfig(encoder_config=encoder, head_size=8, span_size=20, id2label={0: "A"})
    model = KnowFreeForTokenClassification(config).eval()
    ids = torch.full((1, config.max_pieces + 1), 7)
    units = torch.arange(config.max_pieces + 1)[None]
    with torch.no_grad():
        model(ids[:, :-1], torch.ones_like(ids[:, :-1]), units[:, :-1], torch.tensor([config.max_pieces]))
        with pytest.raises((IndexError, RuntimeError)):
            model(ids, torch.ones_like(ids), units, torch.tensor([config.max_pieces + 1]))


@pytest.mark.parametrize(
    ("family", "more", "told"),
    [
        ("bert", {}, None),
        ("convbert", {}, "padding counts in convbert, so that scores would depend on the batch; name an encoder"),
        ("fnet", {}, "padding counts in fnet"),
        ("layoutlm", {}, None),  # calls its pooler too
        ("modernbert", {"pad_token_id": 0, "global_attn_every_n_layers": 2}, None),
        ("reformer", REFORMER, "reformer cannot read these sentences: .*axial_pos_shape.*name an encoder"),
        ("squeezebert", {"embedding_size": 32}, None),  # calls its pooler, whoever reads it
    ],
)
def test_an_encoder_in_which_padding_counts_or_that_cannot_read_is_refused(family, more, told, encoder):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    sizes = {**SIZES, "vocab_size": len(tokenizer), **more}
    config = KnowFreeConfig(encoder_config=AutoConfig.for_model(family, **sizes), head_size=8, span_size=20)
    model = KnowFreeForTokenClassification(config)
    rows = [row("left harrow creek"), row("zzzzzzzzz " * 60)]  # of which no encoder here reads the whole
    before = torch.get_rng_state()
    with pytest.raises(InputError, match=f"--model_name_or_path x: {told}") if told else nullcontext():
        check_padding(model, tokenizer, rows, "--model_name_or_path x")
    assert torch.equal(torch.get_rng_state(), before) and model.training


def test_a_unit_without_pieces_has_another_special_piece_where_none_is_unknown(byte_level):
    tokenizer = AutoTokenizer.from_pretrained(byte_level, unk_token=None)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\0", "")
    assert tokenizer.unk_token is None
    (pieces,) = encode_units(tokenizer, [["left", "\0", "harrow"]])
    assert [pieces.input_ids[at] for at, unit in enumerate(pieces.unit_ids) if unit == 1] == [tokenizer.mask_token_id]


@pytest.fixture
def byte_level(tmp_path):
    """Folder of a tiny RoBERTa with a byte-level BPE tokenizer: it has pieces for every unit, and wants a space before
    each word."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    named = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **named).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": len(tokenizer.get_vocab()), "max_position_embeddings": 130, "pad_token_id": 1}
    from transformers import RobertaConfig, RobertaModel

    RobertaModel(RobertaConfig(**sizes)).save_pretrained(tmp_path)
    return tmp_path


def test_byte_level_tokenizers_keep_units_apart(byte_level):
    tokenizer = AutoTokenizer.from_pretrained(byte_level)
    (pieces,) = encode_units(tokenizer, [["left", " ", "harrow", "嘉"]])
    assert sorted(set(pieces.unit_ids)) == [-1, 0, 1, 2, 3]
    rows = [row("left harrow creek", (1, 3, "PLACE"))]
    config = build_config(str(byte_level), rows, head_size=8, span_size=20)
    features = build_features(rows, tokenizer, config)
    batch = KnowFreeCollator(tokenizer.pad_token_id)([features[0]])
    assert torch.isfinite(build_model(str(byte_level), config)(**batch).loss)
