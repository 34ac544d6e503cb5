"""Real-time priority for a process that stands for another machine, where that is allowed.

İYS runs on other machines. Its simulator shares our cores and would wait for our processes some
milliseconds a request, which would count as latency of İYS.
"""

import os

from izin.runtime.logs import get_logger

_PRIORITY = 10

_log = get_logger(__name__)


def give_priority(pid: int) -> bool:
    """Run a process at real-time priority; return False where the system has none or forbids it."""
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(_PRIORITY))
    except (AttributeError, PermissionError):
        _log.warning("real-time priority refused", effect="it waits for the CPU with all others")
        return False
    return True
