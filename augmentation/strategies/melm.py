"""MELM: a masked language model that knows the labels fills the entity slots of gold sentences (Zhou et al., ACL 2022,
"MELM: Data Augmentation with Masked Entity Language Modeling for Low-Resource NER").

Sentences are linearised with a marker of its label before and after each entity; a masked language model is tuned on
them with entity pieces masked; then entities are masked again and drawn from the most probable pieces. No LLM is asked.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from augmentation.llm.dialogue import Work
from augmentation.strategies.seeds import Asking, SeedSentence, Strategy
from modeling_knowfree.configuration_knowfree import max_pieces
from modeling_knowfree.data.lines import read_lines
from modeling_knowfree.data.rows import InputError, write_rows
from modeling_knowfree.encoders import encoder_path
from modeling_knowfree.files import sha256_of

RESULT = "melm.jsonl"
TUNING_RATE, DRAWING_RATE = 0.7, 0.5  # of an entity's pieces that are masked (η and μ of the paper)
MOST_PROBABLE = 5
MOST_PIECES = 512  # of a sentence
MEND = "melm_model: bert-base-chinese, or any masked language model with its head"
EPOCHS, BATCH, LEARNING_RATE = 20, 8, 5e-5


def melm(asking: Asking, seeds: Sequence[SeedSentence], model: str | None, folder: Path) -> Strategy:
    """
    The strategy for these gold sentences; the model is tuned when the first sentence is asked for, and what it made is
    kept in `folder`.

    Raises:
        InputError: no model is named, or see `open_masked_model`.
    """
    if not model:
        raise InputError(f"strategy melm tunes a masked language model; name one: {MEND}")
    weights = [sha256_of(path) for path in sorted(Path(model).glob("*.safetensors"))]  # none of a Hub id
    names = [asking.name(label) for label in sorted({label for s in seeds for _, _, label in s.spans})]
    told = [asking.seed, asking.per_row, asking.unit, model, weights, names]
    told.append([(s.id, s.tokens, s.spans) for s in seeds])
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    made = _kept(folder / RESULT, key, {sentence.id for sentence in seeds})
    opened = None if made else open_masked_model(model, asking.unit)

    def sentences(row_id: str) -> Work[list[str]]:
        if opened and not made:
            made.update(make_sentences(asking, seeds, *opened))
            lines = ({"id": row, "sentences": texts} for row, texts in made.items())
            write_rows(folder / RESULT, [{"key": key}, *lines])
        return made[row_id]
        yield []  # a generator without a question

    return sentences


def _kept(path: Path, key: str, ids: set[str]) -> dict[str, list[str]]:
    """What an earlier call made of the same; empty, so that it is made again, where a part is gone or cut off."""
    if not path.is_file():
        return {}
    try:
        head, *lines = (json.loads(line.text) for line in read_lines(path))
        found = {line["id"]: line["sentences"] for line in lines}
        whole = head["key"] == key and found.keys() == ids
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if whole and all(_is_texts(sentences) for sentences in found.values()) else {}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def open_masked_model(model: str, unit: str) -> tuple[Any, Any]:
    """
    The tokenizer and the network that fill slots.

    Raises:
        InputError: they cannot be loaded, or the network lacks the head that says which piece fills a slot, as the
            packaged encoders do: a new one would say anything.
    """
    from transformers import AutoModelForMaskedLM

    from modeling_knowfree.loading import load_config, load_encoder
    from modeling_knowfree.training.tokenizer import load_tokenizer

    try:
        place = encoder_path(model, unit)
        return load_tokenizer(place, unit), load_encoder(place, load_config(place), AutoModelForMaskedLM)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"melm_model {model}: {' '.join(str(error).split()):.300}; mend: {MEND}") from error


def make_sentences(asking: Asking, seeds: Sequence[SeedSentence], tokenizer: Any, network: Any) -> dict[str, list[str]]:
    """Tune the model, then draw `asking.per_row` sentences for each gold sentence that has an entity."""
    import torch

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    with torch.random.fork_rng():
        torch.manual_seed(asking.seed)
        labels = sorted({label for seed in seeds for _, _, label in seed.spans})
        names = {label: tokenizer(asking.name(label), add_special_tokens=False)["input_ids"] for label in labels}
        tokenizer.add_tokens([marker(label) for label in labels], special_tokens=True)
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = network.get_input_embeddings().weight
        with torch.no_grad():  # a marker begins as the mean of its label's name
            for label in labels:
                if names[label]:
                    table[tokenizer.convert_tokens_to_ids(marker(label))] = table[names[label]].mean(0)
        network.to(device)
        room = min(MOST_PIECES, tokenizer.model_max_length, max_pieces(network.config) or MOST_PIECES)
        lines = [linearise(seed, tokenizer, room) for seed in seeds]
        _tune(network, tokenizer, list(filter(_has_entity, lines)), asking.seed)
        network.eval()
        return {
            seed.id: _drawn(network, tokenizer, seed, line, asking) if _has_entity(line) else []
            for seed, line in zip(seeds, lines, strict=True)
        }


def _has_entity(line: tuple[list[int], list[int], list[int]]) -> bool:
    """Whether an entity lies within what the model reads of the sentence."""
    return any(owner >= 0 for owner in line[1])


def marker(label: str) -> str:
    """The piece that stands before and after entities of a label."""
    return f"<{label}>"


def linearise(seed: SeedSentence, tokenizer: Any, room: int) -> tuple[list[int], list[int], list[int]]:
    """
    A sentence as at most `room` pieces, markers around its outermost entities.

    Returns:
        piece ids; for each the entity that it belongs to, -1 for context and markers; for each the token, -1 for
        markers and special pieces.
    """
    ids, owners, tokens = [tokenizer.cls_token_id], [-1], [-1]

    def add(token: int, entity: int) -> None:
        pieces = tokenizer([seed.tokens[token]], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        for piece in pieces or [tokenizer.unk_token_id]:
            ids.append(piece)
            owners.append(entity)
            tokens.append(token)

    def mark(label: str) -> None:
        ids.append(tokenizer.convert_tokens_to_ids(marker(label)))
        owners.append(-1)
        tokens.append(-1)

    at = 0
    for number, (start, end, label) in enumerate(sorted(seed.spans, key=lambda span: (span[0], -span[1]))):
        if start < at:
            continue
        for token in range(at, start):
            add(token, -1)
        mark(label)
        for token in range(start, end):
            add(token, number)
        mark(label)
        at = end
    for token in range(at, len(seed.tokens)):
        add(token, -1)
    return (
        [*ids[: room - 1], tokenizer.sep_token_id],
        [*owners[: room - 1], -1],
        [*tokens[: room - 1], -1],
    )


def _tune(network: Any, tokenizer: Any, lines: Sequence[tuple[list[int], list[int], list[int]]], seed: int) -> None:
    import torch

    dice = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    network.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(lines), generator=dice).tolist()
        for first in range(0, len(order), BATCH):
            chosen = [lines[at] for at in order[first : first + BATCH]]
            longest = max(len(ids) for ids, _, _ in chosen)
            ids = torch.full((len(chosen), longest), tokenizer.pad_token_id)
            rates = torch.zeros(len(chosen), longest)
            for row, (pieces, owners, _) in enumerate(chosen):
                ids[row, : len(pieces)] = torch.tensor(pieces)
                rates[row, : len(pieces)] = torch.tensor([TUNING_RATE if entity >= 0 else 0.0 for entity in owners])
            masked = torch.rand(ids.shape, generator=dice) < rates
            if not masked.any():
                continue
            gold = ids.masked_fill(~masked, -100).to(network.device)
            shown = ids.masked_fill(masked, tokenizer.mask_token_id).to(network.device)
            attention = (ids != tokenizer.pad_token_id).long().to(network.device)
            network(input_ids=shown, attention_mask=attention, labels=gold).loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def _drawn(
    network: Any, tokenizer: Any, seed: SeedSentence, line: tuple[list[int], list[int], list[int]], asking: Asking
) -> list[str]:
    """New sentences for one: entity pieces masked, filled one after the other from the most probable."""
    import torch

    ids, owners, tokens = line
    special = set(tokenizer.all_special_ids) | {
        tokenizer.convert_tokens_to_ids(marker(label)) for _, _, label in seed.spans
    }
    found = []
    for number in range(asking.per_row):
        dice = asking.dice("melm", seed.id, number)
        pieces = list(ids)
        masked = [at for at, entity in enumerate(owners) if entity >= 0 and dice.random() < DRAWING_RATE]
        masked = masked or [dice.choice([at for at, entity in enumerate(owners) if entity >= 0])]
        for at in masked:
            pieces[at] = tokenizer.mask_token_id
        for at in masked:
            with torch.inference_mode():
                scores = network(input_ids=torch.tensor([pieces], device=network.device)).logits[0, at].float()
            order = [p for p in scores.topk(min(10 * MOST_PROBABLE, len(scores))).indices.tolist() if p not in special]
            order = [p for p in order if _fits(tokenizer.convert_ids_to_tokens(p), ids[at], tokenizer, asking)]
            best = order[:MOST_PROBABLE] or [ids[at]]
            weights = scores[best].softmax(-1).tolist()
            pieces[at] = dice.choices(best, weights)[0]
        changed = {token for at, token in enumerate(tokens) if token >= 0 and pieces[at] != ids[at]}
        words = []
        for token, word in enumerate(seed.tokens):
            own = [pieces[at] for at, other in enumerate(tokens) if other == token]
            words.append(
                tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(own)).strip().removeprefix("##")
                if token in changed
                else word
            )
        found.append(asking.join([word for word in words if word]))
    return found


def _fits(piece: str, old: int, tokenizer: Any, asking: Asking) -> bool:
    """Whether a piece can stand where the old one did: a letter for a character, a word's inside for its inside."""
    before = tokenizer.convert_ids_to_tokens(old)
    bare = piece.removeprefix("##").removeprefix("▁").removeprefix("Ġ")
    if asking.unit == "character":
        return len(bare) == 1 and bare.isalnum()
    begins = [each[:1] in ("▁", "Ġ") for each in (piece, before)]
    inside = [each.startswith("##") for each in (piece, before)]
    return bare.isalnum() and begins[0] == begins[1] and inside[0] == inside[1]
