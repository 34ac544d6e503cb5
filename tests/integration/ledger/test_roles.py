"""The roles of ``deploy/postgres/roles.sql``: a sink worker does its work as one that cannot touch
the proof.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql
from pydantic import SecretStr

from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from tests.integration.sinks.sink_harness import SinkHarness, onay, ret, until
from tests.integration.sinks.test_worker import a_worker, publish
from tests.support.builders import PHONE
from tests.support.project_rules import ROOT
from tests.support.servers.distribution import copy_database, drop_database
from tests.support.simulator import SimulatorAdmin

pytestmark = pytest.mark.database
ROLES = (ROOT / "deploy/postgres/roles.sql").read_text("utf-8")
FORBIDDEN_TO_WORKERS = (
    "DELETE FROM history",
    "UPDATE history SET customer_id = 'other'",
    "TRUNCATE history",
    "ALTER TABLE history DISABLE TRIGGER ALL",
    "DROP TRIGGER history_append_only ON history",
    "DROP TABLE {month}",
    "DELETE FROM {month}",
    "UPDATE {month} SET customer_id = 'other'",
    "INSERT INTO {month} SELECT * FROM history",
    "TRUNCATE {month}",
    "ALTER TABLE history DETACH PARTITION {month}",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    "DELETE FROM anchors",
    "UPDATE anchors SET place = 0",
    "TRUNCATE anchors",
    "DELETE FROM chains",
    "INSERT INTO chain_cuts (shard, place, link, cut_at) VALUES (0, 0, '', now())",
    "UPDATE history_months SET retain_until = 'infinity'",
    "DELETE FROM legal_holds",
    "INSERT INTO legal_holds DEFAULT VALUES",
    "DELETE FROM migrations",
    "SELECT drop_month(current_date, now())",
    "SET session_replication_role = replica",
    "CREATE TABLE public.anything (id integer)",
    "TRUNCATE consents",
)
"""What would change the proof, or the rules that keep it."""
FORBIDDEN_TO_OPERATORS = (
    "DELETE FROM history",
    "UPDATE history SET customer_id = 'other'",
    "ALTER TABLE history DISABLE TRIGGER ALL",
    "UPDATE anchors SET place = 0",
    "DELETE FROM legal_holds",
    "DELETE FROM migrations",
)


def logins_of(url: str) -> dict[str, str]:
    """Make the roles in the ledger of ``url``; return the URL of a login of each."""
    database = urlsplit(url).path.strip("/")
    names = {role: f"{database}_{role}" for role in ("izin_worker", "izin_operator")}
    with psycopg.connect(url, autocommit=True) as owner:
        for _ in range(2):  # it can be repeated
            with owner.transaction():
                owner.execute(ROLES)
        found = {role: login_to(owner, url, name, role) for role, name in names.items()}
        owner.execute("SELECT create_month(current_date)")
    return found


def login_to(owner: psycopg.Connection, url: str, name: str, role: str) -> str:
    """Make a login in a role; return its URL."""
    make = "CREATE ROLE {} LOGIN PASSWORD 'of the tests' IN ROLE {}"
    owner.execute(sql.SQL(make).format(*map(sql.Identifier, (name, role))))
    return _as(url, name)


@pytest.fixture(scope="module")
def logins(postgres: str, ledger_template: str) -> Iterator[dict[str, str]]:
    """Give the URL of a login of each role in one ledger."""
    name = f"t{uuid4().hex[:12]}"
    yield logins_of(copy_database(postgres, name, ledger_template))
    drop_database(postgres, name)


def _as(url: str, user: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:of%20the%20tests@{host}"))


@pytest.mark.parametrize(
    ("role", "act"),
    [
        *(("izin_worker", act) for act in FORBIDDEN_TO_WORKERS),
        *(("izin_operator", act) for act in FORBIDDEN_TO_OPERATORS),
    ],
)
def test_act_that_would_change_the_proof_is_refused(logins: dict[str, str], role: str, act: str):
    """By the server, whatever program runs it."""
    month = f"history_{datetime.now(UTC):%Y_%m}"
    with psycopg.connect(logins[role]) as client, pytest.raises(errors.InsufficientPrivilege):
        client.execute(act.format(month=month))


def test_operator_may_order_what_people_order(logins: dict[str, str]):
    """Hold a case, keep a month for longer, and clear what a rebuild has computed."""
    with psycopg.connect(logins["izin_operator"]) as client:
        client.execute("SELECT create_month(current_date)")
        client.execute("UPDATE history_months SET retain_until = retain_until + 1")
        client.execute("TRUNCATE shadow_consents, shadow_slices, shadow_differences")


@pytest.mark.broker
async def test_sink_worker_works_as_one_that_owns_nothing(  # fixtures
    harness: SinkHarness,
    ledger_url: str,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
    iys: SimulatorAdmin,
):
    """It ingests, submits, anchors and publishes, and creates the month of the history."""
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    quick = iys_settings.model_copy(update={"result_delay": timedelta(seconds=0.3)})
    iys.post("settings", resultDelay=0.2)
    settings = LedgerSettings(database_url=SecretStr(logins_of(ledger_url)["izin_worker"]))
    anchored = "SELECT FROM anchors HAVING count(*) > 0 AND NOT EXISTS (SELECT FROM outbox)"
    async with a_worker(kafka_settings, settings, quick, operations_port=free_port()):
        publish(kafka_settings, *harness.decided(onay()))
        await until(lambda: iys.register() == {PHONE: "ONAY"})
        publish(kafka_settings, *harness.decided(ret()))
        await until(lambda: iys.register() == {PHONE: "RET"})
        await until(harness.is_settled)
        await until(lambda: harness.ledger.fetch(anchored))
