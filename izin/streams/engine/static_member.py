"""Tell the worker that came second under one ``IZIN_INSTANCE_ID``, and end it.

Under static membership whoever joins last replaces the member of its name: a worker that restarts
after a kill has its partitions back at once, though its former session has not ended. The broker
tells the one that was replaced, at its next heartbeat. If that one lives, it joins again, and two
workers of one name would replace each other each second, and each time acquire all partitions.

So who was replaced while its session was alive knows that another worker lives. The one that has
worked for longer stays: it joins again, as its client does, and alerts. The other one, replaced
twice within moments of its start, ends. A restart meets nobody, for the dead do not join again. One
that was frozen for longer than its session has lost its place, and counts as one that starts.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from izin.runtime.observe import get_logger
from izin.runtime.start_errors import EXIT

RELIES_ON = (
    "aiokafka.consumer.group_coordinator:GroupCoordinator._send_req",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat",
)
"""Wrapped here, or what it wraps; a test checks each."""

SESSION = 6.0
"""Seconds without a heartbeat after which the group gives a member up (``create_app``)."""
SETTLED_AFTER = 30.0
"""Seconds of work after which a worker is the one that stays."""
_TWICE = 2
"""Once may also be a coordinator that has forgotten a member."""
_UNKNOWN_MEMBER, _FENCED_INSTANCE = 25, 82
_REMEMBERED = 600.0

_log = get_logger(__name__)


class StaticMember:
    """One worker's membership under ``name``; ``note`` is called with each answer of the group's
    coordinator.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._name = name
        self._clock = clock
        self._end = end
        self._answered_at = self._begun_at = float("-inf")
        self._replaced_at = float("-inf")
        self._replaced = 0

    @property
    def is_contested(self) -> bool:
        """Whether another worker of this name was seen in the last ten minutes."""
        return self._clock() - self._replaced_at < _REMEMBERED

    def watch(self, coordinator: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        """Note the answers that aiokafka's ``coordinator`` gets from now on."""
        ask = coordinator._send_req  # noqa: SLF001  # no public way sees them

        async def send(request: Any) -> Any:  # noqa: ANN401  # the same
            response = await ask(request)
            code = getattr(response, "error_code", None)
            if code == _FENCED_INSTANCE:  # aiokafka does not know it: the member joins again
                response.error_code = _UNKNOWN_MEMBER
            self.note(code)
            return response

        coordinator._send_req = send  # noqa: SLF001  # the same

    def note(self, code: int | None) -> None:
        """Note the error code of an answer; 0: the member is known."""
        now = self._clock()
        has_session = now - self._answered_at <= SESSION
        if code == 0:
            if not has_session:
                self._begun_at, self._replaced = now, 0
            self._answered_at = now
        elif code in {_UNKNOWN_MEMBER, _FENCED_INSTANCE} and has_session:
            self._replaced_at = now
            self._replaced += 1
            is_second = now - self._begun_at < SETTLED_AFTER
            if is_second and self._replaced < _TWICE:
                return
            _log.critical(
                "instance id in use already" if is_second else "instance id in use twice",
                instance_id=self._name,
                effect="another order worker of this group has it; this one ends"
                if is_second
                else "this worker was here first and goes on; the other one is ended",
                remedy="give each order worker an IZIN_INSTANCE_ID of its own, or none",
            )
            if is_second:
                self._end(EXIT)
