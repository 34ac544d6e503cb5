"""Every command: what a changing one writes to the history, and why the others need not."""

from collections.abc import Iterator, Mapping

import click
import typer

from izin.console.cli import app

ACTS: Mapping[str, str] = {
    "customers add": "add customer",
    "customers change": "change customer",
    "customers brake": "set brake",
    "customers provide": "provide application items",
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
    "deadlines rule-again": "count terms again",
    "iys release": "release opt-outs",
    "iys withdraw": "withdraw opt-outs",
    "iys sweep start": "start sweep",
    "iys sweep stop": "stop sweep",
    "evidence write": "export evidence",
}
"""Commands that change the ledger by a person's order, and the name of the movement of each."""

ELSEWHERE: Mapping[str, str] = {
    "customers offboard": "tests/integration/sinks/customers/test_offboarding.py",
    "customers onboard": "tests/integration/console/test_onboarding.py",
    "import file": "tests/integration/console/test_import.py",
    "customers sync": "tests/integration/sinks/customers/test_granted_brands.py",
    "ledger restore": "tests/integration/replay/ledger/test_restore.py",
    "iys daily agree": "tests/integration/sinks/inbound/test_daily.py",
    "reconcile": "tests/integration/reconcile/test_reconcile.py",
    "complaints add": "tests/integration/console/test_evidence.py",
    "complaints attach": "tests/integration/console/test_evidence.py",
    "complaints close": "tests/integration/console/test_evidence.py",
    "iys push register": "tests/integration/sinks/inbound/test_push_command.py",
    "iys push unregister": "tests/integration/sinks/inbound/test_push_command.py",
}
"""Commands that need another installation than the others, or write the acts of several, and where
their acts are tested.
"""

EVENTS = "an event in Kafka; the history has the decision on it, with its origin"
READS = "changes nothing"
ASKS = "the gate writes the receipt that is asked for"
RUNS = "runs processes, and orders nothing itself"
OTHERS: Mapping[str, str] = {
    "import changes": READS,
    "may-send": ASKS,
    "scrub": ASKS,
    "demo": RUNS,
    "up": RUNS,
    "order": RUNS,
    "sink": RUNS,
    "intake": RUNS,
    "feeds": RUNS,
    "gate": RUNS,
    "webhooks": RUNS,
    "local start": RUNS,
    "local prepare": RUNS,
    "doctor": "creates topics and tables; no brand, consent or right",
    "explain": READS,
    "evidence verify": READS,
    "evidence anchors": READS,
    "complaints list": READS,
    "complaints show": READS,
    "report latency": READS,
    "report week": READS,
    "dead-letters list": READS,
    "dead-letters show": READS,
    "rate-limits": READS,
    "iys list": READS,
    "iys daily list": READS,
    "iys daily show": READS,
    "iys daily verify": READS,
    "iys daily fetch": "a worker fetches what İYS shows anyway, sooner",
    "iys sweep status": READS,
    "iys counts": READS,
    "iys push status": READS,
    "deadlines show": READS,
    "deadlines opt-outs": READS,
    "deadlines breaches": READS,
    "verify": READS,
    "customers pack": READS,
    "customers void": READS,
    "customers list": READS,
    "customers granted": READS,
    "customers show": READS,
    "keys list": READS,
    "subscribers list": READS,
    "subscribers show": READS,
    "subscribers compare": READS,
    "brands list": READS,
    "brands show": READS,
    "brands parked": READS,
    "brands retailers": READS,
    "brands suspensions": READS,
    "ledger verify": READS,
    "replay show": READS,
    "privacy export": READS,
    "privacy list": READS,
    "receipts show": READS,
    "replay rebuild": READS,
    "replay what-if": READS,
    "retention list": READS,
    "retention holds": READS,
    "sequences list": READS,
}
"""Every other command, and why it writes no act."""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command of the command line with its words."""
    yield from _inside(typer.main.get_command(app))


def _inside(group: click.Command, *words: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from _inside(command, *words, name)
        else:
            yield " ".join((*words, name)), command
    yield from _within(typer.main.get_command(app), "")


def _within(group: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in getattr(group, "commands").items():  # noqa: B009  # of groups only
        if hasattr(command, "commands"):
            yield from _within(command, f"{words}{name} ")
        else:
            yield f"{words}{name}", command
