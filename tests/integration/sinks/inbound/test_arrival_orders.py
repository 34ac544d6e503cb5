"""Whatever arrives first, the last act of a recipient decides: the citizen's at İYS, or ours.

An opt-out never overrides a later consent and is never overridden by an earlier one, by push, pull,
daily file and our own submissions, through admission, order, ledger and the simulator.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import count, groupby
from operator import attrgetter
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from izin.consent import ConsentEvent
from izin.iys.wire_format import IysMovement, JsonReader, Stream, from_turkish
from izin.ledger.record import event_of
from izin.ledger.unit_of_work import lock
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.movements import ReportedMovements
from tests.integration.sinks.sink_harness import (
    A_MINUTE,
    A_SECOND,
    ACTIVE,
    InMemoryTopic,
    SinkHarness,
    a_phone,
)
from tests.support.builders import BRAND, an_event
from tests.support.simulator import a_change

pytestmark = pytest.mark.database

KEYS = 20
EXAMPLES = 2
ROUNDS = 8
"""In so many quarters of an hour the sink has done all it has to do."""
_MARKS = count(1)
"""Each example has recipients of its own in the ledger that all share."""


class Actor(StrEnum):
    """Who acts, and how the act reaches us."""

    CITIZEN = "citizen"
    LINE_CLOSED = "line closed"
    """An opt-out that İYS dates as the consent before it."""
    OURS = "ours"


class Path(StrEnum):
    """A way in for an act, or what the sink does meanwhile."""

    PUSH = "push"
    DAILY = "daily"
    OURS = "ours"
    PULL = "pull"
    SUBMIT = "submit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act of a recipient; ``recipient`` and ``at`` are known once it was done."""

    actor: Actor
    status: str
    recipient: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One act on one way in, or something that concerns all."""

    path: Path
    act: Act | None = None


ACTS = st.one_of(
    st.builds(Act, actor=st.just(Actor.CITIZEN), status=st.sampled_from(["ONAY", "RET"])),
    st.builds(Act, actor=st.just(Actor.LINE_CLOSED), status=st.just("RET")),
    st.builds(Act, actor=st.just(Actor.OURS), status=st.sampled_from(["ONAY", "ONAY", "RET"])),
)
PLANS = st.lists(st.lists(ACTS, min_size=1, max_size=4), min_size=KEYS, max_size=KEYS)


@dataclass(kw_only=True)
class World:
    """What was done, and what of it has reached us."""

    harness: SinkHarness
    done: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    known: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    observed: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    """Of what was done at İYS: what İYS itself has shown since."""
    relayed: set[str] = field(default_factory=set)
    """What the sink has published, and was decided."""
    movements: dict[tuple[str, datetime], IysMovement] = field(default_factory=dict)

    async def live(self, plan: Sequence[Sequence[Act]], mark: int) -> None:
        """Have all recipients do what they do, a minute after one another; nothing reaches us."""
        harness = self.harness
        for place in range(max(map(len, plan))):
            harness.start_second()
            harness.advance(A_MINUTE)
            now, changes = harness.clock().replace(microsecond=0), []
            for number, acts in enumerate(plan):
                if place >= len(acts):
                    continue
                recipient = a_phone(mark * KEYS + number)
                source = {Actor.LINE_CLOSED: "IYS_AHS_HAT_KAPATMA"}.get(acts[place].actor)
                if acts[place].actor is not Actor.OURS:
                    more = {} if source is None else {"source": source}
                    changes.append(a_change(acts[place].status, recipient, **more))
                act = Act(
                    actor=acts[place].actor, status=acts[place].status, recipient=recipient, at=now
                )
                self.done[recipient].append(act)
            if changes:
                harness.iys.post("citizen", movements=changes)
        for row in harness.iys.rows("movements"):
            if row["recipient"] in self.done:
                read = IysMovement.read(JsonReader(row))
                self.movements[read.recipient, from_turkish(row["creationDate"])] = read

    async def take(self, path: Path, acts: Sequence[Act]) -> None:
        """Have acts reach us by ``path``, or do what it says."""
        harness = self.harness
        match path:
            case Path.PULL:
                await harness.ingest(*await harness.pull())
                for acts_of in self.done.values():
                    shown = [one for one in acts_of if one.actor is not Actor.OURS]
                    self._learn(shown)
                    self._observe(shown)
            case Path.SUBMIT:
                await harness.opt_out()
                await harness.bulk()
            case Path.OURS:
                await harness.ingest(*map(_event_of_ours, acts))
            case Path.PUSH:
                at = harness.clock()
                made = partial(event_of, brand=ACTIVE, stream=Stream.IYS, path="push", at=at)
                # An act that was pushed twice, as İYS may.
                await harness.ingest(*map(made, self._movements(acts)), made(self._first(acts)))
            case Path.DAILY:
                await self._report(acts)
                self._observe(acts)
        self._learn(acts)

    def _first(self, acts: Sequence[Act]) -> IysMovement:
        return next(self._movements(acts))

    def _movements(self, acts: Iterable[Act]) -> Iterable[IysMovement]:
        return (self._movement(one) for one in acts)

    def _movement(self, act: Act) -> IysMovement:
        """Return the movement of an act at İYS, whose clock may have gone on by a second."""
        at = act.at
        assert at is not None
        return next(
            found
            for late in range(5)
            if (found := self.movements.get((act.recipient, at + late * A_SECOND)))
        )

    async def _report(self, acts: Sequence[Act]) -> None:
        """Have the daily file report acts, and ingest the decisions on them."""
        harness, topic = self.harness, InMemoryTopic()
        reported = ReportedMovements(
            context=harness.context,
            publisher=topic,  # type: ignore[arg-type]  # keeps what it would publish
            path="daily",
        )
        seen = await reported.publish(ACTIVE, Stream.IYS, [*self._movements(acts)])
        async with harness.ledger.transaction() as connection:
            await reported.record(connection, ACTIVE, seen, now=harness.clock())
        await harness.ingest(
            *(
                event_from_avro(harness.codec.decode("ConsentEvent", one.value))
                for one in topic.messages
            )
        )

    def _learn(self, acts: Iterable[Act]) -> None:
        for act in acts:
            if act not in self.known[act.recipient]:
                self.known[act.recipient].append(act)

    def _observe(self, acts: Iterable[Act]) -> None:
        for act in acts:
            self.observed[act.recipient].append(act)

    async def check(self) -> None:
        """Fail where messages may be sent though the latest known act is an opt-out, and where an
        earlier act at İYS has taken the place of the latest that İYS has shown.
        """
        rows = await self.harness.ledger.fetch(
            "SELECT recipient, may_send, registered, registered_at FROM consents"
            " WHERE recipient = ANY(%(known)s)",
            {"known": list(self.known)},
        )
        for row in rows:
            known = sorted(self.known[row["recipient"]], key=attrgetter("at"))
            if known and row["may_send"]:
                assert known[-1].status == "ONAY", known
            observed = sorted(self.observed[row["recipient"]], key=attrgetter("at"))
            if observed and row["registered_at"] == self._movement(observed[-1]).creation_date:
                assert row["registered"] == observed[-1].status, observed

    async def settle(self) -> None:
        """Have the sink do all that it has to do, a quarter of an hour later."""
        harness = self.harness
        harness.advance(A_MINUTE * 15)
        await self.take(Path.PULL, ())
        await self.take(Path.SUBMIT, ())
        await harness.settle()
        await harness.query()
        # What the sink itself publishes: an opt-out anew where İYS has an older opt-in of ours.
        own = [one for one in await harness.published() if one.event_id not in self.relayed]
        self.relayed |= {one.event_id for one in own}
        await harness.ingest(*own)

    async def differences(self) -> list[str]:
        """Return where ledger or register are not as the last act of a recipient was."""
        register, wrong = self.harness.iys.register(), []
        keys = [f"{BRAND}/MESAJ/BIREYSEL/{one}" for one in self.done]
        async with self.harness.ledger.transaction() as connection:
            rows = await lock(connection, keys)
        for recipient, acts in self.done.items():
            last = max(acts, key=attrgetter("at"))
            row = rows[f"{BRAND}/MESAJ/BIREYSEL/{recipient}"]
            at_iys = register.get(recipient)
            is_onay = last.status == "ONAY"
            is_right = (row.desired_status, row.may_send) == (last.status, is_onay)
            is_known = at_iys in {None, row.registered}
            if not (is_right and is_known) or (at_iys == "ONAY") is not is_onay:
                done = ", ".join(f"{one.actor} {one.status}" for one in acts)
                state = f"{row.desired_status}, {row.state} {row.reason}, {row.registered}"
                wrong.append(f"{done}: {state}, at İYS {at_iys}")
        return wrong


def _event_of_ours(act: Act) -> ConsentEvent:
    at = act.at
    assert at is not None
    return an_event(
        event_id=f"ours-{act.recipient}-{at.timestamp()}",
        recipient=act.recipient,
        status=act.status,
        consent_date=at,
        received_at=at + timedelta(seconds=1),
        notice_version="1",
    )


def steps_of(acts: Iterable[Act], random: Random) -> list[Step]:
    """Return on which ways acts arrive, in any order; pulls and submissions are between them."""
    steps = [Step(path=path) for path in (Path.PULL, Path.SUBMIT, Path.SUBMIT)]
    for act in acts:
        if act.actor is Actor.OURS:
            steps.append(Step(path=Path.OURS, act=act))
            continue
        ways = random.sample([Path.PUSH, Path.DAILY], random.randrange(3))
        steps += [Step(path=way, act=act) for way in ways]
    random.shuffle(steps)
    return steps


async def play(harness: SinkHarness, plan: Sequence[Sequence[Act]], random: Random) -> None:
    """Have everything happen, then arrive in an order of ``random``; check all the time."""
    world = World(harness=harness)
    await world.live(plan, next(_MARKS))
    steps = steps_of([act for acts in world.done.values() for act in acts], random)
    for path, some in groupby(steps, key=attrgetter("path")):
        await world.take(path, [step.act for step in some if step.act is not None])
        await world.check()
    for _ in range(ROUNDS):
        await world.settle()
        await world.check()
        wrong = await world.differences()
        if not wrong:
            return
    assert not wrong


async def test_last_act_decides_in_any_order_of_arrival(harness: SinkHarness):
    """Twenty recipients an example; those of an earlier one stay beside them."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )
    @given(PLANS, st.integers(0, 2**32))
    def check(plan: list[list[Act]], seed: int) -> None:
        played = asyncio.run_coroutine_threadsafe(play(harness, plan, Random(seed)), loop)
        played.result(timeout=60)

    await asyncio.to_thread(check)
