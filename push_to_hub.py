"""`knowfree push`: a run's model, data set, metric and Space, each as a complete repository on the Hub."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub_cards.details import Details

PARTS = ("model", "dataset", "metric", "space")
METRIC = "span_f1"  # evaluate wants the script to be called as its repository is
DEMO = "knowfree_demo"
CODE = ("configuration", "modeling", "decoding", "units", "pipeline")
MODEL_FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "*.model"),
)
# What an earlier push may have left and this one no longer has; anything else in a repository is not ours to delete.
OURS = {
    "model": ("*.safetensors", "*.safetensors.index.json", "*_knowfree.py"),
    "dataset": ("*/train.parquet",),
    "metric": ("*.py",),
    "space": ("*.py",),
}
SECRETS = {
    "a Hugging Face token": rb"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "an API key (sk-…)": rb"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}",
    "a GitHub token": rb"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50})",
    "an AWS key": rb"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}(?![0-9A-Z])",
    "a Google key": rb"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}",
    "a Slack token": rb"(?<![A-Za-z0-9])xox[abprs]-[0-9A-Za-z-]{10,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": rb"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@\"'<>]+:[^/\s@\"'<>]+@",
}
PINNED = re.compile(r'revision="([0-9a-f]{40})"')


@dataclass
class Parcel:
    """
    One repository as it will be pushed.

    Args:
        part: one of `PARTS`.
        files: by path in the repository, its file here or its content; all but README.md.
        card: README.md, given the commit that its snippets pin (None: not known yet).
        pinned: whether the card names that commit, and so must follow the other files.
        variables: of a Space.
    """

    part: str
    repo_id: str
    files: dict[str, Path | bytes]
    card: Callable[[str | None], str]
    pinned: bool = False
    sdk: str | None = None
    variables: dict[str, str] = field(default_factory=dict)

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


# packing


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
    from hub_cards.cards import model_card
    from hub_cards.facts import read_augmentation, read_model
    from modeling_knowfree.rows_knowfree import InputError

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --model FOLDER, one that `knowfree train` wrote")
    _check_model_folder(folder)
    facts = read_model(folder, results)
    files: dict[str, Path | bytes] = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in MODEL_FILES)
    }
    files |= {f"{name}_knowfree.py": folder / f"{name}_knowfree.py" for name in CODE}
    dropped = 0
    if drop_extension_labels and facts.extension_kinds:
        from modeling_knowfree.modeling_knowfree import KnowFreeForTokenClassification

        dropped = sum(facts.extension_kinds.values())
        KnowFreeForTokenClassification.from_pretrained(folder).save_pretrained(work, drop_extension_labels=True)
        files = {name: path for name, path in files.items() if not fnmatch(name, "*.safetensors*")}
        files |= {path.name: path for path in sorted(work.iterdir())}
        facts = read_model(work, results).with_scores_of(facts)
    # A model of the gold sentences alone may lie beside an augmentation that it never saw.
    learned = bool(facts.extension_kinds) or dropped > 0 or details.variant in ("KnowFREE-F", "KnowFREE-FS")
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

    return Parcel("model", repo_id, files, card, pinned=True)


def _check_model_folder(folder: Path) -> None:
    from hub_cards.facts import read_json
    from modeling_knowfree.rows_knowfree import InputError

    again = "; load it with this package and `save_pretrained` it again"
    config = read_json(folder / "config.json")
    names = {path.name for path in folder.iterdir()}
    if not any(name.endswith(".safetensors") for name in names):
        others = ", ".join(sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))))
        raise InputError(
            f"{folder}: no model.safetensors{f' (only {others}, which is not pushed)' if others else ''}{again}"
        )
    if missing := [f"{name}_knowfree.py" for name in CODE if f"{name}_knowfree.py" not in names]:
        raise InputError(f"{folder}: the code {', '.join(missing)} is missing beside the weights{again}")
    if "knowfree" not in (config.get("custom_pipelines") or {}) or "AutoModel" not in (config.get("auto_map") or {}):
        raise InputError(f"{folder}: config.json does not name the code (auto_map, custom_pipelines){again}")
    if foreign := [name for name in config["auto_map"].values() if "--" in str(name)]:
        raise InputError(f"{folder}: config.json takes its code from another repository ({foreign[0]}){again}")
    if "tokenizer_config.json" not in names:
        raise InputError(
            f"{folder}: no tokenizer; add it with `AutoTokenizer.from_pretrained(ENCODER).save_pretrained(…)`"
        )


def pack_dataset(folder: Path, repo_id: str, details: Details, work: Path) -> Parcel:
    """
    The results of an augmentation as Parquet, one config a table, without what review rejected.

    Raises:
        InputError: no results in the folder.
    """
    from augmentation.decisions import DECISIONS_FILE, Decisions, read_decisions
    from augmentation.export import build_datasets
    from hub_cards.cards import dataset_card
    from hub_cards.facts import read_augmentation
    from modeling_knowfree.rows_knowfree import InputError

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --augmented FOLDER, one that `knowfree augment run` filled")
    facts = read_augmentation(folder)
    reviewed = folder / DECISIONS_FILE
    built, _ = build_datasets(folder, read_decisions(reviewed) if reviewed.exists() else Decisions())
    files: dict[str, Path | bytes] = {}
    for config, splits in built.items():
        path = work / config / "train.parquet"
        path.parent.mkdir(parents=True)
        splits["train"].to_parquet(str(path))
        files[f"{config}/train.parquet"] = path
    features = {config: splits["train"].features for config, splits in built.items()}
    sizes = {
        config: (len(splits["train"]), (work / config / "train.parquet").stat().st_size)
        for config, splits in built.items()
    }

    def card(revision: str | None) -> str:
        return str(dataset_card(repo_id, facts, details, features, sizes, revision=revision))

    return Parcel("dataset", repo_id, files, card, pinned=True)


def pack_metric(repo_id: str) -> Parcel:
    """The `evaluate` module, with the scorer that it imports beside it."""
    folder = shipped(METRIC)
    files: dict[str, Path | bytes] = {f"{METRIC}.py": folder / f"{METRIC}.py"}
    files["metrics_knowfree.py"] = _source("modeling_knowfree.metrics_knowfree")
    page, readme = (
        (folder / name).read_text(encoding="utf-8").replace(f"OWNER/{METRIC}", repo_id)
        for name in ("index.html", "README.md")
    )
    files["index.html"] = page.encode()
    return Parcel("metric", repo_id, files, lambda _: readme, sdk="static")


def pack_space(repo_id: str, model_ids: list[str]) -> Parcel:
    """The demo, with the one renderer of nested spans beside it; the models' ids go into its variable."""
    from huggingface_hub import SpaceCard

    folder = shipped(DEMO)
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts
    }
    files["span_html.py"] = _source("augmentation.span_html")
    card = SpaceCard((folder / "README.md").read_text(encoding="utf-8"))
    card.data["models"] = model_ids
    variables = {"KNOWFREE_MODELS": ",".join(model_ids)}
    return Parcel("space", repo_id, files, lambda _: str(card), sdk="gradio", variables=variables)


def shipped(name: str) -> Path:
    """A folder of `spaces/`, in a checkout beside this file, in an installed package under a name of its own (gradio
    imports a package called `spaces`)."""
    beside = Path(__file__).with_name("spaces") / name
    if (beside / "README.md").is_file():
        return beside
    spec = find_spec("knowfree_spaces")
    assert spec is not None and spec.submodule_search_locations, "the package was installed without spaces/"
    return Path(next(iter(spec.submodule_search_locations))) / name


def _source(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)


# checking


def check(parcel: Parcel, token: str | None) -> None:
    """
    Refuse what must not leave this machine.

    Args:
        token: the one in use; it must be in no file, whatever it looks like.

    Raises:
        InputError: no licence, a pickle, or what looks like a secret; names the file and never the secret.
    """
    from huggingface_hub.repocard import RepoCard

    from modeling_knowfree.rows_knowfree import InputError

    if not RepoCard(parcel.card(None)).data.get("license"):
        name = "dataset_license" if parcel.part == "dataset" else "license"
        raise InputError(
            f"{parcel.repo_id}: its card has no licence; add `{name}: …` to the run's card.yaml, or give --{name}, "
            "with an identifier of the Hub (apache-2.0, cc-by-sa-4.0, …)"
        )
    for path, content in {**parcel.files, "README.md": parcel.card(None).encode()}.items():
        if path.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")):
            raise InputError(f"{parcel.repo_id}: {path} is a pickle; only safetensors are pushed; delete it")
        for where, text in _texts(path, content):
            found = next((name for name, pattern in SECRETS.items() if re.search(pattern, text)), None)
            if found is None and token and token.encode() in text:
                found = "the Hub token in use"
            if found:
                raise InputError(
                    f"{parcel.repo_id}: {path}{where} holds what looks like {found}; nothing was pushed; take it out "
                    "where it comes from, and revoke it if others have seen the file"
                )


def _texts(path: str, content: Path | bytes) -> Iterator[tuple[str, bytes]]:
    """(where, text) of a file: lines, cells of Parquet; of weights only the header, the rest being numbers."""
    if path.endswith(".parquet"):
        import pyarrow.parquet

        assert isinstance(content, Path)
        for number, row in enumerate(pyarrow.parquet.read_table(content).to_pylist(), start=1):
            yield f", row {number}", "\n".join(_strings(row)).encode()
    elif path.endswith(".safetensors"):
        assert isinstance(content, Path)
        with content.open("rb") as file:
            yield "", file.read(int.from_bytes(file.read(8), "little"))
    else:
        text = content if isinstance(content, bytes) else content.read_bytes()
        for number, line in enumerate(text.splitlines(), start=1):
            yield f", line {number}", line


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        yield " ".join(inner for inner in value if isinstance(inner, str))
        for inner in value:
            if not isinstance(inner, str):
                yield from _strings(inner)


# pushing


def push_parcel(parcel: Parcel, api: HfApi, *, private: bool = True) -> dict[str, Any]:
    """
    Create or update the repository; repeating it, after an interruption too, ends in the same state.

    All files but a pinned card are one commit. The card follows in a second one, because it names the first; where
    nothing changed, it goes on naming the commit that it named.

    Args:
        private: of a repository that does not exist yet; of one that does, who may see it stays as it is.

    Returns:
        `repo_id`, `repo_type`, `private`, `revision` (the commit with these files) and `commit` (the last one).
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    where: dict[str, Any] = {"repo_id": parcel.repo_id, "repo_type": parcel.repo_type}
    api.create_repo(**where, private=private, exist_ok=True, space_sdk=parcel.sdk)
    before = api.repo_info(**where)
    present = api.list_repo_files(**where, revision=before.sha)
    operations: list[Any] = [CommitOperationAdd(path, content) for path, content in parcel.files.items()]
    operations += [
        CommitOperationDelete(path)
        for path in present
        if path not in parcel.files and any(fnmatch(path, pattern) for pattern in OURS[parcel.part])
    ]
    if not parcel.pinned:
        operations.append(CommitOperationAdd("README.md", parcel.card(None).encode()))
    revision = commit = api.create_commit(
        **where, operations=operations, commit_message=f"Push {parcel.part}", parent_commit=before.sha
    ).oid
    if parcel.pinned:
        if revision == before.sha and "README.md" in present:
            revision = _pinned_so_far(parcel, api, where, revision)
        card = CommitOperationAdd("README.md", parcel.card(revision).encode())
        commit = api.create_commit(**where, operations=[card], commit_message="Card").oid
    for name, value in parcel.variables.items():
        api.add_space_variable(parcel.repo_id, name, value)
    return {**where, "private": bool(before.private), "revision": revision, "commit": commit}


def _pinned_so_far(parcel: Parcel, api: HfApi, where: dict[str, Any], head: str) -> str:
    """The commit that the card on the Hub pins if its files are those of `head`, else `head`: a push that was killed
    between its two commits leaves the card of the push before."""
    from huggingface_hub.errors import RevisionNotFoundError

    with TemporaryDirectory() as work:
        path = api.hf_hub_download(**where, filename="README.md", revision=head, local_dir=work)
        named = PINNED.search(Path(path).read_text(encoding="utf-8"))
    if not named:
        return head

    def blobs(revision: str) -> dict[str, str]:
        tree = api.list_repo_tree(**where, recursive=True, revision=revision)
        return {file.path: file.blob_id for file in tree if file.path in parcel.files and hasattr(file, "blob_id")}

    try:
        return named[1] if blobs(named[1]) == blobs(head) else head
    except RevisionNotFoundError:
        return head


# the command


@contextmanager
def _exit_codes() -> Iterator[None]:
    """What people can mend becomes one line: exit code 2 for bad input, 1 for what the Hub refused."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError

    from modeling_knowfree.rows_knowfree import InputError

    try:
        yield
    except InputError as error:
        click.echo(f"knowfree: {error}", err=True)
        sys.exit(2)
    except HfHubHTTPError as error:
        message = error.server_message or str(error)
        click.echo(f"knowfree: the Hub refused: {' '.join(message.split())}", err=True)
        sys.exit(1)
    except TransportError as error:
        click.echo(f"knowfree: the Hub cannot be reached ({error}); push again, finished uploads are kept", err=True)
        sys.exit(1)


_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("run", type=_FOLDER, required=False)
@click.option("--repo_id", required=True, help="OWNER/NAME of the model; the others are named after it.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Push only this part; repeatable.")
@click.option("--model", type=_FOLDER, help="Trained folder.  [default: RUN/model]")
@click.option("--augmented", type=_FOLDER, help="Folder of `knowfree augment`.  [default: RUN/augmented]")
@click.option("--results", type=_FILE, help="Scores over seeds.  [default: RUN/results.jsonl, where it is there]")
@click.option("--card", type=_FILE, help="What no file of the run knows.  [default: RUN/card.yaml, where it is there]")
@click.option("--license", help="Of the model: an identifier of the Hub, such as apache-2.0.")
@click.option("--dataset_license", help="Of the data set; its source's licence binds it.")
@click.option("--language", multiple=True, help="ISO 639 code; repeatable.")
@click.option("--drop-extension-labels", is_flag=True, help="Leave the extension columns out of the weights.")
@click.option("--public", is_flag=True, help="New repositories are visible to everyone.  [default: private]")
@click.option("--dry-run", is_flag=True, help="List every file, its size, and the card; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what was pushed as JSON.")
def push(run: Path | None, repo_id: str, only: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Push a run's model, data set, metric and Space to the Hub: each alone, or all.

    \b
    knowfree push runs/weibo --repo_id me/weibo-knowfree --dry-run     look first
    knowfree push runs/weibo --repo_id me/weibo-knowfree               all four, private
    knowfree push --only model --model runs/mine --repo_id me/mine --license apache-2.0

    All four are OWNER/NAME (model), OWNER/NAME-aug (data set), OWNER/span_f1 (metric), OWNER/NAME-demo (Space).
    Pushing again updates them. The licence and what else no file of the run knows stand in RUN/card.yaml:

    \b
    license: apache-2.0              of the model
    dataset_license: cc-by-sa-4.0    of the data set
    language: zh
    base_model: bert-base-chinese
    variant: KnowFREE-FS             or KnowFREE, KnowFREE-F
    source: {name: Weibo NER, url: "…", license: "…", dataset_id: "…"}
    label_meanings: {PER.NAM: a person's name}
    """
    with _exit_codes():
        from huggingface_hub import HfApi, get_token

        parts = only or PARTS
        with TemporaryDirectory() as work:
            parcels = pack(run, repo_id, parts, Path(work), **options)
            token = get_token()
            for parcel in parcels:
                check(parcel, token)
            if options["dry_run"]:
                for parcel in parcels:
                    _show(parcel, public=options["public"])
                return
            _need_token(token)
            pushed = []
            for parcel in parcels:
                click.echo(f"{parcel.repo_id}: {_summary(parcel)}", err=True)
                pushed.append(push_parcel(parcel, HfApi(), private=not options["public"]))
        _tell(pushed, as_json=as_json)
        if "space" in parts and not options["public"]:
            click.echo("The Space needs a secret HF_TOKEN, one that may read, to load a private model.", err=True)


def pack(run: Path | None, repo_id: str, parts: tuple[str, ...], work: Path, **options: Any) -> list[Parcel]:
    """
    The parcels of a push, data set first: the model's card names it.

    Raises:
        InputError: a part that is missing or not whole, a repository id that the Hub would refuse.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    from hub_cards.details import CARD_FILE, read_details
    from modeling_knowfree.rows_knowfree import InputError

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"--repo_id {repo_id}: {error}") from error
    if repo_id.count("/") != 1:
        raise InputError(f"--repo_id {repo_id}: write OWNER/NAME")
    if run is not None and not run.is_dir():
        raise InputError(f"{run}: no such folder; give the folder of a run, or --model and --augmented")

    def part(option: str, name: str, *, needed: bool) -> Path | None:
        if options[option]:
            return options[option]
        if run is None and needed:
            raise InputError(f"no run folder: give it, or --{option}")
        path = run / name if run is not None else None
        return path if path is not None and (needed or path.exists()) else None

    details = read_details(
        part("card", CARD_FILE, needed=False),
        **{name: options[name] for name in ("license", "dataset_license", "language")},
    )
    owner = repo_id.split("/")[0]
    metric_id, dataset_id = f"{owner}/{METRIC}", f"{repo_id}-aug"
    parcels = []
    if "dataset" in parts:
        (work / "dataset").mkdir()
        augmented = part("augmented", "augmented", needed=True)
        assert augmented is not None
        parcels.append(pack_dataset(augmented, dataset_id, details, work / "dataset"))
    if "metric" in parts:
        parcels.append(pack_metric(metric_id))
    if "model" in parts:
        (work / "model").mkdir()
        folder = part("model", "model", needed=True)
        assert folder is not None
        parcels.append(
            pack_model(
                folder,
                repo_id,
                details,
                work / "model",
                results=part("results", "results.jsonl", needed=False),
                augmented=part("augmented", "augmented", needed=False),
                drop_extension_labels=options["drop_extension_labels"],
                dataset_id=dataset_id if "dataset" in parts else None,
                metric_id=metric_id if "metric" in parts else None,
            )
        )
    if "space" in parts:
        parcels.append(pack_space(f"{repo_id}-demo", [repo_id]))
    return parcels


def _need_token(token: str | None) -> None:
    from modeling_knowfree.rows_knowfree import InputError

    if token is None:
        raise InputError("no Hub token; run `hf auth login`, or set HF_TOKEN to one that may write")


def _size(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count} B"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"


def _summary(parcel: Parcel) -> str:
    sizes = parcel.sizes()
    return f"{parcel.part}, {len(sizes)} files, {_size(sum(sizes.values()))}"


def _show(parcel: Parcel, *, public: bool) -> None:
    click.echo(f"== {parcel.repo_id}: {_summary(parcel)}, {'public' if public else 'private'} if new")
    for path, size in parcel.sizes().items():
        click.echo(f"{size:>12,}  {path}")
    for name, value in parcel.variables.items():
        click.echo(f"variable {name}={value}")
    click.echo(f"-- README.md\n{parcel.card(None)}")


def _tell(pushed: list[dict[str, Any]], *, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(pushed))
        return
    for each in pushed:
        seen = "private" if each["private"] else "public"
        click.echo(f"{each['repo_type']} {each['repo_id']} ({seen}): revision {each['revision']}")


if __name__ == "__main__":
    push()
