"""The intake as a process of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.producers.waiting import until
from tests.support.builders import BRAND, CUSTOMER

TOKEN = "not-a-real-token"


def a_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def publish_brand(settings: KafkaSettings) -> None:
    """Register the brand of the tests."""
    brand = {
        "brand_code": BRAND,
        "iys_code": 200001,
        "customer_id": CUSTOMER,
        "name": "Example",
        "activated_at": None,
        "loading_deadline": None,
        "status": "active",
    }
    client = producer(settings)
    client.produce(
        settings.topics.brands.name,
        key=str(BRAND).encode(),
        value=Codec().encode("Brand", brand),
    )
    assert client.flush(20) == 0


@contextmanager
def running_intake(
    settings: KafkaSettings, port: int, *, script: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield an intake that starts on ``port``; ``script`` runs instead of the module."""
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_INTAKE_PORT": str(port),
        "IZIN_INTAKE_TOKENS": json.dumps([TOKEN]),
    }
    command = ["-m", "izin.producers"] if script is None else ["-c", script]
    with subprocess.Popen([sys.executable, *command], env=environment) as one:
        try:
            yield one
        finally:
            if one.poll() is None:
                one.kill()


@contextmanager
def intake_client(process: subprocess.Popen[bytes], port: int) -> Iterator[httpx.Client]:
    """Yield a client of a running intake, which is ready."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=20,
    ) as one:
        until(lambda: process.poll() is not None or _is_healthy(one))
        yield one


def _is_healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False
