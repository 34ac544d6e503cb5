"""What the doctor finds about workers, unread topics, pulls from İYS and dead letters: pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from izin.console.doctor.consumer_lag import Unread
from izin.console.doctor.finding import Finding, ok, skipped, wrong
from izin.console.terminal.output import turkish
from izin.sinks.ledger.stream_progress import STALE_AFTER, StreamProgress

USUAL = timedelta(minutes=5)
"""A record may wait this long while all is well: a worker restarts, a batch is large."""

DECIDED_WITHIN = timedelta(seconds=10)
"""Where opt-outs wait for longer without one being decided, nobody decides them."""

DEAD_LETTERS_WITHIN = timedelta(days=1)


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

    @property
    def start(self) -> str:
        """The command that starts one."""
        return f"izin {self.check}"


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
) -> Finding:
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
            f"none runs (known by {worker.known_by}); start one: {worker.start}; {what}",
        )
    found = f"{running} runs; {what}" if running == 1 else f"{running} run; {what}"
    return (
        wrong(worker.check, f"{found}; what does its log say?")
        if is_late
        else ok(worker.check, found)
    )


def _unread(worker: WorkerReading, lanes: Sequence[Unread], now: datetime) -> tuple[str, bool]:
    """Return what is unread in words, and whether it waits longer than usual."""
    count = sum(one.records for one in lanes)
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


def of_endpoint(check: str, url: str, status: int | None) -> Finding:
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


def of_pulls(pulls: Sequence[StreamProgress], *, now: datetime) -> Iterator[Finding]:
    """Yield which of İYS's streams are not pulled: a citizen's opt-out may wait in each."""
    faults = [fault for one in pulls if (fault := _fault(one, now))]
    yield from (wrong("pull", f"{fault}; a citizen's opt-out may wait there") for fault in faults)
    if not any(one.was_pulled or one.failure for one in pulls):
        yield skipped("pull", "no stream was pulled yet")
    elif not faults:
        yield ok("pull", f"{len(pulls)} streams of İYS are pulled")


def _fault(one: StreamProgress, now: datetime) -> str:
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


def of_dead_letters(count: int, acknowledged: int | None) -> Finding:
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
        f"{unknown if acknowledged is None else ''}; where each is and what is wrong with it: "
        "izin dead-letters; once its cause is gone they come back by: izin dead-letters redrive "
        "--help; what needs no more attention: izin dead-letters acknowledge --help",
    )
