"""The roles of ``deploy/postgres/roles.sql``: a sink worker does its work as one that cannot touch
the proof.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql
from pydantic import SecretStr

from izin.cli.doctor.rights import of_login
from izin.ledger import reads
from izin.ledger.console import accounts, sessions
from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger
from izin.ledger.reads import LoginRights
from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from tests.integration.sinks.sink_harness import SinkHarness, onay, ret, until
from tests.integration.sinks.test_worker import a_worker, publish
from tests.support.builders import PHONE
from tests.support.project_rules import ROOT
from tests.support.secure import Authority, behind_tls
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
WHO_SIGNS_IN = (
    "SELECT password_hash FROM console_accounts",
    "UPDATE console_accounts SET role = 'admin'",
    "INSERT INTO console_links VALUES ('', 'ada', now())",
    "DELETE FROM console_sessions",
)
"""What would make anybody an administrator of the console."""
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
    roles = ("izin_worker", "izin_console", "izin_operator", "izin_reader")
    names = {role: f"{database}_{role}" for role in roles}
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
def logins(postgres: str, ledger_template: str, authority: Authority) -> Iterator[dict[str, str]]:
    """Give the URL of a login of each role in one ledger, which is reached through TLS alone."""
    name = f"t{uuid4().hex[:12]}"
    url = copy_database(postgres, name, ledger_template)
    with behind_tls(url, authority.issue("ledger"), authority) as secured:
        yield logins_of(secured)
    drop_database(postgres, name)


def _as(url: str, user: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:of%20the%20tests@{host}"))


@pytest.mark.parametrize(
    ("role", "act"),
    [
        *(("izin_worker", act) for act in FORBIDDEN_TO_WORKERS),
        *(("izin_console", act) for act in FORBIDDEN_TO_WORKERS),
        *(("izin_operator", act) for act in FORBIDDEN_TO_OPERATORS),
        *(("izin_worker", act) for act in WHO_SIGNS_IN),
        *(("izin_operator", act) for act in WHO_SIGNS_IN),
        *(("izin_reader", act) for act in WHO_SIGNS_IN),
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
        client.execute("CREATE TEMPORARY TABLE compared (key text)")
        client.execute("UPDATE history_months SET retain_until = retain_until + 1")
        client.execute("TRUNCATE shadow_consents, shadow_slices, shadow_differences")


async def test_console_alone_makes_and_reads_accounts(logins: dict[str, str]):
    """With an entry of the history each, as its worker's rights allow."""
    settings = LedgerSettings(database_url=SecretStr(logins["izin_console"]))
    now = datetime.now(UTC)
    async with Ledger(settings, owner=1) as ledger:
        await accounts.save(ledger, "ada", AccountRole.ADMIN, None, by="test", now=now)
        token = await sessions.make_link(ledger, "ada", by="test", now=now)
        assert await sessions.use_link(ledger, token, now=now) == "ada"
        assert [one.name for one in await accounts.every(ledger)] == ["ada"]


async def rights_of(url: str) -> LoginRights:
    """Return what the doctor asks of a login."""
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        return await reads.rights(ledger)


def found_of(rights: LoginRights, *, production: bool = True) -> list[tuple[str, str]]:
    """Return state and text of each finding of the doctor."""
    return [(one.state, one.what) for one in of_login(rights, production=production)]


async def test_doctor_finds_a_login_to_have_the_rights_of_its_role(ledger_url: str):
    """As roles.sql gives them; the owner's are for no process."""
    for role, url in logins_of(ledger_url).items():
        rights = await rights_of(url)
        assert (rights.role, rights.missing, rights.too_wide) == (role, [], [])
        assert [state for state, _ in found_of(rights)] == ["ok"]
    owner = await rights_of(ledger_url)
    assert [state for state, _ in found_of(owner, production=False)] == ["ok"]
    ((state, what),) = found_of(owner)
    assert state == "wrong"
    assert "owns the tables" in what


@pytest.mark.parametrize(
    ("change", "role", "what"),
    [
        ("GRANT DELETE ON history TO {login}", "izin_worker", "may do more .* DELETE on history;"),
        ("GRANT UPDATE ON anchors TO izin_worker", "izin_worker", "more .* UPDATE on anchors;"),
        ("GRANT SELECT ON {month} TO {login}", "izin_worker", "more .* SELECT on history_"),
        ("GRANT DELETE ON legal_holds TO {login}", "izin_operator", "more .* on legal_holds;"),
        ("GRANT SELECT ON outbox TO {login}", "izin_reader", "more .* SELECT on outbox;"),
        (
            "GRANT SELECT ON console_links TO izin_worker",
            "izin_worker",
            "more .* SELECT on console_links;",
        ),
        (
            "REVOKE UPDATE ON console_accounts FROM izin_console",
            "izin_console",
            "lacks .* UPDATE on console_accounts;",
        ),
        ("CREATE TABLE later (id integer)", "izin_worker", "lacks .* INSERT on later.*roles.sql"),
        ("REVOKE INSERT ON outbox FROM izin_worker", "izin_worker", "lacks .* INSERT on outbox;"),
        (
            "REVOKE EXECUTE ON FUNCTION create_month(date) FROM izin_worker",
            "izin_worker",
            "lacks .* EXECUTE on create_month",
        ),
        (
            "GRANT EXECUTE ON FUNCTION drop_month(date, timestamptz) TO {login}",
            "izin_worker",
            "more .* EXECUTE on drop_month",
        ),
        ("REVOKE izin_worker FROM {login}", "izin_worker", "in none of the roles.*GRANT"),
        ("ALTER TABLE history OWNER TO {login}", "izin_worker", "owns the tables"),
    ],
)
async def test_doctor_names_a_right_that_is_missing_or_too_wide(
    ledger_url: str, change: str, role: str, what: str
):
    """With the remedy, of whichever role the login is."""
    url = logins_of(ledger_url)[role]
    login, month = urlsplit(url).username or "", f"history_{datetime.now(UTC):%Y_%m}"
    with psycopg.connect(ledger_url, autocommit=True) as owner:
        owner.execute(change.format(login=login, month=month).encode())
    found = found_of(await rights_of(url))
    assert [state for state, _ in found] == ["wrong"]
    assert re.search(what, found[0][1])


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
