"""What ``/metrics`` of every process shows: its own metrics and faults, its version, and what it
takes.
"""

import platform
from collections.abc import Iterable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, Info, ProcessCollector, generate_latest

_OF_EVERY_PROCESS = CollectorRegistry()
Info("izin_build", "Which izin, on which Python.", registry=_OF_EVERY_PROCESS).info(
    {"version": version("izin"), "python": platform.python_version()}
)
ProcessCollector(registry=_OF_EVERY_PROCESS)
_FAULTS = Gauge(
    "izin_fault",
    "1: why the process is not ready, as /health/ready says it, by its name there.",
    ["fault"],
    registry=_OF_EVERY_PROCESS,
)


def exposition(registry: CollectorRegistry, faults: Iterable[str]) -> bytes:
    """Return the metrics of ``registry`` and of the process, in Prometheus's text format;
    ``faults`` are the names of those that there are now.
    """
    _FAULTS.clear()
    for fault in faults:
        _FAULTS.labels(fault).set(1)
    return generate_latest(registry) + generate_latest(_OF_EVERY_PROCESS)
