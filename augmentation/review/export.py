"""Results leave the run folder: as a `datasets` folder, JSON lines, or CoNLL columns, without what review rejected."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augmentation.finished import check_results
from augmentation.review.decisions import Decisions, apply_decisions
from modeling_knowfree.data.formats.conll import write_bio
from modeling_knowfree.data.rows import Row, write_rows
from modeling_knowfree.data.stored import stored_in, stored_object, stored_rows
from modeling_knowfree.files import whole_file, write_whole

if TYPE_CHECKING:
    from datasets import DatasetDict

CONFIGS = ("fusion", "synthetic", "pool", "train")


def exported_rows(folder: Path, config: str, decisions: Decisions, counts: Counter[str]) -> Iterator[Row]:
    """
    Rows of one result file of a run, decisions applied.

    Raises:
        InputError: the file is not as it was written.
    """
    path = folder / f"{config}.jsonl"
    with stored_in(path):
        yield from apply_decisions(stored_rows(path), decisions, counts)


def configs_of(folder: Path) -> list[str]:
    """The result files that a run has.

    Raises:
        InputError: none, or not as they were written (`check_results`).
    """
    check_results(folder)
    return [config for config in CONFIGS if (folder / f"{config}.jsonl").is_file()]


def export_jsonl(folder: Path, output: Path, decisions: Decisions) -> dict[str, dict[str, int]]:
    """Write `fusion.jsonl` and the other configs of `CONFIGS`; returns by config how much review left out."""
    counts: dict[str, Counter[str]] = {config: Counter() for config in configs_of(folder)}
    rows = {config: list(exported_rows(folder, config, decisions, counter)) for config, counter in counts.items()}
    for config, kept in rows.items():
        write_rows(output / f"{config}.jsonl", kept)
    return {config: dict(counter) for config, counter in counts.items()}


def export_conll(folder: Path, output: Path, decisions: Decisions) -> dict[str, dict[str, int]]:
    """
    Write `fusion.conll`, … as `data convert --to conll` does: a token and its target tag (BIO) a line.

    A column holds one tag a token: extensions stay out, and of nested targets only the longest, which is counted as
    `nested_targets`. White space inside a token is written as U+2581 (▁).

    Raises:
        InputError: a token that would be something else there, such as `-DOCSTART-`.
    """
    counts: dict[str, Counter[str]] = {config: Counter() for config in configs_of(folder)}
    rows = {
        config: [_in_a_column(row, counter) for row in exported_rows(folder, config, decisions, counter)]
        for config, counter in counts.items()
    }
    for config, kept in rows.items():
        write_bio(kept, output / f"{config}.conll")
    return {config: dict(counter) for config, counter in counts.items()}


def _in_a_column(row: Row, counts: Counter[str]) -> Row:
    """The row with the longest of its targets that no other covers, and no white space in its tokens."""
    taken = [False] * len(row["tokens"])
    targets = []
    for span in sorted(row["entities"], key=lambda span: (span["start"] - span["end"], span["start"], span["label"])):
        if any(taken[span["start"] : span["end"]]):
            counts["nested_targets"] += 1
            continue
        taken[span["start"] : span["end"]] = [True] * (span["end"] - span["start"])
        targets.append(span)
    tokens = ["".join("▁" if char.isspace() else char for char in token) for token in row["tokens"]]
    return {"id": row["id"], "tokens": tokens, "entities": targets}


def row_features() -> Any:
    """Typed features of an augmented row."""
    from datasets import Features, List, Value

    count, text, real = Value("int32"), Value("string"), Value("float32")
    return Features(
        {
            "id": text,
            "tokens": List(text),
            "entities": List({"start": count, "end": count, "label": text, "score": real, "weight": real}),
            "extensions": List({"start": count, "end": count, "label": text, "source": text}),
            "uncertain": List({"start": count, "end": count, "label": text}),
            "has_extensions": Value("bool"),
            "synthetic": Value("bool"),
            "source": text,
            "annotator": text,
            "parent_id": text,
            "weight": real,
        }
    )


def label_map_features() -> Any:
    """Typed features of the label map, one raw type a row."""
    from datasets import Features, Value

    text, real, count = Value("string"), Value("float64"), Value("int32")
    return Features(
        {"raw": text, "standard": text, "name": text, "count": count, "pairs": count, "radius": real}
        | {"distance": real, "limit": real, "decision": text, "source": text, "proposed": text, "version": count}
    )


def provenance_features() -> Any:
    """Typed features of the provenance, one answer a row."""
    from datasets import Features, Value

    text, count, real = Value("string"), Value("int64"), Value("float64")
    kinds = {"repaired": Value("bool"), "temperature": real, "top_p": real}
    kinds |= dict.fromkeys(("attempts", "reasks", "seed", "prompt_tokens", "completion_tokens"), count)
    names = (
        "task row_id model served_model mode attempts time endpoint repaired reasks package_version prompt_id "
        "prompt_version prompt_sha256 temperature top_p seed finish_reason prompt_tokens completion_tokens"
    )
    return Features({name: kinds.get(name, text) for name in names.split()})


def build_datasets(folder: Path, decisions: Decisions) -> tuple[dict[str, "DatasetDict"], dict[str, dict[str, int]]]:
    """
    The configs of the result, each with the split `train`: `fusion`, `synthetic`, `pool`, `train`,
    `label_map`, `provenance`; those that there are.

    Returns:
        data sets by config, and by config how much review left out.

    Raises:
        InputError: a file of the result is not as it was written.
    """
    from datasets import Dataset, DatasetDict, disable_progress_bars

    disable_progress_bars()  # of tables that take a second

    def split(rows: list[Row], features: Any, name: str) -> DatasetDict:
        with stored_in(folder / name):
            columns = {key: [row[key] for row in rows] for key in features}  # a list of no rows would have no columns
            return DatasetDict(train=Dataset.from_dict(columns, features=features))

    built, counts = {}, {}
    for config in configs_of(folder):
        counter: Counter[str] = Counter()
        rows = [_with_scores(row) for row in exported_rows(folder, config, decisions, counter)]
        built[config] = split(rows, row_features(), f"{config}.jsonl")
        counts[config] = dict(counter)
    with stored_in(folder / "label_map.json"):
        types = stored_object(folder / "label_map.json")["types"]
        label_rows = [{"raw": raw, **entry} for raw, entry in types.items()]
    built["label_map"] = split(label_rows, label_map_features(), "label_map.json")
    answers = list(stored_rows(folder / "provenance.jsonl"))
    built["provenance"] = split(answers, provenance_features(), "provenance.jsonl")
    return built, counts


def _with_scores(row: Row) -> Row:
    entities = [{"score": None, "weight": None, **entity} for entity in row["entities"]]
    return {"uncertain": [], "weight": None} | row | {"entities": entities}


def export_datasets(folder: Path, output: Path, decisions: Decisions) -> dict[str, dict[str, int]]:
    """Write one Parquet file a config, `<config>/train.parquet`, and a README that lets `load_dataset` find them."""
    built, counts = build_datasets(folder, decisions)
    for config, splits in built.items():
        path = output / config / "train.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            splits["train"].to_parquet(str(temporary))
    write_whole(output / "README.md", _configs_header(list(built)))
    return counts


def _configs_header(configs: Sequence[str]) -> str:
    lines = ["---", "configs:"]
    for config in configs:
        lines += [f"- config_name: {config}", "  data_files:", "  - split: train", f"    path: {config}/train.parquet"]
        lines += ["  default: true"] * (config == "train")
    return "\n".join([*lines, "---", ""])
