"""The intake as a process: its port is taken first, and opened once Kafka is there; on SIGTERM the
port goes first, then Kafka.

What was answered with 202 is in Kafka already, so a stop loses nothing.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import signal
import socket
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from izin.consent.errors import OurError
from izin.producers.brand_directory import BrandReader
from izin.producers.intake.endpoint import Intake, intake_app
from izin.producers.publishing.publisher import KafkaPublisher
from izin.runtime.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from izin.runtime.settings import IntakeSettings, KafkaSettings
    from izin.schemas.codec import Codec

_DELIVERY = timedelta(seconds=10)
_DRAIN = 20
_CONCURRENCY = 256
_BACKLOG = 2048

_log = get_logger(__name__)


class PortError(OurError):
    """The intake cannot listen where its settings say."""


def utc_now() -> datetime:
    """Return the instant it is now."""
    return datetime.now(UTC)


def serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
    """Serve the intake until SIGTERM or SIGINT; raises PortError if its port is taken, BrokerError
    if Kafka is away at first.
    """
    with closing(_claimed(intake)) as port:
        uvloop.run(_serve(kafka, intake, codec, port))


@contextmanager
def _named(intake: IntakeSettings) -> Iterator[None]:
    """Let an error of the port through as one that names the settings."""
    try:
        yield
    except OSError as error:
        where = f"{intake.host}:{intake.port}"
        if error.errno == errno.EADDRINUSE:
            cure = "the port is taken; set IZIN_INTAKE_PORT to another"
        else:
            cure = f"{error.strerror}; are IZIN_INTAKE_HOST and IZIN_INTAKE_PORT right?"
        raise PortError(f"the intake cannot listen on {where}: {cure}") from error


def _claimed(intake: IntakeSettings) -> socket.socket:
    """Return a socket that holds the port; until it listens, whoever calls is turned away."""
    with _named(intake):
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            intake.host, intake.port, type=socket.SOCK_STREAM
        )
        port = socket.socket(family, kind, protocol)
        try:
            # Connections of an earlier run that linger do not count.
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(address)
        except OSError:
            port.close()
            raise
        return port


async def _serve(
    kafka: KafkaSettings, intake: IntakeSettings, codec: Codec, port: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    server: uvicorn.Server | None = None
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        if server is not None:
            server.should_exit = True

    # Uvicorn raises the signal again once it has stopped; this handler then lets us close Kafka.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    reader = BrandReader(kafka, codec)
    following = reader.follow()
    directory = await asyncio.to_thread(following.__enter__)
    try:
        with KafkaPublisher(kafka, codec, clock=utc_now, delivery_timeout=_DELIVERY) as publisher:
            door = Intake(
                publisher, directory, intake.tokens, clock=utc_now, chance=secrets.token_bytes
            )
            server = uvicorn.Server(
                uvicorn.Config(
                    intake_app(door),
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    limit_concurrency=_CONCURRENCY,
                    timeout_graceful_shutdown=_DRAIN,
                )
            )
            if not stopped.is_set():
                with _named(intake):
                    # Two may hold a port that nobody listens on.
                    port.listen(_BACKLOG)
                _log.info("intake-up", host=intake.host, port=intake.port, brands=len(directory))
                await server.serve(sockets=[port])
    finally:
        await asyncio.to_thread(following.__exit__, None, None, None)
