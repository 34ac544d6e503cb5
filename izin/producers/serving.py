"""The intake as a process: Kafka first, then the port; on SIGTERM the port first, then Kafka.

What was answered with 202 is in Kafka already, so a stop loses nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from izin.producers.brands import BrandReader
from izin.producers.intake import Intake, intake_app
from izin.producers.publish import Publisher
from izin.runtime.observe import get_logger

if TYPE_CHECKING:
    from izin.runtime.settings import IntakeSettings, KafkaSettings
    from izin.schemas.codec import Codec

_DELIVERY = timedelta(seconds=10)
_DRAIN = 20
_CONCURRENCY = 256

_log = get_logger(__name__)


def utc_now() -> datetime:
    """Return the instant it is now."""
    return datetime.now(UTC)


def serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
    """Serve the intake until SIGTERM or SIGINT; raises BrokerError if Kafka is away at first."""
    uvloop.run(_serve(kafka, intake, codec))


async def _serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
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
        with Publisher(kafka, codec, clock=utc_now, delivery_timeout=_DELIVERY) as publisher:
            door = Intake(
                publisher, directory, intake.tokens, clock=utc_now, chance=secrets.token_bytes
            )
            server = uvicorn.Server(
                uvicorn.Config(
                    intake_app(door),
                    host=intake.host,
                    port=intake.port,
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    limit_concurrency=_CONCURRENCY,
                    timeout_graceful_shutdown=_DRAIN,
                )
            )
            if not stopped.is_set():
                _log.info("intake-up", host=intake.host, port=intake.port, brands=len(directory))
                await server.serve()
    finally:
        await asyncio.to_thread(following.__exit__, None, None, None)
