"""The scenario: a CRM export, signups, registration at İYS, and citizens who opt out there.

Each step ends by an effect that can be observed, never by a pause. Workers that are killed
meanwhile (see :class:`Killer`) are started again. How far the ledger is, is read from it.
"""

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec

from izin.consent import TURKEY, OurError
from izin.kafka import clients
from izin.kafka.bounded_reader import unread
from izin.kafka.clients import access_of
from izin.kafka.tables.brand_directory import BrandReader
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.local import Supervisor
from izin.producers.files import Import, ImportReport, import_file
from izin.producers.new_event import utc_now
from izin.producers.publishing.publisher import BULK_LINGER, KafkaPublisher
from izin.runtime.plan import OnProgress
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.stack import crm_export
from izin.stack.actors import RegisterEntry, Signup, SimulatorClient, Subscriber, signups
from izin.stack.stack import LocalStack
from izin.stack.stack_settings import ACTIVE, LOADING
from izin.streams.ownership import DecidedOffsets

_POLL_INTERVAL = 0.1
WORKERS = ("order worker", "sink worker", "intake")
CITIZENS = 1000
_STAGE_TIMEOUT = timedelta(seconds=200)
_RETRIES = 60
_RETRY_INTERVAL = 0.25
_PUSH_INTERVAL = 0.02
"""Some forty citizens a second, as after a campaign; a thousand times a brand's ordinary day."""
_TIMEOUT = 15.0
_ASKED: Mapping[str, object] = {
    "recipient": "+905552000001",
    "brand_code": ACTIVE,
    "types": ["MESAJ"],
    "way": "SMS_OTP",
    "form_id": "1",
    "occasion": "form",
}
"""A person of no row and signup, whom İYS asks for consent."""
_MOST_MARKERS = 10
"""Offsets that may be of aborted records and of the marks of their transactions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The ledger's record of a key."""

    desired: str
    registered: str
    state: str
    reason: str = ""
    void_event_id: str | None = None
    """The event of an opt-in that İYS never gets, where the opt-out before it is due again."""


async def ledger_states(ledger: Ledger) -> dict[str, LedgerState]:
    """Return the ledger's record of every key."""
    return {
        row["key"]: LedgerState(
            desired=row["desired_status"] or "",
            registered=row["registered"],
            state=row["state"],
            reason=row["reason"] or "",
            void_event_id=row["void_event_id"],
        )
        async for row in reads.register(ledger)
    }


class LedgerView:
    """Reads positions and ledger, and changes nothing; a context manager."""

    def __init__(self, url: str, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._ledger = Ledger(
            LedgerSettings.model_validate({"DATABASE_URL": url, "IZIN_DATABASE_POOL_SIZE": 2}),
            owner=secrets.randbelow(2**31 - 1) + 1,
        )
        self._runner = asyncio.Runner()
        self._decided = DecidedOffsets(settings, codec)
        self._admin = clients.admin(settings)

    def events(self) -> int:
        """Return the number of events on both lanes."""
        return sum(self._ends(self._lanes()).values())

    def behind(self) -> int:
        """Return how many events are not ordered yet, and decisions not in the ledger."""
        topics, lanes = self._settings.topics, self._lanes()
        ordered = self._decided.read()
        ingested = self._runner.run(reads.ingested(self._ledger))
        done = {**ingested, **ordered}  # the ledger stores offsets of the lanes too
        ends = self._ends([*lanes, *self._partitions(topics.decisions.name)])
        count = sum(max(0, end - done.get(place, 0)) for place, end in ends.items())
        if 0 < count <= _MOST_MARKERS:  # what was aborted at the end of a lane has no position
            read = (topics.events, topics.express, topics.decisions)
            count = sum(unread(self._settings, topic, done).records for topic in read)
        return count

    def lag(self) -> reads.Lag:
        """Return what the sink worker has still to do."""
        return self._runner.run(reads.lag(self._ledger, now=utc_now()))

    def keys(self) -> int:
        """Return the number of keys in the ledger."""
        return sum(one.keys for one in self._runner.run(reads.counts(self._ledger)))

    def states(self) -> dict[str, LedgerState]:
        """Return the ledger's record of every key."""
        return self._runner.run(ledger_states(self._ledger))

    def _lanes(self) -> list[TopicPartition]:
        topics = self._settings.topics
        return self._partitions(topics.events.name, topics.express.name)

    def _partitions(self, *topics: str) -> list[TopicPartition]:
        numbers = range(self._settings.partitions)
        return [TopicPartition(topic, number) for topic in topics for number in numbers]

    def _ends(self, partitions: Iterable[TopicPartition]) -> dict[tuple[str, int], int]:
        # One request a broker, not one a partition, for this is polled.
        asked = self._admin.list_offsets(
            dict.fromkeys(partitions, OffsetSpec.latest()),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=_TIMEOUT,
        )
        return {
            (one.topic, one.partition): found.result(_TIMEOUT).offset
            for one, found in asked.items()
        }

    def __enter__(self) -> Self:
        self._runner.run(self._ledger.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._decided.close()
        self._runner.run(self._ledger.__aexit__(kind, error, trace))
        self._runner.close()


class StageFailedError(OurError):
    """A stage of the demo did not have the effect that it must have."""


def wait_until(
    effect: Callable[[], bool], what: str, *, within: timedelta = _STAGE_TIMEOUT
) -> None:
    """Poll until ``effect`` is there.

    Raises:
        StageFailedError: It was not there in time.
    """
    limit = time.monotonic() + within.total_seconds()
    while not effect():
        if time.monotonic() > limit:
            raise StageFailedError(f"gave up after {within.total_seconds():.0f} s waiting: {what}")
        time.sleep(_POLL_INTERVAL)  # an effect in another process: nothing here wakes us


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Which worker was killed while the demo ran, and when."""

    killed: str
    at_second: float


class Killer:
    """Kills while its block runs; a context manager.

    The moments are within ``window`` seconds of the start, each worker's in a third of its own, so
    that two are never killed together.
    """

    def __init__(self, supervisor: Supervisor, *, window: float, seed: int) -> None:
        self._supervisor = supervisor
        chance = random.Random(seed)
        order = chance.sample(WORKERS, len(WORKERS))
        third = window / len(WORKERS)
        self._plan = [
            (third * (place + 0.2 + 0.7 * chance.random()), name)
            for place, name in enumerate(order)
        ]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._kill_all, name="killer", daemon=True)
        self.kills: list[Kill] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _kill_all(self) -> None:
        start = time.monotonic()
        for at, name in self._plan:
            if self._stopped.wait(max(0.0, start + at - time.monotonic())):
                return
            self._supervisor.kill(name)
            self.kills.append(Kill(killed=name, at_second=round(time.monotonic() - start, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What happened, as far as topics, ledger and İYS do not show it."""

    truth: crm_export.ExportTruth
    imported: ImportReport
    signups: int
    asked: int
    """How many people İYS asked for consent (ViA), each of whom gave back the code."""
    pushed: Sequence[RegisterEntry]
    """The opt-outs of citizens at İYS that it pushed to us."""
    pulled: Sequence[RegisterEntry]
    """Those that we pulled."""
    received: Mapping[str, int]
    """By key: when the subscriber received its first opt-out, epoch milliseconds."""
    kills: Sequence[Kill]

    @property
    def citizens(self) -> Sequence[RegisterEntry]:
        """The opt-outs of all citizens."""
        return [*self.pushed, *self.pulled]

    def delays(self, entries: Sequence[RegisterEntry]) -> list[int]:
        """Return the milliseconds from each of ``entries`` to the subscriber, where it came."""
        received = self.received
        return [
            received[entry.key] - entry.occurred_at for entry in entries if entry.key in received
        ]


class Scenario:
    """One run of the demo on a local stack that is up."""

    def __init__(
        self,
        stack: LocalStack,
        codec: Codec,
        ledger: LedgerView,
        begin: Callable[[str], OnProgress],
        *,
        seed: int,
    ) -> None:
        self._stack = stack
        self._kafka = stack.kafka_settings
        self._codec = codec
        self._ledger = ledger
        self._begin = begin
        self._seed = seed

    def run(self, export: Path, rows: int, killer: Killer | None) -> ScenarioResult:
        """Run the whole scenario; ``killer`` kills workers meanwhile."""
        wait_until(
            lambda: len(self._brands().load()) == len((ACTIVE, LOADING)), "the brands are known"
        )
        wait_until(self._is_key_known, "the intake knows the key")
        truth = self.write_export(export, rows)
        asked = self.ask()
        with Subscriber(access_of(self._kafka)) as subscriber, killer or nullcontext():
            imported = self.import_export(export)
            accepted = self.sign_up()
            self.settle()
            pushed, pulled = self.opt_out(subscriber)
            if killer is not None:
                self._survive(killer)
            received = subscriber.received
        self.settle()
        return ScenarioResult(
            truth=truth,
            imported=imported,
            signups=accepted,
            asked=asked,
            pushed=pushed,
            pulled=pulled,
            received=received,
            kills=() if killer is None else tuple(killer.kills),
        )

    def _is_key_known(self) -> bool:
        """Whether the intake knows the stack's key: it then finds that nothing was posted."""
        try:
            answer = httpx.post(self._intake_url, headers=self._authorization, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE

    @property
    def _intake_url(self) -> str:
        return f"{self._stack.url('intake')}/v1/consents"

    @property
    def _authorization(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._stack.api_key}"}

    def _brands(self) -> BrandReader:
        return BrandReader(access_of(self._kafka), self._codec)

    def _survive(self, killer: Killer) -> None:
        """Wait until each worker has been killed once and is up again."""
        stage = self._begin("each worker is killed, and up again")

        def killed() -> bool:
            stage(len(killer.kills), len(WORKERS))
            return len(killer.kills) == len(WORKERS)

        wait_until(killed, "each worker was killed once")
        wait_until(lambda: self._stack.is_up, "each worker is up again")

    def write_export(self, path: Path, rows: int) -> crm_export.ExportTruth:
        """Write the CRM export and return the expected results."""
        spec = crm_export.ExportSpec(
            rows=rows,
            seed=self._seed,
            now=utc_now().astimezone(TURKEY).replace(microsecond=0),
            active=ACTIVE,
            loading=LOADING,
        )
        return crm_export.write(path, spec)

    def import_export(self, path: Path) -> ImportReport:
        """Import the export as ``izin import`` does."""
        stage = self._begin("import the CRM export")

        def show(_step: str, rows: int, expected: int) -> None:
            stage(rows, expected)

        with KafkaPublisher(
            access_of(self._kafka), self._codec, clock=utc_now, linger=BULK_LINGER
        ) as publisher:
            how, brands = Import(origin="crm"), self._brands().load()
            return import_file(path, publisher, brands, clock=utc_now, how=how, progress=show)

    def sign_up(self) -> int:
        """Post the signups as a web form and a CRM do; return how many were accepted."""
        posts = signups(brand=ACTIVE, now=utc_now().astimezone(TURKEY), seed=self._seed)
        stage = self._begin("post the signups")
        with httpx.Client(trust_env=False) as client:
            for accepted, post in enumerate(posts, 1):
                self._post(client, post)
                stage(accepted, len(posts))
        return len(posts)

    def _post(self, client: httpx.Client, post: Signup) -> None:
        """Post one signup; while the intake is down, again under the same key, as the backend of a
        form does.
        """
        headers = {
            **self._authorization,
            "Content-Type": post.content_type,
            "Idempotency-Key": post.idempotency_key,
        }
        for _ in range(_RETRIES):
            try:
                answer = client.post(
                    self._intake_url, content=post.body, headers=headers, timeout=10
                )
            except httpx.TransportError:
                time.sleep(_RETRY_INTERVAL)  # until the intake is up again
                continue
            if answer.status_code == httpx.codes.ACCEPTED:
                return
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise StageFailedError(f"the intake refused a signup: {answer.text}")
            time.sleep(_RETRY_INTERVAL)  # until what it needs is up again
        raise StageFailedError(f"the intake did not accept a signup in {_RETRIES} tries")

    def ask(self) -> int:
        """Have İYS ask one person for consent, as a site does, and give back the code; return how
        many have consented so: one.
        """
        stage = self._begin("İYS asks for consent (ViA)")
        with (
            httpx.Client(
                base_url=f"{self._stack.url('api')}/v1",
                headers=self._authorization,
                timeout=30,
                trust_env=False,
            ) as api,
            SimulatorClient(self._stack.url("simulator")) as simulator,
        ):
            name = api.post("via", json=_ASKED).raise_for_status().json()["request"]

            def is_in(state: str) -> bool:
                return bool(api.get(f"via/{name}").json()["state"] == state)

            wait_until(lambda: is_in("asked"), "İYS has asked")
            api.post(f"via/{name}/code", json={"code": simulator.via_code()}).raise_for_status()
            wait_until(lambda: is_in("consented"), "they consent")
        stage(1, 1)
        return 1

    def settle(self) -> None:
        """Wait until everything lawful is registered at İYS."""
        ordering = self._begin("decide in lawful order")
        wait_until(lambda: self._ordered(ordering), "all is ordered")
        registering = self._begin("register at İYS")
        wait_until(lambda: self._registered(registering), "all is registered")

    def _ordered(self, stage: OnProgress) -> bool:
        events, behind = self._ledger.events(), self._ledger.behind()
        stage(events - behind, events)
        return behind == 0

    def _registered(self, stage: OnProgress) -> bool:
        lag, keys = self._ledger.lag(), self._ledger.keys()
        on_the_way = lag.in_flight + lag.awaiting_result + lag.unknown
        stage(keys - lag.to_send - lag.to_query - lag.waiting - on_the_way, keys)
        return lag.is_settled and self._ledger.behind() == 0

    def opt_out(
        self, subscriber: Subscriber
    ) -> tuple[Sequence[RegisterEntry], Sequence[RegisterEntry]]:
        """Let citizens opt out at İYS, which we learn half by push and half by pull; wait until the
        subscriber has received every one.
        """
        stage = self._begin("citizens opt out at İYS")
        with SimulatorClient(self._stack.url("simulator")) as client:
            chosen, others = self._choose(client)
            pulled, pushed = client.opt_out(others), list[RegisterEntry]()
            for number, one in enumerate(chosen, 1):
                pushed += client.opt_out([one])
                stage(number, len(chosen))
                time.sleep(_PUSH_INTERVAL)  # the pace of the citizens, not a wait
        receiving = self._begin("subscriber receives every opt-out")
        keys = {entry.key for entry in (*pushed, *pulled)}

        def received() -> bool:
            count = len(keys & subscriber.received.keys())
            receiving(count, len(keys))
            return count == len(keys)

        wait_until(received, "every opt-out is received")
        return pushed, pulled

    def _choose(self, client: SimulatorClient) -> list[list[RegisterEntry]]:
        """Return citizens who consented, of the brand that pushes and of the one that does not."""
        chance = random.Random(self._seed)
        onay = [entry for entry in client.register() if entry.status == "ONAY"]
        chosen = []
        for brand in (ACTIVE, LOADING):
            of_brand = sorted(
                (one for one in onay if one.address[0] == brand), key=lambda one: one.key
            )
            if len(of_brand) < CITIZENS // 2:
                raise StageFailedError(f"brand {brand} has {len(of_brand)} consents at İYS")
            chosen.append(chance.sample(of_brand, CITIZENS // 2))
        return chosen
