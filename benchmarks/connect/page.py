"""The configuration of Kafka Connect that docs/connect.md shows, to be run as it is there."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from izin.local import LocalServers
from izin.local.servers import KAFKA, REGISTRY

# The package may be reached through a link.
PAGE = Path(__file__).resolve().parents[2] / "docs" / "connect.md"

_FILE = re.compile(r"(?ms)^```properties\n# (?P<name>[\w.-]+)\n(?P<content>.*?)^```$")


def files() -> dict[str, str]:
    """Return the files on the page by name: first the worker's, then one for each connector."""
    page = PAGE.read_text(encoding="utf-8")
    return {found["name"]: found["content"] for found in _FILE.finditer(page)}


def environment(servers: LocalServers, database_url: str, *, schema: str) -> dict[str, str]:
    """Return the variables that the page names, for tables in ``schema`` of a database."""
    given = servers.environment()
    database = urlsplit(database_url)
    registry = urlsplit(given[REGISTRY])
    return {
        "KAFKA_BOOTSTRAP_SERVERS": given[KAFKA],
        "APICURIO_REGISTRY_URL": f"http://{registry.netloc}/apis/registry/v2",
        "JDBC_URL": (
            f"jdbc:postgresql://{database.hostname}:{database.port}{database.path}"
            f"?currentSchema={schema}"
        ),
        "JDBC_USERNAME": database.username or "",
        "JDBC_PASSWORD": database.password or "",
    }
