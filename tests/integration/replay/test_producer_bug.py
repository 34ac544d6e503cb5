"""The worked case of docs/replaying.md: a producer wrote wrong rows; found, corrected, redriven."""

import asyncio
import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from fastavro import schemaless_writer
from pydantic import SecretStr

from izin.cli.terminal.ledger_session import open_ledger
from izin.consent import ConsentEvent, Status
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas import contracts
from izin.schemas.contracts import Contract
from izin.schemas.records import event_to_avro
from tests.integration.replay.conftest import PARTITIONS
from tests.support.builders import NOON, a_key, an_event
from tests.support.order.verdict import Worker, all_held, until
from tests.support.replay.dead_letters import LetterHarness, Run, ingest_all, redrive

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.usefixtures("brand")]

ROWS, WITHOUT_SOURCE, OPTED_OUT = 200, 3, 20
"""Rows in a schema that this installation does not have; some lack their source too, and of some
the person opts out before anybody looks."""


def newer_contract() -> Contract:
    """Return the contract of the producer's release, which has one field more."""
    schema = copy.deepcopy(contracts.current()["ConsentEvent"].schema)
    schema["fields"].append({"name": "tomorrow", "type": ["null", "string"], "default": None})
    return contracts.contract("ConsentEvent", schema)


def framed(event: ConsentEvent, contract: Contract) -> bytes:
    """Return the bytes of ``event`` as a producer of the newer release writes it."""
    out = BytesIO()
    out.write(b"\xc3\x01" + contract.fingerprint)
    schemaless_writer(out, contract.parsed, event_to_avro(event) | {"tomorrow": "a text"})
    return out.getvalue()


@contextmanager
def working(topics: KafkaSettings, log: Path, **environment: str) -> Iterator[None]:
    """Have an order worker decide everything meanwhile."""
    worker = Worker("a", topics, log, environment=environment)
    try:
        until(lambda: all_held([worker], PARTITIONS), within=60, what="worker")
        yield
        worker.end()
    finally:
        worker.kill()


def ingested(settings: KafkaSettings, url: str) -> dict[str, str]:
    """Have the ledger take every decision; return what it desires, by key."""

    async def ingest() -> None:
        async with open_ledger(LedgerSettings(database_url=SecretStr(url))) as ledger:
            await ingest_all(ledger, settings)

    asyncio.run(ingest())
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT key, desired_status FROM consents").fetchall()
    return dict(rows)


def test_wrong_rows_are_found_corrected_and_redriven(
    run: Run,
    letters: LetterHarness,
    shared_ledger: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the end topics and ledger agree, and nobody who has opted out since is opted in."""
    settings, contract = letters.settings, newer_contract()
    people = [letters.person() for _ in range(ROWS)]
    with working(settings, tmp_path / "before.log"):
        for number, person in enumerate(people):
            source = None if number < WITHOUT_SOURCE else "HS_WEB"
            event = an_event(
                recipient=person, event_id=f"row-{number}", source=source, origin="crm"
            )
            letters.writer.produce(
                settings.topics.events.name,
                framed(event, contract),
                a_key(recipient=person).encode(),
            )
        assert letters.writer.flush(20) == 0
        later = {"status": "RET", "consent_date": None, "received_at": None}
        opt_outs = [
            an_event(recipient=person, event_id=f"out-{person}", **later)
            for person in people[-OPTED_OUT:]
        ]
        letters.publish(*opt_outs)
    # Found: the law cannot even read them here, so all of them would be refused again.
    preview = redrive(run, "--because", "unknown-schema")
    assert {tuple(one["codes"]) for one in preview["refused"]} == {("IZIN-UNKNOWN-SCHEMA",)}
    assert len(preview["refused"]) == ROWS
    # Repaired: the order workers, and this machine, know the schema of the producer's release.
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    name = f"ConsentEvent.{contract.fingerprint[::-1].hex()}.avsc"
    (schemas / name).write_text(json.dumps(contract.schema), encoding="utf-8")
    monkeypatch.setenv("IZIN_SCHEMA_FOLDER", str(schemas))
    with working(settings, tmp_path / "after.log", IZIN_SCHEMA_FOLDER=str(schemas)):
        expected = {"applied": ROWS - WITHOUT_SOURCE - OPTED_OUT, "stale": OPTED_OUT}
        preview = redrive(run, "--origin", "crm")
        assert preview["preview"] == expected | {"refused": WITHOUT_SOURCE}
        done = redrive(run, "--origin", "crm", "--execute", code=1)
        assert (done["result"], done["differences"]) == (expected, [])
        # Corrected: what was wrong besides is a new event each, with what the letter has.
        for one in done["refused"]:
            words = ("publish", "--corrects", one["letter"], "--source", "HS_WEB", "--by", "ada")
            assert run(*words).exit_code == 0
        letters.await_decided()
    assert redrive(run, "--origin", "crm")["acknowledged"] == ROWS
    assert json.loads(run("dead-letters", "list", "--waiting", "--output", "json").stdout) == []
    assert max(letters.applied().values()) == 1
    rows = letters.rows()
    opted_out = set(people[-OPTED_OUT:])
    assert {one for one in people if rows[one].status is Status.RET} == opted_out
    assert {rows[one].effective_at for one in set(people) - opted_out} == {NOON}
    assert ingested(settings, shared_ledger) == {str(one.key): one.status for one in rows.values()}
    assert run("ledger", "verify").exit_code == 0
