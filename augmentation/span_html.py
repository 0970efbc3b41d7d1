"""The one renderer of labelled spans as HTML: nested, overlapping and same-start spans as stacked lines.

Standard library only. All text is escaped. The sentence stays real text that can be selected and searched; every
piece that carries labels can be reached by the keyboard and says its labels to a screen reader.
"""

import colorsys
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = """
.spans { line-height: 1.5; overflow-wrap: anywhere; }
.spans .piece { display: inline-block; vertical-align: top; white-space: pre-wrap; position: relative; }
.spans .piece:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.spans .bar { display: block; height: 3px; margin-top: 2px; background: transparent; }
.spans .bar.named { height: auto; background: none; font: 600 0.62em/1.15 system-ui, sans-serif; white-space: nowrap; }
.spans .bar.first { border-top-left-radius: 3px; margin-left: 1px; }
.spans .bar.last { border-top-right-radius: 3px; margin-right: 1px; }
.spans .bar.on { border-top: 3px solid light-dark(var(--dark-ink), var(--light-ink)); }
.spans .bar.on { color: light-dark(var(--dark-ink), var(--light-ink)); min-height: 0.85em; overflow: visible; }
.spans .bar.extension.on { border-top-style: dashed; border-top-width: 2px; }
.spans .bar.rejected.on { opacity: 0.35; text-decoration: line-through; }
.spans .bar .name { position: relative; z-index: 1; }
.spans .gap { white-space: pre-wrap; }
.spans-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""
"""CSS that `render` relies on; put it once into the page."""


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


def label_colours(label: str) -> tuple[str, str]:
    """Two colours of one hue for a label, for light and for dark ground, both with a contrast of at least 4.5."""
    hue = int.from_bytes(hashlib.sha256(label.encode()).digest()[:2], "big") / 65536
    return _shade(hue, lambda luminance: 1.05 / (luminance + 0.05), False), _shade(
        hue, lambda luminance: (luminance + 0.05) / 0.0625, True
    )


def _shade(hue: float, contrast: Any, lighter: bool) -> str:
    lightness = 0.5
    for _ in range(40):
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.75)
        if contrast(_luminance(red, green, blue)) >= 4.6:
            break
        lightness += 0.0125 if lighter else -0.0125
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in (red, green, blue))


def _luminance(*channels: float) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def lanes(spans: Sequence[DrawnSpan]) -> list[int]:
    """A lane for each span, 0 nearest the text, so that no two spans in a lane share a unit. Short spans lie inside."""
    order = sorted(range(len(spans)), key=lambda i: (spans[i].end - spans[i].start, spans[i].start, spans[i].label))
    taken: list[list[DrawnSpan]] = []
    lane_of = [0] * len(spans)
    for i in order:
        span = spans[i]
        lane = next(
            (n for n, there in enumerate(taken) if all(s.end <= span.start or span.end <= s.start for s in there)),
            len(taken),
        )
        if lane == len(taken):
            taken.append([])
        taken[lane].append(span)
        lane_of[i] = lane
    return lane_of


def render(tokens: Sequence[str], spans: Iterable[DrawnSpan], *, unit: str) -> str:
    """
    A sentence with its spans drawn under it.

    Args:
        tokens: the units.
        spans: what to draw; gold lines are solid, extension lines dashed; a line begins with its label.
        unit: `character` (units join without space) or `word`.

    Returns:
        An HTML fragment, `<div class="spans">…</div>`; it needs `STYLE` in the page.
    """
    drawn = list(spans)
    lane_of = lanes(drawn)
    borders = sorted({0, len(tokens), *(s.start for s in drawn), *(s.end for s in drawn)})
    gap = "" if unit == "character" else " "
    pieces = []
    for start, end in zip(borders, borders[1:], strict=False):
        here = sorted(
            ((lane_of[i], span) for i, span in enumerate(drawn) if span.start <= start and end <= span.end),
            key=lambda item: item[0],
        )
        text = escape(gap.join(tokens[start:end]))
        space = gap if end < len(tokens) else ""
        if not here:
            pieces.append(f'<span class="gap">{text}{space}</span>')
            continue
        inside = [span for _, span in here if span.start < end < span.end]
        bars = "".join(_bar(span, start, end) if span else '<span class="bar"></span>' for span in _by_lane(here))
        spoken = escape(", ".join(_spoken(span, tokens, gap) for _, span in here), quote=True)
        pieces.append(
            f'<span class="piece" tabindex="0" role="group" aria-label="{spoken}" title="{spoken}">'
            f"{text}{space if inside else ''}{bars}</span>{'' if inside else space}"
        )
    return f'<div class="spans">{"".join(pieces)}</div>'


def _by_lane(here: Sequence[tuple[int, DrawnSpan]]) -> list[DrawnSpan | None]:
    by_lane = dict(here)
    return [by_lane.get(lane) for lane in range(max(by_lane) + 1)]


def _bar(span: DrawnSpan, start: int, end: int) -> str:
    light_ground, dark_ground = label_colours(span.label)
    classes = ["bar", "on", span.kind] + ["first"] * (span.start == start) + ["last"] * (span.end == end)
    name = f'<span class="name">{escape(span.label)}</span>' if span.start == start else "&nbsp;"
    return (
        f'<span class="{" ".join(classes)} named" data-key="{escape(span.key, quote=True)}" aria-hidden="true" '
        f'style="--dark-ink:{light_ground};--light-ink:{dark_ground}">{name}</span>'
    )


def _spoken(span: DrawnSpan, tokens: Sequence[str], gap: str) -> str:
    score = "" if span.score is None else f" {span.score:.2f}"
    kind = "" if span.kind == "target" else " (extension)"
    return f"{gap.join(tokens[span.start : span.end])}: {span.label}{score}{kind}"
