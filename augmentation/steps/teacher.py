"""The LLM as a teacher (S11): how good it is on these labels, told from the gold in two folds, and what it says of
texts without labels."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from augmentation.llm.dialogue import Work
from augmentation.steps.annotator import TargetSettings, gold_pairs
from augmentation.steps.asking import Annotation, AnnotationSettings
from augmentation.steps.explanations import sentence_key
from augmentation.steps.normalisation import Embed, unit_length
from augmentation.steps.verification import annotate_targets
from modeling_knowfree.data.rows import Row
from modeling_knowfree.metrics import LabelledSpan, span_scores
from modeling_knowfree.units_knowfree import join_units

TEACHER_FILE = "teacher.json"
RESAMPLES, LEVEL = 1000, 0.95
PRIOR_SPANS = 5
"""A label's precision counts as if so many more of its spans had been seen, at the precision of all labels."""

Example = tuple[str, tuple[tuple[str, str], ...]]


def fold_of(keys: Sequence[str], seed: int) -> list[int]:
    """0 or 1 for each key: two halves, drawn by `seed`; equal keys (one text twice in the gold) in one fold."""
    distinct = sorted(set(keys))
    random.Random(seed).shuffle(distinct)
    place = {key: at % 2 for at, key in enumerate(distinct)}
    return [place[key] for key in keys]


class Examples:
    """
    Gold sentences to show.

    Args:
        gold: texts with their (entity, label) pairs.
        limit: the most that one prompt shows.
        embed: measures which are nearest to a text, where not all fit.
    """

    def __init__(self, gold: Sequence[Example], limit: int, embed: Embed) -> None:
        self.gold = gold
        self.limit = limit
        self._embed = embed
        self._texts: dict[str, np.ndarray] = {}

    @cached_property
    def _vectors(self) -> np.ndarray:
        return unit_length(self._embed([text for text, _ in self.gold]))

    def know(self, texts: Iterable[str]) -> None:
        """Embed texts that will be asked about, all at once, if examples have to be chosen for them."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if len(self.gold) > self.limit > 0 and fresh:
            self._texts |= dict(zip(fresh, unit_length(self._embed(fresh)), strict=True))

    def of(self, text: str, among: Sequence[int] | None = None) -> tuple[Example, ...]:
        """Examples for a text, of the gold `among` (indices; all by default): all in order where they fit, else the
        nearest ones (cosine), the nearest last."""
        among = range(len(self.gold)) if among is None else among
        if len(among) <= self.limit:
            return tuple(self.gold[at] for at in among)
        if self.limit == 0:
            return ()
        self.know([text])
        near = self._vectors[list(among)] @ self._texts[text]
        order = np.argsort(-near, kind="stable")[: self.limit][::-1]
        return tuple(self.gold[among[at]] for at in order)


@dataclass
class Teacher:
    """
    Asks the LLM for the task's own labels: on the gold, each half after reading the other, and on the pool.

    Args:
        gold: rows.
        unit: of the rows.
        annotation: how rows are asked about.
        targets: labels, descriptions, guidelines; its examples are not used.
        limit: of examples in a prompt.
        seed: of the folds.
        embed: see `Examples`.
        guidelines: that the LLM induced, see `guideline.GUIDELINE_FILES`; each goes before those of `targets`.
    """

    gold: Sequence[Row]
    unit: str
    annotation: AnnotationSettings
    targets: TargetSettings
    limit: int
    seed: int
    embed: Embed
    guidelines: Mapping[str | int, str] = field(default_factory=dict)

    @cached_property
    def _examples(self) -> Examples:
        shown = [(self._text(row["tokens"]), gold_pairs(row, self.unit)) for row in self.gold]
        return Examples(shown, self.limit, self.embed)

    @cached_property
    def folds(self) -> list[int]:
        """The fold of each gold row."""
        return fold_of([sentence_key(self._text(row["tokens"])) for row in self.gold], self.seed)

    def _text(self, tokens: Sequence[str]) -> str:
        return join_units(tokens, self.unit)[0]

    def others(self, at: int) -> list[int]:
        """The gold rows that the probe of row `at` may show: those of the other fold."""
        return [other for other, fold in enumerate(self.folds) if fold != self.folds[at]]

    def probe_work(self, at: int) -> Work[Annotation]:
        """Gold row `at`, tagged after reading the other fold alone."""
        return self._work(self.gold[at], self.others(at), self.guidelines.get(1 - self.folds[at]))

    def pool_work(self, row: Row) -> Work[Annotation]:
        """A text of the pool, tagged after reading all gold."""
        return self._work(row, None, self.guidelines.get("all"))

    def know(self, rows: Iterable[Row]) -> None:
        """Embed texts that will be asked about, where examples have to be chosen."""
        self._examples.know(self._text(row["tokens"]) for row in rows)

    def _work(self, row: Row, among: Sequence[int] | None, guideline: str | None) -> Work[Annotation]:
        examples = self._examples.of(self._text(row["tokens"]), among)
        targets = replace(self.targets.guided(guideline), examples=examples)
        return annotate_targets(row["id"], row["tokens"], self.annotation, targets)

    def report(self, probed: Sequence[Annotation]) -> dict[str, Any]:
        """
        The measured part of teacher.json: the keys of `evaluate --json`, `intervals`, `folds`.

        Args:
            probed: what `probe_work` found, by gold row; a row without an answer found nothing.
        """
        gold = [[(span["start"], span["end"], span["label"]) for span in row["entities"]] for row in self.gold]
        found = [target_triples(annotation) for annotation in probed]
        folds = []
        for fold in (0, 1):
            rows = [at for at, of in enumerate(self.folds) if of == fold]
            scores = span_scores([gold[at] for at in rows], [found[at] for at in rows])
            folds.append(
                {
                    "rows": len(rows),
                    "examples": min(self.limit, len(self.gold) - len(rows)),
                    **{name: scores[name] for name in ("f1", "precision", "recall")},
                }
            )
        return {**span_scores(gold, found), "intervals": intervals(gold, found, seed=self.seed), "folds": folds}


def target_triples(annotation: Annotation) -> list[LabelledSpan]:
    """Target spans as `(start, end, label)`, each once."""
    return list(dict.fromkeys((span.start, span.end, span.type) for span in annotation.entities))


def intervals(
    gold: Sequence[Iterable[LabelledSpan]], found: Sequence[Iterable[LabelledSpan]], *, seed: int
) -> dict[str, Any]:
    """
    `[low, high]` of `f1`, `precision` and `recall` over all labels, and of each label's F1 (`per_label`): percentiles
    of scores over sentences drawn anew with replacement.
    """
    labels = sorted({str(label) for spans in (*gold, *found) for _, _, label in spans})
    column = {label: at for at, label in enumerate(labels)}
    counts = np.zeros((3, len(gold), len(labels)))  # wanted, given, right; by sentence and label
    for at, (of_gold, of_found) in enumerate(zip(map(set, gold), map(set, found), strict=True)):
        for kind, spans in enumerate((of_gold, of_found, of_gold & of_found)):
            for _, _, label in spans:
                counts[kind, at, column[str(label)]] += 1
    draws = np.random.default_rng(seed).multinomial(len(gold), np.full(len(gold), 1 / len(gold)), size=RESAMPLES)
    by_label = np.einsum("rs,ksl->krl", draws, counts)  # kind, resample, label
    wanted, given, right = by_label.sum(axis=2)

    def interval(top: np.ndarray, below: np.ndarray) -> list[float]:
        ratios = np.divide(top, below, out=np.zeros_like(top), where=below > 0)
        low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return [round(float(low), 4), round(float(high), 4)]

    return {
        "f1": interval(2 * right, wanted + given),
        "precision": interval(right, given),
        "recall": interval(right, wanted),
        "per_label": {
            label: interval(2 * by_label[2, :, at], by_label[0, :, at] + by_label[1, :, at])
            for label, at in column.items()
        },
        "level": LEVEL,
    }


def label_precision(report: Mapping[str, Any], labels: Iterable[str]) -> dict[str, float]:
    """The teacher's precision by label, drawn towards that of all labels where few of its spans were seen."""
    scores = report["per_label"]
    overall = report["precision"]
    found = {label: scores.get(label, {"precision": 0.0, "predicted": 0}) for label in labels}
    return {
        label: (one["precision"] * one["predicted"] + overall * PRIOR_SPANS) / (one["predicted"] + PRIOR_SPANS)
        for label, one in found.items()
    }


def teacher_table(report: Mapping[str, Any]) -> str:
    """teacher.json for people: a line a label."""
    width = max(5, *(len(label) for label in report["per_label"])) if report["per_label"] else 5
    lines = [f"{'label':<{width}}  {'F1':>6}  {'interval':>13}  {'prec':>6}  {'recall':>6}  {'gold':>5}  {'found':>5}"]

    def line(name: str, row: Mapping[str, Any], interval: Sequence[float], gold: int, found: int) -> str:
        low, high = (f"{100 * bound:.1f}" for bound in interval)
        ratios = [f"{100 * row[key]:6.1f}" for key in ("f1", "precision", "recall")]
        return f"{name:<{width}}  {ratios[0]}  {f'{low}-{high}':>13}  {ratios[1]}  {ratios[2]}  {gold:>5}  {found:>5}"

    for label, row in report["per_label"].items():
        of_label = report["intervals"]["per_label"][label]
        lines.append(line(label, row, of_label, row["support"], row["predicted"]))
    lines.append(line("all", report, report["intervals"]["f1"], report["gold_spans"], report["predicted_spans"]))
    return "\n".join(lines)
