"""Processes that stand for another machine go before ours for the CPU, where that is allowed.

What İYS does costs none of our cores. Its twin shares them, and waits behind our processes for some
milliseconds a request; that would be charged to us as İYS's slowness.
"""

from __future__ import annotations

import os

from izin.runtime.observe import get_logger

_PRIORITY = 10

_log = get_logger(__name__)


def put_elsewhere(pid: int) -> bool:
    """Run a process at real-time priority; False where the system has none or forbids it."""
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(_PRIORITY))
    except (AttributeError, PermissionError):
        _log.warning("the simulator waits for the CPU like others: figures are worse by that")
        return False
    return True
