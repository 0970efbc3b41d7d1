"""What a run would ask, before anything is sent: requests, cache hits, tokens, cost, and prompts to look at."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any

from augmentation.estimate import COMPLETION_SHARE, Tally, tokens_of
from augmentation.llm.answers import parse
from augmentation.llm.dialogue import Unanswered, Work, replay
from augmentation.llm.outcome import Outcome
from augmentation.llm.tasks import Request, merge_request, pos_request
from augmentation.pipeline import Augmentation
from augmentation.steps.alignment import EntitySpan
from augmentation.steps.annotator import ask_targets, gold_pairs
from augmentation.steps.asking import Annotation
from augmentation.steps.label_merging import CHUNK_SIZE
from augmentation.steps.verification import verified
from augmentation.steps.windows import windows
from augmentation.strategies import llm_da, progen

SENTENCES_PER_EXPLANATION = (3, 8)
TYPES_PER_ROW = (0.5, 3.0)
WAITING = {"llm_da": llm_da.waiting, "progen": progen.waiting}
"""Of a strategy that asks in several steps: what waits for the answers to the step before."""


@dataclass
class TaskPlan:
    """One task: requests known to be missing, answers already stored, more that depend on answers (low, high), and
    tokens of all that has to be asked (low, high)."""

    missing: int = 0
    cached: int = 0
    later: tuple[int, int] = (0, 0)
    prompt_tokens: tuple[int, int] = (0, 0)
    completion_tokens: tuple[int, int] = (0, 0)


@dataclass
class Plan:
    """The plan of a run; `prompts` holds up to two rendered prompts by task, as examples."""

    rows: int = 0
    tasks: dict[str, TaskPlan] = field(default_factory=dict)
    usd: tuple[float, float] = (0.0, 0.0)
    prompts: dict[str, list[str]] = field(default_factory=dict)


def make_plan(run: Augmentation) -> Plan:
    """Look at every row and every stored answer; nothing is sent. Memory does not grow with the rows."""
    plan = Plan()
    tally = Tally.of(_works(run), run.runner.outcome)
    missing, cached = tally.missing, tally.cached
    prompt_tokens, input_tokens = tally.prompt_tokens, tally.input_tokens
    plan.rows = run.size
    later = _later(run, missing, cached)
    low = high = 0.0
    for task in COMPLETION_SHARE:
        if not (missing[task] or cached[task] or later[task][1]):
            continue
        known = missing[task]
        mean_prompt = prompt_tokens[task] / known if known else _mean_prompt(run, task)
        mean_input = input_tokens[task] / known if known else mean_prompt / 3
        totals = [known + more for more in later[task]]
        share = COMPLETION_SHARE[task]
        entry = TaskPlan(
            known,
            cached[task],
            later[task],
            (round(totals[0] * mean_prompt), round(totals[1] * mean_prompt)),
            (round(totals[0] * mean_input * share[0]), round(totals[1] * mean_input * share[1])),
        )
        plan.tasks[task] = entry
        price = run.runner.purse.budget.usd
        low += price(entry.prompt_tokens[0], entry.completion_tokens[0])
        high += price(entry.prompt_tokens[1], entry.completion_tokens[1])
    plan.usd = (low, high)
    for request in _samples(run):
        if not request.sample:  # others say the same
            plan.prompts.setdefault(request.task, []).append("\n".join(content for _, content in request.messages))
    return plan


def _works(run: Augmentation) -> Iterator[Work[Any]]:
    pool = chain(run.pool.probe_works() if run.pool.teacher else (), run.pool.works()) if run.pool else ()
    sources = (run.source_work(row) for row in run.rows())
    return chain(sources, _synthetic_works(run), run.guidelines.works(), pool, run.swap_works())


def _synthetic_works(run: Augmentation) -> Iterator[Work[Any]]:
    """Works of the synthetic sentences that are known: those of the explanations that are there."""
    swaps = [replay(work, run.runner.outcome) for work in run.swap_works()]
    if run.settings.synthesises and not any(isinstance(state, Unanswered) for state in swaps):
        told = ((row["id"], replay(run.explanation_work(row), run.runner.outcome)) for row in run.rows())
        explained = ((row_id, state.value) for row_id, state in told if not isinstance(state, Unanswered))
        yield from (run.synthetic_work(row) for row in run.sentences(explained))


def _later(run: Augmentation, missing: Counter[str], cached: Counter[str]) -> dict[str, tuple[int, int]]:
    """Requests that depend on answers still to come."""
    later: dict[str, tuple[int, int]] = dict.fromkeys(COMPLETION_SHARE, (0, 0))
    kinds = run.annotation.kinds
    if run.unit == "character" and "pos" in kinds:
        later["pos"] = (missing["segmentation"],) * 2
    asked = [task for task in ("entities", "segmentation", "pos") if missing[task] or cached[task] or later[task][1]]
    pending = missing["explanation"]
    if run.strategy is not None:
        states = (replay(run.explanation_work(row), run.runner.outcome) for row in run.rows())
        unanswered = [{each.task for each in state.requests} for state in states if isinstance(state, Unanswered)]
        pending = len(unanswered)
        waiting = WAITING.get(run.settings.strategy, lambda asked, per_row: {})
        for asked_now in unanswered:
            for task, (low, high) in waiting(asked_now, run.settings.sentences_per_row).items():
                later[task] = (later[task][0] + low, later[task][1] + high)
    if pending:
        # Of a strategy not all stand: some are said twice, or fail its own check.
        each = SENTENCES_PER_EXPLANATION if run.strategy is None else (0, run.settings.sentences_per_row)
        low, high = (pending * sentences for sentences in each)
        for task in asked + ["targets"] * run.settings.asks_targets:
            later[task] = (later[task][0] + low, later[task][1] + high)
    if run.swaps and (pending or missing["terms"]):
        for task in asked:
            later[task] = (later[task][0], later[task][1] + run.size * run.settings.swap_mentions)
    if run.settings.verify:  # of a text without targets nothing is asked again
        later["verify_targets"] = (0, missing["targets"] + later["targets"][1])
    if "entities" in kinds and run.settings.merge_labels and missing["entities"]:
        types = [run.size * share for share in TYPES_PER_ROW]
        later["merge"] = (max(1, int(types[0] / CHUNK_SIZE)), 1 + int(types[1] * (3 if pending else 1) / CHUNK_SIZE))
        later["merge_standard"] = (1, 2)
    return later


def _mean_prompt(run: Augmentation, task: str) -> float:
    lengths = [tokens_of(content) for r in _samples(run) if r.task == task for _, content in r.messages]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _samples(run: Augmentation) -> Iterator[Request]:
    """Requests as they are asked about the first two rows; where an answer is needed first, with words and types made
    up from the gold data."""
    language, limits = run.settings.language, run.settings.max_tokens
    works: list[Work[Any]] = []
    for row in islice(run.rows(), 2):
        works.append(run.source_work(row))
        if run.unit == "character" and "pos" in run.annotation.kinds:
            start, end = windows(row["tokens"], run.settings.window_units)[0]
            text = run.text(row["tokens"][start:end])
            yield pos_request(row["id"], text, list(text[:4]), language=language, max_tokens=limits["pos"])
        if run.settings.explain and run.settings.asks_targets:
            works.append(ask_targets(row["id"], row["tokens"], run.annotation, run.targets))
        if run.settings.verify:
            spans = [EntitySpan(span["start"], span["end"], span["label"], "") for span in row["entities"]]
            gold = Annotation(spans, [], [], [], {})
            works.append(verified(row["id"], row["tokens"], gold, run.annotation, run.targets))
    works += islice(run.guidelines.works(), 2)
    for work in run.swap_works():
        state = replay(work, lambda _: None)
        yield from state.requests[:2] if isinstance(state, Unanswered) else ()
    works += islice(run.pool.works(), 2) if run.pool else ()
    for work in works:
        state = replay(work, lambda _: None)
        yield from state.requests if isinstance(state, Unanswered) else ()
    if run.strategy is not None:
        for row in islice(run.rows(), 2):
            for step in ({"terms", "attributes"}, {"terms", "attributes", "compose"}):
                asked = replay(run.explanation_work(row), partial(_made_up, run, step))
                yield from asked.requests[:2] if isinstance(asked, Unanswered) else ()
    if "entities" in run.annotation.kinds and run.settings.merge_labels:
        labels = list(run.targets.labels)
        yield merge_request("merge", labels, {}, language=language, max_tokens=limits["merge"])
        yield merge_request("merge", labels, {}, language=language, max_tokens=limits["merge"], second_pass=True)


def _made_up(run: Augmentation, step: set[str], request: Request) -> Outcome | None:
    """An answer to a strategy's question of the tasks `step`, from the gold data or the question itself."""
    if request.task not in step:
        return None
    gold = [text for row in islice(run.rows(), 2) for text, _ in gold_pairs(row, run.unit)]
    answers = {"terms": json.dumps(gold), "attributes": "[]", "compose": " ".join(request.input.split("\n"))}
    return Outcome(request, None, parse(request.task, answers[request.task]))
