"""The builder: facts and details in, cards out, on huggingface_hub's card classes."""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from knowfree_experiments.report.markdown import inert, one_line

from modeling_knowfree.encoders import shown_name

from .details import Details
from .facts import SCORES, AugmentationFacts, ModelFacts

PAPER = "Improving Low-Resource Sequence Labeling with Knowledge Fusion and Contextual Label Explanations"
LABEL_KINDS = {"ENT": "entity types", "POS": "universal parts of speech", "SEG": "words"}
EXTENSION_KINDS = {"entities": "entities", "pos": "parts of speech", "segmentation": "words"}
PART_NAMES = {"fusion": "gold rows", "synthetic": "synthetic rows", "pool": "texts of the pool"}
STRATEGIES = {
    "explanation": "sentences from an LLM's explanations of the gold entities",
    "melm": "gold sentences whose entities a masked language model of the task filled anew",
    "llm_da": "gold sentences whose contexts and entities an LLM rewrote",
    "progen": "sentences that an LLM wrote from attributes and terms of the domain",
}
EXAMPLES = {"character": ("我们一起在嘉鱼", "zh"), "word": ("we left harrow creek at 5 am", "en")}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
SCORE_NAMES = {"f1": "Micro F1", "precision": "Precision", "recall": "Recall", "macro_f1": "Macro F1"}


class TableSize(NamedTuple):
    """Size of one config's table: rows, bytes of its Parquet file, bytes in memory as Arrow."""

    rows: int
    parquet_bytes: int
    arrow_bytes: int


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{100 * ratio:.2f}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("knowfree_hub_cards"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inert": inert, "percent": _percent, "shown_name": shown_name}
    return environment


def _render(template: str, metadata: ModelCardData | DatasetCardData, **values: Any) -> str:
    body = _environment().get_template(template).render(paper=PAPER, **values)
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    return f"---\n{metadata.to_yaml()}\n---\n\n{body}\n"


def model_card(
    repo_id: str,
    facts: ModelFacts,
    details: Details,
    *,
    augmentation: AugmentationFacts | None = None,
    dataset_id: str | None = None,
    metric_id: str | None = None,
    revision: str | None = None,
    dropped_extension_labels: int = 0,
) -> ModelCard:
    """
    The card of a model.

    Args:
        repo_id: where it will be.
        augmentation: what its training data were augmented with.
        dataset_id, metric_id: data set and metric that are pushed with it or before it.
        revision: commit that the snippets pin; None while nothing is pushed.
        dropped_extension_labels: columns that training had and the pushed checkpoint has not.
    """
    details = _completed(details, facts, augmentation)
    datasets = [name for name in (details.source.dataset_id, dataset_id) if name]
    metadata = ModelCardData(
        language=list(details.language) or None,
        license=details.license,
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=["knowfree", "span-tagging", "named-entity-recognition", "low-resource", "custom_code"],
        base_model=details.base_model,
        datasets=datasets or None,
        metrics=["f1", "precision", "recall"],
        model_name=repo_id.split("/")[1],
        eval_results=_eval_results(facts, details),
    )
    text, _ = EXAMPLES[facts.config.get("unit", "word")]
    content = _render(
        "model.md.j2",
        metadata,
        repo_id=repo_id,
        facts=facts,
        details=details,
        augmentation=augmentation,
        dataset_id=dataset_id,
        metric_id=metric_id,
        revision=revision or "COMMIT",
        dropped=dropped_extension_labels,
        extension_kinds=LABEL_KINDS,
        score_names=SCORE_NAMES,
        example=text,
    )
    return ModelCard(content)


def _completed(details: Details, facts: ModelFacts, augmentation: AugmentationFacts | None) -> Details:
    """What people said, and where they said nothing, what the files know."""
    source = details.source
    said = {"name": source.name or (None if source.dataset_id else facts.cell.get("dataset"))}
    if facts.dataset_id and source.dataset_id in (None, facts.dataset_id):  # its own splits were trained and scored on
        said |= {"dataset_id": facts.dataset_id, "splits": {split: split for split in facts.scores} | source.splits}
    return details.model_copy(
        update={
            "base_model": details.base_model or facts.base_model,
            "variant": details.variant or facts.variant,
            "language": details.language or ((augmentation.settings.language,) if augmentation else ()),
            "source": source.model_copy(update=said),
        }
    )


def _eval_results(facts: ModelFacts, details: Details) -> list[EvalResult] | None:
    """Every score for `model-index` that was measured on a split of a data set on the Hub; nothing where none was."""
    results = []
    source = details.source
    for split, scores in facts.scores.items():
        if not (source.dataset_id and split in source.splits):
            continue
        named = [(SCORE_NAMES[name], "f1" if name == "macro_f1" else name, scores.get(name)) for name in SCORES]
        if split == "test":
            named += [(f"F1 {one_line(label)}", "f1", scores.get(f"f1_{label}")) for label in facts.labels]
        results += [
            EvalResult(
                task_type="token-classification",
                task_name="Span tagging",
                dataset_type=source.dataset_id,
                dataset_name=one_line(source.name or source.dataset_id),
                dataset_split=source.splits[split],
                metric_type=kind,
                metric_name=name,
                metric_value=round(value, 4),
            )
            for name, kind, value in named
            if value is not None
        ]
    return results or None


def dataset_card(
    repo_id: str,
    facts: AugmentationFacts,
    details: Details,
    features: Mapping[str, Any],
    sizes: Mapping[str, TableSize],
    *,
    revision: str | None = None,
) -> DatasetCard:
    """
    The card of an augmented data set.

    Args:
        features: by config its `datasets.Features`.
        sizes: by config.
    """
    name = one_line(details.source.name or repo_id.split("/")[1])
    rows = max(size.rows for config, size in sizes.items() if config in ("fusion", "train"))
    metadata = DatasetCardData(
        pretty_name=f"{name}, augmented (KnowFREE)",
        language=list(details.language) or [facts.settings.language],
        license=details.dataset_license,
        annotations_creators=_creators(details),
        size_categories=[next((size for limit, size in SIZES if rows < limit), "n>1M")],
        source_datasets=[details.source.dataset_id] if details.source.dataset_id else None,
        task_categories=["token-classification"],
        tags=["knowfree", "span-tagging", "data-augmentation", *["synthetic"] * ("synthetic" in facts.rows)],
        configs=[_config(config, default="train" if "train" in features else "fusion") for config in features],
        dataset_info=[_info(config, features[config], sizes[config]) for config in features],
    )
    content = _render(
        "dataset.md.j2",
        metadata,
        repo_id=repo_id,
        facts=facts,
        details=details,
        name=name,
        features={config: _columns(features[config]) for config in features},
        sizes=sizes,
        meanings=_config_meanings(facts),
        kinds=[what for kind, what in EXTENSION_KINDS.items() if kind in facts.settings.extension_kinds],
        labels=_label_counts(facts),
        machine_made=_machine_made(facts),
        part_names=PART_NAMES,
        revision=revision or "COMMIT",
    )
    return DatasetCard(content)


def _creators(details: Details) -> list[str]:
    """Who annotated, as far as it is known: machines in any case, and whoever the card file names."""
    return list(dict.fromkeys([*filter(None, [details.source.annotated_by]), "machine-generated"]))


def _config_meanings(facts: AugmentationFacts) -> dict[str, str]:
    """What each config holds."""
    extended = bool(facts.settings.extension_kinds)
    swapped = "gold sentences with other mentions that an LLM offered, their gold spans moved along"
    made = [swapped] * bool(facts.settings.swap_mentions)
    if facts.settings.explain:
        made.append(f"{STRATEGIES[facts.settings.strategy]}, with machine-made target spans")
    return {
        "fusion": "the gold sentences, gold spans untouched" + (", with extension spans" if extended else ""),
        "synthetic": " and ".join(made) + (" and extension spans" if extended else ""),
        "pool": "text without labels, with machine-made target spans",
        "train": f"{' and '.join(facts.parts)} together: what the model trains on",
        "label_map": "how the LLM's raw entity types became extension labels, one type a row",
        "provenance": "who gave each answer, how and when, one answer a row",
    }


def _config(name: str, default: str) -> dict[str, Any]:
    files = [{"split": "train", "path": f"{name}/train.parquet"}]
    return {"config_name": name, "data_files": files} | ({"default": True} if name == default else {})


def _info(name: str, features: Any, size: TableSize) -> dict[str, Any]:
    return {
        "config_name": name,
        "features": features._to_yaml_list(),
        "splits": [{"name": "train", "num_bytes": size.arrow_bytes, "num_examples": size.rows}],
        "download_size": size.parquet_bytes,
        "dataset_size": size.arrow_bytes,
    }


def _columns(features: Any) -> list[tuple[str, str]]:
    return [(name, _type(feature)) for name, feature in features.items()]


def _type(feature: Any) -> str:
    if isinstance(feature, dict):
        return "{" + ", ".join(f"{name}: {_type(inner)}" for name, inner in feature.items()) + "}"
    inner = getattr(feature, "feature", None)
    return feature.dtype if inner is None else f"list of {_type(inner)}"


def _label_counts(facts: AugmentationFacts) -> dict[str, list[tuple[str, list[int]]]]:
    """`targets` and `extensions`: label, and its spans in each of `facts.parts`; most frequent first."""
    counts = facts.counts["labels"]
    tables = {}
    for kind in ("targets", "extensions"):
        of_parts = [counts.get(part, {}).get(kind, {}) for part in facts.parts]
        rows = [(label, [spans.get(label, 0) for spans in of_parts]) for label in dict.fromkeys(chain(*of_parts))]
        tables[kind] = sorted(rows, key=lambda row: (-sum(row[1]), row[0]))
    return tables


def _machine_made(facts: AugmentationFacts) -> str:
    """What of the data set no person annotated."""
    kinds = ["extension spans"] * bool(facts.settings.extension_kinds)
    kinds += ["the target spans of synthetic sentences"] * ("synthetic" in facts.rows)
    kinds += ["the target spans of the pool's texts"] * ("pool" in facts.rows)
    return ", ".join(kinds)
