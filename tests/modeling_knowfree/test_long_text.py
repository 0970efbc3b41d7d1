"""A document of book-page length through the pipeline, in windows."""

import json
import subprocess
import sys

import pytest

from modeling_knowfree.data.readers import read_rows
from tests.support import SHARED

TAG = """
import json, sys
import torch
from transformers import BertConfig, BertTokenizerFast
from modeling_knowfree import KnowFreeConfig, KnowFreeForTokenClassification, KnowFreePipeline

torch.set_num_threads(1)
torch.manual_seed(0)
folder, text = sys.argv[1], sys.stdin.read()
with open(folder + "/vocab.txt", "w", encoding="utf-8") as file:
    file.write("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(set(text))]))
tokenizer = BertTokenizerFast(folder + "/vocab.txt", model_max_length=512)
encoder = BertConfig(vocab_size=8000, hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
labels = dict(enumerate("abcdefghi"))
config = KnowFreeConfig(encoder, unit="character", id2label=labels, label2id={v: k for k, v in labels.items()})
model = KnowFreeForTokenClassification(config).eval()
with torch.no_grad():
    model.classifier.bias.fill_(-2)
spans = KnowFreePipeline(model=model, tokenizer=tokenizer, task="knowfree", device="cpu")(text, batch_size=8)
# Not ru_maxrss: a process begins with that of the one that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status", encoding="utf-8"))
print(json.dumps({"spans": spans, "peak_kib": int(status["VmHWM"].split()[0])}))
"""


@pytest.mark.soak
@pytest.mark.shared
def test_the_longest_text_of_cmeee_is_tagged_to_its_end_in_less_than_two_gib(tmp_path):
    text = max(("".join(row["tokens"]) for row in read_rows(SHARED / "data/cmeee/train.jsonl")), key=len)
    assert len(text) == 4870
    done = subprocess.run(
        [sys.executable, "-c", TAG, str(tmp_path)], input=text, capture_output=True, text=True, check=True, timeout=280
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["peak_kib"] < 2 * 1024**2
    assert all(text[span["start"] : span["end"]] == span["word"] for span in answer["spans"])
    extents = [(span["start"], span["end"]) for span in answer["spans"]]
    assert extents == sorted(set(extents))  # flat, and no span found by two windows
    assert min(extents)[0] < 200 and max(extents)[1] > 4670
