"""``izin rate-limits``: how İYS rates our addresses, and how many calls are left of its limits."""

from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
)
from izin.iys.rate_limit import Reputation
from izin.sinks.ledger.rate_limits import addresses

_COLUMNS = {
    "address": "address",
    "standing": "standing",
    "calls_24h": "calls in 24 h",
    "failed_24h": "failed",
    "pace": "pace",
    "paused_until": "paused until",
    "token_calls_1h": "token calls in 1 h",
    "token_paused_until": "token calls paused until",
    "status_calls_1h": "status calls in 1 h",
}


def rate_limits(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show each egress address: İYS's success rate of the day, its pace, and limited calls used.

    İYS counts failed calls against an address. Below 80 % success we slow an address down; below
    75 % it sends in bulk only what is due within a day. Exit code 1 if an address is below.
    """
    with exit_on_error():
        found = run_on_ledger(addresses)
    rows = [
        (
            one.address,
            str(one.standing),
            one.calls,
            one.failures,
            round(one.factor, 2),
            one.paused_until,
            one.token_calls,
            one.token_silent_until,
            one.status_calls,
        )
        for one in found
    ]
    print_rows(output, _COLUMNS, rows)
    exit_if([one for one in found if one.standing is not Reputation.GOOD])
