"""What operators should know of brands although the gate works: old data of İYS, suspensions."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice

from izin.consent.model import Channel
from izin.gate.state import GateState
from izin.gate.verdicts import ACTIVE, is_iys_current
from izin.runtime.settings import GateSettings

_MOST = 20
"""Of each kind are named; the rest is counted."""
_SECOND = timedelta(seconds=1)


def iys_warnings(state: GateState, settings: GateSettings, now: datetime) -> Mapping[str, str]:
    """Return the channels of active brands for which İYS was not pulled for too long."""
    return _listed(_of_iys(state, settings, now), "iys of others")


def late_channels(state: GateState, now: datetime, most: timedelta) -> int:
    """Return for how many channels of active brands İYS was last pulled longer ago than ``most``,
    or never.
    """
    return sum(not is_iys_current(pulled_at, now, most) for _, _, pulled_at in _pulled(state))


def suspensions(state: GateState) -> Mapping[str, str]:
    """Return the brands for which an operator has suspended the messages, each with the reason."""
    found = (
        (f"brand {code}", f"suspended: {one.suspension}")
        for code, one in sorted(state.brands().items())
        if one.suspension is not None
    )
    return _listed(found, "other brands")


def _of_iys(state: GateState, settings: GateSettings, now: datetime) -> Iterator[tuple[str, str]]:
    for code, channel, pulled_at in _pulled(state):
        if is_iys_current(pulled_at, now, settings.iys_warns_after):
            continue
        is_closed = not is_iys_current(pulled_at, now, settings.iys_closes_after)
        text = (
            "never pulled"
            if pulled_at is None
            else f"last pulled {(now - pulled_at) // _SECOND} s ago"
        )
        yield f"iys {code}/{channel}", f"{text}; stale" if is_closed else text


def _pulled(state: GateState) -> Iterator[tuple[int, Channel, datetime | None]]:
    for code, brand in sorted(state.brands().items()):
        if brand.status == ACTIVE:
            for channel in Channel:
                yield code, channel, state.iys_pulled_at(code, channel)


def _listed(found: Iterator[tuple[str, str]], rest: str) -> Mapping[str, str]:
    named = dict(islice(found, _MOST))
    count = sum(1 for _ in found)
    return {**named, rest: f"{count} more"} if count else named
