"""Ctrl-C and SIGTERM end a block in order, and leave the handlers as they were."""

import asyncio
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from izin.cli.terminal import exit_codes, ledger_session, raising_on_signals, run_interruptible
from izin.runtime.settings import LedgerSettings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_interrupts_the_block(number: signal.Signals) -> None:
    """Either signal raises KeyboardInterrupt, after which a second one would end the process."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), raising_on_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_second_signal_has_its_default_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once interrupted, the next signal has its usual effect: the end, at once."""
    after = {}

    def note(number: signal.Signals, handler: object) -> None:
        after[number] = handler

    monkeypatch.setattr(signal, "signal", note)
    with pytest.raises(KeyboardInterrupt):
        exit_codes._interrupt(signal.SIGINT, None)
    assert after == {signal.SIGINT: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}


def test_block_without_a_signal_restores_the_handlers() -> None:
    """The handlers are as they were."""
    before = signal.getsignal(signal.SIGTERM)
    with raising_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_work_where_it_waits(number: signal.Signals) -> None:
    """Not in the middle of a step; then a second one would end the process."""
    steps: list[object] = []

    async def work() -> None:
        signal.raise_signal(number)
        steps.append("went on")
        try:
            await asyncio.Event().wait()
        finally:
            steps.append(signal.getsignal(number))

    with raising_on_signals(), pytest.raises(KeyboardInterrupt):
        run_interruptible(work())
    assert steps == ["went on", signal.SIG_DFL]


def test_work_without_a_signal_restores_the_handlers() -> None:
    """Its error is raised, and the handlers are as they were."""
    before = signal.getsignal(signal.SIGTERM)

    async def work() -> None:
        assert signal.getsignal(signal.SIGTERM) is not before
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        run_interruptible(work())
    assert signal.getsignal(signal.SIGTERM) == before


def test_signal_cancels_work_on_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was stopped in the midst of its loop would wait for ever for the pool."""

    @asynccontextmanager
    async def no_ledger(_: object) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(ledger_session, "open_ledger", no_ledger)
    steps: list[str] = []

    async def work(_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        steps.append("went on")
        await asyncio.Event().wait()

    settings = LedgerSettings.model_validate({"DATABASE_URL": "postgresql://localhost/none"})
    with raising_on_signals(), pytest.raises(KeyboardInterrupt):
        ledger_session.run_on_ledger(work, settings)
    assert steps == ["went on"]


def test_work_in_another_thread_has_no_signals() -> None:
    """They come to the main thread alone."""

    async def work() -> int:
        return 7

    with ThreadPoolExecutor() as pool:
        assert pool.submit(run_interruptible, work()).result() == 7
