"""The table of first receipts: the first one counts, for a day, in little memory.

First receipts under ten thousand interleavings of endpoints, crashes and opt-outs.

Each runs three endpoints over one simulated log. Attempts of one opt-in go through any of them, and
are cut off at any step: before the record is written, before it is read back, before the event is
published. The client may give up while an endpoint goes on. Opt-outs come in between, clocks
differ, endpoints forget what they read. The law then decides over all that was published.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from izin.consent import AdmittedEvent, Consent, RefusedEvent, Status, admit, decide
from izin.producers.intake.first_receipts import (
    KEPT,
    FirstReceipts,
    Lookup,
    ReceiptsFullError,
    ReceiptTable,
    lookup_of,
)
from tests.support.builders import NOON, an_event

MINUTE = timedelta(minutes=1)
ID = b"sixteen bytes id"
RUNS = 10_000
SECOND = timedelta(seconds=1)
ACTIONS = ("attempt", "step", "crash", "ret", "restart", "read")
WEIGHTS = (3, 20, 1, 2, 1, 1)

lookup_in_use = lookup_of


def an_id(number: int) -> bytes:
    return UUID(int=number * 0x1_0000_0001_0000_0001_0000_0001).bytes


def test_first_receipt_counts_for_a_day():
    """Then a repetition is a new act."""
    table = ReceiptTable()
    for passed in (timedelta(0), MINUTE, KEPT):
        table.add(an_id(1), NOON + passed)
        assert table.find(an_id(1)) == NOON
    table.add(an_id(1), NOON + KEPT + MINUTE)
    assert table.find(an_id(1)) == NOON + KEPT + MINUTE
    assert len(table) == 1


def test_ids_of_one_bucket_are_distinguished():
    """Also where one id ends as another begins."""
    table = ReceiptTable()
    ids = [bytes(2) + bytes([one]) * 14 for one in range(1, 50)] + [bytes(16)]
    for minutes, one in enumerate(ids):
        table.add(one, NOON + minutes * MINUTE)
    assert [table.find(one) for one in ids] == [
        NOON + minutes * MINUTE for minutes in range(len(ids))
    ]
    assert table.find(bytes(2) + b"\xff" * 14) is None


def test_expired_receipts_are_removed():
    """Those of the last day stay."""
    table = ReceiptTable()
    for number in range(100):
        table.add(an_id(number), NOON + number * MINUTE)
    table.expire(NOON + KEPT + 40 * MINUTE)
    assert len(table) == 60
    assert table.find(an_id(39)) is None
    assert table.find(an_id(40)) == NOON + 40 * MINUTE


def test_receipt_counts_no_later_than_its_append():
    """An endpoint's clock cannot put it ahead."""
    receipts = FirstReceipts(10)
    receipts.read(0, 0, an_id(1), NOON + MINUTE, appended_at=NOON)
    assert receipts.after(0, 1, an_id(1)).result(0) == NOON


def test_waiter_is_answered_once_its_position_is_read():
    """Of its partition, in any order, and by the end of the partition too."""
    receipts = FirstReceipts(10)
    late = receipts.after(0, 3, an_id(1))
    early = receipts.after(0, 1, an_id(1))
    other = receipts.after(1, 1, an_id(2))
    receipts.read(0, 0, an_id(1), NOON, appended_at=NOON)
    assert early.result(0) == NOON
    assert not late.done()
    receipts.read_to(0, 3)
    assert late.result(0) == NOON
    assert not other.done()
    receipts.read_to(1, 1)
    assert other.result(0) is None


def test_one_key_leaves_room_for_others():
    """Alone it has half of a day's claims, and the next day it has them again."""
    receipts = FirstReceipts(100)
    for name, numbers in (("bulk", range(50)), ("shop", range(50, 75))):
        for number in numbers:
            receipts.take_room(NOON, name)
            receipts.read(0, number, an_id(number), NOON, appended_at=NOON)
        with pytest.raises(ReceiptsFullError, match=r"of one key .*IZIN_INTAKE_FIRST_RECEIPTS"):
            receipts.take_room(NOON, name)
    receipts.take_room(NOON, "third")
    receipts.take_room(NOON + KEPT + MINUTE, "bulk")


@dataclass
class World:
    """The broker: its clock, the topic of first receipts, the events."""

    random: Random
    now: datetime = NOON
    log: list[tuple[bytes, datetime, datetime]] = field(default_factory=list)
    published: list[AdmittedEvent] = field(default_factory=list)

    def pass_time(self) -> None:
        self.now += SECOND * self.random.choice((0, 0, 0, 0, 1, 7))


class Endpoint:
    """An endpoint with a clock that may be wrong, and what it has read of the log."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.skew = SECOND * world.random.choice((0, 0, -20, 30))
        self.forget()

    def forget(self) -> None:
        """Start again."""
        self.receipts = FirstReceipts(1000)
        self.position = 0

    def read_on(self) -> None:
        """Read what the log has now, as the follower does."""
        for event_id, received_at, appended_at in self.world.log[self.position :]:
            self.receipts.read(0, self.position, event_id, received_at, appended_at=appended_at)
            self.position += 1

    def attempt(self, date: datetime | None) -> Iterator[None]:
        """Handle the opt-in; each pause is a step behind which it may be cut off."""
        world, received_at = self.world, self.world.now + self.skew
        lookup = lookup_in_use(date, now=received_at, skew=max(self.skew, timedelta(0)))
        yield
        if lookup is Lookup.CLAIM:
            world.log.append((ID, received_at, world.now))
        end = len(world.log)
        yield
        found = self.receipts.after(0, end, ID)
        yield
        while not found.done():
            self.read_on()
            yield
        if lookup is not Lookup.NONE:
            received_at = found.result() or received_at
        event = an_event(consent_date=date or received_at, received_at=received_at)
        admitted = admit(event, appended_at=world.now)
        if not isinstance(admitted, RefusedEvent):
            world.published.append(admitted)


def run(seed: int, *, dated: bool) -> int:
    """Play the interleaving of ``seed`` and check what was published; return how many events
    repeated an earlier one.
    """
    random = Random(seed)
    world = World(random)
    endpoints = [Endpoint(world) for _ in range(3)]
    date = NOON + SECOND * random.choice((0, 5, 60, 90)) if dated else None
    in_progress: list[Iterator[None]] = []
    repeated: set[int] = set()
    """The published opt-ins whose attempt began after another was published."""
    begun_with: dict[int, int] = {}
    for _ in range(random.randint(30, 90)):
        world.pass_time()
        match random.choices(ACTIONS, WEIGHTS)[0]:
            case "attempt":
                attempt = random.choice(endpoints).attempt(date)
                begun_with[id(attempt)] = len(onays(world.published))
                in_progress.append(attempt)
            case "step" if in_progress:
                attempt = random.choice(in_progress)
                step(world, attempt, in_progress, begun_with[id(attempt)], repeated)
            case "crash" if in_progress:
                in_progress.remove(random.choice(in_progress))
            case "ret":
                ret = an_event(
                    event_id=f"ret-{len(world.published)}",
                    status="RET",
                    consent_date=world.now,
                    received_at=world.now,
                )
                world.published.append(admitted_of(admit(ret, appended_at=world.now)))
            case "restart":
                random.choice(endpoints).forget()
            case "read":
                random.choice(endpoints).read_on()
            case _:
                pass
    check(world, repeated, dated=dated)
    return len(repeated)


def step(
    world: World,
    attempt: Iterator[None],
    in_progress: list[Iterator[None]],
    earlier: int,
    repeated: set[int],
) -> None:
    before = len(world.published)
    if next(attempt, attempt) is attempt:
        in_progress.remove(attempt)
    if len(world.published) > before and earlier:
        repeated.add(before)


def check(world: World, repeated: set[int], *, dated: bool) -> None:
    """Check that no retry changes anything, and that an undated opt-in has one instant."""
    instants = {one.effective_at for one in onays(world.published)}
    if not dated and instants:
        assert len(instants) == 1
        _, received_at, appended_at = world.log[0]
        assert instants == {min(received_at, appended_at)}
    without = [one for index, one in enumerate(world.published) if index not in repeated]
    assert state_of(world.published) == state_of(without)


def onays(events: Sequence[AdmittedEvent]) -> Sequence[AdmittedEvent]:
    return [one for one in events if one.status is Status.ONAY]


def admitted_of(result: AdmittedEvent | RefusedEvent) -> AdmittedEvent:
    assert isinstance(result, AdmittedEvent)
    return result


def state_of(events: Sequence[AdmittedEvent]) -> tuple[Status, datetime] | None:
    state: Consent | None = None
    for one in events:
        state = decide(state, one).consent
    return None if state is None else (state.status, state.effective_at)


@pytest.mark.parametrize("dated", [False, True], ids=["undated", "dated-ahead"])
def test_no_interleaving_moves_an_instant(dated: bool):
    """A RET that was given in between stands, whichever endpoints failed where."""
    assert run_all(dated=dated) > RUNS


def run_all(*, dated: bool) -> int:
    """Play all interleavings; return how many events repeated an earlier one."""
    repeated = 0
    for seed in range(RUNS):
        try:
            repeated += run(seed, dated=dated)
        except AssertionError as error:
            raise AssertionError(f"interleaving {seed}") from error
    return repeated


@pytest.mark.parametrize("dated", [False, True], ids=["undated", "dated-ahead"])
@pytest.mark.parametrize("fault", [Lookup.RECALL, Lookup.NONE])
def test_endpoint_without_receipts_is_found(
    monkeypatch: pytest.MonkeyPatch, fault: Lookup, dated: bool
):
    """The check above can fail: without a record, or without a look at it, instants move."""
    monkeypatch.setattr(f"{__name__}.lookup_in_use", lambda *_, **__: fault)
    with pytest.raises(AssertionError):
        run_all(dated=dated)


def test_date_that_was_ahead_must_be_recalled(monkeypatch: pytest.MonkeyPatch):
    """A claim at the first attempt alone is not enough."""

    def lookup(date: datetime | None, *, now: datetime, skew: timedelta) -> Lookup:
        found = lookup_of(date, now=now, skew=skew)
        return Lookup.NONE if found is Lookup.RECALL else found

    monkeypatch.setattr(f"{__name__}.lookup_in_use", lookup)
    with pytest.raises(AssertionError, match="interleaving"):
        run_all(dated=True)
