"""What the doctor finds about subscribers and the processes that deliver to them: pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from izin.console.doctor.finding import Finding, ok, skipped, wrong
from izin.console.terminal.output import turkish
from izin.sinks.ledger.webhooks.subscriber import PauseReason, WebhookSubscriber

_USUAL = timedelta(minutes=5)
_CHECK = "webhooks"


def of_webhooks(
    subscribers: Sequence[WebhookSubscriber], *, running: int, now: datetime
) -> Iterator[Finding]:
    """Yield whether somebody delivers, and which subscribers do not take their events."""
    if not subscribers:
        yield skipped(_CHECK, "there are no subscribers yet: izin subscribers add")
        return
    if not running:
        yield wrong(_CHECK, "none runs (known by their locks in the ledger); start: izin webhooks")
    bad = [one for one in subscribers if _fault(one, now)]
    yield from (wrong(_CHECK, f"subscriber {one.name} {_fault(one, now)}") for one in bad)
    if running and not bad:
        yield ok(_CHECK, f"{running} running; {_counted(subscribers, now)}")


def _counted(subscribers: Sequence[WebhookSubscriber], now: datetime) -> str:
    """Return how many take their events, fail since a moment ago, and are paused by a person."""
    states = Counter(one.state_at(now).split()[0] for one in subscribers)
    words = {"active": "take their events", "failing": "failing", "paused": "paused"}
    return f"of {len(subscribers)} subscribers " + ", ".join(
        f"{states[state]} {word}" for state, word in words.items() if states[state]
    )


def _fault(one: WebhookSubscriber, now: datetime) -> str:
    if one.paused_for == PauseReason.GONE:
        return (
            f"answered 410 and is paused; when that is settled: izin subscribers resume {one.name}"
        )
    if one.paused_at is None and one.failing_since and now - one.failing_since > _USUAL:
        return (
            f"has not taken something since {turkish(one.failing_since)} ({one.last_failure}); "
            f"see: izin subscribers show {one.name}"
        )
    return ""
