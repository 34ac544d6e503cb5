"""How far the clock of this endpoint differs from the broker's, by the append times it reports.

The broker appended an event between the instants at which the endpoint sent it and got the
acknowledgement. So each event bounds the skew from both sides, by its round trip.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple

from izin.consent.admission import SKEW
from izin.runtime.observe import get_logger

TOLERATED = timedelta(seconds=1)
"""The skew beyond which there is a warning."""

_OBSERVATIONS = 16
_NONE = timedelta(0)

_log = get_logger(__name__)


class _Bounds(NamedTuple):
    least: timedelta
    most: timedelta


class ClockSkew:
    """The skew over the latest observations; positive where the endpoint's clock is ahead."""

    def __init__(self) -> None:
        self._observed: deque[_Bounds] = deque(maxlen=_OBSERVATIONS)
        self._is_beyond = False

    def observe(
        self, *, sent_at: datetime, acknowledged_at: datetime, appended_at: datetime
    ) -> None:
        """Take the instants of one event; warn where the skew leaves what is tolerated."""
        self._observed.append(_Bounds(sent_at - appended_at, acknowledged_at - appended_at))
        is_beyond = abs(self.proven) > TOLERATED
        if is_beyond and not self._is_beyond:
            _log.warning(
                "clock skew beyond the bound",
                seconds=self.proven.total_seconds(),
                bound=TOLERATED.total_seconds(),
            )
        self._is_beyond = is_beyond

    @property
    def proven(self) -> timedelta:
        """The skew as far as it is certain: 0 where round trips alone explain the difference."""
        if not self._observed:
            return _NONE
        least = max(one.least for one in self._observed)
        most = min(one.most for one in self._observed)
        return max(least, _NONE) if most >= _NONE else most

    @property
    def most(self) -> timedelta:
        """How far the clock may be ahead; before the first observation, as far as the law allows
        clocks to differ.
        """
        most = min((one.most for one in self._observed), default=SKEW)
        return max(most, _NONE)
