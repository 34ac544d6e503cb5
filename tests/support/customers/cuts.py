"""Every command and HTTP route: how it is run for one of forty customers, or why it needs not."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.support.customers.asking import ROUTES
from tests.support.customers.cut import Cut
from tests.support.customers.ordering import ORDERING
from tests.support.customers.reading import READING

__all__ = ["CUTS", "ROUTES", "WITHOUT_DATA", "routes"]

CUTS: Mapping[str, Cut] = {**READING, **ORDERING}

PROCESS = "runs a process, which prints its log; its routes are cut"
MACHINE = "puts up servers on this machine, and reads no ledger"
LAW = "checks the law on events that it makes up"
WITHOUT_DATA: Mapping[str, str] = {
    "download": MACHINE,
    "demo": "runs on data that it makes up, in servers of its own",
    "feeds": PROCESS,
    "gate": PROCESS,
    "intake": PROCESS,
    "order": PROCESS,
    "sink": PROCESS,
    "up": MACHINE,
    "verify": LAW,
    "webhooks": PROCESS,
}
"""Commands that print or write nothing of a customer: they are not run, and this is the whole list
of them.
"""

_ROUTE = re.compile(r"\bRoute\(\s*(?:\"([^\"]+)\"|([\w.]+))")


def routes(root: Path) -> set[str]:
    """Return the path of each route in the source, as it is written there."""
    found: set[str] = set()
    for path in (root / "izin").rglob("*.py"):
        for text, name in _ROUTE.findall(path.read_text(encoding="utf-8")):
            found.add(text or name)
    return found
