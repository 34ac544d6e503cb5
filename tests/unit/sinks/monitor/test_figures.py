"""How often the figures of the ledger are read."""

import asyncio
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from izin.sinks.monitor import metrics
from izin.sinks.monitor.metrics import LedgerFigures


class EndedError(Exception):
    """The end of a loop."""


@pytest.mark.parametrize(("took", "rest"), [(0.1, 5), (3, 60)])
async def test_figures_that_take_long_are_read_less_often(
    monkeypatch: pytest.MonkeyPatch, took: float, rest: float
):
    """They scan what is not settled, and share the database with opt-outs."""
    nothing: Any = Mock()
    timer = count(0, took)
    one = LedgerFigures(
        ledger=nothing,
        metrics=nothing,
        topics=nothing,
        clock=nothing,
        records_per_second=1,
        interval=timedelta(seconds=5),
        timer=lambda: next(timer),
    )
    sleep = AsyncMock(side_effect=EndedError)
    monkeypatch.setattr(LedgerFigures, "read", AsyncMock())
    monkeypatch.setattr(metrics, "asyncio", Mock(wraps=asyncio, sleep=sleep))
    with pytest.raises(EndedError):
        await one.run()
    assert sleep.await_args is not None
    assert sleep.await_args.args[0] == pytest.approx(rest)
