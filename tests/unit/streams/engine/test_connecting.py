"""How a consumer of an order worker stops; and who of two workers of one name does."""

import asyncio

import pytest
from faust.transport.drivers import aiokafka as driver
from structlog.testing import capture_logs

from izin.runtime.logs import EXIT
from izin.streams.engine import transport
from izin.streams.engine.transport import BatchConsumerThread
from izin.streams.engine.watches import SESSION, SETTLED_AFTER, StaticMember


async def test_consumer_that_waits_for_its_group_is_stopped_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker would be killed meanwhile, with what is open in its transactions."""
    stopped: list[str] = []

    async def waiting(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("cut short")

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_thread_stop", waiting)
    monkeypatch.setattr(transport, "_STOPPED_WITHIN", 0.01)
    thread = object.__new__(BatchConsumerThread)
    await asyncio.wait_for(thread.on_thread_stop(), 20)
    assert stopped == ["cut short"]


UNKNOWN, FENCED = 25, 82


class Membership:
    """A worker's membership, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ended: list[int] = []
        self.member = StaticMember("izin-1", clock=lambda: self.now, end=self.ended.append)

    def work(self, seconds: float) -> None:
        """Have heartbeats answered for so long."""
        for _ in range(round(seconds)):
            self.member.note(0)
            self.now += 1
        self.member.note(0)


@pytest.fixture
def membership() -> Membership:
    """Give one that has just joined."""
    made = Membership()
    made.work(1)
    return made


@pytest.mark.parametrize("code", [UNKNOWN, FENCED])
def test_worker_replaced_twice_at_its_start_ends(membership: Membership, code: int):
    """The other one joined again, so it lives; the name and the remedy are said."""
    membership.member.note(code)
    assert membership.ended == []  # a coordinator may have forgotten it
    membership.work(1)
    with capture_logs() as logs:
        membership.member.note(code)
    assert membership.ended == [EXIT]
    assert (logs[0]["event"], logs[0]["instance_id"]) == ("instance id in use already", "izin-1")
    assert "IZIN_INSTANCE_ID" in logs[0]["remedy"]


def test_worker_that_was_first_goes_on_with_an_alert(membership: Membership):
    """However often the other one is started."""
    membership.work(SETTLED_AFTER)
    assert not membership.member.is_contested
    for _ in range(5):
        with capture_logs() as logs:
            membership.member.note(UNKNOWN)
        assert [one["event"] for one in logs] == ["instance id in use twice"]
        membership.work(2)
    assert membership.ended == []
    assert membership.member.is_contested
    membership.work(600)
    assert not membership.member.is_contested


def test_worker_frozen_beyond_its_session_counts_as_new(membership: Membership):
    """Its place may be another's, who has worked for longer by then."""
    membership.work(SETTLED_AFTER)
    membership.now += SESSION + 1
    membership.member.note(UNKNOWN)
    assert not membership.member.is_contested
    for _ in range(2):
        membership.work(1)
        membership.member.note(UNKNOWN)
    assert membership.ended == [EXIT]


def test_answers_without_a_code_say_nothing(membership: Membership):
    """Offsets are committed by partition."""
    for code in (None, 27, 0):
        membership.member.note(code)
    assert membership.ended == []
    assert not membership.member.is_contested
