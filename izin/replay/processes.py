"""What every process of a replay keeps to, and how the command notices that one has ended."""

import signal
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

from izin.replay.errors import ProcessEndedError


def ignore_interrupts() -> None:
    """Have this process ignore Ctrl-C, which reaches all of a process group: the command ends its
    processes itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_processes(processes: Iterable[BaseProcess]) -> None:
    """Check that none of ``processes`` ended before it was done; raises ProcessEndedError."""
    for one in processes:
        if one.exitcode:
            raise ProcessEndedError(one.exitcode)
