"""What the doctor finds about workers, topics, pulls, deliveries and what the ledger holds."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from shlex import quote

import httpx

from izin.cli.doctor.finding import DoctorFinding, ok, skipped, wrong
from izin.cli.terminal import turkish
from izin.cli.terminal.iys_session import calling_iys
from izin.consent import Status
from izin.consent.forecast import DueGroup, forecast
from izin.iys.errors import CallError, ThrottledError, TokenLimitError, UnauthenticatedError
from izin.iys.tokens import TokenPolicy
from izin.kafka.bounded_reader import TopicRecord, Unread, reading, record_of
from izin.ledger import brands as registry
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension
from izin.ledger.db import Ledger
from izin.ledger.offsets import Held
from izin.ledger.rate_limits import Address
from izin.ledger.reads import Backlog, Memory, Parked
from izin.ledger.record import Brand
from izin.ledger.registry.granted import ListReading, LostRight
from izin.ledger.sequences import Missing
from izin.ledger.stored_secrets import READABLE, SecretCensus
from izin.ledger.stream_progress import STALE_AFTER, PulledStream
from izin.ledger.webhooks.registry import PauseReason, WebhookSubscriber
from izin.runtime.settings import IysSettings, KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.monitor.accounts import warnings_of
from izin.views.remedies import held_back, remedy_of_automatic

_MOST_DEAD_LETTERS = 10_000
USUAL = timedelta(minutes=5)
"""A record may wait this long while all is well: a worker restarts, a batch is large."""
DECIDED_WITHIN = timedelta(seconds=10)
"""Where opt-outs wait for longer without one being decided, nobody decides them."""
DEAD_LETTERS_WITHIN = timedelta(days=1)
_CHECK = "webhooks"
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


def dead_letters_since(settings: KafkaSettings, codec: Codec, since: datetime) -> list[TopicRecord]:
    """Return the dead letters written since then, at most 10,000; raises BrokerError."""
    topic = settings.topics.dead_letters
    with reading(settings, topic) as reader:
        found = (
            record_of(message, codec, topic)
            for messages in reader.read(*reader.since(since))
            for message in messages
        )
        return list(islice((record for record in found if record is not None), _MOST_DEAD_LETTERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReading:
    """What a worker reads, in the doctor's words."""

    check: str
    records: str
    """What it reads, in the plural."""
    compared: str
    """Which two positions are compared."""
    known_by: str
    """How it is known which ones run."""


SINK = WorkerReading(
    check="sink",
    records="decisions and receipts",
    compared="the ledger's offsets with the ends of consent-decisions and gate-receipts",
    known_by="their locks in the ledger",
)
ORDER = WorkerReading(
    check="order",
    records="events",
    compared="the order stage's positions with the ends of both lanes",
    known_by="the members of their consumer group",
)


def of_worker(
    worker: WorkerReading,
    lanes: Sequence[Unread],
    *,
    running: int,
    now: datetime,
    undecided: Collection[int] = (),
) -> DoctorFinding:
    """Return whether workers run and read: one does not where a record waits longer than usual, or
    where opt-outs of the partitions ``undecided`` wait and none was decided meanwhile.
    """
    what, is_late = _unread(worker, lanes, now)
    if undecided:
        numbers, is_late = ", ".join(map(str, sorted(undecided))), True
        what += (
            f"; nobody decides the opt-outs that wait in partition {numbers}: none of them within "
            f"{DECIDED_WITHIN // timedelta(seconds=1)} s"
        )
    if not running:
        return wrong(
            worker.check,
            f"none runs (known by {worker.known_by}); start one: izin {worker.check}; one that is "
            f"there and frozen answers no /health/live: end it with kill -9 first; {what}",
        )
    found = f"{running} runs; {what}" if running == 1 else f"{running} run; {what}"
    return (
        wrong(worker.check, f"{found}; what does its log say?")
        if is_late
        else ok(worker.check, found)
    )


def _unread(worker: WorkerReading, lanes: Sequence[Unread], now: datetime) -> tuple[str, bool]:
    """Return what is unread in words, and whether it waits longer than usual."""
    count = sum(lane.records for lane in lanes)
    oldest_at = min((one.oldest_at for one in lanes if one.oldest_at), default=None)
    if oldest_at is None:
        return f"no {worker.records} wait to be read", False
    age = max(now - oldest_at, timedelta())
    what = (
        f"about {count} {worker.records} are not read, the oldest of {turkish(oldest_at)}, "
        f"{age // timedelta(minutes=1)} minutes ago (compared: {worker.compared}; "
        f"up to {USUAL // timedelta(minutes=1)} minutes are usual)"
    )
    return what, age > USUAL


def of_endpoint(check: str, url: str, status: int | None) -> DoctorFinding:
    """Return whether the process at ``url``, which the command ``check`` starts, is ready, from the
    status of its answer, if any.
    """
    match status:
        case httpx.codes.OK:
            return ok(check, f"{url} is ready")
        case None:
            host, port = (f"IZIN_{check.upper()}_{one}" for one in ("HOST", "PORT"))
            return wrong(
                check,
                f"none answers at {url}, where {host} and {port} say that one is; start it: "
                f"izin {check}",
            )
        case _:
            return wrong(check, f"{url} is not ready ({status}); what does its log say?")


def of_pulls(pulls: Sequence[PulledStream], *, now: datetime) -> Iterator[DoctorFinding]:
    """Yield which of İYS's streams are not pulled: a citizen's opt-out may wait in each."""
    faults = [fault for pull in pulls if (fault := _fault(pull, now))]
    yield from (wrong("pull", f"{fault}; a citizen's opt-out may wait there") for fault in faults)
    if not any(one.was_pulled or one.failure for one in pulls):
        yield skipped("pull", "no stream was pulled yet")
    elif not faults:
        yield ok("pull", f"{len(pulls)} streams of İYS are pulled")


def _fault(one: PulledStream, now: datetime) -> str:
    """Return what is wrong with a stream, or an empty text."""
    name = f"{one.stream} of {one.brand_code}"
    last = (
        f"last read to its end at {turkish(one.last_pulled_at)}"
        if one.was_pulled
        else "never read to its end"
    )
    pause = one.next_at - now if one.next_at else timedelta()
    if one.failing_since and max(pause, now - one.failing_since) > USUAL:
        again = f"again at {turkish(one.next_at)}" if one.next_at and pause > USUAL else "soon"
        return (
            f"{name} fails since {turkish(one.failing_since)} ({one.failure}), {last}, and is "
            f"tried {again}; at once, when its cause is gone: izin brands retry {one.brand_code}"
        )
    if now - one.last_pulled_at > (STALE_AFTER if one.was_pulled else USUAL):
        return (
            f"{name} was {last}; does a sink worker of the brand's account and address run, and "
            "what does its log say?"
        )
    return ""


def of_dead_letters(count: int, acknowledged: int | None) -> DoctorFinding:
    """Return how many records were dead-lettered lately and need a person, and what to do.

    ``acknowledged`` are those of ``count`` that a person has dealt with; None: not known.
    """
    waiting = count - (acknowledged or 0)
    if not waiting:
        dealt_with = f"; {acknowledged} acknowledged" if acknowledged else ""
        return ok("dead-letters", f"none in the last 24 hours needs a person{dealt_with}")
    unknown = " (the ledger cannot be read for who has acknowledged them)"
    return wrong(
        "dead-letters",
        f"{waiting} records of the last 24 hours could not be processed"
        f"{unknown if acknowledged is None else ''}; each with its place: izin dead-letters; "
        "what is wrong with one, and what to do about it: izin dead-letters show LETTER",
    )


def of_webhooks(
    subscribers: Sequence[WebhookSubscriber], *, running: int, now: datetime
) -> Iterator[DoctorFinding]:
    """Yield whether somebody delivers, and which subscribers do not take their events."""
    if not subscribers:
        yield skipped(_CHECK, "there are no subscribers yet: izin subscribers add")
        return
    if not running:
        yield wrong(
            _CHECK,
            "none runs (known by their locks in the ledger); start one: izin webhooks; one that is "
            "there and frozen answers no /health/live: end it with kill -9 first",
        )
    bad = [subscriber for subscriber in subscribers if _delivery_fault(subscriber, now)]
    yield from (wrong(_CHECK, f"subscriber {one.name} {_delivery_fault(one, now)}") for one in bad)
    if running and not bad:
        yield ok(_CHECK, f"{running} running; {_counted(subscribers, now)}")


def _counted(subscribers: Sequence[WebhookSubscriber], now: datetime) -> str:
    """Return how many take their events, fail since a moment ago, and are paused by a person."""
    names: dict[str, list[str]] = defaultdict(list)
    for one in subscribers:
        names[one.state_at(now).split()[0]].append(one.name)
    remedy = ", ".join(f"izin subscribers show {name}" for name in names["failing"])
    words = {
        "active": "take their events",
        "failing": f"failing for less than {USUAL // timedelta(minutes=1)} minutes ({remedy})",
        "paused": "paused",
    }
    return f"of {len(subscribers)} subscribers " + ", ".join(
        f"{len(names[state])} {word}" for state, word in words.items() if names[state]
    )


def _delivery_fault(one: WebhookSubscriber, now: datetime) -> str:
    if one.paused_for == PauseReason.GONE:
        return (
            f"answered 410 and is paused; when that is settled: izin subscribers resume {one.name}"
        )
    if one.paused_at is None and one.failing_since and now - one.failing_since > USUAL:
        return (
            f"has not taken something since {turkish(one.failing_since)} ({one.last_failure}); "
            f"see: izin subscribers show {one.name}"
        )
    return ""


def of_memory(memory: Memory) -> Iterator[DoctorFinding]:
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


def of_addresses(addresses: Sequence[Address]) -> Iterator[DoctorFinding]:
    """Yield which egress addresses İYS answers no more."""
    delisted = [one for one in addresses if one.delisted_at is not None]
    for one in delisted:
        yield wrong(
            "addresses",
            f"İYS answers {one.address} no more, found at {turkish(one.delisted_at)}; its brands "
            "are served from the others, where there are any; have İYS put it on its list again",
        )
    if not delisted:
        yield ok("addresses", f"{len(addresses)} have called, and İYS answers them")


def of_backlog(backlog: Backlog, *, now: datetime, pace: float) -> Iterator[DoctorFinding]:
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
        count = sum(group.count for group in backlog.ready)
        done = f", the last by {turkish(ahead.done_at)}" if count else ""
        yield ok("deadlines", f"{count} records to send, all in time at {pace:g} a second{done}")


def _suspended(suspended: Sequence[DueGroup]) -> str:
    opt_outs = [group for group in suspended if group.status is Status.RET]
    due = min((opt_out.due_at for opt_out in opt_outs if opt_out.due_at), default=None)
    ends = [one for one in suspended if one.status is Status.ONAY and one.expires_at]
    what = f"{_count(suspended)} records are suspended"
    if opt_outs:
        first = f", the first due at {turkish(due)}" if due else ""
        what += (
            f"; {_count(opt_outs)} of them opt-outs{first}: izin deadlines opt-outs writes what a "
            "person withdraws"
        )
    if ends:
        first_end = min(end.expires_at for end in ends if end.expires_at)
        what += f"; {_count(ends)} of them ONAY that expire, the first at {turkish(first_end)}"
    return f"{what}; see: izin brands suspensions, izin brands list"


def _count(groups: Sequence[DueGroup]) -> int:
    return sum(group.count for group in groups)


def of_missing(missing: Sequence[Missing]) -> Iterator[DoctorFinding]:
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
) -> Iterator[DoctorFinding]:
    """Yield which lists of granted brands are old, and which rights are lost."""
    followed = [reading for reading in lists if reading.tried_at is not None]
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


def of_automatic(suspensions: Sequence[AutomaticSuspension]) -> Iterator[DoctorFinding]:
    """Yield what automatic suspensions hold back until a person decides."""
    for suspension in suspensions:
        yield wrong("brands", f"{held_back(suspension)}; {remedy_of_automatic(suspension)}")


def of_secrets(found: SecretCensus) -> Iterator[DoctorFinding]:
    """Yield which secrets stand readable or under a former key, and which cannot be decrypted."""
    first = "" if found.keys else "set IZIN_SECRET_KEYS for every process (docs/security.md), then "
    waiting = [
        f"{count} secrets {'stand readable' if key == READABLE else f'are under key {key}'} in the "
        f"ledger; {first}run: izin ledger encrypt-secrets --execute"
        for key, count in found.behind.items()
    ]
    yield from (wrong("secrets", fault) for fault in (*found.faults, *waiting))
    if not (found.faults or waiting):
        yield ok("secrets", f"{sum(found.counts.values())} secrets, none of them readable")


def of_held(held: Held | None) -> Iterator[DoctorFinding]:
    """Yield since when the ledger publishes and submits nothing."""
    if held is not None:
        yield wrong(
            "sink",
            f"nothing is published or submitted since {turkish(held.since)}: the ledger was "
            "restored, or lost transactions, and reads its decisions again; keep a sink worker "
            "running until it has caught up",
        )


def of_brands(
    brands: Sequence[Brand], parked: Sequence[Parked], *, policy: TokenPolicy, now: datetime
) -> Iterator[DoctorFinding]:
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


async def token_finding(ledger: Ledger) -> DoctorFinding:
    """Return whether a call of our account gets a token."""
    settings = IysSettings()
    ours, every = {None, settings.username}, await registry.every(ledger)
    iys_code = next((brand.iys_code for brand in every if brand.account in ours), 0)
    async with calling_iys(ledger, settings) as (client, _):
        try:
            await client.brands(iys_code)
        except CallError as error:
            state = await LedgerTokenStore.of(ledger, settings).read()
            failures = 0 if state.blocked_until else state.failures
            return of_token(error, failures=failures, now=ledger.clock.now())
    return of_token(None, failures=0, now=ledger.clock.now())


def of_token(error: CallError | None, *, failures: int, now: datetime) -> DoctorFinding:
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
        # Too many calls this second: the token was taken, and every process slows down by itself.
        case CallError() if error.is_transient and not isinstance(error, ThrottledError):
            return wrong(
                "token",
                f"{error}; nothing is submitted to İYS and nothing pulled from it while that lasts",
            )
        case _:
            return ok("token", "İYS takes the calls of our account")
