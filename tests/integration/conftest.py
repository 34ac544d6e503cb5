"""What several rooms need: the İYS simulator in a process of its own, and who is trusted by TLS."""

from collections.abc import Iterator

import pytest

from tests.support.secure.broker import CLIENT_ID
from tests.support.secure.certificates import Authority
from tests.support.secure.connections import SECRET
from tests.support.secure.https import running
from tests.support.secure.token_endpoint import TokenEndpoint
from tests.support.simulator import SimulatorAdmin, running_simulator


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorAdmin]:
    """Give the admin API of a running simulator, which all tests of a process share."""
    with running_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that issued no certificate of the tests' servers."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture
def endpoint(authority: Authority) -> Iterator[TokenEndpoint]:
    """Yield a token endpoint that knows our client."""
    server = TokenEndpoint(authority.issue("endpoint"), client_id=CLIENT_ID, secret=SECRET)
    with running(server):
        yield server
