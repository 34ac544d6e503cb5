"""Connections to PostgreSQL: what notices a silent network, and whether a URL can be used, and is
encrypted as production needs it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from izin.runtime.setting_rules.checks import Given

CONNECT_TIMEOUT = 10.0
NETWORK: Mapping[str, Any] = {
    "connect_timeout": round(CONNECT_TIMEOUT),
    # A peer that is gone is noticed within half a minute, with a question under way or without.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_VERIFYING = ("verify-full", "verify-ca")


def no_url(url: str, variable: str) -> Iterator[str]:
    """Yield the fault of what is no PostgreSQL URL; libpq's own reason would quote its password."""
    try:
        conninfo_to_dict(url)
    except Error:
        yield (
            f"{variable} is no PostgreSQL URL such as postgresql://user:password@host:5432/name; "
            "in a password write %40 for @ and %2F for /"
        )


def plain_database(url: str, variable: str = "DATABASE_URL") -> Iterator[str]:
    """Yield the fault of a PostgreSQL URL whose connections would not be verified TLS.

    What the URL leaves out libpq takes from its own variables, such as ``PGSSLMODE``. The server is
    surely on this machine where each host is the folder of a Unix socket.
    """
    defaults = {
        get_default.keyword.decode(): get_default.val.decode()
        for get_default in Conninfo.get_defaults()
        if get_default.val
    }
    try:
        parts: Given = {**defaults, **conninfo_to_dict(url)}
    except Error:
        return  # whoever connects reports that it is no URL
    hosts = str(parts.get("host") or "").split(",")
    if all(host.startswith("/") for host in hosts) and not {"hostaddr", "service"} & parts.keys():
        return
    if parts.get("sslmode") not in _VERIFYING:
        yield (
            f"IZIN_PRODUCTION=true refuses {variable} without sslmode=verify-full (it verifies "
            "certificate and host of the server) or verify-ca (the certificate alone): any other "
            "mode accepts a server that is not yours, or no encryption; add "
            "?sslmode=verify-full&sslrootcert=<file of the authority>, or name the folder of a "
            "Unix socket as host"
        )
