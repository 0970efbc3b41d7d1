"""What is pushed: each part of a run packed as one repository, complete and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_imports

from augmentation.review.export import CONFIGS
from modeling_knowfree.configuration_knowfree import TRAVELLING_FILES
from modeling_knowfree.data.rows import InputError, show
from modeling_knowfree.data.stored import stored_object
from modeling_knowfree.loading import has_vocabulary

from .details import Details
from .facts import INDEX, WEIGHTS, read_augmentation, read_model, weight_files

METRIC = "span_f1"  # evaluate wants the script to be called as its repository is
DEMO = "knowfree_demo"
MODEL_FILES = (
    "config.json",
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "*.model"),
)
SPACE_FILES = ("*.py", "requirements.txt", "packages.txt", "*.css", "*.js", "*.svg")
"""The whole list of what leaves: of a trained folder its weights, these files and the code; of the demo these, the
renderer of spans and the readers of files; the metric's three by name; of a data set the tables built anew. Whatever
else lies in a folder stays there, and is told (`left_out`)."""
LARGE = (".safetensors", ".parquet")
READERS = "knowfree_formats"
_PUSHED = {
    "model": (
        *MODEL_FILES,
        *TRAVELLING_FILES,
        WEIGHTS,
        "model-*-of-*.safetensors",
        INDEX,
        "*_knowfree.py",
        "handler.py",
    ),
    "dataset": tuple(f"{config}/train.parquet" for config in (*CONFIGS, "label_map", "provenance")),
    "metric": (f"{METRIC}.py", "metrics.py", "index.html"),
    "space": (*SPACE_FILES, *(f"{READERS}/{folders}*.py" for folders in ("", "*/", "*/*/"))),
}
"""By part what a push of this version or an older one makes, README.md aside."""
SIGN = {
    "model": "modeling_knowfree.py",
    "dataset": "label_map/train.parquet",
    "metric": "metrics.py",
    "space": "span_html.py",
}
"""The file by which a repository is known as one that was pushed."""


def may_be_left(part: str, path: str) -> bool:
    """Whether an earlier push may have left `path`, which this one no longer has; anything else in a repository is not
    ours to delete."""
    return any(path.count("/") == pattern.count("/") and fnmatch(path, pattern) for pattern in _PUSHED[part])


class Watched:
    """Files of a folder, those whose names are on a list, as they were when this was made."""

    def __init__(self, folder: Path, *patterns: str):
        self.folder, self._patterns = folder, patterns
        self._found = self._stamps()

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        """By name what tells a file from another one in its place."""
        found = {}
        for path in self.folder.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in self._patterns) and path.is_file():
                stat = path.stat()
                found[path.name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return found

    def check(self) -> None:
        """Raises InputError where one was written, replaced, added or taken away since."""
        try:
            changed = self._stamps() != self._found
        except OSError:  # gone
            changed = True
        if changed:
            raise InputError(f"{self.folder} changed while it was pushed; run it again")


@dataclass
class Parcel:
    """
    One repository as it will be pushed.

    Args:
        part: `model`, `dataset`, `metric` or `space`.
        files: by path in the repository, its file here or its content; all but README.md. Of small files the content
            is held from now on: what is checked is what is sent.
        card: README.md, given the commit that its snippets pin (None: not known yet).
        pinned: whether the card names that commit, and so must follow the other files.
        variables: of a Space.
        left_out: what lies beside these files and is not sent.
        notes: what whoever pushes it should know.
        source: where the large files are, and what the card tells of.
    """

    part: str
    repo_id: str
    files: dict[str, Path | bytes]
    card: Callable[[str | None], str]
    pinned: bool = False
    sdk: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: Watched | None = None

    def __post_init__(self) -> None:
        for path, content in self.files.items():
            if isinstance(content, Path) and not path.endswith(LARGE):
                self.files[path] = content.read_bytes()
        self.card = cache(self.card)  # of thousands of labels it takes seconds

    @property
    def repo_type(self) -> str:
        return {"metric": "space"}.get(self.part, self.part)

    def sizes(self) -> dict[str, int]:
        """Bytes by path, README.md as it is before the push included."""
        sizes = {
            path: len(content) if isinstance(content, bytes) else content.stat().st_size
            for path, content in self.files.items()
        }
        return dict(sorted((sizes | {"README.md": len(self.card(None).encode())}).items()))


def pack_model(
    folder: Path,
    repo_id: str,
    details: Details,
    work: Path,
    *,
    results: Path | None = None,
    augmented: Path | None = None,
    drop_extension_labels: bool = False,
    **ids: str | None,
) -> Parcel:
    """
    A trained folder with what inference needs: weights, config, tokenizer, remote code.

    Args:
        work: an empty folder for what must be made first.
        results: `results.jsonl` of the run.
        augmented: the augmentation that its training data came from.
        ids: `dataset_id`, `metric_id` for the card.

    Raises:
        InputError: the folder would not load from the Hub.
    """
    from .cards import model_card

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --model FOLDER, one that `knowfree train` wrote")
    source = Watched(folder, "*")
    _check_model_folder(folder)
    facts = read_model(folder, results)
    weights = [path.name for path in weight_files(folder)]
    files, left_out = _listed(folder, (*MODEL_FILES, *TRAVELLING_FILES, *weights))
    left_out = tuple(name for name in left_out if name != "README.md")  # the card is made anew
    notes = []
    for label in details.label_meanings.keys() - set(facts.labels):
        near = get_close_matches(label, facts.labels, n=1)
        hint = f"; did you mean {show(near[0])}?" if near else ""
        notes.append(f"label_meanings: the model has no label {show(label)}{hint}")
    files["handler.py"] = _source("modeling_knowfree.inference.handler")  # what Inference Endpoints call
    dropped = 0
    if drop_extension_labels and facts.extension_kinds:
        from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification

        dropped = sum(facts.extension_kinds.values())
        KnowFreeForTokenClassification.from_pretrained(folder, trust_remote_code=False).save_pretrained(
            work, drop_extension_labels=True
        )
        files = {name: path for name, path in files.items() if not fnmatch(name, "*.safetensors*")}
        files |= {path.name: path for path in sorted(work.iterdir())}
        facts = read_model(work, results).with_scores_of(facts)
    # A model of the gold sentences alone may lie beside an augmentation that it never saw.
    learned = facts.augmented or dropped > 0 or details.variant in ("KnowFREE-F", "KnowFREE-FS")
    augmentation = read_augmentation(augmented) if augmented and learned else None
    if not learned:
        ids["dataset_id"] = None

    def card(revision: str | None) -> str:
        return str(
            model_card(
                repo_id,
                facts,
                details,
                augmentation=augmentation,
                revision=revision,
                dropped_extension_labels=dropped,
                **ids,
            )
        )

    told = tuple(sorted(notes))
    return Parcel("model", repo_id, files, card, pinned=True, left_out=left_out, notes=told, source=source)


def _listed(folder: Path, patterns: tuple[str, ...]) -> tuple[dict[str, Path | bytes], tuple[str, ...]]:
    """The files of a folder whose names are on the list, and the names of all else in it.

    Raises:
        InputError: one of them is a symbolic link, and so may be any file of this machine.
    """
    files: dict[str, Path | bytes] = {}
    left_out = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() or not any(fnmatch(path.name, pattern) for pattern in patterns):
            left_out.append(path.name)
        elif path.is_symlink():
            raise InputError(
                f"{path}: is a symbolic link, and links are not pushed; put a copy of the file in its place"
            )
        elif path.is_file():
            files[path.name] = path
    return files, tuple(left_out)


def _check_model_folder(folder: Path) -> None:
    again = "; load it with this package and `save_pretrained` it again"
    config = stored_object(folder / "config.json")
    names = {path.name for path in folder.iterdir()}
    if not names & {WEIGHTS, INDEX}:
        others = ", ".join(sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))))
        raise InputError(
            f"{folder}: no model.safetensors{f' (only {others}, which is not pushed)' if others else ''}{again}"
        )
    if "knowfree" not in (config.get("custom_pipelines") or {}) or "AutoModel" not in (config.get("auto_map") or {}):
        raise InputError(f"{folder}: config.json does not name the code (auto_map, custom_pipelines){again}")
    if foreign := [name for name in config["auto_map"].values() if "--" in str(name)]:
        raise InputError(f"{folder}: config.json takes its code from another repository ({foreign[0]}){again}")
    if missing := _missing_code(folder, config):
        raise InputError(f"{folder}: the code {', '.join(missing)} is missing beside the weights{again}")
    if "tokenizer_config.json" not in names or not has_vocabulary(folder):
        raise InputError(
            f"{folder}: no tokenizer; add it with `AutoTokenizer.from_pretrained(ENCODER).save_pretrained(…)`"
        )


def _missing_code(folder: Path, config: dict[str, Any]) -> list[str]:
    """Files that are not there, of the code that config.json names and all that it imports: what a folder of an older
    version lacks, its own code never asks for."""
    named = [*config["auto_map"].values(), config["custom_pipelines"]["knowfree"].get("impl")]
    todo, seen = {str(name).partition(".")[0] for name in named}, set[str]()
    while todo:
        module = todo.pop()
        seen.add(module)
        if (path := folder / f"{module}.py").is_file():
            todo |= set(get_relative_imports(path)) - seen
    return sorted(f"{module}.py" for module in seen if not (folder / f"{module}.py").is_file())


def pack_dataset(folder: Path, repo_id: str, details: Details, work: Path) -> Parcel:
    """
    The results of an augmentation as Parquet, one config a table, without what review rejected.

    Raises:
        InputError: no results in the folder, or another run writes them just now.
    """
    from augmentation.review.decisions import DECISIONS_FILE, Decisions, read_decisions
    from augmentation.review.export import build_datasets
    from augmentation.settings import RECORDS, RESULTS

    from .cards import TableSize, dataset_card

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --augmented FOLDER, one that `knowfree augment run` filled")
    read = (*RESULTS, *RECORDS, DECISIONS_FILE)
    source = Watched(folder, *read)
    _listed(folder, read)
    facts = read_augmentation(folder)
    reviewed = folder / DECISIONS_FILE
    built, _ = build_datasets(folder, read_decisions(reviewed) if reviewed.exists() else Decisions())
    source.check()  # twice read
    files: dict[str, Path | bytes] = {}
    for config, splits in built.items():
        path = work / config / "train.parquet"
        path.parent.mkdir(parents=True)
        splits["train"].to_parquet(str(path))
        files[f"{config}/train.parquet"] = path
    features = {config: splits["train"].features for config, splits in built.items()}
    sizes = {
        config: TableSize(
            len(splits["train"]), (work / config / "train.parquet").stat().st_size, splits["train"].data.nbytes
        )
        for config, splits in built.items()
    }

    def card(revision: str | None) -> str:
        return str(dataset_card(repo_id, facts, details, features, sizes, revision=revision))

    return Parcel("dataset", repo_id, files, card, pinned=True)


def pack_metric(repo_id: str) -> Parcel:
    """The `evaluate` module, with the scorer that it imports beside it."""
    folder = shipped(METRIC)
    files: dict[str, Path | bytes] = {f"{METRIC}.py": folder / f"{METRIC}.py"}
    files["metrics.py"] = _source("modeling_knowfree.metrics")
    page, readme = (
        (folder / name).read_text(encoding="utf-8").replace(f"OWNER/{METRIC}", repo_id)
        for name in ("index.html", "README.md")
    )
    files["index.html"] = page.encode()
    return Parcel("metric", repo_id, files, lambda _: readme, sdk="static")


def pack_space(repo_id: str, model_ids: list[str]) -> Parcel:
    """The demo, with the one renderer of nested spans and the readers of annotated files beside it; the models' ids go
    into its variable."""
    from huggingface_hub import SpaceCard

    folder = shipped(DEMO)
    files, left_out = _listed(folder, SPACE_FILES)
    left_out = tuple(name for name in left_out if name not in ("README.md", "__pycache__"))
    files["span_html.py"] = _source("augmentation.review.span_html")
    files |= _readers()
    card = SpaceCard((folder / "README.md").read_text(encoding="utf-8"))
    card.data["models"] = model_ids
    variables = {"KNOWFREE_MODELS": ",".join(model_ids)}
    return Parcel("space", repo_id, files, lambda _: str(card), sdk="gradio", variables=variables, left_out=left_out)


def _readers() -> dict[str, Path | bytes]:
    """What reads annotated files, as a package of the Space's own, `knowfree_formats`."""
    package = _source("modeling_knowfree.configuration_knowfree").parent
    read = [package / "files.py", package / "units_knowfree.py", *sorted((package / "data").rglob("*.py"))]
    files: dict[str, Path | bytes] = {f"{READERS}/__init__.py": b'"""Readers of annotated text."""\n'}
    for path in read:
        if path.name not in ("commands.py", "inspection.py"):  # of the command line
            files[f"{READERS}/{path.relative_to(package).as_posix()}"] = path
    return files


def shipped(name: str) -> Path:
    """A folder of `spaces/`, in a checkout beside this package, in an installed package under a name of its own (gradio
    imports a package called `spaces`)."""
    beside = Path(__file__).parents[1] / "spaces" / name
    if (beside / "README.md").is_file():
        return beside
    spec = find_spec("knowfree_spaces")
    assert spec is not None and spec.submodule_search_locations, "the package was installed without spaces/"
    return Path(next(iter(spec.submodule_search_locations))) / name


def _source(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)
