"""A simulator of the HTTP API 3.2.0 of İYS, Turkey's register of commercial-message consent.

No public sandbox of İYS may be load-tested, and the failures that matter (a lost response, an
exceeded limit, an opt-out in the middle of a batch) cannot be ordered from İYS. `iys-simulator
serve` starts the simulator as a process; `build_app` returns it as an ASGI application.
"""

from iys_simulator.app import build_app
from iys_simulator.clock import Clock
from iys_simulator.settings import Settings
from iys_simulator.state import SimulatorState

__all__ = ["Clock", "Settings", "SimulatorState", "build_app"]
