"""``izin explain``: everything that ever happened to a recipient, in the order we learnt it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from izin.console.explain.history import (
    DELIVERIES,
    HISTORY,
    delivery_rows,
    heading,
    history_rows,
    state_rows,
    why_suspended,
)
from izin.console.remedies import remedy_of_parked, why_not_sent
from izin.console.terminal.arguments import ByOption, OneCustomerOption, is_key, normalised
from izin.console.terminal.ledger_session import Look, cut_to, run_on_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    exit_on_error,
    out,
    print_fields,
    print_json,
    print_rows,
)
from izin.runtime.settings import StreamSettings
from izin.sinks.ledger import brands, reads, suspensions
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import History, RecordedFact
from izin.sinks.ledger.webhooks import deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Everything of a recipient."""

    history: History
    suspended: Mapping[str, str]
    """What suspends a key or holds it back, by key."""
    gates: Mapping[int, str]
    """Why a person has suspended what may be sent for a brand, by brand."""
    sent: Sequence[Mapping[str, Any]]
    """What subscribers took."""
    looks: Sequence[RecordedFact]
    """Who looked at the recipient by name."""


def explain(
    recipient: Annotated[
        str,
        typer.Argument(
            help="Phone number or e-mail address in any usual notation, or a canonical key "
            "(brand/channel/recipient type/recipient)."
        ),
    ],
    *,
    customer: OneCustomerOption = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print the state of a recipient, and every event, decision, call to İYS and reply.

    The output is personal data: who looked, and at whom by a keyed digest (of
    IZIN_SUPPRESSION_SECRETS), is written to the history. Exit code 1 if nothing is known, 3 if the
    recipient cannot be read.
    """
    with exit_on_error():
        key = normalised(recipient)
        found = run_on_ledger(
            lambda ledger: _look(ledger, key, customer),
            look=Look(command="explain", by=by, people=[key], customer=customer),
        )
    history = found.history
    if not history.rows and not history.facts:
        err.print("nothing is known of this recipient")
        raise typer.Exit(ExitCode.WRONG)
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "keys": [
                        asdict(one)
                        | {
                            "suspended": found.suspended.get(one.key),
                            "gate_suspended": found.gates.get(one.brand_code),
                        }
                        for one in history.rows
                    ],
                    "history": [asdict(one) for one in history.facts],
                    "deliveries": [dict(one) for one in found.sent],
                    "looks": [asdict(one) for one in found.looks],
                }
            )
        case OutputFormat.TABLE:
            _print(found)


def _print(found: _Found) -> None:
    """Print a section a key: its state, its history, and what subscribers took."""
    history = found.history
    for entry in history.rows:
        out.print(Text(heading(entry.key), "bold"))
        suspended, gate = found.suspended.get(entry.key), found.gates.get(entry.brand_code)
        print_fields(state_rows(entry, suspended, gate))
        if entry.state == "parked":
            remedy = remedy_of_parked(entry.brand_code, entry.reason, key=entry.key)
            out.print(Text(f"remedy: {remedy}"), soft_wrap=True)
        keys = {entry.key, *reads.concerned(entry)}
        facts = [one for one in history.facts if one.key in keys]
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(facts))
        if rows := delivery_rows(one for one in found.sent if one["key"] == entry.key):
            print_rows(OutputFormat.TABLE, DELIVERIES, rows)
    # A key may have a history alone: the gate was asked about it, or its row was erased.
    others = {one.key for one in history.facts if is_key(one.key)}
    for key in sorted(others - {one.key for one in history.rows}):
        out.print(Text(heading(key), "bold"))
        facts = [one for one in history.facts if one.key == key]
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(facts))
    if found.looks:
        out.print(Text("who looked at the recipient", "bold"))
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(found.looks))


async def _look(ledger: Ledger, recipient: str, customer: str | None) -> _Found:
    cut, whole = await cut_to(ledger, customer), await reads.history(ledger, recipient)
    history = History(
        rows=tuple(one for one in whole.rows if cut.has(one.customer_id)),
        facts=tuple(one for one in whole.facts if cut.has(one.customer_id)),
    )
    known = {one.brand_code: one for one in await brands.every(ledger)}
    found, brakes = await suspensions.every(ledger), await decisions.undecided(ledger)
    suspended = {
        one.key: words
        for one in history.rows
        if (
            words := why_suspended(one, known.get(one.brand_code), found)
            or why_not_sent(one, brakes)
        )
    }
    return _Found(
        history=history,
        suspended=suspended,
        gates={
            code: one.suspension or "the brand is stopped"
            for code, one in known.items()
            if one.suspension or one.status != "active"
        },
        sent=await deliveries.of_keys(ledger, sorted({one.key for one in history.rows})),
        looks=[
            one
            for one in await reads.facts(ledger, StreamSettings().suppressions.people(recipient))
            if cut.has(one.customer_id)
        ],
    )
