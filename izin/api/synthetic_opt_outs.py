"""Do opt-outs flow? Each minute one of nobody is published, and awaited as a subscriber would.

It goes the whole way: over HTTP into the intake, through the order worker, and out of a feed. Its
brand is reserved (``SYNTHETIC_BRAND``): the ledger settles it at once, and İYS is never called for
it.

An opt-out leaves by the feed only where it changes something: the first of a recipient, or one
after a consent. So that the log of the state does not grow by one recipient a minute, an opt-out is
followed by a consent a minute later, and its recipient is used again once ``_POOL`` others were. By
then the consent was decided also behind a backlog; where it was not, new recipients are taken.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from time import time
from typing import Any
from uuid import uuid4

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge

from izin.consent import SYNTHETIC_BRAND, Channel, RecipientType, Source, Status
from izin.runtime.logs import get_logger
from izin.runtime.settings import ApiSettings

_EVERY = 60.0
"""Seconds from one to the next."""
_AGAIN = 10.0
_WITHIN = timedelta(seconds=50)
"""After so long one is late: the next one is due soon."""
_WAIT = 20
"""Seconds for which the feed holds back an empty page."""
_TIMEOUT = _WAIT + 10.0
_POOL = 240
"""So many recipients are used in turn: each once in four hours."""
ARRIVED, LATE, FAILED = "arrived", "late", "failed"

_log = get_logger(__name__)


class SyntheticOptOuts:
    """Publishes opt-outs of nobody, and shows as metrics how long each took to a subscriber."""

    def __init__(
        self,
        settings: ApiSettings,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], datetime],
        within: timedelta = _WITHIN,
        pool: int = _POOL,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._within = within.total_seconds()
        self._pool = pool
        self._used = deque[str]()
        """The recipients that opted out and consented again, the one longest ago first."""
        self._opted_out: str | None = None
        """The recipient of the opt-out that arrived last: it has not consented again."""
        self._seconds = Gauge(
            "izin_synthetic_opt_out_seconds",
            "How long the last synthetic opt-out took from the intake to a reader of the feed.",
            registry=registry,
        )
        self._arrived_at = Gauge(
            "izin_synthetic_opt_out_arrived_timestamp_seconds",
            "When a synthetic opt-out arrived last at a reader of the feed; before the first one, "
            "when this process began.",
            registry=registry,
        )
        self._arrived_at.set(time())
        self._is_starting = True
        """None was tried yet: the endpoints may still have to read the key made for this."""
        self._outcomes = Counter(
            "izin_synthetic_opt_outs",
            "Synthetic opt-outs, by whether they arrived, were late, or failed: an endpoint did "
            "not answer, or refused.",
            ["outcome"],
            registry=registry,
        )
        for outcome in (ARRIVED, LATE, FAILED):
            self._outcomes.labels(outcome)

    def client(self) -> httpx.AsyncClient:
        """Return a client with the API key of the settings."""
        key = self._settings.synthetic_key
        text = "" if key is None else key.get_secret_value()
        return httpx.AsyncClient(timeout=_TIMEOUT, headers={"authorization": f"Bearer {text}"})

    async def run(self) -> None:
        """Publish and await one each minute, until cancelled; sooner after one that failed, so that
        it is seen at once when opt-outs flow again.
        """
        loop = asyncio.get_running_loop()
        async with self.client() as client:
            while True:
                begun = loop.time()
                pause = _AGAIN if await self.once(client) == FAILED else _EVERY
                await asyncio.sleep(max(0.0, begun + pause - loop.time()))

    async def once(self, client: httpx.AsyncClient) -> str:
        """Publish one over ``client``, await it, and return and count the outcome."""
        try:
            took = await self._took(client)
        except (httpx.HTTPError, httpx.InvalidURL, KeyError, TypeError, ValueError) as error:
            outcome = FAILED
            what = "not taken yet" if self._is_starting else "failed"
            _log.warning(f"synthetic opt-out {what}", error=f"{error!r:.300}")
        else:
            outcome = LATE if took is None else ARRIVED
            if took is None:
                self._used.clear()
                _log.warning("synthetic opt-out late", seconds=self._within)
            else:
                self._seconds.set(took)
                self._arrived_at.set(time())
        self._is_starting = False
        self._outcomes.labels(outcome).inc()
        return outcome

    async def _took(self, client: httpx.AsyncClient) -> float | None:
        """Return after how many seconds an opt-out arrived; None: it has not."""
        clock = asyncio.get_running_loop().time
        after = (await self._page(client, {"from": "now", "limit": 1}))["next"]
        if self._opted_out is not None:
            await self._publish(client, self._opted_out, Status.ONAY)
            self._used.append(self._opted_out)
            self._opted_out = None
        is_full = len(self._used) >= self._pool
        recipient = self._used.popleft() if is_full else f"{uuid4().hex}@synthetic.invalid"
        begun = clock()
        await self._publish(client, recipient, Status.RET)
        while clock() < begun + self._within:
            page = await self._page(client, {"after": after, "wait": _WAIT})
            if any(item["recipient"] == recipient for item in page["items"]):
                self._opted_out = recipient
                return clock() - begun
            after = page["next"]
        return None

    async def _page(self, client: httpx.AsyncClient, query: Mapping[str, Any]) -> Any:  # noqa: ANN401  # JSON
        reply = await client.get(f"{self._settings.synthetic_feeds}/v1/opt-outs", params=query)
        return reply.raise_for_status().json()

    async def _publish(self, client: httpx.AsyncClient, recipient: str, status: Status) -> None:
        record = {
            "recipient": recipient,
            "recipient_type": str(RecipientType.BIREYSEL),
            "type": str(Channel.EPOSTA),
            "status": str(status),
            # Consents that are given electronically would have to be confirmed to the person.
            "source": str(Source.HS_FIZIKSEL_ORTAM),
            "brand_code": SYNTHETIC_BRAND,
            "consent_date": self._clock().isoformat(),
        }
        reply = await client.post(f"{self._settings.synthetic_intake}/v1/consents", json=record)
        reply.raise_for_status()
