"""A clock that a test moves."""


class ManualClock:
    """Seconds, as of a monotonic clock."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
