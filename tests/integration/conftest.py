"""The simulator of İYS, in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

READY_WITHIN = 20.0


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """Yield the address of a running simulator; only this process is ended afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "iys_simulator", "serve", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_healthy(address, process)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the simulator answers; fail if it ended or takes too long."""
    give_up_at = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up_at:
        assert process.poll() is None, "the simulator ended"
        try:
            if httpx.get(f"{address}/__simulator__/health", timeout=1, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    pytest.fail(f"the simulator is not healthy after {READY_WITHIN} s")
