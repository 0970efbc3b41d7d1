"""Which texts are worth a label next (S11): at random, where a model is in doubt, spread out, or both.

The literature is sober: gains over chance do not carry over from model to model reliably (Lowell et al. 2019), so
`augment`, which has no model to ask, picks by chance.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from augmentation.steps.normalisation import unit_length

Pick = Literal["random", "uncertain", "diverse", "both"]
PICKS: tuple[Pick, ...] = get_args(Pick)
SHINGLE = 3
NEAR_DUPLICATE = 0.8
"""Jaccard similarity of character trigrams from which two texts are one."""
DOUBTFUL_SHARE = 5
"""`both` spreads the picks over so many times as many doubtful texts."""
DOUBT_THRESHOLD = 0.02
"""Spans under this probability are no doubt worth counting."""


def pick(
    number: int,
    texts: Sequence[str],
    *,
    how: Pick,
    seed: int,
    taken: Sequence[int] = (),
    doubts: Sequence[float] | None = None,
    embed: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> list[int]:
    """
    The indices of `number` texts, fewer where there are not so many that differ; the same for the same arguments.

    Args:
        how: `random`; `uncertain`: greatest doubt first; `diverse`: nearest to the centres of `number` clusters;
            `both`: clusters of the most doubtful texts, weighted by their doubt (Zhdanov 2019).
        taken: picked before; neither these nor their near-duplicates are picked again.
        doubts: of a model, by text (`doubt_of`); for `uncertain` and `both`.
        embed: vectors of texts `[n, d]`; for `diverse` and `both`.
    """
    chosen = _Unlike(texts, taken)
    before = set(taken)
    left = [at for at in range(len(texts)) if at not in before]
    random.Random(f"{seed}:{len(taken)}").shuffle(left)
    if how in ("uncertain", "both"):
        assert doubts is not None, f"{how} needs doubts"
        left.sort(key=lambda at: -doubts[at])  # stable: equals stay in random order
    if how in ("diverse", "both") and len(left) > number:
        assert embed is not None, f"{how} needs vectors"
        among = left[: DOUBTFUL_SHARE * number] if how == "both" else left
        weights = [doubts[at] for at in among] if how == "both" and doubts is not None else None
        centres = _nearest_to_centres(embed([texts[at] for at in among]), number, weights, seed)
        first = dict.fromkeys(among[at] for at in centres)
        left = [*first, *(at for at in left if at not in first)]
    for at in left:
        if len(chosen.new) == number:
            break
        chosen.add(at)
    return chosen.new


def _nearest_to_centres(vectors: np.ndarray, number: int, weights: Sequence[float] | None, seed: int) -> list[int]:
    """One text a cluster, the nearest to its centre."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    unit = unit_length(vectors)
    sample_weight = None if weights is None or not any(weights) else np.asarray(weights, dtype=float) + 1e-9
    kind = KMeans if len(unit) <= 5000 else MiniBatchKMeans
    distances = kind(n_clusters=number, n_init=1, random_state=seed).fit_transform(unit, sample_weight=sample_weight)
    found: dict[int, None] = {}
    for centre in range(number):
        found[int(distances[:, centre].argmin())] = None
    return list(found)


class _Unlike:
    """Texts that are no near-duplicates of each other."""

    def __init__(self, texts: Sequence[str], taken: Iterable[int]) -> None:
        self.texts = texts
        self.new: list[int] = []
        self._shingles: list[frozenset[str]] = []
        self._with: dict[str, list[int]] = {}  # shingle -> which of `_shingles` have it in their prefix
        for at in taken:
            self._keep(_shingles(texts[at]))

    def add(self, at: int) -> None:
        """Take a text unless one like it is taken."""
        shingles = _shingles(self.texts[at])
        for other in {other for shingle in _prefix(shingles) for other in self._with.get(shingle, ())}:
            both = len(shingles & self._shingles[other])
            if both >= NEAR_DUPLICATE * (len(shingles) + len(self._shingles[other]) - both):
                return
        self._keep(shingles)
        self.new.append(at)

    def _keep(self, shingles: frozenset[str]) -> None:
        for shingle in _prefix(shingles):
            self._with.setdefault(shingle, []).append(len(self._shingles))
        self._shingles.append(shingles)


def _shingles(text: str) -> frozenset[str]:
    squeezed = "".join(text.casefold().split())
    return frozenset(squeezed[at : at + SHINGLE] for at in range(max(1, len(squeezed) - SHINGLE + 1)))


def _prefix(shingles: frozenset[str]) -> list[str]:
    """The first shingles in a fixed order, so many that near-duplicates share one of them (Chaudhuri et al. 2006)."""
    size = len(shingles)
    return sorted(shingles)[: size - math.ceil(NEAR_DUPLICATE * size - 1e-9) + 1]


def doubt_of(spans: Iterable[Mapping[str, Any]], units: int) -> float:
    """How unsure a model is of a text: the decisions that it expects to get wrong, by the root of the text's length.

    Args:
        spans: with their `score`, those under the threshold too (down to `DOUBT_THRESHOLD`).
        units: of the text.
    """
    return sum(min(span["score"], 1 - span["score"]) for span in spans) / max(1, units) ** 0.5
