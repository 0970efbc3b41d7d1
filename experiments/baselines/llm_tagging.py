"""The LLM tags the test sentences itself: `llm_zero` from the label names alone (Table 4), `llm_few` after reading the
gold sentences that are most like the text. Asked, stored, budgeted and aligned as the augmentation's own questions."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augmentation.kept import failed
from augmentation.llm.dialogue import AllFailedError, Finished, Work, answer_all, finished, replay
from augmentation.llm.store import Store
from augmentation.llm.tasks import Example
from augmentation.session import ProgressLine, charge, client_of, limits_of, runner_of
from augmentation.settings import Settings
from augmentation.steps.annotation import Annotation
from augmentation.steps.annotator import TargetSettings, gold_pairs
from augmentation.steps.normalisation import sentence_encoder, unit_length
from augmentation.steps.verification import annotate_targets
from modeling_knowfree.data.rows import Row
from modeling_knowfree.units_knowfree import infer_unit, join_units

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LlmTagging:
    """
    What the LLM found, and what it took.

    Attributes:
        spans: of each row, `(start, end, label)` in units, sorted.
        numbers: `texts`; `failed` texts without a usable answer; `unaligned` items that have no place in their text;
            `prompt_tokens`, `completion_tokens` and `usd` of all answers, those that a re-ask replaced too, None where
            the source does not tell them; `seconds_per_text`: the wall time over the number of texts asked about in
            this call, `concurrency` at a time (throughput, no latency), None where all were stored.
    """

    spans: list[list[tuple[int, int, str]]]
    numbers: dict[str, Any]


def tag_with_llm(
    rows: Sequence[Row],
    gold: Sequence[Row],
    labels: Sequence[str],
    settings: Settings,
    store: Path,
    *,
    examples: int,
    budget: dict[str, Any] | None = None,
) -> LlmTagging:
    """
    Ask for the targets of each row.

    Args:
        rows: only `id` and `tokens` are read.
        gold: what examples are drawn from.
        labels: the target labels.
        settings: of the augmentation: client, model, language, task, guidelines, encoder, prices; `answers` are named
            from the current directory.
        store: file of answers, made where there is none; what lies in it is not paid for again, what failed is asked
            again.
        examples: gold sentences shown with each text, the most similar ones by `settings.encoder`; 0: none.
        budget: `max_requests`, `max_total_tokens`, `max_usd`; what is spent is noted in it.

    Raises:
        InputError: no such encoder.
        AllFailedError: every text failed, with the first reason.
        StoppedError: budget or Ctrl-C; call again to go on.
        StopRunError: the server refuses every request.
    """
    unit = infer_unit([*gold, *rows])
    annotation = settings.annotation(unit)
    chosen = nearest_examples(rows, gold, examples, settings.encoder, unit) if examples else [()] * len(rows)
    flat, described = settings.task != "nested_ner", settings.described(labels)

    def works() -> Iterable[Work[Annotation]]:
        for row, shown in zip(rows, chosen, strict=True):
            targets = TargetSettings(tuple(labels), shown, settings.guidelines, flat, described)
            yield annotate_targets(row["id"], row["tokens"], annotation, targets)

    client = client_of(settings, Path())
    limits = limits_of(settings, budget, "budget")
    store.parent.mkdir(parents=True, exist_ok=True)
    with Store(store) as answers:
        answers.release_failures()
        runner = runner_of(settings, client, answers, limits)
        asked = sum(not isinstance(replay(work, runner.outcome), Finished) for work in works())
        line, started = ProgressLine(), time.perf_counter()
        try:
            answer_all(works, runner, lambda progress: line("tag by LLM", progress))
        finally:
            line.close()
            charge(budget, runner.purse)
        seconds = time.perf_counter() - started
        done = [finished(work, runner) for work in works()]
    unanswered = [lost for each in done if (lost := failed(each))]
    if rows and len(unanswered) == len(rows):
        reason = unanswered[0][0].error
        raise AllFailedError(f"the LLM has no usable answer to any of the {len(rows)} texts: {reason}")
    if unanswered:
        logger.warning(
            "%d of %d texts have no usable answer and count as without entities; the same command asks for them again",
            len(unanswered),
            len(rows),
        )
    paid = {each.request.key(client.model): each.answers for one in done for each in one.outcomes}  # twins once
    usage = [(answer.prompt_tokens, answer.completion_tokens) for answers in paid.values() for answer in answers]
    told = bool(usage) and all(None not in pair for pair in usage)
    prompt, completion = (sum(int(pair[side] or 0) for pair in usage) for side in (0, 1))
    numbers = {
        "texts": len(rows),
        "failed": len(unanswered),
        "unaligned": sum(len(each.value.dropped) for each in done),
        "prompt_tokens": prompt if told else None,
        "completion_tokens": completion if told else None,
        "usd": limits.usd(prompt, completion) if told and settings.priced else None,
        "seconds_per_text": round(seconds / asked, 3) if asked and settings.client != "recorded" else None,
        "concurrency": settings.concurrency,
    }
    spans = [sorted({(span.start, span.end, span.type) for span in each.value.entities}) for each in done]
    return LlmTagging(spans, numbers)


def nearest_examples(
    rows: Sequence[Row], gold: Sequence[Row], number: int, encoder: str, unit: str
) -> list[tuple[Example, ...]]:
    """
    For each row the gold sentences whose embeddings are most similar (cosine), the most similar one last, next to the
    question; a gold sentence that is the row's own text is never shown to it.
    """
    import numpy as np

    texts, shown = ([join_units(row["tokens"], unit)[0] for row in some] for some in (rows, gold))
    embed = sentence_encoder(encoder)
    known = [(text, gold_pairs(row, unit)) for text, row in zip(shown, gold, strict=True)]
    similar = unit_length(embed(texts)) @ unit_length(embed(shown)).T  # (rows, gold)
    chosen = []
    for text, scores in zip(texts, similar, strict=True):
        order = [at for at in np.argsort(-scores, kind="stable") if shown[at] != text][:number]
        chosen.append(tuple(known[at] for at in reversed(order)))
    return chosen
