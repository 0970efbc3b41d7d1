"""The paper's F1 beside that of a run, where the data set is one of the paper's."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import as_file, files
from typing import NamedTuple

from modeling_knowfree.settings import read_settings

from ..run.results import FinishedRun

_ALSO_CALLED = {
    "cmeee": "cmeeev2",
    "conll2003": "conll03",
    "udzh": "ud",
    "stockmark": "stockmarkner",
    "stockmarkja": "stockmarkner",
    "naver": "naverchangwonner",
    "naverner": "naverchangwonner",
}
_SIZE = re.compile(r"(?:train_|n)?(\d+)")


class Printed(NamedTuple):
    """A figure of the paper: where it stands, what the paper calls the system, F1 in percent as printed."""

    table: str
    system: str
    f1: str


def printed(dataset: str, subset: str, variant: str) -> list[Printed]:
    """What the paper prints for a variant on a data set and subset (`k5`, `250`, `all`), in the order of its tables."""
    name = _plain(dataset)
    size = _SIZE.fullmatch(subset)
    wanted = {(name, size[1] if size else subset), (name, "any")}
    return [figure for key, variants, figure in _figures() if key in wanted and variant in variants]


def beside(run: FinishedRun) -> list[tuple[str, str, list[Printed]]]:
    """(subset, variant, the paper's figures) of a run, without those that the paper has none for."""
    return [
        (subset, variant, found)
        for subset in run.subsets
        for variant in run.variants(subset)
        if (found := printed(run.cells[0].dataset, subset, variant))
    ]


@cache
def _figures() -> tuple[tuple[tuple[str, str], tuple[str, ...], Printed], ...]:
    return tuple(_read())


def _read() -> Iterator[tuple[tuple[str, str], tuple[str, ...], Printed]]:
    with as_file(files(__package__) / "paper.yaml") as path:
        tables = read_settings(path)
    for table, content in tables.items():
        columns = [(_plain(name), str(size)) for name, sizes in content["columns"].items() for size in sizes]
        for row in content["rows"]:
            for column, f1 in zip(columns, row["f1"].split(), strict=True):
                if f1 != "-":
                    yield column, tuple(row["variants"]), Printed(table, row["system"], f1.replace("±", " ± "))


def _plain(dataset: str) -> str:
    name = re.sub(r"[^a-z0-9]", "", dataset.lower())
    return _ALSO_CALLED.get(name, name)
