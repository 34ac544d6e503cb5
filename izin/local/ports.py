"""Ports of 127.0.0.1: a free one, or a clear word about a taken one."""

import random
import socket

from izin.local.errors import LocalError, PortTakenError

HOST = "127.0.0.1"

# Below the range the kernel lends to outgoing connections, so that none of those takes the port
# between our look and the server's start.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier run that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_listening(address: str) -> bool:
    """Tell whether somebody accepts connections on `address`, a `host:port`, now."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Find a port nobody listens on. Raises LocalError when none was found."""
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads runs apart, hides nothing
        if is_free(port):
            return port
    raise LocalError(f"no free port between {_FIRST} and {_LAST} on {HOST}")


def claim(port: int | None, *, name: str, setting: str) -> int:
    """Return `port` if it is free, or any free port for None.

    Raises PortTakenError, which names `name`, the port and `setting`.
    """
    if port is None:
        return free_port()
    if not is_free(port):
        raise PortTakenError(name=name, port=port, setting=setting)
    return port
