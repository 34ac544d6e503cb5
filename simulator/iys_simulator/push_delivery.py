"""Push: citizens' movements delivered to registered addresses, per brand and type.

A registration is tested first: the address must refuse a call without credentials and accept İYS's
fixed test movement with them within five seconds. Deliveries start at once, with all waiting
movements together; a failed one is retried beside later ones (so order is not preserved) and given
up after some retries. İYS documents neither retries nor order nor sizes, so they are settings.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import httpx

from iys_simulator.errors.responses import refused
from iys_simulator.faults import DeliveryFault, Drop, Fault, FaultInjector, Operation
from iys_simulator.push_content import TEST_MOVEMENT, delivery_item
from iys_simulator.settings import Settings
from iys_simulator.store.database import Database
from iys_simulator.store.documents import DocumentMap
from iys_simulator.store.movements import Movement
from iys_simulator.store.push_connections import (
    Connection,
    DeliveryAttempt,
    DeliveryFailure,
    Registration,
)
from iys_simulator.traffic.counters import DROPPED, Counters

DELIVERY = Operation.PUSH.value
_LOGGED = 1000  # deliveries that can be inspected afterwards


class PushDelivery:
    """Registrations and deliveries.

    `pause` waits between retries; `seconds` returns the simulator's now, in epoch seconds.
    """

    def __init__(  # noqa: PLR0913 - time, chance and the network are arguments
        self,
        counters: Counters,
        faults: FaultInjector,
        settings: Callable[[], Settings],
        *,
        client: httpx.AsyncClient | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        database: Database | None = None,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._seconds = seconds
        self._counters = counters
        self._faults = faults
        self._settings = settings
        self._client = client
        self._pause = pause
        self._registrations = DocumentMap(
            database or Database(), "push", tuple[int, str, str], Registration
        )
        self._queued: dict[tuple[int, str, str], list[dict[str, object]]] = {}
        self._overtaken_by: dict[tuple[int, str, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.attempts: deque[DeliveryAttempt] = deque(maxlen=_LOGGED)

    def registrations_of(self, brand_code: int) -> list[Registration]:
        """Return all registrations of the brand, including failed ones."""
        return [
            registration
            for registration in self._registrations.values()
            if registration.connection.brand_code == brand_code
        ]

    def is_full(self, connection: Connection) -> bool:
        """Return whether the brand has as many active connections of the type as allowed."""
        others = [
            registration
            for registration in self.registrations_of(connection.brand_code)
            if registration.is_active
            and registration.connection.type == connection.type
            and registration.connection.url != connection.url
        ]
        return len(others) >= self._settings().push_connections

    async def verify(self, connection: Connection) -> None:
        """Test the address.

        Raises:
            RefusedError: H191 if it is too slow, H530 if it does not behave as required.
        """
        without_credentials, with_credentials = None, None
        body = {"list": [TEST_MOVEMENT]}
        try:
            async with asyncio.timeout(self._settings().push_timeout):
                without_credentials = await self._http.post(connection.url, json=body)
                if not without_credentials.is_success:
                    with_credentials = await self._http.post(
                        connection.url, json=body, auth=(connection.username, connection.password)
                    )
        except (TimeoutError, httpx.TimeoutException):
            raise refused("H191") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise refused("H530") from None
        if with_credentials is None or not with_credentials.is_success:
            raise refused("H530")

    def save_registration(
        self, connection: Connection, *, is_active: bool, register_time: str
    ) -> None:
        """Store the outcome of a registration; a failed one does not replace an active one."""
        before = self._registrations.get(connection.key)
        if not is_active and before is not None and before.is_active:
            return
        self._registrations[connection.key] = Registration(
            connection=connection, is_active=is_active, register_time=register_time
        )

    def remove(self, connection: Connection) -> bool:
        """Delete exactly this connection; return False if none has these credentials."""
        registration = self._registrations.get(connection.key)
        if registration is None or registration.connection != connection:
            return False
        del self._registrations[connection.key]
        self._queued.pop(connection.key, None)
        return True

    def send(self, brand_code: int, iys_code: int, movements: Sequence[Movement]) -> None:
        """Deliver `movements` of one brand to the addresses registered for their types."""
        for registration in self.registrations_of(brand_code):
            if not registration.is_active:
                continue
            key = registration.connection.key
            items = [
                delivery_item(movement, brand_code, iys_code)
                for movement in movements
                if movement.type == registration.connection.type
            ]
            if not items:
                continue
            if key in self._queued:
                self._queued[key].extend(items)
            else:
                self._queued[key] = items
                self._start(self._deliver_waiting(registration.connection))

    @property
    def is_busy(self) -> bool:
        """Whether a delivery is in progress or waits for a retry."""
        return bool(self._tasks)

    async def clear(self) -> None:
        """Delete registrations and stop deliveries."""
        self._registrations.clear()
        await self._stop()

    async def _stop(self) -> None:
        self._queued.clear()
        self._overtaken_by.clear()
        self.attempts.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def close(self) -> None:
        """Stop deliveries and close connections; registrations stay."""
        await self._stop()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @property
    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            settings = self._settings()
            self._client = httpx.AsyncClient(
                verify=settings.push_verify_tls, timeout=settings.push_timeout, trust_env=False
            )
        return self._client

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_waiting(self, connection: Connection) -> None:
        size = self._settings().push_size
        try:
            while items := self._queued.get(connection.key, [])[:size]:
                del self._queued[connection.key][:size]
                if not await self._deliver(connection, items):
                    self._start(self._deliver_again(connection, items))
        finally:
            self._queued.pop(connection.key, None)

    async def _deliver_again(
        self, connection: Connection, items: Sequence[dict[str, object]]
    ) -> None:
        settings = self._settings()
        for retry in range(settings.push_retries):
            await self._pause(settings.push_backoff * 2**retry)
            if await self._deliver(connection, items):
                return
        self._counters.count(DELIVERY, "given_up", [])

    async def _deliver(self, connection: Connection, items: Sequence[dict[str, object]]) -> bool:
        fault = self._faults.take(Operation.PUSH) or Fault()
        if fault.delivery is DeliveryFault.OVERTAKEN:
            # Registered before anything else can be sent, so that the next delivery is not missed.
            overtaken_by_next = self._overtaken_by.setdefault(connection.key, asyncio.Event())
            self._start(
                self._deliver_overtaken(connection, items, overtaken_by_next, fault.slow_seconds)
            )
            return True
        if fault.slow_seconds:
            await self._pause(fault.slow_seconds)
        if fault.drop is Drop.BEFORE or fault.status is not None:
            self._counters.count(DELIVERY, DROPPED, [])
            return False
        if fault.delivery is DeliveryFault.LOST:
            self._counters.count(DELIVERY, "lost", [])
            return True
        is_delivered = await self._post(connection, items)
        if is_delivered and fault.delivery is DeliveryFault.DOUBLED:
            await self._post(connection, items)
        # Dropped after the effect: it arrived, and the simulator sends it again.
        return is_delivered and fault.drop is not Drop.AFTER

    async def _deliver_overtaken(
        self,
        connection: Connection,
        items: Sequence[dict[str, object]],
        overtaken_by_next: asyncio.Event,
        delay: float,
    ) -> None:
        waits = [
            asyncio.ensure_future(overtaken_by_next.wait()),
            asyncio.ensure_future(self._pause(delay or self._settings().push_timeout)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not await self._post(connection, items):
            await self._deliver_again(connection, items)

    async def _post(self, connection: Connection, items: Sequence[dict[str, object]]) -> bool:
        try:
            response = await self._http.post(
                connection.url,
                json={"list": list(items)},
                auth=(connection.username, connection.password),
            )
        except httpx.HTTPError as problem:
            self._log_attempt(connection, items, _failure_of(problem).value)
            return False
        finally:
            if overtaken := self._overtaken_by.pop(connection.key, None):
                overtaken.set()
        self._log_attempt(connection, items, str(response.status_code))
        return response.is_success

    def _log_attempt(
        self, connection: Connection, items: Sequence[dict[str, object]], result: str
    ) -> None:
        self._counters.count(DELIVERY, result, [])
        self.attempts.append(
            DeliveryAttempt(
                brand_code=connection.brand_code,
                type=connection.type,
                url=connection.url,
                second=int(self._seconds()),
                recipients=[str(item["recipient"]) for item in items],
                result=result,
            )
        )


def _failure_of(problem: httpx.HTTPError) -> DeliveryFailure:
    match problem:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return DeliveryFailure.UNREACHABLE
        case httpx.TimeoutException():
            return DeliveryFailure.TIMED_OUT
        case _:
            return DeliveryFailure.DISCONNECTED
