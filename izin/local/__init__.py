"""Real servers on one machine, without Docker: Kafka, PostgreSQL, a schema registry.

The package imports no other package of izin, and only the console, the demo, benchmarks and tests
import it. Downloads go to the user's cache folder, data to the state folder given. Servers listen
on 127.0.0.1 only and end with the process that started them, even when that is killed.
"""

from izin.local.errors import (
    DigestError,
    DownloadError,
    JavaMissingError,
    LocalError,
    PackageMissingError,
    PortTakenError,
    StartError,
    StateInUseError,
)
from izin.local.kafka import Kafka
from izin.local.postgres import Postgres, create_database, ensure_database
from izin.local.processes import Child, Command, RestartPolicy, Supervisor
from izin.local.reservations import free_port
from izin.local.servers import ApicurioRegistry, LocalServers

__all__ = (
    "ApicurioRegistry",
    "Child",
    "Command",
    "DigestError",
    "DownloadError",
    "JavaMissingError",
    "Kafka",
    "LocalError",
    "LocalServers",
    "PackageMissingError",
    "PortTakenError",
    "Postgres",
    "RestartPolicy",
    "StartError",
    "StateInUseError",
    "Supervisor",
    "create_database",
    "ensure_database",
    "free_port",
)
