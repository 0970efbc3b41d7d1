"""The one renderer of labelled spans as HTML: nested, overlapping and same-start spans as stacked lines.

Standard library only. All text is escaped. The sentence stays real text that can be selected and searched; every
piece that carries labels can be reached by the keyboard and says its labels to a screen reader.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = """
.spans { line-height: 1.4; overflow-wrap: anywhere; margin: 0.2em 0; padding: 0.2em 3px; overflow-x: auto; }
.spans .plain { white-space: pre-wrap; vertical-align: top; }
.spans .piece { display: inline-block; vertical-align: top; white-space: pre; margin-bottom: 0.35em; }
.spans .piece:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.spans .turn { user-select: none; }
.spans .lane { display: block; box-sizing: border-box; height: 1.25rem; user-select: none; }
.spans .lane { font: 600 0.75rem/1rem system-ui, sans-serif; }
.on { color: light-dark(var(--ink-on-light), var(--ink-on-dark)); border-top: 3px solid; }
.on.line-1 { border-top: 4px double; }
.on.line-2 { border-top: 3px dotted; }
.on.line-3 { border-image: repeating-linear-gradient(90deg, currentColor 0 9px, #0000 9px 11px, currentColor 11px 13px,
  #0000 13px 15px) 3 / 3px 0 0; }
.on.line-4 { border-top: 5px solid; }
.on.extension { border-top: 2px dashed; font-weight: 400; }
.spans .first { margin-inline-start: 1px; }
.spans .last { margin-inline-end: 2px; }
.spans .name { unicode-bidi: isolate; color: inherit; }
.spans .wide .name { display: inline-block; width: 0; overflow: visible; }
.spans .hidden { display: none; }
.spans .rejected { opacity: 0.4; text-decoration: line-through; }
.span-key { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; list-style: none; padding: 0; margin: 0.4rem 0; }
.span-key { font-size: 0.85rem; }
.span-key li { overflow-wrap: anywhere; }
.span-key .on { display: inline-block; width: 2em; margin-inline-end: 0.4em; vertical-align: 0.15em; }
@media print { .on { print-color-adjust: exact; -webkit-print-color-adjust: exact; } .spans { break-inside: avoid; } }
"""
"""CSS that `render` relies on; put it once into the page. Whether colours are for light or for dark ground follows the
page's `color-scheme`."""


@dataclass(frozen=True)
class DrawnSpan:
    """Units `[start, end)` with a label; `kind` is `target` or `extension`; `key` identifies it for scripts."""

    start: int
    end: int
    label: str
    kind: str = "target"
    score: float | None = None
    key: str = ""


def span_key(span: Mapping[str, Any]) -> str:
    """How a span of a row is named on the page and in the decisions."""
    return f"{span['start']}-{span['end']}-{span['label']}"


def drawn_spans(row: Mapping[str, Any]) -> list[DrawnSpan]:
    """Targets and extensions of a row; keys are `start-end-label`."""
    spans = []
    for field, kind in (("entities", "target"), ("extensions", "extension")):
        for span in row.get(field) or ():
            spans.append(DrawnSpan(span["start"], span["end"], span["label"], kind, span.get("score"), span_key(span)))
    return spans


# Two colours for a label, for white and for near-black (#181818) ground. Contrast is at least 4.5; of all such colours
# these are chosen one after the other, each as far as can be in OKLab from those before it: the nearest two of 30 are
# 0.078 apart on either ground.
_COLOURS = """
0e7397/80e1fe d5305f/e66d71 2e16f5/3480fc 3d1347/e749df 154409/7c8d6d 663e9e/b49ce1 307c1b/8bbd50 7f624c/eacab1
2e4b60/4ea4ca 612006/c6a28f b740b1/efbcfa 9540f4/8f78ba 90108b/d470b5 ad4216/b6734d 322707/dc9e12 5c5c01/e8d34f
142a41/abbfdf 843d56/f6a3af 461878/be6df2 121671/878bf2 b51c79/fe38ad 5f3369/ab8ea7 0c6944/ceefd3 82558d/f398eb
492d40/fdd8ef 524727/a79a4c 861309/f9875e 4b7364/90b5a0 83451e/da7e1e 4e091d/f57fa7
""".split()
_LINES = 5  # kinds of line, so that labels are told apart in one colour too


@dataclass(frozen=True)
class Look:
    """How the spans of a label are drawn: `#rrggbb` on light and on dark ground, and the kind of line."""

    on_light: str
    on_dark: str
    line: int


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """
    How each label of a page is drawn, always with its name besides: the first 30 in colours of their own, labels whose
    colours are the same in lines of another kind.

    Args:
        labels: of the whole page, those that matter most first; the order decides.
    """
    found = {}
    for number, label in enumerate(dict.fromkeys(labels)):
        turn, colour = divmod(number, len(_COLOURS))
        on_light, on_dark = _COLOURS[colour].split("/")
        found[label] = Look(f"#{on_light}", f"#{on_dark}", (number + turn) % _LINES)
    return found


def labels_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The labels of rows, each once: targets by name, then extension labels by name."""
    targets: set[str] = set()
    extensions: set[str] = set()
    for row in rows:
        targets.update(span["label"] for span in row.get("entities") or ())
        extensions.update(span["label"] for span in row.get("extensions") or ())
    return [*sorted(targets), *sorted(extensions - targets)]


def key(drawn: Mapping[str, Look], extensions: Iterable[str] = ()) -> str:
    """
    The key of a page: each label beside its line, as an HTML list.

    Args:
        drawn: of `looks`.
        extensions: which of them are extension labels.
    """
    dashed = set(extensions)
    entries = [
        f'<li><span class="{_classes(look, label in dashed)}" style="{_ink(look)}"></span>'
        f"<bdi>{escape(visible(label))}</bdi></li>"
        for label, look in drawn.items()
    ]
    return f'<ul class="span-key" aria-label="Labels">{"".join(entries)}</ul>'


def _classes(look: Look, extension: bool) -> str:
    return "on extension" if extension else f"on line-{look.line}"


def _ink(look: Look) -> str:
    return f"--ink-on-light:{look.on_light};--ink-on-dark:{look.on_dark}"


def lanes(spans: Sequence[DrawnSpan]) -> list[int]:
    """
    A lane for each span, 0 nearest the text, so that no two spans in a lane share a unit.

    Targets come nearest, then extension entities, then (in lanes of their own) words and their tags; of each the
    shorter spans first, so that nested spans lie inside.
    """

    def order(i: int) -> tuple[Any, ...]:
        span = spans[i]
        return _is_word(span), span.kind != "target", span.end - span.start, span.start, span.label

    taken: list[list[DrawnSpan]] = []
    lane_of = [0] * len(spans)
    first_word_lane = 0
    for i in sorted(range(len(spans)), key=order):
        span = spans[i]
        start = first_word_lane if _is_word(span) else 0
        free = (
            n
            for n in range(start, len(taken))
            if all(other.end <= span.start or span.end <= other.start for other in taken[n])
        )
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(span)
        lane_of[i] = lane
        if not _is_word(span):
            first_word_lane = len(taken)
    return lane_of


def _is_word(span: DrawnSpan) -> bool:
    return span.kind == "extension" and span.label.startswith(("POS:", "SEG:"))


LONGEST_PIECE = {"character": 12, "word": 4}  # units; a line of text can break between pieces only


def render(
    tokens: Sequence[str],
    spans: Iterable[DrawnSpan],
    *,
    unit: str,
    drawn: Mapping[str, Look],
    gaps: Sequence[str] | None = None,
) -> str:
    """
    A sentence with its spans drawn under it.

    Args:
        tokens: the units.
        spans: what to draw; target lines are whole, extension lines dashed; a line begins with its label.
        unit: `character` (units join without space) or `word`.
        drawn: `looks` of all labels of the page.
        gaps: what stands after each unit, where the original text is known.

    Returns:
        An HTML fragment, `<div class="spans">…</div>`; it needs `STYLE` in the page.
    """
    spans = list(spans)
    lane_of = lanes(spans)
    if gaps is None:
        gaps = ["" if unit == "character" else " "] * (len(tokens) - 1) + [""]
    written = [token + gap for token, gap in zip(tokens, gaps, strict=True)] if tokens else []
    base = _direction("".join(written)) or "ltr"
    pieces = []
    for start, end in itertools.pairwise(_borders(len(tokens), spans, LONGEST_PIECE[unit])):
        here = {lane_of[i]: span for i, span in enumerate(spans) if span.start <= start and end <= span.end}
        if not here:
            pieces.append(_plain("".join(written[start:end])))
            continue
        # No line runs on under a gap that no span covers, and there the text may break.
        goes_on = any(end < span.end for span in here.values())
        text = "".join(written[start : end - 1]) + (written if goes_on else tokens)[end - 1]
        rows = "".join(_lane(here.get(lane), start, end, drawn) for lane in range(max(here) + 1))
        spoken = escape(", ".join(_spoken(s, tokens, gaps) for s in here.values() if s.start == start))
        stop = f' tabindex="0" role="group" aria-label="{spoken}" title="{spoken}"' if spoken else ""
        # A box is no letter of its line: where its text runs against the sentence, marks beside it say so.
        turn = _TURN[direction] if (direction := _direction(text)) not in (base, None) else ""
        pieces.append(f'{turn}<span class="piece" dir="auto"{stop}>{escape(visible(text))}{rows}</span>{turn}')
        if not goes_on and gaps[end - 1]:
            pieces.append(_plain(gaps[end - 1]))
    return f'<div class="spans" dir="{base}">{"".join(pieces)}</div>'


_TURN = {
    direction: f'<span class="turn" aria-hidden="true">{mark}</span>'
    for direction, mark in (("ltr", "&lrm;"), ("rtl", "&rlm;"))
}


def _direction(text: str) -> str | None:
    """`ltr` or `rtl`, as the first letter of a text is written; None without any."""
    kinds = map(unicodedata.bidirectional, text)
    first = next((kind for kind in kinds if kind in ("L", "R", "AL")), None)
    return None if first is None else "ltr" if first == "L" else "rtl"


def _plain(text: str) -> str:
    return f'<span class="plain">{escape(visible(text))}</span>'


_SHOWN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: "\u2421"}
_SHOWN |= {
    ord(control): f"⟨{name}⟩"
    for name, control in {
        "LRE": "\u202a", "RLE": "\u202b", "PDF": "\u202c", "LRO": "\u202d", "RLO": "\u202e",
        "LRI": "\u2066", "RLI": "\u2067", "FSI": "\u2068", "PDI": "\u2069",
    }.items()
}  # fmt: skip


def visible(text: str) -> str:
    """`text` with control characters shown instead of obeyed, those among them that turn the direction of writing."""
    return text.translate(_SHOWN)


def _borders(length: int, spans: Sequence[DrawnSpan], longest: int) -> list[int]:
    borders = sorted({0, length, *(span.start for span in spans), *(span.end for span in spans)})
    cut = [at for start, end in itertools.pairwise(borders) for at in range(start, end, longest)]
    return [*cut, length]


def _lane(span: DrawnSpan | None, start: int, end: int, drawn: Mapping[str, Look]) -> str:
    if span is None:
        return '<span class="lane"></span>'
    look = drawn[span.label]
    classes = ["lane", _classes(look, span.kind == "extension")] + ["first"] * (span.start == start)
    classes += ["last"] if span.end == end else ["wide"]
    classes += ["of-word"] * _is_word(span)
    label = span.label.partition(":")[2] if _is_word(span) else span.label  # its lane says the namespace
    name = f'<span class="name">{escape(visible(label))}</span>' if span.start == start else ""
    return (
        f'<span class="{" ".join(classes)}" data-key="{escape(span.key)}" aria-hidden="true" '
        f'style="{_ink(look)}">{name}</span>'
    )


def _spoken(span: DrawnSpan, tokens: Sequence[str], gaps: Sequence[str]) -> str:
    score = "" if span.score is None else f" {span.score:.2f}"
    kind = "" if span.kind == "target" else " (extension)"
    inner = (tokens[i] + gaps[i] for i in range(span.start, span.end - 1))
    return visible(f"{''.join(inner)}{tokens[span.end - 1]}: {span.label}{score}{kind}")
