"""Instants of first receipts at the endpoint: retries through several endpoints, and clock skew.

Where partitions end is asked again where a leader has moved, and only there.

The table of first receipts: the first one counts, for a day, in little memory.

First receipts under ten thousand interleavings of endpoints, crashes and opt-outs.

Each runs three endpoints over one simulated log. Attempts of one opt-in go through any of them, and
are cut off at any step: before the record is written, before it is read back, before the event is
published. The client may give up while an endpoint goes on. Opt-outs come in between, clocks
differ, endpoints forget what they read. The law then decides over all that was published.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from izin.consent import AdmittedEvent, Consent, RefusedEvent, Status, admit, decide
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake import receipt_log
from izin.producers.intake.first_receipts import (
    KEPT,
    FirstReceipts,
    Lookup,
    ReceiptsFullError,
    ReceiptTable,
    lookup_of,
)
from izin.producers.intake.receipt_log import PartitionEnds
from izin.producers.intake.validation import ClockSkew
from tests.support.builders import NOON, an_event
from tests.unit.producers.conftest import (
    FakePublisher,
    FakeReceipts,
    MovingClock,
    Receipt,
    a_record,
    intake_client,
    post,
)

MINUTE = timedelta(minutes=1)


def a_live_record(**overrides: object) -> dict[str, Any]:
    """Return an ONAY that the recipient gives right now, with an id."""
    now = {"id": "signup-1", "consent_date": None, "date_basis": "received"}
    return a_record(**(now | overrides))


Replicas = Callable[..., httpx.AsyncClient]


@pytest.fixture
def log() -> list[Receipt]:
    return []


@pytest.fixture
def replica(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock, log: list[Receipt]
) -> Replicas:
    """Return a function that starts a replica with what only it has read of the log."""
    return lambda **given: intake_client(fake, directory, clock, FakeReceipts(log, clock, **given))


@pytest.mark.parametrize("status", ["ONAY", "RET"])
async def test_retry_at_another_replica_is_identical(
    replica: Replicas, fake: FakePublisher, clock: MovingClock, status: str
):
    """Neither may override the opposite that was given in between."""
    for _ in range(3):
        await post(replica(), a_live_record(status=status))
        clock.now += MINUTE
    first, *others = fake.events
    assert first.received_at == first.consent_date == NOON + timedelta(hours=1)
    assert others == [first, first]


async def test_idempotency_key_of_another_body_is_refused(
    replica: Replicas, fake: FakePublisher, clock: MovingClock
):
    """At any replica, for a day, and by what the body says; opt-outs are published all the same."""
    key = {"Idempotency-Key": "key-1"}
    assert (await post(replica(), a_live_record(), **key)).status_code == 202
    again = dict(reversed(a_live_record().items()))
    assert (await post(replica(), again, **key)).status_code == 202
    other = [a_live_record(id="signup-2"), a_live_record(status="RET")]
    refused = await post(replica(), other, **key)
    assert (refused.status_code, refused.json()["title"]) == (
        422,
        "Idempotency-Key of another body",
    )
    assert [one["index"] for one in refused.json()["events"]] == [1]
    assert [one.status for one in fake.events] == ["ONAY", "ONAY", "RET"]
    alone = await post(replica(), a_live_record(status="RET", id="signup-3"), **key)
    assert alone.status_code == 202
    clock.now += timedelta(days=1, minutes=1)
    assert (await post(replica(), other, **key)).status_code == 202


async def test_refused_record_does_not_bind_its_idempotency_key(replica: Replicas):
    """It is corrected, and sent again under the same one."""
    key = {"Idempotency-Key": "key-1"}
    assert (await post(replica(), a_live_record(recipient="12"), **key)).status_code == 422
    assert (await post(replica(), a_live_record(), **key)).status_code == 202


async def test_idempotency_key_is_not_refused_while_it_is_unknown(replica: Replicas):
    """Whose record needs no first receipt is accepted, as without a key."""
    client = replica(is_away=True)
    dated = a_live_record(consent_date="2026-02-28 12:00:00")
    for number in range(2):
        body = dated | {"id": f"signup-{number}"}
        assert (await post(client, body, **{"Idempotency-Key": "key-1"})).status_code == 202


async def test_retry_under_an_idempotency_key_is_identical(
    replica: Replicas, fake: FakePublisher, clock: MovingClock
):
    """The key identifies each record of a request."""
    body = [a_live_record(id=None), a_live_record(id=None, status="RET")]
    for _ in range(2):
        await post(replica(), body, **{"Idempotency-Key": "key-1"})
        clock.now += MINUTE
    assert fake.events[:2] == fake.events[2:]


@pytest.mark.parametrize("status", ["ONAY", "RET"])
async def test_date_ahead_of_receipt_keeps_its_instant(
    replica: Replicas, fake: FakePublisher, clock: MovingClock, status: str
):
    """At the retry the date is past, and would count as stated."""
    body = a_live_record(consent_date="2026-03-02 13:03:00", date_basis=None, status=status)
    for _ in range(3):
        await post(replica(), body)
        clock.now += 2 * MINUTE
    assert {one.received_at for one in fake.events} == {NOON + timedelta(hours=1)}
    assert len(fake.events) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"consent_date": "2026-03-02 12:00:00"},
        {"consent_date": "2026-03-01", "date_basis": None, "status": "RET"},
        {"source": None},
        {"date_basis": None},
    ],
)
async def test_record_that_needs_no_first_receipt_writes_none(
    replica: Replicas, clock: MovingClock, log: list[Receipt], changes: dict[str, Any]
):
    """Its date is the instant, or the end of its day, whenever it comes; or it is refused, and
    counts once it is corrected and sent again under its id.
    """
    client = replica()
    for _ in range(2):
        await post(client, a_live_record(**changes))
        clock.now += MINUTE
    assert log == []


@pytest.mark.parametrize("date", ["2026-03-02", "0001-01-01T00:00:00Z"])
async def test_opt_out_of_today_counts_from_its_first_receipt(
    replica: Replicas, fake: FakePublisher, clock: MovingClock, date: str
):
    """Or of the year 1: a retry in the evening undoes no consent of the afternoon."""
    for _ in range(3):
        await post(replica(), a_live_record(consent_date=date, date_basis=None, status="RET"))
        clock.now += 10 * MINUTE
    assert {one.received_at for one in fake.events} == {NOON + timedelta(hours=1)}
    found = [admit(one, appended_at=clock.now) for one in fake.events]
    assert all(isinstance(one, AdmittedEvent) for one in found)
    assert {one.effective_at for one in found if isinstance(one, AdmittedEvent)} == {
        NOON + timedelta(hours=1)
    }


async def test_repetition_without_a_reference_is_a_new_act(
    replica: Replicas, fake: FakePublisher, clock: MovingClock, log: list[Receipt]
):
    """Nothing says that it is the same."""
    client = replica()
    for _ in range(2):
        await post(client, a_live_record(id=None))
        clock.now += MINUTE
    first, second = fake.events
    assert first.received_at < second.received_at
    assert log == []


async def test_unknown_receipt_postpones_onays_only(
    replica: Replicas, fake: FakePublisher, clock: MovingClock
):
    """A RET counts from now, and what states an old date needs no receipt."""
    client = replica(is_away=True)
    answer = await post(
        client,
        [
            a_live_record(),
            a_live_record(status="RET"),
            a_live_record(id="old", consent_date="2026-02-28 12:00:00"),
            a_live_record(id="wrong", source=None),
        ],
    )
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert [one["index"] for one in answer.json()["events"]] == [1, 2]
    assert [one["pointer"] for one in answer.json()["violations"]] == ["/3/source"]
    assert fake.events[0].received_at == clock.now
    metrics = (await client.get("http://operations/metrics")).text
    assert 'izin_intake_records_total{outcome="postponed"} 1.0' in metrics


async def test_full_memory_postpones_new_onays_only(
    replica: Replicas, fake: FakePublisher, clock: MovingClock
):
    """RETs go on, what is known is answered, and a day later there is room."""
    client = replica(limit=2)
    assert (await post(client, a_live_record(id="1"))).status_code == 202
    assert (await post(client, a_live_record(id="2", status="RET"))).status_code == 202
    clock.now += MINUTE
    assert (await post(client, a_live_record(id="3"))).status_code == 503
    assert (await post(client, a_live_record(id="3", status="RET"))).status_code == 202
    assert (await post(client, a_live_record(id="1"))).status_code == 202
    assert fake.events[-1] == fake.events[0]
    clock.now += timedelta(days=1)
    assert (await post(client, a_live_record(id="3"))).status_code == 202


async def test_date_ahead_of_the_broker_is_claimed(
    replica: Replicas, fake: FakePublisher, clock: MovingClock, log: list[Receipt]
):
    """The endpoint's clock is three minutes ahead: the broker would bound a date of last minute."""
    fake.skew = 3 * MINUTE
    client = replica()
    await post(client, a_live_record(id=None))
    assert (
        "izin_intake_clock_skew_seconds 180.0"
        in (await client.get("http://operations/metrics")).text
    )
    await post(client, a_live_record(consent_date="2026-03-02 12:59:00", date_basis=None))
    assert len(log) == 1
    await post(client, a_live_record(consent_date="2026-03-02 12:55:00", date_basis=None))
    assert len(log) == 1


def observe(skew: ClockSkew, sent: float, acknowledged: float) -> None:
    """Observe an event by its two instants, in seconds after its append."""
    skew.observe(
        sent_at=NOON + timedelta(seconds=sent),
        acknowledged_at=NOON + timedelta(seconds=acknowledged),
        appended_at=NOON,
    )


@pytest.mark.parametrize(
    ("observed", "proven", "most"),
    [
        ([], 0, 300),
        ([(-0.01, 0.01)], 0, 0.01),
        ([(-3, 0.01), (-0.01, 5)], 0, 0.01),
        ([(2, 2.5)], 2, 2.5),
        ([(-9, -4)], -4, 0),
        ([(2, 2.5)] + [(-0.01, 0.01)] * 16, 0, 0.01),
    ],
)
def test_skew_is_what_round_trips_do_not_explain(
    observed: list[tuple[float, float]], proven: float, most: float
):
    """Positive where the endpoint is ahead; of the latest observations alone."""
    skew = ClockSkew()
    for sent, acknowledged in observed:
        observe(skew, sent, acknowledged)
    assert skew.proven.total_seconds() == proven
    assert skew.most.total_seconds() == most


def test_skew_beyond_the_bound_warns_once():
    """And again after it was within."""
    skew = ClockSkew()
    with capture_logs() as logs:
        for _ in range(3):
            observe(skew, 2, 2.5)
        for _ in range(16):
            observe(skew, -0.01, 0.01)
        for _ in range(16):
            observe(skew, -2, -1.5)
    assert [(one["event"], one["seconds"]) for one in logs] == [
        ("clock skew beyond the bound", 2.0),
        ("clock skew beyond the bound", -1.5),
    ]


TOPIC = "first-receipts"


class Brokers:
    """Answer the questions for ends in turn, with an offset or an error."""

    def __init__(self, *answers: int | KafkaException) -> None:
        self.answers = list(answers)
        self.looked_up: list[str] = []
        self.is_away = False
        self.logs = 0

    def list_offsets(
        self, places: Iterable[TopicPartition], *, request_timeout: float
    ) -> Mapping[TopicPartition, Future[Any]]:
        assert request_timeout == 2
        asked: dict[TopicPartition, Future[Any]] = {}
        for place in places:
            asked[place] = Future()
            answer = self.answers.pop(0)
            if isinstance(answer, KafkaException):
                asked[place].set_exception(answer)
            else:
                asked[place].set_result(SimpleNamespace(offset=answer))
        return asked

    def list_topics(self, topic: str, *, timeout: float) -> None:
        assert timeout == 1
        self.looked_up.append(topic)
        if self.is_away:
            raise error(KafkaError._TRANSPORT)

    def poll(self, _timeout: float) -> int:
        self.logs += 1
        return 0


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock of the questions."""
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(receipt_log, "monotonic", lambda: now)
    return pass_time


def error(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


def ends_of(brokers: Brokers) -> PartitionEnds:
    return PartitionEnds(cast("AdminClient", brokers), TOPIC)


async def asked(ends: PartitionEnds, *partitions: int) -> Mapping[int, Future[int]]:
    """Ask for the ends of partitions, and let the turn of the event loop end."""
    found = ends.ask(partitions)
    await asyncio.sleep(0)
    return found


async def test_questions_of_one_turn_are_one_call(pass_time: Callable[[float], None]):
    """Each is answered, those about one partition by the same; the next turn asks again."""
    ends = ends_of(brokers := Brokers(7, 9))
    some = [ends.ask([3]), await asked(ends, 3)]
    assert [one[3].result(0) for one in some] == [7, 7]
    assert (await asked(ends, 3))[3].result(0) == 9
    assert not brokers.answers


async def test_answer_is_the_end_of_each_partition(pass_time: Callable[[float], None]):
    """No leader is looked up; the log of the client is taken all the same."""
    ends = ends_of(brokers := Brokers(7, 0))
    found = await asked(ends, 3, 4)
    ends.repeat()
    assert sorted(one.result(0) for one in found.values()) == [0, 7]
    assert found.keys() == {3, 4}
    assert (brokers.looked_up, brokers.logs) == ([], 1)


@pytest.mark.parametrize(
    "first",
    [
        error(KafkaError.NOT_LEADER_FOR_PARTITION),
        error(KafkaError.LEADER_NOT_AVAILABLE),
        -1001,
    ],
    ids=["moved", "elected", "no offset"],
)
async def test_question_is_repeated_once_leaders_were_looked_up(
    pass_time: Callable[[float], None], first: int | KafkaException
):
    """A negative offset is no end: everything would count as read up to it, and an event that an
    endpoint has claimed as unknown.
    """
    ends = ends_of(brokers := Brokers(first, 7))
    answer = (await asked(ends, 3))[3]
    assert not answer.done()
    ends.repeat()
    assert answer.result(0) == 7
    assert brokers.looked_up == [TOPIC]
    pass_time(1)
    ends.repeat()
    assert brokers.looked_up == [TOPIC]


async def test_repetitions_pause_and_end_with_the_time(pass_time: Callable[[float], None]):
    """The reading thread asks ten times a second at most, and a question for two seconds."""
    moved = error(KafkaError.NOT_LEADER_FOR_PARTITION)
    ends = ends_of(brokers := Brokers(moved, moved, moved))
    answer = (await asked(ends, 3))[3]
    ends.repeat()
    ends.repeat()
    assert len(brokers.answers) == 1
    pass_time(2)
    ends.repeat()
    assert answer.exception(0) is moved


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED])
async def test_other_failure_is_the_answer(pass_time: Callable[[float], None], code: int):
    """The leader may have moved all the same: it is looked up before the next question."""
    ends = ends_of(brokers := Brokers(failure := error(code)))
    assert (await asked(ends, 3))[3].exception(0) is failure
    ends.repeat()
    assert brokers.looked_up == [TOPIC]


async def test_leaders_are_looked_up_until_a_broker_answers(pass_time: Callable[[float], None]):
    """Without a broker the former leaders stay, and the next question would go to them."""
    ends = ends_of(brokers := Brokers(error(KafkaError._TIMED_OUT)))
    brokers.is_away = True
    await asked(ends, 3)
    for _ in range(3):
        ends.repeat()
        pass_time(1)
    brokers.is_away = False
    ends.repeat()
    pass_time(1)
    ends.repeat()
    assert len(brokers.looked_up) == 4


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
                world.published.append(admit(ret, appended_at=world.now))
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
