"""A customer is offboarded: opt-outs first, then its archive, and nothing of anybody else.

Forty customers with a hundred brands: no command and no route shows one what is another's. Events,
records and questions that name another customer: nobody gets what is another's. Of them,
webhooks are in ``tests/unit/webhooks``, rows of the ledger in ``test_ownership``.
"""

import csv
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from izin.cli.customers import offboarding
from izin.cli.terminal import digest_of, exit_codes
from izin.consent import Channel
from izin.kafka.bounded_reader import read_all
from izin.ledger.archive.folder import WITHHELD, Archive, copied, verify_archive
from izin.ledger.db.copy_format import END, SIGNATURE
from izin.ledger.history import verify
from izin.ledger.record import OffboardedCustomerError
from izin.ledger.registry import api_keys, customers, offboarding as journal
from izin.local import free_port
from izin.schemas.codec import Codec
from izin.schemas.may_send_api import PATH
from izin.sinks.ingest.ingested_topics import IngestContext, ReceiptReader
from tests.integration.sinks.inbound.test_push import Worker, our_receiver, url_of
from tests.integration.sinks.ingest.test_receipts import step_to_end
from tests.integration.sinks.sink_harness import ACTIVE, Izin, SinkHarness, ended, onay, ret
from tests.support.builders import API_KEY, AUTHORIZATION, BRAND, PHONE, a_second_key, an_api_key
from tests.support.customers import installation
from tests.support.customers.cuts import FOREIGN, ORDERING, READING, ROUTES, Ask, CutRunner, traces
from tests.support.customers.installation import (
    BRANDS,
    FOREIGN_BRAND,
    FOREIGN_CUSTOMER,
    FOREIGN_RECIPIENT,
    OWN_BRANDS,
    Installation,
)

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

    async def has_all(*_: object, **__: object) -> None:
        """Wait for nothing."""

    monkeypatch.setattr(offboarding, "await_ingested", has_all)

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
    assert offboard
    return our_receiver(two, monkeypatch)


async def acts(harness: SinkHarness) -> list[dict[str, Any]]:
    """Return the acts that end a customer."""
    rows = await harness.ledger.fetch(
        "SELECT data FROM history WHERE kind = 'act' AND data ->> 'act' = 'offboard customer'"
    )
    return [row["data"] for row in rows]


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
    done = await offboard("--execute")
    assert done.exit_code == 0, done.stderr
    (act,) = await acts(two)
    assert act["by"] == "ada"
    out = tmp_path / "acme.zip"
    assert act["after"]["archive_sha256"] == digest_of(out)
    brands = await two.ledger.fetch("SELECT brand_code, status FROM brands ORDER BY brand_code")
    assert [row["status"] for row in brands] == ["stopped", "active"]
    assert ((await offboard("--execute")).exit_code, len(await acts(two))) == (0, 1)
    await _refuses_new_things(izin)
    with zipfile.ZipFile(out) as packed:
        packed.extractall(tmp_path / "unpacked")
    _check_archive(tmp_path / "unpacked")
    verified = await izin(
        *("ledger", "verify", "--no-topic", f"--archive={tmp_path / 'unpacked' / 'history'}"),
        f"--anchors={tmp_path / 'unpacked' / 'anchors.txt'}",
    )
    assert verified.exit_code == 0, verified.stdout
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
    assert len(await acts(two)) == 1


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

    async def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for at in ("hand_over", "complete", "push_ends"):
        with monkeypatch.context() as patched:
            patched.setattr(offboarding, at, stop if at == "complete" else die)
            assert (await offboard("--execute", f"--opt-outs={named}")).exit_code == 130
        standing = await journal.find(two.ledger, CUSTOMER)
        assert standing is not None
        assert (standing.sha256 is None) == (at == "hand_over")
    assert await acts(two) == []
    assert (await offboard("--execute", f"--opt-outs={named}")).exit_code == 0
    (act,) = await acts(two)
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
    assert await acts(two) == []
    assert await two.ledger.fetch(
        "SELECT status FROM brands WHERE brand_code = %(b)s", {"b": BRAND}
    ) == [{"status": "active"}]
    while await two.opt_out():
        await two.settle()
    assert (await offboard("--execute")).exit_code == 0
    assert len(await acts(two)) == 1


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


@pytest.mark.broker
async def test_no_command_or_route_shows_what_is_anothers(
    installed: Installation,
    served: Mapping[str, str],
    izin: Izin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every route, asked with the API key of one customer; every command that can, as a table and
    as JSON, and what it writes. Where a command is asked for another's, it refuses.
    """

    async def has_all(*_: object, **__: object) -> None:
        """Wait for nothing: no order worker takes what stands on the lanes here."""

    monkeypatch.setattr(offboarding, "await_ingested", has_all)
    monkeypatch.setattr("izin.reconcile.comparing._BEHIND_FOR", timedelta(0))
    monkeypatch.setattr("izin.cli.doctor.faults.DECIDED_WITHIN", timedelta(seconds=1))
    # The traps close: without a customer the same commands show everybody's, and count it.
    every = {one.group() for one in FOREIGN.finditer((await izin("iys", "counts")).stdout)}
    assert len(every) == BRANDS - len(OWN_BRANDS)
    assert traces("100 keys") == ["100"]
    files = {
        "plan": "plan.json",
        "requeue": "requeue.json",
        "archive": "archive",
        "zip": "acme.zip",
    }
    files |= {"evidence": "evidence.zip", "parked_evidence": "parked.zip"}
    installed.places |= {name: tmp_path / file for name, file in files.items()}
    found = await faults_of_routes(served)
    runner = CutRunner(izin=izin, places=installed.places, folder=tmp_path)
    for name, cut in READING.items():
        found += await runner.faults(name, cut, also_json=True)
    for name, cut in ORDERING.items():
        found += await runner.faults(name, cut)
    assert not found, "\n\n".join(found)


async def faults_of_routes(urls: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the responses to a customer's API key."""
    found: list[str] = []
    given = (str(FOREIGN_BRAND), FOREIGN_RECIPIENT)
    async with httpx.AsyncClient(headers=AUTHORIZATION, trust_env=False) as client:
        for ask in (one for asks in ROUTES.values() for one in asks):
            response = await asked(client, urls[ask.server], ask)
            is_right = response.status_code == ask.status and ask.shows in response.text
            text = response.text.replace(f'"status":{ask.status}', "")
            shown = [*traces(text, given), *traces(str(response.headers), counts=False)]
            if shown or not is_right:
                found.append(f"{ask}: {shown}: {response.status_code} {text[:2000]}")
    return found


async def asked(client: httpx.AsyncClient, url: str, ask: Ask) -> httpx.Response:
    """Return the response to a request."""
    if ask.body is None:
        return await client.get(f"{url}{ask.path}")
    return await client.post(f"{url}{ask.path}", json=ask.body)


OURS = re.compile(r"acme|İkinci|(?<!\d)10000[12](?!\d)|\+9055510\d{5}|\*{3}19", re.IGNORECASE)
"""Ids, names, brand codes and recipients of ``acme``, but for the recipient of every brand."""
KEYS = {CUSTOMER: API_KEY, FOREIGN_CUSTOMER: a_second_key()[0]}


def of_others(customer: str, text: str, given: Sequence[str] = ()) -> list[str]:
    """Return what ``text`` has that is not the customer's."""
    if customer == CUSTOMER:
        return traces(text, given, counts=False)
    for one in given:
        text = text.replace(one, "")
    return [one.group() for one in OURS.finditer(text)]


async def test_questions_about_another_brand_leave_no_trace_there(
    installed: Installation, served: Mapping[str, str]
) -> None:
    """Each key asks about the other's brand and recipient, with receipts, and reads every feed:
    no answer, receipt or row of the history has anything of the other.
    """
    asked = {
        CUSTOMER: (FOREIGN_BRAND, FOREIGN_RECIPIENT),
        FOREIGN_CUSTOMER: (BRAND, _parked(installed)),
    }
    installation.publish(installed.kafka, installation.lies(installed.brands))
    answered = 0
    for customer, (brand, recipient) in asked.items():
        headers = {"Authorization": f"Bearer {KEYS[customer]}"}
        given = (str(brand), recipient)
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=60) as client:
            for kind in ("list", "decision"):
                question = {
                    "brand_code": brand,
                    "type": "MESAJ",
                    "recipients": [recipient],
                    "receipt": kind,
                    "campaign": f"campaign of {customer}",
                }
                response = await client.post(f"{served['gate']}{PATH}", json=question)
                assert '"reason":"unknown"' in response.text
                assert of_others(customer, response.text, given) == []
                answered += 1
            record = {"recipient": recipient, "type": "MESAJ", "status": "RET", "brand_code": brand}
            refused = await client.post(f"{served['intake']}/v1/consents", json=record)
            assert refused.status_code == 403
            assert of_others(customer, refused.text, given) == []
            for feed in ("opt-outs", "permissions", "outcomes"):
                text = await _all_of(client, f"{served['feeds']}/v1/{feed}")
                assert of_others(customer, text) == []
                assert f'"customer_id":"{customer}"' in text
    await _ingest_receipts(installed, answered)
    receipts = read_all(installed.kafka, Codec(), installed.kafka.topics.gate_receipts)
    assert len(list(receipts)) == answered
    rows = await installed.harness.ledger.fetch(
        "SELECT customer_id, key, data::text AS data FROM history WHERE data->>'campaign' LIKE"
        " 'campaign of %%'"
    )
    assert {row["customer_id"] for row in rows} == asked.keys()
    for row in rows:
        assert row["data"].count(f"campaign of {row['customer_id']}") == 1
        brand, recipient = asked[row["customer_id"]]
        assert recipient not in f"{row['key']} {row['data']}"


def _parked(installed: Installation) -> str:
    return str(installed.places["parked"])


async def _all_of(client: httpx.AsyncClient, url: str) -> str:
    """Return all pages of a feed."""
    texts, after = [], ""
    while True:
        response = await client.get(url, params={"wait": 0} | ({"after": after} if after else {}))
        assert response.status_code == 200, response.text
        page: Any = response.json()
        texts.append(response.text)
        after = page["next"]
        if page["complete"] and not page["items"]:
            return "".join(texts)


async def _ingest_receipts(installed: Installation, count: int) -> None:
    harness = installed.harness
    context = IngestContext(
        ledger=harness.ledger,
        topic_messages=harness.context.topic_messages,
        codec=Codec(),
        settings=installed.kafka,
        clock=harness.clock,
    )
    reader = await ReceiptReader.open(context, installed.kafka.topics.gate_receipts.name)
    try:
        await step_to_end(reader, count)
    finally:
        await reader.close()
