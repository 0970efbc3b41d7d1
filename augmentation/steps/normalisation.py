"""Label normalisation with an LLM and an encoder (S4): the questions, the vectors, and the next label map."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import merge_request
from augmentation.steps.label_merging import (
    CHUNK_SIZE,
    EXAMPLES_PER_TYPE,
    Group,
    LabelMap,
    TypeClass,
    clusters_of,
    join_by_names,
    join_equal_names,
    merge_types,
    new_classes,
    normal_form,
    pairs_to_embed,
    repair_groups,
)
from modeling_knowfree.data.rows import InputError
from modeling_knowfree.encoders import E5, MINILM, PACKAGES, encoder_path

BATCH_SIZE = 64

Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Proposal:
    """The LLM's groups of new types (equations 2 and 3), what was mended in its answers, and examples by name."""

    groups: list[Group]
    repairs: list[dict[str, list[str]]]
    examples: dict[str, list[str]]


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[n, d]` of length 1, so that products are cosines; a null vector stays one."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def unmerged(classes: Sequence[TypeClass]) -> Work[Proposal]:
    """Every class stands alone: what is left of S4 without the LLM's synonyms (Table 3, w/o S.L.)."""
    return Proposal([Group(type_class.name, (type_class.name,)) for type_class in classes], [], {})
    yield


def propose_groups(
    known: Proposal | None, classes: Sequence[TypeClass], *, row_id: str, language: str, max_tokens: int
) -> Work[Proposal]:
    """
    S4 b: chunks of 80 types with 5 example entities each, then one pass over the standard names.

    The questions follow the order in which types were first seen, so a row added at the end re-asks the last chunk
    and the names at most. They never depend on geometry: other settings re-merge without asking.

    Args:
        known: an earlier version's proposal; its standard names take part in the pass over names, so that new types
            can join them.
        classes: the new classes.
        row_id: a name for these requests in logs and failures.
    """
    examples = {type_class.name: list(type_class.entities[:EXAMPLES_PER_TYPE]) for type_class in classes}
    names = [type_class.name for type_class in classes]
    chunks = [names[at : at + CHUNK_SIZE] for at in range(0, len(names), CHUNK_SIZE)]
    if not chunks:
        return replace(known, repairs=[]) if known else Proposal([], [], {})
    outcomes = yield [
        merge_request(f"{row_id}:{i}", chunk, examples, language=language, max_tokens=max_tokens)
        for i, chunk in enumerate(chunks)
    ]
    groups: list[Group] = []
    repairs = []
    for chunk, outcome in zip(chunks, outcomes, strict=True):
        answered = outcome.parsed.value if outcome.parsed else []
        mended, repair = repair_groups(chunk, [Group(item.standard, tuple(item.synonyms)) for item in answered])
        groups += mended
        repairs.append(repair)
    groups = join_equal_names(groups)
    by_name = {group.standard: _examples_of(group, examples) for group in groups}
    told = known.examples if known else {}

    known_names = {normal_form(group.standard): group.standard for group in known.groups} if known else {}
    fresh = [group.standard for group in groups if normal_form(group.standard) not in known_names]
    standards = [*known_names.values(), *fresh]
    groups = join_equal_names([Group(name, (name,)) for name in known_names.values()] + groups)
    if fresh and len(standards) > 1:
        [outcome] = yield [
            merge_request(
                f"{row_id}:names", standards, told | by_name, language=language, second_pass=True, max_tokens=max_tokens
            )
        ]
        answered = outcome.parsed.value if outcome.parsed else []
        named, repair = repair_groups(standards, [Group(item.standard, tuple(item.synonyms)) for item in answered])
        repairs.append(repair)
        groups = join_by_names(groups, named)
    return Proposal(groups, repairs, {group.standard: _examples_of(group, told | examples) for group in groups})


def _examples_of(group: Group, examples: Mapping[str, Sequence[str]]) -> list[str]:
    entities = [entity for member in group.members for entity in examples.get(member, ())]
    return list(dict.fromkeys(entities))[:EXAMPLES_PER_TYPE]


def next_label_map(known: LabelMap, classes: Sequence[TypeClass], proposal: Proposal, embed: Embed) -> LabelMap:
    """S4 c-g: embed the new classes' pairs and judge the LLM's groups."""
    fresh = new_classes(known, classes)
    pairs = pairs_to_embed(fresh)
    clusters = clusters_of(fresh, np.asarray(embed(pairs)), known.settings.p) if pairs else {}
    return merge_types(known, classes, proposal.groups, clusters)


@cache
def sentence_encoder(name: str) -> Embed:
    """
    A sentence encoder as a function from texts to vectors `[n, D]`, as the model returns them.

    Args:
        name: a packaged encoder (`modeling_knowfree.encoders`), or any sentence-transformers model id or folder. Only
            safetensors are read, remote code is not run.

    Raises:
        InputError: there is no such model, or the packaged one is not installed.
    """
    import transformers
    from sentence_transformers import SentenceTransformer

    path = encoder_path(name)
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # loading takes seconds; its bar is no news
    # Of the packaged ones all is known: that they have a prompt, and no pooler, which nothing here reads.
    known = name in PACKAGES
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR if known else logging.WARNING)
    told = transformers.utils.logging.get_verbosity()
    if known:
        transformers.utils.logging.set_verbosity_error()
    try:
        model = SentenceTransformer(path, device="cpu", model_kwargs={"use_safetensors": True}, trust_remote_code=False)
    except OSError as error:
        raise InputError(
            f"encoder {name!r} cannot be loaded ({error}); name a sentence-transformers model or folder, for example "
            f"encoder: {MINILM} (English) or {E5} (Chinese, Japanese, Korean and more)"
        ) from error
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
        transformers.utils.logging.set_verbosity(told)

    def embed(texts: Sequence[str]) -> np.ndarray:
        return model.encode(
            list(texts), batch_size=BATCH_SIZE, convert_to_numpy=True, show_progress_bar=len(texts) > 10 * BATCH_SIZE
        )

    return embed


def label_map_json(label_map: LabelMap, encoder: str, repairs: Iterable[Mapping[str, Sequence[str]]]) -> str:
    """The text of `label_map.json`: one type and one label a line."""
    data = label_map.to_dict() | {"encoder": encoder, "repairs": list(repairs)}
    blocks = []
    for key, value in data.items():
        if key in ("types", "labels") and value:
            lines = ",\n".join(f"  {_json(name)}: {_json(entry)}" for name, entry in value.items())
            blocks.append(f" {_json(key)}: {{\n{lines}\n }}")
        else:
            blocks.append(f" {_json(key)}: {_json(value)}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
