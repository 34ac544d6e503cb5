"""One small gate for all tests of senders."""

from collections.abc import Iterator

import pytest

from tests.support.subscribers.small_gate import SmallGate, small_gate


@pytest.fixture(scope="session")
def running_gate() -> Iterator[SmallGate]:
    """Yield a small gate."""
    with small_gate() as gate:
        yield gate


@pytest.fixture
def small(running_gate: SmallGate) -> SmallGate:
    """Return the small gate, which remembers nothing."""
    running_gate.reset()
    return running_gate
