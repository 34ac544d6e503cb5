from dataclasses import fields
from datetime import timedelta

from izin.consent.forecast import Owed, forecast
from izin.consent.model import Status
from izin.sinks.ledger.reads import Lag
from izin.sinks.metrics import Metrics
from tests.builders import NOON

NOTHING = Lag(**{one.name: 0 for one in fields(Lag)})


def shown(*backlog: Owed) -> list[str]:
    """Return the page of a ledger with ``backlog``, told at one record a second."""
    metrics = Metrics()
    metrics.show(NOTHING, forecast(backlog, now=NOON, records_per_second=1))
    return metrics.page().decode().splitlines()


def test_what_will_be_late_or_lost_is_shown_before_it_is():
    """An alarm that rings afterwards helps nobody."""
    in_a_minute = NOON + timedelta(minutes=1)
    too_many = Owed(status=Status.ONAY, due_at=NOON, expires_at=in_a_minute, count=100)
    page = shown(too_many)
    assert "izin_forecast_late_keys 100.0" in page
    assert "izin_forecast_lost_keys 40.0" in page


def test_nothing_to_tell_is_nothing_late():
    """The alarm is silent on an empty ledger."""
    page = shown()
    assert "izin_forecast_late_keys 0.0" in page
    assert "izin_forecast_lost_keys 0.0" in page
