"""How long work says how far it is: whoever shows it, and whatever the work is."""

from typing import Protocol


class OnProgress(Protocol):
    """What long work calls from time to time, with how much is done, of how much.

    The unit is the work's own (records, keys, partitions). ``total`` may grow while it runs.
    """

    def __call__(self, done: int, total: int, /) -> None:
        """Show, or keep, that so much of ``total`` is done."""


def silent(_done: int, _total: int, /) -> None:
    """Show no progress."""
