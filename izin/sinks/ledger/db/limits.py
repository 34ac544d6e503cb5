"""How long the ledger may take: neither a silent network nor a server that hangs holds a worker."""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from izin.runtime.logs import get_logger
from izin.runtime.settings import LedgerSettings
from izin.sinks.record.errors import LedgerUnavailableError

CONNECT_TIMEOUT = 10.0
NETWORK: Mapping[str, Any] = {
    "connect_timeout": round(CONNECT_TIMEOUT),
    # A peer that is gone is noticed within half a minute, with a question under way or without.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
NO_URL = (
    "DATABASE_URL is not a PostgreSQL URL such as postgresql://user:password@host:5432/name; in a "
    "password write %40 for @ and %2F for /"
)

_log = get_logger(__name__)


def server_limits(url: str, settings: LedgerSettings) -> str:
    """Return the options of ``url`` with the server's own limits: below ours, so that what hangs
    there ends there first and names its reason. Raises LedgerUnavailableError for no URL.
    """
    limit = round(settings.transaction_limit.total_seconds() * 1000)
    limits = (
        f"-c {name}={share * limit // 4}"
        for name, share in (
            ("statement_timeout", 3),
            ("lock_timeout", 1),
            ("idle_in_transaction_session_timeout", 2),
        )
    )
    return " ".join((*limits, str(parts_of(url).get("options") or ""))).strip()


def parts_of(url: str) -> Mapping[str, Any]:
    """Return the parts of a PostgreSQL URL; raises LedgerUnavailableError where it is none."""
    try:
        return conninfo_to_dict(url)
    except psycopg.Error as error:
        # Its message would quote the URL, and the password in it.
        raise LedgerUnavailableError(NO_URL) from error


@contextmanager
def cut_after(connection: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Cut ``connection`` if the block takes longer: whoever waits for an answer then has none."""

    def cut() -> None:
        _log.error("ledger connection cut", seconds=seconds)
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    finally:
        timer.cancel()
