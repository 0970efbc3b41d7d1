"""The table of variants: every way to train that needs no definition in `run.yaml`. `knowfree run --variants list`
prints it.

**To add a row**: add one entry to `VARIANTS`, at the place where it shall stand in tables, charts and the report (the
order of the table is the order there). Say what it learns from (`data`), who tags (`tagger`), what its training is told
unless the run says otherwise (`recipe`), what training and augmentation are told on top of the run's (`train`,
`augment`), how charts call it (`label`, one line) and where it comes from (`source`: the table of the paper, an issue,
`ours`). Nothing else has to be edited: the run, the check of settings, the report, the cards and `--variants list` read
this table. A new kind of `data` or `tagger` also needs its branch in `cells.py` (who trains and tags) and in `run.py`
(which file holds its rows).
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

LEXICON_TAGGERS = ("flat", "mect", "lebert", "pcbert")
"""Networks that read the words of a lexicon."""
ASKING_TAGGERS = ("llm_zero", "llm_few")
"""Nothing is trained: the LLM tags the test set itself."""
Tagger = Literal[
    "span", "bio", "bio_crf", "bert_bilstm_crf", "w2ner", "difinet", "flat", "mect", "lebert", "pcbert",
    "llm_zero", "llm_few", "llm_lora",
]  # fmt: skip


class Variant(BaseModel):
    """
    One way to train on a subset.

    Args:
        data: `gold` sentences; `fusion`: with extension labels; `train`: with synthetic sentences too.
        pool: text without labels beside them, annotated by `llm`, by the `gold` model, or where both `agree`; `auto`:
            by the LLM where the settings name one, else by the gold model.
        tagger: `span`: KnowFREE; `bio`: Hugging Face's token classification; `bio_crf`: with a CRF on it; a network of
            `baselines.tagger`, by the name of its file; or one of `ASKING_TAGGERS`.
        recipe: arguments of `knowfree train` where the run names neither them nor a preset.
        train: the same, on top of the run's.
        augment: settings of the augmentation on top of the run's, `annotator` for example.
        label: what charts, the report and `--variants list` say it is.
        source: where it comes from.
        paper_name: the name that the paper gives it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Literal["gold", "fusion", "train"] = "gold"
    pool: Literal["auto", "llm", "gold", "agree"] | None = None
    tagger: Tagger = "span"
    recipe: dict[str, Any] = {}
    train: dict[str, Any] = {}
    augment: dict[str, Any] = {}
    label: str = "as run.yaml defines it"
    source: str = "run.yaml"
    paper_name: str | None = None

    @property
    def asks_llm(self) -> bool:
        """Whether nothing is trained, and the LLM tags the test set itself."""
        return self.tagger in ASKING_TAGGERS


BASELINE = "base"
"""The variant that all others are compared with."""
TAG_RECIPE: dict[str, Any] = {"learning_rate": 1e-4, "head_dropout": 0.1}
"""Of rows that learn tags: the best on dev of benchmarks/bio_search.py; the span head's recipe costs them points."""

VARIANTS: dict[str, Variant] = {
    "base": Variant(label="gold sentences only (KnowFREE)", source="Tables 1 and 2", paper_name="KnowFREE"),
    "f": Variant(
        data="fusion",
        label="gold sentences with extension labels of the LLM fused in (KnowFREE-F)",
        source="Tables 1 and 2",
        paper_name="KnowFREE-F",
    ),
    "fs": Variant(
        data="train",
        label="the same and synthetic sentences from explanations (KnowFREE-FS)",
        source="Tables 1 and 2",
        paper_name="KnowFREE-FS",
    ),
    "cnn": Variant(
        train={"span_mixer": "cnn"},
        label="gold only, masked CNN in place of local attention",
        source="Table 2, CNN-Nested-NER",
    ),
    "plain": Variant(
        train={"span_mixer": "none"},
        label="gold only, no mixing of spans: plain biaffine",
        source="Table 3, w/o local attn & L.E.A.",
    ),
    "bio": Variant(
        tagger="bio",
        recipe=TAG_RECIPE,
        label="gold only, token classification with BIO tags; no nesting",
        source="ours",
    ),
    "bio_crf": Variant(
        tagger="bio_crf", recipe=TAG_RECIPE, label="gold only, BIO tags and a CRF; no nesting", source="ours"
    ),
    "bert_bilstm_crf": Variant(
        tagger="bert_bilstm_crf",
        # With 1e-3 it finds nothing of weibo's 250 sentences (benchmarks/results/trials.jsonl).
        recipe=TAG_RECIPE | {"head_learning_rate": 3e-3},
        label="gold only, BiLSTM and CRF on the encoder; no nesting",
        source="Huang et al. 2015; Devlin et al. 2019",
    ),
    "w2ner": Variant(
        tagger="w2ner",
        recipe={"learning_rate": 1e-4},  # of MiniLM's 3e-4 it has four F1 less on dev (benchmarks/results/trials.jsonl)
        label="gold only, grid of word-word relations; one label a span",
        source="Table 1, Li et al., AAAI 2022",
    ),
    "difinet": Variant(
        tagger="difinet",
        label="gold only, semantic differentiation and boundary filtration",
        source="Table 1, Cai et al., ACL 2024",
    ),
    "flat": Variant(
        tagger="flat",
        recipe=TAG_RECIPE,
        label="gold only, flat lattice of characters and words; Chinese, no nesting",
        source="Table 1, Li et al., ACL 2020",
    ),
    "mect": Variant(
        tagger="mect",
        recipe=TAG_RECIPE,
        label="gold only, words and radicals in a cross-transformer; Chinese, no nesting",
        source="Table 1, Wu et al., ACL 2021",
    ),
    "lebert": Variant(
        tagger="lebert",
        recipe=TAG_RECIPE,
        label="gold only, words between the encoder's layers; Chinese, no nesting",
        source="Table 1, Liu et al., ACL 2021",
    ),
    "pcbert": Variant(
        tagger="pcbert",
        recipe=TAG_RECIPE,
        label="gold only, a prompted parent beside LEBERT; Chinese, no nesting",
        source="Table 1, Lai et al., COLING 2022",
    ),
    "llm_zero": Variant(
        tagger="llm_zero",
        augment={"target_examples": 0},
        label="the LLM tags the test set, from the label names",
        source="Table 4",
    ),
    "llm_few": Variant(
        tagger="llm_few",
        augment={"target_examples": 8},
        label="the LLM tags the test set, after the 8 gold sentences most like the text",
        source="section A, ours",
    ),
    "llm_lora": Variant(
        tagger="llm_lora", label="a causal language model tuned with LoRA on the gold sentences", source="Table 5"
    ),
    "llm_lora_fs": Variant(
        data="train",
        tagger="llm_lora",
        label="the same on gold and synthetic sentences",
        source="Table 6",
    ),
    "fs_llm": Variant(
        data="train", augment={"annotator": "llm"}, label="FS, synthetic targets by the LLM", source="ours (S7)"
    ),
    "fs_fusion": Variant(
        data="train",
        augment={"annotator": "fusion"},
        label="FS, synthetic targets by the fused model",
        source="section 3.1 (S7)",
    ),
    "fs_gold": Variant(
        data="train",
        augment={"annotator": "gold"},
        label="FS, synthetic targets by the gold-only model",
        source="Table 2 (S7)",
    ),
    "fs_agree": Variant(
        data="train",
        augment={"annotator": "agree"},
        label="FS, synthetic targets where model and LLM agree",
        source="ours (S7)",
    ),
    **{
        strategy + suffix: Variant(
            data="train",
            augment={"strategy": strategy, "annotator": annotator, "kinds": []},
            label=f"gold and synthetic sentences by {what}, targets {by}",
            source=f"{'Table 2 and Figure 6,' if annotator == 'gold' else 'ours (S7), after'} {paper}",
        )
        for strategy, what, paper in (
            ("melm", "masked entity language modelling (no LLM)", "Zhou et al., ACL 2022"),
            ("llm_da", "rewritten contexts and replaced entities", "Ye et al. 2024"),
            ("progen", "attributes, terms and verification", "Heng et al., ACL 2024"),
        )
        for suffix, annotator, by in (
            ("", "gold", "by the gold-only model"),
            ("_llm", "llm", "by the LLM"),
            ("_fusion", "fusion", "by the fused model"),
            ("_agree", "agree", "where fused model and LLM agree"),
        )
    },
    "f_cnn": Variant(
        data="fusion",
        train={"span_mixer": "cnn"},
        label="F, masked CNN in place of local attention",
        source="Table 3, w/o local attn",
    ),
    "f_without_merging": Variant(
        data="fusion",
        augment={"merge_labels": False},
        label="F, synonymous entity types not merged",
        source="Table 3, w/o S.L.",
    ),
    "f_without_entities": Variant(
        data="fusion",
        augment={"kinds": ["pos", "segmentation"]},
        label="F without entity labels",
        source="Table 3",
    ),
    "f_without_pos": Variant(
        data="fusion",
        augment={"kinds": ["entities", "segmentation"]},
        label="F without POS labels",
        source="Table 3",
    ),
    **{
        stem + suffix: Variant.model_validate(
            {
                "data": data,
                "pool": annotator,
                "label": f"{rows} and text without labels, tagged by {who}",
                "source": "ours (S11)",
            }
        )
        for stem, data, rows in (("u", "gold", "gold"), ("fu", "fusion", "F"), ("fsu", "train", "FS"))
        for suffix, annotator, who in (
            ("", "auto", "the LLM, or without one by the gold-only model"),
            ("_llm", "llm", "the LLM"),
            ("_gold", "gold", "the gold-only model"),
            ("_agree", "agree", "the LLM where the gold-only model agrees"),
        )
    },
}

ANNOTATORS = {"fusion": "f", "agree": "f", "gold": "base"}
"""Whose model annotates synthetic sentences, by the augmentation's `annotator`; the others ask the LLM alone."""


def paper_name(name: str) -> str | None:
    """`KnowFREE-F` and the like; None for a variant that the paper gives no name."""
    return VARIANTS[name].paper_name if name in VARIANTS else None


def table() -> str:
    """Name, data, tagger, label and source of the variants, a line each, for people."""
    heads = ("variant", "data", "tagger", "what it is", "source")
    rows = [heads, *((name, v.data, v.tagger, v.label, v.source) for name, v in VARIANTS.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
