"""A run's folder: whether it is one, and the settings in it."""

import os
from pathlib import Path

from modeling_knowfree.data.rows import InputError
from modeling_knowfree.files import write_whole
from modeling_knowfree.settings import parse_settings, read_settings

from .results import RESULTS_FILE, usable_results
from .settings import AUGMENTED, CELL_FILE, HEADING, MODEL, REPORT_FILE, RUN_FILE, RunSettings, run_text


def check_own(folder: Path) -> None:
    """
    Check that a run made a folder, or that nothing lies there which a run would replace. A results.jsonl of another
    folder may lie there by itself: the run carries it on.

    Raises:
        InputError: names what would be replaced.
    """
    run_file = folder / RUN_FILE
    if run_file.is_file() and run_file.read_bytes().startswith(f"# {HEADING}".encode()):
        return
    if next(folder.glob(f"*/*/seed-*/{CELL_FILE}"), None):
        return
    results = folder / RESULTS_FILE
    foreign = [folder / name for name in (RUN_FILE, MODEL, AUGMENTED, REPORT_FILE) if (folder / name).exists()]
    if results.is_file() and not usable_results(results):
        foreign.append(results)
    if foreign:
        raise InputError(f"{foreign[0]}: no run made it, and this one would replace it; name another --output_dir")


def write_settings(folder: Path, settings: RunSettings) -> None:
    """`run.yaml`, unless it says the same already: what people note in it stays."""
    here = {"called_from": os.path.relpath(Path.cwd(), folder.resolve())}
    text, path = run_text(settings.model_copy(update=here)), folder / RUN_FILE
    try:
        if read_settings(path) == parse_settings(text.encode(), str(path)):
            return
    except InputError:  # none, or a damaged one
        pass
    write_whole(path, text)
