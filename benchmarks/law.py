"""What the law costs: to admit and decide a canonical event, beside a plain dict update.

The bar is 6 µs an event on average. The dict is what the simplest program would do instead, the
last event of a key wins, and says how fast the machine is.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from benchmarks.cpu_timing import race
from benchmarks.events import BEGAN, canonical_events
from izin.consent.admission import admit
from izin.consent.model import Claim
from izin.consent.ordering import decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cpu_timing import Lap
    from izin.consent.model import Consent, ConsentEvent

ADMIT_AND_DECIDE = "admit and decide"
DICT_UPDATE = "dict update"


def law(*, events: int = 200_000, laps: int = 5, seed: int = 2026) -> Sequence[Lap]:
    """Race the law against a dict over ``events`` events; four of them a recipient."""
    course = canonical_events(events, keys=max(1, events // 4), rng=Random(seed))
    # Keys come with their records, as Kafka brings them.
    keys = [event.recipient.encode() for event in course]
    appended_at = BEGAN + timedelta(seconds=events + 1)

    def admit_and_decide() -> Mapping[bytes, Consent]:
        state: dict[bytes, Consent] = {}
        for key, event in zip(keys, course, strict=True):
            claim = admit(event, appended_at=appended_at)
            if isinstance(claim, Claim):
                current = state.get(key)
                decision = decide(current, claim)
                if decision.consent is not current:
                    state[key] = decision.consent
        return state

    def admit_only() -> None:
        for event in course:
            admit(event, appended_at=appended_at)

    def dict_update() -> Mapping[bytes, ConsentEvent]:
        state: dict[bytes, ConsentEvent] = {}
        for key, event in zip(keys, course, strict=True):
            state[key] = event  # noqa: PERF403  # an update an event, as a stream makes it
        return state

    return race(
        {ADMIT_AND_DECIDE: admit_and_decide, "admit": admit_only, DICT_UPDATE: dict_update},
        steps=events,
        laps=laps,
    )
