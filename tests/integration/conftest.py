"""The İYS simulator, in a process of its own."""

from collections.abc import Iterator

import pytest

from tests.support.simulator import SimulatorAdmin, running_simulator


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorAdmin]:
    """Give the admin API of a running simulator, which all tests of a process share."""
    with running_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator
