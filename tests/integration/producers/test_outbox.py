"""The relay of an outbox, as a process between a real PostgreSQL and a real Kafka."""

import json
import re
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.producers.outbox.__main__ import OutboxSql
from izin.producers.outbox.relay import LANES, sql
from izin.runtime.settings import KafkaSettings
from tests.support.builders import BRAND, PHONE
from tests.support.outbox import create_outbox, insert, relayed, rows_in
from tests.support.outbox_process import OutboxProcess
from tests.support.project_rules import ROOT
from tests.support.published import publish_brand
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.database]
CUSTOMERS = """
CREATE TABLE customers (
    id bigint PRIMARY KEY, phone text, sms_allowed boolean, sms_changed_at timestamptz
)
"""


@pytest.fixture
def relay(settings: KafkaSettings, empty_database: str) -> OutboxProcess:
    publish_brand(settings)
    create_outbox(empty_database, "table")  # run twice, it changes nothing
    return OutboxProcess(settings, empty_database)


def opt_in(**columns: object) -> dict[str, object]:
    return {
        "status": "ONAY",
        "source": "HS_WEB",
        "consent_date": datetime.now(UTC).isoformat(),
        **columns,
    }


def test_changes_of_the_example_are_relayed_and_the_outbox_is_empty(
    relay: OutboxProcess, settings: KafkaSettings, empty_database: str
):
    """A consent, what changes nothing, and an opt-out; by a session that writes dates otherwise."""
    with psycopg.connect(empty_database) as connection:
        connection.execute(CUSTOMERS)
        connection.execute(sql("example"))
    at = datetime.now(UTC).replace(microsecond=0)
    options = "-c datestyle=SQL,DMY -c TimeZone=America/New_York"
    with relay.running() as process:
        with psycopg.connect(empty_database, options=options) as connection:
            connection.execute(
                "INSERT INTO customers VALUES (17, %s, TRUE, %s), (18, %s, NULL, NULL)",
                [PHONE, at - timedelta(hours=1), PHONE],
            )
        with psycopg.connect(empty_database, options=options) as connection:
            connection.execute("UPDATE customers SET sms_allowed = sms_allowed")
            connection.execute(
                "UPDATE customers SET sms_allowed = FALSE, sms_changed_at = %s WHERE id = 17", [at]
            )
        until(lambda: rows_in(empty_database) == 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    found = dict(relayed(settings))
    refusal, consent = found[settings.topics.express.name], found[settings.topics.events.name]
    assert [(one.status, one.consent_date, one.source) for one in (consent, refusal)] == [
        ("ONAY", at - timedelta(hours=1), "HS_WEB"),
        ("RET", at, "HS_WEB"),
    ]
    assert (refusal.brand_code, refusal.recipient) == (BRAND, PHONE)
    assert (refusal.origin, refusal.origin_ref) == ("crm", "17")
    assert rows_in(empty_database, "izin_outbox_refused") == 0


def test_row_that_cannot_be_published_is_put_aside_and_stops_nothing(
    relay: OutboxProcess, settings: KafkaSettings, empty_database: str
):
    """An opt-out whose key can be read is published all the same."""
    with psycopg.connect(empty_database) as connection:
        aside = {
            insert(connection, **opt_in(consent_date=None)): {"H112"},
            insert(connection, **opt_in(brand_code=1)): {"IZIN-BRAND-UNKNOWN"},
            insert(connection, **opt_in(evidence="[1, 2]")): {"IZIN-EVIDENCE"},
            insert(connection, recipient="12"): {"H121"},
            insert(connection, brand_code="nonsense"): {"IZIN-NOT-A-NUMBER"},
        }
        published = [
            insert(connection, consent_date="the day before", evidence="7", sequence="x" * 3000),
            insert(connection, status=" Hayır ", created_at="infinity"),
            insert(connection, **opt_in(evidence='{"address": "192.0.2.1"}')),
        ]
    with relay.running():
        until(lambda: rows_in(empty_database) == 0)
        metrics = f"http://127.0.0.1:{relay.operations_port}/metrics"
        for counted in ('rows_total{outcome="refused"} 5.0', 'rows_total{outcome="published"} 3.0'):
            until(lambda counted=counted: counted in httpx.get(metrics, trust_env=False).text)
    with psycopg.connect(empty_database) as connection:
        refused = connection.execute("SELECT id, violations FROM izin_outbox_refused").fetchall()
    assert {id_: {one["code"] for one in found} for id_, found in refused} == aside
    assert PHONE not in json.dumps([found for _, found in refused])
    events = [event for _, event in relayed(settings)]
    assert Counter(one.status for one in events) == {"RET": 2, "ONAY": 1}
    assert len(events) == len(published)


def test_page_is_followed_word_for_word(
    relay: OutboxProcess, settings: KafkaSettings, empty_database: str
):
    """Its row is published by a role that has no more rights than it gives, and a row that was put
    aside is corrected and moved back.
    """
    role = f"r{uuid4().hex[:12]}"
    page = (ROOT / "docs" / "outbox.md").read_text("utf-8").replace("izin_relay LOGIN", "{} LOGIN")
    blocks = re.findall(r"```sql\n(.*?)```", page.replace("TO izin_relay", f"TO {role}"), re.DOTALL)
    customers, by_hand, show, correct, rights = (one.replace("{}", role) for one in blocks)
    address = urlsplit(empty_database)
    place = f"{role}:obviously-fake@{address.hostname}:{address.port}"
    limited = OutboxProcess(settings, urlunsplit(address._replace(netloc=place)))
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for statement in (customers, sql("example"), by_hand, rights):
            connection.execute(statement.encode())
        try:
            insert(connection, recipient="12")
            with limited.running():
                until(lambda: rows_in(empty_database) == 0)
                assert [id_ for id_, *_ in connection.execute(show.encode())] == [2]
                for statement in correct.strip().rstrip(";").split(";"):
                    connection.execute(statement.encode())
                until(lambda: len(relayed(settings)) == 2)
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    assert {event.recipient for _, event in relayed(settings)} == {
        "+905550000001",
        "+905550000002",
    }
    for name in OutboxSql:
        assert CliRunner().invoke(app, ["outbox", "--sql", name]).output == sql(name)
        assert f"izin outbox --sql {name}" in page


def test_row_is_relayed_again_after_a_crash_before_its_deletion(
    relay: OutboxProcess, settings: KafkaSettings, empty_database: str
):
    """Kafka has acknowledged it; the deletion waits for a lock when the relay is killed. The event
    that is written again has the same id, and says the same.
    """
    with psycopg.connect(empty_database) as lock:
        lock.execute("LOCK TABLE izin_outbox_refused")
        with relay.running():
            with psycopg.connect(empty_database) as connection:
                insert(connection, evidence='{"address": "192.0.2.1"}')
            until(lambda: len(relayed(settings)) == 1)
        assert rows_in(empty_database) == 1
    with relay.running():
        until(lambda: rows_in(empty_database) == 0)
    (_, first), (_, second) = relayed(settings)
    assert first == second


def test_notification_wakes_the_relay(
    relay: OutboxProcess, settings: KafkaSettings, empty_database: str
):
    """It would look again after a minute only."""
    create_outbox(empty_database, "notify")
    patient = OutboxProcess(settings, empty_database, IZIN_OUTBOX_POLL_INTERVAL="PT60S")
    with patient.running():
        until(lambda: _waits(empty_database, lanes=2))
        with psycopg.connect(empty_database) as connection:
            insert(connection)
            insert(connection, **opt_in())
        until(lambda: len(relayed(settings)) == 2)


def _waits(url: str, *, lanes: int) -> bool:
    """Whether the last that so many lanes did was to end a look at the outbox."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name LIKE 'izin-outbox-%' AND state = 'idle' AND query = 'COMMIT'"
        ).fetchone()
    return found == (lanes,)


def test_id_that_is_committed_late_or_never_holds_nothing_up(
    relay: OutboxProcess, settings: KafkaSettings, empty_database: str
):
    """A transaction took the lowest id and is open while later ones are relayed; one is undone."""

    def references() -> list[str | None]:
        return sorted(str(event.origin_ref) for _, event in relayed(settings))

    with relay.running(), psycopg.connect(empty_database) as late:
        lowest = insert(late, origin_ref="late")
        with psycopg.connect(empty_database) as undone:
            insert(undone, origin_ref="undone")
            undone.rollback()
        with psycopg.connect(empty_database) as prompt:
            assert insert(prompt, origin_ref="prompt") == lowest + 2
        until(lambda: references() == ["prompt"])
        late.commit()
        until(lambda: references() == ["late", "prompt"])


@pytest.mark.parametrize("lane", range(len(LANES)))
def test_claim_reads_the_index_of_its_lane(empty_database: str, lane: int):
    """So that it takes no longer the more there is."""
    create_outbox(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute("SET enable_seqscan = off")  # as in a session of the relay
        plan = connection.execute(
            f"EXPLAIN {sql('claim')}".encode(), {"lane": lane, "batch_size": 500}
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Index Scan using izin_outbox_lanes" in text
    assert "Sort" not in text
