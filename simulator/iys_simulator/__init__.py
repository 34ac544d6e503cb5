"""İYS's twin: answers as İYS's API 3.2.0 does, and imports nothing else of this project.

It exists because no public sandbox may be load-tested, and because the failures that matter (a lost
answer, a used-up hour, a citizen's rejection in the middle of a batch) cannot be ordered from İYS.
`iys_simulator.commands.cli` starts it as a process; `build_app` gives it as an ASGI application.
"""

from iys_simulator.app import build_app
from iys_simulator.clock import Clock
from iys_simulator.settings import Settings
from iys_simulator.state import Twin

__all__ = ["Clock", "Settings", "Twin", "build_app"]
