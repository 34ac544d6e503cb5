"""``izin_reader`` of ``deploy/postgres/roles.sql``: it sees rows of its customers, no recipients,
and one recipient by a look that the history has; nothing leads around that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql
from pydantic import SecretStr

from izin.ledger.db import Ledger
from izin.ledger.history import verify
from izin.runtime.masking import mask
from izin.runtime.settings import LedgerSettings
from tests.integration.ledger.test_roles import login_to, logins_of
from tests.support.project_rules import ROOT
from tests.support.secure import Authority, behind_tls
from tests.support.servers.distribution import copy_database, drop_database

pytestmark = pytest.mark.database
OURS, THEIRS = "acme", "beta"
PHONE, EMAIL, SHARED = "+905550000001", "ada.fake@example.com", "+905550000003"
THEIR_PHONE = "+905559999977"
RECIPIENTS = (PHONE, EMAIL, SHARED, THEIR_PHONE)
SECRET = "leak-of-a-secret"
"""In each column that no view may show."""
THEIR_WORDS = (THEIRS, "200001")
"""What only a row of the other customer has."""
FILLED = reduce(
    lambda text, word: text.replace(*word),
    {
        "{secret}": SECRET,
        "{phone}": PHONE,
        "{email}": EMAIL,
        "{shared}": SHARED,
        "{theirs}": THEIR_PHONE,
    }.items(),
    (ROOT / "tests/support/customers/two_customers.sql").read_text("utf-8"),
)
FORBIDDEN: tuple[LiteralString, ...] = (
    "SELECT * FROM consents",
    "SELECT recipient FROM consents",
    "SELECT count(*) FROM history",
    "SELECT secret FROM subscribers",
    "SELECT access_token FROM access_tokens",
    "SELECT secret_hash FROM api_keys",
    "SELECT body FROM submissions",
    "SELECT * FROM outbox",
    "SELECT * FROM erasures",
    "SELECT content FROM daily_parts",
    "TABLE reading.logins",
    "INSERT INTO reading.logins VALUES (session_user, NULL)",
    "UPDATE reading.brands SET customer_id = 'acme'",
    "DELETE FROM reading.consents",
    "INSERT INTO reading.customers (customer_id) VALUES ('x')",
    "SELECT FROM reading.consents FOR SHARE",
    "LOCK TABLE reading.consents",
    "INSERT INTO history SELECT * FROM history",
    "SELECT reading.keys('+905550000001')",
    "SELECT erase_history('{}', '{}', '{}', '{}', now())",
    "SELECT create_month('2099-01-01')",
    "SELECT nextval('delivery_batches')",
    "SELECT setval('delivery_batches', 1)",
    "SET ROLE izin_worker",
    "SET SESSION AUTHORIZATION izin_worker",
    "SET session_replication_role = replica",
    "CREATE TEMPORARY TABLE brands (brand_code integer)",
    "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE VIEW reading.more AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE OR REPLACE FUNCTION reading.brands() RETURNS integer[] LANGUAGE sql AS 'SELECT NULL'",
    "ALTER VIEW reading.consents SET (security_barrier = false)",
    "GRANT izin_worker TO session_user",
    "COPY reading.consents TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT FROM pg_authid",
    "SELECT reading.digest(gen_random_uuid(), '+905550000001')",
    "ALTER ROLE izin_reader SUPERUSER",
)
"""What would show what is not the reader's to see, change anything, or lead to either."""


@contextmanager
def a_ledger(postgres: str, ledger_template: str, authority: Authority) -> Iterator[str]:
    """Give a ledger with roles, which is reached through TLS alone."""
    name = f"t{uuid4().hex[:12]}"
    url = copy_database(postgres, name, ledger_template)
    with behind_tls(url, authority.issue("ledger"), authority) as secured:
        logins_of(secured)
        yield secured
    drop_database(postgres, name)


@pytest.fixture
def another(postgres: str, ledger_template: str, authority: Authority) -> Iterator[str]:
    """Give a ledger that a test may spoil."""
    with a_ledger(postgres, ledger_template, authority) as url:
        yield url


@pytest.fixture(scope="module")
def owner(postgres: str, ledger_template: str, authority: Authority) -> Iterator[str]:
    """Give a ledger of two customers, whose every table has what no reader may see."""
    with a_ledger(postgres, ledger_template, authority) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILLED.encode())
        yield url


def reader_of(owner: str, *customers: str | None) -> str:
    """Return the URL of a new reader's login that sees these customers; None: every one."""
    # Without digits, else it could be masked, as what looks like a recipient is.
    name = f"reader-{''.join(chr(97 + number % 26) for number in uuid4().bytes[:8])}"
    with psycopg.connect(owner, autocommit=True) as connection:
        url = login_to(connection, owner, name, "izin_reader")
        for one in customers:
            connection.execute("INSERT INTO reading.logins VALUES (%s, %s)", [name, one])
    return url


@pytest.fixture(scope="module")
def reader(owner: str) -> str:
    """Give the URL of a reader of one customer."""
    return reader_of(owner, OURS)


@pytest.fixture(scope="module")
def views(owner: str) -> list[str]:
    """Give the names of the views."""
    with psycopg.connect(owner) as connection:
        found = connection.execute("""SELECT relname FROM pg_class WHERE relkind = 'v' AND
            relnamespace = 'reading'::regnamespace AND reloptions @> '{security_barrier=true}'""")
        names = [name for (name,) in found]
        (count,) = connection.execute(
            "SELECT count(*) FROM pg_views WHERE schemaname = 'reading'"
        ).fetchone() or (0,)
    assert len(names) == count > 15, "each is a barrier"
    return names


def seen(login: str, views: list[str]) -> dict[str, list[str]]:
    """Return what a login sees in each view, each row as a text."""
    with psycopg.connect(login, autocommit=True) as client:
        return {
            name: [
                row
                for (row,) in client.execute(
                    sql.SQL("SELECT v::text FROM {} AS v").format(sql.Identifier("reading", name))
                )
            ]
            for name in views
        }


@pytest.mark.parametrize("act", FORBIDDEN)
def test_reader_may_read_its_views_and_nothing_else(reader: str, act: LiteralString):
    """Whatever program it uses, the server refuses."""
    with psycopg.connect(reader) as client, pytest.raises(errors.InsufficientPrivilege):
        client.execute(act)


def test_reader_sees_its_customer_alone_and_nobody_in_the_clear(
    owner: str, reader: str, views: list[str]
):
    """In every view, of which each has something of both customers."""
    found = seen(reader, views)
    assert {name for name, rows in found.items() if not rows} == set()
    text = "\n".join(f"{name} {row}" for name, rows in found.items() for row in rows)
    for hidden in (SECRET, *RECIPIENTS, *(one.strip("+") for one in RECIPIENTS), "eve@"):
        assert hidden not in text, hidden
    for row in text.splitlines():
        assert not [one for one in THEIR_WORDS if one in row], row
    shown = [row for row in found["consents"] if mask(PHONE) in row or mask(EMAIL) in row]
    assert len(shown) == 2
    everything = seen(reader_of(owner, None), views)
    assert SECRET not in str(everything)
    assert not [one for one in RECIPIENTS if one in str(everything)]
    for name, rows in everything.items():
        assert len(rows) > len(found[name]), f"{name} has nothing of the other"


def test_reader_of_both_customers_sees_both_and_one_of_none_nothing(owner: str, views: list[str]):
    """What a login sees is in one table of the owner."""
    assert not any(seen(reader_of(owner), views).values())
    both = seen(reader_of(owner, OURS, THEIRS), views)
    assert {len(both["customers"]), len(both["brands"])} == {2}
    assert len(both["consents"]) == 5, "without those of the brand that nobody has registered"


def test_brand_that_moves_takes_its_rows_with_it(another: str):
    """Whose a row is, the brand's customer of today says."""
    with psycopg.connect(another, autocommit=True) as connection:
        connection.execute(FILLED.encode())
        ours = reader_of(another, OURS)
        connection.execute("UPDATE brands SET customer_id = 'beta' WHERE brand_code = 100001")
    assert seen(ours, ["consents", "history", "brands", "complaints"]) == {
        "consents": [],
        "history": [],
        "brands": [],
        "complaints": [],
    }


@pytest.mark.parametrize("condition", ["recipient", "brand_code::text", "desired_source"])
def test_condition_of_a_reader_meets_no_row_of_another(owner: str, reader: str, condition: str):
    """Not even one that costs nothing, and tells what it is given: the views are barriers."""
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("""CREATE OR REPLACE FUNCTION public.leak(word text) RETURNS boolean
            COST 0.0000001 LANGUAGE plpgsql
            AS $$ BEGIN RAISE NOTICE '%', word; RETURN true; END $$""")
    said: list[str] = []
    with psycopg.connect(reader) as client:
        client.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        client.execute(
            sql.SQL("SELECT count(*) FROM reading.consents WHERE public.leak({})").format(
                sql.SQL(condition)  # type: ignore[arg-type]
            )
        )
    assert len(said) == 3
    assert not [one for one in said if one in {*RECIPIENTS, "200001"} or "77" in one]


def test_search_path_of_a_reader_changes_nothing(owner: str, reader: str):
    """Functions and views have their own: tables of the same names elsewhere are not asked."""
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("""CREATE SCHEMA IF NOT EXISTS evil;
            CREATE TABLE IF NOT EXISTS evil.brands (brand_code integer, customer_id text);
            INSERT INTO evil.brands VALUES (200001, 'acme');
            CREATE OR REPLACE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql
                AS 'SELECT NULL::bytea';
            GRANT USAGE ON SCHEMA evil TO PUBLIC; GRANT SELECT ON evil.brands TO PUBLIC""")
    with psycopg.connect(reader, autocommit=True) as client:
        client.execute("SET search_path = evil, reading, pg_catalog")
        assert client.execute("SELECT reading.brands()").fetchone() == ([100001],)
        found = client.execute("SELECT DISTINCT brand_code FROM reading.consents").fetchall()
        assert found == [(100001,)]
        (number,) = client.execute(
            "SELECT reading.look(%s, 'ticket 4711')", [THEIR_PHONE]
        ).fetchone() or (None,)
        assert (
            client.execute("SELECT reading.looked(%s, %s)", [number, THEIR_PHONE]).fetchall() == []
        )


def test_statistics_and_other_sessions_tell_a_reader_nothing(owner: str, reader: str):
    """The most common values of a column are recipients; a statement may name one."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()"
    with (
        psycopg.connect(owner, autocommit=True) as other,
        psycopg.connect(owner, autocommit=True) as third,
        psycopg.connect(reader) as client,
    ):
        other.execute("ANALYZE")
        common = "SELECT FROM pg_stats WHERE tablename = 'consents' AND attname = 'recipient'"
        assert other.execute(common).rowcount == 1
        for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
            shown = "SELECT FROM {} WHERE schemaname IN ('public', 'reading')"
            found = client.execute(sql.SQL(shown).format(sql.Identifier(view)))
            assert found.rowcount == 0, view
        other.execute(f"SELECT '{THEIR_PHONE}'".encode())
        assert third.execute(asked, [f"%{THEIR_PHONE}%"]).fetchone() == (1,)
        assert client.execute(asked, [f"%{THEIR_PHONE}%"]).fetchone() == (0,)


def test_masks_are_those_of_the_logs(reader: str):
    """One way to mask a recipient, in SQL too."""
    given = [*RECIPIENTS, "", "1234", "12345", "@example.com", "a%40example.com"]
    with psycopg.connect(reader) as client:
        for one in given:
            assert client.execute("SELECT reading.masked(%s)", [one]).fetchone() == (mask(one),)


def a_look(login: str, recipient: str, reason: str | None = "ticket 4711") -> str:
    """Look at a recipient; return the number of the look."""
    with psycopg.connect(login, autocommit=True) as client:
        row = client.execute("SELECT reading.look(%s, %s)", [recipient, reason]).fetchone()
    assert row is not None
    return str(row[0])


def looked(login: str, number: str, recipient: str) -> list[tuple[str, str]]:
    """Return kind and key of each row that a look shows."""
    with psycopg.connect(login, autocommit=True) as client:
        return client.execute(
            "SELECT kind, key FROM reading.looked(%s, %s)", [number, recipient]
        ).fetchall()


def acts_of(owner: str, key: str) -> list[tuple[str, str, str]]:
    """Return who looked, why, and of which customer the entry is, of a key."""
    with psycopg.connect(owner) as connection:
        return connection.execute(
            """SELECT data ->> 'by', data #>> '{after,reason}', customer_id FROM history
            WHERE key = %s AND data ->> 'act' = 'look' ORDER BY place""",
            [key],
        ).fetchall()


async def test_look_shows_one_recipient_and_is_in_the_history(owner: str, reader: str):
    """Who, when, at whom and why, linked as every entry; only what is of the reader's customers."""
    login = str(psycopg.conninfo.conninfo_to_dict(reader)["user"])
    key = f"100001/MESAJ/BIREYSEL/{SHARED}"
    found = looked(reader, a_look(reader, SHARED), SHARED)
    assert {one for _, one in found} == {key}
    assert {kind for kind, _ in found} == {"consent", "act", "answer"}
    assert acts_of(owner, key) == [(login, "ticket 4711", OURS)]
    assert acts_of(owner, f"200001/MESAJ/BIREYSEL/{SHARED}") == []
    nobody = "+905550000009"
    assert looked(reader, a_look(reader, nobody, "nobody is known"), nobody) == []
    assert (login, "nobody is known", OURS) in acts_of(owner, "person/unnamed")
    with psycopg.connect(owner) as connection:
        stored = connection.execute(
            "SELECT string_agg(data::text, '') FROM history WHERE shard = 15"
        )
        assert nobody not in str(stored.fetchone())
    with psycopg.connect(reader) as client:
        shown = client.execute(
            "SELECT by, why, subject, recipient FROM reading.acts WHERE act = 'look'"
        ).fetchall()
    assert (login, "ticket 4711", "consent", mask(SHARED)) in shown
    assert (login, "nobody is known", "person", None) in shown


async def test_looks_are_linked_as_the_verifier_computes(another: str):
    """PostgreSQL writes what `izin ledger verify` reads."""
    reader = reader_of(another, None)
    for reason in ("Şikâyet 4711", 'of "quotes" \\ and\nlines', "\u0001\u001f\u007f control"):
        a_look(reader, PHONE, reason)
    async with Ledger(LedgerSettings(database_url=SecretStr(another)), owner=1) as ledger:
        found = await verify.verify(ledger, ())
        assert (found.rows, list(found.faults)) == (3, [])
        await ledger.fetch("UPDATE chains SET place = 2 WHERE shard = 15 RETURNING place")
        assert (await verify.verify(ledger, ())).faults


@pytest.mark.parametrize("reason", [None, "", "   ", "..", "x", "x" * 501])
def test_look_without_a_reason_is_refused(owner: str, reader: str, reason: str | None):
    """And leaves no trace, for it showed nothing."""
    key = f"100001/MESAJ/BIREYSEL/{PHONE}"
    before = acts_of(owner, key)
    with pytest.raises(errors.InvalidParameterValue, match="reason"):
        a_look(reader, PHONE, reason)
    assert acts_of(owner, key) == before


def test_look_of_a_login_without_customers_is_refused(owner: str):
    """It would fill the history, and show nothing."""
    with pytest.raises(errors.InsufficientPrivilege, match=r"reading\.logins"):
        a_look(reader_of(owner), PHONE)


@pytest.mark.parametrize("between", ["", "SAVEPOINT a; RELEASE a"])
def test_look_that_is_not_committed_shows_nothing(owner: str, reader: str, between: LiteralString):
    """Else a ROLLBACK would undo the look, and leave what was seen."""
    with psycopg.connect(reader) as client:
        if between:
            client.execute("SAVEPOINT outer_one")
        row = client.execute("SELECT reading.look(%s, 'ticket 4711')", [EMAIL]).fetchone()
        assert row is not None
        if between:
            client.execute(between)
        with pytest.raises(errors.InsufficientPrivilege, match="COMMIT"):
            client.execute("SELECT reading.looked(%s, %s)", [row[0], EMAIL])
        client.rollback()
        with pytest.raises(errors.InsufficientPrivilege, match="COMMIT"):
            client.execute("SELECT reading.looked(%s, %s)", [row[0], EMAIL])
    assert acts_of(owner, f"100001/EPOSTA/BIREYSEL/{EMAIL}") == []


def test_look_is_for_whoever_looked_and_at_that_recipient(owner: str, reader: str):
    """Its number shows neither another recipient nor anything to another login, and ends soon."""
    number = a_look(reader, PHONE)
    assert looked(reader, number, PHONE)
    for login, recipient, of in (
        (reader, EMAIL, number),
        (reader, f" {PHONE}", number),
        (reader_of(owner, OURS), PHONE, number),
        (reader, PHONE, str(uuid4())),
    ):
        with pytest.raises(errors.InsufficientPrivilege, match="no look"):
            looked(login, of, recipient)
    with psycopg.connect(owner, autocommit=True) as connection:
        # The one thing that cannot be waited for: the look was a quarter of an hour ago.
        connection.execute("ALTER TABLE history DISABLE TRIGGER history_append_only")
        connection.execute("SELECT create_month((now() - interval '16 minutes')::date)")
        connection.execute("""UPDATE history SET recorded_at = recorded_at - interval '15 minutes'
            WHERE shard = 15""")
        connection.execute("ALTER TABLE history ENABLE TRIGGER history_append_only")
    with pytest.raises(errors.InsufficientPrivilege, match="no look"):
        looked(reader, number, PHONE)


def test_look_waits_for_a_worker_to_begin_the_month(another: str):
    """A reader that does not commit must not keep the workers from it."""
    reader = reader_of(another, None)
    with psycopg.connect(another, autocommit=True) as connection:
        connection.execute("UPDATE history_months SET dropped_at = now()")
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="worker"):
        a_look(reader, PHONE)


def test_look_that_is_not_committed_keeps_no_worker_waiting(owner: str, reader: str):
    """It has one chain of sixteen, whatever it looks at."""
    with psycopg.connect(reader) as client, psycopg.connect(owner) as worker:
        for recipient in RECIPIENTS:
            client.execute("SELECT reading.look(%s, 'ticket 4711')", [recipient])
        free = worker.execute("SELECT shard FROM chains FOR UPDATE SKIP LOCKED").fetchall()
        client.rollback()
    assert sorted(free) == [(number,) for number in range(15)]
