"""A server that no one here wrote: `transformers serve` with a tiny random model, which answers nonsense."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from augmentation.llm.clients import HubClient
from augmentation.llm.runner import Runner
from augmentation.llm.store import Store
from augmentation.llm.tasks import Request, entities_request, explanation_request, pos_request
from tests.support.augment_rows import text, write_failed

pytest.importorskip("openai", reason="transformers serve needs the openai package (transformers[serving])")

ROWS = 6


def random_llm(folder: Path) -> Path:
    """A two-layer Llama with random weights, a byte-level tokenizer and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    set_seed(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["the weather"], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    wrapped.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    wrapped.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """URL and model name."""
    model = random_llm(tmp_path_factory.mktemp("random-llm"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                assert process.poll() is None, "transformers serve ended before it was ready"
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.25)
            yield url, str(model)
        finally:
            process.terminate()


def asked() -> Iterator[Request]:
    """Three tasks for each row."""
    for number in range(ROWS):
        row = f"r{number}"
        yield entities_request(row, text(number), language="en", max_tokens=24)
        yield pos_request(row, text(number), text(number).split(), language="en", max_tokens=24)
        yield explanation_request(row, text(number), [("Paris", "City")], language="en", max_tokens=24)


def test_a_run_on_nonsense_ends_with_every_row_accounted_for(server, tmp_path):
    url, model = server
    with Store(tmp_path / "answers.sqlite") as store:
        runner = Runner(HubClient(model, base_url=url), store, concurrency=2, timeout_seconds=60)
        progress = runner.run(asked())
        assert progress.outcome == "done"
        assert progress.mode == "none"  # transformers serve ignores response_format
        assert progress.done + progress.failed == 3 * ROWS
        failed = {(failure.task, failure.row_id) for failure in store.failures()}
        assert write_failed(store, tmp_path / "failed.jsonl") == progress.failed == len(failed)
        for request in asked():
            outcome = runner.outcome(request)
            assert outcome is not None
            assert (outcome.error is not None) == ((request.task, request.row_id) in failed)
            if outcome.parsed is not None and outcome.answer is not None:
                assert outcome.answer.served_model
                assert outcome.answer.completion_tokens
        # nonsense may be prose, it is hardly ever JSON
        assert {task for task, _ in failed} >= {"entities", "pos"}
        assert store.counts()["explanation"] >= ROWS
        again = Runner(HubClient(model, base_url=url), store).run(asked())
        assert (again.requests, again.failed) == (0, progress.failed)
