"""Ports of 127.0.0.1: find a free one, or name the one that is taken."""

import random
import socket

from izin.local.errors import LocalError, PortTakenError

HOST = "127.0.0.1"

# Below the kernel's ephemeral range, so that no outgoing connection takes the port between our
# check and the server's start.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier run in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_listening(address: str) -> bool:
    """Return whether a program accepts connections on `address`, a `host:port`, now."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that is free. Raises LocalError when none was found."""
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads runs apart, hides nothing
        if is_free(port):
            return port
    raise LocalError(f"no free port between {_FIRST} and {_LAST} on {HOST}")


def claim(port: int | None, *, name: str, setting: str) -> int:
    """Return `port` if it is free, or any free port for None.

    Raises:
        PortTakenError: It is taken; the message names `name`, the port and `setting`.
    """
    if port is None:
        return free_port()
    if not is_free(port):
        raise PortTakenError(name=name, port=port, setting=setting)
    return port
