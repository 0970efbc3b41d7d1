"""The LLM's tasks: what is asked (`Request`), what comes back (`Answer`), and how each task's request is built.

Source: section 3.1 (equations 1 and 2) and appendix I of the paper.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any, Literal, get_args

from augmentation.llm.prompts import Prompt, load_prompt

Task = Literal[
    "entities", "segmentation", "pos", "merge", "merge_standard", "explanation", "targets",
    "guideline", "rewrite", "terms", "attributes", "compose", "verify", "verify_targets",
]  # fmt: skip
TASKS: tuple[Task, ...] = get_args(Task)

Example = tuple[str, Sequence[tuple[str, str]]]
"""A gold sentence and its (entity, label) pairs."""

MAX_REASKS = 2
REASK_TEMPERATURE = 0.3
MAX_QUOTED_CHARACTERS = 4000
CUT_REASONS = ("length", "model_length", "max_tokens", "max_output_tokens")
"""How servers say that the token limit ended an answer."""
_BREAKS = re.compile("[\r\n\v\f\x85\u2028\u2029]+")


def _items(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}},
        "required": ["items"],
        "additionalProperties": False,
    }


def _record(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_STRING = {"type": "string"}
_ENTITY = _items(_record(entity=_STRING, type=_STRING))
_MERGE = _items(_record(standard=_STRING, synonyms={"type": "array", "items": _STRING}))
SCHEMAS: dict[Task, dict[str, Any] | None] = {
    "entities": _ENTITY,
    "segmentation": _items(_STRING),
    "pos": _items(_record(word=_STRING, pos=_STRING)),
    "merge": _MERGE,
    "merge_standard": _MERGE,
    "explanation": None,
    "targets": _ENTITY,
    "guideline": None,
    "rewrite": None,
    "terms": _items(_STRING),
    "attributes": _items(_record(attribute=_STRING, values={"type": "array", "items": _STRING})),
    "compose": None,
    "verify": _ENTITY,
    "verify_targets": _items(_record(number={"type": "integer"}, right={"type": "boolean"})),
}
"""JSON schema of each task's answer; TGI demands an object with `properties` at the root. None: prose."""


@dataclass(frozen=True, slots=True)
class Request:
    """One rendered question to the LLM.

    `input` is the bare text the question is about (for `merge` the JSON list of types): recorded answers are found
    by it. `sample` tells apart several answers wanted for the same words. `reask` counts the answers already refused,
    and `parent_key` is then the key of the first request. `part_of` is the request whose cut answer the answers to this
    one and to others replace.
    """

    task: Task
    row_id: str
    input: str
    messages: tuple[tuple[str, str], ...]
    schema: dict[str, Any] | None
    temperature: float
    top_p: float | None
    seed: int | None
    max_tokens: int
    prompt_id: str
    prompt_version: str
    prompt_sha256: str
    sample: int = 0
    reask: int = 0
    parent_key: str | None = None
    part_of: Request | None = None

    def key(self, model: str) -> str:
        """sha256 of everything that shapes the answer: messages, model, sampling parameters, schema, sample number.

        Not `max_tokens` (a finished answer stays valid when it rises), not the endpoint, not the parser.
        """
        what = [
            self.messages,
            model,
            {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed},
            self.schema,
            self.sample,
        ]
        return hashlib.sha256(json.dumps(what, ensure_ascii=True, sort_keys=True).encode("ascii")).hexdigest()

    def chat(self) -> list[dict[str, str]]:
        """The messages as chat completion servers take them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True, slots=True)
class Answer:
    """One stored answer. `finish_reason` and the token counts are None where the source does not tell them.

    `mode` is how the schema was enforced (see `probe`), `attempts` the HTTP requests it took, `time` ISO 8601 in UTC.
    """

    text: str
    finish_reason: str | None
    model: str
    served_model: str | None
    mode: str
    prompt_tokens: int | None
    completion_tokens: int | None
    max_tokens: int
    attempts: int
    time: str
    endpoint: str
    refusal: str | None = None

    @property
    def cut(self) -> bool:
        """Whether the token limit ended the text."""
        return (self.finish_reason or "").casefold() in CUT_REASONS


def row_seed(seed: int, row_id: str) -> int:
    """A seed of its own for each row, in [0, 2**31), from the run's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row_id}".encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


def _one_lined(value: Any) -> Any:
    """A variable of a prompt, each string in it on one line: a text's own lines are no lines of the question."""
    if isinstance(value, str):
        return _BREAKS.sub(" ", value)
    if isinstance(value, Mapping):
        return {name: _one_lined(inner) for name, inner in value.items()}
    return [_one_lined(inner) for inner in value] if isinstance(value, Sequence) else value


def _request(
    task: Task,
    row_id: str,
    input_text: str,
    prompt: Prompt,
    variables: Mapping[str, Any],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_p: float | None = None,
    seed: int | None = None,
) -> Request:
    shown = {name: value if name == "guidelines" else _one_lined(value) for name, value in variables.items()}
    return Request(
        task=task,
        row_id=row_id,
        input=input_text,
        messages=(("user", prompt.render(**shown)),),
        schema=SCHEMAS[task],
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        max_tokens=max_tokens,
        prompt_id=prompt.id,
        prompt_version=prompt.version,
        prompt_sha256=prompt.sha256,
    )


def entities_request(row_id: str, text: str, *, language: str, max_tokens: int = 2048) -> Request:
    """S1: (entity, type) pairs of `text` with P_ent (figure 9)."""
    return _request("entities", row_id, text, load_prompt("entities", language), {"text": text}, max_tokens=max_tokens)


def segmentation_request(row_id: str, text: str, *, language: str, max_tokens: int = 2048) -> Request:
    """S2: the words of `text`, in order, with P_seg (not printed in the paper: ours)."""
    return _request(
        "segmentation", row_id, text, load_prompt("segmentation", language), {"text": text}, max_tokens=max_tokens
    )


def pos_request(row_id: str, text: str, words: Sequence[str], *, language: str, max_tokens: int = 4096) -> Request:
    """S3: one part-of-speech tag for each of `words`, in order, with P_pos (figure 10) and the words beside it.

    For the re-ask about missing tags give only the words that miss one.
    """
    return _request(
        "pos",
        row_id,
        text,
        load_prompt("pos", language),
        {"text": text, "words": list(words)},
        max_tokens=max_tokens,
    )


def merge_request(
    row_id: str,
    types: Sequence[str],
    examples: Mapping[str, Sequence[str]],
    *,
    language: str,
    second_pass: bool = False,
    max_tokens: int = 8192,
) -> Request:
    """S4b, equation 2: groups of synonymous types with P_merge (ours).

    `examples` maps a type to a few of its entities. `second_pass` asks about standard names of several chunks
    (task `merge_standard`).
    """
    task: Task = "merge_standard" if second_pass else "merge"
    return _request(
        task,
        row_id,
        json.dumps(list(types), ensure_ascii=False),
        load_prompt("merge_standard" if second_pass else "merge", language),
        {"types": [{"name": name, "examples": list(examples.get(name, ()))} for name in types]},
        max_tokens=max_tokens,
    )


def explanation_request(
    row_id: str,
    text: str,
    entities: Sequence[tuple[str, str]],
    *,
    language: str,
    seed: int = 0,
    sample: int = 0,
    max_tokens: int = 1024,
) -> Request:
    """S8: prose that explains `entities`, (surface, readable type) pairs, in `text`: P_exp (figure 11).

    Without entities P_ext (figure 12), which has the LLM find key phrases itself. Temperature and top-p 0.8; `seed` is
    the run's, each row and each `sample` of it draws its own from it: the second explanation of row `r` is asked for as
    `r#e2`, and so on.
    """
    row_id = explained_as(row_id, sample)
    prompt = load_prompt("explanation" if entities else "description", language)
    request = _request(
        "explanation",
        row_id,
        text,
        prompt,
        {"text": text, "entities": [f"{surface}({name})" for surface, name in entities]},
        max_tokens=max_tokens,
        temperature=0.8,
        top_p=0.8,
        seed=row_seed(seed, row_id),
    )
    return replace(request, sample=sample)


def explained_as(row_id: str, sample: int) -> str:
    """What an explanation of a row is called in provenance and failures, and what ids of its sentences begin with."""
    return f"{row_id}#e{sample + 1}" if sample else row_id


def targets_request(
    row_id: str,
    text: str,
    labels: Sequence[str],
    examples: Sequence[Example],
    *,
    language: str,
    guidelines: str = "",
    descriptions: Sequence[tuple[str, str]] = (),
    max_tokens: int = 2048,
) -> Request:
    """S7, annotator `llm` (ours, beyond the paper): the task's own labels on `text`.

    `examples` are gold sentences: (text, [(entity, label), …]); `descriptions` say what labels mean.
    """
    return _request(
        "targets",
        row_id,
        text,
        load_prompt("targets", language),
        {
            "text": text,
            "labels": list(labels),
            "examples": _shown(examples),
            "guidelines": guidelines,
            "descriptions": [{"label": label, "meaning": meaning} for label, meaning in descriptions],
        },
        max_tokens=max_tokens,
    )


def verify_targets_request(
    row_id: str,
    text: str,
    spans: Sequence[tuple[str, str]],
    labels: Sequence[str],
    examples: Sequence[Example],
    *,
    language: str,
    guidelines: str = "",
    descriptions: Sequence[tuple[str, str]] = (),
    max_tokens: int = 1024,
) -> Request:
    """S7 (ours): a second look at `spans`, (surface, label) pairs of `text` in order; the rest as `targets_request`."""
    return _request(
        "verify_targets",
        row_id,
        text,
        load_prompt("verify_targets", language),
        {
            "text": text,
            "spans": [{"number": n, "entity": e, "type": t} for n, (e, t) in enumerate(spans, start=1)],
            "labels": list(labels),
            "examples": _shown(examples),
            "guidelines": guidelines,
            "descriptions": [{"label": label, "meaning": meaning} for label, meaning in descriptions],
        },
        max_tokens=max_tokens,
    )


def guideline_request(
    row_id: str,
    labels: Sequence[str],
    examples: Sequence[Example],
    *,
    language: str,
    descriptions: Sequence[tuple[str, str]] = (),
    max_tokens: int = 1024,
) -> Request:
    """S11 (ours): what the gold sentences `examples` say about where spans of each label begin and end."""
    return _request(
        "guideline",
        row_id,
        "\n".join(text for text, _ in examples),
        load_prompt("guideline", language),
        {
            "labels": list(labels),
            "examples": _shown(examples),
            "descriptions": [{"label": label, "meaning": meaning} for label, meaning in descriptions],
        },
        max_tokens=max_tokens,
    )


def _shown(examples: Sequence[Example]) -> list[dict[str, str]]:
    return [
        {"text": text, "answer": json.dumps([{"entity": e, "type": t} for e, t in gold], ensure_ascii=False)}
        for text, gold in examples
    ]


def strategy_request(
    task: Task,
    row_id: str,
    input_text: str,
    *,
    language: str,
    max_tokens: int,
    temperature: float = 0.8,
    seed: int | None = None,
    **variables: Any,
) -> Request:
    """A question of `augmentation.strategies`, with the prompt file of the task's name and its variables."""
    top_p = 0.8 if temperature else None
    return _request(
        task,
        row_id,
        input_text,
        load_prompt(task, language),
        variables,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )


def reask(request: Request, answer_text: str, error: str, *, model: str) -> Request:
    """The same question again, a little warmer, with the (beginning of the) refused answer and its fault quoted.

    Used by the runner for answers that do not parse, and by the pipeline for those that parse but do not fit (S2).
    """
    number = request.reask + 1
    prompt = load_prompt("reask", "en")
    if len(answer_text) > MAX_QUOTED_CHARACTERS:
        answer_text = answer_text[:MAX_QUOTED_CHARACTERS] + " …"
    return replace(
        request,
        messages=(*request.messages, ("assistant", answer_text), ("user", prompt.render(error=error))),
        temperature=max(request.temperature, REASK_TEMPERATURE),
        seed=row_seed(number, f"{request.row_id}:{request.task}"),
        reask=number,
        parent_key=request.parent_key or request.key(model),
    )


@cache
def package_version() -> str:
    """The version of this package, of its metadata."""
    return version("knowfree")


def provenance(request: Request, answer: Answer, *, repaired: bool) -> dict[str, Any]:
    """The provenance of one answer; recorded answers have model and prompt id `recorded` and no settings."""
    known = {name: getattr(answer, name) for name in ("model", "served_model", "mode", "attempts", "time", "endpoint")}
    common = {
        "task": request.task,
        "row_id": request.row_id,
        **known,
        "repaired": repaired,
        "reasks": request.reask,
        "package_version": package_version(),
    }
    if answer.mode == "recorded":
        unknown = ("prompt_version", "prompt_sha256", "temperature", "top_p", "seed", "finish_reason")
        return {
            **common,
            "prompt_id": "recorded",
            **dict.fromkeys((*unknown, "prompt_tokens", "completion_tokens"), None),
        }
    return {
        **common,
        "prompt_id": request.prompt_id,
        "prompt_version": request.prompt_version,
        "prompt_sha256": request.prompt_sha256,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
