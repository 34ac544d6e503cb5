"""İYS for tests: its codes, and what a client needs beside the ledger: a pacer, a token store.

The arithmetic of slots as a pure function, with which the ledger's ``take_slot`` is compared.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from izin.iys.rate_limit import SLOTS, CallClass, Pace, Slot
from izin.iys.tokens import TokenLease, TokenState

CORE_CODES = re.findall(
    r"H\d{3}",
    """
    H001 H014 H015 H016 H017 H018 H031 H058 H060 H061 H062 H067 H082 H083 H084 H085 H086 H089
    H090 H091 H092 H093 H095 H097 H098 H100 H101 H102 H103 H105 H106 H107 H110 H111 H112 H113
    H114 H115 H116 H117 H118 H119 H120 H121 H122 H123 H124 H125 H126 H127 H129 H155 H156 H157
    H158 H160 H162 H163 H164 H166 H168 H169 H170 H171 H172 H173 H174 H175 H176 H178 H179 H180
    H181 H182 H183 H184 H185 H186 H187 H190 H191 H192 H193 H194 H195 H196 H197 H198 H199 H201
    H214 H215 H216 H217 H218 H219 H220 H221 H222 H224 H225 H226 H227 H228 H229 H230 H231 H241
    H243 H244 H245 H250 H251 H252 H253 H266 H267 H268 H288 H351 H353 H355 H363 H400 H401 H402
    H403 H404 H405 H408 H412 H437 H450 H452 H453 H454 H455 H456 H459 H460 H462 H463 H464 H465
    H467 H470 H476 H478 H486 H501 H502 H506 H507 H512 H520 H521 H522 H524 H525 H530 H531 H568
    H586
    """,
)
"""The core API's, H0xx to H5xx (version 3.2.0): its table of codes merged with all its examples."""

OF_A_RECORD = re.findall(
    r"H\d{3}",
    """
    H014 H085 H091 H092 H110 H111 H112 H113 H114 H115 H116 H117 H118 H119 H120 H121 H122 H125 H126
    H155 H156 H157 H158 H160 H162 H163 H166 H170 H174 H175 H178 H180 H194 H267 H408 H462 H463 H464
    H467 H486 H525
    """,
)
"""What a record, alone or in a batch, can be refused for because of its content."""

NOT_A_VIOLATION = {
    "H014": "our client writes the body, never a person",
    "H085": "our client writes the body, never a person",
    "H092": "our client writes the body, never a person",
    "H091": "a batch has at most 1000 records",
    "H125": "a batch has at most 1000 records",
    "H166": "the same bound in queries: H160 has refused the number before",
    "H170": "an empty recipient type is BIREYSEL, so every query carries one",
    "H174": "the obligation's table: a RET that İYS holds is settled, and not sent",
    "H175": "the obligation's table: where İYS holds nothing, nothing is withdrawn",
    "H178": "the order of the law; and İYS's answer is read back and compared",
    "H180": "İYS alone knows a brand's retailers: its answer parks the record",
    "H194": "a batch has one record of a key",
    "H267": "a retailer code is a number or absent in our contract, never an empty text",
    "H462": "the obligation's table: a merchant's update without a date is parked",
    "H463": "the obligation's table: a merchant's update without a source is parked",
    "H467": "the clocks: it depends on the brand's activation and on the day of the submission",
    "H486": "the obligation's table: as H175, for HS_KARAR",
    "H525": "İYS alone counts the quota: its answer suspends new consents",
}
"""Why a code of a record cannot happen, or where it is handled, if no violation has it."""


class RecordingPacer:
    """A pacer that grants every slot at once and records the calls."""

    def __init__(self) -> None:
        self.classes: list[CallClass] = []
        self.answers: list[tuple[str, str, bool]] = []
        self.throttles = 0
        self.noted: list[tuple[str, int]] = []
        """Which slots were waited for, which of their calls have left, and which have arrived."""
        self.over: set[int] = set()

    def numbers(self, what: str) -> list[int]:
        """Return the slots of which this was noted."""
        return [number for noted, number in self.noted if noted == what]

    async def wait(self, call_class: CallClass, _operation: str) -> Slot:
        """Grant a slot."""
        self.classes.append(call_class)
        return Slot(number=len(self.classes), at=0.0, opens_at=0.0)

    async def until(self, slot: Slot) -> None:
        """Note it, and do not wait."""
        self.noted.append(("until", slot.number))

    def is_over(self, slot: Slot) -> bool:
        """Whether a test says so."""
        return slot.number in self.over

    def left(self, slot: Slot) -> Slot:
        """Note it."""
        self.noted.append(("left", slot.number))
        return slot

    def arrived(self, slot: Slot) -> None:
        """Note it."""
        self.noted.append(("arrived", slot.number))

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Note it."""
        self.answers.append((operation, code, failed))

    async def throttled(self) -> None:
        """Count it."""
        self.throttles += 1


class InMemoryTokenStore:
    """The store of a single process, and of tests."""

    def __init__(self, state: TokenState | None = None) -> None:
        self.state = state or TokenState()
        self._lock = asyncio.Lock()

    async def read(self) -> TokenState:
        """Return the state."""
        return self.state

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[TokenLease]:
        """Hold the lock."""
        async with self._lock:
            yield TokenLease(self.state, self._store)

    async def _store(self, state: TokenState) -> None:
        self.state = state


class Use(NamedTuple):
    """The use of a slot, and by when it has certainly arrived: -inf for a slot given back."""

    number: int
    arrived_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceState:
    """The state of an address: its next free slot, and the fraction of the full pace it uses."""

    free_at: float = 0.0
    factor: float = 1.0
    number: int = 0
    """Of the last slot."""
    uses: tuple[Use, ...] = (Use(0, -inf),) * SLOTS
    """The last ``SLOTS`` uses by arrival, unordered."""

    def replaced(self, number: int, use: Use) -> tuple[Use, ...]:
        """Return the uses with ``use`` in place of that of slot ``number``."""
        return tuple(use if one.number == number else one for one in self.uses)

    @property
    def first(self) -> Use:
        """The use that arrived first."""
        return min(self.uses, key=lambda use: use.arrived_at)


def next_slot(pace: Pace, state: PaceState, now: float) -> tuple[PaceState, Slot]:
    """Return the state after granting the next slot, and that slot.

    The new use replaces the one that arrived first, so at most nine others can lie within a span of
    the new arrival, in whatever order they arrived.
    """
    number, first = state.number + 1, state.first
    at = max(state.free_at, now, first.arrived_at + pace.span)
    slot = Slot(number=number, at=at, opens_at=at)
    place = state.uses.index(first)
    use = Use(number, pace.arrived_at(slot))
    taken = PaceState(
        free_at=max(state.free_at + pace.interval / state.factor, at),
        factor=min(1.0, state.factor + pace.recovery),
        number=number,
        uses=(*state.uses[:place], use, *state.uses[place + 1 :]),
    )
    return taken, slot


def arrived(state: PaceState, number: int, at: float = -inf) -> PaceState:
    """Return the state with the arrival of the use of a slot; by default it was not used.

    A use that arrives later than certain, after another has replaced it, still is one of the last
    ten: it replaces the one that arrived first.
    """
    use, first = Use(number, at), state.first
    if all(one.number != number for one in state.uses) and first.arrived_at < at:
        number = first.number
    return replace(state, uses=state.replaced(number, use))
