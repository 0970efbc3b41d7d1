"""What every command of a run folder needs: the folder opened with store and client, a progress line. Heavy
imports stay inside the functions."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augmentation.llm.budget import Budget, Purse
    from augmentation.llm.protocol import Client
    from augmentation.llm.runner import Progress, Runner
    from augmentation.llm.store import Store
    from augmentation.pipeline import Augmentation
    from augmentation.settings import Settings
    from modeling_knowfree.data.rows import Row


@contextlib.contextmanager
def open_run(
    folder: Path,
    settings: Settings,
    *,
    offline: bool,
    writes: bool = False,
    budget: dict[str, Any] | None = None,
    accept_changes: bool = False,
    texts: list[Row] | None = None,
) -> Iterator[Augmentation]:
    """A run folder with its store and, unless `offline`, the client that its settings name. What is spent is noted
    in `budget`; `texts` of a Hub data set become its pool."""
    from augmentation.llm.dialogue import OfflineClient
    from augmentation.llm.store import Store
    from augmentation.llm.store_file import hold
    from augmentation.pipeline import STORE_FILE, Augmentation
    from augmentation.settings import check_state
    from augmentation.steps.normalisation import sentence_encoder
    from augmentation.steps.pool import UNLABELED_FILE, keep_texts

    with contextlib.nullcontext() if offline and not writes else hold(folder / STORE_FILE) as lock:
        if texts is not None:
            keep_texts(folder / UNLABELED_FILE, texts, accept_changes=accept_changes)
        check_state(folder, settings, accept_changes=accept_changes)
        if settings.asks_llm and settings.client != "recorded" and (offline or not accept_changes):
            _check_not_lost(folder)
        asks = settings.asks_llm and not offline
        client = client_of(settings, folder) if asks else OfflineClient(settings.model_name)
        limits = limits_of(settings, budget, str(folder))
        with Store(folder / STORE_FILE, lock) as store:
            runner = runner_of(settings, client, store, limits)
            try:
                yield Augmentation(
                    folder,
                    settings,
                    runner,
                    lambda texts: sentence_encoder(settings.encoder)(texts),
                    accept_changes=accept_changes,
                )
            finally:
                charge(budget, runner.purse)


def client_of(settings: Settings, folder: Path) -> Client:
    """The client that settings name; files of recorded answers are named from `folder`."""
    from augmentation.llm.clients import open_client

    return open_client(
        settings.client,
        model=settings.model,
        base_url=settings.base_url,
        provider=settings.provider,
        token_env=settings.token_env,
        answers=tuple(str(folder / path) for path in settings.answers),
    )


def limits_of(settings: Settings, budget: Mapping[str, Any] | None, where: str) -> Budget:
    """
    What may be spent, at the settings' prices.

    Args:
        budget: `max_requests`, `max_total_tokens`, `max_usd`.

    Raises:
        InputError: dollars without prices; it begins with `where`.
    """
    from augmentation.llm.budget import Budget
    from modeling_knowfree.data.rows import InputError

    prices = {name: getattr(settings, name) for name in settings.model_fields_set if name.startswith("usd_per_")}
    try:
        return Budget(**(budget or {}), **prices)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def charge(budget: dict[str, Any] | None, purse: Purse) -> None:
    """Note in `budget` what was spent of it, for whoever asks next."""
    if budget is not None:
        spent = purse.budget
        budget["requests_before"] = spent.requests_before + purse.requests
        budget["tokens_before"] = spent.tokens_before + purse.prompt_tokens + purse.completion_tokens
        budget["usd_before"] = spent.usd_before + purse.usd


def runner_of(settings: Settings, client: Client, store: Store, limits: Budget) -> Runner:
    """Who asks as the settings say, and tells what it waits for."""
    from augmentation.llm.runner import Runner

    return Runner(
        client,
        store,
        concurrency=settings.concurrency,
        requests_per_minute=settings.requests_per_minute,
        timeout_seconds=settings.timeout_seconds,
        max_wait_seconds=settings.max_wait_seconds,
        on_notice=tell,
        budget=limits,
    )


def _check_not_lost(folder: Path) -> None:
    """Raises InputError where results were made from answers that are gone: asking anew would pay for them again."""
    from augmentation.pipeline import STORE_FILE
    from modeling_knowfree.data.rows import InputError

    if (folder / "provenance.jsonl").exists() and not (folder / STORE_FILE).exists():
        raise InputError(
            f"{folder}: there are results, but {STORE_FILE} with the answers they were made from is gone; every answer "
            "would be asked for and paid again. Bring it back from a backup, or give --accept_changes to ask anew"
        )


def tell(notice: str) -> None:
    """One line for whoever waits, past a progress bar."""
    from tqdm import tqdm

    from augmentation.redaction import redact

    tqdm.write(redact(notice), file=sys.stderr)


class ProgressLine:
    """One live line a stage: done of planned, failed, cached, tokens, cost, rate, time left."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._tqdm = tqdm
        self._bar: tqdm[Any] | None = None
        self._progress: Progress | None = None

    def __call__(self, stage: str, progress: Progress) -> None:
        if progress is not self._progress:
            self.close()
            self._bar = self._tqdm(total=progress.planned, desc=stage, unit="answer", file=sys.stderr)
            self._progress = progress
        assert self._bar is not None
        self._bar.update(progress.settled - self._bar.n)
        numbers = {
            "failed": progress.failed,
            "cached": progress.cached,
            "tokens": progress.prompt_tokens + progress.completion_tokens,
            "usd": f"{progress.usd:.4f}",
        }
        self._bar.set_postfix(numbers, refresh=False)

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
