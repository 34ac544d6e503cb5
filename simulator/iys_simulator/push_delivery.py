"""Push: IYS_* movements delivered to registered addresses, per brand and type.

A registration is proved first: the address must refuse a call without credentials, and take İYS's
fixed test movement with them within five seconds. Deliveries leave at once, many waiting movements
together; one that fails is tried again beside the others (so order is not kept) and given up after
some tries. İYS documents none of retries, order and sizes, so all of them are settings.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import httpx

from iys_simulator.errors.responses import refused
from iys_simulator.faults import Delivery, Drop, Fault, Operation, Weather
from iys_simulator.settings import Settings
from iys_simulator.store.database import Database
from iys_simulator.store.documents import Shelf
from iys_simulator.store.movements import Movement
from iys_simulator.store.push_connections import Connection, Registration, Sent
from iys_simulator.traffic.counters import DROPPED, Counters

DELIVERY = Operation.PUSH.value
_KEPT = 1000  # deliveries that can be looked at afterwards

# İYS sends exactly this at registration; receivers take it and do not keep it.
TEST_MOVEMENT = {
    "iysCode": 121212,
    "brandCode": 121212,
    "consentDate": "2015-05-01 15:00:00",
    "creationDate": "2015-05-01 15:00:00",
    "source": "IYS_MOBIL",
    "recipient": "pushtest@iys.org.tr",
    "recipientType": "BIREYSEL",
    "status": "ONAY",
    "type": "EPOSTA",
    "transactionId": "e52ee30512adfcd2a41fb3b4682f5bd61eee5b1c92bda665fc0b7e56644d429d",
}


class PushOffice:
    """Registrations and deliveries; `pause` waits between tries, `milliseconds` tells the time."""

    def __init__(  # noqa: PLR0913 - time, chance and the network are arguments
        self,
        counters: Counters,
        weather: Weather,
        settings: Callable[[], Settings],
        *,
        client: httpx.AsyncClient | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        database: Database | None = None,
        milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._milliseconds = milliseconds
        self._counters = counters
        self._weather = weather
        self._settings = settings
        self._client = client
        self._pause = pause
        self._registrations = Shelf(
            database or Database(), "push", tuple[int, str, str], Registration
        )
        self._waiting: dict[tuple[int, str, str], list[dict[str, object]]] = {}
        self._passed: dict[tuple[int, str, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent: deque[Sent] = deque(maxlen=_KEPT)

    def registrations_of(self, brand_code: int) -> list[Registration]:
        """All registrations of the brand, the failed ones too."""
        return [
            registration
            for registration in self._registrations.values()
            if registration.connection.brand_code == brand_code
        ]

    def is_taken(self, connection: Connection) -> bool:
        """Whether the brand already has as many standing connections of the type as it may."""
        others = [
            registration
            for registration in self.registrations_of(connection.brand_code)
            if registration.stands
            and registration.connection.type == connection.type
            and registration.connection.url != connection.url
        ]
        return len(others) >= self._settings().push_connections

    async def prove(self, connection: Connection) -> None:
        """Try the address; raise H191 if it is too slow, H530 if it does not behave."""
        open_call, proper_call = None, None
        body = {"list": [TEST_MOVEMENT]}
        try:
            async with asyncio.timeout(self._settings().push_timeout):
                open_call = await self._http.post(connection.url, json=body)
                if not open_call.is_success:
                    proper_call = await self._http.post(
                        connection.url, json=body, auth=(connection.username, connection.password)
                    )
        except (TimeoutError, httpx.TimeoutException):
            raise refused("H191") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise refused("H530") from None
        if proper_call is None or not proper_call.is_success:
            raise refused("H530")

    def note(self, connection: Connection, *, stands: bool, register_time: str) -> None:
        """Remember the outcome of a registration; a failed one leaves a standing one alone."""
        before = self._registrations.get(connection.name)
        if not stands and before is not None and before.stands:
            return
        self._registrations[connection.name] = Registration(
            connection=connection, stands=stands, register_time=register_time
        )

    def remove(self, connection: Connection) -> bool:
        """Remove exactly this connection; False if there is none with these credentials."""
        registration = self._registrations.get(connection.name)
        if registration is None or registration.connection != connection:
            return False
        del self._registrations[connection.name]
        self._waiting.pop(connection.name, None)
        return True

    def send(self, brand_code: int, iys_code: int, movements: Sequence[Movement]) -> None:
        """Have `movements` of one brand delivered to whoever registered for their types."""
        for registration in self.registrations_of(brand_code):
            if not registration.stands:
                continue
            name = registration.connection.name
            items = [
                delivery_item(movement, brand_code, iys_code)
                for movement in movements
                if movement.type == registration.connection.type
            ]
            if not items:
                continue
            if name in self._waiting:
                self._waiting[name].extend(items)
            else:
                self._waiting[name] = items
                self._start(self._deliver_waiting(registration.connection))

    @property
    def has_work(self) -> bool:
        """Whether a delivery is under way or waits for another try."""
        return bool(self._tasks)

    async def clear(self) -> None:
        """Forget registrations and stop deliveries."""
        self._registrations.clear()
        await self._stop()

    async def _stop(self) -> None:
        self._waiting.clear()
        self._passed.clear()
        self.sent.clear()
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
            while items := self._waiting.get(connection.name, [])[:size]:
                del self._waiting[connection.name][:size]
                if not await self._delivers(connection, items):
                    self._start(self._deliver_again(connection, items))
        finally:
            self._waiting.pop(connection.name, None)

    async def _deliver_again(
        self, connection: Connection, items: Sequence[dict[str, object]]
    ) -> None:
        settings = self._settings()
        for retry in range(settings.push_retries):
            await self._pause(settings.push_backoff * 2**retry)
            if await self._delivers(connection, items):
                return
        self._counters.count(DELIVERY, "given_up", [])

    async def _delivers(self, connection: Connection, items: Sequence[dict[str, object]]) -> bool:
        fault = self._weather.take(Operation.PUSH) or Fault()
        if fault.delivery is Delivery.OVERTAKEN:
            # Marked before anything else can be sent, so that the next delivery is not missed.
            passed = self._passed.setdefault(connection.name, asyncio.Event())
            self._start(self._deliver_overtaken(connection, items, passed, fault.slow_seconds))
            return True
        if fault.slow_seconds:
            await self._pause(fault.slow_seconds)
        if fault.drop is Drop.BEFORE or fault.status is not None:
            self._counters.count(DELIVERY, DROPPED, [])
            return False
        if fault.delivery is Delivery.LOST:
            self._counters.count(DELIVERY, "lost", [])
            return True
        arrived = await self._posted(connection, items)
        if arrived and fault.delivery is Delivery.DOUBLED:
            await self._posted(connection, items)
        # Lost after the effect: it arrived, the twin does not know, and so it will arrive again.
        return arrived and fault.drop is not Drop.AFTER

    async def _deliver_overtaken(
        self,
        connection: Connection,
        items: Sequence[dict[str, object]],
        passed: asyncio.Event,
        patience: float,
    ) -> None:
        waits = [
            asyncio.ensure_future(passed.wait()),
            asyncio.ensure_future(self._pause(patience or self._settings().push_timeout)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not await self._posted(connection, items):
            await self._deliver_again(connection, items)

    async def _posted(self, connection: Connection, items: Sequence[dict[str, object]]) -> bool:
        try:
            answer = await self._http.post(
                connection.url,
                json={"list": list(items)},
                auth=(connection.username, connection.password),
            )
        except httpx.HTTPError as problem:
            self._note(connection, items, type(problem).__name__)
            return False
        finally:
            if overtaken := self._passed.pop(connection.name, None):
                overtaken.set()
        self._note(connection, items, str(answer.status_code))
        return answer.is_success

    def _note(
        self, connection: Connection, items: Sequence[dict[str, object]], result: str
    ) -> None:
        self._counters.count(DELIVERY, result, [])
        self.sent.append(
            Sent(
                brand_code=connection.brand_code,
                type=connection.type,
                url=connection.url,
                occurred_at=self._milliseconds(),
                recipients=[str(item["recipient"]) for item in items],
                result=result,
            )
        )


def delivery_item(movement: Movement, brand_code: int, iys_code: int) -> dict[str, object]:
    """Give A movement as push delivers it."""
    return {
        "iysCode": iys_code,
        "brandCode": brand_code,
        "consentDate": movement.consent_date,
        "creationDate": movement.creation_date,
        "source": movement.source,
        "recipient": movement.recipient,
        "recipientType": movement.recipient_type,
        "status": movement.status,
        "type": movement.type,
        "transactionId": movement.transaction_id,
    }
