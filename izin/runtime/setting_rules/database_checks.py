"""Whether the connections to PostgreSQL are encrypted as production needs them."""

from collections.abc import Iterator

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from izin.runtime.setting_rules.checks import Given

_VERIFYING = ("verify-full", "verify-ca")


def plain_database(url: str) -> Iterator[str]:
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
            "IZIN_PRODUCTION=true refuses DATABASE_URL without sslmode=verify-full (it verifies "
            "certificate and host of the server) or verify-ca (the certificate alone): any other "
            "mode accepts a server that is not yours, or no encryption; add "
            "?sslmode=verify-full&sslrootcert=<file of the authority>, or name the folder of a "
            "Unix socket as host"
        )
