"""Models of the Space, and what they saw in the last texts: one run of the encoder serves every threshold."""

import json
import math
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import pipeline

try:
    from modeling_knowfree.inference.tag import load_pipeline
except ModuleNotFoundError:
    load_pipeline = None  # type: ignore[assignment]  # a Space has nothing but its own files

FLOOR = 0.05  # probability under which no hit is kept: where the threshold slider begins
MOST_HITS = 2000  # hits kept of a window; an untrained model would have a hit for nearly every cell
REMEMBERED = 32  # texts whose hits each model keeps
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


@dataclass
class Seen:
    """
    One model's view of one text.

    Attributes:
        document: what the pipeline makes of the text, with every hit above `floor` in each window.
        floor: probability above which the hits are complete.
        unit_at: the unit that begins at a character.
        unit_before: the unit that ends at a character.
        extension_logits: of the cells that hold hits, by their units `[start, end)`.
    """

    document: dict[str, Any]
    floor: float
    unit_at: dict[int, int]
    unit_before: dict[int, int]
    extension_logits: dict[tuple[int, int], torch.Tensor]


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
        # The model's own code, wherever it came from.
        self._code = import_module(type(self.pipe).__module__)
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._lock = threading.Lock()  # of the memory, and of the tokenizer, which no two threads may use at once

    def tag(self, text: str, threshold: float, decoding: str | None) -> list[Prediction]:
        """
        The spans of `text`, as the model's pipeline finds them; the encoder runs only for a text it has not seen.

        Args:
            threshold: probability from `FLOOR` up.
            decoding: `flat`, `nested`, `all`, or `None` for the model's own.
        """
        seen = self._look(text)
        document = {
            **seen.document,
            "windows": [
                {**window, "hits": [hit for hit in window["hits"] if hit.score > threshold]}
                for window in seen.document["windows"]
            ],
        }
        found = []
        for span in self.pipe.postprocess(document, decoding=decoding):
            start, end = span["start"], span["end"]
            logits = seen.extension_logits.get((seen.unit_at[start], seen.unit_before[end] + 1))
            extensions = [] if logits is None else logits.tolist()
            found.append(Prediction(start, end, span["entity_group"], span["score"], extensions))
        return found

    def floor(self, text: str) -> float:
        """Probability above which `tag` answers completely for this text; `FLOOR` unless hits were too many."""
        return self._look(text).floor

    def units(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of the units of `text`."""
        return self._look(text).document["offsets"]

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

    def _look(self, text: str) -> Seen:
        with self._lock:
            if text in self._seen:
                self._seen.move_to_end(text)
                return self._seen[text]
            document = self.pipe.preprocess([text])[0]
        seen = self._run(document)
        with self._lock:
            self._seen[text] = seen
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return seen

    @torch.inference_mode()
    def _run(self, document: dict[str, Any]) -> Seen:
        targets, extensions = len(self.config.target_labels), len(self.config.extension_labels)
        floor = FLOOR
        at_hits: dict[tuple[int, int], torch.Tensor] = {}
        for number, window in enumerate(document["windows"]):
            left, pieces = document["ranges"][number][0], window["pieces"]
            feature = {name: getattr(pieces, name) for name in ("input_ids", "unit_ids", "num_units")}
            batch = {name: value.to(self.pipe.device) for name, value in self.pipe.collate([feature]).items()}
            logits = self.pipe.model(**batch, output_extension_logits=extensions > 0).logits
            scores = logits[..., :targets]
            own = FLOOR
            if (scores > math.log(FLOOR / (1 - FLOOR))).sum() > MOST_HITS:
                own = scores.flatten().topk(MOST_HITS).values[-1].double().sigmoid().item()
            floor = max(floor, own)
            window["hits"] = self._code.find_hits(scores, own)[0]
            cells = {(hit.start, hit.end) for hit in window["hits"] if extensions}
            own_cells = [
                (start, end)
                for start, end in cells
                if self._code.owner(start + left, end + left, document["ranges"]) == number
            ]
            if own_cells:
                starts, ends = torch.tensor(own_cells).T
                values = logits[0, starts, ends - starts - 1, targets:].cpu()  # a copy: the logits are let go
                at_hits.update(((s + left, e + left), row) for (s, e), row in zip(own_cells, values, strict=True))
        offsets = document["offsets"]
        unit_at = {start: unit for unit, (start, _) in enumerate(offsets)}
        unit_before = {end: unit for unit, (_, end) in enumerate(offsets)}
        return Seen(document, floor, unit_at, unit_before, at_hits)


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
