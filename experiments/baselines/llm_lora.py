"""`llm_lora`: a causal language model tuned with LoRA to tag, on gold rows (Table 5) or synthetic ones too (Table 6).

The question is the prompt `targets` without examples, as `llm_zero` asks it, guidelines and what labels mean included;
the answer is the JSON list of entities in text order; the answer of the tuned model is parsed and aligned as every
LLM's. Needs `peft`; `quantization: 4bit` needs `bitsandbytes` and a GPU.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Trainer, set_seed

from augmentation.llm.answers import AnswerError, parse
from augmentation.llm.tasks import targets_request
from augmentation.steps.alignment import UnitText, align_in_order
from augmentation.steps.annotator import TargetSettings, gold_pairs
from modeling_knowfree.data.rows import InputError, Row, span_sets
from modeling_knowfree.metrics import span_scores
from modeling_knowfree.training.config import target_labels
from modeling_knowfree.training.features import loss_weight
from modeling_knowfree.training.train import checkpoint_to_resume, parse_arguments, plan_schedule, read_splits
from modeling_knowfree.units_knowfree import infer_unit, join_units

from .windowed import FoundSpan

logger = logging.getLogger(__name__)
IGNORED = -100
LORA_FILE = "llm_lora.json"
POSITIVE = ("rank", "alpha", "learning_rate", "max_new_tokens")
OPTIONS = {"rank": int, "alpha": int, "learning_rate": float, "dtype": str, "quantization": str, "max_new_tokens": int}
"""What a run's `lora:` may say beside `model`."""


def train_llm_lora(
    arguments: Mapping[str, Any],
    model: str,
    *,
    language: str,
    rank: int = 8,
    alpha: int = 16,
    learning_rate: float = 2e-4,
    dtype: str = "auto",
    quantization: str | None = None,
    max_new_tokens: int = 512,
    flat: bool = True,
    guidelines: str = "",
    label_descriptions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """
    Tune the adapter.

    Args:
        arguments: of `knowfree train`; its encoder and its learning rates are not used.
        model: causal language model, a folder or a Hub id.
        language: of the prompt.
        rank, alpha: of LoRA, on all linear layers but the output.
        learning_rate: peak rate of the adapter.
        dtype: of the frozen weights: `float32`, `bfloat16`, or `auto`, which is bfloat16 on a GPU that has it.
        quantization: `4bit`, or None.
        max_new_tokens: of an answer.
        flat: the task knows no overlapping spans.
        guidelines, label_descriptions: of the prompt, as the augmentation's settings have them.

    Returns:
        `{"validation": {"validation_f1": …}, "curve": []}`; the last weights are kept, dev is looked at once.

    Raises:
        InputError: bad arguments, files or folders; no such model; no `peft`. Nothing is written then.
    """
    model_args, data_args, args = parse_arguments(arguments)
    checkpoint_to_resume(args)
    splits = read_splits(data_args, flat=model_args.decoding == "flat")
    validation, data_args.validation_file = splits.get("validation"), None
    args.eval_strategy = "no"
    plan_schedule(data_args, args, len(splits["train"]))
    args.save_strategy = "no"
    args.learning_rate = learning_rate
    args.remove_unused_columns = False
    set_seed(args.seed)
    labels = data_args.labels or target_labels(splits["train"])
    told = {
        "model": model,
        "language": language,
        "labels": labels,
        "unit": infer_unit(splits["train"]),
        "dtype": dtype,
        "quantization": quantization,
        "max_new_tokens": max_new_tokens,
        "flat": flat,
        "guidelines": guidelines,
        "label_descriptions": dict(label_descriptions or {}),
    }
    tokenizer, network = _load(told)
    network = _with_adapter(network, rank, alpha)
    features = [_feature(row, tokenizer, told, args.beta) for row in splits["train"]]
    most = _positions(network)
    fitting = [feature for feature in features if len(feature["input_ids"]) <= most]
    if not fitting:
        raise InputError(f"llm_lora: every question and answer is longer than the {most:.0f} pieces that {model} reads")
    if len(fitting) < len(features):
        left_out = len(features) - len(fitting)
        logger.warning("%d of %d training rows are longer than %s reads, and left out", left_out, len(features), model)
    trainer = _Trainer(model=network, args=args, train_dataset=fitting, data_collator=_Collator(tokenizer))
    trainer.train()
    folder = Path(str(args.output_dir))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / LORA_FILE).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    scores: dict[str, float] = {}
    if validation:
        found = tag_by_model(network, tokenizer, validation, told)
        scored = span_scores(span_sets(validation), [[span[:3] for span in spans] for spans in found])
        scores = {f"validation_{name}": value for name, value in scored.items() if name != "per_label"}
    return {"validation": scores, "curve": []}


def check_lora(lora: Mapping[str, Any]) -> None:
    """
    Check a run's `lora:`.

    Raises:
        InputError: no model or none that can be read, an unknown option or a value that it cannot have, no `peft`, no
            GPU where one is needed.
    """
    allowed = f"lora: {{model: ID, {', '.join(f'{name}: …' for name in OPTIONS)}}}"
    if not isinstance(lora.get("model"), str):
        raise InputError(f"llm_lora tunes a causal language model; name it in the run's settings: {allowed}")
    for name, value in lora.items():
        fits = name == "model" or (isinstance(value, OPTIONS.get(name, ())) and not isinstance(value, bool))
        if not fits or (name in POSITIVE and not value > 0):
            mend = "; YAML reads a rate as a number where it has a point: 2.0e-4" if name == "learning_rate" else ""
            raise InputError(f"lora: {name} is {value!r}; allowed: {allowed}{mend}")
    if lora.get("dtype", "auto") not in ("auto", "float32", "bfloat16"):
        raise InputError(f"lora: dtype is {lora['dtype']!r}; allowed: auto, float32, bfloat16")
    if lora.get("quantization", "4bit") != "4bit":
        raise InputError(f"lora: quantization is {lora['quantization']!r}; allowed: 4bit, or leave it out")
    if find_spec("peft") is None:
        raise InputError("llm_lora needs peft; mend: pip install 'knowfree[lora]'")
    if lora.get("quantization") is not None:
        _check_quantization()
    _load_tokenizer(lora["model"])


def predict_llm_lora(folder: Path, rows: Sequence[Row]) -> list[list[FoundSpan]]:
    """
    Tag rows with an adapter that `train_llm_lora` wrote.

    Raises:
        InputError: the folder holds none.
    """
    if not (folder / LORA_FILE).is_file():
        raise InputError(f"{folder}: holds no {LORA_FILE}; name a folder that train_llm_lora wrote")
    from peft import PeftModel

    told = json.loads((folder / LORA_FILE).read_text(encoding="utf-8"))
    tokenizer, network = _load(told)
    adapted = PeftModel.from_pretrained(network, str(folder), trust_remote_code=False)
    return tag_by_model(adapted, tokenizer, rows, told)


@torch.inference_mode()
def tag_by_model(network: Any, tokenizer: Any, rows: Sequence[Row], told: Mapping[str, Any]) -> list[list[FoundSpan]]:
    """The spans of each row, from greedy answers; what is no JSON or has no place in the text counts as nothing, and so
    does a row whose question fills what the model reads."""
    network.eval()
    labels = TargetSettings(tuple(told["labels"]), ())
    found: list[list[FoundSpan]] = []
    unusable = cut = too_long = 0
    for row in tqdm(rows, desc="tag by LLM", unit="sentence", leave=False):
        ids = torch.tensor([_question(row, tokenizer, told)], device=network.device)
        room = min(told["max_new_tokens"], _positions(network) - ids.shape[1])
        if room < 1:
            too_long += 1
            found.append([])
            continue
        answer = network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=int(room),
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        said = answer[0, ids.shape[1] :]
        is_cut = len(said) == room and int(said[-1]) != tokenizer.eos_token_id
        cut += is_cut
        text = tokenizer.decode(said, skip_special_tokens=True)
        try:
            items = [(item.entity, item.type) for item in parse("targets", text, cut=is_cut).value]
        except AnswerError:
            unusable += 1
            items = []
        known = [(entity, label) for entity, named in items if (label := labels.label_of(named)) is not None]
        aligned = align_in_order(UnitText.from_tokens(row["tokens"], told["unit"]), known, flat=told["flat"])
        found.append(sorted({(span.start, span.end, span.type, 1.0) for span in aligned.spans}))
    for number, what in (
        (unusable, "answers are no JSON and count as without entities"),
        (cut, "answers were cut; raise max_new_tokens"),
        (too_long, "texts are longer than the model reads and count as without entities"),
    ):
        if number:
            logger.warning("%d of %d %s", number, len(rows), what)
    return found


def _positions(network: Any) -> float:
    """How many pieces a model was made for; more than its learnt positions would be an IndexError."""
    return getattr(network.config, "max_position_embeddings", None) or math.inf


def _question(row: Row, tokenizer: Any, told: Mapping[str, Any]) -> list[int]:
    text = join_units(row["tokens"], told["unit"])[0]
    request = targets_request(
        "",
        text,
        told["labels"],
        [],
        language=told["language"],
        guidelines=told.get("guidelines", ""),  # folders of 0.1.0 have none
        descriptions=tuple(told.get("label_descriptions", {}).items()),
    )
    asked = request.messages[0][1]
    if tokenizer.chat_template:
        messages = [{"role": "user", "content": asked}]
        return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"])
    return list(tokenizer(asked + "\n")["input_ids"])


def _feature(row: Row, tokenizer: Any, told: Mapping[str, Any], beta: float) -> dict[str, Any]:
    """Question and answer as one text; only the answer is learnt."""
    question = _question(row, tokenizer, told)
    pairs = [{"entity": text, "type": label} for text, label in gold_pairs(row, told["unit"])]
    text = json.dumps(pairs, ensure_ascii=False)
    answer = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {
        "input_ids": question + answer,
        "labels": [IGNORED] * len(question) + answer,
        "weight": loss_weight(row, beta),
    }


class _Collator:
    """Right padding."""

    def __init__(self, tokenizer: Any):
        self.pad = tokenizer.pad_token_id

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(feature["input_ids"]) for feature in features)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([[*f[name], *[filler] * (longest - len(f[name]))] for f in features])

        ids = padded("input_ids", self.pad)
        lengths = torch.tensor([len(feature["input_ids"]) for feature in features])
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
            "labels": padded("labels", IGNORED),
            "weight": torch.tensor([float(feature["weight"]) for feature in features]),
        }


class _Trainer(Trainer):
    """Cross-entropy of the answers' pieces, mean over a sentence, each sentence times its weight."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weight, labels = inputs.pop("weight"), inputs.pop("labels")
        logits = model(**inputs).logits[:, :-1].float()
        gold = labels[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), gold.flatten(), ignore_index=IGNORED, reduction="none")
        real = (gold != IGNORED).sum(1).clamp(min=1)
        loss = (losses.view_as(gold).sum(1) / real * weight).mean()
        return (loss, None) if return_outputs else loss


def _load(told: Mapping[str, Any]) -> tuple[Any, Any]:
    gpu = torch.cuda.is_available()
    dtype = told["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float32"
    options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if told["quantization"] == "4bit":
        _check_quantization()
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=options["dtype"]
        )
    tokenizer = _load_tokenizer(told["model"])
    try:
        network: Any = AutoModelForCausalLM.from_pretrained(told["model"], trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"llm_lora: model {told['model']}: {' '.join(str(error).split()):.300}") from error
    return tokenizer, network.to("cuda") if gpu and told["quantization"] is None else network


def _check_quantization() -> None:
    if not torch.cuda.is_available():
        raise InputError("llm_lora: quantization 4bit needs a GPU; leave it out")
    if find_spec("bitsandbytes") is None:
        raise InputError("llm_lora: quantization 4bit needs the package bitsandbytes; install it")


def _load_tokenizer(model: str) -> Any:
    """The tokenizer of a model whose configuration can be read too. Raises InputError where not, or without an end."""
    try:
        AutoConfig.from_pretrained(model, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"llm_lora: model {model}: {' '.join(str(error).split()):.300}") from error
    if tokenizer.eos_token_id is None:
        raise InputError(f"llm_lora: the tokenizer of {model} has no eos_token, so no answer would ever end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _with_adapter(network: Any, rank: int, alpha: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    except ImportError as error:
        raise InputError("llm_lora needs peft; mend: pip install 'knowfree[lora]'") from error
    if getattr(network, "is_loaded_in_4bit", False):
        network = prepare_model_for_kbit_training(network)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(network, config)
