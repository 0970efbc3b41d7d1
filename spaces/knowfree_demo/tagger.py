"""Models of the Space, and what they saw in the last texts: one run of the encoder serves every threshold."""

import json
import os
import re
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from transformers import pipeline

try:
    from modeling_knowfree.inference.tag import load_pipeline
except ModuleNotFoundError:
    load_pipeline = None  # type: ignore[assignment]  # a Space has nothing but its own files

FLOOR = 0.05  # probability under which no hit is kept: where the threshold slider begins
MOST_HITS = 20_000  # kept of a text; an untrained model would have a hit for nearly every cell
CELLS_AT_ONCE = 100_000  # span cells of one run of the encoder
REMEMBERED = 32  # texts whose hits each model keeps
MOST_REMEMBERED = 300_000  # characters and hits of these together
DEMO_RUNS = ("demo-zh", "demo-en")
# Hub ids or folders, separated by commas.
MODELS = "KNOWFREE_MODELS"


class Prediction(NamedTuple):
    """A span of a text: characters `[start, end)`, its target label, probability, and the logits of the model's
    extension labels there, empty where it has none."""

    start: int
    end: int
    label: str
    score: float
    extension_logits: list[float]


class Tagger:
    """
    A KnowFREE model with its memory of recent texts. Several threads may share it.

    Args:
        model: Hub id or folder. Where this project is installed its own classes load it, and no code of the model's
            runs; elsewhere its code is run, as `trust_remote_code` says: name models you trust.
        name: how the page calls it.

    Raises:
        ValueError: not a KnowFREE model; and whatever `pipeline` raises for one that cannot be loaded.
    """

    def __init__(self, model: str, name: str):
        self.name = name
        self.pipe = (
            pipeline("knowfree", model=model, trust_remote_code=True) if load_pipeline is None else load_pipeline(model)
        )
        self.config = self.pipe.model.config
        if self.config.model_type != "knowfree":
            raise ValueError(f"a {self.config.model_type} model, not a KnowFREE one")
        if not hasattr(self.pipe, "find"):
            raise ValueError("its code is of an older version; load it with the knowfree package and save it again")
        self._seen: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()  # of the memory, and of the tokenizer, which no two threads may use at once

    def tag(
        self, text: str, threshold: float, decoding: str | None, progress: Callable[[int, int], Any] | None = None
    ) -> list[Prediction]:
        """
        The spans of `text`, as the model's pipeline finds them; the encoder runs only for a text it has not seen.

        Args:
            threshold: probability from `FLOOR` up.
            decoding: `flat`, `nested`, `all`, or `None` for the model's own.
            progress: called on the way with the parts of the text that are done, and all.
        """
        found = self._look(text, progress)
        return [self._prediction(found, span) for span in self.pipe.postprocess(found, threshold, decoding)]

    def extensions(self, text: str, threshold: float, decoding: str | None) -> list[Prediction]:
        """The spans of extension labels: what the model learnt beside its targets, no part of its answer."""
        found = self._look(text)
        return [
            Prediction(span["start"], span["end"], span["entity_group"], span["score"], [])
            for span in self.pipe.extension_spans(found, threshold, decoding)
        ]

    def floor(self, text: str) -> float:
        """Probability above which `tag` answers completely for this text; `FLOOR` unless hits were too many."""
        return self._look(text).floor

    def units(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of the units of `text`."""
        return self._look(text).document.offsets

    def _prediction(self, found: Any, span: dict[str, Any]) -> Prediction:
        logits = []
        if found.extension_logits:
            offsets = found.document.offsets
            first = bisect_left(offsets, span["start"], key=lambda unit: unit[0])
            last = bisect_left(offsets, span["end"], key=lambda unit: unit[1])
            logits = found.extension_logits[first, last + 1].tolist()
        return Prediction(span["start"], span["end"], span["entity_group"], span["score"], logits)

    def tag_batch(self, rows: list[dict[str, Any]], threshold: float, decoding: str | None) -> list[list[dict]]:
        """Spans of rows that all have `text`, or all have `tokens`; offsets count characters or tokens."""
        split = "tokens" in rows[0]
        options: dict[str, Any] = {"threshold": threshold} | ({"decoding": decoding} if decoding else {})
        with self._lock:
            found = self.pipe(
                [row["tokens" if split else "text"] for row in rows], is_split_into_words=split, **options
            )
        return [
            [{"start": s["start"], "end": s["end"], "label": s["entity_group"], "score": s["score"], "word": s["word"]}
             for s in spans]
            for spans in found
        ]  # fmt: skip

    def _look(self, text: str, progress: Callable[[int, int], Any] | None = None) -> Any:
        """What the pipeline finds in a text, from the memory where it has been seen."""
        with self._lock:
            if text in self._seen:
                self._seen.move_to_end(text)
                return self._seen[text]
            documents = self.pipe.preprocess([text])
        [found] = self.pipe.find(
            documents,
            threshold=FLOOR,
            extensions=True,
            most_hits=MOST_HITS,
            spans_per_batch=CELLS_AT_ONCE,
            progress=progress,
        )
        with self._lock:
            self._seen[text] = found
            while len(self._seen) > 1 and (
                len(self._seen) > REMEMBERED or sum(map(_weight, self._seen.values())) > MOST_REMEMBERED
            ):
                self._seen.popitem(last=False)
        return found


def _weight(found: Any) -> int:
    return len(found.document.text) + len(found.hits) + len(found.extension_hits)


def load_taggers() -> tuple[list[Tagger], list[str]]:
    """
    The models that the environment variable `KNOWFREE_MODELS` names, or those of the checkout's demo run.

    Returns:
        What could be loaded, and a line for each model that could not.
    """
    taggers, problems = [], []
    for model, name in _named_models() or _demo_models():
        try:
            taggers.append(Tagger(model, name))
        except Exception as error:  # noqa: BLE001 -- a model's own code may raise anything; the page goes on without it
            problems.append(f"{name}: cannot be loaded: {_public(error, model, name):.300}")
    return taggers, problems


def _public(error: Exception, model: str, name: str) -> str:
    """What visitors may read of an error: no folder of this machine."""
    message = " ".join(str(error).split()) or type(error).__name__
    message = message.removeprefix(f"--model {model}: ").removeprefix("cannot be loaded: ")
    for written in (os.path.abspath(model), model):
        message = message.replace(written, name)
    return _FOLDERS.sub("…/", message)


# An absolute path but for its last part; not the path of a web address, nor a single slash.
_FOLDERS = re.compile(r"(?<![\w:/.…-])/(?:[^\s'\"/]+/)+")


def _named_models() -> list[tuple[str, str]]:
    """Ids by themselves, folders by the end of their paths, as much of it as tells them apart."""
    models = dict.fromkeys(model.strip() for model in os.environ.get(MODELS, "").split(",") if model.strip())
    parts = {model: [part for part in Path(model).parts if part != Path(model).anchor] for model in models}
    names = {}
    for model in models:
        if not (Path(model).is_absolute() or Path(model).is_dir()):
            names[model] = model
            continue
        others = [parts[other] for other in models if other != model]
        least = min(2, len(parts[model]))
        lengths = range(least, len(parts[model]) + 1)
        enough = next((n for n in lengths if all(other[-n:] != parts[model][-n:] for other in others)), lengths[-1])
        names[model] = "/".join(parts[model][-enough:])
    return list(names.items())


def _demo_models() -> list[tuple[str, str]]:
    """The models of `make demo`, the Chinese and the English run: every finished cell, or else the one in `model/`; of
    each run gold alone first."""
    here = Path(__file__).resolve().parent
    if here.parent.name != "spaces":
        return []
    found = []
    for number, run in enumerate(DEMO_RUNS):
        demo = here.parent.parent / "runs" / run
        for file in sorted(demo.glob("[!.]*/*/seed-*/config.json")) or sorted(demo.glob("**/config.json")):
            config = json.loads(file.read_text(encoding="utf-8"))
            if config.get("model_type") == "knowfree" and not file.parent.name.startswith("checkpoint-"):
                name = str(file.parent.relative_to(demo.parent))
                found.append((number, len(config.get("extension_labels", [])) > 0, name, str(file.parent)))
    return [(folder, name) for _, _, name, folder in sorted(found)]
