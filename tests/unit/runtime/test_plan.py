"""A plan: written, read back, and refused once it was edited, or something has moved.

Where a topic ends, by leaders of which some do not answer.

Kafka's silence is noticed in time, and said once.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs
from structlog.typing import EventDict

from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.follower import end
from izin.kafka.follower.end import TopicEnd
from izin.runtime.plan import (
    Bounds,
    OtherPlanError,
    Plan,
    PlanMovedError,
    PrivateLines,
    Selection,
    UnreadablePlanError,
    lines_of,
    work_folder,
    write_private,
)
from izin.runtime.settings import KafkaSettings
from tests.support.waiting import ManualClock

_AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
_KEY = "600001/MESAJ/BIREYSEL/+905000000001"


def _plan(**changes: object) -> Plan:
    plan = Plan(
        kind="rebuild",
        target="desired-consents",
        selection=Selection(brands=frozenset({600001})),
        options={"workers": 2},
        cluster_id="a-cluster",
        topics={
            "consent-events": Bounds(
                topic_id="one", starts={0: 3}, ends={0: 9}, stands_still=False
            ),
            "desired-consents": Bounds(
                topic_id="two", starts={0: 0}, ends={0: 4}, stands_still=True
            ),
        },
        history={3: 12},
        closed_days=(date(2026, 5, 18),),
        made_at=_AT,
        by="an operator",
    )
    return replace(plan, **changes)  # type: ignore[arg-type]  # fields of a plan


def _with(plan: Plan, topic: str, **changes: object) -> Plan:
    moved = replace(plan.topics[topic], **changes)  # type: ignore[arg-type]  # fields of its bounds
    return replace(plan, topics={**plan.topics, topic: moved})


def test_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Nothing of it is lost, and only its owner may read it."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    assert Plan.read(path) == _plan()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"an operator", b"a stranger", "edited"),
        (b'"format": 1', b'"format": 9', "format is 9"),
        (b"{", b"[", "no plan"),
        (b'"digest"', b'"hash"', "no plan"),
    ],
)
def test_edited_plan_is_refused(tmp_path: Path, before: bytes, after: bytes, why: str) -> None:
    """The file says why it cannot be used."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    with pytest.raises(UnreadablePlanError, match=why):
        Plan.read(path)


def test_plan_of_something_else_is_refused(tmp_path: Path) -> None:
    """By its kind or its target, and it is named as what it is."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    assert Plan.read(path, kind="rebuild", target="desired-consents") == _plan()
    for other in ({"kind": "reconcile"}, {"kind": "rebuild", "target": "ledger"}):
        with pytest.raises(OtherPlanError, match="the plan of rebuild desired-consents"):
            Plan.read(path, **other)


def test_lines_beside_a_plan_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Edited or gone, they are refused; only their owner may read them."""
    path = tmp_path / "lines"
    with PrivateLines(path) as lines:
        for line in (b"one\n", b"two\n"):
            lines.add(line)
        digest = lines.complete()
    assert list(lines_of(path, digest)) == [b"one\n", b"two\n"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"one\ntwo \n")
    with pytest.raises(UnreadablePlanError, match="edited"):
        list(lines_of(path, digest))
    with pytest.raises(UnreadablePlanError, match="cannot be read"):
        list(lines_of(tmp_path / "gone", digest))


def test_file_that_is_not_completed_replaces_nothing(tmp_path: Path) -> None:
    """What was there stays whole."""
    path = tmp_path / "file"
    write_private(path, [b"before"])

    def parts() -> Iterator[bytes]:
        yield b"after"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_private(path, parts())
    assert path.read_bytes() == b"before"


def test_plan_stands_while_only_inputs_grow() -> None:
    """What is appended behind the part that is read changes nothing."""
    _plan().check(_with(_plan(), "consent-events", starts={0: 3}, ends={0: 99}))


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        (_with(_plan(), "desired-consents", ends={0: 5}), r"desired-consents/0 ends at 5"),
        (_with(_plan(), "consent-events", ends={0: 8}), r"consent-events/0 ends at 8, not 9"),
        (_with(_plan(), "consent-events", starts={0: 4}), r"consent-events/0 begins at 4"),
        (_with(_plan(), "consent-events", topic_id="new"), "consent-events was created again"),
        (_with(_plan(), "consent-events", ends={0: 9, 1: 0}), "2 partitions"),
        (_plan(law_version=99), "the law has version 99"),
        (_plan(closed_days=()), "IZIN_EXTRA_CLOSED_DAYS"),
        (_plan(cluster_id="another"), "the cluster is another"),
        (_plan(history={3: 11}), "shard 3 of the history ends at 11"),
    ],
)
def test_plan_is_refused_once_something_moved(now: Plan, moved: str) -> None:
    """Each thing that a plan relies on is named where it has changed."""
    with pytest.raises(PlanMovedError, match=moved):
        _plan().check(now)


def test_work_is_beside_the_plan_and_private(tmp_path: Path) -> None:
    """Its folder has names of recipients."""
    folder = work_folder(tmp_path / "plan.json")
    assert folder == work_folder(tmp_path / "plan.json")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("selection", "is_taken"),
    [
        (Selection(), True),
        (Selection(keys=frozenset({_KEY})), True),
        (Selection(keys=frozenset({"another"})), False),
        (Selection(recipients=frozenset({"+905000000001"})), True),
        (Selection(recipients=frozenset({"+905000000002"})), False),
        (Selection(recipients=frozenset({"+905000000002"}), keys=frozenset({_KEY})), True),
        (Selection(brands=frozenset({600001}), keys=frozenset({_KEY})), True),
        (Selection(brands=frozenset({600002})), False),
    ],
)
def test_selection_narrows_by_what_is_given(selection: Selection, is_taken: bool) -> None:
    """What is not given leaves everything in."""
    assert selection.takes_key(_KEY) is is_taken


class Brokers:
    """An admin client of brokers, some of which do not answer."""

    def __init__(self) -> None:
        self.ends = {0: 10, 1: 20, 2: 30}
        self.leaders = {0: 1, 1: 2, 2: -1}
        self.silent: set[int] = set()
        """Partitions whose leader does not answer."""
        self.gone: set[int] = set()
        """Partitions whose leader is another now."""
        self.asked: list[set[int]] = []

    def list_offsets(self, places: Mapping[TopicPartition, Any], **_: object) -> Any:  # noqa: ANN401  # the client's
        """Answer for the partitions of one leader."""
        self.asked.append({one.partition for one in places})
        answers: dict[TopicPartition, Future[Any]] = {}
        for place in places:
            answers[place] = answer = Future()
            if place.partition in self.gone:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
            elif place.partition not in self.silent:
                answer.set_result(SimpleNamespace(offset=self.ends[place.partition]))
        return answers

    def list_topics(self, topic: str, timeout: float) -> Any:  # noqa: ANN401, ARG002  # the same
        """Return the leaders of now."""
        partitions = {n: SimpleNamespace(leader=one) for n, one in self.leaders.items()}
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def poll(self, timeout: float) -> None:
        """Do nothing."""


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, to be moved on."""
    now = [100.0]
    monkeypatch.setattr(end, "monotonic", lambda: now[0])
    return now


def topic_end(brokers: Brokers) -> TopicEnd:
    return TopicEnd(
        brokers,  # type: ignore[arg-type]
        "topic",
        dict(brokers.leaders),
        IsolationLevel.READ_COMMITTED,
    )


def reached(one: TopicEnd, clock: list[float], positions: Mapping[int, int]) -> dict[int, float]:
    """Return what is reached within the next seconds, when the end was asked for."""
    found: dict[int, float] = {}
    for _ in range(30):
        clock[0] += 0.1
        for number, asked_at in one.reached(positions).items():
            found.setdefault(number, asked_at)
    return found


def test_each_leader_is_asked_alone(brokers: Brokers, clock: list[float]):
    """One that does not answer, or a partition without one, says nothing of the others."""
    brokers.silent = {1}
    found = reached(topic_end(brokers), clock, {0: 10, 1: 20, 2: 30})
    assert set(found) == {0}
    assert found[0] > 100
    assert all(len(numbers) == 1 for numbers in brokers.asked)


def test_new_leader_is_found(brokers: Brokers, clock: list[float]):
    """Of a partition that had none, and of one whose leader no longer is."""
    brokers.gone = {1}
    one = topic_end(brokers)
    assert set(reached(one, clock, {0: 10, 1: 20, 2: 30})) == {0}
    brokers.gone, brokers.leaders = set(), {0: 1, 1: 1, 2: 1}
    assert set(reached(one, clock, {0: 10, 1: 20, 2: 30})) == {0, 1, 2}
    assert brokers.asked[-1] == {0, 1, 2}


def test_end_is_reached_by_who_has_read_so_far(brokers: Brokers, clock: list[float]):
    """As it was when it was asked for, however the partition grows meanwhile."""
    one = topic_end(brokers)
    assert set(reached(one, clock, {0: 9, 1: 20, 2: 0})) == {1}
    brokers.ends[0] = 1000
    first = clock[0]
    assert reached(one, clock, {0: 10, 1: 20, 2: 0})[0] < first


AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
def admin() -> Mock:
    """Return a broker that answers."""
    return Mock()


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return the clock of the watch."""
    return ManualClock()


@pytest.fixture
def watch(admin: Mock, manual_clock: ManualClock) -> BrokerWatch:
    """Return the watch under test."""
    watch = BrokerWatch(KafkaSettings(client_log_level=0), manual_clock)
    watch._admin = admin
    return watch


async def watched(watch: BrokerWatch, clock: ManualClock, times: int) -> list[EventDict]:
    """Ask so many times, two seconds apart; return what was logged."""
    with capture_logs() as logs:
        for _ in range(times):
            clock.now += 2
            await watch.ask()
    return logs


async def test_broker_that_answers_is_reachable(
    watch: BrokerWatch, manual_clock: ManualClock
) -> None:
    """However long it has been asked, and nothing is logged."""
    assert await watched(watch, manual_clock, 10) == []
    assert watch.is_reachable


async def test_silence_is_noticed_and_logged_once(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """A lost request is no outage; ten minutes are two log events, not ten thousand."""
    admin.list_topics.side_effect = AWAY
    manual_clock.now += 2
    assert await watched(watch, manual_clock, 1) == []
    assert watch.is_reachable
    (lost,) = await watched(watch, manual_clock, 300)
    assert not watch.is_reachable
    admin.list_topics.side_effect = None
    (found,) = await watched(watch, manual_clock, 2)
    assert watch.is_reachable
    assert (lost["event"], lost["log_level"]) == ("kafka unreachable", "error")
    assert (found["event"], found["log_level"]) == ("kafka reachable again", "warning")
    assert found["seconds"] == 606


async def test_cause_and_setting_of_a_refusal_are_logged(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """The failed request itself tells of a broken connection only; the least helpful error is the
    last that its callback reports.
    """
    codes = (KafkaError._TRANSPORT, KafkaError._AUTHENTICATION, KafkaError._ALL_BROKERS_DOWN)
    admin.list_topics.side_effect = AWAY
    admin.poll.side_effect = lambda _: watch._errors.extend(map(KafkaError, codes))
    (one,) = await watched(watch, manual_clock, 5)
    assert "KAFKA_SASL_PASSWORD" in one["error"]


async def test_cause_of_a_former_outage_is_forgotten(
    watch: BrokerWatch, admin: Mock, manual_clock: ManualClock
) -> None:
    """The next one may have another."""
    watch._errors.append(KafkaError(KafkaError._AUTHENTICATION))
    await watch.ask()
    admin.list_topics.side_effect = AWAY
    (one,) = await watched(watch, manual_clock, 5)
    assert "KAFKA_BOOTSTRAP_SERVERS" in one["error"]
