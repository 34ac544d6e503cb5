"""Waiting for a change, in an event loop."""

import asyncio


class Wakeup:
    """Wakes everyone who waits for a change.

    Take ``next`` before you look; what changes while you look then wakes you too.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What is set at the next change."""
        return self._event

    def notify(self) -> None:
        """Wake all."""
        self._event.set()
        self._event = asyncio.Event()
