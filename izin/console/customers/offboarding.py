"""``izin customers offboard``: hand over what is a customer's, and end it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.customers.handover import complete, hand_over
from izin.console.customers.push_ends import push_ends
from izin.console.terminal.arguments import ByOption, CustomerArgument, ExecuteOption, filled
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.opt_out_file import HEADER, opt_out_rows
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_rows,
    say,
)
from izin.console.terminal.private_csv import check_place, private_csv
from izin.console.terminal.progress import showing
from izin.onboarding.loading import await_ingested
from izin.runtime.kafka import codec
from izin.sinks.ledger import deadlines
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import customers, offboarding
from izin.sinks.ledger.registry.offboarding import Belongings, Ending, Offboarding, Unsettled
from izin.sinks.record.brand import Brand
from izin.sinks.record.messages import TopicMessages

_COLUMNS = {"what": "what", "count": "count", "then": "with --execute"}
_OPT_OUT_HEADER = ("brand", *HEADER)
_KEPT = (
    "history, permissions and complaints are kept here as the law says (docs/retention.md): an "
    "opt-out has no end, and what was decided is proven for ten years"
)


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
    with exit_on_signals(), exit_on_error(), showing("rows archived") as shown:
        if opt_outs is not None:
            check_place(opt_outs, _OPT_OUT_HEADER, for_excel=True)
        rows, known = run_on_ledger(lambda ledger: _look(ledger, order))
        is_done = known is not None and known.ended_at is not None
        left: Sequence[str] = ()
        if execute and not is_done:
            left = run_on_ledger(lambda ledger: _execute(ledger, order, shown))
            rows, known = run_on_ledger(lambda ledger: _look(ledger, order))
            is_done = known is not None and known.ended_at is not None
    print_rows(output, _COLUMNS, rows, below=True)
    if known is not None and is_done:
        say(f"customer {customer_id} is offboarded; the archive's sha256 is {known.sha256}")
        say(_KEPT)
    elif not execute:
        say("nothing was changed; add --execute to do it")
    for one in left:
        say(one)
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
    unsettled = await offboarding.unsettled(ledger, order.customer_id)
    return list(_plan(found, unsettled, order)), known


def _plan(found: Belongings, unsettled: Unsettled, order: _Order) -> Iterator[tuple[str, int, str]]:
    active = [one for one in found.brands if one.status != "stopped"]
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
    kafka = kafka_settings()
    messages = TopicMessages(codec(kafka), kafka.topics)
    return Ending(ledger=ledger, messages=messages, customer_id=order.customer_id, by=order.by)


async def _execute(ledger: Ledger, order: _Order, shown: Callable[[int, int], None]) -> list[str]:
    """Do what is left to do; return what a person must do besides."""
    ending, customer = _ending(ledger, order), order.customer_id
    now = datetime.now(UTC)
    _check_file(order, await offboarding.find(ledger, customer))
    await offboarding.begin(ledger, customer, reason=order.reason, by=order.by, now=now)
    before = await ending.belongings(now)
    active = [one for one in before.brands if one.status != "stopped"]
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
        count = await _name_opt_outs(ledger, before.brands, order.opt_outs)
        await offboarding.note_named(ledger, customer, count)
    standing = await offboarding.find(ledger, customer)
    if standing is not None and standing.sha256 is None:
        found = await ending.belongings(now)
        digest = await hand_over(ending, found, order.out, now=now, report=shown)
        await offboarding.note_archive(ledger, customer, digest, now=datetime.now(UTC))
        complete(order.out, digest)
    left = await push_ends(ledger, before.brands, by=order.by)
    standing = await offboarding.find(ledger, customer)
    if standing is not None:
        await offboarding.end(ledger, standing, by=order.by, now=datetime.now(UTC))
    return left


async def _await_ingested(ledger: Ledger) -> None:
    """Wait until the ledger has what is in Kafka now, acknowledged to whoever sent it.

    Raises:
        BrokerError: Kafka cannot be read, so that nobody knows what was acknowledged.
    """
    kafka = kafka_settings()
    say_once = cache(say)
    await await_ingested(
        ledger,
        kafka,
        codec(kafka),
        on_behind=lambda _: say_once(
            "events are on their way into the ledger: waiting for the order and sink workers"
        ),
    )


async def _name_opt_outs(ledger: Ledger, brands: Iterable[Brand], path: Path) -> int:
    """Write the opt-outs that İYS does not have to a file; return how many."""
    count = 0
    with private_csv(path, _OPT_OUT_HEADER, for_excel=True) as rows:
        for brand in brands:
            found = await deadlines.open_opt_outs(ledger, brand.brand_code)
            for row in opt_out_rows(found):
                rows.writerow((brand.brand_code, *row))
            count += len(found)
    return count


def _check_file(order: _Order, standing: Offboarding | None) -> None:
    """Refuse a file that is not the archive of this order."""
    if standing is not None and standing.sha256 is not None:
        if not complete(order.out, standing.sha256):
            raise SourceError(f"the archive is not at {order.out}: name the file that it is in")
    elif order.out.exists():
        raise SourceError(f"{order.out} exists; name a new file")
