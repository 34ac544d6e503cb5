"""An outage of İYS costs a call every five seconds, and the first answer closes the circuit."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest

from izin.iys.client import IysClient
from izin.iys.errors import BusyError, CallError, OutcomeUnknownError, RefusedError, TokenLimitError
from izin.iys.rate_limit import CircuitBreakerPolicy, CircuitBreakers, CircuitState
from tests.unit.iys.test_client import BRAND, SETTINGS, a_client, an_item, refusing, saying

FIVE = CircuitBreakerPolicy().opens_after
DEADLINE = 20.0


def open_circuit(operation: str = "add") -> CircuitBreakers:
    """Return breakers with an open circuit of one operation, at second 100."""
    breakers = CircuitBreakers()
    for _ in range(FIVE):
        assert breakers.begin(operation, 100.0)
        breakers.busy(operation, 100.0)
    return breakers


async def outage(client: IysClient, calls: int = FIVE) -> None:
    """Make calls whose outcome is not known."""
    for _ in range(calls):
        with pytest.raises(OutcomeUnknownError):
            await client.add(BRAND, an_item())


def test_failed_probe_doubles_the_pause_up_to_its_bound():
    """A second, two, four … and never so long that an opt-out waits for it."""
    policy = CircuitBreakerPolicy()
    pauses = [policy.pause(FIVE + number) for number in range(7)]
    assert pauses == [1, 2, 4, 5, 5, 5, 5]
    assert policy.pause(FIVE - 1) == 0
    breakers = open_circuit()
    assert breakers.begin("add", 101.0)
    breakers.busy("add", 101.0)
    assert breakers.closes_in("add", 101.0) == 2


def test_calls_that_were_under_way_do_not_lengthen_the_pause():
    """Many fail at once when İYS goes down: that is one failure, not a series of them."""
    breakers = open_circuit()
    for _ in range(10):
        breakers.busy("add", 100.5)
    assert breakers.closes_in("add", 100.5) == 0.5


@pytest.mark.parametrize("note", ["answered", "busy", "throttled"])
def test_any_answer_ends_the_silence(note: str):
    """Whatever it says, and to whatever operation."""
    breakers = CircuitBreakers()
    breakers.unanswered("add", 100.0, within=DEADLINE)
    assert breakers.is_silent
    getattr(breakers, note)("status", 101.0)
    assert not breakers.is_silent


def test_circuits_are_separate_but_all_open_without_a_token():
    """Batches may fail while single calls succeed; without a token none is made, for a minute."""
    breakers = open_circuit("add_batch")
    assert breakers.state("add", 100.0) is CircuitState.CLOSED
    breakers.open_all(3600, 100.0)
    assert breakers.state("add", 159.9) is CircuitState.OPEN
    assert breakers.state("add", 160.0) is CircuitState.CLOSED


async def test_open_circuit_sends_nothing():
    """Six calls, five of which are made; then a refusal shows that İYS is there."""
    answers = iter([*[saying(503)] * FIVE, refusing(422, "H121")])
    seconds = [100.0]

    def answer(request: httpx.Request) -> Any:  # noqa: ANN401  # a response
        return next(answers)(request)

    async with a_client(answer, clock=lambda: seconds[0]) as client:
        await outage(client)
        with pytest.raises(BusyError) as resting:
            await client.add(BRAND, an_item())
        assert resting.value.retry_after == timedelta(seconds=1)
        assert client.circuit_state("add") is CircuitState.OPEN
        assert client.circuit_state("status") is CircuitState.CLOSED
        seconds[0] += 1
        with pytest.raises(RefusedError):
            await client.add(BRAND, an_item())
        assert client.circuit_state("add") is CircuitState.CLOSED


@pytest.mark.parametrize("status", [None, 200, 429, 503])
async def test_unanswered_calls_open_their_circuit_sooner_in_silence(status: int | None):
    """Two of them, unless another call was answered within the deadline, in whatever way."""
    seconds = [100.0]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and status is not None:
            return httpx.Response(status, json={"list": []})
        seconds[0] += DEADLINE / 2
        raise httpx.ReadTimeout("late", request=request)

    settings = SETTINGS.model_copy(update={"timeout": timedelta(seconds=DEADLINE)})
    async with a_client(answer, settings=settings, clock=lambda: seconds[0]) as client:
        for _ in range(2):
            with suppress(CallError):
                await client.brands(7)
            await outage(client, 1)
        assert (client.circuit_state("add") is CircuitState.OPEN) is (status is None)
        assert client.breakers.is_silent is (status is None)


async def test_cancelled_probe_leaves_the_circuit_half_open():
    """The next call is the probe if the ledger is unreachable, or the caller was cancelled."""

    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with a_client(hang, clock=lambda: 101.0) as client:
        client.breakers = open_circuit()
        call = asyncio.create_task(client.add(BRAND, an_item()))
        await asyncio.sleep(0)
        assert client.circuit_state("add") is CircuitState.OPEN
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert client.circuit_state("add") is CircuitState.HALF_OPEN


async def test_token_limit_opens_all_circuits():
    """Nothing is claimed only to be put back."""
    async with a_client(refusing(429, "H084")) as client:
        with pytest.raises(TokenLimitError):
            await client.add(BRAND, an_item())
        assert client.circuit_state("add_batch") is CircuitState.OPEN
