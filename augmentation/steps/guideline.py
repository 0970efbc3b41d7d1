"""A guideline that the LLM induces from the gold (S11): where spans of each label begin and end, in its own words. It
is written into the run folder, for people to read and mend, before anything is tagged by it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from augmentation.llm.dialogue import Work
from augmentation.llm.tasks import Example, guideline_request
from augmentation.steps.annotator import TargetSettings
from augmentation.steps.asking import AnnotationSettings
from modeling_knowfree.data.rows import InputError

GUIDELINE_FILES: dict[str | int, str] = {"all": "guideline.txt", 0: "guideline-fold-0.txt", 1: "guideline-fold-1.txt"}
"""By the gold that it is induced from: all of it, for the pool; one fold, for the probe of the other."""
SENTENCES_SHOWN = 100
MOST_CHARACTERS = 8000


class Guideline(NamedTuple):
    """What the LLM wrote, in whole lines; `left_out` is the unfinished last line of one that a limit cut, empty where
    it was the only line, which is kept."""

    text: str
    left_out: str | None = None


def induce_guideline(
    name: str, examples: Sequence[Example], annotation: AnnotationSettings, targets: TargetSettings
) -> Work[Guideline | None]:
    """The LLM's guideline from these gold sentences, the first `SENTENCES_SHOWN` of them; None where it gave none."""
    [outcome] = yield [
        guideline_request(
            name,
            targets.labels,
            examples[:SENTENCES_SHOWN],
            language=annotation.language,
            descriptions=targets.descriptions,
            max_tokens=annotation.max_tokens["guideline"],
        )
    ]
    if outcome.parsed is None:
        return None
    text = outcome.parsed.value[:MOST_CHARACTERS]
    if outcome.parsed.cut or text != outcome.parsed.value:
        lines, _, unfinished = text.rpartition("\n")
        return Guideline(lines.rstrip(), unfinished) if lines.strip() else Guideline(text.rstrip(), "")
    return Guideline(text.rstrip())


def read_guidelines(folder: Path) -> Mapping[str | int, str]:
    """
    The guidelines that lie in a run folder, as people left them.

    Raises:
        InputError: one is no UTF-8 text, or longer than `MOST_CHARACTERS`.
    """
    found: dict[str | int, str] = {}
    for part, name in GUIDELINE_FILES.items():
        path = folder / name
        if path.is_file():
            try:
                text = path.read_text(encoding="utf-8").strip()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: no UTF-8 text; save it as UTF-8, or delete it to have it written anew"
                ) from error
            if len(text) > MOST_CHARACTERS:
                raise InputError(f"{path}: {len(text)} characters; every prompt repeats it: keep {MOST_CHARACTERS}")
            found[part] = text
    return found
