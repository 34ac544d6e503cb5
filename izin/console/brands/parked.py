"""``izin brands parked`` and ``retailers``: records that a person must act on."""

from operator import attrgetter

from izin.console.brands.lookup import registered_brand
from izin.console.brands.remedies import remedy_of_parked
from izin.console.terminal.arguments import BrandArgument, OneCustomerOption
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
)
from izin.sinks.ledger import reads
from izin.sinks.ledger import retailers as retailer_access
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.retailers import Difference

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
            remedy_of_parked(one.brand_code, one.reason, all_of=one.keys),
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


async def _differences(ledger: Ledger, brand_code: int) -> tuple[Difference, ...]:
    await registered_brand(ledger, brand_code)
    return await retailer_access.differences(ledger, brand_code)
