"""Processes: those of a replay, and those of others that it must not run beside."""

import signal
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

from izin.replay.errors import LiveGroupError, ProcessEndedError
from izin.runtime.consumer_groups import members
from izin.runtime.settings import KafkaSettings


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


def refuse_live_group(settings: KafkaSettings, group: str, what: str) -> None:
    """Refuse to go on while a consumer ``group``, made of ``what``, has members.

    Raises:
        LiveGroupError: it has.
        BrokerError: Kafka cannot be reached.
    """
    if count := members(settings, group):
        raise LiveGroupError(
            what, count, "stop them (one that has stopped counts until its session ends)"
        )
