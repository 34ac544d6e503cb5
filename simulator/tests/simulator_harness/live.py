"""A simulator that listens on a loopback port, in a thread of the test process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from iys_simulator import Settings, SimulatorState, build_app
from iys_simulator.store.accounts import Account, Subscription
from simulator_harness.client import IYS_CODE, a_brand


@contextmanager
def listening(state: SimulatorState) -> Iterator[str]:
    """Yield the base URL of the simulator while it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(build_app(state), log_level="warning", ws="none")
        server = uvicorn.Server(config)
        ready = threading.Event()
        # Called when the server has started, so nothing waits for a time.
        startup = server.startup

        async def start(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            ready.set()

        server.startup = start  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert ready.wait(10)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def new_state() -> SimulatorState:
    """Return a simulator by the machine's clock, with the account and brand of the fixtures."""
    state = SimulatorState(
        Settings(requests_per_second=0, token_limit=0, push_https_required=False)
    )
    account = Account(username="api@example.com", password="fake", iys_code=IYS_CODE)
    state.directory.add_account(account, Subscription(iys_code=IYS_CODE))
    state.directory.add_brand(a_brand())
    return state
