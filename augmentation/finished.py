"""Whether an augmentation has come to its end, and its results lie in its folder as it left them."""

from pathlib import Path

from augmentation.settings import COUNTS_FILE, STATE_FILE, Settings, state_of
from modeling_knowfree.data.rows import InputError, stored_in, stored_object


def number_of_lines(path: Path) -> int:
    """The lines of a file that end; 0 where there is no file."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def is_finished(folder: Path, settings: Settings) -> bool:
    """Whether all results of these settings are there, none of them shorter than it was written."""
    counts = folder / COUNTS_FILE
    try:
        with stored_in(counts):
            lines = stored_object(counts).get("lines", {})  # folders of before have no such numbers
            whole = all(number_of_lines(folder / name) == number for name, number in lines.items())
        return whole and stored_object(folder / STATE_FILE) == state_of(folder, settings)
    except InputError:
        return False
