"""Fusion (S6): gold ∪ ENT ∪ POS ∪ SEG as labelled spans. Gold passes through untouched."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from modeling_knowfree.data.rows import Row

ENTITY_NAMESPACE = "ENT:"
POS_NAMESPACE = "POS:"
WORD_EXTENSION = "SEG:WORD"

LabelledSpan = tuple[int, int, str]


def fuse(
    row: Mapping[str, Any],
    entities: Iterable[LabelledSpan],
    tags: Iterable[LabelledSpan],
    words: Iterable[tuple[int, int]],
    *,
    source: str = "gold",
    annotator: str | None = None,
    parent_id: str | None = None,
    has_extensions: bool = True,
) -> Row:
    """
    One fused row.

    Args:
        row: `id`, `tokens`, `entities`; the row itself is not changed, its entities, `uncertain` and `weight`
            are passed on as they are.
        entities: (start, end, standard label), without namespace.
        tags: (start, end, universal tag), without namespace.
        words: (start, end) of the segmented words; those without a tag become `SEG:WORD`.
        source: where the row comes from: `gold`, `synthetic` or `pool`.
        annotator: who gave its targets, None for people.
        has_extensions: somebody looked for extension labels in this row; without, it says nothing about them.

    Returns:
        The row with `extensions` sorted by start, end and label, each (start, end, label) once, and the rest.

    Raises:
        ValueError: a span lies outside the row.
    """
    tags = list(tags)
    tagged = {(start, end) for start, end, _ in tags}
    spans = {(start, end, ENTITY_NAMESPACE + label): "entities" for start, end, label in entities}
    spans |= {(start, end, POS_NAMESPACE + tag): "pos" for start, end, tag in tags}
    spans |= {(*word, WORD_EXTENSION): "segmentation" for word in words if word not in tagged}
    length = len(row["tokens"])
    for start, end, label in spans:
        if not 0 <= start < end <= length:
            raise ValueError(f"row {row['id']}: {label} [{start}, {end}) lies outside its {length} units")
    return {
        "id": row["id"],
        "tokens": list(row["tokens"]),
        "entities": [dict(entity) for entity in row["entities"]],
        **{name: row[name] for name in ("uncertain", "weight") if row.get(name) is not None},
        "extensions": [
            {"start": start, "end": end, "label": label, "source": source}
            for (start, end, label), source in sorted(spans.items())
        ],
        "has_extensions": has_extensions,
        "synthetic": source == "synthetic",
        "source": source,
        "annotator": annotator,
        "parent_id": parent_id,
    }


def label_counts(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Spans by label: `{"targets": {…}, "extensions": {…}}`, most frequent first, then by name."""
    targets: Counter[str] = Counter()
    extensions: Counter[str] = Counter()
    for row in rows:
        targets.update(entity["label"] for entity in row["entities"])
        extensions.update(extension["label"] for extension in row["extensions"])
    return {
        name: dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        for name, counts in (("targets", targets), ("extensions", extensions))
    }
