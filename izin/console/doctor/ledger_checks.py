"""What the doctor finds wrong with what the ledger holds, with the remedies: pure, but for the call
that shows whether our account gets a token.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from shlex import quote

from izin.consent.forecast import DueGroup, forecast
from izin.consent.model import Status
from izin.console.doctor.finding import Finding, ok, skipped, wrong
from izin.console.remedies import held_back, remedy_of_brake
from izin.console.terminal import turkish
from izin.console.terminal.iys_session import calling_iys
from izin.iys.errors import CallError, TokenLimitError, UnauthenticatedError
from izin.iys.tokens import TokenPolicy
from izin.runtime.settings import IysSettings
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.brake.decisions import Brake
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import Backlog, Memory, Parked
from izin.sinks.ledger.registry.granted import ListReading, LostRight
from izin.sinks.ledger.sequences import Missing
from izin.sinks.monitor.accounts import warnings_of
from izin.sinks.record.brand import Brand

_TOKEN_LIFETIME = timedelta(hours=2)
"""Of a token of İYS (reference section 1.2)."""
_MIB = 1 << 20
_LARGE = 1024 * _MIB
"""Consents of more, two million keys, need more than PostgreSQL's default settings."""
_LEAST = {"shared_buffers": 1024 * _MIB, "max_wal_size": 4096 * _MIB}
"""What such a ledger needs (decision 0052)."""
_GIVE = {
    "write": "opt-outs of it wait too: izin deadlines opt-outs; have the provider give the right "
    "back on İYS's pages; if the brand never writes it: izin brands rights",
    "read": "its citizens' opt-outs are not seen; have the provider give the right back on İYS's "
    "pages",
}
"""What to do about a right that is lost."""


def of_memory(memory: Memory) -> Iterator[Finding]:
    """Yield which settings of the server are too small for so many consents."""
    found = {"shared_buffers": memory.shared_buffers, "max_wal_size": memory.max_wal_size}
    small = [name for name, least in _LEAST.items() if found[name] < least]
    size = f"{memory.consents // _MIB:,} MB of consents"
    has = ", ".join(f"{name} {value // _MIB:,} MB" for name, value in found.items())
    if small and memory.consents > _LARGE:
        needs = ", ".join(f"{name} = {_LEAST[name] // _MIB}MB" for name in small)
        yield wrong(
            "memory",
            f"{size}, and PostgreSQL has {has}: changes of known keys wait for its disk; set at "
            f"least {needs}, shared_buffers to a quarter of the server's memory, and restart it",
        )
    else:
        yield ok("memory", f"{size}, {has}")


def of_backlog(backlog: Backlog, *, now: datetime, pace: float) -> Iterator[Finding]:
    """Yield the forecast of ``backlog`` at ``pace`` records a second, the worst first."""
    ahead = forecast(backlog.ready, now=now, records_per_second=pace)
    if ahead.lost:
        yield wrong(
            "deadlines",
            f"{ahead.lost} ONAY expire before they can be sent, the first at "
            f"{turkish(ahead.first_lost_at)}; run a sink worker, from more addresses if one is too "
            "slow (IYS_EGRESS_ADDRESS); an expired ONAY needs a new consent",
        )
    if ahead.late > ahead.lost:
        yield wrong(
            "deadlines",
            f"{ahead.late - ahead.lost} records are sent after they are due, the first due at "
            f"{turkish(ahead.first_late_at)}; run a sink worker",
        )
    if backlog.suspended:
        yield wrong("deadlines", _suspended(backlog.suspended))
    if not (ahead.late or ahead.lost or backlog.suspended):
        count = sum(one.count for one in backlog.ready)
        done = f", the last by {turkish(ahead.done_at)}" if count else ""
        yield ok("deadlines", f"{count} records to send, all in time at {pace:g} a second{done}")


def _suspended(suspended: Sequence[DueGroup]) -> str:
    opt_outs = [one for one in suspended if one.status is Status.RET]
    due = min((one.due_at for one in opt_outs if one.due_at), default=None)
    ends = [one for one in suspended if one.status is Status.ONAY and one.expires_at]
    what = f"{_count(suspended)} records are suspended"
    if opt_outs:
        first = f", the first due at {turkish(due)}" if due else ""
        what += (
            f"; {_count(opt_outs)} of them opt-outs{first}: izin deadlines opt-outs writes what a "
            "person withdraws"
        )
    if ends:
        first_end = min(one.expires_at for one in ends if one.expires_at)
        what += f"; {_count(ends)} of them ONAY that expire, the first at {turkish(first_end)}"
    return f"{what}; see: izin brands suspensions, izin brands list"


def _count(groups: Sequence[DueGroup]) -> int:
    return sum(one.count for one in groups)


def of_missing(missing: Sequence[Missing]) -> Iterator[Finding]:
    """Yield which numbers of each origin never arrived."""
    for one in missing:
        more = f" and {one.numbers - 1} more in {one.gaps} gaps" if one.numbers > 1 else ""
        given_up = (
            f"; {one.given_up} before are no longer looked for: are its numbers consecutive?"
            if one.given_up
            else ""
        )
        yield wrong(
            "sequences",
            f"{one.origin} of {one.customer_id}: number {one.first_number}{more} never arrived, "
            f"since {turkish(one.since)}; have the origin publish them again (duplicates have no "
            "effect), or declare it and all before it unused: izin sequences close "
            f"--customer {quote(one.customer_id)} --origin {quote(one.origin)} "
            f"--up-to {one.first_number} (or a later number){given_up}",
        )
    if not missing:
        yield ok("sequences", "no origin that numbers its events misses one")


def of_granted(
    lists: Sequence[ListReading], lost: Sequence[LostRight], *, now: datetime
) -> Iterator[Finding]:
    """Yield which lists of granted brands are old, and which rights are lost."""
    followed = [one for one in lists if one.tried_at is not None]
    stale = [one for one in followed if one.is_stale(now)]
    for one in stale:
        since = f"since {turkish(one.read_at)}" if one.read_at else "yet"
        yield wrong(
            "granted",
            f"İYS's list of the brands granted to {one.account} was not wholly read {since} "
            f"({one.error or 'nobody tried'}); does a sink worker with IYS_INTEGRATOR_CODE run? "
            "Read it now: izin customers sync --execute",
        )
    by_right: dict[tuple[int, str], list[LostRight]] = {}
    for right in lost:
        by_right.setdefault((right.brand_code, right.right), []).append(right)
    for (brand_code, name), rights in by_right.items():
        channels = " ".join(one.channel for one in rights)
        since = turkish(min(one.since for one in rights))
        yield wrong(
            "granted",
            f"brand {brand_code} may not {name} {channels} at İYS since {since}; {_GIVE[name]}",
        )
    if not followed and not lost:
        yield skipped("granted", "no list of granted brands was read (IYS_INTEGRATOR_CODE)")
    elif not stale and not lost:
        last = min(one.read_at for one in followed if one.read_at)
        yield ok("granted", f"no right is lost; the list was read at {turkish(last)}")


def of_brakes(brakes: Sequence[Brake]) -> Iterator[Finding]:
    """Yield what brakes hold back until a person decides."""
    for one in brakes:
        yield wrong("brands", f"{held_back(one)}; {remedy_of_brake(one)}")


def of_brands(
    brands: Sequence[Brand], parked: Sequence[Parked], *, policy: TokenPolicy, now: datetime
) -> Iterator[Finding]:
    """Yield which brands need a person, and which addresses have more accounts than İYS gives
    tokens to.
    """
    for brand in brands:
        if warnings := "; ".join(warnings_of(brand, now)):
            yield wrong(
                "brands",
                f"subscription of brand {brand.brand_code}: {warnings}; renew or enlarge it",
            )
    if waiting := sum(one.keys for one in parked):
        opt_outs = sum(one.keys for one in parked if one.desired_status == Status.RET)
        yield wrong(
            "brands",
            f"{waiting} records need a person, {opt_outs} of them opt-outs; "
            "see: izin brands parked",
        )
    accounts: dict[str | None, set[str | None]] = {}
    for brand in brands:
        accounts.setdefault(brand.egress_address, set()).add(brand.account)
    most = policy.accounts(_TOKEN_LIFETIME)
    for address, used in accounts.items():
        if len(used) > most:
            yield wrong(
                "brands",
                f"{len(used)} accounts behind {address or 'one address'}: İYS gives tokens to "
                f"{most} at most; submit the others from another: izin brands add --address",
            )


async def token_finding(ledger: Ledger) -> Finding:
    """Return whether a call of our account gets a token."""
    settings = IysSettings()
    ours, every = {None, settings.username}, await registry.every(ledger)
    iys_code = next((one.iys_code for one in every if one.account in ours), 0)
    async with calling_iys(ledger, settings) as (client, _):
        try:
            await client.brands(iys_code)
        except CallError as error:
            state = await LedgerTokenStore.of(ledger, settings).read()
            failures = 0 if state.blocked_until else state.failures
            return of_token(error, failures=failures, now=ledger.clock.now())
    return of_token(None, failures=0, now=ledger.clock.now())


def of_token(error: CallError | None, *, failures: int, now: datetime) -> Finding:
    """Return the finding from what a call ended with, after so many requests without a token."""
    match error:
        case UnauthenticatedError():
            return wrong(
                "token",
                f"{error}: nothing is submitted and nothing pulled; correct IYS_USERNAME and "
                "IYS_PASSWORD and restart the sink workers with them: another password is used at "
                "once; where İYS corrected the account: izin brands retry",
            )
        case TokenLimitError():
            until = turkish(now + error.retry_after) if error.retry_after else "later"
            why = (
                f"the last {failures} requests gave none; is IYS_PASSWORD right? Another one is "
                "used at once, by the sink workers once they are restarted with it; the same one: "
                "izin brands retry"
                if failures
                else "İYS takes no more token requests of this address; none may be made before"
            )
            return wrong("token", f"no token may be requested until {until}: {why}")
        case CallError() if error.is_transient:
            return wrong(
                "token",
                f"{error}; nothing is submitted to İYS and nothing pulled from it while that lasts",
            )
        case _:
            return ok("token", "İYS takes the calls of our account")
