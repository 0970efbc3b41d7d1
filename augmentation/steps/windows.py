"""Windows over long texts: cut at sentence ends where there are any, never inside a unit."""

from collections.abc import Callable, Sequence

from modeling_knowfree.windows_knowfree import SENTENCE_MARKS, WIDE_STOP, is_point

Range = tuple[int, int]

SENTENCE_ENDS = (*SENTENCE_MARKS, "\n")
CLAUSE_ENDS = ",，、;；:："


def _ends_sentence(tokens: Sequence[str], index: int) -> bool:
    token = tokens[index].strip(" ")
    following = tokens[index + 1] if index + 1 < len(tokens) else " "
    if token.endswith(WIDE_STOP):
        before = tokens[index - 1] if index else ""
        return not is_point(before + token + following, len(before + token) - 1)
    if token.endswith(SENTENCE_ENDS):
        return True
    # a full stop ends a sentence as a word of its own or before white space, not in 3.5
    return token.endswith(".") and ((len(token) == 1 and len(following) > 1) or following[:1].isspace())


def _ends_clause(tokens: Sequence[str], index: int) -> bool:
    return tokens[index].endswith(tuple(CLAUSE_ENDS))


def windows(tokens: Sequence[str], max_units: int) -> list[Range]:
    """Ranges `[start, end)` of at most `max_units` units that follow each other and cover all tokens.

    Each is as long as it can be and ends at the last sentence end inside it, else at the last clause end, else full.
    """
    ranges: list[Range] = []
    start = 0
    while len(tokens) - start > max_units:
        end = start + max_units
        for ends in (_ends_sentence, _ends_clause):
            borders = [i + 1 for i in range(start, end) if ends(tokens, i)]
            if borders:
                end = borders[-1]
                break
        ranges.append((start, end))
        start = end
    return [*ranges, (start, len(tokens))]


def halves(tokens: Sequence[str], start: int, end: int, allowed: Callable[[int], bool] | None = None) -> list[Range]:
    """Two parts of a range, cut nearest to its middle at a sentence end, else a clause end, else any unit.

    `allowed(border)` may rule out borders, such as those inside a word. A range that cannot be cut comes back whole.
    """
    borders = [border for border in range(start + 1, end) if allowed is None or allowed(border)]
    for ends in (_ends_sentence, _ends_clause, None):
        found = [border for border in borders if ends is None or ends(tokens, border - 1)]
        if found:
            middle = min(found, key=lambda border: abs(2 * border - start - end))
            return [(start, middle), (middle, end)]
    return [(start, end)]
