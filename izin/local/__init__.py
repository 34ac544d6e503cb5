"""Real servers on one machine, without Docker: Kafka, PostgreSQL, a schema registry.

Outside the house: it imports no other floor, and none imports it. What is downloaded is kept in
the user's cache folder, what is stored in the state folder given. Servers listen on 127.0.0.1 only
and end with the process that started them, even when that is killed.
"""

from izin.local.child import Child, Command
from izin.local.databases import create_database, drop_database
from izin.local.errors import (
    DownloadError,
    JavaMissingError,
    LocalError,
    PackageMissingError,
    PortTakenError,
    StartError,
    StateInUseError,
)
from izin.local.kafka import Kafka
from izin.local.ports import free_port
from izin.local.postgres import Postgres
from izin.local.registry import Registry
from izin.local.servers import House
from izin.local.supervisor import Backoff, Supervisor

__all__ = (
    "Backoff",
    "Child",
    "Command",
    "DownloadError",
    "House",
    "JavaMissingError",
    "Kafka",
    "LocalError",
    "PackageMissingError",
    "PortTakenError",
    "Postgres",
    "Registry",
    "StartError",
    "StateInUseError",
    "Supervisor",
    "create_database",
    "drop_database",
    "free_port",
)
