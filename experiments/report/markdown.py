"""Text of data or people in Markdown pages: what a report and a card show of names that nobody here chose."""

import re

from markupsafe import Markup

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
# An underscore between letters or digits is no markup, and stays: names of variants are read in terminals too.
MARKUP = re.compile(r"[\\`*\[\]{}<>()#+!|~&\"'$:@/]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def one_line(value: object) -> str:
    """Text without line breaks, control characters and changes of direction."""
    return CONTROLS.sub("\ufffd", " ".join(str(value).split()))


def inert(value: object) -> Markup:
    """Text for a Markdown page: shown as it is, with no markup or link of its own."""
    return Markup(MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(value)))
