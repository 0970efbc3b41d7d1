"""What the folders of a run say about a model and a data set, for their cards."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from knowfree_experiments.run.results import Count, Ratio
from knowfree_experiments.run.variants import paper_name
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from augmentation.settings import COUNTS_FILE
from modeling_knowfree.data.lines import read_lines
from modeling_knowfree.data.readers import iterate_rows
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.data.stored import stored_in, stored_object, stored_rows
from modeling_knowfree.loading import load_config, told_in_one_line
from modeling_knowfree.units_knowfree import join_units

SCORES = ("f1", "precision", "recall", "macro_f1")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class LabelScore(BaseModel):
    """Of one label on the test file."""

    f1: Ratio


class Trained(BaseModel):
    """What a card tells of a cell.json of `knowfree run`."""

    dataset: str
    subset: str
    variant: str
    gold_rows: Count
    synthetic_rows: Count
    pool_rows: Count = 0
    per_label: dict[str, LabelScore]
    f1: Ratio
    precision: Ratio
    recall: Ratio
    macro_f1: Ratio


class SeedScore(BaseModel):
    """What a card tells of a line of results.jsonl."""

    variant: str
    seed: int
    f1: Ratio
    dataset: str | None = None
    subset: str | None = None


class TypeCounts(BaseModel):
    """How many raw entity types became how many labels."""

    raw: Count
    standard: Count


class Counts(BaseModel):
    """What a card tells of a counts.json."""

    samples: Count
    unit: Literal["character", "word"]
    failed: dict[str, Count]
    types: Annotated[dict[str, TypeCounts], Field(min_length=1)]
    labels: dict[str, dict[str, dict[str, Count]]]
    source: dict[str, Any] = {}
    pool: dict[str, Any] = {}
    synthetic: dict[str, Any] = {}


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
        config: its config.json, with the default of what it does not say.
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


def weight_files(folder: Path) -> list[Path]:
    """
    The files that transformers loads a folder's weights from, and what names them: others may lie beside them.

    Raises:
        InputError: one of several is missing.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    with stored_in(folder / INDEX):
        names = sorted(set(stored_object(folder / INDEX)["weight_map"].values()))
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise InputError(f"{folder / INDEX}: names {name!r}, and there is no such file; save the model again")
    return [*(folder / name for name in names), folder / INDEX]


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
    with told_in_one_line(str(folder / "config.json")):
        config = load_config(str(folder)).to_dict()
    parameters = 0
    for path in weight_files(folder):
        if path.name == INDEX:
            continue
        try:
            with safe_open(path, framework="np") as weights:
                parameters += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path}: not a whole safetensors file ({error}); save the model again") from error
    scores = {}
    for split in ("validation", "test"):
        path = folder / f"{split}_results.json"
        if path.exists():
            scores[split] = _ratios(path, f"{split}_")
    training, origin, cell = (
        stored_object(folder / name) if (folder / name).exists() else {}
        for name in ("training_args.json", "data_args.json", "cell.json")
    )
    if cell:  # measured through the pipeline
        trained = _as_written(Trained, cell, folder / "cell.json")
        cell = trained.model_dump()
        per_label = {f"f1_{label}": found.f1 for label, found in trained.per_label.items()}
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


def _ratios(path: Path, prefix: str) -> dict[str, float]:
    """The scores of a file that `knowfree train` wrote, without its counts and times."""
    values = {name.removeprefix(prefix): value for name, value in stored_object(path).items()}
    values = {name: value for name, value in values.items() if name in SCORES or name.startswith("f1_")}
    return _as_written(dict[str, Ratio], values, path)


def _as_written(kind: Any, values: Any, path: Path) -> Any:
    """What this package wrote into `path`, checked; raises InputError where it is not of that `kind` any more."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}; put back what was written there, or have it made again") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"


def read_results(path: Path) -> list[Repeated]:
    """
    Test F1 over seeds, by data set, subset and variant.

    A line of the file is an object with at least `variant`, `seed` and `f1`; `dataset` and `subset` are told where
    they are there.

    Raises:
        InputError: no such file, not JSON lines, a line without one of the three or with another kind of value, or a
            seed twice.
    """
    groups: dict[str, dict[int, float]] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        mend = 'write {"variant": "KnowFREE-F", "seed": 0, "f1": 0.5} a line'
        try:
            row = SeedScore.model_validate_json(line)
        except ValidationError as error:
            raise InputError(f"{path}, line {number}: {_first(error)}; {mend}") from error
        setting = ", ".join(name for name in (row.dataset, row.subset) if name)
        variant = paper_name(row.variant) or row.variant
        seeds = groups.setdefault(f"{variant} ({setting})" if setting else variant, {})
        if row.seed in seeds:
            raise InputError(f"{path}, line {number}: {variant} has seed {row.seed} twice; keep one of them")
        seeds[row.seed] = row.f1
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
    _as_written(Counts, counts, folder / COUNTS_FILE)
    reviewed = (folder / DECISIONS_FILE).exists()
    decisions = read_decisions(folder / DECISIONS_FILE) if reviewed else Decisions()
    rows, rejected, keys, annotator = {}, {}, {}, None
    for config in configs_of(folder):
        left_out: Counter[str] = Counter()
        kept = list(exported_rows(folder, config, decisions, left_out))
        rows[config], rejected[config] = len(kept), {name: n for name, n in left_out.items() if n}
        with stored_in(folder / f"{config}.jsonl"):
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
    label_map, teacher = folder / "label_map.json", folder / "teacher.json"
    with stored_in(label_map):
        decided = {str(how): int(number) for how, number in stored_object(label_map)["shares"].items()}
    with stored_in(teacher):
        teacher_f1 = float(stored_object(teacher)["f1"]) if teacher.exists() else None
    return AugmentationFacts(
        settings,
        counts,
        rows,
        _prompts(folder / "provenance.jsonl"),
        decided,
        overlaps,
        rejected if reviewed else None,
        _spent(folder) if settings.priced else None,
        annotator,
        teacher_f1,
    )


def _key(tokens: Sequence[str], unit: str) -> str:
    from augmentation.steps.explanations import sentence_key

    return sentence_key(join_units(tokens, unit)[0])


def _prompts(path: Path) -> list[dict[str, Any]]:
    names = ("task", "prompt_id", "prompt_version", "prompt_sha256", "model", "temperature", "top_p")
    groups: Counter[tuple] = Counter()
    repaired: Counter[tuple] = Counter()
    with stored_in(path):
        for answer in stored_rows(path):
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


def _spent(folder: Path) -> float | None:
    from augmentation.llm.store import Store
    from augmentation.pipeline import STORE_FILE

    if not (folder / STORE_FILE).exists():
        return None
    with Store(folder / STORE_FILE) as store:
        return store.spent().usd
