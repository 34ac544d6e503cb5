"""When İYS may be asked for a token (reference section 1.2): pure, the instant is an argument.

İYS counts ten calls an hour from an address (its own papers also say a hundred: the lesser is
safe). Over that it answers H084, and a call within the hour after starts the hour anew. A refused
or lost call counts like any other, so calls that bring no token come ever more slowly, lest an
outage of minutes cost the budget of an hour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from izin.iys.wire_format.error_envelope import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from izin.iys.tokens.token_store import AccessToken, TokenState


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """When İYS may be asked for a token. Pure: the instant is an argument."""

    calls_per_hour: int = 10
    early: timedelta = timedelta(minutes=5)
    silence: timedelta = HOUR + timedelta(minutes=1)
    """After H084; the minute is for clocks that differ."""
    at_once: int = 2
    """Failures before calls slow down: a refresh, then the password."""
    first_wait: timedelta = timedelta(seconds=20)
    longest_wait: timedelta = timedelta(minutes=10)

    def is_fresh(self, token: AccessToken, now: datetime) -> bool:
        """Return whether ``token`` needs no renewal yet; a short-lived one is used for its half."""
        lifetime = token.expires_at - token.issued_at
        return now < token.expires_at - min(self.early, lifetime / 2)

    def accounts(self, lifetime: timedelta) -> int:
        """Return of how many accounts an address can renew the tokens in time."""
        return int(self.calls_per_hour * ((lifetime - self.early) / HOUR))

    def wait(self, state: TokenState, now: datetime) -> timedelta:
        """Return for how long no call may be made; zero if one may be made now."""
        return max(self._waits(state, now), default=timedelta(0))

    def _waits(self, state: TokenState, now: datetime) -> Iterator[timedelta]:
        if state.silent_until is not None and now < state.silent_until:
            yield state.silent_until - now
        recent = sorted(call for call in state.calls if now - call < HOUR)
        if len(recent) >= self.calls_per_hour:
            yield recent[-self.calls_per_hour] + HOUR - now
        if recent and state.failures >= self.at_once:
            doubled = self.first_wait * 2 ** min(state.failures - self.at_once, 16)
            ready_at = recent[-1] + min(self.longest_wait, doubled)
            if now < ready_at:
                yield ready_at - now

    def calling(self, state: TokenState, now: datetime) -> TokenState:
        """Return the state once a call is made: a failure, until the token comes."""
        recent = tuple(call for call in state.calls if now - call < HOUR)
        return replace(state, calls=(*recent, now), failures=state.failures + 1)

    def silenced(self, state: TokenState, now: datetime) -> TokenState:
        """Return the state after an H084."""
        return replace(state, silent_until=now + self.silence)
