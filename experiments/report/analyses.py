"""The paper's two pictures of a finished run: extension against target logits (Figure 8), sentences in the plane
(Figure 5). What took long is kept in the run folder, so that a second report is fast."""

import hashlib
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from augmentation.steps.normalisation import sentence_encoder, unit_length
from modeling_knowfree.data.readers import InputError
from modeling_knowfree.data.rows import Row
from modeling_knowfree.files import write_whole
from modeling_knowfree.inference.tag import load_pipeline
from modeling_knowfree.units_knowfree import join_units

from ..run.results import RESULTS_FILE

logger = logging.getLogger(__name__)

CACHE_FILE = "analyses.json"
HEATMAP_SENTENCES = 400
MAP_SENTENCES = 300  # of each kind
BATCH_SIZE = 16
SEED = 0


class Analyses:
    """
    Results in `RUN/analyses.json`, each valid for the inputs it was made from.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CACHE_FILE
        self._kept = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}  # made anew: nothing in it is worth more than the time
        return kept if isinstance(kept, dict) else {}

    def get(self, name: str, inputs: Iterable[Path | str], compute: Callable[[], Any]) -> Any:
        """What `compute()` gives, as JSON has it; computed only where an input has changed: files (their bytes count)
        and settings (strings)."""
        key = hashlib.sha256()
        for item in inputs:
            key.update(_digest(item) if isinstance(item, Path) else hashlib.sha256(item.encode()).digest())
        entry = self._kept.get(name)
        if not isinstance(entry, dict) or entry.get("inputs") != key.hexdigest() or "result" not in entry:
            result = json.loads(json.dumps(compute()))
            self._kept[name] = {"inputs": key.hexdigest(), "result": result}
            try:
                write_whole(self.path, json.dumps(self._kept, ensure_ascii=False) + "\n")
            except OSError as error:
                logger.warning("%s: not kept (%s); the next report will take as long", self.path, error.strerror)
        return self._kept[name]["result"]


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        mend = f"run `knowfree run` again; of a cell that is but a line of {RESULTS_FILE} take the line out first"
        raise InputError(f"{path}: {error.strerror}; {mend}") from error


def draw(rows: Sequence[Row], limit: int) -> list[Row]:
    """`rows`, or `limit` of them drawn by a fixed seed, in their order."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(SEED).sample(range(len(rows)), limit))]


def extension_logits(model: str, rows: Sequence[Row], *, limit: int = HEATMAP_SENTENCES) -> dict[str, Any]:
    """
    Figure 8: how strongly each extension label answers where the model finds a target label.

    Args:
        model: folder of a model that was saved with its extension columns.
        rows: test sentences; `limit` of them are drawn.

    Returns:
        `targets` and `extensions` (names, in column order), `logits` (`[extensions][targets]`, the mean logit over the
        predicted spans of the target; None where it has none), `spans` (predicted spans of each target), `sentences`
        (read).

    Raises:
        InputError: no KnowFREE model there, or one without extension columns.
    """
    pipe = load_pipeline(model)
    config = pipe.model.config
    if not config.extension_labels:
        raise InputError(f"{model}: has no extension columns; name a model that was trained with extension labels")
    targets, extensions = config.target_labels, config.extension_labels
    column = {label: at for at, label in enumerate(targets)}
    drawn = draw(rows, limit)
    sums = torch.zeros(len(targets), len(extensions), dtype=torch.float64)
    spans = torch.zeros(len(targets), dtype=torch.int64)
    for start in tqdm(range(0, len(drawn), BATCH_SIZE), desc="extension logits", unit="batch"):
        documents = pipe.preprocess([row["tokens"] for row in drawn[start : start + BATCH_SIZE]], True)
        for found in pipe.find(documents, extensions=True, batch_size=BATCH_SIZE):
            for span in pipe.postprocess(found):
                target = column[span["entity_group"]]
                sums[target] += found.extension_logits[span["start"], span["end"]].double()
                spans[target] += 1
    means = (sums / spans[:, None]).T.tolist()
    return {
        "targets": targets,
        "extensions": extensions,
        "logits": [[mean if spans[at] else None for at, mean in enumerate(line)] for line in means],
        "spans": spans.tolist(),
        "sentences": len(drawn),
    }


def sentence_map(
    kinds: Mapping[str, Sequence[Row]], *, encoder: str, unit: str, limit: int = MAP_SENTENCES
) -> dict[str, Any]:
    """
    Figure 5: sentences of several kinds in one plane, near where an encoder finds them alike (t-SNE).

    Args:
        kinds: rows by kind, for example train, test and synthetic; `limit` of each are drawn.
        encoder: as in `augmentation.steps.normalisation.sentence_encoder`.
        unit: what the tokens are.

    Returns:
        `encoder`, `points` (by kind a list of `[x, y]`, both in [0, 1]), `totals` (by kind how many rows there were),
        `perplexity`.

    Raises:
        InputError: the encoder cannot be loaded, or there are fewer than five sentences.
    """
    from sklearn.manifold import TSNE

    drawn = {kind: draw(rows, limit) for kind, rows in kinds.items()}
    texts = [join_units(row["tokens"], unit)[0] for rows in drawn.values() for row in rows]
    if len(texts) < 5:
        raise InputError(f"{len(texts)} sentences: too few for a picture of how they lie")
    embed = sentence_encoder(encoder)
    with tqdm(total=2, desc="t-SNE", unit="step") as bar:
        vectors = unit_length(embed(texts))  # so that Euclid ranks as cosine
        bar.update()
        perplexity = min(30.0, (len(texts) - 1) / 3)
        plane = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(vectors)
        bar.update()
    low, high = plane.min(axis=0), plane.max(axis=0)
    plane = (plane - low) / np.maximum(high - low, 1e-12)
    points, at = {}, 0
    for kind, rows in drawn.items():
        points[kind] = plane[at : at + len(rows)].round(4).tolist()
        at += len(rows)
    return {
        "encoder": encoder,
        "points": points,
        "totals": {kind: len(rows) for kind, rows in kinds.items()},
        "perplexity": perplexity,
    }
