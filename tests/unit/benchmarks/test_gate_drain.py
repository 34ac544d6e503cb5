"""What is asked of a contender counts only while the backlog lasts."""

from collections.abc import Iterator

import pytest

from benchmarks.gate import drain
from benchmarks.gate.contenders import AnsweringProcess, AnswerRate
from benchmarks.gate.drain import DrainLoad, DrainTrial
from benchmarks.order.dataset import DatasetShape
from benchmarks.order.timer import TrialError
from benchmarks.worker.probe import LatencySummary
from izin.local import Child, Command
from izin.runtime.settings import KafkaSettings


def asked(monkeypatch: pytest.MonkeyPatch, shares: list[float]) -> DrainTrial:
    """Return a trial of ten questions a second, amid a drain that is so far before and after."""
    left: Iterator[float] = iter(shares)

    class Progress:
        def __init__(self, _settings: KafkaSettings) -> None:
            self.closed = False

        @property
        def share(self) -> float:
            return next(left)

        def close(self) -> None:
            self.closed = True

    def ask(one: AnsweringProcess, *_: object, seconds: float, **__: object) -> AnswerRate:
        latency = LatencySummary.of(one.name, [0.001])
        questions = round(10 * seconds)
        return AnswerRate(
            name=one.name, questions=questions, seconds=seconds, cpu_us=1, latency=latency
        )

    monkeypatch.setattr(drain, "DrainProgress", Progress)
    monkeypatch.setattr(drain, "ask", ask)
    load = DrainLoad(shape=DatasetShape(events=1000), keys=1, opt_outs=1, seconds=2)
    one = AnsweringProcess(
        name="gate", process=Child(Command(name="none", argv=(), log=None)), port=1
    )
    return drain._ask_while_draining(KafkaSettings(), one, "", load)


def test_only_what_lies_in_the_drain_counts(monkeypatch: pytest.MonkeyPatch):
    """Not before it has begun, and not what its end has cut short."""
    found = asked(monkeypatch, [0, 0, 0.1, 0.4, 0.4, 0.9, 0.9, 1])
    assert (found.questions, found.seconds) == (40, 4)
    assert found.per_second == 10
    assert found.drained > 0


@pytest.mark.parametrize("shares", [[0, 1], [0.5, 1], [0, 0, 0.9, 1]])
def test_a_backlog_that_is_too_short_is_an_error(
    shares: list[float], monkeypatch: pytest.MonkeyPatch
):
    """A rate without a drain would look like one."""
    with pytest.raises(TrialError, match="take more events"):
        asked(monkeypatch, shares)
