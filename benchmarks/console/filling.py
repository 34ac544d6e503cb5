"""A large ledger for the console: settled keys and a year of history beside what tests fill in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.sink.fixture import BRANDS, consent_instants, event_of, for_each_brand
from izin.consent import RefusedEvent, admit, decide
from izin.ledger.history import history_codec
from izin.runtime.settings import KafkaSettings
from tests.support.builders import a_decision_record
from tests.support.console.site import filled

_YEAR = timedelta(days=365)
_SLICE = 500_000
_PARKED = """UPDATE consents SET state = 'parked', action = 'nothing', reason = 'reconsent'
    WHERE key IN (SELECT key FROM consents WHERE state = 'pending' AND recipient LIKE '+9053%%'
        ORDER BY key LIMIT %(count)s)"""
_DELIVERED = """INSERT INTO deliveries (batch, place, subscriber_id, customer_id, type, topic,
        partition, "offset", attempts, status, delivered_at, recorded_at, commitment, salt,
        webhook_id, key)
    SELECT 1000000 + n / 1000, n %% 1000, s.id, s.customer_id, 'consent.opted-out',
        'consent-opt-outs', 0, n, 1, 200, at, at, '', '', 'msg_' || n,
        (100001 + n %% 2) || '/MESAJ/BIREYSEL/+9054' || to_char(1 + n / 2, 'FM00000000')
    FROM subscribers AS s, generate_series(1, %(count)s::bigint) AS n, LATERAL (
        SELECT now() - interval '1 year' * (1 - n::float / %(count)s) AS at) AS instant
    WHERE s.name = 'crm'"""
_MONTHS = """SELECT create_month(day::date)
    FROM generate_series(%(since)s::timestamptz, now(), interval '1 month') AS day"""


async def fill_large(  # noqa: PLR0913  # how much of what, and where
    url: str,
    *,
    keys: int,
    entries: int,
    backlog: int,
    parked: int,
    on_progress: Callable[[str], None],
) -> None:
    """Add settled ``keys``, ``entries`` of history, a ``backlog`` that is due to İYS and ``parked``
    records to a ledger that is filled with a little of everything.
    """
    on_progress(f"{keys:,} keys")
    await for_each_brand(url, "settled_consents.sql", {"count": keys // len(BRANDS)})
    last = (backlog + parked) // len(BRANDS)
    await for_each_brand(
        url, "pending_consents.sql", {"first": 1, "last": last} | consent_instants()
    )
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(_PARKED.encode(), {"count": parked})
        until = datetime.now(UTC)
        since = until - _YEAR
        await connection.execute(_MONTHS, {"since": since})
        statement = (resources.files("benchmarks.console") / "history.sql").read_text("utf-8")
        for first in range(1, entries + 1, _SLICE):
            on_progress(f"{first - 1:,} of {entries:,} entries of history")
            count = min(_SLICE, entries - first + 1)
            begin = since + _YEAR * ((first - 1) / entries)
            values: dict[str, Any] = {
                "first": first,
                "count": count,
                "keys": keys,
                "since": begin,
                "until": since + _YEAR * ((first - 1 + count) / entries),
                "decisions": _decisions(begin),
            }
            await connection.execute(statement.encode(), values)
        await connection.execute(_DELIVERED, {"count": entries // 20})
        on_progress("analyzing")
        await connection.execute("VACUUM ANALYZE")


def fill_little(url: str, kafka: KafkaSettings, folder: Path) -> None:
    """Fill a migrated, empty ledger with a little of everything that a screen shows."""
    filled(url, kafka, folder)


def _decisions(at: datetime) -> list[bytes]:
    """Return decisions on a consent of each brand at an instant, then on an opt-out of each."""
    return [
        _decision(f"{code}/MESAJ/BIREYSEL/+905400000000", status, at.replace(microsecond=0))
        for status in ("ONAY", "RET")
        for code in BRANDS
    ]


def _decision(key: str, status: str, at: datetime) -> bytes:
    admitted = admit(event_of(key, status, at), appended_at=at)
    if isinstance(admitted, RefusedEvent):
        raise TypeError(f"the event is not admissible: {admitted.violations}")
    return history_codec().encode("Decision", a_decision_record(decide(None, admitted)))
