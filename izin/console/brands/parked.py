"""``izin brands parked``, ``retailers`` and ``requeue``: records that a person must act on."""

from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.brands.lookup import of_brand, registered_brand
from izin.console.brands.remedies import remedy_of_parked
from izin.console.terminal.arguments import (
    BrandArgument,
    ByOption,
    OneCustomerOption,
    YesOption,
)
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_rows,
    say,
)
from izin.runtime.kafka import codec
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads
from izin.sinks.ledger import retailers as retailer_access
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import Parked
from izin.sinks.ledger.retailers import Difference
from izin.sinks.record.messages import TopicMessages

_PARKED = {
    "brand_code": "brand",
    "channel": "channel",
    "desired_status": "desired",
    "reason": "reason",
    "code": "code",
    "keys": "records",
    "remedy": "remedy",
}
_RETAILERS = {
    "key": "key",
    "registered_code": "retailer at İYS",
    "registered_access": "access at İYS",
    "desired_code": "desired retailer",
    "desired_access": "desired access",
    "since": "since",
}


def parked(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List the records that a person must act on, by reason, with the remedy for each.

    Exit code 1 if there are any.
    """
    with exit_on_error():
        found = run_cut(customer, reads.parked, attrgetter("brand_code"))
    rows = [
        (
            one.brand_code,
            one.channel,
            one.desired_status,
            one.reason,
            one.code,
            one.keys,
            remedy_of_parked(one.brand_code, one.reason),
        )
        for one in found
    ]
    print_rows(output, _PARKED, rows, below=True)
    exit_if(found)


def retailers(brand_code: BrandArgument, *, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the consents that İYS holds with other retailers than their latest event names.

    Exit code 1 if there are any. The output is personal data.
    """
    with exit_on_error():
        found = run_on_ledger(lambda ledger: _differences(ledger, brand_code))
    rows = [
        (
            one.key,
            one.registered_code,
            one.registered_access,
            one.desired_code,
            one.desired_access,
            one.since,
        )
        for one in found
    ]
    print_rows(output, _RETAILERS, rows)
    exit_if(found)


def requeue(
    brand_code: BrandArgument,
    *,
    reason: Annotated[str, typer.Option(help="The reason, as izin brands parked names it.")],
    by: ByOption,
    yes: YesOption = False,
) -> None:
    """Process a brand's parked records of one reason again, and send them where that is lawful.

    Requeueing the reason reconsent confirms that the recipient has given a new consent;
    retailer-access, that the retailers were changed at İYS. Who ordered it is written to each
    record's history. Exit code 3 if nothing is parked for the reason.
    """
    with exit_on_error():
        found = run_on_ledger(lambda ledger: _parked(ledger, brand_code))
        keys = sum(one.keys for one in found if one.reason == reason)
        if not keys:
            raise SourceError(
                f"brand {brand_code} has nothing parked for {reason}; see: izin brands parked"
            )
        if not yes:
            say(f"{keys} records of brand {brand_code} would be requeued; add --yes to do it")
            return
        kafka = kafka_settings()
        announcer, now = TopicMessages(codec(kafka), kafka.topics), datetime.now(UTC)
        count = run_on_ledger(
            lambda ledger: registry.requeue(
                ledger, announcer, brand_code, by=by, now=now, reason=reason
            )
        )
        say(f"{count} records of brand {brand_code} were requeued")


async def _parked(ledger: Ledger, brand_code: int) -> tuple[Parked, ...]:
    await registered_brand(ledger, brand_code)
    return of_brand(brand_code, await reads.parked(ledger))


async def _differences(ledger: Ledger, brand_code: int) -> tuple[Difference, ...]:
    await registered_brand(ledger, brand_code)
    return await retailer_access.differences(ledger, brand_code)
