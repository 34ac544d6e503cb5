"""The verdict of a campaign of the order stage, and its exit code."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import publish
from izin.runtime.settings import KafkaSettings
from tests.chaos.hostile.records import Account
from tests.chaos.order import __main__ as rolling_restarts
from tests.chaos.order.__main__ import OrderRun, RollingRestarts, longest_wait, report
from tests.support.order.verdict import DecidedEvent, OptOutDelays, OrderVerdict


def a_run(
    *,
    verdict: OrderVerdict,
    recovered: bool = True,
    status: int = 0,
    delay: float = 1,
    wrong: tuple[str, ...] = (),
) -> OrderRun:
    return OrderRun(
        brokers=1,
        seconds=1,
        injected=[],
        ended=Counter(),
        statuses=Counter({status: 1}),
        slowest_end=1,
        stop_reasons=Counter(),
        verdict=verdict,
        began_at=0,
        delays=OptOutDelays([(delay, DecidedEvent(0, delay, (0,), is_opt_out=True))]),
        hostile=Account(fates={}, wrong=wrong),
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
        (a_run(verdict=OrderVerdict(), wrong=("a",)), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict()), rolling(status=70), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), delay=30.1), rolling(), {"order-opt-out-delay"}),
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


def test_longest_wait_is_from_append_to_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event appended before the workers started does not count; it need be no opt-out."""
    decided = [(0.5, 9.0), (2.0, 4.5), (3.0, 3.1)]
    monkeypatch.setattr(
        rolling_restarts,
        "decided_events",
        lambda _: [DecidedEvent(*one, (0,), is_opt_out=False) for one in decided],
    )

    assert longest_wait(KafkaSettings(), since=1.0) == 2.5
