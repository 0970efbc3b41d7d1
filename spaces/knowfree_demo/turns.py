"""Whose turn it is where a visitor asks again before the answer has come."""


class Superseded(Exception):
    """The visitor has asked for something else meanwhile."""


class Turns:
    """Counts what a visitor asks for, so that what an earlier request finds late is not shown."""

    def __init__(self) -> None:
        self.last = 0

    def take(self) -> int:
        """The number of a new request."""
        self.last += 1
        return self.last

    def check(self, turn: int) -> None:
        """
        Whether a request is still the last.

        Raises:
            Superseded: it is not.
        """
        if turn != self.last:
            raise Superseded
