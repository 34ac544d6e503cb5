"""``izin explain``: everything that ever happened to a recipient, in the order in which we learnt
it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from izin.consent.emails import read_email
from izin.consent.phones import read_phone
from izin.console.brands import open_ledger
from izin.console.output import Exit, Output, OutputOption, err, out, print_json, print_rows, told
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import reads

if TYPE_CHECKING:
    from izin.sinks.ledger.reads import Fact, History

_STANDING = ("key", "desired", "registered", "state", "why", "may send", "because")
_HAPPENED = ("when", "what", "key", "status", "told")
_SHOWN = 160


def explain(
    recipient: Annotated[
        str, typer.Argument(help="Phone or e-mail in any usual notation, or a canonical key.")
    ],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print how a recipient stands, and every event, decision, İYS call, answer and delivery.

    Exit code 1 where nothing is known. The output is personal data.
    """
    with told():
        history = asyncio.run(_history(LedgerSettings(), _normalised(recipient)))
    if not history.entries and not history.facts:
        err.print("nothing is known of this recipient")
        raise typer.Exit(Exit.WRONG)
    match output:
        case Output.JSON:
            print_json(
                {
                    "standing": [_standing(one) for one in history.entries],
                    "happened": [_as_object(one) for one in history.facts],
                }
            )
        case Output.TABLE:
            rows = [tuple(_standing(one).values()) for one in history.entries]
            print_rows(output, _STANDING, rows)
            out.print()
            print_rows(output, _HAPPENED, [_row(one) for one in history.facts])


async def _history(settings: LedgerSettings, recipient: str) -> History:
    async with open_ledger(settings) as ledger:
        return await reads.history(ledger, recipient)


def _normalised(recipient: str) -> str:
    """Return the recipient as keys spell it; a canonical key, or what cannot be read, as it is."""
    if "/" in recipient:
        return recipient
    read = read_email(recipient) if "@" in recipient else read_phone(recipient)
    return read if isinstance(read, str) else recipient


def _standing(entry: Any) -> dict[str, object]:  # noqa: ANN401  # a ledger entry
    return {
        "key": entry.key,
        "desired": entry.desired_status,
        "registered": entry.registered,
        "state": entry.state,
        "why": entry.why,
        "may_send": entry.may_send,
        "because": entry.permission_reason,
    }


def _as_object(fact: Fact) -> dict[str, object]:
    return {
        "occurred_at": fact.occurred_at.isoformat(),
        "recorded_at": fact.recorded_at.isoformat(),
        "kind": fact.kind,
        "key": fact.key,
        "status": fact.status,
        "event_id": fact.event_id,
        "source": fact.source,
        "data": fact.data,
    }


def _row(fact: Fact) -> tuple[object, ...]:
    data = {name: value for name, value in fact.data.items() if value not in (None, [], {}, "")}
    told_of = json.dumps(data, ensure_ascii=False, default=str)
    if len(told_of) > _SHOWN:
        told_of = f"{told_of[:_SHOWN]}…"
    when = fact.occurred_at.isoformat(sep=" ", timespec="milliseconds")
    return when, fact.kind, fact.key, fact.status, told_of
