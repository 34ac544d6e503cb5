"""The verdict of a campaign of the order stage, and its exit code."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import publish
from izin.consent.ordering import decide
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.order import rolling as rolling_restarts
from tests.chaos.order.__main__ import report
from tests.chaos.order.rolling import RollingRestarts, longest_wait
from tests.chaos.order.runs import OrderRun
from tests.support.builders import a_decision_record, an_admitted_event
from tests.support.order_verdict import OrderVerdict


def a_run(*, verdict: OrderVerdict, recovered: bool = True, status: int = 0) -> OrderRun:
    return OrderRun(
        brokers=1,
        seconds=1,
        injected=[],
        ended=Counter(),
        statuses=Counter({status: 1}),
        slowest_end=1,
        stop_reasons=Counter(),
        verdict=verdict,
        recovered=recovered,
    )


def rolling(*, stall: float = 1, end: float = 1, status: int = 0) -> RollingRestarts:
    return RollingRestarts(
        rounds=1, ends=[end], statuses={status}, stall=stall, verdict=OrderVerdict(), recovered=True
    )


@pytest.mark.parametrize(
    ("run", "restarts", "short"),
    [
        (a_run(verdict=OrderVerdict()), rolling(), set()),
        (a_run(verdict=OrderVerdict(missing=[("a", 0, 1)])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(doubled=[("a", 0, 1)])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(regressions=[b"k"])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(wrong=[b"k"])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(opt_outs=[b"k"])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), recovered=False), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), status=70), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict()), rolling(status=70), {"order-violations"}),
        (a_run(verdict=OrderVerdict()), rolling(stall=5.1), {"rolling-stall"}),
        (a_run(verdict=OrderVerdict()), rolling(end=5.1), {"rolling-end"}),
    ],
)
def test_a_campaign_with_a_broken_promise_is_short(
    run: OrderRun,
    restarts: RollingRestarts,
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Each violation shows in the last lines and in the exit code."""
    bars = [bar.name for bar in bars_of("chaos-order")]
    found = report([run], restarts, seed=1)
    assert publish(found, bars=bars, results=tmp_path / "result.json") == bool(short)
    lines = capsys.readouterr().out.splitlines()[-len(bars) :]
    assert {line.partition(":")[0] for line in lines if line.endswith("short")} == short


class CommittedMessage:
    """A record with the methods of a `Message` that `longest_wait` reads."""

    def __init__(self, topic: str, offset: int, *, at: int, value: bytes = b"") -> None:
        self.topic, self.partition, self.offset = (lambda: topic), (lambda: 0), (lambda: offset)
        self.timestamp, self.value = (lambda: (0, at)), (lambda: value)


def test_longest_wait_is_from_append_to_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event appended before the workers started does not count."""
    settings = KafkaSettings()
    events, decisions = settings.topics.events.name, settings.topics.decisions.name

    def decided(offset: int, *, at: int) -> CommittedMessage:
        decision = decide(None, an_admitted_event())
        record = a_decision_record(decision, topic=events, offset=offset)
        return CommittedMessage(decisions, offset, at=at, value=Codec().encode("Decision", record))

    records = {
        events: [CommittedMessage(events, n, at=at) for n, at in enumerate((500, 2_000, 3_000))],
        decisions: [decided(0, at=9_000), decided(1, at=4_500), decided(2, at=3_100)],
    }
    monkeypatch.setattr(
        rolling_restarts, "committed_records", lambda _, topic: records.get(topic, [])
    )

    assert longest_wait(settings, since=1.0) == 2.5
