"""What the folders of a run say about a model and a data set, for their cards."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from knowfree_experiments.run.variants import paper_name

from augmentation.settings import COUNTS_FILE
from modeling_knowfree.data.readers import iterate_rows
from modeling_knowfree.data.rows import InputError, read_lines, stored_object
from modeling_knowfree.units_knowfree import join_units

SCORES = ("f1", "precision", "recall", "macro_f1")
CELL = ("dataset", "subset", "variant", "gold_rows", "synthetic_rows", "per_label", *SCORES)


@dataclass(frozen=True)
class Repeated:
    """Test F1 of one variant over seeds, all in [0, 1]."""

    setting: str
    seeds: tuple[int, ...]
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class ModelFacts:
    """
    A trained folder.

    Args:
        config: its config.json.
        scores: by split (`validation`, `test`) what `knowfree train` measured, ratios in [0, 1].
        training: its training_args.json; empty where there is none.
        origin: its data_args.json: encoder and data it was trained on; empty where there is none.
        cell: its cell.json: the variant, subset and rows it was trained on, where `knowfree run` made it; else empty.
        parameters: number of weights.
        repeated: the same over seeds, from results.jsonl.
    """

    config: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, float]]
    training: Mapping[str, Any]
    origin: Mapping[str, str | None]
    cell: Mapping[str, Any]
    parameters: int
    repeated: Sequence[Repeated] = ()

    @property
    def labels(self) -> list[str]:
        """Target labels in column order."""
        return [label for _, label in sorted(self.config["id2label"].items(), key=lambda item: int(item[0]))]

    @property
    def extension_kinds(self) -> dict[str, int]:
        """Extension labels by namespace."""
        return dict(Counter(label.split(":")[0] for label in self.config.get("extension_labels") or []))

    @property
    def variant(self) -> str | None:
        """What it is called, where `knowfree run` made it."""
        if "variant" not in self.cell:
            return None
        name = self.cell["variant"]
        return paper_name(name) or f"KnowFREE ({name})"

    @property
    def base_model(self) -> str | None:
        """Hub id of the encoder; None where it came from a folder or was not noted."""
        return _hub_id(self.origin.get("model_name_or_path"))

    @property
    def dataset_id(self) -> str | None:
        """Hub id of the data it was trained on."""
        return _hub_id(self.origin.get("dataset_name"))

    @property
    def augmented(self) -> bool:
        """Whether anything but gold annotation taught it, as far as the folder tells."""
        return bool(self.extension_kinds or self.cell.get("synthetic_rows") or self.cell.get("pool_rows"))

    def with_scores_of(self, other: "ModelFacts") -> "ModelFacts":
        """These weights, with what was measured and noted beside others that predict the same."""
        return replace(other, config=self.config, parameters=self.parameters)

    @property
    def selected_on_dev(self) -> bool:
        """Whether the checkpoint is the best on the validation set, not the last."""
        return bool(self.training.get("load_best_model_at_end"))


def _hub_id(name: str | None) -> str | None:
    """`name` if it can be an id of the Hub: `knowfree train` writes those of folders with `./` before them."""
    try:
        validate_repo_id(name or "")
    except HFValidationError:
        return None
    return name


def read_model(folder: Path, results: Path | None = None) -> ModelFacts:
    """
    Facts of a folder that `knowfree train` wrote, and of a `results.jsonl` beside it.

    Raises:
        InputError: no KnowFREE model in the folder, or broken JSON.
    """
    from safetensors import SafetensorError, safe_open

    config = stored_object(folder / "config.json")
    if config.get("model_type") != "knowfree":
        raise InputError(
            f"{folder}: holds a {config.get('model_type')} model; give a folder that `knowfree train` wrote"
        )
    parameters = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as weights:
                parameters += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path}: not a whole safetensors file ({error}); save the model again") from error
    scores = {}
    for split in ("validation", "test"):
        path = folder / f"{split}_results.json"
        if path.exists():
            prefix = f"{split}_"
            scores[split] = {name.removeprefix(prefix): value for name, value in stored_object(path).items()}
    training, origin, cell = (
        stored_object(folder / name) if (folder / name).exists() else {}
        for name in ("training_args.json", "data_args.json", "cell.json")
    )
    if cell:  # measured through the pipeline
        if missing := [name for name in CELL if name not in cell]:
            raise InputError(f"{folder / 'cell.json'}: no {missing[0]}; run the cell again with `knowfree run`")
        per_label = {f"f1_{label}": label_scores["f1"] for label, label_scores in cell["per_label"].items()}
        scores["test"] = {name: cell[name] for name in SCORES} | per_label
    return ModelFacts(
        config,
        scores,
        training,
        origin,
        cell,
        parameters,
        read_results(results) if results else (),
    )


def read_results(path: Path) -> list[Repeated]:
    """
    Test F1 over seeds, by data set, subset and variant.

    A line of the file is an object with at least `variant`, `seed` and `f1`; `dataset` and `subset` are told where
    they are there.

    Raises:
        InputError: no such file, not JSON lines, or a line without one of the three.
    """
    groups: dict[str, dict[int, float]] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            setting = ", ".join(str(row[name]) for name in ("dataset", "subset") if row.get(name))
            variant = paper_name(row["variant"]) or row["variant"]
            name = f"{variant} ({setting})" if setting else variant
            groups.setdefault(name, {})[int(row["seed"])] = float(row["f1"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f'{path}, line {number}: {error!r}; write {{"variant": "KnowFREE-F", "seed": 0, "f1": 0.5}} a line'
            ) from error
    return [
        Repeated(name, tuple(sorted(f1)), sum(f1.values()) / len(f1), min(f1.values()), max(f1.values()))
        for name, f1 in groups.items()
    ]


@dataclass(frozen=True)
class Overlap:
    """Rows that also stand in a held-out file of so many, by config; compared by folded text without final marks."""

    split: str
    held_out: int
    found: Mapping[str, int]


@dataclass(frozen=True)
class AugmentationFacts:
    """
    A run folder of `knowfree augment`.

    Args:
        settings: its augment.yaml, read.
        counts: its counts.json.
        rows: by config (`fusion`, …) how many rows.
        prompts: what was asked, one entry a task, prompt and model: `task`, `prompt`, `sha256`, `model`,
            `temperature`, `answers`, `repaired`.
        decided: how raw types became labels: by `rule`, `llm`, `cluster`, `unverified`.
        overlaps: one a held-out file that is still where the run found it.
        rejected: what people left out on the review page, by config; None where nobody reviewed.
        usd: what the answers cost; None where the run has no store, or no price was given.
        pool_annotator: who tagged the texts of the pool, `llm`, `gold` or `agree`; None where there are none.
        teacher_f1: of the LLM on the gold, from the other fold's, in [0, 1]; None where it was not asked.
    """

    settings: Any
    counts: Mapping[str, Any]
    rows: Mapping[str, int]
    prompts: Sequence[Mapping[str, Any]]
    decided: Mapping[str, int]
    overlaps: Sequence[Overlap]
    rejected: Mapping[str, Mapping[str, int]] | None
    usd: float | None
    pool_annotator: str | None = None
    teacher_f1: float | None = None

    @property
    def parts(self) -> list[str]:
        """The configs that `train` is made of."""
        return [name for name in ("fusion", "synthetic", "pool") if name in self.rows]

    @property
    def unit(self) -> str:
        return self.counts["unit"]

    @property
    def recorded(self) -> bool:
        """Whether the answers were replayed from a file, so that model and prompts are not known."""
        return self.settings.client == "recorded"

    def entity_losses(self) -> dict[str, dict[str, int]]:
        """Entities that the LLM `named` in `source`, `pool`, `synthetic`, and of these `aligned` and dropped ones."""
        losses = {}
        for part in ("source", "pool", "synthetic"):
            if numbers := self.counts.get(part, {}).get("entities"):
                named = {name: numbers.get(name, 0) for name in ("hallucinated", "off_border", "empty", "ambiguous")}
                aligned = numbers.get("exact", 0) + numbers.get("normalised", 0)
                losses[part] = {"named": numbers.get("pairs", 0), "aligned": aligned, **named}
        return losses


def read_augmentation(folder: Path) -> AugmentationFacts:
    """
    Facts of a folder that `knowfree augment run` finished.

    Raises:
        InputError: no results in it, or a file of it is broken.
    """
    from augmentation.review.decisions import DECISIONS_FILE, Decisions, read_decisions
    from augmentation.review.export import configs_of, exported_rows
    from augmentation.settings import load_settings

    settings = load_settings(folder)
    counts = stored_object(folder / COUNTS_FILE)
    reviewed = (folder / DECISIONS_FILE).exists()
    decisions = read_decisions(folder / DECISIONS_FILE) if reviewed else Decisions()
    rows, rejected, keys, annotator = {}, {}, {}, None
    for config in configs_of(folder):
        left_out: Counter[str] = Counter()
        kept = list(exported_rows(folder, config, decisions, left_out))
        rows[config], rejected[config] = len(kept), {name: n for name, n in left_out.items() if n}
        keys[config] = [_key(row["tokens"], counts["unit"]) for row in kept]
        if config == "pool":
            annotator = next((row["annotator"] for row in kept), None)
    overlaps = []
    for split in ("dev", "test"):
        if name := getattr(settings, f"{split}_file"):
            if not (folder / name).is_file():
                continue
            held_out = {_key(row["tokens"], counts["unit"]) for row in iterate_rows(folder / name, task=settings.task)}
            found = {name: sum(key in held_out for key in keys[name]) for name in keys if name != "train"}
            overlaps.append(Overlap(split, len(held_out), found))
    teacher = folder / "teacher.json"
    return AugmentationFacts(
        settings,
        counts,
        rows,
        _prompts(folder / "provenance.jsonl"),
        stored_object(folder / "label_map.json")["shares"],
        overlaps,
        rejected if reviewed else None,
        _spent(folder) if _priced(settings) else None,
        annotator,
        stored_object(teacher)["f1"] if teacher.exists() else None,
    )


def _key(tokens: Sequence[str], unit: str) -> str:
    from augmentation.steps.explanations import sentence_key

    return sentence_key(join_units(tokens, unit)[0])


def _prompts(path: Path) -> list[dict[str, Any]]:
    groups: Counter[tuple] = Counter()
    repaired: Counter[tuple] = Counter()
    for line in read_lines(path):
        answer = json.loads(line.text)
        names = ("task", "prompt_id", "prompt_version", "prompt_sha256", "model", "temperature", "top_p")
        key = tuple(answer[name] for name in names)
        groups[key] += 1
        repaired[key] += bool(answer["repaired"])
    return [
        {
            "task": task,
            "prompt": prompt if version is None else f"{prompt} v{version}",
            "sha256": sha256,
            "model": model,
            "temperature": temperature,
            "top_p": top_p,
            "answers": answers,
            "repaired": repaired[task, prompt, version, sha256, model, temperature, top_p],
        }
        for (task, prompt, version, sha256, model, temperature, top_p), answers in groups.items()
    ]


def _priced(settings: Any) -> bool:
    return bool(settings.usd_per_million_prompt_tokens or settings.usd_per_million_completion_tokens)


def _spent(folder: Path) -> float | None:
    from augmentation.llm.store import Store
    from augmentation.pipeline import STORE_FILE

    if not (folder / STORE_FILE).exists():
        return None
    with Store(folder / STORE_FILE) as store:
        return store.spent().usd
