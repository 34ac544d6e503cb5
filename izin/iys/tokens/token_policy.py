"""When a token may be requested (reference section 1.2). Pure: the instant is an argument.

İYS accepts ten token requests an hour from an address (its documents also say a hundred; the lower
limit is safe). Over that it answers H084, and another request within the next hour restarts the
hour. A failed request counts like any other, so failing requests back off: an outage of minutes
must not use up the budget of an hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from izin.iys.tokens.token_store import AccessToken, TokenState
from izin.iys.wire_format.error_envelope import HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """When a token is renewed, and when it may be requested."""

    calls_per_hour: int = 10
    early: timedelta = timedelta(minutes=5)
    block: timedelta = HOUR + timedelta(minutes=1)
    """The pause after H084; the minute allows for clocks that differ."""
    at_once: int = 2
    """Failures before requests back off."""
    reserved: int = 3
    """Calls of an hour that are not spent on what was refused before: whoever corrects a password
    has them."""
    first_wait: timedelta = timedelta(seconds=20)
    longest_wait: timedelta = timedelta(minutes=10)

    def is_fresh(self, token: AccessToken, now: datetime) -> bool:
        """Whether ``token`` needs no renewal yet; a short-lived one does at half its lifetime."""
        lifetime = token.expires_at - token.issued_at
        return now < token.expires_at - min(self.early, lifetime / 2)

    def accounts(self, lifetime: timedelta) -> int:
        """Return for how many accounts an address can renew tokens in time."""
        return int(self.calls_per_hour * ((lifetime - self.early) / HOUR))

    def wait(self, state: TokenState, now: datetime) -> timedelta:
        """Return how long no token may be requested; zero if one may be requested now."""
        return max(self._waits(state, now), default=timedelta(0))

    def _waits(self, state: TokenState, now: datetime) -> Iterator[timedelta]:
        if state.blocked_until is not None and now < state.blocked_until:
            yield state.blocked_until - now
        recent = sorted(call for call in state.calls if now - call < HOUR)
        most = self.calls_per_hour
        if state.failures:
            most = max(1, most - self.reserved)
        if len(recent) >= most:
            yield recent[-most] + HOUR - now
        if recent and state.failures >= self.at_once:
            doubled = self.first_wait * 2 ** min(state.failures - self.at_once, 16)
            ready_at = recent[-1] + min(self.longest_wait, doubled)
            if now < ready_at:
                yield ready_at - now

    def calling(self, state: TokenState, now: datetime) -> TokenState:
        """Return the state after a request begins: a failure until its token arrives."""
        recent = tuple(call for call in state.calls if now - call < HOUR)
        return replace(state, calls=(*recent, now), failures=state.failures + 1)

    def blocked(self, state: TokenState, now: datetime) -> TokenState:
        """Return the state after an H084."""
        return replace(state, blocked_until=now + self.block)
