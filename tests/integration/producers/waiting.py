"""Waiting for an effect, with a limit."""

import threading
from collections.abc import Callable
from time import monotonic


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Return as soon as ``holds`` does."""
    deadline = monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert monotonic() < deadline, "it never happened"
        pause.wait(0.01)
