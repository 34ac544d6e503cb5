"""Bring İYS's access lists to what the latest events of consents name, in few calls.

A consent is submitted with its retailers; one that İYS holds already is not, so a difference is
parked for a person (:mod:`izin.ledger.retailers`). Here the person has the lists changed at İYS.

One call replaces the lists of a hundred consents by one list, or takes retailers from a hundred.
At no time has a list a retailer that it had not before and is not to have: nobody consented to
that. So consents that gain a retailer are grouped by their whole list, and those that only lose
some either so or by what they lose, whichever is fewer calls.

İYS carries a replacement out later and reports nothing. So each list is read back, and a difference
is settled where İYS shows the list that was wanted; what it does not show yet stays parked.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from izin.consent import Channel, ConsentKey, RecipientType
from izin.iys.errors import RefusedError
from izin.iys.retailer_calls import MAX_ACCESS, AccessGroup, RetailerCalls
from izin.ledger import brands, retailers
from izin.ledger.db import Ledger
from izin.ledger.reads import ParkedKey
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.retailers import RetailerDifference
from izin.runtime.plan import OnProgress, silent

_SETTLED_AT_ONCE = 50


class ListStep(StrEnum):
    """What a call does with the access lists of its consents."""

    REPLACE = "replace"
    REMOVE = "remove"
    ADD = "add"
    """To the list of one consent, where that is too long for a replacement."""


class ListChange(NamedTuple):
    """One call: what becomes of the lists of 100 consents at most."""

    kind: ListStep
    group: AccessGroup
    retailers: frozenset[int]
    keys: tuple[str, ...]


class _Wanted(NamedTuple):
    """A consent, the retailers that it is to have, and those that it has; None: not known."""

    key: str
    recipient: str
    target: frozenset[int]
    held: frozenset[int] | None

    @property
    def gains(self) -> bool:
        """Whether it may gain a retailer, so that it needs a call with its own list."""
        return self.held is None or not self.target <= self.held

    @property
    def lost(self) -> frozenset[int]:
        """The retailers that it is known to lose."""
        return (self.held or frozenset()) - self.target


def wanted_of(one: RetailerDifference) -> frozenset[int]:
    """Return the retailers that the latest event of a consent names."""
    return _codes(one.desired_code, one.desired_access) or frozenset()


def changes_for(differences: Iterable[RetailerDifference]) -> list[ListChange]:
    """Return the calls that bring İYS's lists to what is wanted, in their order: of one consent
    what it loses comes before what it gains.
    """
    kinds: dict[tuple[Channel, RecipientType], list[_Wanted]] = defaultdict(list)
    for one in sorted(differences, key=lambda each: each.key):
        key = ConsentKey.parse(one.key)
        held = _codes(one.registered_code, one.registered_access)
        wanted = _Wanted(one.key, key.recipient, wanted_of(one), held)
        kinds[key.channel, key.recipient_type].append(wanted)
    return [change for kind, some in kinds.items() for change in _changes(*kind, some)]


def _codes(code: int | None, access: Collection[int] | None) -> frozenset[int] | None:
    if code is None and access is None:
        return None
    return frozenset({*(access or ()), *(() if code is None else (code,))})


def _changes(
    channel: Channel, recipient_type: RecipientType, every: Sequence[_Wanted]
) -> Iterator[ListChange]:
    by_target: dict[frozenset[int], list[_Wanted]] = defaultdict(list)
    by_lost: dict[frozenset[int], list[_Wanted]] = defaultdict(list)
    gaining = [one for one in every if one.gains]
    long = [one for one in gaining if len(one.target) > MAX_ACCESS]
    for one in gaining:
        if len(one.target) <= MAX_ACCESS:
            by_target[one.target].append(one)
        elif one.lost:
            by_lost[one.lost].append(one)
    _place([one for one in every if one.lost and not one.gains], by_target, by_lost)
    steps = [
        *((ListStep.REPLACE, some, target) for target, some in by_target.items()),
        *(
            (ListStep.REMOVE, some, codes)
            for lost, some in by_lost.items()
            for codes in _parts(lost)
        ),
        *((kind, [one], codes) for one in long for kind, codes in _gained(one)),
    ]
    for kind, some, codes in steps:
        for start in range(0, len(some), MAX_ACCESS):
            part = some[start : start + MAX_ACCESS]
            group = AccessGroup(channel, recipient_type, tuple(one.recipient for one in part))
            yield ListChange(kind, group, frozenset(codes), tuple(one.key for one in part))


def _gained(one: _Wanted) -> Iterator[tuple[ListStep, Iterable[int]]]:
    """Yield how a list that is too long for a replacement is added to."""
    first, *more = _parts(one.target - (one.held or frozenset()))
    yield ListStep.REPLACE if one.held is None else ListStep.ADD, first
    for codes in more:
        yield ListStep.ADD, codes


def _place(
    losing: Iterable[_Wanted],
    by_target: dict[frozenset[int], list[_Wanted]],
    by_lost: dict[frozenset[int], list[_Wanted]],
) -> None:
    """Add each of ``losing`` where it costs the fewest calls: first to a call that is made anyway,
    and has room.
    """
    rest: list[_Wanted] = []
    for one in losing:
        if len(by_target.get(one.target, ())) % MAX_ACCESS:
            by_target[one.target].append(one)
        else:
            rest.append(one)
    is_short = all(len(one.target) <= MAX_ACCESS for one in rest)
    if is_short and _calls(one.target for one in rest) < _calls(one.lost for one in rest):
        for one in rest:
            by_target[one.target].append(one)
    else:
        for one in rest:
            by_lost[one.lost].append(one)


def _calls(codes: Iterable[frozenset[int]]) -> int:
    counts = Counter(codes).items()
    return sum(ceil(len(one) / MAX_ACCESS) * ceil(count / MAX_ACCESS) for one, count in counts)


def _parts(codes: Iterable[int]) -> list[list[int]]:
    ordered = sorted(codes)
    return [ordered[at : at + MAX_ACCESS] for at in range(0, len(ordered), MAX_ACCESS)]


def forecast(changes: Collection[ListChange], consents: int, *, rate: float) -> timedelta:
    """Return how long the calls take, and the reading back of each list, at ``rate`` calls a
    second.
    """
    return timedelta(seconds=(len(changes) + consents) / rate)


@dataclass(slots=True, kw_only=True)
class AccessWork:
    """Carries changes out. ``asked`` are the keys whose calls were accepted by an earlier run, each
    with the instant of its difference; ``on_asked`` is called with those that are added.
    """

    ledger: Ledger
    calls: RetailerCalls
    topic_messages: TopicMessages
    brand: Brand
    by: str
    asked: set[tuple[str, datetime]] = field(default_factory=set)
    on_asked: Callable[[Sequence[RetailerDifference]], None] = lambda _: None
    turn: Callable[[], Awaitable[object]]
    """Awaited before each call: opt-outs go first anyway, and bulk keeps most of the rest."""

    async def carry_out(
        self, differences: Sequence[RetailerDifference], on_progress: OnProgress = silent
    ) -> tuple[int, dict[str, str]]:
        """Have İYS change the lists, read each back, and settle those that are as wanted; return
        how many, and why each other key is left.

        Raises:
            CallError: İYS does not answer, or limits us; what was done is kept.
        """
        new = {one.key: one for one in differences if (one.key, one.since) not in self.asked}
        changes = changes_for(new.values())
        total = len(changes) + len(differences)
        open_calls = Counter(key for change in changes for key in change.keys)
        left: dict[str, str] = {}
        for done, change in enumerate(changes):
            on_progress(done, total)
            try:
                await self._call(change)
            except RefusedError as error:
                left |= dict.fromkeys(change.keys, f"İYS refuses it: {error}")
            open_calls.subtract(change.keys)
            self.on_asked(
                [new[key] for key in change.keys if not open_calls[key] and key not in left]
            )
        asked = [one for one in differences if one.key not in left]
        settled = 0
        for start in range(0, len(asked), _SETTLED_AT_ONCE):
            some = asked[start : start + _SETTLED_AT_ONCE]
            on_progress(len(changes) + start, total)
            shown = [one for one in some if await self._is_shown(one)]
            settled += await self._settle(shown)
            missing = {one.key for one in some} - {one.key for one in shown}
            left |= dict.fromkeys(missing, "İYS does not show it yet")
        on_progress(total, total)
        return settled, left

    async def _call(self, change: ListChange) -> None:
        call = {
            ListStep.REPLACE: self.calls.replace,
            ListStep.REMOVE: self.calls.remove,
            ListStep.ADD: self.calls.add,
        }[change.kind]
        await self.turn()
        await call(self.brand.path, change.group, change.retailers)

    async def _is_shown(self, one: RetailerDifference) -> bool:
        key = ConsentKey.parse(one.key)
        await self.turn()
        found = await self.calls.access(
            self.brand.path, key.channel, key.recipient_type, key.recipient
        )
        return found == wanted_of(one)

    async def _settle(self, shown: Sequence[RetailerDifference]) -> int:
        return await brands.requeue(
            self.ledger,
            self.topic_messages,
            self.brand.brand_code,
            [ParkedKey(one.key, one.event_id, one.since) for one in shown],
            reason=retailers.DIFFERENCE,
            whole=False,
            by=self.by,
            now=self.ledger.clock.now(),
        )
