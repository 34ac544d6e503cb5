"""Kafka's silence is noticed in time, and said once."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.settings import KafkaSettings
from tests.support.waiting import ManualClock


class SilentAdmin:
    """An admin client whose broker answers as long as `is_up`."""

    def __init__(self) -> None:
        self.is_up = True

    def poll(self, _timeout: float) -> None:
        """Have nothing to log."""

    def list_topics(self, **_: object) -> None:
        if not self.is_up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


class RefusingAdmin(SilentAdmin):
    """One whose broker refuses the password, which it reports to its error callback."""

    def __init__(self, report: Callable[[KafkaError], None]) -> None:
        super().__init__()
        self.is_up = False
        self._report = report

    def poll(self, _timeout: float) -> None:
        """Report, the least helpful error last."""
        self._report(KafkaError(KafkaError._TRANSPORT))
        self._report(KafkaError(KafkaError._AUTHENTICATION))
        self._report(KafkaError(KafkaError._ALL_BROKERS_DOWN))


@pytest.fixture
def admin() -> SilentAdmin:
    """Return a broker that answers."""
    return SilentAdmin()


@pytest.fixture
def clock() -> ManualClock:
    """Return the clock of the watch."""
    return ManualClock()


@pytest.fixture
def watch(admin: SilentAdmin, clock: ManualClock) -> BrokerWatch:
    """Return the watch under test."""
    watch = BrokerWatch(KafkaSettings(client_log_level=0), clock)
    watch._admin = admin  # type: ignore[assignment]  # the stand-in
    return watch


async def test_broker_that_answers_is_reachable(watch: BrokerWatch, clock: ManualClock) -> None:
    """However long it has been asked, and nothing is logged."""
    with capture_logs() as logs:
        for _ in range(10):
            clock.now += 2
            await watch.ask()
            assert watch.is_reachable
    assert logs == []


async def test_silence_is_noticed_and_logged_once(
    watch: BrokerWatch, admin: SilentAdmin, clock: ManualClock
) -> None:
    """A lost request is no outage; ten minutes are two log events, not ten thousand."""
    admin.is_up = False
    with capture_logs() as logs:
        clock.now += 4
        await watch.ask()
        assert watch.is_reachable
        for _ in range(300):
            clock.now += 2
            await watch.ask()
        assert not watch.is_reachable
        admin.is_up = True
        await watch.ask()
        assert watch.is_reachable
        await watch.ask()
    assert [(one["event"], one["log_level"]) for one in logs] == [
        ("kafka unreachable", "error"),
        ("kafka reachable again", "warning"),
    ]
    assert logs[1]["seconds"] == 604


async def test_cause_and_setting_of_a_refusal_are_logged(
    watch: BrokerWatch, clock: ManualClock
) -> None:
    """The failed request itself tells of a broken connection only."""
    watch._admin = RefusingAdmin(watch._errors.append)  # type: ignore[assignment]  # the stand-in
    with capture_logs() as logs:
        for _ in range(5):
            clock.now += 2
            await watch.ask()
    (one,) = logs
    assert "KAFKA_SASL_PASSWORD" in one["error"]


async def test_cause_of_a_former_outage_is_forgotten(
    watch: BrokerWatch, admin: SilentAdmin, clock: ManualClock
) -> None:
    """The next one may have another."""
    watch._errors.append(KafkaError(KafkaError._AUTHENTICATION))
    await watch.ask()
    admin.is_up = False
    with capture_logs() as logs:
        for _ in range(5):
            clock.now += 2
            await watch.ask()
    (one,) = logs
    assert "KAFKA_BOOTSTRAP_SERVERS" in one["error"]
