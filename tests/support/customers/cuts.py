"""Every command and HTTP route: how what it shows is cut to one customer, or why it is not."""

import re
from collections.abc import Mapping
from pathlib import Path

CUT: Mapping[str, tuple[str, ...]] = {
    "brands list": ("--customer=acme",),
    "brands parked": ("--customer=acme",),
    "brands resume": ("--customer=acme",),
    "brands retailers": ("{brand}",),
    "brands show": ("{brand}",),
    "brands suspend": ("--customer=acme", "--reason=audit"),
    "brands suspensions": ("--customer=acme",),
    "complaints list": ("--customer=acme",),
    "customers brake": ("acme", "--share=5"),
    "customers granted": ("--customer=acme",),
    "customers offboard": ("acme", "--out={folder}/acme.zip", "--reason=ended"),
    "customers pack": ("acme", "--out={folder}"),
    "customers show": ("acme",),
    "customers void": ("acme",),
    "deadlines breaches": ("--customer=acme",),
    "deadlines opt-outs": ("{brand}", "--file={folder}/opt-outs.csv"),
    "deadlines rule-again": ("--brand={brand}",),
    "deadlines show": ("--customer=acme",),
    "explain": ("{shared}", "--customer=acme"),
    "iys counts": ("--customer=acme",),
    "iys daily list": ("--customer=acme",),
    "iys list": ("--customer=acme",),
    "iys sweep start": ("--brand={brand}",),
    "iys sweep status": ("--customer=acme",),
    "keys list": ("--customer=acme",),
    "privacy erase": ("{shared}", "--customer=acme"),
    "privacy export": ("{shared}", "--customer=acme"),
    "privacy list": ("--customer=acme",),
    "report latency": ("--customer=acme",),
    "report week": ("--customer=acme",),
    "retention holds": ("--customer=acme",),
    "sequences list": ("--customer=acme",),
    "subscribers list": ("--customer=acme",),
}
"""Commands that show a customer's, with what says whose; each is run among forty of them."""

OWN = "names one thing of a customer, and shows nothing else"
ORDERED = "does what is ordered of one thing, and shows nothing else"
ASKED = "answers about the brand that is named"
NAMED: Mapping[str, str] = {
    "brands add": ORDERED,
    "brands requeue": ORDERED,
    "brands retry": ORDERED,
    "brands rights": ORDERED,
    "complaints add": ORDERED,
    "complaints attach": ORDERED,
    "complaints close": ORDERED,
    "complaints show": OWN,
    "customers add": ORDERED,
    "customers change": ORDERED,
    "customers provide": ORDERED,
    "dead-letters acknowledge": ORDERED,
    "dead-letters show": OWN,
    "evidence write": OWN,
    "iys daily agree": ORDERED,
    "iys daily fetch": ORDERED,
    "iys daily show": OWN,
    "iys daily verify": OWN,
    "iys push register": ORDERED,
    "iys push status": OWN,
    "iys push unregister": ORDERED,
    "iys release": ORDERED,
    "iys sweep stop": ORDERED,
    "iys withdraw": ORDERED,
    "keys create": ORDERED,
    "keys revoke": ORDERED,
    "keys rotate": ORDERED,
    "may-send": ASKED,
    "publish": ORDERED,
    "receipts show": OWN,
    "retention hold": ORDERED,
    "retention release": ORDERED,
    "scrub": ASKED,
    "sequences close": ORDERED,
    "subscribers add": ORDERED,
    "subscribers compare": ASKED,
    "subscribers pause": ORDERED,
    "subscribers remove": ORDERED,
    "subscribers resend": ORDERED,
    "subscribers resume": ORDERED,
    "subscribers rotate-secret": ORDERED,
    "subscribers show": OWN,
    "subscribers test": ORDERED,
}
"""Commands about one thing, which whoever runs them names."""

ELSEWHERE: Mapping[str, str] = {
    "customers onboard": "tests/integration/console/test_onboarding.py",
    "customers sync": "tests/integration/sinks/customers/test_granted_brands.py",
    "dead-letters list": "tests/integration/console/test_dead_letters.py",
    "dead-letters redrive": "tests/integration/console/test_dead_letters.py",
    "reconcile": "tests/integration/reconcile/test_reconcile.py",
    "replay rebuild": "tests/unit/console/test_replay.py",
    "replay what-if": "tests/integration/replay/what_if/test_what_if_run.py",
}
"""Commands that are cut by --customer or --brand and need more than a ledger: where that is."""

LISTS_ALL = "the list of all customers is the installation's own; customers show is one"
PROCESS = "runs a process for every customer"
WHOLE_HISTORY = "the chains of the history are one for all customers"
WHOLE_STATE = "rules and state of the installation; names no customer"
ITS_FILE = "shows what is in the file that is given"
WHOLE: Mapping[str, str] = {
    "customers list": LISTS_ALL,
    "demo": PROCESS,
    "doctor": "checks the installation as a whole",
    "evidence anchors": WHOLE_HISTORY,
    "evidence verify": ITS_FILE,
    "feeds": PROCESS,
    "gate": PROCESS,
    "import": ITS_FILE,
    "intake": PROCESS,
    "ledger archive": WHOLE_HISTORY,
    "ledger bootstrap": WHOLE_STATE,
    "ledger restore": WHOLE_HISTORY,
    "ledger verify": WHOLE_HISTORY,
    "local prepare": PROCESS,
    "local start": PROCESS,
    "order": PROCESS,
    "rate-limits": WHOLE_STATE,
    "replay run": ITS_FILE,
    "replay show": ITS_FILE,
    "retention drop": WHOLE_HISTORY,
    "retention list": WHOLE_HISTORY,
    "retention set": WHOLE_HISTORY,
    "sink": PROCESS,
    "up": PROCESS,
    "verify": WHOLE_STATE,
    "webhooks": PROCESS,
}
"""Commands that are about the installation, by intent."""

OPERATORS = "for operators and load balancers: figures by reason and topic, no customer"
ROUTES: Mapping[str, str] = {
    "/health/live": OPERATORS,
    "/health/ready": OPERATORS,
    "/metrics": OPERATORS,
    "/iys/push": "İYS calls it with our credentials; it answers nothing of the ledger",
    "PATH": "tests/unit/gate/test_endpoint_keys.py",
    "one.path": "tests/unit/sinks/feeds/test_endpoint_keys.py",
    "/v1/consents": "tests/unit/producers/test_endpoint_keys.py",
}
"""HTTP routes as the code writes them, with the test that cuts each by its API key, or why not."""

_ROUTE = re.compile(r"\bRoute\(\s*(?:\"([^\"]+)\"|([\w.]+))")


def routes(root: Path) -> set[str]:
    """Return the path of each route in the source, as it is written there."""
    found: set[str] = set()
    for path in (root / "izin").rglob("*.py"):
        for text, name in _ROUTE.findall(path.read_text(encoding="utf-8")):
            found.add(text or name)
    return found
