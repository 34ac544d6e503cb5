"""A customer is offboarded: opt-outs first, then its archive, and nothing of anybody else."""

import csv
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from click.testing import Result

from izin.cli.customers import offboarding
from izin.cli.terminal import digest_of, exit_codes
from izin.consent import Channel
from izin.ledger.archive.folder import WITHHELD, Archive, copied, verify_archive
from izin.ledger.db.copy_format import END, SIGNATURE
from izin.ledger.history import verify
from izin.ledger.record import OffboardedCustomerError
from izin.ledger.registry import api_keys, customers, offboarding as journal
from izin.local import free_port
from tests.integration.sinks.inbound.test_push import Worker, our_receiver, url_of
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Izin,
    SinkHarness,
    acts,
    ended,
    onay,
    ret,
)
from tests.support.builders import BRAND, PHONE, a_second_key, an_api_key

pytestmark = [pytest.mark.broker, pytest.mark.database]
CUSTOMER = ACTIVE.customer_id
OTHER = "othercustomer"
OTHER_BRAND, OTHER_PHONE, WAITING = BRAND + 1, "+905550000099", "+905550000002"
Offboard = Callable[..., Any]


@pytest.fixture
async def two(harness: SinkHarness) -> SinkHarness:
    """Give a ledger of two customers: ours has an opt-out and a consent that wait."""
    await harness.brand(replace(ACTIVE, brand_code=OTHER_BRAND, customer_id=OTHER, name="Öteki"))
    await harness.register_onay()
    await harness.ingest(onay(OTHER_PHONE, brand_code=OTHER_BRAND, customer_id=OTHER))
    await harness.ingest(ret(), onay(WAITING))
    return harness


@pytest.fixture
def offboard(izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offboard:
    """Give the command with a file of this test, where the ledger has all that is in Kafka; signals
    come to the main thread alone.
    """
    monkeypatch.setattr(exit_codes, "_NUMBERS", ())
    monkeypatch.setattr(offboarding, "await_ingested", AsyncMock())

    async def run(*words: object) -> Result:
        out = tmp_path / "acme.zip"
        return await izin(
            *("customers", "offboard", CUSTOMER, f"--out={out}", "--reason=ended", "--by=ada"),
            *words,
        )

    return run


@pytest.fixture
def ours(two: SinkHarness, offboard: Offboard, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Give our receiver of pushes, which the settings of the command name."""
    return our_receiver(two, monkeypatch)


async def test_opt_outs_are_sent_first_and_the_archive_shows_one_customer(
    two: SinkHarness, offboard: Offboard, izin: Izin, tmp_path: Path
) -> None:
    """It waits for İYS, and ends once; what it hands over is verified without the ledger."""
    shown = await offboard("--output=json")
    plan = {row["what"]: row["count"] for row in json.loads(shown.stdout)}
    assert (shown.exit_code, "--execute" in shown.stderr) == (0, True)
    assert plan["opt-outs that İYS does not have"] == plan["consents that wait"] == 1
    (tmp_path / "rehber.csv").write_text("telefon\n0555 000 00 01\n", "utf-8")
    ended(
        await offboard("--execute", f"--opt-outs={tmp_path / 'rehber.csv'}"), 3, "name another file"
    )
    ended(await offboard("--execute"), 1, "opt-outs are not at İYS")
    assert await two.columns("state", "reason", recipient=WAITING) == ("expired", "offboarded")
    assert await two.opt_out()
    assert two.iys.register()[PHONE] == "RET"
    ended(await offboard("--execute"), 0)
    (act,) = await acts(two.ledger, "offboard customer")
    assert act["by"] == "ada"
    out = tmp_path / "acme.zip"
    assert act["after"]["archive_sha256"] == digest_of(out)
    brands = await two.ledger.fetch("SELECT status FROM brands ORDER BY brand_code")
    assert brands == [{"status": "stopped"}, {"status": "active"}]
    assert (
        (await offboard("--execute")).exit_code,
        len(await acts(two.ledger, "offboard customer")),
    ) == (0, 1)
    await _refuses_new_things(izin)
    with zipfile.ZipFile(out) as packed:
        packed.extractall(tmp_path / "unpacked")
    _check_archive(tmp_path / "unpacked")
    ended(
        await izin(
            *("ledger", "verify", "--no-topic", f"--archive={tmp_path / 'unpacked' / 'history'}"),
            f"--anchors={tmp_path / 'unpacked' / 'anchors.txt'}",
        ),
        0,
    )
    # No ledger is restored from it, and it is not continued as everybody's.
    for words in (("restore", "--no-topic"), ("archive",)):
        ended(
            await izin("ledger", *words, tmp_path / "unpacked" / "history"),
            4,
            f"archive of customer {CUSTOMER}",
        )
    # Whoever alters a row, if only what leads to the anchor behind it, breaks the run.
    archive = Archive.read(tmp_path / "unpacked" / "history")
    anchors = verify.read_anchors(tmp_path / "unpacked" / "anchors.txt")
    assert (await verify_archive(archive, anchors)).faults == ()
    for one in list(archive.in_order()):
        altered = [
            row._replace(commitment=bytes(32)) if row.commitment else row
            for row in archive.rows(one)
        ]
        text = b"".join((SIGNATURE, *map(copied, altered), END))
        archive = archive.with_file(archive.write_rows(one, text))
    assert (await verify_archive(archive, anchors)).faults


async def _refuses_new_things(izin: Izin) -> None:
    """Check that nothing is registered for our customer, which was offboarded."""
    for words in (
        ("brands", "add", BRAND + 7, "--iys-code=100001", "--name=New"),
        ("keys", "create", "late", "--scope=publish"),
    ):
        ended(
            await izin(*words, f"--customer={CUSTOMER}", "--by=ada"),
            3,
            f"customer {CUSTOMER} was offboarded on",
            "izin customers add ID",
        )


def _check_archive(folder: Path) -> None:
    """Check that an unpacked archive has our customer and nothing of the other."""
    archive = Archive.read(folder / "history")
    rows = [row for one in archive.in_order() for row in archive.rows(one)]
    assert {row.customer_id for row in rows if row.kind != WITHHELD} <= {CUSTOMER, ""}
    assert any(row.kind == WITHHELD for row in rows)
    content = b"".join(path.read_bytes() for path in folder.rglob("*.*") if path.suffix != ".gz")
    content += b"".join(archive.read_rows(one)[0] for one in archive.in_order())
    for foreign in (OTHER, "Öteki", OTHER_PHONE, str(OTHER_BRAND)):
        assert foreign.encode() not in content
    with (folder / "permissions.csv").open(encoding="utf-8") as file:
        listed = {row["recipient"]: row["permission_reason"] for row in csv.DictReader(file)}
    assert listed.keys() == {PHONE, WAITING}
    assert listed[PHONE] == "opted-out"


async def test_shared_key_goes_on_and_push_connections_are_freed(
    two: SinkHarness, offboard: Offboard, ours: Worker
) -> None:
    """A key is narrowed to the other customer, one of ours alone revoked; the dry run names both.
    İYS pushes nothing of our brand to us any more; another receiver is left to its owner.
    """
    _, shared = a_second_key(customers=frozenset({CUSTOMER, OTHER}))
    for key in (an_api_key(), shared):
        await api_keys.create(
            two.ledger, two.context.topic_messages, key, by="ada", now=two.clock()
        )
    shown = await offboard("--output=json")
    plan = {row["what"]: row["then"] for row in json.loads(shown.stdout)}
    assert plan["API keys"] == "revoked: shop"
    assert plan["API keys shared with others"] == "go on for them: crm"
    assert await api_keys.every(two.ledger) == (shared, an_api_key())
    assert await two.opt_out()
    other = Worker(two, free_port(), "fake-password")
    async with other.serving(), ours.serving():
        await ours.registrar.register_due()
        await other.register(Channel.MESAJ)
        client = two.context.client
        done = await offboard("--execute")
        (left,) = await client.push_registrations(ACTIVE.path)
    assert (left.type, left.url) == (Channel.MESAJ, url_of(other.port))
    freed = "SELECT count(*) AS acts FROM history WHERE data ->> 'act' = 'unregister push'"
    assert await two.ledger.fetch(freed) == [{"acts": len(Channel)}]
    given = ours.connections
    assert not await given.registrations.registered(BRAND, given.credentials.secret)
    named = " ".join(done.stderr.split())
    assert (done.exit_code, f"to {left.url} too: its owner frees it" in named) == (1, True)
    assert OTHER not in named
    crm, shop = await api_keys.every(two.ledger)
    assert (crm.customers, crm.is_valid(two.clock())) == ({OTHER}, True)
    assert shop.revoked_at is not None


async def test_refused_push_connection_is_left_to_a_person(
    two: SinkHarness, offboard: Offboard, ours: Worker
) -> None:
    """İYS does not free it: the customer ends, and the remedy is named."""
    assert await two.opt_out()
    async with ours.serving():
        await ours.registrar.register_due()
        two.iys.inject_fault("pushUnregister", status=403, code="H353", times=1)
        done = await offboard("--execute")
    named = " ".join(done.stderr.split())
    assert (done.exit_code, f"izin iys push unregister {BRAND}" in named) == (1, True)
    assert len(await acts(two.ledger, "offboard customer")) == 1


async def test_killed_order_goes_on_and_names_opt_outs(
    two: SinkHarness, offboard: Offboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed before and after the archive is whole, the same order ends it once, with one archive;
    a file that is another's is refused first. Opt-outs are named with their brand.
    """
    other, named = tmp_path / "acme.zip", tmp_path / "opt-outs.csv"
    other.write_text("something else", encoding="utf-8")
    assert (await offboard("--execute")).exit_code == 3
    assert await journal.find(two.ledger, CUSTOMER) is None
    other.unlink()

    for at in ("hand_over", "complete", "push_ends"):
        mock = Mock if at == "complete" else AsyncMock
        with monkeypatch.context() as patched:
            patched.setattr(offboarding, at, mock(side_effect=KeyboardInterrupt))
            assert (await offboard("--execute", f"--opt-outs={named}")).exit_code == 130
        begun = await journal.find(two.ledger, CUSTOMER)
        assert begun is not None
        assert (begun.sha256 is None) == (at == "hand_over")
    assert await acts(two.ledger, "offboard customer") == []
    assert (await offboard("--execute", f"--opt-outs={named}")).exit_code == 0
    (act,) = await acts(two.ledger, "offboard customer")
    assert act["after"]["named_opt_outs"] == 1
    assert act["after"]["archive_sha256"] == digest_of(other)
    with named.open(encoding="utf-8-sig") as file:
        (row,) = csv.DictReader(file, delimiter=";")
    assert (row["brand"], row["recipient"], row["status"]) == (str(BRAND), PHONE, "RET")
    (customer,) = [one for one in await customers.every(two.ledger) if one.customer_id == CUSTOMER]
    assert customer.offboarded_at is not None
    with pytest.raises(OffboardedCustomerError):
        await customers.add(two.ledger, CUSTOMER, "Another", by="ada", now=customer.offboarded_at)


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_acknowledged_opt_out_is_waited_for_and_sent(
    two: SinkHarness, offboard: Offboard, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """What was acknowledged before the plan, before the brands are stopped, or while they are, is
    counted once the ledger has it: nothing ends, and İYS gets it by the same order.
    """
    assert await two.opt_out()
    waits = 0

    async def late(*_: object, **__: object) -> None:
        nonlocal waits
        waits += 1
        if waits == at:
            await two.ingest(ret(WAITING, minutes=-1))

    monkeypatch.setattr(offboarding, "await_ingested", late)
    shown = await offboard("--execute", "--output=json")
    plan = {row["what"]: row["count"] for row in json.loads(shown.stdout)}
    assert plan["opt-outs that İYS does not have"] == 1
    assert (shown.exit_code, "1 opt-outs are not at İYS" in shown.stderr) == (1, True)
    assert await acts(two.ledger, "offboard customer") == []
    assert await two.ledger.fetch(
        "SELECT status FROM brands WHERE brand_code = %(b)s", {"b": BRAND}
    ) == [{"status": "active"}]
    while await two.opt_out():
        await two.settle()
    assert (await offboard("--execute")).exit_code == 0
    assert len(await acts(two.ledger, "offboard customer")) == 1


async def test_without_kafka_nothing_is_counted_or_ended(
    two: SinkHarness, izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged cannot be known: an error, never a plan with 0 opt-outs."""
    monkeypatch.setattr(exit_codes, "_NUMBERS", ())
    monkeypatch.setattr("izin.kafka.bounded_reader._TIMEOUT", 1.0)
    monkeypatch.setattr("izin.kafka.clients.TIMEOUT", 1.0)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    order = ("customers", "offboard", CUSTOMER, f"--out={tmp_path / 'acme.zip'}", "--reason=ended")
    shown = await izin(*order, "--execute")
    assert (shown.exit_code, shown.stdout) == (4, "")
    assert "KAFKA_BOOTSTRAP_SERVERS" in shown.stderr, shown.stderr
    assert await journal.find(two.ledger, CUSTOMER) is None
