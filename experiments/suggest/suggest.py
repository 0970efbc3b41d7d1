"""Texts without labels -> the ones worth labelling next, with what a model finds in them already."""

from collections.abc import Sequence
from pathlib import Path

from augmentation.steps.explanations import FreeIds, sentence_key
from augmentation.steps.normalisation import sentence_encoder
from augmentation.steps.picking import DOUBT_THRESHOLD, Pick, doubt_of, pick
from augmentation.steps.texts import read_texts
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.encoders import E5, MINILM
from modeling_knowfree.inference.tag import load_pipeline, tag
from modeling_knowfree.units_knowfree import join_units, split_text, tell_unspaced

BATCH_SIZE = 16


def suggest(
    pool: Path,
    *,
    model: str,
    number: int,
    how: Pick,
    seed: int = 0,
    labelled: Sequence[str] = (),
    encoder: str | None = None,
) -> list[Row]:
    """
    Rows to label next, in the order in which they are worth it, their entities the model's.

    Args:
        pool: plain text, a folder of it, a table with a column `text`, or any format of rows; its annotation is not
            looked at.
        model: folder or Hub id of a tagger.
        number: how many; fewer where the pool has not so many texts that differ.
        how: see `pick`.
        labelled: files whose texts are left out.
        encoder: sentence-transformers model for `diverse` and `both`; by default the packaged one for the texts.

    Returns:
        rows with `text`, as the pool has it, beside `id`, `tokens` and `entities`, each entity with its `score`.

    Raises:
        InputError: a bad pool or model, or no text that is not labelled yet.
    """
    pipe = load_pipeline(model)
    unit = pipe.model.config.unit

    written: dict[tuple[str, ...], str] = {}  # running texts as the pool has them, by their units

    def tokenise(text: str) -> list[str]:
        tokens = [text[start:end] for start, end in split_text(text, unit)]
        tell_unspaced(tokens, unit)
        written.setdefault(tuple(tokens), text)
        return tokens

    def text_of(row: Row) -> str:
        return join_units(row["tokens"], unit)[0]

    def keys_of(row: Row) -> list[str]:  # of a paragraph's lines too
        return [sentence_key(text) for text in (text_of(row), *row.get("lines", ()))]

    known = {key for path in labelled for row in read_texts(Path(path), tokenise, unit) for key in keys_of(row)} - {""}
    rows: dict[str, Row] = {}
    free_id = FreeIds()
    read = 0
    for row in read_texts(pool, tokenise, unit):
        read += 1
        key, *lines = keys_of(row)
        if key and known.isdisjoint([key, *lines]) and key not in rows:
            rows[key] = row | {"id": free_id(row["id"])}
    if not rows:
        raise InputError(f"{pool}: no text to suggest: {read} read, of which none is new; name texts without labels")
    found = list(rows.values())
    texts = list(map(text_of, found))
    doubts = None
    if how in ("uncertain", "both"):
        tokens = ({"tokens": row["tokens"]} for row in found)
        tagged = tag(pipe, tokens, batch_size=BATCH_SIZE, threshold=DOUBT_THRESHOLD, decoding="all")
        doubts = [doubt_of(spans, len(row["tokens"])) for row, spans in tagged]
    default = E5 if unit == "character" or not all(map(str.isascii, texts)) else MINILM
    places = pick(
        number,
        texts,
        how=how,
        seed=seed,
        doubts=doubts,
        embed=lambda some: sentence_encoder(encoder or default)(some),
    )
    picked = [found[at] for at in places]
    tagged = tag(pipe, ({"tokens": row["tokens"]} for row in picked), batch_size=BATCH_SIZE)
    return [
        {
            "id": row["id"],
            "text": written.get(tuple(row["tokens"])) or text_of(row),
            "tokens": row["tokens"],
            "entities": [
                {"start": s["start"], "end": s["end"], "label": s["entity_group"], "score": round(s["score"], 4)}
                for s in spans
            ],
        }
        for row, (_, spans) in zip(picked, tagged, strict=True)
    ]
