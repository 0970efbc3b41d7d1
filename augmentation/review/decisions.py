"""What people decided on the review page, and what that leaves of the rows."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from augmentation.review.span_html import span_key
from modeling_knowfree.data.rows import InputError, Row
from modeling_knowfree.data.stored import stored_in, stored_rows

DECISIONS_FILE = "decisions.json"
_NEEDED = ("id", "tokens", "entities", "extensions", "source", "parent_id")
REVIEWED = ("fusion.jsonl", "synthetic.jsonl", "sentences.jsonl", "pool.jsonl")

Verdict = Literal["accepted", "rejected"]


class RowDecision(BaseModel):
    """On one row: the sample as a whole, and single spans by `start-end-label`; `text` is what the row said then, its
    tokens joined by spaces, in files of before None."""

    model_config = ConfigDict(extra="forbid")
    sample: Verdict | None = None
    spans: dict[str, Verdict] = {}
    text: str | None = None

    def is_on(self, row: Row) -> bool:
        """Whether the row with this id still says what was decided on."""
        return self.text in (None, text_of(row))


class Decisions(BaseModel):
    """The decisions file."""

    model_config = ConfigDict(extra="forbid")
    rows: dict[str, RowDecision] = {}


def text_of(row: Row) -> str:
    """What a decision knows a row by, beside its id."""
    return " ".join(row["tokens"])


def read_decisions(path: Path) -> Decisions:
    """
    Read a decisions file.

    Raises:
        InputError: missing, not JSON, or not what the review page saves.
    """
    try:
        return Decisions.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such decisions file; save one from the review page") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error}); save it again from the review page") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            f"{path}: {where} is {first['input']!r}: {first['msg']}; save it again from the page"
        ) from error


def apply_decisions(rows: Iterable[Row], decisions: Decisions, counts: Counter[str]) -> Iterator[Row]:
    """The rows without rejected samples and spans; `counts` gets `samples`, `targets` and `extensions` left out.

    Rows that say something else now stay, and so do synthetic rows of a rejected gold sample: they are reviewed by
    themselves.
    """
    counts.update(samples=0, targets=0, extensions=0)
    for row in rows:
        decision = decisions.rows.get(row["id"], RowDecision())
        decision = decision if decision.is_on(row) else RowDecision()
        if decision.sample == "rejected":
            counts["samples"] += 1
            continue
        kept = dict(row)
        for field, name in (("entities", "targets"), ("extensions", "extensions")):
            spans = row["entities"] if field == "entities" else row.get(field) or []
            kept[field] = [span for span in spans if decision.spans.get(span_key(span)) != "rejected"]
            counts[name] += len(spans) - len(kept[field])
        yield kept


def reviewed_rows(folder: Path) -> Iterator[Row]:
    """The rows of a run folder's results that people decide on, each once."""
    return chain.from_iterable(_rows_of(folder / name) for name in REVIEWED if (folder / name).exists())


def _rows_of(path: Path) -> Iterator[Row]:
    for row in stored_rows(path):
        with stored_in(path):
            if missing := [key for key in _NEEDED if key not in row]:
                raise KeyError(missing[0])
        yield row


def unmatched(folder: Path, decisions: Decisions) -> str | None:
    """What to tell of decided rows that a run folder's results do not have, or not with all the spans decided on."""
    left = {row_id: set(decision.spans) for row_id, decision in decisions.rows.items()}
    for row in reviewed_rows(folder):
        row_id, spans = row["id"], {span_key(span) for span in (*row["entities"], *row["extensions"])}
        if row_id in left and decisions.rows[row_id].is_on(row) and left[row_id] <= spans:
            del left[row_id]
    if not left:
        return None
    named = ", ".join(list(left)[:5]) + (", …" if len(left) > 5 else "")
    return f"decisions unmatched: {len(left)} rows have changed since, look at them again: {named}"
