"""`knowfree push`: a run's model, data set, metric and Space, each as a complete repository on the Hub.

Heavy imports stay inside the functions: `knowfree --help` answers at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from knowfree_hub_cards.parcels import Parcel

PARTS = ("model", "dataset", "metric", "space")
MADE_BEFORE = {".gitattributes", ".gitignore", "README.md", "LICENSE"}
"""What a repository may hold that the Hub or its owner made before anything was pushed."""
PINNED = re.compile(r'revision="([0-9a-f]{40})"')


def push_parcel(parcel: Parcel, api: HfApi, *, private: bool = True) -> dict[str, Any]:
    """
    Create or update the repository; repeating it, after an interruption too, ends in the same state.

    All files but a pinned card are one commit. The card follows in a second one, because it names the first; where
    nothing changed, it goes on naming the commit that it named.

    Args:
        private: of a repository that does not exist yet; of one that does, who may see it stays as it is.

    Returns:
        `repo_id`, `repo_type`, `private`, `revision` (the commit with these files) and `commit` (the last one).

    Raises:
        InputError: the folder that was packed is no longer what it was.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from knowfree_hub_cards.parcels import may_be_left

    where: dict[str, Any] = {"repo_id": parcel.repo_id, "repo_type": parcel.repo_type}
    if parcel.source:
        parcel.source.check()
    api.create_repo(**where, private=private, exist_ok=True, space_sdk=parcel.sdk)
    before = api.repo_info(**where)
    present = api.list_repo_files(**where, revision=before.sha)
    operations: list[Any] = [CommitOperationAdd(path, content) for path, content in parcel.files.items()]
    operations += [
        CommitOperationDelete(path) for path in present if path not in parcel.files and may_be_left(parcel.part, path)
    ]
    if not parcel.pinned:
        operations.append(CommitOperationAdd("README.md", parcel.card(None).encode()))
    if parcel.source:  # once more: the operations have the hashes of the large files by now
        parcel.source.check()
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


def refuse_foreign(parcel: Parcel, api: HfApi) -> None:
    """
    Before anything is pushed: nobody else's repository is taken over.

    Raises:
        InputError: it exists with files that no push made.
    """
    from huggingface_hub.errors import RepositoryNotFoundError
    from knowfree_hub_cards.parcels import SIGN

    from modeling_knowfree.data.rows import InputError

    try:
        present = set(api.list_repo_files(parcel.repo_id, repo_type=parcel.repo_type))
    except RepositoryNotFoundError:
        return
    if SIGN[parcel.part] not in present and (others := sorted(present - MADE_BEFORE)):
        raise InputError(
            f"{parcel.repo_id}: is a {parcel.repo_type} that no knowfree push made, with {', '.join(others[:3])}"
            f"{', …' if len(others) > 3 else ''}; nothing was pushed; give another --repo_id, leave the part out "
            "(--only), or empty that repository"
        )


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
@click.option("--drop_extension_labels", is_flag=True, help="Leave the extension columns out of the weights.")
@click.option("--public", is_flag=True, help="New repositories are visible to everyone.  [default: private]")
@click.option("--dry_run", is_flag=True, help="List every file, its size, and the card; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what was pushed as JSON.")
def push(run: Path | None, repo_id: str, only: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Push a run's model, data set, metric and Space to the Hub: each alone, or all.

    \b
    knowfree push runs/weibo --repo_id me/weibo-knowfree --dry_run     look first
    knowfree push runs/weibo --repo_id me/weibo-knowfree               all four, private
    knowfree push --only model --model runs/mine --repo_id me/mine --license apache-2.0

    All four are OWNER/NAME (model), OWNER/NAME-aug (data set), OWNER/span_f1 (metric), OWNER/NAME-demo (Space).
    Only a stated list of files leaves this machine (--dry_run shows it, and what stays), and none that holds what
    looks like a secret. Pushing again updates them. The licence and what else no file of the run knows stand in
    RUN/card.yaml:

    \b
    license: apache-2.0              of the model
    dataset_license: cc-by-sa-4.0    of the data set
    language: zh
    base_model: bert-base-chinese
    variant: KnowFREE-FS             or KnowFREE, KnowFREE-F
    source: {name: Weibo NER, url: "…", license: "…", dataset_id: "…", splits: {test: test}, annotated_by: found}
    label_meanings: {PER.NAM: a person's name}
    """
    from huggingface_hub import HfApi, get_token
    from knowfree_hub_cards.checks import check

    from modeling_knowfree.data.rows import InputError

    parts = only or PARTS
    if not only and run is not None and run.is_dir() and not (options["augmented"] or (run / "augmented").exists()):
        parts = tuple(part for part in PARTS if part != "dataset")
        click.echo(f"{run}: no augmented/, as where gold alone taught the model; no data set is pushed", err=True)
    with TemporaryDirectory() as work:
        token = get_token()
        if token and not (token.isascii() and token.isprintable()):
            raise InputError(
                "HF_TOKEN (or what `hf auth login` keeps) holds a character that no token has; copy it again"
            )

        def packed(*pushed_before: str) -> list[Parcel]:
            folder = Path(work) / "-".join(["parcels", *pushed_before])
            folder.mkdir()
            parcels = pack(run, repo_id, parts, folder, pushed_before, **options)
            for parcel in parcels:
                check(parcel, token)
            return parcels

        parcels = packed()
        if earlier := _pushed_before(repo_id, parts, token):  # asked when nothing is left to refuse
            parcels = packed(*earlier)
        for parcel in parcels:
            for note in parcel.notes:
                click.echo(note, err=True)
        if options["dry_run"]:
            for parcel in parcels:
                _show(parcel, public=options["public"])
            for parcel in parcels:
                if parcel.left_out:
                    click.echo(f"stays here, not on the list of {parcel.repo_id}: {', '.join(parcel.left_out)}")
            return
        _need_token(token)
        for parcel in parcels:
            refuse_foreign(parcel, HfApi())
        pushed = []
        for parcel in parcels:
            click.echo(f"{parcel.repo_id}: {_summary(parcel)}: {', '.join(parcel.sizes())}", err=True)
            pushed.append(push_parcel(parcel, HfApi(), private=not options["public"]))
    _tell(pushed, as_json=as_json)
    if "space" in parts and not options["public"]:
        click.echo("The Space needs a secret HF_TOKEN, one that may read, to load a private model.", err=True)


def _names(repo_id: str) -> dict[str, str]:
    """What the data set, the metric and the Space of a model are called."""
    from knowfree_hub_cards.parcels import METRIC

    return {
        "dataset": f"{repo_id}-aug",
        "metric": f"{repo_id.split('/')[0]}/{METRIC}",
        "space": f"{repo_id}-demo",
    }


def _pushed_before(repo_id: str, parts: tuple[str, ...], token: str | None) -> list[str]:
    """Of the data set and the metric those that an earlier call pushed, as far as the Hub can be asked."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    kinds = {"dataset": "dataset", "metric": "space"}
    names = _names(repo_id)
    asked = {part: kind for part, kind in kinds.items() if "model" in parts and part not in parts}
    try:
        return [part for part, kind in asked.items() if HfApi(token=token).repo_exists(names[part], repo_type=kind)]
    except (OSError, HTTPError):  # no network, no right to look
        return []


def pack(
    run: Path | None,
    repo_id: str,
    parts: tuple[str, ...],
    work: Path,
    pushed_before: Collection[str] = (),
    **options: Any,
) -> list[Parcel]:
    """
    The parcels of a push, data set first: the model's card names it, and what was `pushed_before`.

    Raises:
        InputError: a part that is missing or not whole, a repository id that the Hub would refuse.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id
    from knowfree_experiments.run.settings import LAYING_OUT, RUN_FILE
    from knowfree_hub_cards.details import CARD_FILE, read_details
    from knowfree_hub_cards.parcels import pack_dataset, pack_metric, pack_model, pack_space

    from modeling_knowfree.data.rows import InputError
    from modeling_knowfree.settings import read_settings

    names = _names(repo_id)
    try:
        for name in (repo_id, *(names[each] for each in parts if each in names)):
            validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"--repo_id {repo_id}: {error}") from error
    if repo_id.count("/") != 1:
        raise InputError(f"--repo_id {repo_id}: write OWNER/NAME")
    if run is not None and not run.is_dir():
        raise InputError(f"{run}: no such folder; give the folder of a run, or --model and --augmented")
    if run is not None and (run / LAYING_OUT).exists():
        raise InputError(f"{run}: stopped while model/ and augmented/ were laid out; run `knowfree run` again")

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
    if not details.language and run is not None and (run / RUN_FILE).is_file():
        language = read_settings(run / RUN_FILE).get("language")
        details = details.model_copy(update={"language": (language,) if isinstance(language, str) else ()})
    named = {part: name for part, name in names.items() if part in parts or part in pushed_before}
    parcels = []
    if "dataset" in parts:
        (work / "dataset").mkdir()
        augmented = part("augmented", "augmented", needed=True)
        assert augmented is not None
        parcels.append(pack_dataset(augmented, names["dataset"], details, work / "dataset"))
    if "metric" in parts:
        parcels.append(pack_metric(names["metric"]))
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
                dataset_id=named.get("dataset"),
                metric_id=named.get("metric"),
            )
        )
    if "space" in parts:
        parcels.append(pack_space(names["space"], [repo_id]))
    return parcels


def _need_token(token: str | None) -> None:
    from modeling_knowfree.data.rows import InputError

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
    if as_json:
        click.echo(json.dumps(pushed))
        return
    for each in pushed:
        seen = "private" if each["private"] else "public"
        click.echo(f"{each['repo_type']} {each['repo_id']} ({seen}): revision {each['revision']}")


if __name__ == "__main__":
    from knowfree import exit_codes, one_spelling

    with exit_codes():
        push(token_normalize_func=one_spelling)
