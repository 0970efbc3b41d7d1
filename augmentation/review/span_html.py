"""The one renderer of labelled spans as HTML: nested, overlapping and same-start spans as stacked lines.

Standard library only. All text is escaped. The sentence stays real text that can be selected and searched; every
piece that carries labels can be reached by the keyboard and says its labels to a screen reader.
"""

import colorsys
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

STYLE = """
.spans { line-height: 1.4; overflow-wrap: anywhere; margin: 0.4em 0; }
.spans .plain { white-space: pre-wrap; vertical-align: top; unicode-bidi: isolate; }
.spans .piece { display: inline-block; vertical-align: top; white-space: pre; margin-bottom: 0.35em; }
.spans .piece:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.spans .lane { display: block; box-sizing: border-box; height: 1.15rem; user-select: none; }
.spans .lane { font: 600 0.75rem/1rem system-ui, sans-serif; }
.spans .on { color: light-dark(var(--ink-on-light), var(--ink-on-dark)); border-top: 3px solid; }
.spans .on.extension { border-top: 2px dashed; font-weight: 400; }
.spans .first { margin-left: 1px; }
.spans .last { margin-right: 2px; }
.spans .name { unicode-bidi: isolate; color: inherit; }
.spans .wide .name { display: inline-block; width: 0; overflow: visible; }
.spans .hidden { display: none; }
.spans .rejected { opacity: 0.4; text-decoration: line-through; }
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


def drawn_spans(row: Mapping[str, Any]) -> list[DrawnSpan]:
    """Targets and extensions of a row; keys are `start-end-label`."""
    spans = []
    for field, kind in (("entities", "target"), ("extensions", "extension")):
        for span in row.get(field) or ():
            key = f"{span['start']}-{span['end']}-{span['label']}"
            spans.append(DrawnSpan(span["start"], span["end"], span["label"], kind, span.get("score"), key))
    return spans


@cache
def label_colours(label: str) -> tuple[str, str]:
    """Two colours of one hue for a label, for white and for near-black (#181818) ground, contrast at least 4.5."""
    hue = int.from_bytes(hashlib.sha256(label.encode()).digest()[:2], "big") / 65536
    return _shade(hue, ground=1.0, step=-0.01), _shade(hue, ground=_luminance(*[0x18 / 255] * 3), step=0.01)


def _shade(hue: float, ground: float, step: float) -> str:
    lightness = 0.5
    while True:
        channels = [round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, 0.75)]
        low, high = sorted((ground, _luminance(*(channel / 255 for channel in channels))))
        if (high + 0.05) / (low + 0.05) >= 4.5:
            return "#" + "".join(f"{channel:02x}" for channel in channels)
        lightness += step


def _luminance(*channels: float) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


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


def render(tokens: Sequence[str], spans: Iterable[DrawnSpan], *, unit: str, gaps: Sequence[str] | None = None) -> str:
    """
    A sentence with its spans drawn under it.

    Args:
        tokens: the units.
        spans: what to draw; target lines are solid, extension lines dashed; a line begins with its label.
        unit: `character` (units join without space) or `word`.
        gaps: what stands after each unit, where the original text is known.

    Returns:
        An HTML fragment, `<div class="spans">…</div>`; it needs `STYLE` in the page.
    """
    drawn = list(spans)
    lane_of = lanes(drawn)
    if gaps is None:
        gaps = ["" if unit == "character" else " "] * (len(tokens) - 1) + [""]
    written = [token + gap for token, gap in zip(tokens, gaps, strict=True)] if tokens else []
    pieces = []
    for start, end in itertools.pairwise(_borders(len(tokens), drawn, LONGEST_PIECE[unit])):
        here = {lane_of[i]: span for i, span in enumerate(drawn) if span.start <= start and end <= span.end}
        if not here:
            pieces.append(_plain("".join(written[start:end])))
            continue
        # No line runs on under a gap that no span covers, and there the text may break.
        goes_on = any(end < span.end for span in here.values())
        text = "".join(written[start : end - 1]) + (written if goes_on else tokens)[end - 1]
        rows = "".join(_lane(here.get(lane), start, end) for lane in range(max(here) + 1))
        spoken = escape(", ".join(_spoken(s, tokens, gaps) for s in here.values() if s.start == start))
        stop = f' tabindex="0" role="group" aria-label="{spoken}" title="{spoken}"' if spoken else ""
        pieces.append(f'<span class="piece"{stop}>{escape(visible(text))}{rows}</span>')
        if not goes_on and gaps[end - 1]:
            pieces.append(_plain(gaps[end - 1]))
    return f'<div class="spans" dir="auto">{"".join(pieces)}</div>'


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


def _lane(span: DrawnSpan | None, start: int, end: int) -> str:
    if span is None:
        return '<span class="lane"></span>'
    on_light, on_dark = label_colours(span.label)
    classes = ["lane", "on", span.kind] + ["first"] * (span.start == start)
    classes += ["last"] if span.end == end else ["wide"]
    classes += ["of-word"] * _is_word(span)
    label = span.label.partition(":")[2] if _is_word(span) else span.label  # its lane says the namespace
    name = f'<span class="name">{escape(visible(label))}</span>' if span.start == start else ""
    return (
        f'<span class="{" ".join(classes)}" data-key="{escape(span.key)}" aria-hidden="true" '
        f'style="--ink-on-light:{on_light};--ink-on-dark:{on_dark}">{name}</span>'
    )


def _spoken(span: DrawnSpan, tokens: Sequence[str], gaps: Sequence[str]) -> str:
    score = "" if span.score is None else f" {span.score:.2f}"
    kind = "" if span.kind == "target" else " (extension)"
    inner = (tokens[i] + gaps[i] for i in range(span.start, span.end - 1))
    return visible(f"{''.join(inner)}{tokens[span.end - 1]}: {span.label}{score}{kind}")
