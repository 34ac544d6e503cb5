"""The story: a CRM export, signups, İYS, citizens who say no; then everything compared.

Each step ends by an effect that can be seen, never by a pause. What is killed meanwhile (see
``chaos``) comes back, and the story goes on.
"""

from __future__ import annotations

import random
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx

from izin.console.local_stack.stack import ACTIVE, LOADING
from izin.demo import generate, signups
from izin.demo.chaos import WORKERS
from izin.demo.progress import WentWrongError, wait_until
from izin.demo.simulator_client import Twin
from izin.demo.subscriber import Subscriber
from izin.producers.brands import BrandReader
from izin.producers.files import Import, ImportReport, import_file
from izin.producers.publish import BULK_LINGER, Publisher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from izin.console.local_stack.stack import LocalStack
    from izin.demo.chaos import Killer
    from izin.demo.ledger import LedgerView
    from izin.demo.progress import Bar, Stages
    from izin.demo.report import Chaos
    from izin.demo.simulator_client import Held
    from izin.producers.files import Progress
    from izin.schemas.codec import Codec

SIGNUPS = 200
CITIZENS = 1000
TURKEY = generate.TURKEY

_PATIENCE = timedelta(seconds=200)
_RETRIES = 60
_BETWEEN_RETRIES = 0.25
_BETWEEN_PUSHES = 0.02
"""Some forty citizens a second, as after a campaign; a thousand times a brand's ordinary day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A citizen who said no at İYS."""

    key: str
    occurred_at: int
    """Epoch milliseconds."""
    by_push: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What happened, as far as it is not to be read from topics, ledger and İYS."""

    truth: generate.Truth
    imported: ImportReport
    signups: int
    rejections: Sequence[Rejection]
    heard: Mapping[str, int]
    """By key: when the subscriber heard its first "no", epoch milliseconds."""
    killed: Sequence[Chaos]


def utc_now() -> datetime:
    """Return the instant it is now."""
    return datetime.now(UTC)


class Story:
    """One run of the demo in a house that is up."""

    def __init__(
        self, house: LocalStack, codec: Codec, ledger: LedgerView, stages: Stages, *, seed: int
    ) -> None:
        self._house = house
        self._kafka = house.kafka_settings
        self._codec = codec
        self._ledger = ledger
        self._stages = stages
        self._seed = seed

    def play(self, export: Path, rows: int, killer: Killer | None) -> Played:
        """Play the whole story; ``killer`` disturbs it."""
        self._set_up_brands()
        truth = self.write_export(export, rows)
        with Subscriber(self._kafka) as subscriber, killer or nullcontext():
            imported = self.import_export(export)
            accepted = self.sign_up()
            self.settle()
            rejections = self.reject(subscriber)
            if killer is not None:
                self._survive(killer)
            heard = subscriber.heard
        self.settle()
        return Played(
            truth=truth,
            imported=imported,
            signups=accepted,
            rejections=rejections,
            heard=heard,
            killed=() if killer is None else tuple(killer.killed),
        )

    def _survive(self, killer: Killer) -> None:
        """Wait until each worker has been killed once, and each has come back by itself."""
        with self._stages.begin("each worker is killed, and back") as stage:

            def killed() -> bool:
                stage.show(len(killer.killed), len(WORKERS))
                return len(killer.killed) == len(WORKERS)

            wait_until(killed, within=_PATIENCE, what="each worker was killed once")
            wait_until(lambda: self._house.is_up, within=_PATIENCE, what="each worker is back")

    def _set_up_brands(self) -> None:
        """Wait until both brands, which the house wrote to the ledger, are known by the topic."""

        def known() -> bool:
            return len(BrandReader(self._kafka, self._codec).load()) == len((ACTIVE, LOADING))

        wait_until(known, within=_PATIENCE, what="the brands are known")

    def write_export(self, path: Path, rows: int) -> generate.Truth:
        """Write the CRM export and return the truth about it."""
        plan = generate.Plan(
            rows=rows,
            seed=self._seed,
            now=utc_now().astimezone(TURKEY).replace(microsecond=0),
            active=ACTIVE,
            loading=LOADING,
        )
        return generate.write(path, plan)

    def import_export(self, path: Path) -> ImportReport:
        """Import the export as ``izin import`` does."""
        with self._stages.begin("import the CRM export") as stage:

            def show(done: Progress) -> None:
                stage.show(done.position, done.size)

            brands = BrandReader(self._kafka, self._codec).load()
            with Publisher(
                self._kafka, self._codec, clock=utc_now, linger=BULK_LINGER
            ) as publisher:
                return import_file(
                    path, publisher, brands, clock=utc_now, how=Import(origin="crm"), progress=show
                )

    def sign_up(self) -> int:
        """Post the signups as a web form and a CRM do; return how many were accepted."""
        posts = signups.signups(brand=ACTIVE, now=utc_now().astimezone(TURKEY), seed=self._seed)
        with (
            self._stages.begin("post the signups") as stage,
            httpx.Client(trust_env=False) as client,
        ):
            accepted = 0
            for post in posts:
                self._post(client, post)
                accepted += 1
                stage.show(accepted, len(posts))
        return accepted

    def _post(self, client: httpx.Client, post: signups.Signup) -> None:
        """Post one signup, again under the same key while the intake is away, as a form's back end
        does.
        """
        headers = {
            "Authorization": f"Bearer {self._house.intake_token}",
            "Content-Type": post.content_type,
            "Idempotency-Key": post.idempotency_key,
        }
        url = f"{self._house.intake_url}/v1/consents"
        for _ in range(_RETRIES):
            try:
                answer = client.post(url, content=post.body, headers=headers, timeout=10)
            except httpx.TransportError:
                time.sleep(_BETWEEN_RETRIES)
                continue
            if answer.status_code == httpx.codes.ACCEPTED:
                return
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise WentWrongError(f"the intake refused a signup: {answer.text}")
            time.sleep(_BETWEEN_RETRIES)
        raise WentWrongError(f"the intake did not take a signup in {_RETRIES} tries")

    def settle(self) -> None:
        """Wait until everything lawful is registered at İYS."""
        with self._stages.begin("put in lawful order") as stage:
            wait_until(lambda: self._ordered(stage), within=_PATIENCE, what="all is ordered")
        with self._stages.begin("register at İYS") as stage:
            wait_until(lambda: self._registered(stage), within=_PATIENCE, what="all is registered")

    def _ordered(self, stage: Bar) -> bool:
        events, behind = self._ledger.events(), self._ledger.behind()
        stage.show(events - behind, events)
        return behind == 0

    def _registered(self, stage: Bar) -> bool:
        lag, keys = self._ledger.lag(), self._ledger.keys()
        on_the_way = lag.in_flight + lag.awaiting_result + lag.unknown
        stage.show(keys - lag.to_tell - lag.to_ask - lag.waiting - on_the_way, keys)
        return lag.is_settled and self._ledger.behind() == 0

    def reject(self, subscriber: Subscriber) -> Sequence[Rejection]:
        """Let citizens reject at İYS, half heard by push and half by pull; wait until all are
        heard.
        """
        with Twin(self._house.simulator_url) as twin:
            pushed, pulled = self._choose(twin)
            with self._stages.begin("citizens reject at İYS") as stage:
                rejections = [
                    *(_rejection(one, by_push=False) for one in twin.reject(pulled)),
                    *self._reject_one_by_one(twin, pushed, stage),
                ]
        with self._stages.begin("subscriber hears every rejection") as stage:
            wanted = {one.key for one in rejections}

            def heard() -> bool:
                count = len(wanted & subscriber.heard.keys())
                stage.show(count, len(wanted))
                return count == len(wanted)

            wait_until(heard, within=_PATIENCE, what="every rejection is heard")
        return rejections

    def _choose(self, twin: Twin) -> tuple[list[Held], list[Held]]:
        """Return citizens of either brand who consented."""
        chance = random.Random(self._seed)  # a story, not a secret
        onay = [one for one in twin.register() if one.status == "ONAY"]
        half = CITIZENS // 2
        chosen = []
        for brand in (ACTIVE, LOADING):
            of_brand = sorted((one for one in onay if one.address[0] == brand), key=_by_key)
            if len(of_brand) < half:
                raise WentWrongError(f"brand {brand} has {len(of_brand)} consents at İYS")
            chosen.append(chance.sample(of_brand, half))
        return chosen[0], chosen[1]

    def _reject_one_by_one(self, twin: Twin, held: Sequence[Held], stage: Bar) -> list[Rejection]:
        rejections = []
        for number, one in enumerate(held, 1):
            rejections += [_rejection(noted, by_push=True) for noted in twin.reject([one])]
            stage.show(number, len(held))
            time.sleep(_BETWEEN_PUSHES)
        return rejections


def delays(
    rejections: Sequence[Rejection], heard: Mapping[str, int]
) -> tuple[list[int], list[int]]:
    """Return the milliseconds from each act to the subscriber: by push, and by pull."""
    found: tuple[list[int], list[int]] = ([], [])
    for one in rejections:
        if one.key in heard:
            found[0 if one.by_push else 1].append(heard[one.key] - one.occurred_at)
    return found


def _by_key(held: Held) -> str:
    return held.key


def _rejection(held: Held, *, by_push: bool) -> Rejection:
    return Rejection(key=held.key, occurred_at=held.occurred_at, by_push=by_push)
