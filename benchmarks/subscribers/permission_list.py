"""Measure the permission list: how fast it is read, what a key takes, and how fast it closes one.

Opt-outs are published one at a time, and counted from before they are handed to the client until
the list's answer is no.
"""

import asyncio
import resource
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from typing import Annotated, Any

import typer
from confluent_kafka import Producer
from rich.table import Table

from benchmarks.events import BEGAN
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from izin.consent import Channel, ConsentKey, RecipientType
from izin.kafka.access import KafkaAccess
from izin.kafka.clients import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.subscribers import Answer, PermissionList

_PARTITIONS = 12
_BRAND = 100001
_WITHIN = 10.0
_PAGE = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTiming:
    """What was measured of one list."""

    keys: int
    load_seconds: float
    """From the start until it was complete."""
    bytes_per_key: float
    """Of the list itself."""
    grown_mib: float
    """By which the resident memory of the process grew, with its Kafka clients."""
    answer_us: float
    """Of elapsed time, for a key that is known."""
    closed_ms: tuple[float, ...]
    """For each opt-out."""


def permission_list(
    keys: Annotated[int, typer.Option(min=100, help="Keys that may be sent to.")] = 1_000_000,
    opt_outs: Annotated[int, typer.Option(min=2, help="Opt-outs, one at a time.")] = 500,
) -> RunReport:
    """Measure the permission list: its start, its memory, its answers, and its opt-outs."""
    with (
        progress().status(f"publishing and reading {keys:,} permissions"),
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), partitions=_PARTITIONS) as settings,
    ):
        _publish(settings, keys)
        found = asyncio.run(_measure(settings, keys, opt_outs))
    p99 = quantiles(found.closed_ms, n=100, method="inclusive")[98]
    rate = found.keys / found.load_seconds
    table = Table(title=f"A list of {found.keys:,} permissions, {opt_outs} opt-outs")
    headings = ("keys/s read", "bytes/key", "process grew", "µs/answer")
    for heading in (*headings, "opt-out p50", "opt-out p99"):
        table.add_column(heading, justify="right")
    p50 = quantiles(found.closed_ms, n=2, method="inclusive")[0]
    memory = (f"{found.bytes_per_key:.0f}", f"{found.grown_mib:.0f} MiB")
    cells = (f"{rate:,.0f}", *memory, f"{found.answer_us:.1f}")
    table.add_row(*cells, f"{p50:.1f} ms", f"{p99:.1f} ms")
    return RunReport(
        tables=[table],
        data=asdict(found),
        figures={
            "permission-list-load": rate,
            "permission-list-memory": found.bytes_per_key,
            "permission-list-answer": found.answer_us,
            "permission-list-opt-out": p99,
        },
    )


async def _measure(settings: KafkaSettings, keys: int, opt_outs: int) -> ListTiming:
    closed = threading.Event()

    def on_change(_key: ConsentKey, answer: Answer) -> None:
        if not answer.may_send:
            closed.set()

    access = KafkaAccess(
        bootstrap_servers=settings.bootstrap_servers, topic_prefix=settings.topic_prefix
    )
    before, began = _resident_bytes(), time.perf_counter()
    async with PermissionList(access=access, on_change=on_change) as permissions:
        seconds = time.perf_counter() - began
        grown, size = _resident_bytes() - before, sys.getsizeof(permissions)
        answer_us = _answer_us(permissions, keys)
        client = producer(settings, **{"linger.ms": 0})
        closed_ms = [
            await asyncio.to_thread(_close_one, client, settings, _key(number), closed)
            for number in range(opt_outs)
        ]
        count = len(permissions)
    return ListTiming(
        keys=count,
        load_seconds=seconds,
        bytes_per_key=size / count,
        grown_mib=grown / 2**20,
        answer_us=answer_us,
        closed_ms=tuple(closed_ms),
    )


def _close_one(
    client: Producer, settings: KafkaSettings, key: ConsentKey, closed: threading.Event
) -> float:
    """Publish an opt-out, and return after how many milliseconds the key was closed."""
    topic = settings.topics.opt_outs
    value = Codec().encode(topic.record, _opt_out(key))
    closed.clear()
    began = time.perf_counter()
    client.produce(topic.name, key=key.encode(), value=value)
    client.poll(0)
    if not closed.wait(_WITHIN):
        raise TimeoutError(f"an opt-out did not close its key within {_WITHIN:.0f} s")
    return (time.perf_counter() - began) * 1000


def _answer_us(permissions: PermissionList, keys: int) -> float:
    asked = [_key(number % keys) for number in range(10_000)]
    began = time.perf_counter()
    for key in asked:
        if not permissions.may_send(key):
            raise ValueError("a permission is missing from the list")
    return (time.perf_counter() - began) / len(asked) * 1_000_000


def _publish(settings: KafkaSettings, keys: int) -> None:
    topic = settings.topics.permissions
    codec = Codec()
    encode = codec.template_encoder(topic.record, _permission(_key(0)), {"recipient"})
    # The ledger writes pages of 2,000 records over all partitions.
    client = producer(settings, **{"batch.num.messages": 2_000 // _PARTITIONS})
    for number in range(keys):
        key = _key(number)
        value = encode({"recipient": key.recipient})
        while True:
            try:
                client.produce(topic.name, key=key.encode(), value=value)
                break
            except BufferError:
                client.poll(0.1)
    if client.flush(60):
        raise TimeoutError("the broker did not take the permissions within 60 s")


def _key(number: int) -> ConsentKey:
    return ConsentKey(
        brand_code=_BRAND,
        channel=Channel.MESAJ,
        recipient_type=RecipientType.BIREYSEL,
        recipient=f"+90555{number:07}",
    )


def _fields(key: ConsentKey) -> dict[str, Any]:
    return {
        "customer_id": "acme",
        "brand_code": key.brand_code,
        "type": str(key.channel),
        "recipient_type": str(key.recipient_type),
        "recipient": key.recipient,
    }


def _permission(key: ConsentKey) -> dict[str, Any]:
    return {
        **_fields(key),
        "may_send": True,
        "previous_may_send": None,
        "retailers": None,
        "reason": "registered",
        "desired": "ONAY",
        "registered": "ONAY",
        "registered_at": BEGAN,
        "consent_date": BEGAN,
        "since": BEGAN,
    }


def _opt_out(key: ConsentKey) -> dict[str, Any]:
    at = BEGAN + timedelta(days=1)
    return {
        **_fields(key),
        "status": "RET",
        "previous_status": "ONAY",
        "effective_at": at,
        "origin_rank": 2,
        "event_id": "event",
        "origin": "iys",
        "source": "IYS_WEB",
        "consent_date": at,
        "registrable": True,
        "latest_onay_at": BEGAN,
        "latest_ret_at": at,
        "law_version": 2,
    }


def _resident_bytes() -> int:
    return int(_PAGE.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
