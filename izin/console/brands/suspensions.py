"""``izin brands suspensions`` and ``retry``: what a lost right or subscription holds back."""

from datetime import UTC, datetime
from operator import attrgetter

from izin.consent.errors import SourceError
from izin.console.brands.lookup import run_on_brand
from izin.console.brands.remedies import remedy_of_suspension
from izin.console.terminal.arguments import BrandArgument, ByOption, OneCustomerOption
from izin.console.terminal.customer_cut import run_cut
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
    say,
)
from izin.sinks.ledger import suspensions as standing

_COLUMNS = {
    "brand_code": "brand",
    "channel": "channel",
    "status": "status",
    "code": "code",
    "reason": "reason",
    "scope": "scope",
    "since": "since",
    "retry_at": "retried",
    "remedy": "remedy",
}


def suspensions(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List what is not sent to İYS because a right or subscription is missing, or by an order.

    İYS refused it, or a person set it (izin brands rights, izin brands suspend). Each is retried at
    the time shown, one that a person set never. Exit code 1 if there are any.
    """
    with exit_on_error():
        found = run_cut(customer, standing.every, attrgetter("brand_code"))
    rows = [
        (
            one.brand_code,
            one.channel,
            one.status,
            one.code,
            one.reason,
            one.scope,
            one.since,
            one.recheck_at,
            remedy_of_suspension(one, found),
        )
        for one in found
    ]
    print_rows(output, _COLUMNS, rows, below=True)
    exit_if(found)


def retry(brand_code: BrandArgument, *, by: ByOption) -> None:
    """Send one record of each suspension of a brand now, after its cause was corrected at İYS.

    If İYS takes it, all resume; else the suspension stays, and is retried later by itself. A token
    is requested at once where the last requests of its account gave none, and its streams are read.
    Who ordered it is written to the history. Exit code 3 if nothing of the brand is suspended that
    can be retried.
    """
    with exit_on_error():
        now = datetime.now(UTC)
        count = run_on_brand(
            brand_code, lambda ledger: standing.recheck_now(ledger, brand_code, by=by, now=now)
        )
        if not count:
            raise SourceError(
                f"no suspension of brand {brand_code} can be retried; see: izin brands suspensions"
            )
    say(f"{count} of what brand {brand_code} waits for are retried now")
