"""Every command and route: what is written to the history of whoever changes something or shows
people, and why of the others nothing is.
"""

from collections.abc import Iterator, Mapping

import click
import typer

from izin.cli.cli import app

ACTS: Mapping[str, str] = {
    "customers add": "add customer",
    "customers change": "change customer",
    "held-back limit": "set brake",
    "customers checklist": "provide application items",
    "brands add": "add brand",
    "brands rights": "change rights",
    "brands suspend": "suspend brand",
    "brands resume": "resume brand",
    "brands retry": "retry suspension */*",
    "brands requeue": "requeue",
    "keys create": "create API key",
    "keys rotate": "rotate API key",
    "keys revoke": "revoke API key",
    "subscribers add": "add subscriber",
    "subscribers test": "test subscriber",
    "subscribers pause": "pause subscriber",
    "subscribers resume": "resume subscriber",
    "subscribers remove": "remove subscriber",
    "subscribers rotate-secret": "rotate subscriber secret",
    "subscribers resend": "resend",
    "subscribers cancel-resend": "cancel resend",
    "dead-letters acknowledge": "acknowledge dead letter",
    "dead-letters redrive": "redrive dead letter",
    "publish": "correct dead letter",
    "privacy erase": "request erasure",
    "retention set": "retain month",
    "retention hold": "place legal hold 1",
    "retention release": "release legal hold 1",
    "retention drop": "drop month",
    "sequences close": "close sequence numbers",
    "ledger bootstrap": "restore partitions",
    "replay run": "rebuild",
    "ledger archive": "archive history",
    "ledger encrypt-secrets": "encrypt secrets",
    "deadlines recount-terms": "count terms again",
    "held-back release": "release opt-outs",
    "held-back withdraw": "withdraw opt-outs",
    "iys sweep start": "start sweep",
    "iys sweep stop": "stop sweep",
    "evidence write": "export evidence",
}
"""Commands that change the ledger by a person's order, and the name of the entry of each."""

ELSEWHERE: Mapping[str, str] = {
    "accounts save": "tests/integration/web/test_accounts.py",
    "accounts link": "tests/integration/web/test_accounts.py",
    "accounts disable": "tests/integration/web/test_accounts.py",
    "customers offboard": "tests/integration/sinks/customers/test_offboarding.py",
    "customers onboard": "tests/integration/cli/test_import.py",
    "import file": "tests/integration/cli/test_import.py",
    "customers sync": "tests/integration/sinks/customers/test_granted_brands.py",
    "ledger restore": "tests/integration/replay/ledger/test_restore.py",
    "ledger backup": "tests/integration/cli/test_backups.py",
    "ledger republish": "tests/integration/replay/test_rebuild_order_state.py",
    "iys daily agree": "tests/integration/sinks/inbound/test_daily.py",
    "brands retailers": "tests/integration/reconcile/test_retailer_access.py",
    "iys retailers add": "tests/integration/reconcile/test_retailer_access.py",
    "iys retailers remove": "tests/integration/reconcile/test_retailer_access.py",
    "reconcile": "tests/integration/reconcile/test_reconcile.py",
    "complaints add": "tests/integration/cli/test_explain.py",
    "complaints attach": "tests/integration/cli/test_explain.py",
    "complaints close": "tests/integration/cli/test_explain.py",
    "iys push unregister": "tests/integration/sinks/inbound/test_push.py",
    "via ask": "tests/integration/sinks/outbound/test_via.py",
}
"""Commands that need another installation than the others, or write the acts of several, and where
their acts are tested.
"""

LOOKS: Mapping[str, str] = {
    "explain": "",
    "evidence write": "",
    "privacy export": "",
    "privacy erase": "",
    "complaints show": "",
    "retention holds": "",
    "brands retailers": "",
    "brands requeue": "without --execute",
    "deadlines opt-outs": "",
    "deadlines breaches": "with --output json",
    "subscribers compare": "",
    "customers void-consents": "with --out",
    "import changes": "with --output json",
    "iys daily show": "with --out",
    "iys retailers list": "with --key",
    "reconcile": "without --execute",
    "dead-letters show": "with --unmasked",
    "replay rebuild": "with --unmasked",
    "replay run": "with --unmasked",
    "replay show": "with --unmasked",
    "replay what-if": "with --unmasked",
    "worklist": "with --unmasked",
}
"""Commands that show people, and when: who looked is written to the history, as a look."""

READS = "changes nothing, and shows nobody: counts, settings, ids"
ASKS = "the gate answers an API key, and writes the receipt that is asked for"
MASKED = "changes nothing, and masks whom it shows"
FILE = "reads a file that somebody has, and no ledger"
RUNS = "runs processes, and orders nothing itself"
READS_FILES = "reads files of its user; what it shows of a recipient is masked"
OTHERS: Mapping[str, str] = {
    "may-send": ASKS,
    "scrub": ASKS,
    "demo": RUNS,
    "up": RUNS,
    "order": RUNS,
    "sink": RUNS,
    "intake": RUNS,
    "outbox": RUNS,
    "feeds": RUNS,
    "gate": RUNS,
    "webhooks": RUNS,
    "api": RUNS,
    "console": RUNS,
    "accounts list": READS,
    "download": RUNS,
    "links make": "makes a link of what its user gives it; nothing is read or written",
    "via code": "the person whose code it is acts, at İYS; the history has what came of it",
    "via show": READS,
    "sources list": READS_FILES,
    "sources show": READS_FILES,
    "sources test": READS_FILES,
    "doctor": "creates topics and tables; no brand, consent or right",
    "evidence verify": FILE,
    "evidence anchors": READS,
    "complaints list": MASKED,
    "dead-letters list": MASKED,
    "report acts": MASKED,
    "report confirmations": READS,
    "report latency": READS,
    "report month": "keeps the report that it makes: counts, of no person",
    "report week": READS,
    "iys limits": READS,
    "held-back list": READS,
    "iys daily list": READS,
    "iys daily verify": MASKED,
    "iys daily fetch": "a worker fetches what İYS shows anyway, sooner",
    "iys sweep status": READS,
    "iys counts": READS,
    "iys push status": READS,
    "deadlines show": READS,
    "verify": FILE,
    "customers pack": READS,
    "customers list": READS,
    "customers granted-brands": READS,
    "customers show": READS,
    "keys list": READS,
    "subscribers list": READS,
    "subscribers show": READS,
    "brands list": READS,
    "brands show": READS,
    "brands parked": READS,
    "brands suspensions": READS,
    "ledger verify": READS,
    "ledger restore-check": "works on a copy, and removes it",
    "privacy list": READS,
    "receipts show": READS,
    "retention list": READS,
    "sequences list": READS,
}
"""Every other command, and why it writes neither an act nor a look."""

ANSWERED = (
    "a system with an API key gets what it may; of a receipt that it asks for the history knows"
)
STATE = "counts and states of a process"
PUSHED = "İYS pushes what citizens do: the history has each as an observation"
ROUTES: Mapping[str, str] = {
    "/health/live": STATE,
    "/health/ready": STATE,
    "/metrics": STATE,
    "/iys/push": PUSHED,
    "PATH": ANSWERED,
    "feed.path": ANSWERED,
    "/v1/consents": "the key is the actor of the events that the history has",
    "/v1/sources/{source}": "the source is the actor of the events that the history has",
    "/v1/forms/{form}": "the form is the actor of the events that the history has",
    "OPT_OUT_ROUTE": "the person who has the link acts, and sees nothing but the brand",
    "CONFIRM_ROUTE": "the person who has the link acts, and sees nothing but the brand",
    "EVENT_PATH": "names no recipient",
    "CONFIRMATION_PATH": "an act, whose actor is the key: tests/integration/api",
    "LOOKUP_PATH": "a look, whose actor is the key: it shows the one person who is asked for",
    "VIA_PATH": "an act, whose actor is the key: tests/integration/api",
    "VIA_CODE_PATH": "the person whose code it is acts; the history has what came of it",
    "VIA_REQUEST_PATH": "names no recipient",
    "CHANGE_PATH": "the same; the key is the actor of the events that the history has, too",
}
"""Every route, and why all but three write neither an act nor a look: no person stands behind it,
but a key.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command of the command line with its words."""
    yield from _inside(typer.main.get_command(app))


def _inside(group: click.Command, *words: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from _inside(command, *words, name)
        else:
            yield " ".join((*words, name)), command
