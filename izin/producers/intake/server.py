"""The intake as a process.

It binds its port first and listens once Kafka is reachable; on SIGTERM it closes the port first,
then Kafka. Whatever was answered with 202 is in Kafka, so stopping loses nothing.
"""

import asyncio
import errno
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import uvicorn
import uvloop

from izin.consent.errors import OurError
from izin.producers.brand_directory import BrandReader
from izin.producers.intake.endpoint import Intake, intake_app
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.publishing.kafka_publisher import KafkaPublisher
from izin.runtime.observe import get_logger
from izin.runtime.settings import IntakeSettings, KafkaSettings
from izin.schemas.codec import Codec

_DELIVERY = timedelta(seconds=10)
_DRAIN = 20
_CONCURRENCY = 256
_BACKLOG = 2048

_log = get_logger(__name__)


class PortError(OurError):
    """The intake cannot listen on its configured address."""


def utc_now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


def serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
    """Serve the intake until SIGTERM or SIGINT.

    Raises:
        PortError: the address cannot be used.
        BrokerError: Kafka cannot be reached at the start.
    """
    with closing(_bound(intake)) as listener:
        uvloop.run(_serve(kafka, intake, codec, listener))


@contextmanager
def _port_errors(intake: IntakeSettings) -> Iterator[None]:
    """Raise PortError, which names the settings, where the block raises OSError."""
    try:
        yield
    except OSError as error:
        where = f"{intake.host}:{intake.port}"
        if error.errno == errno.EADDRINUSE:
            remedy = "the port is taken; set IZIN_INTAKE_PORT to another"
        else:
            remedy = f"{error.strerror}; are IZIN_INTAKE_HOST and IZIN_INTAKE_PORT right?"
        raise PortError(f"the intake cannot listen on {where}: {remedy}") from error


def _bound(intake: IntakeSettings) -> socket.socket:
    """Return a socket bound to the port; connections are refused until it listens."""
    with _port_errors(intake):
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            intake.host, intake.port, type=socket.SOCK_STREAM
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


async def _serve(
    kafka: KafkaSettings, intake: IntakeSettings, codec: Codec, listener: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    server: uvicorn.Server | None = None
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        if server is not None:
            server.should_exit = True

    # Uvicorn raises the signal again once it has stopped; with this handler, Kafka can be closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    reader = BrandReader(kafka, codec)
    following = reader.follow()
    directory = await asyncio.to_thread(following.__enter__)
    try:
        with (
            KafkaPublisher(kafka, codec, clock=utc_now, delivery_timeout=_DELIVERY) as publisher,
            ReceiptLog(
                kafka, codec, publisher.append, limit=intake.first_receipts, clock=utc_now
            ).follow() as receipts,
        ):
            endpoint = Intake(
                publisher,
                directory,
                receipts,
                intake.tokens,
                clock=utc_now,
                chance=secrets.token_bytes,
            )
            server = uvicorn.Server(
                uvicorn.Config(
                    intake_app(endpoint),
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    limit_concurrency=_CONCURRENCY,
                    timeout_graceful_shutdown=_DRAIN,
                )
            )
            if not stopped.is_set():
                with _port_errors(intake):
                    # Several processes may bind a port that none listens on.
                    listener.listen(_BACKLOG)
                _log.info(
                    "intake started", host=intake.host, port=intake.port, brands=len(directory)
                )
                await server.serve(sockets=[listener])
    finally:
        await asyncio.to_thread(following.__exit__, None, None, None)
