"""What the doctor finds wrong with what the ledger holds, and what to do about each: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from shlex import quote
from typing import TYPE_CHECKING

from izin.consent.forecast import forecast
from izin.consent.model import Status
from izin.console.terminal.output import turkish
from izin.sinks.monitor.subscriptions import warnings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from izin.iys.token_policy import TokenPolicy
    from izin.sinks.ledger.brands import Brand
    from izin.sinks.ledger.reads import Backlog, Parked
    from izin.sinks.ledger.sequences import Missing

_TOKEN_LASTS = timedelta(hours=2)
"""What İYS gives (reference section 1.2)."""


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WRONG = "wrong"
    FIXED = "fixed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found, and what to do about it."""

    check: str
    state: State
    what: str


def of_backlog(backlog: Backlog, *, now: datetime, pace: float) -> Iterator[Finding]:
    """Yield what becomes of ``backlog`` at ``pace`` records a second, the worst first."""
    ahead = forecast(backlog.telling, now=now, records_per_second=pace)
    if ahead.lost:
        what = (
            f"{ahead.lost} ONAY expire before they can be told, the first at "
            f"{turkish(ahead.first_lost_at)}; run a sink worker, from more addresses if one is too "
            "slow (IYS_EGRESS_ADDRESS); what is lost needs a new consent"
        )
        yield Finding(check="deadlines", state=State.WRONG, what=what)
    if ahead.late > ahead.lost:
        what = (
            f"{ahead.late - ahead.lost} records are told after they are due, the first due at "
            f"{turkish(ahead.first_late_at)}; run a sink worker"
        )
        yield Finding(check="deadlines", state=State.WRONG, what=what)
    if backlog.held:
        kept = sum(one.count for one in backlog.held)
        ends = [one for one in backlog.held if one.status is Status.ONAY and one.expires_at]
        lost = (
            f"; {sum(one.count for one in ends)} of them ONAY that expire, the first at "
            f"{turkish(min(one.expires_at for one in ends if one.expires_at))}"
            if ends
            else ""
        )
        noes = [one for one in backlog.held if one.status is Status.RET]
        due = min((one.due_at for one in noes if one.due_at), default=None)
        urgent = (
            f"; {sum(one.count for one in noes)} of them opt-outs"
            f"{f', the first due at {turkish(due)}' if due else ''}: izin deadlines opt-outs"
            " writes what a person withdraws"
            if noes
            else ""
        )
        what = (
            f"{kept} records are kept from İYS{urgent}{lost}; "
            "see: izin brands stops, izin brands list"
        )
        yield Finding(check="deadlines", state=State.WRONG, what=what)
    if not (ahead.late or ahead.lost or backlog.held):
        count = sum(one.count for one in backlog.telling)
        done = f", the last by {turkish(ahead.done_at)}" if count else ""
        what = f"{count} records to tell, all in time at {pace:g} a second{done}"
        yield Finding(check="deadlines", state=State.OK, what=what)


def of_missing(missing: Sequence[Missing]) -> Iterator[Finding]:
    """Yield what each origin has numbered and never brought."""
    for one in missing:
        more = f" and {one.numbers - 1} more in {one.gaps} gaps" if one.numbers > 1 else ""
        given_up = (
            f"; {one.given_up} before are no longer looked for: do its numbers run one by one?"
            if one.given_up
            else ""
        )
        what = (
            f"{one.origin} of {one.customer_id}: number {one.first_number}{more} never came, since "
            f"{turkish(one.since)}; have the origin publish them again (what came twice counts "
            "once), or say that it and all before it were never given: izin sequences close "
            f"--customer {quote(one.customer_id)} --origin {quote(one.origin)} "
            f"--until {one.first_number} (or a later number){given_up}"
        )
        yield Finding(check="sequences", state=State.WRONG, what=what)
    if not missing:
        what = "no origin that numbers its events misses one"
        yield Finding(check="sequences", state=State.OK, what=what)


def of_brands(
    brands: Sequence[Brand], parked: Sequence[Parked], *, policy: TokenPolicy, now: datetime
) -> Iterator[Finding]:
    """Yield which brands need a person, and where more accounts stand behind an address than İYS
    gives tokens to.
    """
    for brand in brands:
        warnings = "; ".join(warnings_of(brand, now))
        if warnings:
            what = f"subscription of brand {brand.brand_code}: {warnings}; renew or enlarge it"
            yield Finding(check="brands", state=State.WRONG, what=what)
    waiting = sum(one.keys for one in parked)
    if waiting:
        what = f"{waiting} records wait for a person; see: izin brands parked"
        yield Finding(check="brands", state=State.WRONG, what=what)
    accounts: dict[str | None, set[str | None]] = {}
    for brand in brands:
        accounts.setdefault(brand.egress_address, set()).add(brand.account)
    most = policy.accounts(_TOKEN_LASTS)
    for address, behind in accounts.items():
        if len(behind) > most:
            what = (
                f"{len(behind)} accounts behind {address or 'one address'}: İYS gives tokens to "
                f"{most} at most; have the others told from another: izin brands add --address"
            )
            yield Finding(check="brands", state=State.WRONG, what=what)
