"""Whose bulk is folded next: one partition's at a time, in the order of asking.

Folding keeps the event loop busy. Were the batches of all partitions folded side by side, each
would take as long as all of them, and an opt-out waits for the batch in hand of its partition. What
is urgent takes no turn.
"""

from collections import deque
from collections.abc import Callable


class Turns:
    """Grants turns, one at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_taken = False

    def ask(self, grant: Callable[[], None]) -> None:
        """Call ``grant`` once it is the asker's turn, which it ends by :meth:`end`."""
        if self._is_taken:
            self._waiting.append(grant)
        else:
            self._is_taken = True
            grant()

    def end(self) -> None:
        """End the turn that was granted."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._is_taken = False


class Turn:
    """One asker's turn; ``wake`` is called when it comes."""

    def __init__(self, turns: Turns, wake: Callable[[], None]) -> None:
        self.is_mine = False
        self._turns = turns
        self._wake = wake
        self._is_asked = False
        self._is_wanted = False

    def want(self) -> None:
        """Ask for a turn, unless there is one or it was asked for."""
        self._is_wanted = True
        if not self.is_mine and not self._is_asked:
            self._is_asked = True
            self._turns.ask(self._grant)

    def give_back(self) -> None:
        """End the turn, or let it pass when it comes."""
        self._is_wanted = False
        if self.is_mine:
            self.is_mine = False
            self._turns.end()

    def _grant(self) -> None:
        self._is_asked = False
        if self._is_wanted:
            self.is_mine = True
            self._wake()
        else:
            self._turns.end()
