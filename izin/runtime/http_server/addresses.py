"""Where a server listens; what is wrong with an address is named by the settings of it."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from izin.consent import OurError


class PortError(OurError):
    """A server cannot listen on its configured address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a server listens."""

    server: str
    """What listens there, for a person."""
    host: str
    port: int
    settings: str
    """What the names of the settings of host and port begin with."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise PortError, which names the settings, where the block raises OSError."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = (
                    f"the port is taken; set {self.settings}_PORT to another beside one that runs; "
                    "one that is frozen (it answers no /health/live) is ended first, by kill -9"
                )
            else:
                remedy = (
                    f"{error.strerror}; are {self.settings}_HOST and {self.settings}_PORT right?"
                )
            where = f"{self.host}:{self.port}"
            raise PortError(f"{self.server} cannot listen on {where}: {remedy}") from error

    def bind(self) -> socket.socket:
        """Return a socket bound to the port; connections are refused until it listens.

        Raises:
            PortError: the address cannot be used.
        """
        with self.errors():
            (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )
            listener = socket.socket(family, kind, protocol)
            try:
                # Connections of an earlier run may linger.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
            except OSError:
                listener.close()
                raise
            return listener
