"""Real-time priority for a process that stands for another machine, where that is allowed.

What İYS does costs none of our cores. Its simulator shares them, and would wait behind our
processes for some milliseconds a request, which would count as İYS's slowness.
"""

import os

from izin.runtime.observe import get_logger

_PRIORITY = 10

_log = get_logger(__name__)


def give_priority(pid: int) -> bool:
    """Run a process at real-time priority; return False where the system has none or forbids it."""
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(_PRIORITY))
    except (AttributeError, PermissionError):
        _log.warning("real-time priority refused", effect="the simulator waits for the CPU")
        return False
    return True
