"""How Faust's driver connects when it starts: a broker that is away then ends no worker.

The driver gives up at its first attempt, and Faust with it. A worker that starts while its broker
restarts would end, though it would only have had to wait. Under static membership it is looked at
from then on whether another worker has the same name.

Nor does it wait for its group when it ends: a worker has to be gone in time, and its session shows
that it has left.

All that is used of aiokafka's fetcher beyond its public interface.

``engine.transport.RELIES_ON`` lists the names; a test checks each.

Tell the worker that came second under one ``IZIN_INSTANCE_ID``, and end it.

Under static membership whoever joins last replaces the member of its name: a worker that restarts
after a kill has its partitions back at once, though its former session has not ended. The broker
tells the one that was replaced, at its next heartbeat. If that one lives, it joins again, and two
workers of one name would replace each other each second, and each time acquire all partitions.

So who was replaced while its session was alive knows that another worker lives. The one that has
worked for longer stays: it joins again, as its client does, and alerts. The other one, replaced
twice within moments of its start, ends. A restart meets nobody, for the dead do not join again. One
that was frozen for longer than its session has lost its place, and counts as one that starts.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from izin.runtime.observe import get_logger
from izin.runtime.start_errors import EXIT

RELIES_ON = (
    "aiokafka.consumer.group_coordinator:GroupCoordinator._send_req",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop",
    "faust.transport.drivers.aiokafka:Producer.on_start",
)
"""Overridden here, wrapped, or what is wrapped; a test checks each."""

_PAUSE = 1.0
_STOPPED_WITHIN = 1.0
"""Seconds: a consumer that is just about to join its group again waits for all of it first."""

_log = get_logger(__name__)
WHOLE_WAIT = 500
"""Milliseconds that a broker may wait for a record in a fetch of all its partitions."""
PARTIAL_WAIT = 25
"""The same, in a fetch that leaves out partitions whose records are still being processed."""
SESSION = 6.0
"""Seconds without a heartbeat after which the group gives a member up (``create_app``)."""
SETTLED_AFTER = 30.0
"""Seconds of work after which a worker is the one that stays."""
_TWICE = 2
"""Once may also be a coordinator that has forgotten a member."""
_UNKNOWN_MEMBER, _FENCED_INSTANCE = 25, 82
_REMEMBERED = 600.0


class StaticMember:
    """One worker's membership under ``name``; ``note`` is called with each answer of the group's
    coordinator.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._name = name
        self._clock = clock
        self._end = end
        self._answered_at = self._begun_at = float("-inf")
        self._replaced_at = float("-inf")
        self._replaced = 0

    @property
    def is_contested(self) -> bool:
        """Whether another worker of this name was seen in the last ten minutes."""
        return self._clock() - self._replaced_at < _REMEMBERED

    def watch(self, coordinator: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        """Note the answers that aiokafka's ``coordinator`` gets from now on."""
        ask = coordinator._send_req  # noqa: SLF001  # no public way sees them

        async def send(request: Any) -> Any:  # noqa: ANN401  # the same
            response = await ask(request)
            code = getattr(response, "error_code", None)
            if code == _FENCED_INSTANCE:  # aiokafka does not know it: the member joins again
                response.error_code = _UNKNOWN_MEMBER
            self.note(code)
            return response

        coordinator._send_req = send  # noqa: SLF001  # the same

    def note(self, code: int | None) -> None:
        """Note the error code of an answer; 0: the member is known."""
        now = self._clock()
        has_session = now - self._answered_at <= SESSION
        if code == 0:
            if not has_session:
                self._begun_at, self._replaced = now, 0
            self._answered_at = now
        elif code in {_UNKNOWN_MEMBER, _FENCED_INSTANCE} and has_session:
            self._replaced_at = now
            self._replaced += 1
            is_second = now - self._begun_at < SETTLED_AFTER
            if is_second and self._replaced < _TWICE:
                return
            _log.critical(
                "instance id in use already" if is_second else "instance id in use twice",
                instance_id=self._name,
                effect="another order worker of this group has it; this one ends"
                if is_second
                else "this worker was here first and goes on; the other one is ended",
                remedy="give each order worker an IZIN_INSTANCE_ID of its own, or none",
            )
            if is_second:
                self._end(EXIT)


class PatientConsumerThread(driver.AIOKafkaConsumerThread):
    """The driver's consumer, which waits for a broker."""

    member: StaticMember | None = None

    async def on_start(self) -> None:
        """Connect as soon as a broker answers, or the worker ends."""
        is_reported = False
        while not self.should_stop:
            try:
                await super().on_start()
            except KafkaConnectionError as error:
                await self._consumer.stop()
                if not is_reported:
                    _log.critical("Kafka not reached", error=str(error), effect="it is waited for")
                    is_reported = True
                await self.sleep(_PAUSE)
            else:
                coordinator = self._consumer._coordinator  # noqa: SLF001  # made by its start
                if (name := coordinator._group_instance_id) is not None:  # noqa: SLF001  # the same
                    self.member = StaticMember(name)
                    self.member.watch(coordinator)
                return

    async def on_thread_stop(self) -> None:
        """Stop the consumer, in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_WITHIN):
                await super().on_thread_stop()


class NoProducer(driver.Producer):
    """Faust's producer, with which nothing is sent."""

    async def on_start(self) -> None:
        """Connect to nothing."""


def position(consumer: Any, tp: Any) -> int | None:  # noqa: ANN401  # aiokafka publishes no types
    """Return the position of ``tp``; None where it is not assigned, or has none."""
    subscription = consumer._subscription.subscription  # noqa: SLF001  # public calls would await a lookup
    assignment = subscription and subscription.assignment
    state = assignment and assignment.state_value(tp)
    return state.position if state and state.has_valid_position else None


def shorten_waits(fetcher: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
    """Have ``fetcher`` wait for records only where its request leaves out no partition."""
    actions = fetcher._get_actions_per_node  # noqa: SLF001  # aiokafka has no public way

    def with_short_waits(assignment: Any) -> Any:  # noqa: ANN401  # the same
        requests, *others = actions(assignment)
        if fetcher._records:  # noqa: SLF001  # fetched and not yet handed over
            for _, request in requests:
                request._max_wait_ms = PARTIAL_WAIT  # noqa: SLF001  # aiokafka has no public way
        return requests, *others

    fetcher._get_actions_per_node = with_short_waits  # noqa: SLF001  # the same


async def fetched_or_set(consumer: Any, event: asyncio.Event, limit: float) -> bool:  # noqa: ANN401  # aiokafka publishes no types
    """Wait until a fetch brought anything or ``event`` is set, at most ``limit`` seconds; False if
    neither happened.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # aiokafka has no public way
    with consumer._subscription.fetch_context():  # noqa: SLF001  # the same
        waiter = fetcher._create_fetch_waiter()  # noqa: SLF001  # the same
        changed = asyncio.ensure_future(event.wait())
        done, _ = await asyncio.wait(
            (waiter, changed), timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
    changed.cancel()
    if waiter in done:
        waiter.result()
    else:
        waiter.cancel()
    return bool(done) and not fetcher._closed  # noqa: SLF001  # the same
