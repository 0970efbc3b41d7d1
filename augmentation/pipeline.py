"""The pipeline (S0-S6, S8, S9, S11): a file of gold rows in, fused, synthetic and pool rows out.

Everything is replayed from the stored answers: `Augmentation.ask` fetches what is missing, `Augmentation.write` builds
the files from what is there and parses each answer once. A second run asks nothing and writes the same bytes.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from augmentation.finished import number_of_lines, record_state
from augmentation.guideline_stage import GuidelineStage
from augmentation.kept import Kept, Told, failed, failure_line, provenance_of
from augmentation.llm.dialogue import Finished, Work, answer_all, both, finished
from augmentation.llm.runner import Progress, Runner
from augmentation.llm.tasks import Example, explanation_request
from augmentation.pool_stage import PoolAnswer, PoolStage
from augmentation.settings import COUNTS_FILE, RESULTS, Settings, check_state
from augmentation.steps.annotation import annotate
from augmentation.steps.annotator import SWAPPED, TargetSettings, gold_pairs
from augmentation.steps.asking import Annotation
from augmentation.steps.branches import annotate_synthetic
from augmentation.steps.explanations import FreeIds, Sentences, TokenStyle, sentence_key, sentence_keys
from augmentation.steps.fusion import fuse, label_counts
from augmentation.steps.label_merging import LabelMap, TypeClass, new_classes, type_classes
from augmentation.steps.normalisation import Embed, Proposal, label_map_json, next_label_map, propose_groups, unmerged
from augmentation.steps.pool import read_pool, windowed
from augmentation.steps.teacher import fold_of
from augmentation.strategies.mentions import is_certain
from augmentation.strategies.opening import open_strategy, open_swaps
from augmentation.strategies.seeds import SeedSentence
from augmentation.survey import Survey, check_answered, mentions, type_counts
from modeling_knowfree.data.readers import iterate_rows
from modeling_knowfree.data.rows import Row, write_rows
from modeling_knowfree.data.stored import stored_rows
from modeling_knowfree.files import write_whole
from modeling_knowfree.units_knowfree import infer_unit, join_units

STORE_FILE = "answers.sqlite"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explanation:
    """The prose that explains a row, None where it failed; `cut` by the token limit; `sample`: which of the row's."""

    text: str | None
    cut: bool = False
    sample: int = 0


class Augmentation:
    """
    One run folder.

    Args:
        folder: holds `augment.yaml`, the stored answers and the results.
        settings: as loaded from the folder.
        runner: asks the LLM and knows the stored answers.
        embed: the sentence encoder; needed by `write`, and where examples or texts of the pool are chosen by it.

    Raises:
        InputError: a row breaks the contract, a file is missing, the pool has no text that may be used, or the folder
            was made from other input or settings.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        runner: Runner,
        embed: Embed,
        *,
        accept_changes: bool = False,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.runner = runner
        self.embed = embed
        self.state = check_state(folder, settings, accept_changes=accept_changes)
        self.unit = settings.unit or infer_unit(self.rows())
        self.annotation = settings.annotation(self.unit)
        self._ids: set[str] = set()
        labels: set[str] = set()
        examples: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        source: set[str] = set()
        augmented = 0
        for row in self.rows(quiet=False):
            augmented += bool(row.get("extensions") or row.get("synthetic"))
            self._ids.add(row["id"])
            labels.update(entity["label"] for entity in row["entities"])
            source |= sentence_keys(self.text(row["tokens"]), self.unit)
            if len(examples) < settings.target_examples:
                examples.append((self.text(row["tokens"]), gold_pairs(row, self.unit)))
        if augmented:
            logger.warning("%d rows are augmented already: extensions go, what is synthetic counts as gold", augmented)
        told = TargetSettings(
            labels=tuple(sorted(labels)),
            examples=tuple(examples),
            guidelines=settings.guidelines,
            flat=settings.task != "nested_ner",
            descriptions=settings.described(labels),
            verify=settings.verify,
        )
        self.guidelines = GuidelineStage(folder, runner, self.annotation, told, self._guideline_examples())
        self.targets = told.guided(self.guidelines.told.get("all"))
        self.size = len(self._ids)
        self._source_keys = frozenset(source)
        held_out = {
            part: frozenset(
                key for row in self._read(folder / name) for key in sentence_keys(self.text(row["tokens"]), self.unit)
            )
            for part, name in (("dev", settings.dev_file), ("test", settings.test_file))
            if name
        }
        self._held_out_keys = frozenset().union(*held_out.values())
        self._style = TokenStyle.of(self.rows(), self.unit)
        self.strategy = open_strategy(settings, folder, map(self._seed_sentence, self.rows()), self.unit)
        self.swaps = open_swaps(settings, map(self._seed_sentence, filter(is_certain, self.rows())), self._style)
        pool = settings.unlabeled_file
        self.pool = self._open_pool(folder / pool, held_out, told) if pool else None

    def _guideline_examples(self) -> dict[str | int, list[Example]]:
        """By part the gold that its guideline is induced from; nothing is read where none is wanted."""
        parts = self.settings.guideline_parts
        shown = [(self.text(row["tokens"]), gold_pairs(row, self.unit)) for row in self.rows()] if parts else []
        folds = fold_of([sentence_key(text) for text, _ in shown], self.settings.seed)
        return {part: [one for one, fold in zip(shown, folds, strict=True) if part in ("all", fold)] for part in parts}

    def _open_pool(self, path: Path, held_out: dict[str, frozenset[str]], targets: TargetSettings) -> PoolStage:
        gold = list(self.rows())
        pool = read_pool(path, gold=gold, held_out=held_out, unit=self.unit, language=self.settings.language)
        if pool.doubt:
            logger.warning(pool.doubt)
        return PoolStage(
            folder=self.folder,
            settings=self.settings,
            runner=self.runner,
            pool=pool,
            gold=gold,
            annotation=self.annotation,
            targets=targets,
            embed=self.embed,
            guidelines=self.guidelines.told,
        )

    def rows(self, *, quiet: bool = True) -> Iterator[Row]:
        """The gold rows, read anew; what there is to tell of them was told at first."""
        flat = self.settings.task != "nested_ner"
        return self._read(self.folder / self.settings.train_file, quiet=quiet, flat=flat)

    def _read(self, path: Path, **options: Any) -> Iterator[Row]:
        return iterate_rows(path, task=self.settings.task, **options)

    def _seed_sentence(self, row: Row) -> SeedSentence:
        spans = sorted((span["start"], span["end"], span["label"]) for span in row["entities"])
        return SeedSentence(row["id"], tuple(row["tokens"]), tuple(spans), self.text(row["tokens"]))

    def text(self, tokens: Sequence[str]) -> str:
        """Tokens as the LLM is shown them."""
        return join_units(tokens, self.unit)[0]

    # the questions

    def source_work(self, row: Row) -> Work[tuple[Annotation, list[Explanation]]]:
        """All questions about a gold row that need no other row (S1-S3, S8)."""
        return (yield from both(annotate(row["id"], row["tokens"], self.annotation), self.explanation_work(row)))

    def explanation_work(self, row: Row) -> Work[list[Explanation]]:
        """The questions about a gold row from whose answers synthetic sentences come (S8)."""
        return self._explain(row) if self.settings.explain else _no_explanation()

    def _explain(self, row: Row) -> Work[list[Explanation]]:
        if self.strategy is not None:
            sentences = yield from self.strategy(row["id"])
            return [Explanation("\n".join(" ".join(sentence.split()) for sentence in sentences))]
        names = self.settings.type_names
        pairs = list(dict.fromkeys((text, names.get(label, label)) for text, label in gold_pairs(row, self.unit)))
        outcomes = yield [
            explanation_request(
                row["id"],
                self.text(row["tokens"]),
                pairs,
                language=self.settings.language,
                seed=self.settings.seed,
                sample=sample,
                max_tokens=self.settings.max_tokens["explanation"],
            )
            for sample in range(self.settings.explanations)
        ]
        return [
            Explanation(each.parsed.value, each.parsed.cut, sample) if each.parsed else Explanation(None)
            for sample, each in enumerate(outcomes)
        ]

    def synthetic_work(self, row: Row) -> Work[tuple[Annotation, Annotation | None]]:
        """Questions about a synthetic sentence (S9): extensions and, for the annotators `llm` and `agree`, targets; one
        with swapped mentions has them."""
        targets = self.targets if self.settings.asks_targets and row.get("annotator") != SWAPPED else None
        return annotate_synthetic(row["id"], row["tokens"], self.annotation, targets)

    def swap_works(self) -> list[Work[dict[str, list[list[str]]]]]:
        """What is asked once for all swaps, if there are any."""
        return [self.swaps.work()] if self.swaps else []

    def _propose(self, known: Proposal | None, classes: Sequence[TypeClass], name: str) -> Work[Proposal]:
        if not self.settings.merge_labels:
            return unmerged(classes)
        language, max_tokens = self.settings.language, self.settings.max_tokens["merge"]
        return propose_groups(known, classes, row_id=name, language=language, max_tokens=max_tokens)

    def ask(self, on_progress: Callable[[str, Progress], None] | None = None) -> None:
        """
        Ask everything that no stored answer tells, stage after stage; `on_progress(stage, progress)` follows.

        Raises:
            StoppedError: budget or Ctrl-C; call again to go on.
            StopRunError: the server refuses every request.
        """
        record_state(self.folder, self.state)

        def stage(name: str, works: Callable[[], Iterable[Work[Any]]]) -> None:
            answer_all(works, self.runner, partial(on_progress, name) if on_progress else None)

        if self.pool:
            self.pool.check_picker()
        if self.settings.induce_guideline and not self.settings.guideline_parts:
            logger.warning("induce_guideline: the LLM puts targets on nothing in this run, so it writes no guideline")
        self.guidelines.ask(stage)
        if self.pool:
            self.pool.ask(stage)
        stage("annotate", lambda: map(self.source_work, self.rows()))
        classes = _classes(self.annotated())
        stage("merge", lambda: [self._propose(None, classes, "merge")])
        known = self._finished(self._propose(None, classes, "merge")).value
        keys = {type_class.key for type_class in classes}
        if self.swaps:
            stage("mentions", self.swap_works)
        later: list[tuple[str, Callable[[], Iterator[tuple[Row, Finished[Any]]]]]] = []
        if self.pool:
            later.append(("pool", self.pool.annotated))
        if self.settings.synthesises:
            later.append(("synthetic", self.annotated_sentences))
        for part, annotated in later:
            if part == "synthetic":
                stage("synthetic", lambda: map(self.synthetic_work, self.sentences()))
            fresh = [new for new in _classes(annotated()) if new.key not in keys]
            proposed = partial(self._propose, known, fresh, f"merge-{part}")
            stage(f"merge {part}", partial(lambda work: [work()], proposed))
            known = self._finished(proposed()).value
            keys |= {type_class.key for type_class in fresh}

    # the answers

    def _finished(self, work: Work[Any]) -> Finished[Any]:
        return finished(work, self.runner)

    def annotated(self) -> Iterator[tuple[Row, Finished[tuple[Annotation, list[Explanation]]]]]:
        """Gold rows with their annotation and explanations, from stored answers."""
        return ((row, self._finished(self.source_work(row))) for row in self.rows())

    def explanations(self) -> Iterator[tuple[str, list[Explanation]]]:
        """The id of every gold row, and what explains it."""
        return ((row["id"], done.value[1]) for row, done in self.annotated())

    def sentences(
        self, explanations: Iterable[tuple[str, list[Explanation]]] | None = None, counts: Counter[str] | None = None
    ) -> Iterator[Row]:
        """Synthetic rows without annotation, in the order of their parents (S8); of `explanations` where they are known
        already. `counts` is told what became of the sentences."""
        free_id = FreeIds(self._ids | ({row["id"] for row in self.pool.pool.rows} if self.pool else set()))
        sentences = Sentences(self.settings.language, self._style, self._source_keys, self._held_out_keys, free_id)
        offered = self._finished(self.swaps.work()).value if self.swaps else {}
        for row_id, explained in self.explanations() if explanations is None else explanations:
            for each in explained:
                if each.text is not None:
                    told: dict[str, Any] = {"cut": each.cut, "lines": self.strategy is not None, "sample": each.sample}
                    yield from sentences.rows(row_id, each.text, **told)
            if self.swaps and row_id in self.swaps.seeds:
                yield from sentences.swapped(row_id, self.swaps.sentences(row_id, offered))
        if counts is not None:
            counts.update(sentences.counts)

    def annotated_sentences(
        self, sentences: Iterable[Row] | None = None
    ) -> Iterator[tuple[Row, Finished[tuple[Annotation, Annotation | None]]]]:
        """Synthetic rows with their annotation and, by the annotator `llm`, their targets."""
        rows = self.sentences() if sentences is None else sentences
        return ((row, self._finished(self.synthetic_work(row))) for row in rows)

    # the results

    def write(self) -> dict[str, Any]:
        """
        Build every result file whole from the stored answers, and return what `counts.json` holds.

        Raises:
            UnansweredError: `ask` has not finished.
            AllFailedError: every question failed; only `failed.jsonl` is written.
        """
        gold = Kept(self.folder, self.annotated(), tuple[Annotation, list[Explanation]])
        source = Survey(gold)
        check_answered([source], self.folder)
        merges = [self._finished(self._propose(None, source.classes, "merge"))]
        label_map = next_label_map(LabelMap(self.settings.merging()), source.classes, merges[0].value, self.embed)
        counts: dict[str, Any] = {
            "samples": source.rows,
            "unit": self.unit,
            "source": source.counts,
            "types": {"source": type_counts(source.classes, label_map)},
            "labels": {},
        }
        failures, keys = list(source.failures), set(source.failure_keys)
        synthesis: Counter[str] = Counter()
        known, classes = merges[0].value, list(source.classes)
        kept: dict[str, Kept] = {}
        if self.pool:
            kept["pool"] = Kept(self.folder, self.pool.annotated(), PoolAnswer)
        if self.settings.synthesises:
            explanations = ((told.row["id"], told.value[1]) for told in gold)
            sentences = self.sentences(explanations, synthesis)
            kept["synthetic"] = Kept(self.folder, self.annotated_sentences(sentences), PoolAnswer)
        surveys = [source]
        for part, rows_told in kept.items():
            later = Survey(rows_told)
            surveys.append(later)
            fresh = new_classes(label_map, later.classes)
            merges.append(self._finished(self._propose(known, fresh, f"merge-{part}")))
            known, classes = merges[-1].value, classes + fresh
            label_map = next_label_map(label_map, later.classes, known, self.embed)
            failures += later.failures
            keys.update(later.failure_keys)
            counts[part] = later.counts
            counts["types"][f"with_{part}"] = type_counts(classes, label_map)
        check_answered(surveys, self.folder)  # without kinds nothing is asked about gold rows
        if self.pool:
            counts["pool"] |= {"texts": self.pool.pool.counts}
        probed = self.pool.probed() if self.pool and self.pool.teacher else []
        others = [*merges, *self.guidelines.induced(), *probed, *map(self._finished, self.swap_works())]
        lost = [outcome for done in others for outcome in failed(done)]
        failures += map(failure_line, lost)
        keys.update(outcome.failure_key for outcome in lost)
        counts["failed"] = dict(Counter(failure["task"] for failure in failures))

        files = {"fusion": self._fused(gold, label_map)}
        targeted = self.settings.asks_targets or not self.settings.explain
        if self.settings.synthesises:
            files["synthetic" if targeted else "sentences"] = self._synthetic(kept["synthetic"], label_map, synthesis)
        if self.pool:
            files["pool"] = self._pool_rows(kept["pool"], label_map)
        paths = {name: self.folder / f"{name}.jsonl" for name in files}
        for name, rows in files.items():
            write_rows(paths[name], rows)
            counts["labels"][name] = label_counts(stored_rows(paths[name]))
        if self.settings.synthesises:
            counts["synthesis"] = dict(sorted(synthesis.items()))
        union = [name for name in files if name != "sentences"]
        whole = targeted and (self.pool is None or self.pool.teacher is not None)
        if len(union) > 1 and whole:  # nothing that a model has to annotate first
            paths["train"] = self.folder / "train.jsonl"
            write_rows(paths["train"], chain.from_iterable(stored_rows(paths[name]) for name in union))
        for name in RESULTS:
            if self.folder / name not in paths.values():  # of an earlier run with other settings
                (self.folder / name).unlink(missing_ok=True)

        repairs = [repair for merge in merges for repair in merge.value.repairs]
        write_whole(self.folder / "label_map.json", label_map_json(label_map, self.settings.encoder, repairs))
        paths["provenance"] = self.folder / "provenance.jsonl"
        write_rows(paths["provenance"], self._provenance(gold, kept, others))
        write_rows(self.folder / "failed.jsonl", failures)
        self.runner.store.keep_failures(keys)
        counts["lines"] = {path.name: number_of_lines(path) for path in paths.values()}
        write_whole(self.folder / COUNTS_FILE, json.dumps(counts, ensure_ascii=False, indent=1) + "\n")
        record_state(self.folder, self.state, self.settings)
        return counts

    def _fused(self, gold: Iterable[Told], label_map: LabelMap) -> Iterator[Row]:
        for told in gold:
            annotation = told.value[0]
            yield fuse(told.row, *self._extensions(annotation, label_map), has_extensions=self._looked_at(annotation))

    def _looked_at(self, annotation: Annotation) -> bool:
        """Whether every extension label that is wanted was asked for and answered."""
        return bool(self.annotation.kinds) and not any(counts["failed"] for counts in annotation.counts.values())

    def _pool_rows(self, asked: Iterable[Told], label_map: LabelMap) -> Iterator[Row]:
        """Texts of the pool with the LLM's targets, without those whose answer failed; bare where a model annotates."""
        assert self.pool is not None
        weights = self.pool.weights()
        for told in asked:
            annotation, targets = told.value
            if targets and targets.counts["targets"]["failed"]:
                continue
            entities = _target_spans(targets) if targets else []
            if weights:
                entities = [{**entity, "weight": weights[entity["label"]]} for entity in entities]
            fused = fuse(
                told.row | {"entities": entities},
                *self._extensions(annotation, label_map),
                source="pool",
                annotator="llm" if targets else None,
                has_extensions=self.settings.pool_extensions and self._looked_at(annotation),
            )
            yield from windowed(fused | {"weight": self.settings.pool_weight}, self.settings.window_units)

    def _extensions(self, annotation: Annotation, label_map: LabelMap) -> tuple[Any, Any, Any]:
        kinds = self.annotation.kinds
        entities = [(span.start, span.end, label_map.types[span.type].standard) for span in annotation.entities]
        words = annotation.words if "segmentation" in kinds else []
        return entities, annotation.tags, words

    def _synthetic(self, synthetic: Iterable[Told], label_map: LabelMap, counts: Counter[str]) -> Iterator[Row]:
        """Synthetic rows with extensions and, where the LLM was asked for them, targets (S9), without those that have
        too few of these or whose answer failed; `counts` is told which were left out."""
        for told in synthetic:
            annotation, targets = told.value
            entities = _target_spans(targets) if targets else told.row["entities"]
            failed = targets and targets.counts["targets"]["failed"]  # without targets it would be a false negative
            if targets and (failed or len(entities) < self.settings.min_targets):
                counts["kept"] -= 1
                counts["targets_failed" if failed else "too_few_targets"] += 1
                continue
            yield fuse(
                told.row | {"entities": entities},
                *self._extensions(annotation, label_map),
                source="synthetic",
                annotator="llm" if targets else told.row.get("annotator"),
                parent_id=told.row["parent_id"],
                has_extensions=self._looked_at(annotation),
            )

    @staticmethod
    def _provenance(gold: Kept, later: Mapping[str, Kept], others: Iterable[Finished[Any]]) -> Iterator[dict[str, Any]]:
        for told in chain(gold, *later.values()):
            yield from told.provenance
        for done in others:
            yield from provenance_of(done)


def _no_explanation() -> Work[list[Explanation]]:
    return []
    yield


def _target_spans(annotation: Annotation) -> list[dict[str, Any]]:
    spans = dict.fromkeys((span.start, span.end, span.type) for span in annotation.entities)
    return [{"start": start, "end": end, "label": label} for start, end, label in sorted(spans)]


def _classes(annotated: Iterable[tuple[Row, Finished[Any]]]) -> list[TypeClass]:
    return type_classes(pair for _, done in annotated for pair in mentions(done.value))
