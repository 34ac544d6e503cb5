"""``izin customers offboard``: hand over what is a customer's, and end it.

The archive that it is handed has history, permissions, daily files, and their proof. It is made in
a folder beside the file, anew after a crash, and then packed. Our push connections of its brands
are freed, those of others named.
"""

import asyncio
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import typer

from izin.cli.daily import write_files
from izin.cli.terminal import (
    ByOption,
    CustomerArgument,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    check_place,
    digest_of,
    exit_if,
    exit_on_signals,
    filled,
    kafka_settings,
    print_rows,
    private_csv,
    say,
    say_dry_run,
    showing,
)
from izin.cli.terminal.iys_session import calling_iys
from izin.cli.terminal.ledger_session import run_on_ledger, topic_messages
from izin.consent import SourceError
from izin.evidence.collection import anchor_heads
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.wire_format import PushConnection
from izin.kafka import clients
from izin.kafka.clients import codec
from izin.ledger import reads
from izin.ledger.archive.writer import ArchiveWriter
from izin.ledger.daily import files
from izin.ledger.db import Ledger
from izin.ledger.history import verify
from izin.ledger.record import Brand
from izin.ledger.registry import customers, offboarding
from izin.ledger.registry.offboarding import Belongings, Ending, Offboarding, Unsettled
from izin.runtime.plan import OnProgress, write_private
from izin.runtime.settings import IysSettings, KafkaSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.push import Credentials, push_credentials
from izin.sinks.inbound.push_connections import connections_of, unregister
from izin.streams.ownership import DecidedOffsets
from izin.views.remedies import OPT_OUT_HEADER, opt_out_rows

ANCHORS: Final = "anchors.txt"
HISTORY: Final = "history"
DAILY: Final = "daily-files"
PERMISSIONS: Final = "permissions.csv"
_ABOUT: Final = """\
What izin kept for the customer {customer}, made at {at} (UTC).

history/          every entry of the customer, in files of PostgreSQL's binary COPY, with the
                  list archive.json and a copy of the registry. What leads from each to the next
                  published head of its chain is there as hashes alone, as are erased rows.
permissions.csv   every record: what was desired, what IYS holds, and whether a message may be sent
daily-files/      IYS's files of days, with IYS's time stamps (RFC 3161)
anchors.txt       heads of the chains, as they were published meanwhile

To verify it without the ledger, unpack it and run:
  izin ledger verify --archive history --anchors anchors.txt --no-topic
Anchors that were handed out before prove more than those in here. The archive proves what it
shows, not that it shows all. It names recipients: it is personal data.
"""
_EVERY: Final = 2.0
"""Seconds between two looks."""
_EARLIEST: Final = date(2015, 5, 1)
_OPT_OUT_HEADER = ("brand", *OPT_OUT_HEADER)


async def hand_over(
    ending: Ending,
    belongings: Belongings,
    file: Path,
    *,
    now: datetime,
    report: OnProgress,
) -> str:
    """Write the archive of a customer beside ``file``; return its SHA-256. It has the name once
    :func:`complete` gives it, for which the digest must be noted first: a crash in between leaves
    an archive that is known.

    Raises:
        BrokenHistoryError: a row of the history does not continue its chain.
        OurError: the folder beside ``file`` cannot be written.
    """
    ledger, customer_id = ending.ledger, ending.customer_id
    folder = _folder_of(file)
    await anchor_heads(ledger, ending.messages, now)
    shutil.rmtree(folder, ignore_errors=True)  # of an order that was stopped
    anchors = await verify.anchors_after(ledger, 0)
    writer = ArchiveWriter(
        ledger, folder / HISTORY, report=report, customer_id=customer_id, anchors=anchors
    )
    await writer.run(by=ending.by, now=now)
    write_private(folder / ANCHORS, [anchor.to_line().encode() for anchor in anchors])
    with private_csv(folder / PERMISSIONS, reads.REGISTER) as rows:
        for brand in belongings.brands:
            async for row in reads.register(ledger, brand_code=brand.brand_code):
                rows.writerow(list(row.values()))
    await asyncio.to_thread((folder / DAILY).mkdir, mode=0o700)
    for brand in belongings.brands:
        for one in await files.since(ledger, _EARLIEST, brand_code=brand.brand_code):
            if one.lines is not None:
                await write_files(ledger, one, folder / DAILY)
    write_private(
        folder / "README.txt",
        [_ABOUT.format(customer=customer_id, at=f"{now:%Y-%m-%d %H:%M}").encode()],
    )
    return _pack(folder, _part_of(file))


def complete(file: Path, sha256: str) -> bool:
    """Give the archive of this digest its name, unless it has it; return whether it is there."""
    part = _part_of(file)
    if not file.exists() and part.exists() and digest_of(part) == sha256:
        part.replace(file)
        shutil.rmtree(_folder_of(file), ignore_errors=True)
    return file.exists() and digest_of(file) == sha256


def _folder_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.parts")


def _part_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


def _pack(folder: Path, part: Path) -> str:
    """Pack ``folder`` into a file; return its digest."""
    number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(number, "w+b") as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(one for one in folder.rglob("*") if one.is_file()):
                packed.write(path, path.relative_to(folder))
        target.flush()
        os.fsync(target.fileno())
    return digest_of(part)


async def push_ends(ledger: Ledger, brands: Sequence[Brand], *, by: str) -> list[str]:
    """Have İYS push nothing of ``brands`` to us any more; return what a person must do.

    The history has each connection that is freed, ``by`` whose order.
    """
    sink = SinkSettings()
    credentials, url = push_credentials(sink), sink.push_url
    if credentials is None or url is None:
        return []
    left: list[str] = []
    async with calling_iys(ledger, IysSettings()) as (client, _):
        for brand in brands:
            left += await _free(ledger, client, brand, url, credentials, by=by)
    return left


async def _free(
    ledger: Ledger,
    client: IysClient,
    brand: Brand,
    url: str,
    credentials: Credentials,
    *,
    by: str,
) -> list[str]:
    code, left = brand.brand_code, []
    try:
        for one in connections_of(await client.push_registrations(brand.path), url, frozenset()):
            left += [
                f"İYS pushes {one.channel} of brand {code} to {other.url} too: its owner frees it"
                for other in one.others
            ]
            if one.ours is None:
                continue
            ours = PushConnection(
                url=url,
                type=one.channel,
                username=credentials.username,
                password=credentials.password,
            )
            await unregister(ledger, client, brand, ours, by=by)
    except CallError as error:
        remedy = f"izin iys push status {code}, then izin iys push unregister {code}"
        left.append(f"push connections of brand {code} are not freed ({error}): {remedy}")
    return left


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An order to end a customer."""

    customer_id: str
    reason: str
    out: Path
    opt_outs: Path | None
    by: str


def offboard(
    customer_id: CustomerArgument,
    *,
    out: Annotated[
        Path,
        typer.Option(dir_okay=False, help="The archive (ZIP) to hand over: a new file."),
    ],
    reason: Annotated[str, typer.Option(help="Why; the history keeps it.", callback=filled)],
    opt_outs: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Do not wait for opt-outs that İYS does not have yet: write them to this CSV "
            "file, for a person to withdraw the consents on İYS's own pages.",
        ),
    ] = None,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """End a customer: send or name its opt-outs, hand over its archive, and stop everything else.

    Its gate closes, its API keys are revoked (one of other customers too goes on for them alone),
    its subscribers removed, consents that wait are withdrawn; once İYS has every opt-out, or
    --opt-outs names them, the archive is written, its brands are stopped and our push connections
    freed. The archive has its history, permissions and daily files, and is verified without the
    ledger. The same order goes on where it was stopped. The end is one act of the history. Exit
    code 1 if opt-outs are still on their way (run it again) or something is left to a person, 3 if
    the customer is not registered or the file is another.
    """
    order = _Order(customer_id=customer_id, reason=reason, out=out, opt_outs=opt_outs, by=by)
    with exit_on_signals(), showing("rows archived") as shown:
        if opt_outs is not None:
            check_place(opt_outs, _OPT_OUT_HEADER, for_excel=True)
        rows, known = run_on_ledger(lambda ledger: _look(ledger, order))
        left: Sequence[str] = ()
        if execute and (known is None or known.ended_at is None):
            left = run_on_ledger(lambda ledger: _execute(ledger, order, shown))
            rows, known = run_on_ledger(lambda ledger: _look(ledger, order))
    print_rows(
        output, {"what": "what", "count": "count", "then": "with --execute"}, rows, below=True
    )
    is_done = known is not None and known.ended_at is not None
    if known is not None and is_done:
        say(
            f"customer {customer_id} is offboarded; the archive's sha256 is {known.sha256}",
            "history, permissions and complaints are kept here as the law says "
            "(docs/retention.md): an opt-out has no end, and what was decided is proven for ten "
            "years",
        )
    elif not execute:
        say_dry_run("nothing was changed")
    say(*left)
    exit_if(execute and (not is_done or left))


async def _look(
    ledger: Ledger, order: _Order
) -> tuple[list[tuple[str, int, str]], Offboarding | None]:
    """Return what is the customer's, with what becomes of it, and how far its end is."""
    async with ledger.transaction() as connection:
        await customers.require(connection, {order.customer_id})
    known = await offboarding.find(ledger, order.customer_id)
    if known is None or known.ended_at is None:
        await _await_ingested(ledger)
    found = await _ending(ledger, order).belongings(datetime.now(UTC))
    return list(_plan(found, await offboarding.unsettled(ledger, order.customer_id), order)), known


def _plan(found: Belongings, unsettled: Unsettled, order: _Order) -> Iterator[tuple[str, int, str]]:
    active = [brand for brand in found.brands if brand.status != "stopped"]
    named = "named in a file" if order.opt_outs else "sent first: a sink worker must run"
    yield "opt-outs that İYS does not have", unsettled.opt_outs, named
    yield "records whose call is not settled", unsettled.open, "waited for"
    yield "consents that wait", unsettled.consents, "withdrawn: not sent any more"
    yield "API keys", len(found.keys), f"revoked: {' '.join(found.keys)}" if found.keys else ""
    if found.shared_keys:
        names = " ".join(found.shared_keys)
        yield "API keys shared with others", len(found.shared_keys), f"go on for them: {names}"
    yield "subscribers", len(found.subscribers), "removed"
    codes = " ".join(str(one.brand_code) for one in active)
    yield "active brands", len(active), f"stopped: {codes}" if active else ""
    yield "records in the archive", unsettled.keys, str(order.out)


def _ending(ledger: Ledger, order: _Order) -> Ending:
    return Ending(
        ledger=ledger, messages=topic_messages(), customer_id=order.customer_id, by=order.by
    )


async def _execute(ledger: Ledger, order: _Order, shown: OnProgress) -> list[str]:
    """Do what is left to do; return what a person must do besides."""
    ending, customer = _ending(ledger, order), order.customer_id
    now = datetime.now(UTC)
    known = await offboarding.find(ledger, customer)
    if known is not None and known.sha256 is not None:
        if not complete(order.out, known.sha256):
            raise SourceError(f"the archive is not at {order.out}: name the file that it is in")
    elif order.out.exists():
        raise SourceError(f"{order.out} exists; name a new file")
    await offboarding.begin(ledger, customer, reason=order.reason, by=order.by, now=now)
    before = await ending.belongings(now)
    active = [brand for brand in before.brands if brand.status != "stopped"]
    await ending.close(now)
    for is_last in (False, True):
        if is_last:
            await ending.set_brands([replace(one, status="stopped") for one in active], now)
        # Counted last: an opt-out that was acknowledged until then is among those that wait.
        await _await_ingested(ledger)
        await ending.withdraw_consents(now)
        unsettled = await offboarding.unsettled(ledger, customer)
        if unsettled.open and order.opt_outs is None:
            await ending.set_brands(active if is_last else (), now)
            waits = f"{unsettled.opt_outs} opt-outs are not at İYS, {unsettled.open} not settled"
            then = "run it again once a sink worker has sent them, or add --opt-outs FILE"
            return [f"{waits}: {then}"]
    if order.opt_outs is not None and unsettled.opt_outs:
        await offboarding.note_named(
            ledger, customer, await _name_opt_outs(ledger, before.brands, order.opt_outs)
        )
    begun = await offboarding.find(ledger, customer)
    if begun is not None and begun.sha256 is None:
        digest = await hand_over(
            ending, await ending.belongings(now), order.out, now=now, report=shown
        )
        await offboarding.note_archive(ledger, customer, digest, now=datetime.now(UTC))
        complete(order.out, digest)
    left = await push_ends(ledger, before.brands, by=order.by)
    begun = await offboarding.find(ledger, customer)
    if begun is not None:
        await offboarding.end(ledger, begun, by=order.by, now=datetime.now(UTC))
    return left


async def _await_ingested(ledger: Ledger) -> None:
    """Wait until the ledger has what is in Kafka now, acknowledged to whoever sent it.

    Raises:
        BrokerError: Kafka cannot be read, so that nobody knows what was acknowledged.
    """
    settings = kafka_settings()
    say_once = cache(say)
    await await_ingested(
        ledger,
        settings,
        codec(settings),
        on_behind=lambda _: say_once(
            "events are on their way into the ledger: waiting for the order and sink workers"
        ),
    )


async def await_ingested(
    ledger: Ledger,
    settings: KafkaSettings,
    codec: Codec,
    *,
    on_behind: Callable[[int], None],
    every: float = _EVERY,
) -> None:
    """Wait until the ledger has every event that is on the topics now; ``on_behind`` is called with
    how many are not ordered, and then with how many decisions it has not.

    Raises:
        BrokerError: Kafka cannot be read, so that nobody knows what was acknowledged.
    """
    topics = settings.topics
    written = await _ends(settings, topics.events.name, topics.express.name)
    decided = DecidedOffsets(settings, codec)
    try:
        while behind := reads.short_of(await asyncio.to_thread(decided.read), written):
            on_behind(behind)
            await asyncio.sleep(every)
    finally:
        decided.close()
    decisions = await _ends(settings, topics.decisions.name)
    while behind := reads.short_of(await reads.ingested(ledger), decisions):
        on_behind(behind)
        await asyncio.sleep(every)


async def _ends(settings: KafkaSettings, *topics: str) -> dict[tuple[str, int], int]:
    return {
        (topic, number): end
        for topic in topics
        for number, end in (
            await asyncio.to_thread(clients.committed_ends, settings, topic)
        ).items()
    }


async def _name_opt_outs(ledger: Ledger, brands: Iterable[Brand], path: Path) -> int:
    """Write the opt-outs that İYS does not have to a file; return how many."""
    count = 0
    with private_csv(path, _OPT_OUT_HEADER, for_excel=True) as rows:
        for brand in brands:
            found = await reads.open_opt_outs(ledger, brand.brand_code)
            for row in opt_out_rows(found):
                rows.writerow((brand.brand_code, *row))
            count += len(found)
    return count
