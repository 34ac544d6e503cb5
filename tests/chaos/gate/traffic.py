"""The lives of recipients, each event acknowledged, and senders that ask a gate all the time."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from typing import NamedTuple

import httpx
from confluent_kafka import KafkaError, Message, Producer

from izin.consent import ConsentEvent, Status
from izin.iys.wire_format.json_reader import to_turkish
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.records import event_to_avro
from tests.support.builders import AUTHORIZATION, BRAND, a_key, an_event

_AGO = timedelta(hours=20)
"""How old the first opt-ins are: within the three business days in which İYS takes them."""
_STEP = timedelta(minutes=1)
"""Between two events of a recipient."""
_WITHIN = 90.0
"""Seconds in which each is acknowledged, the start of a broker included."""
_STALE, _UNREADABLE, _RENEWED = 0.08, 0.12, 0.2
"""Where a recipient has opted in: of what comes next, the share up to which it is an opt-out of
before the opt-in, one of no recipient, and another opt-in. All else is an opt-out."""
_OPT_OUT, _OPT_IN = 0.4, 0.8
_EXPRESS, _MISPLACED = 0.6, 0.1
_TIMEOUT = 3.0
_PAUSE = 0.04
_AT_ONCE = 10
"""Recipients of a question; half of them have opted out a short time ago."""


@dataclass(slots=True, kw_only=True, eq=False)
class PublishedEvent:
    """An event that the law admits; instants in seconds since 1970."""

    key: str
    event_id: str
    status: Status
    at: datetime
    """When the recipient acted."""
    published_at: float
    acknowledged_at: float = inf
    position: LogPosition | None = None
    """Where it is, once it is acknowledged."""

    @property
    def date(self) -> str:
        """Return when the recipient acted, as İYS shows it."""
        return to_turkish(self.at)


@dataclass(kw_only=True)
class Traffic:
    """Publishes what recipients do, one event after another.

    İYS refuses the consents of those whose keys are in `refused`, for it takes their numbers for
    none; they only opt in. Those whose keys are in `permitted`, for a gate has just said yes to
    them, opt out more often.
    """

    settings: KafkaSettings
    random: Random
    recipients: int
    refused_recipients: int
    rate: float
    """Events a second."""
    permitted: set[str] = field(default_factory=set)
    events: dict[str, list[PublishedEvent]] = field(default_factory=dict)
    """What the law admits of each key, as it was published."""
    refused: frozenset[str] = frozenset()
    unreadable: int = 0
    """Opt-outs of no recipient so far."""
    is_over: bool = False

    def __post_init__(self) -> None:
        self._codec = Codec()
        self._client: Producer = clients.producer(self.settings, **{"linger.ms": 0})
        self._began = datetime.now(UTC).replace(microsecond=0) - _AGO
        self._count = 0
        self.refused = frozenset(_key(f"+90200{one:07d}") for one in range(self.refused_recipients))

    def begin(self) -> None:
        """Have every recipient opt in."""
        for number in range(self.recipients):
            self._opt_in(_key(f"+90555{number:07d}"))
        for key in self.refused:
            self._opt_in(key)
        self._flush()

    async def run(self, on_opt_out: Callable[[PublishedEvent], None]) -> None:
        """Publish until `is_over`; call `on_opt_out` with each opt-out once it is acknowledged."""
        due = time.monotonic()
        while not self.is_over:
            due = max(due + 1 / self.rate, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            opt_out = await asyncio.to_thread(self._live_on, self._choose())
            if opt_out is not None:
                on_opt_out(opt_out)

    def finish(self) -> None:
        """Have a quarter of the recipients end with an opt-out, all others with an opt-in."""
        for number, key in enumerate(sorted(self.events)):
            wanted = Status.ONAY if key in self.refused or number % 4 else Status.RET
            if self.latest(key).status is wanted:
                continue
            if wanted is Status.RET:
                self._opt_out(key, self._next_date(key))
            else:
                self._opt_in(key)
        self._flush()

    def latest(self, key: str) -> PublishedEvent:
        """Return the event that counts."""
        return max(self.events[key], key=lambda one: one.at)

    def consenting(self) -> set[str]:
        """Return the keys whose latest event is an opt-in that İYS takes."""
        return {one for one in self.events if self.latest(one).status is Status.ONAY} - self.refused

    def _choose(self) -> str:
        """Return whose next event it is: as many opt out as opt in, and some are anybody."""
        roll = self.random.random()
        if roll < _OPT_OUT:
            some = sorted(self.permitted)
        elif roll < _OPT_IN:
            some = [one for one in self.events if self.latest(one).status is Status.RET]
        else:
            some = []
        return self.random.choice(some or list(self.events))

    def _live_on(self, key: str) -> PublishedEvent | None:
        """Publish the next event of a key; return it, acknowledged, if it is an opt-out."""
        opt_out = self._next_event(key)
        self._flush()
        return opt_out

    def _next_event(self, key: str) -> PublishedEvent | None:
        roll, latest = self.random.random(), self.latest(key)
        if key in self.refused or latest.status is Status.RET:
            self._opt_in(key)
        elif roll < _STALE:
            return self._opt_out(key, latest.at - _STEP / 2)
        elif roll < _UNREADABLE:
            self._opt_out_of_nobody(key)
        elif roll < _RENEWED:
            self._opt_in(key)
        else:
            return self._opt_out(key, self._next_date(key))
        return None

    def _next_date(self, key: str) -> datetime:
        """Return an instant after all events of a key."""
        return self.latest(key).at + _STEP if key in self.events else self._began

    def _opt_in(self, key: str) -> None:
        lanes = self.settings.topics
        lane = lanes.express if self.random.random() < _MISPLACED else lanes.events
        self._publish(lane.name, key, Status.ONAY, self._next_date(key))

    def _opt_out(self, key: str, at: datetime) -> PublishedEvent:
        lanes = self.settings.topics
        lane = lanes.express if self.random.random() < _EXPRESS else lanes.events
        return self._publish(lane.name, key, Status.RET, at)

    def _publish(self, topic: str, key: str, status: Status, at: datetime) -> PublishedEvent:
        event = self._event(key.rpartition("/")[2], status, at)
        published = PublishedEvent(
            key=key, event_id=event.event_id, status=status, at=at, published_at=time.time()
        )
        self.events.setdefault(key, []).append(published)
        self._produce(topic, published, event)
        return published

    def publish_again(self, published: PublishedEvent) -> None:
        """Publish an event of before once more, under its id, as its producer does."""
        recipient = published.key.rpartition("/")[2]
        event = replace(
            self._event(recipient, published.status, published.at), event_id=published.event_id
        )
        self._produce(self.settings.topics.express.name, published, event)
        self._flush()

    def _produce(self, topic: str, published: PublishedEvent, event: ConsentEvent) -> None:

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            assert error is None, error.str()
            published.acknowledged_at = time.time()
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            published.position = LogPosition(topic, partition, offset)

        # Some producers key as they like, and the order stage writes the event once more.
        written = event.event_id if self.random.random() < _MISPLACED else published.key
        self._client.produce(
            topic, key=written, value=self._encode(event), on_delivery=acknowledged
        )

    def _opt_out_of_nobody(self, key: str) -> None:
        """Publish an opt-out that the law refuses, under the key of somebody who opted in."""
        self.unreadable += 1
        event = self._event("unknown", Status.RET, self._next_date(key))
        self._client.produce(self.settings.topics.express.name, key=key, value=self._encode(event))

    def _event(self, recipient: str, status: Status, at: datetime) -> ConsentEvent:
        self._count += 1
        return an_event(
            event_id=f"event-{self._count}",
            recipient=recipient,
            status=status,
            consent_date=at,
            received_at=at,
        )

    def _encode(self, event: ConsentEvent) -> bytes:
        return self._codec.encode("ConsentEvent", event_to_avro(event))

    def _flush(self) -> None:
        assert self._client.flush(_WITHIN) == 0, "the broker did not acknowledge an event"


def _key(recipient: str) -> str:
    return str(a_key(recipient=recipient))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenYes:
    """A yes to a commercial message; instants in seconds since 1970."""

    gate: str
    key: str
    asked_at: float
    answered_at: float
    token: PublishedEvent | None = None
    """The opt-out whose token the question had."""


class Answer(NamedTuple):
    """What a gate says of a key."""

    may_send: bool
    reason: str


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks one gate about `keys`.

    `permitted` gets the keys that it says yes to, and loses the others.
    """

    gate: str
    url: str
    keys: Sequence[str]
    permitted: set[str]
    random: Random
    yes: list[GivenYes] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Questions without an answer, by what came instead."""
    opt_outs: asyncio.Queue[PublishedEvent] = field(default_factory=asyncio.Queue)
    """Those to ask about at once, with their tokens."""
    with_token: int = 0
    """Answers to questions with a token."""
    is_over: bool = False
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=4 * _AT_ONCE))

    async def run(self) -> None:
        """Ask until `is_over`."""
        async with self._client() as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_anybody(http))
            tasks.create_task(self._ask_after_opt_outs(http))

    async def ask_all(self) -> dict[str, Answer]:
        """Return what the gate says of every key now; empty where it does not answer."""
        async with self._client() as http:
            return await self._ask(http, self.keys)

    async def _ask_anybody(self, http: httpx.AsyncClient) -> None:
        while not self.is_over:
            chosen = self.random.sample(self.keys, min(len(self.keys), _AT_ONCE // 2))
            recent = list(self._recent)
            chosen += self.random.sample(recent, min(len(recent), _AT_ONCE - len(chosen)))
            await self._ask(http, chosen[: self.random.choice((1, _AT_ONCE))])
            await asyncio.sleep(_PAUSE)

    async def _ask_after_opt_outs(self, http: httpx.AsyncClient) -> None:
        while not self.is_over:
            with suppress(TimeoutError):
                opt_out = await asyncio.wait_for(self.opt_outs.get(), _PAUSE)
                self._recent.append(opt_out.key)
                await self._ask(http, [opt_out.key], opt_out)

    async def _ask(
        self, http: httpx.AsyncClient, keys: Collection[str], token: PublishedEvent | None = None
    ) -> dict[str, Answer]:
        by_recipient = {key.rpartition("/")[2]: key for key in keys}
        question: dict[str, object] = {
            "brand_code": BRAND,
            "type": "MESAJ",
            "recipients": list(by_recipient),
        }
        if token is not None and token.position is not None:
            question["at_least"] = token_of([token.position])
        asked_at = time.time()
        try:
            response = await http.post("/v1/may-send", json=question)
        except httpx.HTTPError as error:
            self.failures[type(error).__name__] += 1
            return {}
        answered_at = time.time()
        if not response.is_success:
            self.failures[f"status {response.status_code}"] += 1
            return {}
        self.with_token += token is not None
        found = {}
        for one in response.json()["verdicts"]:
            key = by_recipient[one["recipient"]]
            found[key] = Answer(one["may_send"], one["reason"])
            self.reasons[one["reason"]] += 1
            if not one["may_send"]:
                self.permitted.discard(key)
                continue
            self.permitted.add(key)
            self.yes.append(
                GivenYes(
                    gate=self.gate,
                    key=key,
                    asked_at=asked_at,
                    answered_at=answered_at,
                    token=token,
                )
            )
        return found

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=AUTHORIZATION, timeout=_TIMEOUT, trust_env=False
        )
